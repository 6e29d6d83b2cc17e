"""VRML 1.0 and Open Inventor: each node changes the state of those after it."""

from __future__ import annotations

import numpy as np
import pytest

from builders import FACES, UV, VERTICES, image, list_text, vrml1, write
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh, vrml_scene

POINTS = f"Coordinate3 {{ point [ {list_text('points')} ] }}"
FACE_SET = f"IndexedFaceSet {{ coordIndex [ {list_text('faces')} ] }}"
SURFACE = f"{POINTS} {FACE_SET}"


def read(folder, data, name: str = "scan.wrl") -> Mesh:
    return read_mesh(write(folder, name, data))


@pytest.mark.parametrize("name", ["scan.wrl", "scan.vrml", "scan.iv"])
@pytest.mark.parametrize(
    "head", ["#VRML V1.0 ascii", "#vrml v1.0 ASCII", "#Inventor V2.1 ascii", "#Inventor V2.0 ascii   "]
)
def test_the_little_mesh(tmp_path, name, head):
    mesh = read(tmp_path, vrml1(head=head), name)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    assert mesh.remarks == ()


def test_the_texture_is_found_by_its_name(tmp_path):
    write(tmp_path, "skin.png", image())
    mesh = read(tmp_path, vrml1())
    assert mesh.texture is not None
    assert read_mesh(tmp_path / "scan.wrl", load_texture=False).texture is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"Separator {{ Translation {{ translation 1 2 3 }} {SURFACE} }}", VERTICES + [1, 2, 3]),
        (f"Separator {{ Scale {{ scaleFactor 2 1 1 }} Translation {{ translation 1 0 0 }} {SURFACE} }}",
         (VERTICES + [1, 0, 0]) * [2, 1, 1]),
        (f"Separator {{ Transform {{ translation 1 0 0 scaleFactor 3 3 3 }} {SURFACE} }}", VERTICES * 3 + [1, 0, 0]),
        (f"Separator {{ MatrixTransform {{ matrix 2 0 0 0 0 1 0 0 0 0 1 0 5 6 7 1 }} {SURFACE} }}",
         VERTICES * [2, 1, 1] + [5, 6, 7]),
        (f"Separator {{ Rotation {{ rotation 0 0 1 1.5707963267948966 }} {SURFACE} }}",
         VERTICES[:, [1, 0, 2]] * [-1, 1, 1]),
        (f"Separator {{ Separator {{ Translation {{ translation 9 9 9 }} }} {SURFACE} }}", VERTICES),
        (f"TransformSeparator {{ Translation {{ translation 9 9 9 }} {POINTS} }} {FACE_SET}", VERTICES),
        (f"Group {{ Translation {{ translation 9 0 0 }} }} {SURFACE}", VERTICES + [9, 0, 0]),
        (f"Switch {{ whichChild 1 Cube {{ }} Group {{ {SURFACE} }} {SURFACE} }}", VERTICES),
        (f"Switch {{ whichChild -3 {POINTS} {FACE_SET} }}", VERTICES),
        (f"LOD {{ range [ 10 ] Group {{ {SURFACE} }} Group {{ {SURFACE} }} }}", VERTICES),
        (f"WWWAnchor {{ name \"x\" {SURFACE} }}", VERTICES),
        (f"DEF A Separator {{ DEF P {POINTS} {FACE_SET} }} Separator {{ USE P Scale {{ }} }}", VERTICES),
        (f"DEF A Group {{ {SURFACE} }} Switch {{ USE A }}", VERTICES),
        (f"Separator {{ renderCulling AUTO Material {{ diffuseColor [ 1 0 0 ] ambientColor 0 0 0 ~ }} "
         f"MaterialBinding {{ value OVERALL }} Info {{ string \"a {{\" }} Normal {{ vector [ 0 0 1 ] }} {SURFACE} }}",
         VERTICES),
        (f"Separator {{ extra {{ }} FontStyle {{ family SERIF style (BOLD | ITALIC) }} {SURFACE} }}", VERTICES),
    ],
)  # fmt: skip
def test_the_state_of_a_scene(tmp_path, body, expected):
    mesh = read(tmp_path, vrml1(body))
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-5)
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_geometry_that_names_the_same_points_is_one_surface(tmp_path):
    one, other = (f"IndexedFaceSet {{ coordIndex [ {corners} ] }}" for corners in ("0 1 2", "0 2 3 -1"))
    body = f"Separator {{ {POINTS} {one} Material {{ }} {other} }}"
    mesh = read(tmp_path, vrml1(body))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    moved = body.replace("Material", "Translation { translation 1 0 0 } Material")
    mesh = read(tmp_path, vrml1(moved))
    np.testing.assert_array_equal(mesh.vertices, np.concatenate([VERTICES, VERTICES + np.float32([1, 0, 0])]))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [5, 7, 8]])


@pytest.mark.parametrize(
    ("node", "faces"),
    [
        ("ShapeHints { vertexOrdering CLOCKWISE } IndexedFaceSet { coordIndex [ 0 1 2 ] }", [[0, 2, 1]]),
        ("ShapeHints { vertexOrdering UNKNOWN_ORDERING } IndexedFaceSet { coordIndex [ 0 1 2 ] }", [[0, 1, 2]]),
        ("IndexedTriangleStripSet { coordIndex [ 0 1 2 3 -1 ] }", [[0, 1, 2], [1, 3, 2]]),
        ("FaceSet { numVertices [ 3 ] }", [[0, 1, 2]]),
        ("FaceSet { startIndex 1 numVertices 4 }", [[1, 2, 3], [1, 3, 4]]),
        ("TriangleStripSet { numVertices [ -1 ] }", [[0, 1, 2], [1, 3, 2], [2, 3, 4]]),
        ("Separator { IndexedFaceSet { coordIndex [ 0, 1, 2, -1, 2, 3, 4, ] } }", [[0, 1, 2], [2, 3, 4]]),
    ],
)
def test_kinds_of_faces(tmp_path, node, faces):
    np.testing.assert_array_equal(read(tmp_path, vrml1(f"Separator {{ {POINTS} {node} }}")).faces, faces)


def test_points_and_the_properties_of_open_inventor(tmp_path):
    mesh = read(tmp_path, vrml1(f"Separator {{ {POINTS} PointSet {{ numPoints -1 }} }}"))
    assert mesh.is_point_cloud
    vertices = f"vertexProperty VertexProperty {{ vertex [ {list_text('points')} ] }}"
    own = f"IndexedFaceSet {{ {vertices} coordIndex [ 0 1 2 ] }}"
    np.testing.assert_array_equal(read(tmp_path, vrml1(own, head="#Inventor V2.1 ascii")).vertices, VERTICES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (vrml1("Separator { }"), "no IndexedFaceSet"),
        (vrml1('Separator { WWWInline { name "fine.wrl" } }'), "the file only names another: fine.wrl; open that one"),
        (vrml1(f"Separator {{ {FACE_SET} }}"), "coordIndex names vertex 0, there are 0"),
        (vrml1(f"Separator {{ {POINTS}\nIndexedFaceSet {{ coordIndex [ 0 1 9 -1 ] }} }}"),
         r":3: coordIndex names vertex 9"),
        (vrml1("Separator {\n Coordinate3 { point [ 0 0 x ] } PointSet { } }"), r":3: expected a number, found 'x'"),
        (vrml1("Separator {\n Coordinate3 { point [ 0 0"), r":3: '\[' is never closed"),
        (vrml1(f"Separator {{ Translation {{\n translation 1 2 }} {SURFACE} }}"), r":3: translation has 2 numbers"),
        (vrml1("USE A"), r":2: USE A: no DEF"),
        (vrml1("Separator { " * 500), "nested more than"),
        (vrml1(head="#Inventor V2.1 binary"), "Open Inventor in binary: save it as text"),
        (vrml1(head="#VRML V3.0 ascii"), r"VRML 3, expected"),
        (vrml1("DEF A0 Group { } " + "".join(f"DEF A{k} Group {{ {f'USE A{k - 1} ' * 10} }} " for k in range(1, 9))),
         "describe more than"),
        (vrml1("Coordinate3 { point [ " + "1 2 3 " * 20_000 + "] } DEF A PointSet { } "
               "DEF T Translation { translation 1 0 0 } "
               + "USE T USE A " * 500),
         "MiB of geometry"),
    ],
)  # fmt: skip
def test_broken_files_say_where(tmp_path, data, message, monkeypatch):
    monkeypatch.setattr(vrml_scene, "MAX_VISITED_NODES", 2000)
    with pytest.raises(MeshError, match=message) as caught:
        read(tmp_path, data)
    assert "scan.wrl" in str(caught.value)


def test_closing_brackets_may_be_missing(tmp_path):
    mesh = read(tmp_path, vrml1().rstrip()[:-1])
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert "it may be cut" in mesh.remarks[0]
