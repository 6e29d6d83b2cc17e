from __future__ import annotations

import numpy as np
import pytest

from builders import COLORS, FACES, POINTS, UV, VERTICES, image, ply_binary, ply_text, write
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh, write_mesh


def read(folder, data):
    return read_mesh(write(folder, "scan.ply", data))


def test_text(tmp_path):
    mesh = read(tmp_path, ply_text())
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)


@pytest.mark.parametrize("big", [False, True])
def test_binary_of_any_order_and_type(tmp_path, big):
    mesh = read(tmp_path, ply_binary(big=big))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, POINTS[FACES])
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)


@pytest.mark.parametrize("names", [("s", "t"), ("u", "v"), ("texture_u", "texture_v")])
def test_uv_per_vertex(tmp_path, names):
    data = ply_binary().replace(b"float s\n", f"float {names[0]}\n".encode())
    data = data.replace(b"float t\n", f"float {names[1]}\n".encode())
    np.testing.assert_array_equal(read(tmp_path, data).uv, POINTS[FACES])


def test_texture_named_in_a_comment(tmp_path):
    write(tmp_path, "My Face.png", image())
    data = ply_text().replace(b"comment tiny", b"comment TextureFile my face.PNG")
    assert read(tmp_path, data).texture is not None


def test_carriage_returns(tmp_path):
    head, body = ply_binary().split(b"end_header\n")
    crlf = head.replace(b"\n", b"\r\n") + b"end_header\r\n" + body
    np.testing.assert_array_equal(read(tmp_path, crlf).faces, FACES)
    np.testing.assert_array_equal(read(tmp_path, ply_text().replace(b"\n", b"\r\n")).faces, FACES)


def test_float_colours_and_point_cloud(tmp_path):
    head = (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
        "property float red\nproperty float green\nproperty float blue\nend_header\n"
    )
    mesh = read(tmp_path, head + "1 2 3 0 0.2 1\n4 5 6 1 1 1\n")
    assert mesh.is_point_cloud
    np.testing.assert_array_equal(mesh.vertex_colors, [[0, 51, 255], [255, 255, 255]])


LYING = [b"element vertex 999999999999", b"element vertex 2000000000"]


@pytest.mark.parametrize("count", LYING)
@pytest.mark.parametrize("data", [ply_text(), ply_binary(), ply_binary(big=True)])
def test_lying_counts(tmp_path, data, count):
    with pytest.raises(MeshError, match=r"rows of vertex announced, \d+ (bytes|numbers) are left"):
        read(tmp_path, data.replace(b"element vertex 5", count))
    faces = data.replace(b"element face 3", b"element face 99999999")
    with pytest.raises(MeshError, match="rows of face announced"):
        read(tmp_path, faces)


def test_lying_list_length(tmp_path):
    data = ply_binary()
    at = data.rindex((4).to_bytes(4, "little") + (0).to_bytes(2, "little"))
    with pytest.raises(MeshError, match=r"byte \d+: fewer values"):
        read(tmp_path, data[:at] + (2**31 - 1).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(MeshError, match=r"byte \d+: fewer values"):
        read(tmp_path, data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"plx\n", r":1: expected 'ply'"),
        (b"ply\nformat ascii 1.0\n", "no 'end_header'"),
        (b"ply\nend_header\n", "no format"),
        (b"ply\nformat ascii 1.0\nend_header\n", "no element vertex"),
        (b"ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", r":3: not a line of a PLY header"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty half x\nend_header\n", r":4: not a line"),
        (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", r":3: not a line"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list float int x\nend_header\n1 1", r":4: not a line"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1", r":3: .*no property y, z"),
        (ply_text().replace(b"12.25", b"x"), r":19: expected a number"),
        (ply_text().replace(b"\n3 0 1 4", b"\n3 0 1 5"), r":20: a face names a vertex that is not there"),
        (ply_text().replace(b"\n3 0 1 4", b"\n3 0 1 -1"), "negative or not whole"),
        (ply_text().replace(b"\n3 0 1 4", b"\n3 0 1 1.5"), "negative or not whole"),
        (ply_text().replace(b"\n3 0 1 4 6", b"\n3 0 1 4 5"), r"ply:"),
        (ply_binary().replace(b"\x04\x00\x00\x00\x00\x00\x01\x00", b"\x04\x00\x00\x00\x00\x00\x09\x00"), "byte"),
    ],
)
def test_broken_files_say_where(tmp_path, data, message):
    with pytest.raises(MeshError, match=message):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "data",
    [
        *(ply_text().replace(b"12.25", word) for word in (b"nan", b"1e40", b"-inf", b"-1.#IND00", b"1.#QNAN")),
        ply_binary().replace(np.float32(12.25).tobytes(), np.float32(np.nan).tobytes()),
        ply_binary().replace(np.float32(12.25).tobytes(), np.float32(-np.inf).tobytes()),
    ],
)
def test_a_vertex_that_is_not_finite_goes_with_its_faces(tmp_path, data):
    mesh = read(tmp_path, data)
    np.testing.assert_array_equal(mesh.vertices, VERTICES[:4])
    np.testing.assert_array_equal(mesh.faces, FACES[:2])
    assert mesh.remarks == ("1 of 5 vertices are not finite; left out, with 2 of 4 faces",)


@pytest.mark.parametrize("colors", [None, COLORS])
@pytest.mark.parametrize("uv", [None, UV])
def test_round_trip(tmp_path, colors, uv):
    mesh = Mesh(vertices=VERTICES, faces=FACES, uv=uv, vertex_colors=colors)
    write_mesh(mesh, tmp_path / "a.ply")
    back = read_mesh(tmp_path / "a.ply")
    for name in ("vertices", "faces", "uv", "vertex_colors"):
        np.testing.assert_array_equal(getattr(back, name), getattr(mesh, name))
