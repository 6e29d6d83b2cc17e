from __future__ import annotations

import re
from pathlib import Path

import pytest

import builders_layouts
from smilevlm.datasets.bosphorus import index_bosphorus
from smilevlm.errors import LayoutError
from smilevlm.labels import BASIC_EXPRESSIONS, FACIAL_ACTIONS, NEUTRAL, UNLABELLED
from smilevlm.store import Recording

SIX = [f"bs000_E_{word}_0" for word in builders_layouts.BOSPHORUS_EXPRESSIONS]


def by_id(root: Path) -> dict[str, Recording]:
    return {recording.sample_id: recording for recording in index_bosphorus(root).recordings}


def problems(root: Path) -> list[tuple[str, str]]:
    return [(p.path, p.reason) for p in index_bosphorus(root).problems if p.path != "."]


def test_six_expressions_and_what_lies_beside_them(tmp_path):
    others = ["bs000_N_N_0", "bs000_YR_R90_0", "bs000_LFAU_12LW_0", "bs000_O_EYEGLASSES_0", "bs000_IGN_X_0"]
    root = builders_layouts.bosphorus(tmp_path, [*SIX, *others])
    found = by_id(root)
    assert {found[name].expression for name in SIX} == set(BASIC_EXPRESSIONS)
    assert found["bs000_N_N_0"].expression == NEUTRAL
    assert [found[name].expression for name in others[1:]] == [UNLABELLED] * 4
    assert found["bs000_YR_R90_0"].condition == "YR_R90"
    assert found["bs000_E_ANGER_0"].condition == "E_ANGER"
    assert found["bs000_E_ANGER_0"].expression == "angry"
    frame = found["bs000_E_SADNESS_0"].frames[0]
    assert frame.path == root / "bs000" / "bs000_E_SADNESS_0.bnt"
    assert frame.landmark_path == frame.path.with_suffix(".lm3")
    assert problems(root) == []
    assert "1 subjects have all six expressions; the literature uses 65" in index_bosphorus(root).remarks


def test_a_subject_with_five_expressions_is_no_problem(tmp_path):
    root = builders_layouts.bosphorus(tmp_path, SIX[:5])
    assert problems(root) == []
    assert "0 subjects have all six expressions; the literature uses 65" in index_bosphorus(root).remarks


def test_repeats_are_kept_and_need_not_begin_at_0(tmp_path):
    root = builders_layouts.bosphorus(tmp_path, ["bs000_E_HAPPY_1", "bs000_N_N_0", "bs000_N_N_3", "bs000_E_HAPPY_2"])
    assert list(by_id(root)) == ["bs000_E_HAPPY_1", "bs000_E_HAPPY_2", "bs000_N_N_0", "bs000_N_N_3"]
    assert "an expression was scanned more than once for bs000 happy" in index_bosphorus(root).remarks


@pytest.mark.parametrize("suffix", [".bnt", ".png", ".lm2", ".lm3"])
def test_a_scan_that_lacks_one_of_its_four_files(tmp_path, suffix):
    root = builders_layouts.bosphorus(tmp_path, SIX)
    (root / "bs000" / f"{SIX[0]}{suffix}").unlink()
    assert problems(root) == [(f"bs000/{SIX[0]}", f"{suffix} is missing")]
    found = by_id(root)
    assert (SIX[0] in found) == (suffix != ".bnt")
    if suffix == ".lm3":
        assert found[SIX[0]].frames[0].landmark_path is None


@pytest.mark.parametrize("place", ["BosphorusDB_p1", "BosphorusDB", "flat", "BosphorusDB/BosphorusDB_p2"])
def test_where_the_subjects_lie(tmp_path, place):
    builders_layouts.bosphorus(tmp_path if place == "flat" else tmp_path / place, SIX, flat=place == "flat")
    index = index_bosphorus(tmp_path)
    assert [r.sample_id for r in index.recordings] == sorted(SIX)
    assert any(remark.startswith(f"part {place} was read") for remark in index.remarks) == (place != "flat")
    assert problems(tmp_path) == []


def test_the_same_scan_in_two_parts(tmp_path):
    for part in ("BosphorusDB_p1", "BosphorusDB_p2"):
        builders_layouts.bosphorus(tmp_path / part, SIX[:1])
    index = index_bosphorus(tmp_path)
    assert len(index.recordings) == 1
    assert sum("is there twice, as BosphorusDB_p1" in remark for remark in index.remarks) == 4


def test_names_in_another_case(tmp_path):
    root = builders_layouts.bosphorus(tmp_path, SIX[:1])
    for path in list((root / "bs000").iterdir()):
        path.rename(path.with_name(path.name.upper()))
    (root / "bs000").rename(root / "BS000")
    (recording,) = index_bosphorus(root).recordings
    assert (recording.sample_id, recording.subject) == (SIX[0], "bs000")
    assert problems(root) == []


def test_what_is_not_of_the_data_set(tmp_path):
    root = builders_layouts.bosphorus(tmp_path, SIX[:1])
    builders_layouts.bosphorus(tmp_path, ["bs001_N_N_0"], flat=True)
    for path in list(root.glob("bs001*")):
        path.rename(root / "bs000" / path.name)
    (root / "bs000" / "bs000_X_HAPPY_0.bnt").write_bytes(b"")
    (root / "bs000" / "Thumbs.db").write_bytes(b"")
    (root / "docs").mkdir()
    (root / "facscodes.zip").write_bytes(b"no archive")
    index = index_bosphorus(root)
    assert [r.sample_id for r in index.recordings] == SIX[:1]
    assert "bs000/bs000_X_HAPPY_0.bnt does not follow the data set's naming and was left out" in index.remarks
    assert "bs000/bs001_N_N_0.bnt names subject bs001; it was left out" in index.remarks
    assert "folder docs is no subject folder and was left out" in index.remarks
    assert problems(root) == []


@pytest.mark.parametrize(("name", "expected"), [("bs000_CAU_A12-A15_0", UNLABELLED), ("bs000_E_JOY+_0", UNLABELLED)])
def test_codes_that_nobody_has_listed_are_kept(tmp_path, name, expected):
    root = builders_layouts.bosphorus(tmp_path, [name])
    index = index_bosphorus(root)
    assert index.recordings[0].expression == expected
    assert re.fullmatch(r"[\w.+-]+", index.recordings[0].sample_id)
    assert any("unusual code" in remark for remark in index.remarks)
    assert any("no known expression" in remark for remark in index.remarks) == name.startswith("bs000_E")


def test_nothing_of_the_layout(tmp_path):
    with pytest.raises(LayoutError, match="no Bosphorus scan"):
        index_bosphorus(tmp_path)


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("N_N", {}),
        ("E_HAPPY", None),
        ("YR_R90", None),
        ("LFAU_9", {"AU9": (0.5, 0.5)}),
        ("LFAU_12L", {"AU12": (0.5, 0.0)}),
        ("LFAU_12R", {"AU12": (0.0, 0.5)}),
        ("LFAU_12LW", {"AU12": (0.3, 0.3)}),
        ("UFAU_45", {"AU43": (0.5, 0.5)}),
        ("LFAU_AU34", {"AD34": (0.5, 0.5)}),
        ("CAU_A12A15", {"AU12": (0.5, 0.5), "AU15": (0.5, 0.5)}),
        ("CAU_A26A12LW", {"AU12": (0.3, 0.3), "AU26": (0.5, 0.5)}),
        ("CAU_AU22+AU25", {"AU22": (0.5, 0.5), "AU25": (0.5, 0.5)}),
    ],
)
def test_codes_of_actions(tmp_path, name, actions):
    (found,) = by_id(builders_layouts.bosphorus(tmp_path, [f"bs000_{name}_0"])).values()
    assert found.actions == actions
    coded = name.startswith(("LFAU", "UFAU", "CAU"))
    assert set(found.unjudged_actions) == (set(FACIAL_ACTIONS) - set(found.actions or ()) if coded else set())


@pytest.mark.parametrize("code", ["XYZ", "99", "A12A99", "12X"])
def test_a_code_that_is_not_understood_is_not_recorded(tmp_path, code):
    root = builders_layouts.bosphorus(tmp_path, [f"bs000_LFAU_{code}_0"])
    assert [recording.actions for recording in by_id(root).values()] == [None]
    remark = f"bs000_LFAU_{code}_0 shows {code}, which names no known action; its actions are not recorded"
    assert remark in index_bosphorus(root).remarks


def test_a_table_of_actions_counts_for_more_than_codes(tmp_path):
    root = builders_layouts.bosphorus(tmp_path, ["bs000_LFAU_9_0", "bs000_E_HAPPY_0", "bs000_N_N_0"])
    rows = ["bs000_LFAU_9_0,AU9,0.9,0.1", "bs000_LFAU_9_0,AU4,,", "bs000_E_HAPPY_0,,,", "bs001_N_N_0,,,"]
    (root / "actions.csv").write_text("\n".join(["sample,action,left,right", *rows]) + "\n")
    found = by_id(root)
    assert found["bs000_LFAU_9_0"].actions == {"AU9": (0.9, 0.1)}
    assert found["bs000_LFAU_9_0"].unjudged_actions == ("AU4",)
    assert found["bs000_E_HAPPY_0"].actions == {}
    assert found["bs000_N_N_0"].actions == {}
    index = index_bosphorus(root)
    assert "actions.csv has the facial actions of 2 of 3 recordings" in index.remarks
    assert "actions.csv names what is not there: bs001_N_N_0" in index.remarks
    assert index.action_source == "coded by people"


def test_a_broken_table_of_actions_is_a_problem(tmp_path):
    root = builders_layouts.bosphorus(tmp_path, ["bs000_E_HAPPY_0"])
    (root / "actions.csv").write_text("sample,action,left,right\nbs000_E_HAPPY_0,AU12,2,0\n")
    told = "line 2: left is 2, expected 0 to 1; its facial actions are not recorded"
    assert ("actions.csv", told) in problems(root)
    index = index_bosphorus(root)
    assert [recording.actions for recording in index.recordings] == [None]
    assert index.action_source is None
