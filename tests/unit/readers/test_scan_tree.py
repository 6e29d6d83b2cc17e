"""One walk over scans: each real folder once, what is no scan counted by reason."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from smilevlm.errors import MeshError
from smilevlm.readers import PassedOver, mesh_stem, mesh_suffix, read_mesh, walk_scans
from smilevlm.readers.file_kinds import ADVICE
from smilevlm.readers.files import MESH_SUFFIXES
from smilevlm.readers.tables import holds_coordinates


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return root


def meshes(root: Path) -> list[str]:
    return [mesh.relative_to(root).as_posix() for folder in walk_scans(root)[0] for mesh in folder.meshes]


def link(root: Path, name: str, target: str | Path) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(target)


LOOPS = {
    "a parent": [("a/x", "..")],
    "a parent, twice": [("a/x", ".."), ("a/y", "..")],
    "itself": [("a/x", ".")],
    "the folder above the root": [("x", "../..")],
    "a brother": [("x", "a"), ("b/y", "../a")],
    "each other": [("b/to_c", "../c"), ("c/to_b", "../b")],
    "a link": [("x", "y"), ("y", "a")],
    "nothing": [("x", "gone"), ("self", "self")],
}


@pytest.mark.parametrize("loop", LOOPS)
def test_links_neither_lead_in_circles_nor_repeat_scans(tmp_path, loop):
    root = put(tmp_path / "outer" / "root", "a/face.ply", "b/face.ply", "c/face.ply")
    for name, target in LOOPS[loop]:
        link(root, name, target)
    assert meshes(root) == ["a/face.ply", "b/face.ply", "c/face.ply"]
    assert len(walk_scans(root)[1].remarks) == 1


def test_what_links_alone_lead_to_is_read_once(tmp_path):
    put(tmp_path / "store", "face.ply", "deep/face.ply")
    root = put(tmp_path / "root", ".annex/kept.ply", "own.ply")
    link(root, "first", tmp_path / "store")
    link(root, "second", tmp_path / "store")
    link(root, "annexed.ply", ".annex/kept.ply")
    link(root, "again.ply", "own.ply")
    link(root, "one.ply", tmp_path / "store" / "face.ply")
    found = meshes(root)
    assert {"annexed.ply", "own.ply", "first/deep/face.ply"} <= set(found)
    assert len({"first/face.ply", "one.ply"} & set(found)) == 1
    assert len(found) == 4
    assert "2 links to a scan that is read anyway" in walk_scans(root)[1].summary
    assert "1 link to a folder that is visited anyway" in walk_scans(root)[1].summary


def test_an_archive_by_two_names_is_opened_once(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("face.ply", "x")
    link(tmp_path, "b.zip", "a.zip")
    assert meshes(tmp_path) == ["a.zip/face.ply"]


def test_folders_within_an_archive_may_be_deep(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("d/" * 1100 + "face.ply", "x")
    assert len(meshes(tmp_path)) == 1


def test_textures_and_landmarks_belong_to_their_mesh(tmp_path):
    put(tmp_path, "a.wrl", "a.jpg", "a.BND", "b.obj", "material.mtl", "c.jpg", "c.bnd", "c.mp4", "without", ".DS_Store")
    assert walk_scans(tmp_path)[1].summary == "1 .bnd, 1 .jpg, 1 .mp4, 1 hidden, 1 without suffix"


def test_what_may_be_a_scan_is_named_with_advice(tmp_path):
    put(tmp_path, "ok.ply", *(f"face_{number}.max" for number in range(5)), "ct.nii.gz", "bad.ZIP")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as file:
        file.writestr("inner.zip", "x")
    folders, passed_over = walk_scans(tmp_path)
    assert len(folders) == 1
    (remark,) = passed_over.remarks
    assert remark.startswith(
        f"8 files in {tmp_path.name} passed over: 5 .max (face_0.max, face_1.max, face_2.max and 2"
    )
    for part in ("1 .nii (ct.nii.gz: ", "1 damaged archive (bad.ZIP: ", "1 archive (inner.zip: unpack it"):
        assert part in remark


def test_a_file_is_counted_once(tmp_path):
    passed_over = PassedOver(tmp_path)
    assert not passed_over
    assert passed_over.remarks == ()
    for _ in range(2):
        passed_over.count(tmp_path / "a.jpg", ".jpg")
    assert passed_over.remarks == (f"1 file in {tmp_path.name} passed over: 1 .jpg",)


@pytest.mark.parametrize("suffix", sorted(ADVICE))
def test_every_suffix_with_advice_says_it_and_is_read_by_no_reader(tmp_path, suffix):
    assert suffix not in MESH_SUFFIXES
    path = tmp_path / f"scan{suffix.upper()}"
    path.write_text("x")
    with pytest.raises(MeshError, match="unknown suffix") as caught:
        read_mesh(path)
    assert str(caught.value).endswith(ADVICE[suffix])


@pytest.mark.parametrize("data", [b"x", b"PK\3\4", b"PK\5\6", bytes(100), b"ply\n"])
def test_a_damaged_archive_is_never_an_unknown_suffix(tmp_path, data):
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    (tmp_path / "ok.ply").write_text("x")
    if data not in (b"ply\n", bytes(100)):  # what these are is said instead
        with pytest.raises(MeshError, match="a damaged archive: "):
            read_mesh(path)
    assert "1 damaged archive (a.zip: " in walk_scans(tmp_path)[1].summary


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("a.WRL", ".wrl", "a"), ("000.wrl.gz", ".wrl", "000"), ("a.b.ply.XZ", ".ply", "a.b"), ("a.gz", ".gz", "a"),
        ("a", "", "a"), ("f_01.obj.bz2", ".obj", "f_01"), ("clip.0001.ply", ".ply", "clip.0001"),
    ],
)  # fmt: skip
def test_a_suffix_of_compression_is_looked_through(name, suffix, stem):
    assert (mesh_suffix(Path(name)), mesh_stem(Path(name))) == (suffix, stem)


TABLES = {
    "x,y,z\n1,2,3\n": True,
    "1 2 3\n4 5 6\n": True,
    "1,2,3,4\n5,6,7,8": True,
    "1,5;2,5;3,5\n1,5;2,5;3,5\n": True,
    "1,5 2,5 3,5\n": True,
    '"Points:0","Points:1","Points:2"\n1,2,3\n': True,
    ",x,y,z\n0,1,2,3\n": True,
    "X [mm];Y [mm];Z [mm]\n1,5;2,5;3\n": True,
    "3\n1 2 3\n4 5 6\n7 8 9\n": True,
    "# a remark\n1 nan 3\n": True,
    "1 2 3\n4 5\n": True,
    "file,label\na.ply,happy\n": False,
    "id,age,score\n1,2,3\n2,3,4\n": False,
    "subject,x,y\na,1,2\n": False,
    "hello\n": False,
    "": False,
    "1,2\n3,4\n": False,
    "000.ply 3\n001.ply 4\n": False,
    # As the reader of tables sees them:
    "x,y,z,part\n1,2,3,lip\n4,5,6,nose\n": True,
    "x,y,z\n1,NA,3\n4,5,6\n": True,
    "Scan of Anna\nx,y,z\n1,2,3\n": True,
    "pos_x;pos_y;pos_z\n1;2;3\n": True,
    "nose_x,nose_y,nose_z\n1,2,3\n4,5,6\n": False,
    "x,y,z\n": False,
    "0 0.1 0.2 happy\n1 0.1 0.3 sad\n": False,
}


@pytest.mark.parametrize("text", TABLES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_which_tables_hold_coordinates(tmp_path, text, encoding):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding=encoding)
    assert holds_coordinates(path) == TABLES[text]


def test_a_table_may_be_long_binary_or_compressed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1 2 3\n" * 50_000)
    assert holds_coordinates(path)
    path.write_bytes(b"PK\0\1")
    assert holds_coordinates(path)
    assert holds_coordinates(tmp_path / "gone.txt")
    assert holds_coordinates(tmp_path / "a.txt.gz")


@pytest.mark.parametrize(
    ("arrays", "is_scan"),
    [
        ({"vertices": np.zeros((9, 3)), "faces": np.zeros((2, 3), int)}, True),
        ({"verts": np.zeros((9, 3)), "labels": np.zeros(9)}, True),
        ({"anything": np.zeros((9, 3))}, True),
        ({"labels": np.zeros(9), "subjects": np.zeros(9)}, False),
        ({"embeddings": np.zeros((9, 512)), "names": np.zeros(9)}, False),
    ],
)
def test_arrays_are_scans_if_they_hold_vertices(tmp_path, arrays, is_scan):
    put(tmp_path, "anna/face.ply")
    np.savez(tmp_path / "arrays.npz", **arrays)
    assert ("arrays.npz" in meshes(tmp_path)) == is_scan
    assert walk_scans(tmp_path)[1].summary == ("" if is_scan else "1 .npz without coordinates")


def test_cut_arrays_are_left_to_their_reader(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\3\4")
    assert meshes(tmp_path) == ["a.npz"]
