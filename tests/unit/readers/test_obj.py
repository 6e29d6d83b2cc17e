# ruff: noqa: UP031

from __future__ import annotations

import io

import numpy as np
import pytest

from builders import COLORS, FACES, UV, VERTICES, image, obj, write
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh, write_mtl, write_obj


def read(folder, data):
    return read_mesh(write(folder, "scan.obj", data))


def test_quads_and_uv(tmp_path):
    mesh = read(tmp_path, obj())
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3 4\nf 1 2 5\nf 3 4 5",
        "f 1//1 2//1 3//1 4//2\nf 1//9 2//9 5//9\nf 3//1 4//1 5//1",
        "f -5 -4 -3 -2\nf -5 -4 -1\nf -3 -2 -1",
        "f 1 2 \\\n 3 4\nf 1 2\\\r\n 5\nf 3 4 5 # comment",
        "  f  1\t2 3 4 \ng a b\ns off\nl 1 2\nusemtl x\nvn 0 0 1\nvp 1\nf 1 2 5\nf 3 4 5",
    ],
)
def test_forms_of_faces(tmp_path, faces):
    mesh = read(tmp_path, obj(faces=faces))
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.uv is None


def test_normals_after_uv_and_corners_without_uv(tmp_path):
    mesh = read(tmp_path, obj(faces="f 1/6/1 2/-5/-1 3/3/7\nf 1 2 5"))
    np.testing.assert_array_equal(mesh.uv, np.stack([UV[0], np.zeros((3, 2), np.float32)]))


@pytest.mark.parametrize("change", [(b"\n", b"\r\n"), (b"\n", b"\r"), (b" ", b"\t ")])
def test_blanks(tmp_path, change):
    np.testing.assert_array_equal(read(tmp_path, obj().replace(*change)).faces, FACES)


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_vertex_colours(tmp_path, top):
    rows = [
        "v %g %g %g %g %g %g" % (*v, *c) for v, c in zip(VERTICES.tolist(), (COLORS / 255 * top).tolist(), strict=True)
    ]
    mesh = read(tmp_path, "\n".join(rows))
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    assert read(tmp_path, "v 1 2 3 1\n").vertex_colors is None
    np.testing.assert_array_equal(read(tmp_path, "v 1 2 3 1 0 0\nv 1 2 3").vertex_colors, [[255, 0, 0], [204] * 3])


@pytest.mark.parametrize(
    ("library", "map_line", "texture"),
    [
        ("scan.mtl", "map_Kd face.png", "face.png"),
        ("SCAN.MTL", "MAP_KD FACE.PNG", "face.png"),
        ("my scan.mtl", "map_Kd my face.png", "my face.png"),
        ("my scan.mtl", "map_Kd D:\\data\\F001\\face.png", "face.png"),
        ("scan.mtl", "map_Kd -s 1 1 1 -o 0.5 0 -clamp on sub/face.png", "face.png"),
        ("scan.mtl", "map_Kd gone.png", "scan.png"),
        ("scan.mtl", "Kd 1 1 1", "scan.png"),
        (None, "", "scan.png"),
    ],
)
def test_texture(tmp_path, library, map_line, texture):
    write(tmp_path, texture, image())
    head = "mtllib my scan.mtl" if library == "my scan.mtl" else "mtllib ./scan.mtl"
    if library:
        write(tmp_path, library, f"newmtl m\n{map_line}\n")
    assert read(tmp_path, obj(head=head)).texture is not None


def test_the_material_in_use_wins(tmp_path):
    write(tmp_path, "a.png", image(size=(1, 2)))
    write(tmp_path, "b.png", image(size=(5, 6)))
    write(tmp_path, "x.mtl", "newmtl one\nmap_Kd a.png\nnewmtl two\nmap_Kd b.png\n")
    assert read(tmp_path, obj(head="mtllib x.mtl\nusemtl two")).texture.shape == (6, 5, 3)
    assert read(tmp_path, obj(head="mtllib x.mtl")).texture.shape == (2, 1, 3)


def test_several_materials_in_use(tmp_path):
    write(tmp_path, "a.png", image(size=(1, 2)))
    write(tmp_path, "b.png", image(size=(5, 6)))
    write(tmp_path, "x.mtl", "newmtl one\nmap_Kd a.png\nnewmtl two\nmap_Kd b.png\nnewmtl skin\nKd 1 1 1\n")
    faces = "f 1/6 2/2 3/3 4/4\nusemtl two\nf 1/1 2/2 5/5\nusemtl one\nf 3/3 4/4 5/5"
    with pytest.warns(UserWarning, match=r"scan\.obj: 2 textures, only the first \(b\.png\) is read"):
        mesh = read(tmp_path, obj(head="mtllib x.mtl", faces=faces))
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    assert mesh.texture.shape == (6, 5, 3), "a mesh has one texture: that of the first material in use"
    faces = faces.replace("usemtl one", "usemtl skin")
    assert read(tmp_path, obj(head="mtllib x.mtl\nusemtl skin", faces=faces)).texture.shape == (6, 5, 3)
    assert read(tmp_path, obj(head="mtllib x.mtl\nusemtl skin")).texture.shape == (2, 1, 3), "any image of the library"


@pytest.mark.parametrize("library", ["mtllib gone.mtl", "mtllib", "mtllib ../../gone.mtl", "mtllib /etc/gone.mtl", ""])
def test_missing_mtl(tmp_path, library):
    mesh = read(tmp_path, obj(head=library))
    assert mesh.texture is None
    assert mesh.uv is not None
    write(tmp_path, "scan.jpg", image("JPEG"))
    assert read(tmp_path, obj(head=library)).texture is not None, "an image with the file's own stem"


@pytest.mark.parametrize("stem", ["1", "958", "0000", "2440", "00012"])
def test_frame_names_of_any_digits(tmp_path, stem):
    write(tmp_path, f"{stem}.jpg", image("JPEG"))
    write(tmp_path, "0.jpg", image("JPEG", size=(8, 8)))
    assert read_mesh(write(tmp_path, f"{stem}.obj", obj())).texture.shape == (3, 4, 3)


@pytest.mark.parametrize("written", ["2", "+2.", "2.0000000000000000000001", "0.2e1", "20E-1", ".2e+01", "002"])
def test_numbers_of_any_digits(tmp_path, written):
    np.testing.assert_array_equal(read(tmp_path, f"v {written} 0 0\n").vertices, [[2, 0, 0]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"v 1 2\n", r":1: too few numbers"),
        (b"v 1 nan 3\nv inf 0 0\n", r"obj: 2 of 2 points are not finite"),
        (b"v 1 2 3\nv 1 2 x\n", r":2: expected a number"),
        (b"v 1 2 1e50\n", r"obj: 1 of 1 points are not finite"),
        (b"v 1 2 3 4\nv 1 2\nv 1 2 3\n", r":2: too few numbers"),
        (obj(faces="f 1 2 3\n f 1 2 6"), r":13: a face names vertex 6, there are 5"),
        (obj(faces="f 1 2 0"), r":12: a face names vertex 0, there are 5"),
        (obj(faces="f 1/1 2/2 -9/1"), r":12: a face names vertex -9, there are 5"),
        (obj(faces="f 1 2 3\nf 1 2 \\\n 1.5"), r":13: a face names vertex 1.5, there are 5"),
        (obj(faces="F 1 2 nan"), r":12: a face names vertex nan, there are 5"),
        (obj(faces="f 1 2 a"), r":12: expected a number"),
        (obj(faces="f 1 2 3x"), r":12: expected a number"),
        (b"# nothing\n", "no vertices"),
    ],
)
def test_broken_files_say_where(tmp_path, data, message):
    with pytest.raises(MeshError, match=message):
        read(tmp_path, data)


@pytest.mark.parametrize("change", [(b"v ", b"V "), (b"f ", b"F "), (b"vt ", b"VT "), (b"vt ", b"Vt ")])
def test_keywords_in_any_case(tmp_path, change):
    mesh = read(tmp_path, obj().replace(*change))
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    assert mesh.remarks == ()


@pytest.mark.parametrize("bad", ["nan nan", "inf 0", "x y", "", "0.5 abc", "1e400 0"])
def test_a_bad_texture_point_never_costs_the_surface(tmp_path, bad):
    data = obj().replace(b"vt 0.25 0.75", f"vt {bad}".encode())
    mesh = read(tmp_path, data)
    np.testing.assert_array_equal(mesh.faces, FACES)
    expected = UV.copy()
    expected[:2, 0] = 0
    np.testing.assert_array_equal(mesh.uv, expected)
    assert mesh.remarks == ("2 corners of faces have texture coordinates that are not finite; left out",)


@pytest.mark.parametrize("bad", ["7", "0", "-9", "1.5", "nan", "abc", "99999999999", "x/1"])
def test_a_bad_texture_index_never_costs_a_face(tmp_path, bad):
    mesh = read(tmp_path, obj(faces=f"f 1/6 2/2 3/3 4/4\nf 1/{bad} 2/2 5/5\nf 3/3/{bad} 4/4/x 5/5/"))
    np.testing.assert_array_equal(mesh.faces, FACES)
    expected = UV.copy()
    expected[2, 0] = 0
    np.testing.assert_array_equal(mesh.uv, expected)
    assert mesh.remarks == ("1 corners of faces name texture coordinates that are not there; left out",)


@pytest.mark.parametrize("bad", ["1 2 0", "1 2 -99", "1 2 1.5", "1 nan 2", "1 2 6", "0 0 0", "1 2 99999999999"])
def test_a_bad_index_costs_its_face_alone(tmp_path, bad):
    good = "f 1 2 3\nf 1 3 4\n"
    mesh = read(tmp_path, obj(faces=good * 10 + f"f {bad}\n" + good))
    np.testing.assert_array_equal(mesh.faces, np.tile(FACES[:2], (11, 1)))
    assert mesh.remarks == ("1 of 23 faces name vertices that are not there; left out",)


def test_files_that_count_from_0(tmp_path):
    mesh = read(tmp_path, obj(faces="f 0/5 1/1 2/2 3/3\nf 0/0 1/1 4/4\nf 2/2 3/3 4/4"))
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    assert mesh.remarks == ("the faces count vertices from 0; read so",)


@pytest.mark.parametrize("last", ["v 1 2", "v 1 2 -", "v", "f 1/1 2/2 x", "v 1 2e", "f 1 2 3-"])
def test_a_last_line_that_was_cut(tmp_path, last):
    mesh = read(tmp_path, obj() + last.encode())
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.remarks == ("the file is cut within its last line, which is left out",)
    with pytest.raises(MeshError, match=r":15: "):
        read(tmp_path, obj() + last.encode() + b"\n")


@pytest.mark.parametrize("end", [" 1", " 1 0 0 0.5", " # note", " 1.0 red", " nan"])
def test_what_follows_the_coordinates_never_costs_a_vertex(tmp_path, end):
    rows = "\n".join("v %g %g %g" % tuple(row) + end for row in VERTICES.tolist())
    np.testing.assert_array_equal(read(tmp_path, rows + "\n").vertices, VERTICES)


def test_colours_with_an_alpha(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, "v 1 2 3 1 0 0 0.5\n").vertex_colors, [[255, 0, 0]])


def test_round_trip(tmp_path):
    generator = np.random.default_rng(1)
    mesh = Mesh(vertices=generator.standard_normal((5, 3)).astype(np.float32), faces=FACES, uv=UV, vertex_colors=COLORS)
    for name, texture in (("face.mtl", "tex.png"),):
        text, material = io.StringIO(), io.StringIO()
        write_obj(text, mesh, material_library=name)
        write_mtl(material, texture_name=texture)
        write(tmp_path, name, material.getvalue())
        write(tmp_path, texture, image())
    back = read(tmp_path, text.getvalue())
    np.testing.assert_array_equal(back.vertices, mesh.vertices)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    np.testing.assert_array_equal(back.uv, mesh.uv)
    np.testing.assert_array_equal(back.vertex_colors, mesh.vertex_colors)
    assert back.texture is not None
