"""The synthetic clips on disk, against the description of 4DME's workbook; their folders are our assumption."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smilevlm import read_mesh
from smilevlm.datasets import index_data_set
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.readers import ACTIONS_NAME, FOURDME_COLUMNS, read_4dme_labels, read_action_table, read_workbook
from smilevlm.synthesis import MARKER_NAME
from smilevlm.synthesis.action_units import ACTION_UNITS
from smilevlm.synthesis.fourdme import (
    EXTRA_LABELS,
    LABELS,
    FourdmeSettings,
    _capture,
    plan_4dme,
    synthesize_4dme,
    true_displacement_mm,
    true_displacements_mm,
)
from smilevlm.synthesis.scan_setup import ScannerSettings

SMALL = {
    "num_subjects": 2, "clips_per_subject": 2, "texture_width": 48, "scanner": ScannerSettings(num_vertices=1000),
}  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("4dme") / "faces"
    assert synthesize_4dme(root, FourdmeSettings(**SMALL)) == 4
    return root


def test_the_tree(clips):
    assert sorted(path.name for path in clips.iterdir()) == sorted(
        [LABELS, EXTRA_LABELS, "4D_micro", MARKER_NAME, ACTIONS_NAME]
    )
    folders = sorted(path.relative_to(clips).as_posix() for path in clips.glob("4D_micro/*/*"))
    assert len(folders) == 4
    assert all(re.fullmatch(r"4D_micro/(S\d\d)/\1_(1st|2nd)_\d{3}_\d\d_\d", folder) for folder in folders)
    marker = json.loads((clips / MARKER_NAME).read_text())
    assert (marker["synthetic"], marker["layout"]) == (True, "4dme")
    assert marker["contents"] == {"num_subjects": 2, "num_recordings": 4, "missing": []}


def test_frames_are_objs_with_material_and_picture(clips):
    for folder in clips.glob("4D_micro/*/*"):
        stems = {suffix: sorted(p.stem for p in folder.glob(f"*{suffix}")) for suffix in (".obj", ".mtl", ".jpg")}
        assert stems[".obj"] == stems[".mtl"] == stems[".jpg"]
        assert stems[".obj"] == [f"{number:03d}" for number in range(1, len(stems[".obj"]) + 1)]
        assert 12 + 4 <= len(stems[".obj"]) <= 30 + 12
    mesh = read_mesh(next(clips.glob("4D_micro/*/*/001.obj")))
    assert mesh.uv is not None
    assert mesh.texture.shape == (64, 48, 3)


def test_the_workbook_reads_without_a_remark(clips):
    labels = read_4dme_labels(clips / LABELS)
    assert labels.remarks == ()
    assert len(labels.clips) == 4
    for clip in labels.clips:
        numbers = sorted(int(path.stem) for path in (clips / "4D_micro" / clip.subject / clip.clip_name).glob("*.obj"))
        # A few frames of margin on both sides.
        assert numbers[0] < clip.onset < clip.apex < clip.offset < numbers[-1]
        assert 12 <= clip.offset - clip.onset + 1 <= 30
        assert clip.labels
        assert clip.action_units


def test_the_workbooks_columns(clips):
    rows = read_workbook(clips / LABELS)
    assert list(rows[0].cells) == [*FOURDME_COLUMNS, *(f"AU{unit}" for unit in ACTION_UNITS)]
    for row in rows:
        cells = row.cells
        assert cells["Total"] == cells["Offset"] - cells["Onset"] + 1
        assert {cells[name] for name in ("Positive", "Negative", "Surprise", "Repression", "Others")} == {0, 1}
        assert cells["AUs"].startswith("AU")
    extras = read_workbook(clips / EXTRA_LABELS)
    assert list(extras[0].cells) == ["fold", "sub_ID", "fold_name", "self-report emo'", "video emo'"]
    assert [row.cells["fold_name"] for row in extras] == [row.cells["fold_name"] for row in rows]


def test_the_movement_is_in_the_frames_that_the_workbook_names():
    """Over the clips, the skin moves between onset and apex, and by less than 2 mm."""
    settings = FourdmeSettings(**SMALL)
    for clip in plan_4dme(settings):
        motion = _capture(clip, settings).motion
        assert (motion.onset, motion.apex, motion.offset) == (clip.micro.onset, clip.micro.apex, clip.micro.offset)
        lids = [name in ("eyeBlinkLeft", "eyeBlinkRight") for name in motion.actions]
        course = np.abs(motion.strength - motion.strength[0])[:, ~np.array(lids)].sum(axis=1)
        assert course[motion.apex] > 3 * max(course[1], course[-1])


def test_whole_workbook_has_4dmes_shares_and_combinations():
    planned = plan_4dme(FourdmeSettings(num_subjects=41, clips_per_subject=7, classes="as_4dme"))
    counts = Counter(label for clip in planned for label in clip.micro.labels)
    together = Counter("+".join(clip.micro.labels) for clip in planned)
    assert set(counts) == set(MICRO_EXPRESSIONS)
    total = len(planned)
    expected = {"positive": 55, "negative": 142, "surprise": 54, "repression": 24, "others": 31}
    for label, count in expected.items():
        assert counts[label] / total == pytest.approx(count / 267, abs=0.01)
    assert together["surprise+positive"] > 0
    assert not any({"positive", "negative"} <= set(clip.micro.labels) for clip in planned)
    assert len({clip.path for clip in planned}) == total
    assert any(unit.static for clip in planned for unit in clip.micro.units)
    assert {unit.side for clip in planned for unit in clip.micro.units} == {"", "L", "R"}
    assert any(clip.micro.blinks for clip in planned)


def test_balanced_clips_are_as_many_of_each_class():
    planned = plan_4dme(FourdmeSettings(num_subjects=24, clips_per_subject=8))
    single = Counter(clip.micro.labels[0] for clip in planned if len(clip.micro.labels) == 1)
    combined = Counter("+".join(clip.micro.labels) for clip in planned if len(clip.micro.labels) > 1)
    assert set(single) == set(MICRO_EXPRESSIONS)
    assert max(single.values()) - min(single.values()) <= 1
    assert sum(combined.values()) / len(planned) == pytest.approx(39 / 267, abs=0.02)
    assert len(combined) == 5
    assert max(combined.values()) - min(combined.values()) <= 1


def test_amplitude_scales_the_true_movement_and_nothing_else():
    plain, large = (FourdmeSettings(**SMALL, amplitude=amplitude) for amplitude in (0.5, 1.0))
    for small_clip, large_clip in zip(plan_4dme(plain), plan_4dme(large), strict=True):
        assert replace(small_clip.micro, intensity=2 * small_clip.micro.intensity) == large_clip.micro
        moved = [
            np.linalg.norm(true_displacement_mm(clip, settings), axis=1).max()
            for clip, settings in ((small_clip, plain), (large_clip, large))
        ]
        # Idle movement and blinks stay as they are.
        assert 1.1 < moved[1] / moved[0] < 2.2


def test_another_seed_gives_other_clips():
    first, other = (plan_4dme(FourdmeSettings(num_subjects=2, seed=seed)) for seed in (0, 1))
    assert [clip.path for clip in first] == [clip.path for clip in other]
    assert [clip.micro for clip in first] != [clip.micro for clip in other]


def test_an_interrupted_run_goes_on(clips, tmp_path):
    root = tmp_path / "faces"
    shutil.copytree(clips, root)
    shutil.rmtree(root / "4D_micro" / "S02")
    (root / LABELS).unlink()
    assert synthesize_4dme(root, FourdmeSettings(**SMALL)) == 2
    again = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert again == {path.relative_to(clips): path.read_bytes() for path in clips.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "values",
    [
        {"num_subjects": 0},
        {"clips_per_subject": 0},
        {"seed": -1},
        {"texture_width": 15},
        {"classes": "equal"},
        {"amplitude": 0.0},
        {"amplitude": 4.1},
    ],
    ids=str,
)
def test_settings_out_of_range(values):
    with pytest.raises(SettingsError, match=next(iter(values))):
        FourdmeSettings(**({"num_subjects": 2} | values))


def test_every_clip_has_its_actions(clips):
    index = index_data_set("4dme", clips)
    assert read_action_table(clips / ACTIONS_NAME).keys() == {recording.sample_id for recording in index.recordings}
    assert all(recording.actions for recording in index.recordings)


def test_true_displacements_are_found_again_from_the_folder(clips):
    settings = FourdmeSettings(**SMALL)
    planned = {clip.name: clip for clip in plan_4dme(settings)}
    wanted = sorted(planned)[1:3]
    found = true_displacements_mm(clips, {*wanted, "of nobody"})
    assert sorted(found) == wanted
    for name, moved in found.items():
        np.testing.assert_array_equal(moved, true_displacement_mm(planned[name], settings))


def test_true_displacements_of_other_folders_are_refused(clips, tmp_path):
    with pytest.raises(LayoutError, match="cannot be read"):
        true_displacements_mm(tmp_path, {"S01"})
    marker = json.loads((clips / MARKER_NAME).read_text())
    for change, told in (
        ({"layout": "bu4dfe"}, "not of synthetic faces in the layout 4dme"),
        ({"scanner": {**marker["scanner"], "lens": 3}}, "cannot be read|another version"),
        ({"amplitude": "strong"}, "cannot be read"),
    ):
        (tmp_path / MARKER_NAME).write_text(json.dumps(marker | change))
        with pytest.raises(LayoutError, match=told):
            true_displacements_mm(tmp_path, {"S01"})
