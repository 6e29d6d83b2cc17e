"""Zip archives as folders: everything that is read through one, and everything that may be wrong with one."""

from __future__ import annotations

import gc
import io
import struct
import sys
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from builders import FACES, bnd, image, obj, write
from builders_labels import AU_CSV, archive, bndplus, bnt, lm2, lm3
from processes import run_python
from smilevlm.errors import LandmarkError, MeshError
from smilevlm.readers import (
    _zip_directory,
    archives,
    file_size,
    is_file,
    is_folder,
    list_folder,
    list_names,
    read_au_table,
    read_file,
    read_landmarks,
    read_lm2,
    read_mesh,
    read_texture,
)

MEMBERS = {
    "F001/T1/0000.obj": obj(head="mtllib face.mtl\nusemtl m"),
    "F001/T1/face.mtl": b"newmtl m\nmap_Kd FACE.png\n",
    "F001/T1/Face.png": image(size=(5, 6)),
    "F001/T1/1.obj": obj(),
    "F001/T1/1.jpg": image("JPEG"),
    "F001/T2/0001.bnd": bnd().encode(),
    "F001/T2/empty.obj": b"",
    "bs000/a.bnt": bnt(),
    "bs000/a.lm3": lm3().encode(),
    "bs000/a.png": image(),
    "bs000/a.lm2": lm2().encode(),
    "AUCoding/F001_T1.csv": AU_CSV.encode(),
    "BND/F001_T1_00001.bndplus": bndplus().encode(),
}


@pytest.fixture
def packed(tmp_path) -> Path:
    return write(tmp_path, "F001.zip", archive(MEMBERS))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_read_like_files(tmp_path, method):
    root = write(tmp_path, "Data.ZIP", archive(MEMBERS, method=method))
    for name, data in MEMBERS.items():
        assert is_file(root / name)
        assert file_size(root / name) == len(data)
        if data:
            assert read_file(root / name) == data
    assert [path.name for path in list_folder(root)] == ["AUCoding", "BND", "F001", "bs000"]
    assert list_folder(root / "F001" / "T1")[0] == root / "F001" / "T1" / "0000.obj"
    assert sorted(list_names(root / "F001")) == ["T1", "T2"]
    assert is_folder(root)
    assert is_folder(root / "F001" / "T1")
    assert not is_folder(root / "F001" / "T1" / "1.obj")
    assert not is_file(root / "F001")
    assert not is_file(root / "f001" / "T1" / "1.obj"), "names count in their own case, as on disk"


def test_meshes_materials_textures_and_landmarks_through_a_zip(packed):
    mesh = read_mesh(packed / "F001" / "T1" / "0000.obj")
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.texture.shape == (6, 5, 3)
    assert read_mesh(packed / "F001" / "T1" / "1.obj").texture.shape == (3, 4, 3)
    assert read_texture(packed / "F001" / "T1" / "Face.png").shape == (6, 5, 3)
    assert len(read_landmarks(packed / "F001" / "T2" / "0001.bnd")) == 83
    assert read_mesh(packed / "bs000" / "a.bnt").texture is not None
    assert "Nose tip" in read_landmarks(packed / "bs000" / "a.lm3")
    assert "Nose tip" in read_lm2(packed / "bs000" / "a.lm2")
    assert read_au_table(packed / "AUCoding" / "F001_T1.csv").au_numbers == (1, 2, 4)
    assert len(read_landmarks(packed / "BND" / "F001_T1_00001.bndplus")) == 4
    with pytest.raises(LandmarkError, match=r"F001\.zip/bs000/gone\.lm3: no such member"):
        read_landmarks(packed / "bs000" / "gone.lm3")


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("F001/T1/gone.obj", r"F001\.zip/F001/T1/gone\.obj: no such member of the archive"),
        ("F001/T1", "a folder within an archive, expected one file"),
        ("F001/T2/empty.obj", "empty file"),
        ("F001/T1/0000.obj/x.obj", "no such member"),
        ("../F001.zip/F001/T1/1.obj", "no such member"),
    ],
)
def test_members_that_cannot_be_read(packed, member, message):
    with pytest.raises(MeshError, match=message):
        read_mesh(packed / member)


def test_folders_that_are_not_there(packed):
    for path in (packed / "F002", packed / "F001" / "T1" / "1.obj"):
        with pytest.raises(MeshError, match="no such folder in the archive"):
            list_folder(path)
    with pytest.raises(MeshError, match="no such member"):
        file_size(packed / "F002")
    with pytest.raises(MeshError, match="the folder cannot be listed"):
        list_folder(packed.parent / "gone")
    with pytest.raises(MeshError, match="cannot be read"):
        file_size(packed.parent / "gone.obj")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "its table of contents is missing"),
        (b"not a zip", "its table of contents is missing"),
        (b"PK\5\6", "its table of contents is missing"),
        (archive(MEMBERS)[:-30], "its table of contents is missing"),
        (archive(MEMBERS)[40:], "table of contents lies outside of it; truncated"),
        (archive({"a": b"x"}).replace(b"PK\1\2", b"PK\1\3"), "byte 34: the archive's table ends after 0 of 1 members"),
    ],
    ids=range(6),
)
def test_a_file_called_zip_that_is_none(tmp_path, data, message):
    path = write(tmp_path, "x.zip", data)
    assert is_file(path)
    assert not is_folder(path)
    assert not is_file(path / "a")
    assert not is_folder(path / "a")
    for use in (list_folder, list_names):
        with pytest.raises(MeshError, match=message):
            use(path)
    with pytest.raises(MeshError, match=message):
        read_file(path / "a")


def test_a_folder_called_zip(tmp_path):
    folder = tmp_path / "x.zip"
    folder.mkdir()
    write(folder, "a.obj", obj())
    assert is_folder(folder)
    assert list_folder(folder) == [folder / "a.obj"]
    assert read_mesh(folder / "a.obj").num_faces == 4
    write(folder, "y.zip", archive({"b.obj": obj()}))
    assert read_mesh(folder / "y.zip" / "b.obj").num_faces == 4
    with pytest.raises(MeshError, match="a folder, expected one file"):
        read_file(folder)


def test_a_zip_reads_as_a_plain_file_too(packed):
    assert is_file(packed)
    assert read_file(packed) == packed.read_bytes()
    assert file_size(packed) == packed.stat().st_size


@pytest.mark.parametrize("name", ["./a/b.obj", "/a/b.obj", "a//b.obj", "a\\b.obj", "a/./b.obj"])
def test_names_written_in_odd_ways(tmp_path, name):
    data = archive({"a/b.obj".ljust(len(name), "?"): obj()}).replace(b"a/b.obj".ljust(len(name), b"?"), name.encode())
    root = write(tmp_path, "x.zip", data)
    assert list_folder(root / "a") == [root / "a" / "b.obj"]
    assert read_mesh(root / "a" / "b.obj").num_faces == 4


@pytest.mark.parametrize("name", ["../a.obj", "a/../../b.obj", "..\\a.obj"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    root = write(tmp_path, "x.zip", archive({name: obj(), "good.obj": obj()}))
    with pytest.raises(MeshError, match="leads out of the archive; refused"):
        list_folder(root)


def test_names_in_other_alphabets(tmp_path):
    root = write(tmp_path, "x.zip", archive({"Gesicht_ä/顔.obj": obj()}))
    assert read_mesh(root / "Gesicht_ä" / "顔.obj").num_faces == 4
    old = archive({"x1.obj": obj()}).replace(b"x1.obj", b"\x84\x81.obj")  # code page 437, without the flag
    assert is_file(write(tmp_path, "old.zip", old) / "äü.obj")


def test_of_two_members_with_one_name_the_last_counts(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.obj", b"v 1 2 3\n")
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("a.obj", obj())
    root = write(tmp_path, "x.zip", file.getvalue())
    assert [path.name for path in list_folder(root)] == ["a.obj"]
    assert read_mesh(root / "a.obj").num_vertices == 5


def test_a_name_that_is_both_file_and_folder_is_a_folder(tmp_path):
    root = write(tmp_path, "x.zip", archive({"a": b"x", "a/b": b"y"}))
    assert is_folder(root / "a")
    assert not is_file(root / "a")
    assert read_file(root / "a" / "b") == b"y"


def test_empty_folders_and_an_empty_archive(tmp_path):
    root = write(tmp_path, "x.zip", archive({"a/b/": b"", "c/d.obj": b"x"}))
    assert is_folder(root / "a" / "b")
    assert list_folder(root / "a" / "b") == []
    assert list_folder(write(tmp_path, "y.zip", archive({}))) == []


def with_entry(data: bytes, at: int, form: str, *values: int) -> bytes:
    """Change the first entry of the archive's table, `at` bytes after its start."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.index(b"PK\1\2") + at, *values)
    return bytes(changed)


ZEROS = archive({"a.obj": bytes(2**20)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ZEROS, r"unpacks to 1048576 bytes from 10\d\d; refused"),
        (with_entry(ZEROS, 24, "<L", 1000), "damaged: not the 1000 bytes announced"),
        (with_entry(ZEROS, 24, "<L", 2**31), "unpacks to 2147483648 bytes"),
        (with_entry(ZEROS, 24, "<L", 0), "damaged: not the 0 bytes announced"),
        (with_entry(archive({"a.obj": obj()}), 24, "<L", 9999), "damaged: not the 9999 bytes announced"),
        (with_entry(archive({"a.obj": obj()}), 16, "<L", 7), "damaged: its checksum is another"),
        (with_entry(archive({"a.obj": obj()}), 20, "<L", 10**6), r"truncated: \d+ of 1000000 bytes"),
        (with_entry(archive({"a.obj": obj()}), 42, "<L", 5), "damaged: no member at byte 5"),
        (with_entry(archive({"a.obj": obj()}), 42, "<L", 10**9), "damaged: no member at byte 1000000000"),
        (with_entry(archive({"a.obj": obj()}), 8, "<H", 1), "is encrypted"),
        (archive({"a.obj": obj()}, method=zipfile.ZIP_LZMA), "packed by method 14, expected 0 or 8"),
        (archive({"a.obj": obj()}, method=zipfile.ZIP_BZIP2), "packed by method 12"),
        (archive({"a.obj": b"stored"}, method=zipfile.ZIP_STORED).replace(b"stored", b"st0red"), "its checksum is"),
        (
            archive({"a.obj": obj()})[:35] + b"\xff" * 9 + archive({"a.obj": obj()})[44:],
            "the archive member is damaged",
        ),
    ],
    ids=range(14),
)
def test_bombs_lies_and_damage(tmp_path, data, message):
    root = write(tmp_path, "x.zip", data)
    with pytest.raises(MeshError, match=message):
        read_file(root / "a.obj")


def test_a_lie_about_the_unpacked_size_costs_no_memory(tmp_path):
    import tracemalloc

    packed = zlib.compress(bytes(2**26), 9)[2:-4]
    data = with_entry(archive({"a.obj": b""}, method=zipfile.ZIP_STORED), 10, "<H", 8)
    at = data.index(b"PK\1\2")
    data = data[:at] + packed + with_entry(data[at:], 20, "<2L", len(packed), 100)
    end = data.rindex(b"PK\5\6")
    data = data[: end + 16] + struct.pack("<L", at + len(packed)) + data[end + 20 :]
    path = write(tmp_path, "x.zip", data) / "a.obj"
    tracemalloc.start()
    try:
        with pytest.raises(MeshError, match="not the 100 bytes announced"):
            read_file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    root = write(tmp_path, "x.zip", archive({str(number): b"x" for number in range(11)}))
    monkeypatch.setattr(_zip_directory, "MAX_MEMBERS", 10)
    with pytest.raises(MeshError, match="11 members in the archive, at most 10"):
        list_folder(root)


def test_a_comment_a_program_in_front_and_zip64(tmp_path):
    file = io.BytesIO(b"#!/bin/sh\n")
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "w") as made:
        with made.open("a.obj", "w", force_zip64=True) as member:
            member.write(obj())
        made.comment = b"PK is not the end"
    assert read_mesh(write(tmp_path, "x.zip", file.getvalue()) / "a.obj").num_faces == 4


def test_more_members_than_16_bits_count(tmp_path):
    data = archive({f"F001/T1/{number}": b"x" for number in range(66_000)}, method=zipfile.ZIP_STORED)
    assert b"PK\6\6" in data, "the end is written as Zip64"
    assert len(list_names(write(tmp_path, "x.zip", data) / "F001" / "T1")) == 66_000


def test_large_values_of_zip64_entries(tmp_path):
    """A member beyond 4 GiB: its numbers stand in the extra field, in the order size, packed size, offset."""
    stored = archive({"a.obj": obj()}, method=zipfile.ZIP_STORED)
    at = stored.index(b"PK\1\2")
    end = stored.rindex(b"PK\5\6")
    extra = struct.pack("<2HL2H3Q", 99, 4, 0, 1, 24, len(obj()), len(obj()), 0)
    entry = with_entry(stored[at:end], 20, "<2L", 2**32 - 1, 2**32 - 1)
    entry = with_entry(with_entry(entry, 42, "<L", 2**32 - 1), 30, "<H", len(extra)) + extra
    tail = bytearray(stored[end:])
    struct.pack_into("<L", tail, 12, len(entry))
    path = write(tmp_path, "x.zip", stored[:at] + entry + bytes(tail)) / "a.obj"
    assert read_file(path) == obj()


def test_an_archive_that_is_replaced_is_read_anew(tmp_path):
    root = write(tmp_path, "x.zip", archive({"a": b"old"}))
    assert read_file(root / "a") == b"old"
    write(tmp_path, "x.zip", archive({"a": b"newer", "b": b"x"}))
    assert read_file(root / "a") == b"newer"
    root.unlink()
    with pytest.raises(MeshError, match="no such file"):
        read_file(root / "a")


READ_BY_CHILDREN = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from smilevlm.readers.archives import read_file

if __name__ == "__main__":
    member = Path(sys.argv[1])
    whole = read_file(member)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(sys.argv[2])) as pool:
        assert list(pool.map(read_file, [member] * 20)) == [whole] * 20
    assert read_file(member) == whole
    sys.stdout.buffer.write(whole)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes_read_one_archive(packed, tmp_path, method):
    # In a program of its own, without the threads of others: a process that is forked beside them may never end.
    program = write(tmp_path, "program.py", READ_BY_CHILDREN.encode())
    done = run_python(program, packed / "F001" / "T1" / "1.obj", method, check=False, text=False)
    assert (done.stdout, done.stderr.decode()) == (obj(), "")


def test_several_threads_read_one_archive(packed):
    found: list[bool] = []

    def read_all() -> None:
        found.append(all(read_file(packed / name) == data for name, data in list(MEMBERS.items())[:6] * 20))

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_nothing_stays_open(tmp_path, monkeypatch):
    gc.collect()  # what other tests left is not ours
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    for number in range(2 * archives.NUM_OPEN_TABLES):
        assert read_file(write(tmp_path, f"{number}.zip", archive({"a": b"x"})) / "a") == b"x"
        with pytest.raises(MeshError):
            list_folder(write(tmp_path, "broken.zip", b"no zip" * number + b"at all"))
    gc.collect()
    assert unraisable == []


def test_a_plain_path_never_touches_the_disk_twice(tmp_path, monkeypatch):
    asked: list[Path] = []
    monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path) or False)
    assert archives.split_archive(tmp_path / "F001" / "zip" / "a.obj") is None
    assert asked == []
    assert archives.split_archive(tmp_path / "x.zip.d" / "y.zip" / "a.obj") is None
    assert asked == [tmp_path / "x.zip.d" / "y.zip"]


@pytest.mark.slow
def test_100_000_members_are_listed_folder_by_folder(tmp_path):
    members = {f"F001/T{number // 12_500 + 1}/{number % 12_500:04d}.obj": b"x" for number in range(100_000)}
    root = write(tmp_path, "x.zip", archive(members, method=zipfile.ZIP_STORED))
    assert [len(list_folder(root / "F001" / f"T{task}")) for task in range(1, 9)] == [12_500] * 8


def test_paths_that_the_system_refuses():
    for path in (Path("a\0.zip/b"), Path("x" * 5000 + ".zip/b"), Path("a\0b")):
        assert not is_file(path)
        assert not is_folder(path)
        for use in (read_file, list_folder, file_size):
            with pytest.raises(MeshError):
                use(path)
