"""The synthetic sequences on disk, against the description of BU-4DFE's own files."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import KDTree

from smilevlm import read_mesh
from smilevlm.datasets import index_data_set
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.readers import ACTIONS_NAME, read_action_table, read_bnd
from smilevlm.synthesis import MARKER_NAME
from smilevlm.synthesis.bu4dfe import LANDMARK_TREE, Bu4dfeSettings, missing_sequences, plan_bu4dfe, synthesize_bu4dfe
from smilevlm.synthesis.scan_setup import ScannerSettings

FOLDERS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise")
SMALL = {"num_subjects": 2, "num_frames": 7, "texture_width": 64, "scanner": ScannerSettings(num_vertices=1500)}


def small_settings(**changes) -> Bu4dfeSettings:
    return Bu4dfeSettings(**(SMALL | changes))


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def assert_same(left: Path, right: Path) -> None:
    names = [path.relative_to(left) for path in files(left)]
    assert names == [path.relative_to(right) for path in files(right)]
    _, mismatch, errors = filecmp.cmpfiles(left, right, [str(name) for name in names], shallow=False)
    assert (mismatch, errors) == ([], [])


@pytest.fixture(scope="module")
def sequences(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bu4dfe") / "faces"
    assert synthesize_bu4dfe(root, small_settings()) == 11
    return root


@pytest.fixture(scope="module")
def marker(sequences) -> dict:
    return json.loads((sequences / MARKER_NAME).read_text())


def test_the_tree(sequences):
    assert sorted(path.name for path in sequences.iterdir()) == sorted(
        ["F001", "M001", "BU_WrlViewer_V2", LANDMARK_TREE, MARKER_NAME, ACTIONS_NAME]
    )
    assert sorted(path.name for path in (sequences / "M001").iterdir()) == list(FOLDERS)
    # One sequence is missing, as some are in the data set.
    assert sorted(path.name for path in (sequences / "F001").iterdir()) == [f for f in FOLDERS if f != "Disgust"]
    assert [path.name for path in files(sequences / "BU_WrlViewer_V2")] == ["readme.txt"]


def test_frames_have_three_digits_from_zero_and_a_picture_each(sequences):
    for folder in sequences.glob("[FM]*/*"):
        meshes = sorted(path.stem for path in folder.glob("*.wrl"))
        pictures = sorted(path.stem for path in folder.glob("*.jpg"))
        assert meshes[0] == "000"
        assert all(re.fullmatch(r"\d{3}", stem) for stem in meshes)
        assert {path.suffix for path in folder.iterdir()} == {".wrl", ".jpg"}
        numbers = [int(stem) for stem in meshes]
        if folder.parts[-2:] == ("F001", "Fear"):
            first, second = sorted(set(range(numbers[-1] + 1)) - set(numbers))
            assert 0 < first == second - 1 < numbers[-1] - 1
        else:
            assert numbers == list(range(len(numbers)))
        if folder.parts[-2:] == ("F001", "Angry"):
            assert len(set(meshes) - set(pictures)) == 1
        else:
            assert meshes == pictures


def test_sequences_differ_in_length(sequences):
    lengths = Counter(len(list(folder.glob("*.wrl"))) for folder in sequences.glob("[FM]*/*"))
    assert len(lengths) > 2
    assert min(lengths) >= 5
    assert max(lengths) <= 9


def test_the_marker_says_what_a_complete_copy_holds(marker):
    assert marker["synthetic"] is True
    assert marker["layout"] == "bu4dfe"
    assert marker["contents"]["num_subjects"] == 2
    assert marker["contents"]["num_recordings"] == 11
    assert marker["contents"]["missing"] == ["F001/Disgust"]
    assert list(marker["contents"]["frames_left_out"]) == ["F001/Fear"]
    assert [path[:11] for path in marker["contents"]["without_texture"]] == ["F001/Angry/"]


def test_the_vrml_has_a_uv_per_vertex_and_names_its_picture(sequences):
    with_index = []
    for folder in sorted(sequences.glob("[FM]*/*")):
        text = (folder / "001.wrl").read_text()
        assert text.startswith("#VRML V2.0 utf8\n")
        assert 'url "001.jpg"' in text
        points, uvs = (
            re.search(rf"{node} {{\s*point \[(.*?)\]", text, re.DOTALL).group(1).strip().split(",")
            for node in ("coord Coordinate", "TextureCoordinate")
        )
        assert len(points) == len(uvs)
        assert len(points[0].split()) == 3
        assert len(uvs[0].split()) == 2
        with_index.append("texCoordIndex" in text)
    assert 0.3 < np.mean(with_index) < 0.7


def test_vertex_counts_vary_from_frame_to_frame_around_what_was_wanted(sequences):
    counts = [read_mesh(path).num_vertices for path in sorted((sequences / "M001" / "Happy").glob("*.wrl"))]
    assert len(set(counts)) > len(counts) // 2
    assert 0.5 * 1500 < min(counts) <= max(counts) < 2 * 1500


def test_pictures_are_portraits_and_show_the_face_where_the_uv_says(sequences):
    for folder in (sequences / "F001" / "Happy", sequences / "M001" / "Sad"):
        with Image.open(folder / "000.jpg") as image:
            assert image.size == (64, 82)
            pixels = np.asarray(image.convert("RGB")).astype(int)
        mesh = read_mesh(folder / "000.wrl")
        uv = mesh.uv.reshape(-1, 2)
        column = np.clip((uv[:, 0] * 64).astype(int), 0, 63)
        row = np.clip(((1 - uv[:, 1]) * 82).astype(int), 0, 81)
        # The wall behind is grey 40.
        assert (np.abs(pixels[row, column] - 40).max(axis=1) > 15).mean() > 0.97
        assert np.abs(pixels[:4, :4] - 40).max() < 10


def test_scans_are_millimetres_far_behind_the_origin(sequences):
    centres = [read_mesh(path).vertices.mean(axis=0) for path in sequences.glob("[FM]*/*/000.wrl")]
    assert np.mean(centres, axis=0)[2] < -70
    assert np.std(centres, axis=0).min() > 3
    extent = np.ptp(read_mesh(sequences / "F001" / "Sad" / "000.wrl").vertices, axis=0)
    assert 110 < extent[0] < 260
    assert 130 < extent[1] < 280


def test_landmarks_are_vertices_of_their_frame(sequences):
    empty_rows = 0
    for path in sorted((sequences / LANDMARK_TREE).rglob("*.bnd")):
        assert re.fullmatch(rf"{LANDMARK_TREE}/[FM]\d{{3}}/\w+/\d{{3}}\.bnd", path.relative_to(sequences).as_posix())
        lines = path.read_text().split("\n")
        empty_rows += lines[83:] == ["", ""]
        assert len([line for line in lines if line]) == 83
        scan = read_mesh(sequences / path.relative_to(sequences / LANDMARK_TREE).with_suffix(".wrl"))
        found = read_bnd(path)
        np.testing.assert_allclose(scan.vertices[found.indices], found.points, atol=1e-3)
    assert 0 < empty_rows < 20
    tree = {
        path.relative_to(sequences / LANDMARK_TREE).with_suffix("")
        for path in (sequences / LANDMARK_TREE).rglob("*.bnd")
    }
    assert tree == {path.relative_to(sequences).with_suffix("") for path in sequences.glob("[FM]*/*/*.wrl")}


def test_landmarks_follow_the_movement(sequences):
    """A surprised jaw drops: the chin leaves the eyes and comes back."""
    reaches = []
    for path in sorted((sequences / LANDMARK_TREE / "M001" / "Surprise").glob("*.bnd")):
        points = read_bnd(path).points
        reaches.append(np.linalg.norm(points[75] - points[:16].mean(axis=0)))
    assert max(reaches) > max(reaches[0], reaches[-1]) + 4


def test_neighbouring_frames_show_the_same_surface(sequences):
    """Scanner noise, tessellation and a little movement, nothing else."""
    folder = sequences / "M001" / "Sad"
    first, second = (read_mesh(folder / f"{n:03d}.wrl").vertices for n in (0, 1))
    assert np.median(KDTree(second).query(first)[0]) < 3.5


def test_frames_can_be_brought_to_the_face_frame(sequences):
    for path in sorted(sequences.glob("[FM]*/Happy/*.wrl"))[::3]:
        faced = normalise(read_mesh(path), NormaliseSettings()).mesh
        assert np.abs(np.median(faced.vertices[:, 0])) < 12


# --- plans --------------------------------------------------------------------------------------------------------


def test_the_whole_data_set_has_its_shares_and_its_longest_sequence():
    settings = small_settings(num_subjects=101, num_frames=100)
    planned, missing = plan_bu4dfe(settings), missing_sequences(settings)
    names = list(dict.fromkeys(sequence.subject for sequence in planned))
    assert (len(names), names[0], names[57], names[58], names[-1]) == (101, "F001", "F058", "M001", "M043")
    assert (len(planned), missing) == (605, ["M042/Disgust"])
    lengths = [sequence.num_frames for sequence in planned]
    assert max(lengths) == 126
    assert np.mean(lengths) == pytest.approx(100, abs=3)
    assert min(lengths) >= 75


def test_a_single_subject_misses_no_sequence():
    settings = small_settings(num_subjects=1)
    planned, missing = plan_bu4dfe(settings), missing_sequences(settings)
    assert [sequence.word for sequence in planned] == list(FOLDERS)
    assert missing == []


# --- reproducibility ------------------------------------------------------------------------------------------------

TINY = {"num_subjects": 1, "num_frames": 5, "texture_width": 16, "scanner": ScannerSettings(num_vertices=600)}


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tiny") / "faces"
    synthesize_bu4dfe(root, Bu4dfeSettings(**TINY))
    return root


def test_an_interrupted_run_goes_on(tiny_set, tmp_path):
    root = tmp_path / "faces"
    shutil.copytree(tiny_set, root)
    # Killed after the landmarks were there and before the sequence was; and in the middle of another.
    shutil.rmtree(root / "F001" / "Happy")
    shutil.rmtree(root / "F001" / "Sad")
    shutil.rmtree(root / LANDMARK_TREE / "F001" / "Sad")
    (root / "F001" / ".Sad.part").mkdir()
    (root / "F001" / ".Sad.part" / "000.wrl").write_text("half a file")
    seen: list[tuple[int, int]] = []
    settings = Bu4dfeSettings(**TINY)
    assert synthesize_bu4dfe(root, settings, progress=lambda *counts: seen.append(counts)) == 2
    assert seen == [(4, 6), (5, 6), (6, 6)]
    assert_same(tiny_set, root)
    assert synthesize_bu4dfe(root, settings) == 0


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(tiny_set, tmp_path):
    assert synthesize_bu4dfe(tmp_path / "two", Bu4dfeSettings(**TINY), jobs=2) == 6
    assert_same(tiny_set, tmp_path / "two")


def test_no_landmarks_when_not_wanted_and_the_rest_is_the_same(tiny_set, tmp_path):
    synthesize_bu4dfe(tmp_path / "bare", Bu4dfeSettings(**TINY, landmarks=False))
    assert not (tmp_path / "bare" / LANDMARK_TREE).exists()
    assert_same(tiny_set / "F001", tmp_path / "bare" / "F001")


def test_other_settings_are_refused(tiny_set, tmp_path):
    root = tmp_path / "faces"
    shutil.copytree(tiny_set, root)
    with pytest.raises(LayoutError, match=r"other settings \(num_frames\)"):
        synthesize_bu4dfe(root, Bu4dfeSettings(**(TINY | {"num_frames": 9})))
    assert_same(tiny_set, root)


@pytest.mark.parametrize(
    "values",
    [{"num_subjects": 0}, {"num_subjects": 1000}, {"num_frames": 4}, {"seed": -1}, {"texture_width": 15}],
    ids=str,
)
def test_settings_out_of_range(values):
    with pytest.raises(SettingsError, match=next(iter(values))):
        Bu4dfeSettings(**({"num_subjects": 2} | values))


def test_every_sequence_has_its_actions(sequences):
    index = index_data_set("bu4dfe", sequences)
    assert read_action_table(sequences / ACTIONS_NAME).keys() == {recording.sample_id for recording in index.recordings}
    assert all(recording.actions for recording in index.recordings)
