"""PCD in its three encodings, with any fields."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from builders import COLORS, VERTICES, write
from builders_formats import lzf, packed_rgb, pcd
from smilevlm.errors import MeshError
from smilevlm.readers import read_mesh
from smilevlm.readers.pcd import read_pcd

ENCODINGS = ("ascii", "binary", "binary_compressed")


def read(data: bytes):
    return read_pcd(data, path=Path("/nowhere/a.pcd"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_points(tmp_path, encoding):
    mesh = read_mesh(write(tmp_path, "a.PCD", pcd(encoding)))
    assert mesh.is_point_cloud
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert mesh.vertex_colors is None
    assert mesh.remarks == ()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ("z intensity x y", "f8 u2 f4 f8"),
        ("Z _ X Y", "f4 u1 f4 f4"),
        ("label normal x y z", "i8 f4 f4 f4 f4"),
        ("x y z curvature", "f8 f8 f8 f4"),
    ],
)
def test_fields_by_name_in_any_order_and_type(encoding, fields, kinds):
    known = {axis: VERTICES[:, number] for number, axis in enumerate("xyz")}
    columns = [known.get(name.lower(), np.arange(15).reshape(5, 3)) for name in fields.split()]
    mesh = read(pcd(encoding, fields=fields, kinds=kinds, columns=columns))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_whole_numbers(encoding):
    stored = np.rint(VERTICES * 100)
    mesh = read(pcd(encoding, points=stored, kinds="i2 i4 i8"))
    np.testing.assert_array_equal(mesh.vertices, stored)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("name", "kind"), [("rgb", "f4"), ("rgb", "u4"), ("rgba", "u4"), ("RGB", "i4")])
def test_packed_colours(encoding, name, kind):
    column = packed_rgb().view("<f4") if kind == "f4" else packed_rgb()
    mesh = read(pcd(encoding, fields=f"x y z {name}", kinds=f"f4 f4 f4 {kind}", columns=[*VERTICES.T, column]))
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)


@pytest.mark.parametrize("kind", ["f8", "u2"])
def test_colours_that_are_no_four_bytes_are_passed_over(kind):
    mesh = read(pcd(fields="x y z rgb", kinds=f"f4 f4 f4 {kind}", columns=[*VERTICES.T, np.zeros(5)]))
    assert mesh.vertex_colors is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_organised_cloud_has_holes(encoding):
    points = np.random.default_rng(2).uniform(0, 9, (6 * 8, 3)).astype(np.float32)
    points[10:15] = np.nan
    mesh = read(pcd(encoding, points=points, height=6))
    np.testing.assert_array_equal(mesh.vertices, np.delete(points, range(10, 15), axis=0))
    assert len(mesh.remarks) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n", 11),
        lambda data: data.replace(b"FIELDS", b"fields").replace(b"SIZE", b"size").replace(b"DATA", b"Data"),
        lambda data: data.replace(b"COUNT 1 1 1\n", b""),
        lambda data: data.replace(b"POINTS 5\n", b""),
        lambda data: data.replace(b"VIEWPOINT 0 0 0 1 0 0 0\n", b"# made by hand\n\n"),
        lambda data: data.replace(b"FIELDS", b"COLUMNS"),
        lambda data: data.replace(b"# .PCD v0.7 - Point Cloud Data file format\n", b""),
    ],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_headers(encoding, change):
    np.testing.assert_array_equal(read(change(pcd(encoding))).vertices, VERTICES)


def test_a_cloud_cut_short_keeps_its_whole_points():
    points = np.random.default_rng(2).uniform(0, 9, (40, 3)).astype(np.float32)
    for data in (pcd(points=points)[:-12], pcd("binary", points=points)[:-4]):
        mesh = read(data)
        assert mesh.num_vertices == 39
        assert mesh.remarks == ("40 points announced, 39 are there",)
    for data in (pcd(points=points, announced=100), pcd("binary", points=points, announced=100)):
        with pytest.raises(MeshError, match="100 points announced, 40 are there"):
            read(data)


def test_more_points_than_announced():
    assert read(pcd(announced=3)).num_vertices == 3
    assert read(pcd("binary", announced=3)).num_vertices == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x", r"a\.pcd:1: expected a line of the PCD header"),
        (b"\x00\n", r"a\.pcd:1: expected a line of the PCD header"),
        (b"VERSION 0.7\n" * 70, "no line DATA within 64 lines"),
        (pcd().replace(b"DATA ascii", b"DATA zip"), r":11: DATA zip, expected ascii, binary or binary_compressed"),
        (pcd().replace(b"FIELDS x y z", b"FIELDS x y w"), "no field z among the fields: x y w"),
        (pcd().replace(b"FIELDS x y z", b"FIELDS x y"), "2 FIELDS, 3 SIZE, 3 TYPE and 3 COUNT, expected as many"),
        (pcd().replace(b"FIELDS x y z\n", b""), "0 FIELDS, 3 SIZE"),
        (pcd().replace(b"SIZE 4 4 4", b"SIZE 4 4 3"), "field z of TYPE F SIZE 3 COUNT 1"),
        (pcd().replace(b"TYPE F F F", b"TYPE F F Q"), "field z of TYPE Q SIZE 4"),
        (pcd().replace(b"COUNT 1 1 1", b"COUNT 1 1 0"), "field z of TYPE F SIZE 4 COUNT 0"),
        (pcd().replace(b"POINTS 5", b"POINTS 0"), "no points"),
        (pcd().replace(b"POINTS 5", b"POINTS -5"), "no points"),
        (pcd().replace(b"POINTS 5", b"POINTS 999999999"), "999999999 points announced, 5 are there"),
        (pcd("binary").replace(b"POINTS 5", b"POINTS 999999999"), "999999999 points announced, 5 are there"),
        (pcd("binary_compressed").replace(b"POINTS 5", b"POINTS 999999999"), "the header says 11999999988"),
        (pcd("binary_compressed")[:-1], "packed bytes for 60 bytes"),
        (pcd("binary_compressed")[:-60], "packed"),
        (pcd().replace(b"10 10 0.5", b"10 10"), r":14: 2 numbers in a line, expected 3"),
        (pcd().replace(b"10 10 0.5", b"10 ten 0.5"), r":14: expected a number, found 'ten'"),
    ],
)
def test_broken_files(data, message):
    with pytest.raises(MeshError, match=message):
        read(data)


def lzf_pcd(packed: bytes, num_points: int) -> bytes:
    head = pcd("binary_compressed").partition(b"DATA binary_compressed\n")
    header = head[0].replace(b"POINTS 5", b"POINTS %d" % num_points) + head[1]
    return header + struct.pack("<2I", len(packed), 12 * num_points) + packed


@pytest.mark.parametrize(
    "packed",
    [
        b"\x00",  # a run without its bytes
        b"\x1fabc",
        b"\x20\x00",  # a reference before the start
        b"\x00\x01\x3f\xff",
        b"\x00\x01\xe0",  # a long reference without its length
        b"\x00\x01\xe0\xff",  # or without its distance
        b"\x00\x01\xe0\xff\x00",  # longer than announced
        b"\x00\x01",  # shorter
        b"",
    ],
)
def test_broken_packing(packed):
    with pytest.raises(MeshError, match="the packed points are damaged"):
        read(lzf_pcd(packed, 1))


def test_packing_with_references_of_every_kind():
    """Bytes as they are, a near copy that overlaps itself, and a long one."""
    others = np.arange(40, dtype=np.float32)
    packed = b"\x03" + np.float32(1.5).tobytes() + b"\xe0" + bytes([4 * 20 - 4 - 9]) + b"\x03"
    packed += b"".join(b"\x03" + number.tobytes() for number in others[:39]) + b"\x40\x03"
    expected = np.stack([np.full(20, 1.5), others[:20], others[20:]], axis=1).astype(np.float32)
    expected[19, 2] = expected[18, 2]
    np.testing.assert_array_equal(read(lzf_pcd(packed, 20)).vertices, expected)
    assert lzf(b"aaaaab") == b"\x00a\x40\x00\x00b"


def test_bombs_are_refused():
    packed = b"\x00\x00" + b"\xe0\xff\x00" * 600_000
    size = 1 + 600_000 * 264
    tracemalloc.start()
    try:
        with pytest.raises(MeshError, match="MiB of geometry"):
            read(lzf_pcd(packed, size // 12))
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
