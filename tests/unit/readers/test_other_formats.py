"""STL, OFF, point clouds, and the choice of a reader."""

# ruff: noqa: UP031

from __future__ import annotations

import struct

import numpy as np
import pytest

from builders import COLORS, FACES, POINTS, TINY, VERTICES, off, stl_binary, stl_text, write, xyz
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh, write_mesh


@pytest.mark.parametrize("data", [stl_text(), stl_binary(), stl_binary(b"x"), stl_text().replace(b"\n", b"\r\n")])
def test_stl_is_connected(tmp_path, data):
    mesh = read_mesh(write(tmp_path, "a.stl", data))
    assert mesh.num_vertices == 5
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], VERTICES[FACES])


def test_stl_minus_zero_is_zero_and_degenerate_triangles_go(tmp_path):
    triangle = "facet normal 0 0 0\nouter loop\nvertex {}\nvertex 1 0 0\nvertex {}\nendloop\nendfacet\n"
    text = "solid\n" + triangle.format("0 0 0", "0 1 0") + triangle.format("-0 0 0", "0 -0 0") + "endsolid\n"
    mesh = read_mesh(write(tmp_path, "a.stl", text))
    assert (mesh.num_vertices, mesh.num_faces) == (3, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (stl_binary()[:-1], r"byte 80: 4 triangles announced, bytes for 3 follow"),
        (b"x" * 80 + struct.pack("<I", 2**32 - 1), "byte 80: 4294967295 triangles"),
        (b"x" * 84, "triangles announced"),
        (b"short", "byte 0: 5 bytes"),
        (b"x" * 80 + bytes(4), "no vertices"),
        (
            stl_binary().replace(np.float32(10).tobytes(), np.float32(np.inf).tobytes()),
            "vertices are not finite, and 4",
        ),
        (stl_text().replace(b"1.225000e+01", b"abc"), r":20: expected a number"),
        (stl_text().replace(b"endloop", b"vertex 0 0 0", 1), r":7: unexpected word, found 'vertex'"),
        (stl_text().replace(b"endsolid", b"#", 1), "unexpected word"),
        (stl_text().replace(b"  vertex", b"  nothing", 1), "unexpected word"),
        (stl_text().replace(b"  vertex", b"  edge", 1), r":4: unexpected word"),
    ],
)
def test_broken_stl(tmp_path, data, message):
    with pytest.raises(MeshError, match=message):
        read_mesh(write(tmp_path, "a.stl", data))


@pytest.mark.parametrize("magic", ["OFF\n", "OFF ", "# hello\nOFF\n", "OFF # c\n"])
def test_off(tmp_path, magic):
    mesh = read_mesh(write(tmp_path, "a.off", off(magic)))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_coff(tmp_path):
    mesh = read_mesh(write(tmp_path, "a.off", off("COFF\n", colors=True)))
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    mesh = read_mesh(write(tmp_path, "a.off", "COFF\n1 0\n1 2 3 0.2 1 0 1\n"))
    np.testing.assert_array_equal(mesh.vertex_colors, [[51, 255, 0]])
    assert mesh.is_point_cloud


def test_off_normals_texture_and_face_colours(tmp_path):
    rows = "".join("%g %g %g 0 0 1 %g %g\n" % (*v, *t) for v, t in zip(VERTICES.tolist(), POINTS.tolist()))  # noqa: B905
    data = f"STNOFF\n5 3 0\n{rows}4 0 1 2 3 255 0 0\n3 0 1 4 0.5 0.5 0.5 1\n3 2 3 4 7\n"
    mesh = read_mesh(write(tmp_path, "a.off", data))
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, POINTS[FACES])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"OF\n", r":1: expected 'OFF'"),
        (b"4OFF\n1 0 0\n", "save it as OFF or PLY"),
        (b"STnOFF\n3\n1 0 0\n", "save it as OFF or PLY"),
        (b"OFF BINARY\n", "byte 11: the file ends before the numbers"),
        (b"OFF\n", "numbers of vertices"),
        (b"OFF\n5\n", "numbers of vertices"),
        (b"OFF\n1.5 0 0\n", "numbers of vertices"),
        (b"OFF\n99999999999999 0 0\n1 2 3\n", r":4: 99999999999999 vertices and 0 faces announced, 1 lines"),
        (b"OFF\n0 0 0\n", "no vertices"),
        (b"OFF\n\n2 0 0\n# c\n1 2 3\n1 2\n", r":6: a vertex of 2 numbers, expected 3"),
        (off().replace(b"3 0 1 4", b"3 0 1 5"), r":11: a face names vertex 5, there are 5"),
        (off().replace(b"3 0 1 4", b"9 0 1 4"), r":11: fewer values"),
        (off().replace(b"3 0 1 4", b"3 0 1 -1"), r":11: a face names vertex -1, there are 5"),
        (off().replace(b"3 0 1 4", b"-3 0 1 4"), r":11: expected a whole index"),
        (off().replace(b"10 ", b"inf "), "vertices are not finite, and 4 of 4 faces use them; up to 50% may"),
    ],
)
def test_broken_off(tmp_path, data, message):
    with pytest.raises(MeshError, match=message):
        read_mesh(write(tmp_path, "a.off", data))


@pytest.mark.parametrize(
    "text",
    [
        xyz().decode(),
        xyz().decode().replace(" ", ",\t"),
        xyz().decode().replace(" ", ";"),
        "# x y z\n\n// more\n" + xyz().decode().replace("\n", "\r\n"),
        "5\n" + xyz().decode(),
        "x y z\n" + xyz().decode(),
        "\ufeffX;Y;Z\n" + xyz().decode(),
        '"x","y","z","nx"\n' + xyz().decode().replace("\n", " 7\n"),
        xyz().decode().replace("\n", " 0.5 0 -1\n"),
        xyz().decode().replace("\n", " 1 2 3 4 5\n"),
        xyz().decode().rstrip("\n"),
    ],
)
@pytest.mark.parametrize("suffix", [".xyz", ".txt", ".pts", ".CSV"])
def test_point_clouds(tmp_path, text, suffix):
    mesh = read_mesh(write(tmp_path, "a" + suffix, text))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert mesh.is_point_cloud
    assert mesh.vertex_colors is None


def test_point_cloud_colours(tmp_path):
    mesh = read_mesh(write(tmp_path, "a.txt", "1 2 3 255 0 7\n4 5 6 1 2 3\n"))
    np.testing.assert_array_equal(mesh.vertex_colors, [[255, 0, 7], [1, 2, 3]])
    assert read_mesh(write(tmp_path, "a.txt", "1 2 3 256 0 7\n")).vertex_colors is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("1 2\n", r":1: 2 numbers in a line, expected three or more"),
        ("# c\n1 2 3\n\n1 2\n", r":4: 2 numbers in a line, expected three or more"),
        ("1 nan 3\n1 2 nan\n", r"xyz: 2 of 2 points are not finite"),
        ("1 2 3\nhello\n", r":2: expected a number, found 'hello'"),
        ("version: 1\nn_points: 68\n", r":1: expected a number"),
        ("# nothing\n", "no points"),
        ("x y z\n", "no points"),
        ("1 2 3]\n", r":1: expected a number"),
    ],
)
def test_broken_point_clouds(tmp_path, data, message):
    with pytest.raises(MeshError, match=message):
        read_mesh(write(tmp_path, "a.xyz", data))


def test_choice_of_reader(tmp_path):
    with pytest.raises(MeshError, match=r"a\.foo: unknown suffix '\.foo', expected one of \.wrl"):
        read_mesh(write(tmp_path, "a.foo", "x"))
    with pytest.raises(MeshError, match="no suffix"):
        read_mesh(write(tmp_path, "a", "x"))
    with pytest.raises(MeshError, match=r"gone\.wrl: no such file"):
        read_mesh(tmp_path / "gone.wrl")
    with pytest.raises(MeshError, match="a folder, expected one file"):
        read_mesh(tmp_path)
    with pytest.raises(MeshError, match=r"a\.wrl: empty file"):
        read_mesh(write(tmp_path, "a.wrl", b""))
    with pytest.raises(MeshError):
        read_mesh("a\0.wrl")
    with pytest.raises(MeshError, match="not a regular file"):
        read_mesh("/dev/null")
    assert read_mesh(str(write(tmp_path, "A.WRL", TINY["a.wrl"]))).num_faces == 4
    assert read_mesh(write(tmp_path, "a.vrml", TINY["a.wrl"])).num_faces == 4


@pytest.mark.parametrize("suffix", [".obj", ".off", ".ply", ".stl"])
def test_write_mesh(tmp_path, suffix):
    mesh = Mesh(vertices=VERTICES, faces=FACES)
    write_mesh(mesh, tmp_path / f"a{suffix}")
    back = read_mesh(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.vertices[back.faces], VERTICES[FACES])
    colored = Mesh(vertices=VERTICES, faces=FACES, vertex_colors=COLORS)
    write_mesh(colored, tmp_path / f"b{suffix}")
    if suffix != ".stl":
        np.testing.assert_array_equal(read_mesh(tmp_path / f"b{suffix}").vertex_colors, COLORS)


def test_write_mesh_refuses(tmp_path):
    mesh = Mesh(vertices=VERTICES, faces=FACES)
    with pytest.raises(MeshError, match="cannot write suffix"):
        write_mesh(mesh, tmp_path / "a.wrl")
    with pytest.raises(MeshError, match="cannot be written"):
        write_mesh(mesh, tmp_path / "gone" / "a.obj")
