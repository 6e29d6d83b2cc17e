"""Geometry nodes, prototypes, names and endings of VRML 2.0 and classic X3D files."""

from __future__ import annotations

import re

import numpy as np
import pytest

from builders import FACES, UV, VERTICES, face_set, list_text, prototypes, vrml, write
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh, vrml_nodes, vrml_scene

SQUARE = "0 0 0, 1 0 0, 1 1 0, 0 1 0"
GRID = "0 0 0 1 0 0 2 0 0 0 1 0 1 1 0 2 1 0"


def read(folder, data) -> Mesh:
    return read_mesh(write(folder, "scan.wrl", data))


def shape(kind: str, lists: str, points: str = GRID) -> bytes:
    return vrml(f"Shape {{ geometry {kind} {{ coord Coordinate {{ point [ {points} ] }} {lists} }} }}")


@pytest.mark.parametrize(
    ("kind", "lists", "faces"),
    [
        ("IndexedTriangleSet", "index [ 0 1 3 1 4 3 ]", [[0, 1, 3], [1, 4, 3]]),
        ("IndexedTriangleSet", "index [ 0 1 3, 1 4 3 ] ccw FALSE", [[0, 3, 1], [1, 3, 4]]),
        ("IndexedTriangleSet", "index [ 0 1 3 -1 1 4 3 -1 ]", [[0, 1, 3], [1, 4, 3]]),
        ("IndexedTriangleSet", "coordIndex [ 0 1 3 1 4 3 ]", [[0, 1, 3], [1, 4, 3]]),
        ("IndexedQuadSet", "index [ 0 1 4 3 1 2 5 4 ]", [[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]]),
        ("IndexedTriangleStripSet", "index [ 0 3 1 4 2 5 ]", [[0, 3, 1], [3, 4, 1], [1, 4, 2], [4, 5, 2]]),
        ("IndexedTriangleStripSet", "index [ 0 3 1 -1 1 4 2 5 -1 ]", [[0, 3, 1], [1, 4, 2], [4, 5, 2]]),
        ("IndexedTriangleStripSet", "index [ 0 3 -1 1 -1 -1 1 4 2 ]", [[1, 4, 2]]),
        ("IndexedTriangleFanSet", "index [ 0 1 4 3 -1 1 2 5 ]", [[0, 1, 4], [0, 4, 3], [1, 2, 5]]),
        ("TriangleSet", "", [[0, 1, 2], [3, 4, 5]]),
        ("QuadSet", "", [[0, 1, 2], [0, 2, 3]]),
        ("TriangleFanSet", "fanCount [ 3 3 ]", [[0, 1, 2], [3, 4, 5]]),
        ("TriangleStripSet", "stripCount [ 4 ]", [[0, 1, 2], [1, 3, 2]]),
        ("TriangleStripSet", "stripCount [ 3, 9 ]", [[0, 1, 2]]),
    ],
)
def test_every_kind_of_faces(tmp_path, kind, lists, faces):
    mesh = read(tmp_path, shape(kind, lists))
    np.testing.assert_array_equal(mesh.faces, faces)
    assert mesh.num_vertices == 6


def test_an_incomplete_last_group_is_left_out_with_a_remark(tmp_path):
    mesh = read(tmp_path, shape("IndexedTriangleSet", "index [ 0 1 3 1 4 ]"))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3]])
    assert "not complete; left out" in mesh.remarks[0]
    assert "not complete" in read(tmp_path, shape("QuadSet", "")).remarks[0]


def test_texture_coordinates_and_colours_of_triangle_sets_follow_the_vertices(tmp_path):
    lists = "index [ 0 1 3 ] texCoord TextureCoordinate { point [ 0 0 1 0 2 0 0 1 1 1 2 1 ] }"
    lists += " color ColorRGBA { color [" + "1 0 0 0.5 " * 6 + "] }"
    mesh = read(tmp_path, shape("IndexedTriangleSet", lists))
    np.testing.assert_array_equal(mesh.uv, [[[0, 0], [1, 0], [0, 1]]])
    np.testing.assert_array_equal(mesh.vertex_colors, [[255, 0, 0]] * 6)
    strip = read(tmp_path, shape("IndexedTriangleStripSet", lists.replace("0 1 3", "0 3 1 4")))
    np.testing.assert_array_equal(strip.uv, [[[0, 0], [0, 1], [1, 0]], [[0, 1], [1, 1], [1, 0]]])


def test_an_elevation_grid_is_a_surface(tmp_path):
    grid = (
        "Shape { geometry ElevationGrid { xDimension 3 zDimension 2 xSpacing 10 zSpacing 5 height [ 1 2 3 4 5 6 ] } }"
    )
    mesh = read(tmp_path, vrml(grid))
    expected = [[0, 1, 0], [10, 2, 0], [20, 3, 0], [0, 4, 5], [10, 5, 5], [20, 6, 5]]
    np.testing.assert_array_equal(mesh.vertices, expected)
    np.testing.assert_array_equal(mesh.faces[:2], [[0, 3, 4], [0, 4, 1]])
    with pytest.raises(MeshError, match=r":2: 6 heights for a grid of 4 x 2"):
        read(tmp_path, vrml(grid.replace("xDimension 3", "xDimension 4")))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("#VRML V2.0 utf8", "#vrml v2.0 UTF8"),
        lambda text: text.replace("IndexedFaceSet", "indexedfaceset").replace("Shape", "SHAPE"),
        lambda text: text.replace("coordIndex", "CoordIndex").replace("point", "Point").replace("geometry", "GEOMETRY"),
        lambda text: text.replace("texCoordIndex", "texcoordindex").replace("Coordinate", "coordinate"),
        lambda text: text.replace("Shape", "def A Shape").replace("TRUE", "true"),
        lambda text: "# made by hand\n\n" + text,
        lambda text: text.replace("#VRML V2.0 utf8", "#X3D V3.3 utf8\nPROFILE Interchange\nMETA \"a\" \"b\""),
    ],
)  # fmt: skip
def test_names_and_keywords_in_any_case(tmp_path, change):
    mesh = read(tmp_path, change(vrml(extra="ccw TRUE\n").decode()).encode())
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)


@pytest.mark.parametrize(
    ("body", "moves"),
    [
        ("PROTO H [ ] { %s } H { }", [0]),
        ("PROTO H [ field SFVec3f t 1 0 0 ] { Transform { translation IS t children %s } } H { } H { t 2 0 0 }",
         [1, 2]),
        ("PROTO I [ field MFNode c [ ] ] { Group { children IS c } } I { c %s }", [0]),
        (
            "PROTO I [ field SFVec3f a 5 0 0 ] { Transform { translation IS a children %s } }"
            " PROTO O [ field SFVec3f b 7 0 0 ] { Group { children [ I { a IS b } I { } ] } } O { b 9 0 0 }",
            [9, 5],
        ),
        ("PROTO H [ ] { PROTO I [ ] { %s } Group { children I { } } } H { } DEF X H { } USE X", [0, 0, 0]),
        ("PROTO H [ ] { Group { children [ DEF A %s USE A ] } Script { field SFBool x TRUE } ROUTE A.b TO A.c } H { }",
         [0, 0]),
        ("PROTO H [ ] { Group { } %s } H { } %s", [0]),
        ("PROTO H [ exposedField SFBool on FALSE eventIn SFBool set eventOut SFTime out ] { %s } H { on TRUE }", [0]),
    ],
)  # fmt: skip
def test_prototypes_are_expanded(tmp_path, body, moves):
    mesh = read(tmp_path, vrml(body.replace("%s", f"Shape {{ geometry {face_set()} }}")))
    expected = np.concatenate([VERTICES + np.float32([move, 0, 0]) for move in moves])
    np.testing.assert_array_equal(mesh.vertices, expected)
    assert mesh.num_faces == 4 * len(moves)


def test_an_instance_gives_its_points(tmp_path):
    mesh = read(tmp_path, prototypes())
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.uv, UV)
    with pytest.raises(MeshError, match="coordIndex names vertex 1, there are 1"):
        read(tmp_path, prototypes().replace(b"at [ 0 0 0,", b"no [ 0 0 0,"))


def test_a_prototype_is_no_name_outside_and_no_node_of_itself(tmp_path):
    shape_text = f"Shape {{ geometry {face_set()} }}"
    body = f"PROTO H [ ] {{ Group {{ children DEF A {shape_text} }} }} {shape_text} Group {{ children USE A }}"
    mesh = read(tmp_path, vrml(body))
    assert mesh.num_vertices == 5
    assert "USE A: no DEF before it gives that name; left out" in mesh.remarks
    with pytest.raises(MeshError, match="no IndexedFaceSet"):
        read(tmp_path, vrml("PROTO H [ ] { Group { children H { } } } H { }"))


@pytest.mark.parametrize(
    "bomb",
    [
        "PROTO A0 [ field SFVec3f t 0 0 0 ] { Transform { translation IS t } } "
        + "".join(
            f"PROTO A{k} [ field SFVec3f t 0 0 0 ] {{ Group {{ children [ {f'A{k - 1} {{ t IS t }} ' * 10} ] }} }} "
            for k in range(1, 9)
        )
        + "A8 { }",
        "PROTO A0 [ ] { Group { } } "
        + "".join(f"PROTO A{k} [ ] {{ Group {{ children [ {f'A{k - 1} {{ }} ' * 10} ] }} }} " for k in range(1, 9))
        + "A8 { }",
        "PROTO A [ ] { " * 500,
        "PROTO A0 [ field SFVec3f t 0 0 0 ] { Transform { translation IS t } } "
        + "".join(
            f"PROTO A{k} [ field SFVec3f t 0 0 0 ] {{ Group {{ children A{k - 1} {{ t IS t }} }} }} "
            for k in range(1, 400)
        )
        + "A399 { }",
        "PROTO A [ ] { Foo { " + "".join(f"a{k} 1 " for k in range(300)) + "} } " + "A { } " * 10,
    ],
    ids=["copied", "shared", "nested", "chain", "wide"],
)
def test_prototypes_cannot_multiply_without_bound(tmp_path, bomb, monkeypatch):
    monkeypatch.setattr(vrml_scene, "MAX_VISITED_NODES", 1000)
    monkeypatch.setattr(vrml_nodes, "MAX_EXPANDED_FIELDS", 2000)
    with pytest.raises(MeshError, match=r"more than|nested"):
        read(tmp_path, vrml(bomb))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ('Inline { url "scan_geometry.wrl" }', "scan_geometry.wrl"),
        ('Group { children [ Transform { children Inline { url [ "a.wrl" "b.wrl" ] } } ] }', "a.wrl"),
        ('Inline { url "a.wrl" } Inline { url "b.wrl" }', "a.wrl b.wrl"),
        ('EXTERNPROTO H [ field SFInt32 a ] "heads.wrl#H" H { a 1 }', "heads.wrl#H"),
        ('EXTERNPROTO H [ ] [ "heads.wrl" "b" ] Shape { geometry H { } }', "heads.wrl"),
        ('LOD { level Inline { url "fine.wrl" } }', "fine.wrl"),
    ],
)
def test_a_file_that_names_another_says_which(tmp_path, body, names):
    with pytest.raises(MeshError, match=f"the file only names another: {names}; open that one"):
        read(tmp_path, vrml(body))
    mesh = read(tmp_path, vrml(f"{body} Shape {{ geometry {face_set()} }}"))
    assert mesh.remarks == (f"another file that this one names is not read: {names.split()[0]}",)


def test_a_name_that_nothing_has_costs_only_itself(tmp_path):
    mesh = read(tmp_path, vrml(extra="color USE Skin\n"))
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.remarks == ("USE Skin: no DEF before it gives that name; left out",)


@pytest.mark.parametrize(
    "extra",
    [
        "texCoord TextureCoordinate { point [0 0\n1] }",
        "texCoord TextureCoordinate { point [0 0 x 1] }",
        "texCoord TextureCoordinate { point [0 0 1 1 2 2] } texCoordIndex [0 1 q]",
        "texCoord TextureCoordinate { point [0 0 1 1] } texCoordIndex [0 1 -1]",
        "texCoord TextureCoordinate { point [0 0 1 1] } texCoordIndex [0\n1 2]",
        "texCoord TextureCoordinate { point [0 0 1 1 nan 2 0 0] }",
        "color Color { color [1 0 0 0 1 0] }",
        "color Color { color [1 0 0 0] }",
        "color Color { color [1 0 0] } colorIndex [0 0 z]",
        "color Color { color [1 0 0] } colorIndex [0 0 1 -1]",
    ],
)
def test_what_is_wrong_with_texture_and_colours_costs_these_alone(tmp_path, extra):
    mesh = read(tmp_path, shape("IndexedFaceSet", f"coordIndex [0 1 2 -1] {extra}", SQUARE))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])
    assert len(mesh.remarks) == 1
    assert "left out" in mesh.remarks[0]


@pytest.mark.parametrize("bad", ["6", "-2", "1.5", "99999999999", "1e30", "nan", "-1.#IND"])
@pytest.mark.parametrize("kind", ["IndexedFaceSet", "IndexedTriangleSet", "IndexedTriangleStripSet"])
def test_a_bad_index_costs_its_face(tmp_path, kind, bad):
    end = "" if kind == "IndexedTriangleSet" else " -1"
    index = "index" if kind != "IndexedFaceSet" else "coordIndex"
    good = f"0 1 4{end} 1 2 5{end} " * 10
    mesh = read(tmp_path, shape(kind, f"{index} [ {good} 0 1 {bad}{end} ]"))
    assert mesh.num_faces == 20
    assert mesh.remarks == ("1 of 21 faces name vertices that are not there; left out",)
    with pytest.raises(MeshError, match=re.escape(f"scan.wrl:3: {index} names vertex {bad}, there are 6")):
        read(tmp_path, shape(kind, f"{index} [ 0 1 4{end}\n0 1 {bad}{end} ]"))


@pytest.mark.parametrize("num_missing", [1, 2, 3])
def test_only_closing_brackets_may_be_missing(tmp_path, num_missing):
    text = vrml(f"Group {{ children [ Shape {{ geometry {face_set()} }} ] }}").decode().rstrip()
    for _ in range(num_missing):
        text = text[:-1].rstrip()
    mesh = read(tmp_path, text.encode())
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    assert len(mesh.remarks) == 1
    assert "it may be cut" in mesh.remarks[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Shape {\n geometry IndexedFaceSet { coord Coordinate {\n point [ 0 0 0 1", r":4: '\[' is never closed"),
        ("Shape {\n geometry IndexedFaceSet { coordIndex\n[ 0 1", r":4: '\[' is never closed"),
        ("Shape {\n geometry IndexedFaceSet { coord Coordinate {\n point [ 0 0 0 1 0 0 0 1 0 ] }",
         r":3: .*the file is cut"),
        ("Shape {\n geometry", r":3: expected the value of geometry, found the end of the file"),
        ("Shape {\n geometry IndexedFaceSet", r":3: expected '{' after IndexedFaceSet, found the end of the file"),
    ],
)  # fmt: skip
def test_a_cut_list_is_refused_with_its_line(tmp_path, body, message):
    with pytest.raises(MeshError, match=message):
        read(tmp_path, vrml(body).rstrip())


def test_a_point_set_may_be_cut_after_its_points(tmp_path):
    mesh = read(tmp_path, vrml(f"Shape {{ geometry PointSet {{ coord Coordinate {{ point [ {SQUARE} ]"))
    assert mesh.is_point_cloud
    assert "it may be cut" in mesh.remarks[0]


def test_lists_of_the_builder_are_those_of_the_mesh(tmp_path):
    mesh = read(tmp_path, shape("IndexedFaceSet", f"coordIndex [ {list_text('faces')} ]", list_text("points")))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
