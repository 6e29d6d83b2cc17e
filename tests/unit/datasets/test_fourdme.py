from __future__ import annotations

from pathlib import Path

import pytest

import builders_layouts
from builders_layouts import FOURDME_ROWS
from smilevlm.datasets.fourdme import index_fourdme
from smilevlm.errors import LayoutError
from smilevlm.labels import UNLABELLED
from smilevlm.store import Phases, Recording


def by_id(root: Path) -> dict[str, Recording]:
    return {recording.sample_id: recording for recording in index_fourdme(root).recordings}


def problems(root: Path) -> list[tuple[str, str]]:
    return [(p.path, p.reason) for p in index_fourdme(root).problems if p.path != "."]


def one_row(**changes: object) -> dict[str, object]:
    return {**FOURDME_ROWS[1], **changes}


def test_clips_with_their_labels(tmp_path):
    index = index_fourdme(builders_layouts.fourdme(tmp_path))
    assert [r.sample_id for r in index.recordings] == ["S02_2nd_001_02_1", "S13_1st_001_01_1", "S13_1st_002_01_1"]
    others, combined, negative = index.recordings
    assert (others.expression, others.labels) == ("others", ("others",))
    # The order of the classes, not of the workbook's text.
    assert (combined.expression, combined.labels) == ("positive+surprise", ("positive", "surprise"))
    assert (negative.expression, negative.subject, negative.is_sequence) == ("negative", "S13", True)
    assert others.phases == Phases(onset=0, apex=2, offset=2)
    assert [frame.number for frame in negative.frames] == [0, 1, 2]
    assert problems(tmp_path) == []
    assert "3 clips lie as 4D_micro/<sub_ID>/<fold_name>" in index.remarks
    assert index.expected is not None
    assert (index.expected.num_subjects, index.expected.num_recordings) == (41, 267)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("4d_micro/{sub_ID}/{fold_name}", "4d_micro/<sub_ID>/<fold_name>"),
        ("{sub_ID}/{fold_name}", "<sub_ID>/<fold_name>"),
        ("{sub_ID}_{fold_name}", "<sub_ID>_<fold_name>"),
        ("4D_micro/{sub_ID}_{fold_name}", "4D_micro/<sub_ID>_<fold_name>"),
    ],
)
def test_each_plausible_place_of_the_clips(tmp_path, place, told):
    index = index_fourdme(builders_layouts.fourdme(tmp_path, place=place))
    assert [r.expression for r in index.recordings] == ["others", "positive+surprise", "negative"]
    assert f"3 clips lie as {told}" in index.remarks
    assert problems(tmp_path) == []


@pytest.mark.parametrize(("written", "folder"), [("13", "S13"), ("S13", "13"), ("s2", "S002"), ("S13", "s13")])
def test_subjects_spelled_in_two_ways(tmp_path, written, folder):
    row = one_row(sub_ID=written)
    root = builders_layouts.fourdme(tmp_path, [row], place=f"4D_micro/{folder}/{{fold_name}}")
    assert problems(root) == []
    (recording,) = index_fourdme(root).recordings
    assert (recording.subject, recording.expression) == (written, "negative")


def test_one_person_spelled_in_several_ways_is_one_subject(tmp_path):
    """Folds go by the subject: two spellings of one person must not fall on two sides."""
    rows = [one_row(sub_ID="S02"), one_row(sub_ID="2", fold_name="b"), one_row(sub_ID="002", fold_name="c")]
    root = builders_layouts.fourdme(tmp_path, rows)
    builders_layouts.write_labels(root / builders_layouts.WORKBOOK, rows[:2])
    assert index_fourdme(root).subjects == ("S02",)
    assert len(index_fourdme(root).recordings) == 3


def test_a_clip_without_frames_and_frames_without_a_row(tmp_path):
    root = builders_layouts.fourdme(tmp_path)
    builders_layouts.write_labels(root / builders_layouts.WORKBOOK, [*FOURDME_ROWS[:2], one_row(fold_name="9th")])
    assert problems(root) == [
        ("S13/9th", "the workbook's clip has no frames"),
        ("4D_micro/S02/2nd_001_02_1", "the workbook has no row for this clip; it has no label"),
    ]
    unknown = by_id(root)["S02_2nd_001_02_1"]
    assert (unknown.subject, unknown.expression, unknown.labels, unknown.phases) == ("S02", UNLABELLED, (), None)


def test_one_clip_in_two_places_is_read_once(tmp_path):
    root = builders_layouts.fourdme(tmp_path, FOURDME_ROWS[:1])
    builders_layouts.fourdme(tmp_path, FOURDME_ROWS[:1], place="{sub_ID}/{fold_name}", workbook=None)
    index = index_fourdme(root)
    assert [r.path.parent for r in index.recordings] == [root / "4D_micro" / "S13" / "1st_001_01_1"]
    assert "S13/1st_001_01_1 is there twice, as 4D_micro/S13/1st_001_01_1; it was left out" in index.remarks
    assert problems(root) == []


def test_no_workbook(tmp_path):
    root = builders_layouts.fourdme(tmp_path, workbook=None)
    index = index_fourdme(root)
    assert {r.expression for r in index.recordings} == {UNLABELLED}
    assert any("no workbook 4DME_Labelling_Micro_release*.xlsx" in problem.reason for problem in index.problems)


def test_a_workbook_that_cannot_be_read(tmp_path):
    root = builders_layouts.fourdme(tmp_path)
    (root / builders_layouts.WORKBOOK).write_bytes(b"no workbook")
    index = index_fourdme(root)
    assert len(index.recordings) == 3
    assert any(p.path == builders_layouts.WORKBOOK and "no labels" in p.reason for p in index.problems)


def test_other_workbooks_are_not_taken_for_the_labels(tmp_path):
    root = builders_layouts.fourdme(tmp_path)
    for name in ("4DME_Labelling_Micro_extras_release v1.xlsx", "~$4DME_Labelling_Micro_release v1.xlsx"):
        (root / name).write_bytes(b"")
    assert problems(root) == []
    builders_layouts.write_labels(root / "4DME_Labelling_Micro_release v2.xlsx", FOURDME_ROWS[:1])
    index = index_fourdme(root)
    assert sum(r.expression == UNLABELLED for r in index.recordings) == 2
    assert any("v2.xlsx was read, not 4DME_Labelling_Micro_release v1.xlsx" in remark for remark in index.remarks)


def test_a_workbook_beside_the_meshes_folder(tmp_path):
    root = builders_layouts.fourdme(tmp_path)
    (root / "labels").mkdir()
    (root / builders_layouts.WORKBOOK).rename(root / "labels" / builders_layouts.WORKBOOK)
    assert problems(root) == []


def test_a_row_that_occurs_twice_and_one_without_a_class(tmp_path):
    rows = [FOURDME_ROWS[0], FOURDME_ROWS[0], one_row(Emotion="")]
    index = index_fourdme(builders_layouts.fourdme(tmp_path, rows))
    assert len(index.recordings) == 2
    reasons = [problem.reason for problem in index.problems if problem.path != "."]
    assert "the workbook lists this clip twice; its first row was read" in reasons
    assert "the workbook gives no class (Emotion '')" in reasons
    assert any(f"{builders_layouts.WORKBOOK}:4" in remark for remark in index.remarks)


@pytest.mark.parametrize("first", [0, 1])
def test_files_that_count_within_the_clip_while_the_workbook_counts_in_the_recording(tmp_path, first):
    row = one_row(Onset=120, Apex=124, Offset=130, numbers=range(first, first + 11))
    index = index_fourdme(builders_layouts.fourdme(tmp_path, [row]))
    assert index.recordings[0].phases == Phases(onset=first, apex=first + 4, offset=first + 10)
    assert any(f"files count from {first}, so the workbook's frames were shifted" in r for r in index.remarks)


def test_frames_numbered_as_in_the_workbook(tmp_path):
    row = one_row(Onset=120, Apex=124, Offset=130, numbers=range(115, 140))
    index = index_fourdme(builders_layouts.fourdme(tmp_path, [row]))
    assert index.recordings[0].phases == Phases(onset=120, apex=124, offset=130)


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        ({"Onset": 120, "Apex": 124, "Offset": 200}, "outside the frames 0 to 2"),
        ({"Onset": 2, "Apex": 1, "Offset": 0}, "not in this order"),
    ],
)
def test_phases_that_cannot_be(tmp_path, phases, told):
    root = builders_layouts.fourdme(tmp_path, [one_row(**phases)])
    assert [reason for _, reason in problems(root) if told in reason]
    assert index_fourdme(root).recordings[0].phases is None


def test_folders_of_images_beside_the_meshes_are_passed_over(tmp_path):
    root = builders_layouts.fourdme(tmp_path)
    folder = root / "gray_micro" / "S13" / "1st_001_01_1"
    folder.mkdir(parents=True)
    (folder / "0000.jpg").write_bytes(builders_layouts.picture("JPEG"))
    assert len(index_fourdme(root).recordings) == 3
    assert problems(root) == []


def test_nothing_of_the_layout(tmp_path):
    with pytest.raises(LayoutError, match="no 4DME scan"):
        index_fourdme(tmp_path)


def test_action_units_of_the_workbook(tmp_path):
    rows = [{**FOURDME_ROWS[0], "AUs": "AU4(k)+L7+45"}, {**FOURDME_ROWS[1], "AUs": "AU12+77"}]
    root = builders_layouts.fourdme(tmp_path, [*rows, {**FOURDME_ROWS[2], "AUs": ""}])
    others, first, second = index_fourdme(root).recordings
    assert first.actions == {"AU4": (0.5, 0.5), "AU7": (0.5, 0.0), "AU43": (0.5, 0.5)}
    assert second.actions == {"AU12": (0.5, 0.5)}
    assert others.actions is None
    remark = "4D_micro/S13/1st_002_01_1: action unit 77 is not among those known here"
    assert remark in index_fourdme(root).remarks
