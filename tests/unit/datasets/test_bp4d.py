from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import builders
import builders_layouts
from smilevlm.datasets.bp4d import index_bp4d
from smilevlm.errors import LayoutError
from smilevlm.labels import SPONTANEOUS_EXPRESSIONS, UNLABELLED
from smilevlm.store import Recording, read_frame
from smilevlm.synthesis import MARKER_NAME


def sequence(root: Path, sample_id: str) -> Recording:
    (recording,) = [r for r in index_bp4d(root).recordings if r.sample_id == sample_id]
    return recording


def problems(root: Path) -> list[tuple[str, str]]:
    return [(p.path, p.reason) for p in index_bp4d(root).problems if p.path != "."]


def plus(root: Path) -> Path:
    """BP4D+ with one subject: its folder holds `2D+3D` and `AUCoding/AU_OCC`."""
    builders_layouts.bp4d(root / "2D+3D", tasks=range(1, 11), names=("0000", "0001", "0002"))
    (root / "AUCoding").mkdir()
    (root / "2D+3D" / "AUCoding").rename(root / "AUCoding" / "AU_OCC")
    return root


def test_a_complete_subject_of_bp4d_spontaneous(tmp_path):
    index = index_bp4d(builders_layouts.bp4d(tmp_path))
    assert [r.expression for r in index.recordings] == [
        "happy", "sad", "surprise", "embarrassment", "fear", "pain", "angry", "disgust",
    ]  # fmt: skip
    assert {r.expression for r in index.recordings} == set(SPONTANEOUS_EXPRESSIONS)
    first = index.recordings[0]
    assert (first.sample_id, first.subject, first.condition, first.is_sequence) == ("F001_T1", "F001", "T1", True)
    assert [frame.number for frame in first.frames] == [2440, 2441, 2442]
    assert index.remarks == (
        "taken for BP4D-Spontaneous; T1 to T8 got the classes of its table of tasks",
        "action units are coded for 8 of 8 sequences",
    )
    assert index.expected is not None
    assert (index.expected.num_subjects, index.expected.num_recordings) == (41, 328)
    assert problems(tmp_path) == []


def test_mixed_zero_padding(tmp_path):
    names = ("2440", "0000", "958", "1", "00957")
    frames = sequence(builders_layouts.bp4d(tmp_path, tasks=(1,), names=names), "F001_T1").frames
    assert [frame.number for frame in frames] == [0, 1, 957, 958, 2440]
    assert [frame.path.name for frame in frames] == ["0000.obj", "1.obj", "00957.obj", "958.obj", "2440.obj"]


def test_one_number_in_two_paddings_is_one_frame(tmp_path):
    root = builders_layouts.bp4d(tmp_path, tasks=(1,), names=("0001", "1", "0002"))
    assert len(sequence(root, "F001_T1").frames) == 2
    remark = "F001/T1: 1.obj have no frame number of their own and were left out"
    assert remark in index_bp4d(root).remarks


def test_an_image_under_another_padding_is_the_frames_own(tmp_path):
    root = builders_layouts.bp4d(tmp_path, tasks=(1,))
    image = root / "F001" / "T1" / "2440.jpg"
    image.rename(image.with_name("02440.jpg"))
    (root / "F001" / "T1" / "2441.jpg").unlink()
    assert ("F001/T1", "no image beside 1 of 3 meshes: 2441.obj") in problems(root)


@pytest.mark.parametrize("start", [0, 1])
def test_frames_count_from_0_or_from_1(tmp_path, start):
    names = [f"{number:04d}" for number in range(start, start + 3)]
    root = builders_layouts.bp4d(tmp_path, tasks=(1,), names=names)
    assert [frame.number for frame in sequence(root, "F001_T1").frames] == list(range(start, start + 3))


def test_a_missing_material_file_is_no_problem(tmp_path):
    root = builders_layouts.bp4d(tmp_path)
    for path in root.rglob("*.mtl"):
        path.unlink()
    assert problems(root) == []
    mesh = read_frame(sequence(root, "F001_T1").frames[0], load_texture=True).mesh
    assert mesh.texture is not None


def test_missing_and_empty_tasks(tmp_path):
    root = builders_layouts.bp4d(tmp_path)
    shutil.rmtree(root / "F001" / "T3")
    for path in (root / "F001" / "T4").iterdir():
        path.unlink()
    (root / "F001" / "notes").mkdir()
    assert problems(root) == [
        ("F001/T3", "the sequence is missing"),
        ("F001/T4", "the sequence has no frame; expected files like 000.obj"),
    ]
    assert "folder F001/notes is no task and was left out" in index_bp4d(root).remarks


def test_another_mesh_format_and_two_at_once(tmp_path):
    root = builders_layouts.bp4d(tmp_path, tasks=(1, 2))
    for path in list((root / "F001" / "T1").glob("*.obj")):
        path.with_suffix(".ply").write_bytes(builders.ply_text())
        path.unlink()
    (root / "F001" / "T2" / "2440.ply").write_bytes(builders.ply_text())
    assert {frame.path.suffix for frame in sequence(root, "F001_T1").frames} == {".ply"}
    assert {frame.path.suffix for frame in sequence(root, "F001_T2").frames} == {".obj"}
    assert "F001/T2 holds meshes as .obj, .ply; .obj was read" in index_bp4d(root).remarks


def test_bp4d_plus_has_another_table_of_tasks(tmp_path):
    index = index_bp4d(plus(tmp_path))
    labels = {recording.condition: recording.expression for recording in index.recordings}
    assert labels == {f"T{n}": "pain" if n == 8 else UNLABELLED for n in range(1, 11)}
    (remark,) = [remark for remark in index.remarks if remark.startswith("taken for BP4D+")]
    assert "a folder 2D+3D" in remark
    assert "a task beyond T8" in remark
    assert index.expected is not None
    assert index.expected.num_subjects == 140
    assert "action units are coded for 10 of 10 sequences" in index.remarks
    assert problems(tmp_path) == []


def test_what_tells_the_two_apart(tmp_path):
    """Nothing in a copy says which it is, so each sign is followed and told; a synthetic set's marker goes before."""
    root = builders_layouts.bp4d(tmp_path, ("F024",))
    (told,) = [remark for remark in index_bp4d(root).remarks if "taken for" in remark]
    assert "taken for BP4D+, for there is a subject beyond F023 and M018 (F024)" in told
    assert sequence(root, "F024_T8").expression == "pain"
    (root / MARKER_NAME).write_text("{}")
    assert sequence(root, "F024_T8").expression == "disgust"


def test_subjects_in_archives_are_read_in_place(tmp_path):
    unpacked = [(r.sample_id, r.expression, len(r.frames)) for r in index_bp4d(plus(tmp_path)).recordings]
    builders_layouts.pack(tmp_path / "2D+3D" / "F001")
    (tmp_path / "2D+3D" / "F002.zip").write_bytes(b"cut off")
    index = index_bp4d(tmp_path)
    assert [(r.sample_id, r.expression, len(r.frames)) for r in index.recordings] == unpacked
    assert problems(tmp_path) == [
        ("2D+3D/F002.zip", "damaged archive: not a readable zip archive: its table of contents is missing")
    ]
    mesh = read_frame(index.recordings[0].frames[0], load_texture=True).mesh
    assert mesh.num_vertices == builders_layouts.face().num_vertices
    assert mesh.texture is not None


def test_nothing_but_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "2D+3D").mkdir()
    (tmp_path / "2D+3D" / "F001.zip").write_bytes(b"cut off")
    with pytest.raises(
        LayoutError, match=r"first problem: 2D\+3D/F001.zip: damaged archive: not a readable zip archive"
    ):
        index_bp4d(tmp_path)


def test_archives_of_tasks_without_the_subjects_folder(tmp_path):
    plus(tmp_path)
    packed = tmp_path / "2D+3D" / "F001"
    shutil.make_archive(str(packed), "zip", packed)
    shutil.rmtree(packed)
    assert len(index_bp4d(tmp_path).recordings) == 10


def test_a_folder_between_the_root_and_the_subjects(tmp_path):
    builders_layouts.bp4d(tmp_path / "Sequences")
    index = index_bp4d(tmp_path)
    assert len(index.recordings) == 8
    assert "the scans lie in Sequences" in index.remarks
    assert any(remark.startswith("taken for BP4D-Spontaneous") for remark in index.remarks)


@pytest.mark.parametrize(
    ("written", "met"),
    [
        ((1, 3), {0: 1, 2: 3}),
        ((2, 3), {1: 2, 2: 3}),
        ((0, 2), {0: 0, 2: 2}),
        # Which of the two it is cannot be told here; the trackers of the data set count from 1.
        ((2,), {1: 2}),
    ],
)
def test_bndplus_landmarks_count_from_1_where_meshes_count_from_0(tmp_path, written, met):
    """Frames that the tracker lost have no file, so the two are matched by number, not by rank."""
    plus(tmp_path)
    folder = tmp_path / "3DFeatures" / "FacialLandmarks"
    folder.mkdir(parents=True)
    for number in written:
        (folder / f"F001_T1_{number:05d}.bndplus").write_text("1,2,3\n")
    frames = sequence(tmp_path, "F001_T1").frames
    assert {f.number: int(f.landmark_path.stem[-5:]) for f in frames if f.landmark_path is not None} == met
    told = "landmarks count from 1 and meshes from 0, and were matched so: F001_T1" in index_bp4d(tmp_path).remarks
    assert told == (written != (0, 2))


def test_bndplus_landmarks_of_meshes_that_do_not_count_from_0(tmp_path):
    root = builders_layouts.bp4d(tmp_path)
    (root / "3DFeatures" / "BND").mkdir(parents=True)
    (root / "3DFeatures" / "BND" / "F001_T1_2441.bndplus").write_text("1,2,3\n")
    landmarks = [frame.landmark_path for frame in sequence(root, "F001_T1").frames]
    assert landmarks == [None, root / "3DFeatures" / "BND" / "F001_T1_2441.bndplus", None]
    assert "folder 3DFeatures is no subject folder and was left out" not in index_bp4d(root).remarks


def test_action_unit_tables(tmp_path):
    """9 means unknown and is sound; a cell of anything else is a problem with its line."""
    root = builders_layouts.bp4d(tmp_path)
    (root / "AUCoding" / "F001_T1.csv").unlink()
    (root / "AUCoding" / "F001_T2.csv").write_text("0,1,2\n2440,9,1\n2441,7,0\n")
    ((path, reason),) = problems(root)
    assert path == "AUCoding/F001_T2.csv"
    assert reason.startswith("line 3: ")
    assert "action units are coded for 6 of 8 sequences" in index_bp4d(root).remarks


def test_nothing_of_the_layout(tmp_path):
    with pytest.raises(LayoutError, match="no BP4D scan"):
        index_bp4d(tmp_path)


def test_actions_are_those_of_the_coded_frame_that_shows_most(tmp_path):
    root = builders_layouts.bp4d(tmp_path, tasks=(1, 2))
    (root / "AUCoding" / "F001_T1.csv").write_text("0,1,2,4,6,12\n5,1,1,0,0,9\n7,0,0,1,1,1\n9,1,0,0,0,0\n")
    found = sequence(root, "F001_T1")
    assert set(found.actions or ()) == {"AU4", "AU6", "AU12"}
    assert not {"AU1", "AU2"} & set(found.unjudged_actions)


def test_two_units_of_one_action_do_not_hide_each_other(tmp_path):
    root = plus(tmp_path)
    (root / "AUCoding" / "AU_OCC" / "F001_T1.csv").write_text("0,33,34\n0,1,0\n1,0,9\n")
    assert sequence(root, "F001_T1").actions == {"AD34": (0.5, 0.5)}
    place = root / "AUCoding" / "AU_INT"
    place.mkdir()
    for unit, value in ((33, 4), (34, 1)):
        (place / f"F001_T1_AU{unit}.csv").write_text(f"0,{value}\n")
    assert sequence(root, "F001_T1").actions == {"AD34": (0.75, 0.75)}


def test_of_equal_frames_the_one_with_more_judged_units_counts(tmp_path):
    root = builders_layouts.bp4d(tmp_path, tasks=(1, 2))
    (root / "AUCoding" / "F001_T1.csv").write_text("0,1,2,4,45,99\n2440,0,1,9,9,1\n2441,0,0,9,1,1\n")
    (root / "AUCoding" / "F001_T2.csv").unlink()
    first = sequence(root, "F001_T1")
    assert first.actions == {"AU43": (0.5, 0.5)}
    assert {"AU4", "AU12"} <= set(first.unjudged_actions)
    assert not {"AU1", "AU2", "AU43"} & set(first.unjudged_actions)
    second = sequence(root, "F001_T2")
    assert (second.actions, second.unjudged_actions) == (None, ())
    assert "action units are coded for 1 of 2 sequences" in index_bp4d(root).remarks


@pytest.mark.parametrize("flat", [False, True])
def test_intensities_count_for_more_than_occurrence(tmp_path, flat):
    root = plus(tmp_path)
    place = root / "AUCoding" / "AU_INT"
    (root / "AUCoding" / "AU_OCC" / "F001_T1.csv").write_text("0,6,10,12\n1,1,0,1\n2,1,1,1\n")
    for unit, rows in (("06", "1,2\n2,4\n3,9\n"), ("10", "2,9\n"), ("12", "2,0\n"), ("14", "frame,AU14\n2,1\n")):
        folder = place if flat else place / f"AU{unit}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"F001_T1_AU{unit}.csv").write_text(rows)
    found = sequence(root, "F001_T1")
    assert found.actions == {"AU6": (0.75, 0.75), "AU10": (0.5, 0.5), "AU14": (0.1, 0.1)}
    assert not {"AU6", "AU10", "AU12", "AU14"} & set(found.unjudged_actions)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("1,7\n", "line 1: expected 0 to 5 or 9, found '7'"),
        ("1,1\n1,2\n", "line 2: frame 1 occurs twice"),
        ("1,1,1\n", "line 1: 3 values, expected a frame and an intensity"),
        ("frame,AU06\n", "no coded frame"),
    ],
)
def test_a_broken_table_of_intensities_is_a_problem(tmp_path, rows, told):
    root = plus(tmp_path)
    folder = root / "AUCoding" / "AU_INT" / "AU06"
    folder.mkdir(parents=True)
    (folder / "F001_T1_AU06.csv").write_text(rows)
    assert ("AUCoding/AU_INT/AU06/F001_T1_AU06.csv", told) in problems(root)
