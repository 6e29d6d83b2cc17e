"""What counts as one scan, one sequence, or a folder of both."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from smilevlm.errors import MeshError
from smilevlm.predict import find_scans, scan_files


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return root


def described(root: Path) -> list[tuple[str, int, bool]]:
    return [
        (found.path.relative_to(root).as_posix(), len(found.frames), found.is_sequence) for found in find_scans(root)
    ]


def test_a_file_is_a_scan_whether_or_not_it_is_there(tmp_path):
    (found,) = find_scans(tmp_path / "none.ply")
    assert (found.path, found.is_sequence, len(found.frames)) == (tmp_path / "none.ply", False, 1)
    assert scan_files(tmp_path / "none.ply") == found


def test_numbered_meshes_are_the_frames_of_one_sequence_in_the_order_of_their_numbers(tmp_path):
    touch(tmp_path, *(f"f_{number}.ply" for number in range(2, 12)), "notes.md")
    found = scan_files(tmp_path)
    assert found.is_sequence
    assert [frame.number for frame in found.frames] == list(range(2, 12))
    assert found.frames[-1].path.name == "f_11.ply"
    assert found.remarks[0] == 'sequence of 10 frames; for a row each: --scans (in Python numbered_as="scans")'


@pytest.mark.parametrize(
    "names",
    [
        ("anna.ply", "bert.ply"),
        ("a1.ply", "b2.ply"),
        ("1.ply", "2.obj"),
        ("1.ply",),
        ("01.ply", "1.ply"),
        ("1.ply", "x.ply"),
        ("pose_0.ply", "pose_1.ply", "pose_2.ply"),
        ("person1.ply", "person2.ply"),
        ("001.ply", "002.ply", "003.ply"),
    ],
)
def test_meshes_that_are_no_frames_are_scans_of_their_own(tmp_path, names):
    touch(tmp_path, *names)
    assert described(tmp_path) == [(name, 1, False) for name in sorted(names)]


def test_options_go_before_the_rule(tmp_path):
    touch(tmp_path, "few/pose_0.ply", "few/pose_1.ply", "one/a.ply", *(f"many/{n:03d}.ply" for n in range(9)))
    kinds = {
        numbered_as: [found.is_sequence for found in find_scans(tmp_path, numbered_as=numbered_as)]
        for numbered_as in ("auto", "scans", "sequence")
    }
    assert kinds == {"auto": [False, False, True, False], "scans": [False] * 12, "sequence": [True, True, False]}
    with pytest.raises(MeshError, match="holds no sequence: expected a folder whose mesh files have one suffix"):
        find_scans(tmp_path / "one", numbered_as="sequence")


def test_a_folder_of_scans_and_sequences(tmp_path):
    clip = [f"clip/{number:03d}.ply" for number in range(6)]
    names = ("b.wrl", "a.OBJ", *clip, "deep/er/x.stl", "c.wrl.gz", ".hidden/y.ply", "empty/readme.txt")
    touch(tmp_path, *names, "__MACOSX/z.ply", "photo.jpg", "b.jpg", "phone.fbx")
    assert described(tmp_path) == [
        ("a.OBJ", 1, False), ("b.wrl", 1, False), ("c.wrl.gz", 1, False), ("clip", 6, True),
        ("deep/er/x.stl", 1, False),
    ]  # fmt: skip
    (remark,) = find_scans(tmp_path)[0].remarks
    assert remark == (
        f"5 files in {tmp_path.name} passed over: 1 .jpg, 1 .txt without coordinates, 2 hidden, 1 .fbx (phone.fbx: a "
        "scene of a 3D editor: export the mesh as OBJ, PLY or GLB)"
    )


def test_a_name_of_far_too_many_digits_is_no_frame_number(tmp_path):
    touch(tmp_path, *(f"{digit * 200}.ply" for digit in "123456789"))
    assert not any(entry[2] for entry in described(tmp_path))


def test_text_beside_meshes_is_no_point_cloud(tmp_path):
    touch(tmp_path, "scan.ply", "labels.csv", "read_me.txt")
    assert described(tmp_path) == [("scan.ply", 1, False)]


@pytest.mark.parametrize("place", ["labels.csv", "below/labels.csv", "anna/more/notes.txt"])
def test_a_table_that_is_no_scan_is_no_scan_wherever_meshes_lie(tmp_path, place):
    touch(tmp_path, "anna/a.ply", place)
    assert described(tmp_path) == [("anna/a.ply", 1, False)]
    assert "without coordinates" in find_scans(tmp_path)[0].remarks[0]


def test_a_table_is_tried_where_there_is_nothing_else(tmp_path):
    touch(tmp_path, "below/labels.csv")
    assert described(tmp_path) == [("below/labels.csv", 1, False)]


def test_a_damaged_archive_is_called_one(tmp_path):
    (tmp_path / "scan.zip").write_bytes(b"PK\3\4")
    with pytest.raises(MeshError, match="damaged archive: not a readable zip archive"):
        find_scans(tmp_path / "scan.zip")
    with pytest.raises(MeshError, match=r"no mesh below .*; found 1 damaged archive \(scan\.zip: not a readable"):
        find_scans(tmp_path)


def test_an_archive_without_mesh_says_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as file:
        file.writestr("export/model.fbx", "x")
        file.writestr("export/color.png", "x")
    with pytest.raises(MeshError, match=r"found 1 \.png, 1 \.fbx \(model\.fbx: a scene of a 3D editor"):
        find_scans(tmp_path / "scan.zip")


def test_an_archive_is_a_folder(tmp_path):
    archive = tmp_path / "clip.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(6):
            file.writestr(f"frames/{number:03d}.obj", "v 0 0 0")
    (found,) = find_scans(archive)
    assert found.is_sequence
    assert [frame.path for frame in found.frames] == [archive / "frames" / f"{n:03d}.obj" for n in range(6)]


def test_nothing_to_recognise(tmp_path):
    touch(tmp_path, "picture.jpg")
    with pytest.raises(MeshError, match="no mesh below this folder"):
        find_scans(tmp_path)


def test_one_scan_is_asked_for_and_there_are_more(tmp_path):
    touch(tmp_path, "anna.ply", "bert.ply")
    with pytest.raises(MeshError, match="holds 2 scans"):
        scan_files(tmp_path)
