from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import builders
import builders_layouts
from smilevlm.datasets.bu3dfe import index_bu3dfe
from smilevlm.errors import LayoutError
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.synthesis import MARKER_NAME


def tiny(root: Path, *names: str) -> Path:
    """A copy of the data set with tiny meshes, textures and landmarks under these names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(builders.vrml())
        path.with_suffix(".bnd").write_text(builders.bnd())
        path.with_suffix(".bmp").write_bytes(builders.image("BMP"))
    return root


def ids(root: Path) -> list[str]:
    return [recording.sample_id for recording in index_bu3dfe(root).recordings]


def reasons(root: Path, path: str) -> list[str]:
    return [problem.reason for problem in index_bu3dfe(root).problems if problem.path == path]


def test_a_complete_subject(tmp_path):
    index = index_bu3dfe(builders_layouts.bu3dfe(tmp_path, ("F0001", "M0001")))
    assert [problem.reason for problem in index.problems] == [
        "2 subjects found, a complete copy has 100",
        "50 recordings found, a complete copy has 2500",
    ]
    assert index.remarks == ()
    assert index.subjects == ("F0001", "M0001")
    assert index.expected is not None
    assert sum(index.expected.per_subject.values()) == 25
    for subject in index.subjects:
        own = [r for r in index.recordings if r.subject == subject]
        expected = {(NEUTRAL, 0), *((name, level) for name in BASIC_EXPRESSIONS for level in (1, 2, 3, 4))}
        assert {(r.expression, r.level) for r in own} == expected
        assert len(own) == 25


def test_the_synthetic_set_has_what_its_marker_says(synthetic_faces):
    index = index_bu3dfe(synthetic_faces)
    assert index.synthetic
    assert index.layout == "bu3dfe"
    assert index.remarks == ()
    assert index.problems == ()
    assert index.subjects == ("F0001", "M0001")
    assert index.expected is not None
    assert index.expected.per_subject == {NEUTRAL: 1, **dict.fromkeys(BASIC_EXPRESSIONS, 1)}
    ids = [recording.sample_id for recording in index.recordings]
    assert len(set(ids)) == 14
    assert ids == sorted(ids)
    for recording in index.recordings:
        assert recording.path.name == f"{recording.sample_id}_F3D.wrl"
        assert recording.frames[0].landmark_path == recording.path.with_suffix(".bnd")
        assert not recording.is_sequence


def test_missing_scans_are_a_problem_of_the_subject(tmp_path):
    poses = [pose for pose in builders_layouts.BU3DFE_POSES if pose not in ("HA02", "NE00")]
    assert reasons(builders_layouts.bu3dfe(tmp_path, poses=poses), "F0001") == ["2 of 25 scans are missing: NE00 HA02"]


@pytest.mark.parametrize(("suffix", "what"), [(".bnd", "no .bnd landmarks"), (".bmp", "no .bmp texture")])
def test_a_scan_without_its_companion(tmp_path, suffix, what):
    builders_layouts.bu3dfe(tmp_path)
    (tmp_path / "F0001" / f"F0001_AN01WH_F3D{suffix}").unlink()
    assert reasons(tmp_path, "F0001") == [f"{what} beside F0001_AN01WH_F3D.wrl"]
    frame = index_bu3dfe(tmp_path).recordings[0].frames[0]
    assert (frame.landmark_path is None) == (suffix == ".bnd")


def test_an_official_looking_copy_is_not_synthetic(tmp_path):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl")
    assert not index_bu3dfe(tmp_path).synthetic
    (tmp_path / MARKER_NAME).write_text("{}")
    assert index_bu3dfe(tmp_path).synthetic


@pytest.mark.parametrize("text", ["{", "[]", '{"contents": 3}', '{"levels": [9]}', ""])
def test_a_damaged_marker(tmp_path, text):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl")
    (tmp_path / MARKER_NAME).write_text(text)
    with pytest.raises(LayoutError, match=MARKER_NAME):
        index_bu3dfe(tmp_path)


def test_what_a_synthetic_set_should_hold_and_left_out_on_purpose(tmp_path):
    builders_layouts.bu3dfe(tmp_path, poses=[p for p in builders_layouts.BU3DFE_POSES if p != "SU04"])
    contents = {"num_subjects": 2, "num_recordings": 49, "missing": ["F0001"]}
    (tmp_path / MARKER_NAME).write_text(json.dumps({"contents": contents}))
    index = index_bu3dfe(tmp_path)
    assert index.expected is not None
    assert (index.expected.num_subjects, index.expected.num_recordings) == (2, 49)
    assert index.expected.source == MARKER_NAME
    assert "1 of 25 scans are missing: SU04 (left out on purpose, says synthesis.json)" in reasons(tmp_path, "F0001")
    assert reasons(tmp_path, ".")[0] == "1 subjects found, a complete copy has 2"


def test_an_extra_folder_and_files_are_left_out(tmp_path):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", "tools/F0009_AN01WH_F3D.wrl", ".git/F0009_AN01WH_F3D.wrl")
    (tmp_path / "F0001" / "F0001_AN01WH_RAW.wrl").write_bytes(b"")
    (tmp_path / "F0001" / "F0001_AN01WH_F2D.bmp").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("")
    assert ids(tmp_path) == ["F0001_AN01WH"]
    assert index_bu3dfe(tmp_path).remarks == ("folder tools is no subject folder and was left out",)


def test_an_unknown_race_code_is_kept_with_a_remark(tmp_path):
    index = index_bu3dfe(tiny(tmp_path, "F0001/F0001_AN01XX_F3D.wrl"))
    assert [r.sample_id for r in index.recordings] == ["F0001_AN01XX"]
    assert any("unknown race code XX; it was kept" in remark for remark in index.remarks)


@pytest.mark.parametrize("name", ["NE01WH", "AN00WH", "HA05WH", "SU12WH"])
def test_a_level_that_the_expression_does_not_have(tmp_path, name):
    """Level 00 belongs to the neutral face alone."""
    tiny(tmp_path, "F0001/F0001_SA02WH_F3D.wrl", f"F0001/F0001_{name}_F3D.wrl")
    index = index_bu3dfe(tmp_path)
    assert [r.sample_id for r in index.recordings] == ["F0001_SA02WH"]
    assert any(
        f"F0001_{name}_F3D.wrl has level {name[2:4]}, which {name[:2]} does not have" in r for r in index.remarks
    )


def test_another_subjects_scan_is_left_out(tmp_path):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", "F0001/F0002_AN01WH_F3D.wrl")
    index = index_bu3dfe(tmp_path)
    assert [r.sample_id for r in index.recordings] == ["F0001_AN01WH"]
    assert any("F0002_AN01WH_F3D.wrl names subject F0002; it was left out" in remark for remark in index.remarks)


@pytest.mark.parametrize("name", ["F0001_XX01WH", "F0001_AN1WH", "F0001AN01WH", "F0001_AN01W", "copy of F0001_AN01WH"])
def test_names_outside_the_grammar(tmp_path, name):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", f"F0001/{name}_F3D.wrl")
    index = index_bu3dfe(tmp_path)
    assert [r.sample_id for r in index.recordings] == ["F0001_AN01WH"]
    assert any(f"F0001/{name}_F3D.wrl does not follow" in remark for remark in index.remarks)


def test_lower_case_names(tmp_path):
    (recording,) = index_bu3dfe(tiny(tmp_path, "m0003/m0003_ne00ae_f3d.wrl")).recordings
    assert (recording.sample_id, recording.subject) == ("M0003_NE00AE", "M0003")
    assert (recording.expression, recording.level) == (NEUTRAL, 0)
    assert recording.frames[0].landmark_path == tmp_path / "m0003" / "m0003_ne00ae_f3d.bnd"


@pytest.mark.parametrize("second", ["F0001/f0001_an01wh_f3d.wrl", "f0001/F0001_AN01WH_F3D.wrl"])
def test_one_scan_or_subject_in_two_spellings_is_counted_once(tmp_path, second):
    """A second copy of one scan must not enter twice under one id: the store's rows and digests go by id."""
    index = index_bu3dfe(tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", second))
    assert [recording.sample_id for recording in index.recordings] == ["F0001_AN01WH"]
    assert len(index.remarks) == 1
    assert index.remarks[0].endswith("it was left out")


def test_a_subject_in_an_archive(tmp_path):
    root = builders_layouts.bu3dfe(tmp_path, ("F0001", "F0002"))
    unpacked = ids(root)
    builders_layouts.pack(root / "F0002")
    assert ids(root) == unpacked
    (root / "F0003.zip").write_bytes(b"no archive")
    assert reasons(root, "F0003.zip") == [
        "damaged archive: not a readable zip archive: its table of contents is missing"
    ]


def test_a_root_one_folder_too_high_or_too_low(tmp_path):
    tiny(tmp_path, "original/F0001/F0001_AN01WH_F3D.wrl")
    for root in (tmp_path, tmp_path / "original" / "F0001"):
        with pytest.raises(LayoutError, match=r"F0001/F0001_AN01WH_F3D.wrl \(does the path end one folder too high"):
            index_bu3dfe(root)
    assert ids(tmp_path / "original") == ["F0001_AN01WH"]


def test_a_root_that_is_no_folder(tmp_path):
    with pytest.raises(LayoutError, match="is not a folder; expected BU-3DFE's root"):
        index_bu3dfe(tmp_path / "nowhere")


def test_a_subset_of_a_synthetic_set_keeps_its_marker(synthetic_faces, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(synthetic_faces, root)
    shutil.rmtree(root / "M0001")
    index = index_bu3dfe(root)
    assert index.synthetic
    assert index.subjects == ("F0001",)
    assert [problem.reason for problem in index.problems] == ["1 subjects found, a complete copy has 2"]
