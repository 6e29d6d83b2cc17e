from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import builders
import builders_layouts
from smilevlm.datasets.bu4dfe import index_bu4dfe
from smilevlm.errors import LayoutError
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.store import Recording


@pytest.fixture
def root(tmp_path) -> Path:
    """One complete subject in a folder of its own, so that something can lie beside it."""
    return builders_layouts.bu4dfe(tmp_path / "BU-4DFE")


def problems(root: Path) -> list[tuple[str, str]]:
    """Of a copy, without the count of its people and sequences."""
    return [(p.path, p.reason) for p in index_bu4dfe(root).problems if p.path != "."]


def sequence(root: Path, sample_id: str) -> Recording:
    (recording,) = [r for r in index_bu4dfe(root).recordings if r.sample_id == sample_id]
    return recording


def test_a_complete_subject(root):
    index = index_bu4dfe(root)
    assert [p.reason for p in index.problems] == [
        "1 subjects found, a complete copy has 101",
        "6 recordings found, a complete copy has 606",
    ]
    assert {r.expression for r in index.recordings} == set(BASIC_EXPRESSIONS)
    happy = sequence(root, "F001_Happy")
    assert (happy.subject, happy.expression, happy.is_sequence) == ("F001", "happy", True)
    assert [frame.path.name for frame in happy.frames] == ["000.wrl", "001.wrl", "002.wrl"]
    assert [frame.number for frame in happy.frames] == [0, 1, 2]
    assert index.remarks == ("no landmarks found; they are distributed separately, as BU4DFE_BND_V1.1",)


def test_the_extra_root_folder_is_no_subject(root):
    (root / "BU_WrlViewer_V2").mkdir()
    (root / "BU_WrlViewer_V2" / "000.wrl").write_bytes(builders.vrml())
    index = index_bu4dfe(root)
    assert index.subjects == ("F001",)
    assert "folder BU_WrlViewer_V2 is no subject folder and was left out" in index.remarks


def test_a_missing_expression_folder(root):
    shutil.rmtree(root / "F001" / "Sad")
    assert problems(root) == [("F001/Sad", "the sequence is missing")]


def test_an_empty_expression_folder(root):
    for path in (root / "F001" / "Sad").iterdir():
        path.unlink()
    assert problems(root) == [("F001/Sad", "the sequence has no frame; expected files like 000.wrl")]
    assert len(index_bu4dfe(root).recordings) == 5


def test_a_sequence_of_126_frames(tmp_path):
    folder = builders_layouts.bu4dfe(tmp_path, words=("Happy",), numbers=(0,)) / "F001" / "Happy"
    for number in range(1, 126):
        shutil.copy(folder / "000.wrl", folder / f"{number:03d}.wrl")
        shutil.copy(folder / "000.jpg", folder / f"{number:03d}.jpg")
    assert [frame.number for frame in sequence(tmp_path, "F001_Happy").frames] == list(range(126))
    assert all(path != "F001/Happy" for path, _ in problems(tmp_path))


def test_gaps_in_the_frame_numbers(tmp_path):
    builders_layouts.bu4dfe(tmp_path, numbers=(0, 1, 3, 4, 7))
    assert "F001/Happy: 2 gaps in 5 frames" in index_bu4dfe(tmp_path).remarks
    assert [frame.number for frame in sequence(tmp_path, "F001_Happy").frames] == [0, 1, 3, 4, 7]
    assert problems(tmp_path) == []


def test_a_mesh_without_its_image(root):
    (root / "F001" / "Fear" / "001.jpg").unlink()
    assert problems(root) == [("F001/Fear", "no image beside 1 of 3 meshes: 001.wrl")]


def test_files_that_are_no_frames(root):
    (root / "F001" / "Fear" / "copy of 001.wrl").write_bytes(builders.vrml())
    (root / "F001" / "Fear" / "1.wrl").write_bytes(builders.vrml())
    (root / "F001" / "Fear" / ".DS_Store").write_bytes(b"")
    assert len(sequence(root, "F001_Fear").frames) == 3
    remark = "F001/Fear: 1.wrl, copy of 001.wrl have no frame number of their own and were left out"
    assert remark in index_bu4dfe(root).remarks


def test_names_in_another_case(root):
    (root / "F001").rename(root / "f001")
    (root / "f001" / "Happy").rename(root / "f001" / "HAPPY")
    (root / "f001" / "HAPPY" / "000.wrl").rename(root / "f001" / "HAPPY" / "000.WRL")
    assert len(sequence(root, "F001_Happy").frames) == 3
    assert problems(root) == []


def test_two_folders_of_one_expression_and_one_of_none(root):
    shutil.copytree(root / "F001" / "Happy", root / "F001" / "happy")
    (root / "F001" / "Neutral").mkdir()
    index = index_bu4dfe(root)
    assert len(index.recordings) == 6
    assert "folder F001/happy is happy again, as Happy; it was left out" in index.remarks
    assert "folder F001/Neutral is no expression and was left out" in index.remarks


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_landmarks_in_a_tree_of_their_own(tmp_path, where):
    tree = (tmp_path / "BU-4DFE" if where == "inside" else tmp_path) / "BU4DFE_BND_V1.1"
    root = builders_layouts.bu4dfe(tmp_path / "BU-4DFE", landmarks=tree)
    (tree / "F001" / "Happy" / "001.bnd").unlink()
    index = index_bu4dfe(root)
    assert f"landmarks were looked for in BU4DFE_BND_V1.1 {where} the data set's folder" in index.remarks
    assert "landmarks found for 17 of 18 frames" in index.remarks
    assert not any("no subject folder" in remark for remark in index.remarks)
    frames = sequence(root, "F001_Happy").frames
    assert frames[0].landmark_path == tree / "F001" / "Happy" / "000.bnd"
    assert frames[1].landmark_path is None


@pytest.mark.parametrize("suffix", [".bnd", ".landmark", ".BND"])
def test_landmarks_beside_the_meshes(root, suffix):
    path = root / "F001" / "Happy" / f"002{suffix}"
    path.write_text(builders.bnd())
    assert [frame.landmark_path for frame in sequence(root, "F001_Happy").frames] == [None, None, path]


@pytest.mark.parametrize("packed", ["F001", "."])
def test_archives_are_read_in_place(root, packed):
    unpacked = [r.sample_id for r in index_bu4dfe(root).recordings]
    archive = builders_layouts.pack((root / packed).resolve())
    inside = root if packed == "F001" else archive / root.name
    index = index_bu4dfe(inside)
    assert [r.sample_id for r in index.recordings] == unpacked
    assert all(p.path == "." for p in index.problems)
    assert ".zip" in str(index.recordings[0].path)


def test_nothing_of_the_layout(tmp_path):
    with pytest.raises(LayoutError, match=r"no BU-4DFE scan; expected files like F001/Angry/000.wrl"):
        index_bu4dfe(tmp_path)
