from __future__ import annotations

from pathlib import Path

import pytest

import builders
from smilevlm.datasets import index_data_set
from smilevlm.datasets.folder import index_folder
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.store import Recording


def put(root: Path, *names: str) -> Path:
    """Meshes under these names, each in its own format."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(builders.TINY.get(f"a{path.suffix}", b"1 2 3\n4 5 6\n"))
    return root


def by_id(root: Path) -> dict[str, Recording]:
    return {recording.sample_id: recording for recording in index_folder(root).recordings}


def test_one_file_is_a_scan_and_known_words_are_canonical(tmp_path):
    put(tmp_path, "anna/Happy/scan.obj", "anna/SADNESS/17.wrl", "bob/Wink/a.ply")
    found = by_id(tmp_path)
    assert {name: (r.subject, r.expression, r.is_sequence) for name, r in found.items()} == {
        "anna_Happy": ("anna", "happy", False),
        "anna_SADNESS": ("anna", "sad", False),
        "bob_Wink": ("bob", "wink", False),
    }
    assert index_folder(tmp_path).expected is None
    assert index_folder(tmp_path).remarks == ("taken for 0 sequences and 3 single scans",)
    assert index_folder(tmp_path).problems == ()


def test_names_joined_by_a_plus_are_several_classes(tmp_path):
    put(tmp_path, "anna/Fear + su/scan.ply")
    (recording,) = index_folder(tmp_path).recordings
    assert recording.labels == ("fear", "surprise")
    assert recording.expression == "fear+surprise"


@pytest.mark.parametrize("pattern", ["{}.obj", "f_{}.obj", "{:03d}.obj", "frame{}.obj"])
def test_numbered_files_are_one_sequence_in_the_order_of_their_numbers(tmp_path, pattern):
    numbers = [*range(5, 13), 14]
    put(tmp_path, *(f"anna/happy/{pattern.format(number)}" for number in reversed(numbers)))
    index = index_folder(tmp_path)
    (recording,) = index.recordings
    assert recording.is_sequence
    assert recording.sample_id == "anna_happy"
    assert [frame.number for frame in recording.frames] == numbers
    assert [frame.path.name for frame in recording.frames] == [pattern.format(number) for number in numbers]
    said = 'anna/happy: sequence of 9 frames; for a row each: --scans (in Python numbered_as="scans")'
    assert said in index.remarks


def test_numbered_files_are_what_they_are_said_to_be(tmp_path):
    put(tmp_path, *(f"anna/happy/pose_{number}.obj" for number in range(3)))
    put(tmp_path, *(f"ben/happy/{number:03d}.obj" for number in range(8)))
    kinds = {
        numbered_as: [
            recording.is_sequence
            for recording in index_data_set("folder", tmp_path, numbered_as=numbered_as).recordings
        ]
        for numbered_as in ("auto", "scans", "sequence")
    }
    assert kinds == {"auto": [False] * 3 + [True], "scans": [False] * 11, "sequence": [True, True]}
    assert any("3 numbered files (pose_0.obj to pose_2.obj) were read as" in r for r in index_folder(tmp_path).remarks)
    with pytest.raises(SettingsError, match="are for the layout folder; bu4dfe says what is a sequence"):
        index_data_set("bu4dfe", tmp_path, numbered_as="scans")


@pytest.mark.parametrize("names", [("first.obj", "second.obj"), ("a1.obj", "b2.obj"), ("1.obj", "neutral.obj")])
def test_other_names_are_a_scan_each(tmp_path, names):
    put(tmp_path, *(f"anna/happy/{name}" for name in names))
    found = by_id(tmp_path)
    assert list(found) == sorted(f"anna_happy_{Path(name).stem}" for name in names)
    assert not any(recording.is_sequence for recording in found.values())


def test_folders_below_an_expression_are_further_recordings(tmp_path):
    put(tmp_path, *(f"anna/happy/take1/{number}.obj" for number in range(8)))
    put(tmp_path, "anna/happy/take2/x.obj", "anna/happy/own.obj")
    put(tmp_path, "anna/happy/take2/deep/y.obj")
    found = by_id(tmp_path)
    assert {name: len(r.frames) for name, r in found.items()} == {
        "anna_happy": 1, "anna_happy_take1": 8, "anna_happy_take2": 1,
    }  # fmt: skip
    assert {r.expression for r in found.values()} == {"happy"}
    assert "folder anna/happy/take2/deep lies too deep and was left out" in index_folder(tmp_path).remarks


def test_text_is_a_point_cloud_only_where_no_mesh_lies(tmp_path):
    put(tmp_path, "anna/happy/scan.obj", "anna/happy/notes.txt", "anna/happy/scan.jpg", "anna/happy/scan.bnd")
    put(tmp_path, "anna/sad/cloud.txt")
    found = by_id(tmp_path)
    assert [r.path.name for r in found.values()] == ["scan.obj", "cloud.txt"]
    assert index_folder(tmp_path).remarks == (
        "taken for 0 sequences and 2 single scans",
        f"1 file in {tmp_path.name} passed over: 1 .txt beside meshes",
    )


def test_what_is_no_scan_is_counted(tmp_path):
    put(tmp_path, "anna/happy/scan.obj", "anna/happy/photo.jpg", "anna/happy/phone.fbx", "anna/happy/b.zip")
    put(tmp_path, "labels.csv", "anna/notes.txt", "ben/sad/notes.pdf", "ben/sad/table.csv")
    (tmp_path / "ben/sad/table.csv").write_text("name,age\nben,30\n")
    index = index_folder(tmp_path)
    assert index.remarks[-1] == (
        f"7 files in {tmp_path.name} passed over: 1 .csv beside folders, 1 .csv without coordinates, 1 .jpg, 1 .pdf, "
        "1 .txt beside folders, 1 .fbx (phone.fbx: a scene of a 3D editor: export the mesh as OBJ, PLY or GLB), "
        "1 damaged archive (b.zip: not a readable zip archive: its table of contents is missing)"
    )
    assert [(p.path, p.reason) for p in index.problems] == [
        ("ben/sad", "no mesh in this folder; found 1 .csv without coordinates, 1 .pdf")
    ]


def test_links_add_nothing(tmp_path):
    put(tmp_path, "anna/happy/scan.obj", "ben/sad/scan.obj")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "anna" / "again").symlink_to("happy")
    (tmp_path / "ben" / "up").symlink_to("..")
    (tmp_path / "ben" / "sad" / "copy.obj").symlink_to("../../anna/happy/scan.obj")
    index = index_folder(tmp_path)
    assert [r.path.relative_to(tmp_path).as_posix() for r in index.recordings] == [
        "anna/happy/scan.obj", "ben/sad/scan.obj",
    ]  # fmt: skip
    for link in ("loop", "anna/again", "ben/up"):
        assert f"{link} is a link to a folder that is visited anyway; it was left out" in index.remarks
    assert "1 link to a scan that is read anyway" in index.remarks[-1]


def test_two_formats_in_one_folder(tmp_path):
    put(tmp_path, "anna/happy/scan.obj", "anna/happy/scan.ply")
    index = index_folder(tmp_path)
    assert len(index.recordings) == 1
    kept = index.recordings[0].path.suffix
    assert any(f"; {kept} was read" in remark for remark in index.remarks)


def test_what_lies_in_the_wrong_place(tmp_path):
    put(tmp_path, "anna/happy/scan.obj", "anna/loose.obj", "lost.ply")
    (tmp_path / "anna" / "sad").mkdir()
    index = index_folder(tmp_path)
    assert len(index.recordings) == 1
    assert "loose.obj in anna lie beside the folders of expressions and were left out" in index.remarks
    assert "lost.ply in the root lie beside the folders of expressions and were left out" in index.remarks
    assert [(p.path, p.reason) for p in index.problems] == [("anna/sad", "no mesh in this folder")]


def test_names_are_safe_and_unique(tmp_path):
    put(tmp_path, "anna b/happy/scan.obj", "anna-b/happy/scan.obj", "ännä/happy/scan.obj")
    index = index_folder(tmp_path)
    assert sorted(by_id(tmp_path)) == ["anna-b_happy", "anna-b_happy-2", "ännä_happy"]
    assert index.subjects == ("anna b", "anna-b", "ännä")
    assert any("its name was taken" in remark for remark in index.remarks)


@pytest.mark.parametrize("name", ["", "scan.obj", "happy/scan.obj"])
def test_nothing_in_the_right_place(tmp_path, name):
    if name:
        put(tmp_path, name)
    with pytest.raises(LayoutError, match=r"expected files like anna/happy/scan.obj"):
        index_folder(tmp_path)
