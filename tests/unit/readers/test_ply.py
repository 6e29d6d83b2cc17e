# ruff: noqa: UP031

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


def minimal(*, vertex: str = "float", index: str = "int", count: str = "uchar", name: str = "vertex_indices") -> str:
    return (
        "ply\nformat {}\nelement vertex 5\n" + "".join(f"property {vertex} {axis}\n" for axis in "xyz")
        + f"element face 4\nproperty list {count} {index} {name}\nend_header\n"
    )  # fmt: skip


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (("int64", "int64_t", "long", "i8", "i64"), "i8"), (("uint64", "ulong", "u8", "size_t"), "u8"),
        (("int32", "int", "i4", "i32"), "i4"), (("uint32", "uint", "u4"), "u4"), (("int16", "short", "i2"), "i2"),
        (("uint16", "ushort", "u2"), "u2"), (("int8", "char", "i1"), "i1"), (("uint8", "uchar", "u1", "UCHAR"), "u1"),
    ],
)  # fmt: skip
def test_names_of_whole_numbers(tmp_path, names, dtype, big):
    order = ">" if big else "<"
    rows = np.zeros(4, [("count", order + dtype), ("corners", order + dtype, 3)])
    rows["count"], rows["corners"] = 3, FACES
    for name in names:
        head = minimal(index=name, count=name, vertex="double").format(
            f"binary_{'big' if big else 'little'}_endian 1.0"
        )
        mesh = read(tmp_path, head.encode() + VERTICES.astype(order + "f8").tobytes() + rows.tobytes())
        np.testing.assert_array_equal(mesh.vertices, VERTICES)
        np.testing.assert_array_equal(mesh.faces, FACES)


@pytest.mark.parametrize("vertex", ["f32", "F32"])
def test_names_in_bits_make_u8_one_byte(tmp_path, vertex):
    rows = np.zeros(4, [("count", "u1"), ("corners", "<u4", 3)])
    rows["count"], rows["corners"] = 3, FACES
    head = minimal(vertex=vertex, index="u32", count="u8").format("binary_little_endian 1.0")
    mesh = read(tmp_path, head.encode() + VERTICES.astype("<f4").tobytes() + rows.tobytes())
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_negative_64_bit_index(tmp_path):
    rows = np.zeros(40, [("count", "u1"), ("corners", "<i8", 3)])
    rows["count"], rows["corners"] = 3, np.tile(FACES, (10, 1))
    rows["corners"][7, 1] = -1
    head = minimal(index="int64").format("binary_little_endian 1.0").replace("face 4", "face 40")
    mesh = read(tmp_path, head.encode() + VERTICES.tobytes() + rows.tobytes())
    np.testing.assert_array_equal(mesh.faces, np.delete(np.tile(FACES, (10, 1)), 7, axis=0))


@pytest.mark.parametrize(
    "change",
    [
        (b"float x", b"float X"), (b"element vertex", b"element Vertex"), (b"element face", b"ELEMENT FACE"),
        (b"property", b"Property"), (b"ply\n", b"PLY\n"), (b"format ascii", b"FORMAT ASCII"),
        (b"end_header", b"END_HEADER"),
        (b"vertex_indices", b"Vertex_Index"), (b"red", b"Red"), (b"texcoord", b"TexCoord"),
        (b"comment tiny", b"obj_info a b"),
        (b"comment tiny", b"comment \xff\x00 end_header \r x"), (b"1.0\ncomment", b"\n\ncomment"),
        (b"ply\n", b"\nply \n"),
        (b"comment tiny\n", b"comment " + b"x" * 70_000 + b"\n"), (b"uchar int", b"UINT8 Int32"),
        (b" 0.5 0.5\n3 2", b" 0.5 0.5 \n\n3 2"),
    ],
)  # fmt: skip
def test_headers_of_any_case_and_with_anything_in_comments(tmp_path, change):
    mesh = read(tmp_path, ply_text().replace(*change))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)


@pytest.mark.parametrize("name", ["vertex_index", "vertex_indices", "indices", "faces", "VertexIndices", "corner_list"])
def test_names_of_the_list(tmp_path, name):
    rows = "".join("%g %g %g\n" % tuple(row) for row in VERTICES.tolist()) + "".join(
        "3 %d %d %d\n" % tuple(row) for row in FACES
    )
    data = minimal(name=name).format("ascii 1.0") + rows
    np.testing.assert_array_equal(read(tmp_path, data).faces, FACES)


@pytest.mark.parametrize("word", ["nose", "N/A", "-1.#IND00", "nan", "1e999", "---", "x_1", "0x1F"])
def test_words_in_properties_that_are_not_used(tmp_path, word):
    head, body = ply_text().split(b"end_header\n")
    head = head.replace(b"property uchar red", b"property float quality\nproperty uchar red")
    rows = body.split(b"\n")
    rows[:5] = [b" ".join([*row.split()[:3], word.encode(), *row.split()[3:]]) for row in rows[:5]]
    mesh = read(tmp_path, head + b"end_header\n" + b"\n".join(rows))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    assert mesh.remarks == ()


@pytest.mark.parametrize("bad", ["-1", "1.5", "99", "nan", "x", "-2147483648", "1e12"])
def test_a_bad_index_costs_its_face_alone(tmp_path, bad):
    faces = [f"3 {a} {b} {c}" for a, b, c in np.tile(FACES, (5, 1)).tolist()]
    faces[6] = f"3 0 {bad} 1"
    head = minimal().format("ascii 1.0").replace("face 4", "face 20")
    mesh = read(tmp_path, head + "\n".join([*("%g %g %g" % tuple(row) for row in VERTICES.tolist()), *faces, ""]))
    np.testing.assert_array_equal(mesh.faces, np.delete(np.tile(FACES, (5, 1)), 6, axis=0))
    assert mesh.remarks == ("1 of 20 faces name vertices that are not there; left out",)


def test_texture_coordinates_of_the_wrong_length(tmp_path):
    data = ply_text().replace(b"6 1.0 1.0 0.0 1.0 0.5 0.5", b"4 1.0 1.0 0.0 1.0")
    mesh = read(tmp_path, data)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.uv is None
    assert mesh.remarks == ("texcoord does not hold two numbers for each corner; texture coordinates left out",)


def many(*, text: bool) -> bytes:
    faces = np.tile(FACES, (10, 1))
    head = minimal().format("ascii 1.0" if text else "binary_little_endian 1.0").replace("face 4", "face 40").encode()
    if text:
        lines = ["%g %g %g" % tuple(row) for row in VERTICES.tolist()] + ["3 %d %d %d" % tuple(row) for row in faces]
        return head + ("\n".join(lines) + "\n").encode()
    rows = np.zeros(40, [("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    return head + VERTICES.tobytes() + rows.tobytes()


@pytest.mark.parametrize(("text", "cut", "missing"), [
    (False, 1, 1), (False, 13, 1), (False, 14, 2), (False, 40, 4), (True, 1, 0), (True, 2, 1), (True, 8, 1),
    (True, 9, 2), (True, 32, 4),
])  # fmt: skip
def test_a_file_cut_within_its_faces(tmp_path, text, cut, missing):
    mesh = read(tmp_path, many(text=text)[:-cut])
    np.testing.assert_array_equal(mesh.faces, np.tile(FACES, (10, 1))[: 40 - missing])
    assert mesh.remarks == ((f"the file is cut: {missing} of 40 faces are missing",) if missing else ())


@pytest.mark.parametrize("text", [False, True])
def test_a_file_that_lacks_more_is_refused(tmp_path, text):
    with pytest.raises(MeshError, match=r"fewer values|rows of face announced"):
        read(tmp_path, many(text=text)[: -60 if text else -80])


@pytest.mark.parametrize("text", [False, True])
def test_what_follows_the_faces_may_be_cut_or_broken(tmp_path, text):
    data = many(text=text).replace(
        b"end_header", b"element edge 99\nproperty list uchar int a\nproperty float b\nend_header"
    )
    np.testing.assert_array_equal(read(tmp_path, data + b"\xff 7").faces, np.tile(FACES, (10, 1)))


@pytest.mark.parametrize("fmt", ["ascii 1.0", "binary_big_endian 1.0"])
def test_triangle_strips(tmp_path, fmt):
    strip = [0, 1, 2, 3, -1, 4, 2, 0, -1, 1, -1]
    head = minimal(count="int").format(fmt).replace("element face 4", "element tristrips 1")
    if "ascii" in fmt:
        body = (
            "\n".join("%g %g %g" % tuple(row) for row in VERTICES.tolist())
            + f"\n{len(strip)} {' '.join(map(str, strip))}\n"
        )
        data = (head + body).encode()
    else:
        data = head.encode() + VERTICES.astype(">f4").tobytes() + np.array([len(strip), *strip], ">i4").tobytes()
    np.testing.assert_array_equal(read(tmp_path, data).faces, [[0, 1, 2], [2, 1, 3], [4, 2, 0]])


@pytest.mark.parametrize("text", [False, True])
def test_map_coordinates_in_double(tmp_path, text):
    far = VERTICES.astype(np.float64) + [412345.125, 5612345.5, 120]
    head = minimal(vertex="double").format("ascii 1.0" if text else "binary_little_endian 1.0")
    if text:
        rows = "".join("%.4f %.4f %.4f\n" % tuple(row) for row in far.tolist()) + "".join(
            "3 %d %d %d\n" % tuple(row) for row in FACES
        )
        data = (head + rows).encode()
    else:
        faces = np.zeros(4, [("count", "u1"), ("corners", "<i4", 3)])
        faces["count"], faces["corners"] = 3, FACES
        data = head.encode() + far.tobytes() + faces.tobytes()
    mesh = read(tmp_path, data)
    np.testing.assert_allclose(mesh.vertices + np.array(mesh.origin), far, atol=1e-4)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("uv", [None, UV])
def test_faces_of_one_length_are_read_as_those_of_several(tmp_path, big, uv, monkeypatch):
    if uv is None:
        data = ply_binary(big=big)
    else:
        path = tmp_path / "uv.ply"
        write_mesh(Mesh(vertices=VERTICES, faces=FACES, uv=uv), path)
        data = path.read_bytes()
    regular = read(tmp_path, data)
    found = []

    def walk(body, element):
        found.append(element.name)

    monkeypatch.setattr("smilevlm.readers.ply_elements.BinaryBody._find_regular_rows", walk)
    walked = read(tmp_path, data)
    assert "face" in found
    np.testing.assert_array_equal(regular.faces, walked.faces)
    np.testing.assert_array_equal(regular.vertices, walked.vertices)
    np.testing.assert_array_equal(regular.uv, walked.uv)
