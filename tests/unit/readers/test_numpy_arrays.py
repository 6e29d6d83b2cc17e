"""NumPy's `.npz` and `.npy`."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from builders import FACES, VERTICES, write
from builders_formats import npy, npz
from smilevlm.errors import MeshError
from smilevlm.readers import read_mesh
from smilevlm.readers.numpy_arrays import read_npy, read_npz

GRID = np.random.default_rng(3).uniform(-50, 50, (24, 32, 3))


def read(data: bytes):
    return read_npz(data, path=Path("/nowhere/a.npz"))


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("vertex_name", "face_name"),
    [
        ("vertices", "faces"),
        ("Verts", "F"),
        ("v", "Triangles"),
        ("POINTS", "tri"),
        ("xyz", "polys"),
        ("v_template", "f"),
    ],
)
def test_names_in_any_case(tmp_path, packed, vertex_name, face_name):
    arrays = {"betas": np.zeros(3), face_name: FACES, vertex_name: VERTICES}
    mesh = read_mesh(write(tmp_path, "a.NPZ", npz(packed=packed, **arrays)))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", ">f8", "<i4", "<i2"])
def test_types_of_vertices(kind):
    stored = np.rint(VERTICES * 4).astype(kind)
    np.testing.assert_array_equal(read(npz(vertices=stored, faces=FACES)).vertices, stored.astype(np.float32))


@pytest.mark.parametrize(
    "faces",
    [
        FACES.astype(np.int64),
        FACES.astype(np.uint8),
        FACES.astype(np.float64),
        FACES + 1,
        np.insert(FACES, 0, 3, axis=1).ravel(),
        np.asfortranarray(FACES),
        np.concatenate([FACES, FACES]).T,
    ],
)
def test_ways_to_write_faces(faces):
    mesh = read(npz(vertices=VERTICES, faces=faces))
    np.testing.assert_array_equal(mesh.faces[:4], FACES)


def test_faces_of_four_corners():
    mesh = read(npz(vertices=VERTICES, faces=np.array([[0, 1, 2, 3], [0, 1, 4, 4]])))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])


@pytest.mark.parametrize(
    "array",
    [
        VERTICES,
        VERTICES.astype(np.float64)[None],
        np.hstack([VERTICES, VERTICES]),
        np.asfortranarray(VERTICES),
        VERTICES.T,
        np.hstack([VERTICES, np.ones((5, 1), np.float32)]),
    ],
)
def test_an_array_alone_is_a_point_cloud(array):
    for mesh in (read_npy(npy(array), path=Path("a.npy")), read(npz(arr_0=array)), read(npz(points=array))):
        assert mesh.is_point_cloud
        np.testing.assert_array_equal(mesh.vertices, VERTICES)


def test_a_grid_of_points_is_a_cloud_without_what_was_not_seen():
    grid = GRID.copy()
    grid[0, :20] = np.nan
    mesh = read_npy(npy(grid), path=Path("a.npy"))
    assert mesh.num_vertices == 24 * 32 - 20
    assert len(mesh.remarks) == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"vertices": np.zeros((30, 500, 3)), "faces": FACES},
            "vertices holds 30 frames of 500 vertices, expected one",
        ),
        ({"vertices": np.zeros((30, 500, 3))}, "save each frame to a file of its own, numbered, or pass smilevlm.Mesh"),
        ({"vertices": np.zeros((24, 32, 3)), "faces": FACES}, "vertices holds 24 frames of 32 vertices"),
        ({"vertices": np.zeros((5, 2))}, "vertices is an array of 5 x 2, expected n x 3"),
        ({"vertices": np.zeros(5)}, "vertices is an array of 5, expected n x 3"),
        ({"vertices": np.zeros((5, 512))}, "vertices is an array of 5 x 512, expected n x 3"),
        ({"vertices": np.zeros((0, 3))}, "no vertices"),
        ({"vertices": VERTICES, "faces": np.zeros((5, 7), int)}, "faces is an array of 5 x 7, expected n x 3 or n x 4"),
        ({"vertices": VERTICES, "faces": FACES + 9}, "faces names vertices that are not there: there are 5"),
        ({"vertices": VERTICES, "faces": FACES - 7}, "faces names vertices that are not there: there are 5"),
        ({"vertices": VERTICES, "faces": FACES + 0.5}, "faces names vertices that are not there: there are 5"),
        (
            {"pose": np.zeros(3), "betas": np.zeros(9)},
            "no array of vertices, expected one named vertices, .*; there is pose",
        ),
        ({"vertices": VERTICES.astype("U9")}, "vertices holds no plain numbers"),
        ({"vertices": VERTICES.astype(np.complex64)}, "vertices holds no plain numbers"),
        ({"vertices": VERTICES.astype(object)}, "vertices holds no plain numbers, which alone are read"),
        ({"vertices": np.zeros(5, [("x", "f4"), ("y", "f4")])}, "vertices holds no plain numbers"),
    ],
)
def test_what_is_no_scan(arrays, message):
    with pytest.raises(MeshError, match=message):
        read(npz(**arrays))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy()[:-1], "the array announces 15 numbers, 14 follow"),
        (npy().replace(b"(5, 3)", b"(9, 3)"), "the array announces 27 numbers, 15 follow"),
        (npy().replace(b"(5, 3), }        ", b"(99999999999, 3)"), "announces 299999999997 numbers, 1. follow"),
        (npy().replace(b"(5, 3)", b"(-5,3)"), "no plain numbers"),
        (npy().replace(b"<f4", b"|O8"), "no plain numbers"),
        (npy().replace(b"<f4", b"<f1"), "damaged header"),
        (npy()[:9], "no array in NumPy's format"),
        (npy()[:40], "no plain numbers|announces"),
        (b"x" * 100, "no array in NumPy's format"),
    ],
)
def test_broken_arrays(data, message):
    with pytest.raises(MeshError, match=message):
        read_npy(data, path=Path("/nowhere/a.npy"))
    with pytest.raises(MeshError, match=message.replace("the array", "vertices")):
        read(zipped(vertices=data))


def test_broken_archives():
    whole = npz(packed=True)
    with pytest.raises(MeshError, match="its table of contents is missing"):
        read(whole[:-30])
    with pytest.raises(MeshError, match=r"damaged|checksum"):
        read(whole.replace(b"vertices.npy", b"vertices.npy", 1)[:60] + b"\x55" * 40 + whole[100:])
    with pytest.raises(MeshError, match="no array of vertices"):
        read(zipped())


def test_packed_bombs_are_refused():
    bomb = zipped(vertices=npy(np.zeros((20_000_000, 3), np.float32)))
    tracemalloc.start()
    try:
        with pytest.raises(MeshError, match=r"MiB of geometry in|unpacks to"):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    file = io.BytesIO()
    np.save(file, np.array([Trap()] * 3, object), allow_pickle=True)
    with pytest.raises(MeshError, match="no plain numbers"):
        read(zipped(vertices=file.getvalue()))
    assert not (tmp_path / "sprung").exists()
