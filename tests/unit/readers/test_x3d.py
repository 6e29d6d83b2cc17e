"""X3D in XML."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from builders import FACES, UV, VERTICES, face_set, image, list_text, triangle_strips, write, x3d
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh, vrml_scene

DOCTYPE = '<!DOCTYPE X3D PUBLIC "ISO//Web3D//DTD X3D 3.3//EN" "http://www.web3d.org/specifications/x3d-3.3.dtd">\n'
POINTS = f"<Coordinate point='{list_text('points')}'/>"
SURFACE = f"<Shape><IndexedFaceSet coordIndex='{list_text('faces')}'>{POINTS}</IndexedFaceSet></Shape>"


def read(folder, data, name: str = "scan.x3d") -> Mesh:
    return read_mesh(write(folder, name, data))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("'", "\0").replace('"', "'").replace("\0", '"'),
        lambda text: text.replace("?>\n", "?>\n" + DOCTYPE),
        lambda text: text.replace("UTF-8", "ISO-8859-1").replace("content='b'", "content='b\xe9'"),
        lambda text: text.replace(", ", ",&#10;").replace(" -1 ", " -1&#xA;"),
        lambda text: text.replace("<X3D", "<!-- a > ' \" -->\n<X3D xmlns:xsd='a://b'"),
        lambda text: text.replace("FaceSet", "faceset").replace("coordIndex", "coordindex").replace("X3D", "x3d"),
        lambda text: text.replace("coordIndex=", "coordIndex = \n ").replace(" -1 ", "\t-1\n"),
        lambda text: text.replace("<Coordinate ", "<Coordinate containerField='coord' "),
        lambda text: text.replace("<Coordinate ", "<CoordinateDouble "),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("<Scene>", "<Scene><Viewpoint description='a &lt; b &amp; c &quot;'/><Foo x='[ {'/>"),
    ],
    ids=["plain", "quotes", "doctype", "latin", "references", "comment", "case", "blanks", "container", "double", "bom",
         "other"],
)  # fmt: skip
def test_layout_of_the_text_does_not_matter(tmp_path, change):
    mesh = read(tmp_path, change(x3d().decode()).encode("utf-8"))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    assert mesh.remarks == ()


def test_other_encodings_and_packing(tmp_path):
    latin = x3d().decode().replace("UTF-8", "ISO-8859-1").replace("content='b'", "content='\xe9'")
    for data in (latin.encode("latin-1"), x3d().decode().encode("utf-16"), gzip.compress(x3d())):
        np.testing.assert_array_equal(read(tmp_path, data).faces, FACES)
    np.testing.assert_array_equal(read(tmp_path, gzip.compress(x3d()), "scan.x3d.gz").faces, FACES)
    assert read(tmp_path, x3d(), "scan.wrl").remarks == ("its bytes are those of a .x3d file; read so",)
    assert read(tmp_path, triangle_strips(), "scan.x3d").num_faces == 3
    assert read(tmp_path, triangle_strips(), "scan.x3dv").remarks == ()


def test_the_texture_is_found_by_its_name(tmp_path):
    write(tmp_path, "skin.png", image())
    assert read(tmp_path, x3d()).texture is not None
    plain = x3d().replace(b'\'"skin.png" "b.png"\'', b"'skin.png'")
    assert read(tmp_path, plain).texture is not None
    assert read_mesh(tmp_path / "scan.x3d", load_texture=False).texture is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"<Transform translation='1 2 3' scale='2 2 2'>{SURFACE}</Transform>", VERTICES * 2 + [1, 2, 3]),
        (f"<Group><Transform translation='1 0 0'><Group>{SURFACE}</Group></Transform></Group>", VERTICES + [1, 0, 0]),
        (f"<Switch whichChoice='1'><Group/>{SURFACE}</Switch>", VERTICES),
        (f"<Switch>{SURFACE}</Switch>{SURFACE}", VERTICES),
        (f"<LOD range='1'>{SURFACE}{SURFACE}</LOD>", VERTICES),
        (f"<Group DEF='A'>{SURFACE}</Group><Transform translation='1 0 0'><Group USE='A'/></Transform>",
         np.concatenate([VERTICES, VERTICES + [1, 0, 0]])),
        (SURFACE.replace("<Shape>", "").replace("</Shape>", ""), VERTICES),
        (f"<Script><![CDATA[ <x> ]]></Script>"
         f"<ProtoDeclare name='a'><ProtoBody>{SURFACE}</ProtoBody></ProtoDeclare>{SURFACE}",
         VERTICES),
        (f"<Anchor url='\"x\"'>{SURFACE}</Anchor>", VERTICES),
    ],
)  # fmt: skip
def test_the_scene(tmp_path, body, expected):
    mesh = read(tmp_path, x3d(body))
    np.testing.assert_allclose(mesh.vertices, expected)
    assert mesh.num_faces == 4 * len(expected) // 5
    assert mesh.remarks == ()


@pytest.mark.parametrize(
    ("kind", "attributes", "faces"),
    [
        ("IndexedTriangleSet", "index='0 1 2 2 3 4'", [[0, 1, 2], [2, 3, 4]]),
        ("IndexedTriangleSet", "index='0 1 2' ccw='false'", [[0, 2, 1]]),
        ("IndexedTriangleStripSet", "index='0 1 2 3 -1'", [[0, 1, 2], [1, 3, 2]]),
        ("IndexedTriangleFanSet", "index='0 1 2 3'", [[0, 1, 2], [0, 2, 3]]),
        ("TriangleSet", "", [[0, 1, 2]]),
        ("IndexedQuadSet", "index='0 1 2 3'", [[0, 1, 2], [0, 2, 3]]),
        ("PointSet", "", np.zeros((0, 3))),
    ],
)
def test_every_kind_of_faces(tmp_path, kind, attributes, faces):
    mesh = read(tmp_path, x3d(f"<Shape><{kind} {attributes}>{POINTS}</{kind}></Shape>"))
    np.testing.assert_array_equal(mesh.faces, faces)


def test_colours(tmp_path):
    color = "<ColorRGBA color='" + "1 0 0 1 " * 5 + "'/>"
    mesh = read(tmp_path, x3d(f"<Shape><PointSet>{POINTS}{color}</PointSet></Shape>"))
    np.testing.assert_array_equal(mesh.vertex_colors, [[255, 0, 0]] * 5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (x3d(""), "no IndexedFaceSet"),
        (x3d("<Inline url='\"fine.x3d\"'/>"), "the file only names another: fine.x3d; open that one"),
        (x3d("<ProtoInstance name='a'/>"), "in prototypes, which are not read in XML"),
        (x3d("\n<Group USE='A'/>"), r":4: USE A: no DEF"),
        (x3d("<Group>"), r":4: not well-formed XML: mismatched tag"),
        (x3d().rstrip()[:150], "not well-formed XML: unclosed token"),
        (x3d(SURFACE.replace("'0 0 0", "\n'0 0 x")), r":4: expected a number, found 'x'"),
        (x3d(SURFACE.replace("0 1 4 -1", "0 1 9 -1")), r":3: coordIndex names vertex 9, there are 5"),
        (x3d(SURFACE.replace("0 1 4", "&#65; 1 4")), r":3: expected a number"),
        (x3d("<Group>" * 500), "nested more than"),
        (x3d("<Script>" + ("<a" + "".join(f" a{k}=''" for k in range(400)) + "/>") * 300 + "</Script>"),
         "words outside number lists"),
        (x3d(head="<!DOCTYPE X3D [<!ENTITY a 'b'>]>\n"), r":1: declares an entity \(a\); such XML is not read"),
        (x3d(head="<!DOCTYPE X3D [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>\n"), "declares an entity"),
        (x3d(head="<!DOCTYPE X3D [\n<!ENTITY % a 'b'>]>\n"), "declares an entity"),
        (x3d("<Group DEF='A0'/>" + "".join(
            f"<Group DEF='A{k}'>" + f"<Group USE='A{k - 1}'/>" * 10 + "</Group>" for k in range(1, 9))),
         "describe more than"),
        (b"<X3D><Scene>", "no IndexedFaceSet"),
        (b"\xff<X3D", "not well-formed XML"),
    ],
)  # fmt: skip
def test_broken_files_say_where(tmp_path, data, message, monkeypatch):
    monkeypatch.setattr(vrml_scene, "MAX_VISITED_NODES", 2000)
    with pytest.raises(MeshError, match=message) as caught:
        read(tmp_path, data)
    assert "scan.x3d" in str(caught.value)


def test_closing_tags_may_be_missing(tmp_path):
    for tail in (b"</X3D>", b"</Scene></X3D>", b"</IndexedFaceSet></Shape>\n</Scene></X3D>"):
        mesh = read(tmp_path, x3d().removesuffix(tail))
        np.testing.assert_array_equal(mesh.faces, FACES)
        assert len(mesh.remarks) == 1
        assert "it may be cut" in mesh.remarks[0]
    with pytest.raises(MeshError, match="the file is cut"):
        read(tmp_path, b"<X3D><Scene><Shape><IndexedFaceSet><Coordinate point='0 0 0'/>")


def test_defaults_that_a_document_type_declares_are_not_taken(tmp_path):
    head = "<!DOCTYPE X3D [<!ATTLIST IndexedFaceSet ccw CDATA 'false'>]>\n"
    np.testing.assert_array_equal(read(tmp_path, x3d(head=head)).faces, FACES)


def test_the_syntaxes_give_the_same_mesh(tmp_path):
    classic = f"#X3D V3.3 utf8\nShape {{ geometry {face_set()} }}\n"
    one, other = read(tmp_path, x3d()), read(tmp_path, classic, "scan.x3dv")
    np.testing.assert_array_equal(one.vertices, other.vertices)
    np.testing.assert_array_equal(one.uv, other.uv)
