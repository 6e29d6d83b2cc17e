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
    touch(tmp_path, "f_10.ply", "f_9.ply", "f_2.ply", "notes.md")
    found = scan_files(tmp_path)
    assert found.is_sequence
    assert [frame.number for frame in found.frames] == [2, 9, 10]
    assert [frame.path.name for frame in found.frames] == ["f_2.ply", "f_9.ply", "f_10.ply"]


@pytest.mark.parametrize(
    "names",
    [
        ("anna.ply", "bert.ply"),
        ("a1.ply", "b2.ply"),
        ("1.ply", "2.obj"),
        ("1.ply",),
        ("01.ply", "1.ply"),
        ("1.ply", "x.ply"),
    ],
)
def test_meshes_that_are_no_frames_are_scans_of_their_own(tmp_path, names):
    touch(tmp_path, *names)
    assert described(tmp_path) == [(name, 1, False) for name in sorted(names)]


def test_a_folder_of_scans_and_sequences(tmp_path):
    names = ("b.wrl", "a.OBJ", "clip/000.ply", "clip/001.ply", "deep/er/x.stl", ".hidden/y.ply", "empty/readme.txt")
    touch(tmp_path, *names, "__MACOSX/z.ply")
    assert described(tmp_path) == [
        ("a.OBJ", 1, False), ("b.wrl", 1, False), ("clip", 2, True), ("deep/er/x.stl", 1, False),
        ("empty/readme.txt", 1, False),
    ]  # fmt: skip


def test_a_name_of_far_too_many_digits_is_no_frame_number(tmp_path):
    touch(tmp_path, f"{'1' * 200}.ply", f"{'2' * 200}.ply")
    assert [entry[2] for entry in described(tmp_path)] == [False, False]


def test_text_beside_meshes_is_no_point_cloud(tmp_path):
    touch(tmp_path, "scan.ply", "labels.csv", "read_me.txt")
    assert described(tmp_path) == [("scan.ply", 1, False)]


def test_an_archive_is_a_folder(tmp_path):
    archive = tmp_path / "clip.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(3):
            file.writestr(f"frames/{number:03d}.obj", "v 0 0 0")
    (found,) = find_scans(archive)
    assert found.is_sequence
    assert [frame.path for frame in found.frames] == [archive / "frames" / f"{n:03d}.obj" for n in range(3)]


def test_nothing_to_recognise(tmp_path):
    touch(tmp_path, "picture.jpg")
    with pytest.raises(MeshError, match="no mesh below this folder"):
        find_scans(tmp_path)


def test_one_scan_is_asked_for_and_there_are_more(tmp_path):
    touch(tmp_path, "anna.ply", "bert.ply")
    with pytest.raises(MeshError, match="holds 2 scans"):
        scan_files(tmp_path)
