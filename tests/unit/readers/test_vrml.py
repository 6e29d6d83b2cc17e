from __future__ import annotations

import io

import numpy as np
import pytest

from builders import COLORS, FACES, POINTS, UV, VERTICES, face_set, image, vrml, write
from smilevlm.errors import MeshError
from smilevlm.readers import read_mesh, vrml_nodes, write_bu3dfe_vrml, write_bu4dfe_vrml


def read(folder, data):
    return read_mesh(write(folder, "scan.wrl", data))


def ifs(points: str, index: str, more: str = "") -> bytes:
    return vrml(
        f"Shape {{ geometry IndexedFaceSet {{ coord Coordinate {{ point [{points}] }} coordIndex [{index}] {more} }} }}"
    )


SQUARE = "0 0 0, 1 0 0, 1 1 0, 0 1 0"


def test_quads_become_fans_and_uv_is_per_corner(tmp_path):
    mesh = read(tmp_path, vrml())
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)
    assert mesh.texture is None
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == np.int32


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" {", "\n{").replace(" [", "\n\t["),
        lambda text: text.replace(",\n", " "),
        lambda text: text.replace(",\n", ",  ,\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace(",\n", ', # a ] comment } "\n'),
        lambda text: text.replace("-1\n]", "]"),
        lambda text: text.replace("-1\n]", "-1,\n]"),
        lambda text: text.replace("12.25\n]", "12.25,\n]").replace("0.25 0.75\n]", "0.25 0.75,\n]"),
        lambda text: text.replace("10 0 0,", "1e1 +0.0E-05 -0,").replace("12.25", "1225e-02"),
        lambda text: "\ufeff" + text,
    ],
    ids=[
        "brace-alone",
        "one-line",
        "commas",
        "crlf",
        "cr",
        "comments",
        "no-last",
        "last-comma",
        "last-point-comma",
        "exponents",
        "bom",
    ],
)
def test_layout_of_the_text_does_not_matter(tmp_path, change):
    mesh = read(tmp_path, change(vrml().decode()).encode())
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, UV)


def test_without_texture_index_the_coordinate_index_serves(tmp_path):
    text = vrml().decode()
    start = text.index("texCoordIndex")
    mesh = read(tmp_path, (text[:start] + "}\n}\n").encode())
    np.testing.assert_array_equal(mesh.uv, POINTS[FACES])
    empty = text[:start] + "texCoordIndex [ ] }\n}\n"
    np.testing.assert_array_equal(read(tmp_path, empty.encode()).uv, POINTS[FACES])


def test_without_texture_coordinates_there_is_no_uv(tmp_path):
    mesh = read(tmp_path, vrml(f"Shape {{ geometry {face_set(texture=False)} }}"))
    assert mesh.uv is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("scan_F3D.bmp", "scan_F3D.bmp"),
        ("SCAN_f3d.BMP", "scan_F3D.bmp"),
        ("C:\\faces\\scan_F3D.bmp", "scan_F3D.bmp"),
        ("../a/scan_F3D.bmp", "scan_F3D.bmp"),
        (None, "scan.bmp"),
        (None, "scan.JPG"),
        ("gone.bmp", "scan.jpg"),
        (None, "scan.png"),
        (None, "scan.jpeg"),
    ],
)
def test_texture_by_url_or_stem(tmp_path, url, name):
    kind = {"bmp": "BMP", "jpg": "JPEG", "jpeg": "JPEG", "png": "PNG"}[name.rsplit(".", 1)[1].lower()]
    write(tmp_path, name, image(kind))
    mesh = read(tmp_path, vrml(url=url))
    assert mesh.texture is not None
    assert mesh.texture.shape == (3, 4, 3)
    if kind != "JPEG":
        np.testing.assert_array_equal(mesh.texture[0, 0], [255, 0, 0])
        np.testing.assert_array_equal(mesh.texture[2, 0], [0, 0, 255])
    assert read_mesh(tmp_path / "scan.wrl", load_texture=False).texture is None


def test_url_list_and_missing_texture(tmp_path):
    data = vrml(url="X").replace(b'url "X"', b'url [ "one.png", "two.png" ]')
    assert read(tmp_path, data).texture is None
    write(tmp_path, "one.png", image())
    assert read(tmp_path, data).texture is not None


def test_broken_texture_is_named(tmp_path):
    write(tmp_path, "scan.png", b"no image")
    with pytest.raises(MeshError, match=r"scan\.png: the texture cannot be decoded"):
        read(tmp_path, vrml())


def test_faces_of_one_and_two_corners_and_degenerate_ones_are_dropped(tmp_path):
    mesh = read(tmp_path, ifs(SQUARE, "0 -1 0 1 -1 -1 0 0 1 -1 0 1 1 2 -1 1 2 3"))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [1, 2, 3]])


def test_clockwise_faces_are_turned(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, ifs(SQUARE, "0 1 2", "ccw FALSE")).faces, [[0, 2, 1]])


def test_several_face_sets_are_joined(tmp_path):
    shape = f"Shape {{ geometry {face_set()} }}"
    plain = f"Shape {{ geometry {face_set(texture=False)} }}"
    mesh = read(tmp_path, vrml(f"Group {{ children [ {shape} {plain} ] }}"))
    np.testing.assert_array_equal(mesh.faces, np.concatenate([FACES, FACES + 5]))
    np.testing.assert_array_equal(mesh.uv, np.concatenate([UV, np.zeros_like(UV)]))


def test_two_textures_warn(tmp_path):
    one = vrml(url="a.png").decode().split("\n", 1)[1]
    with pytest.warns(UserWarning, match="2 textures"):
        read(tmp_path, vrml(one + one.replace("a.png", "b.png")))


def test_def_and_use(tmp_path):
    body = f"DEF S Shape {{ geometry DEF G {face_set()} }} Transform {{ translation 1 2 3 children USE S }}"
    mesh = read(tmp_path, vrml(body))
    np.testing.assert_array_equal(mesh.vertices[5:], VERTICES + np.float32([1, 2, 3]))
    with pytest.raises(MeshError, match=r"scan\.wrl:2: USE T: no DEF"):
        read(tmp_path, vrml("Group { children USE T }"))


def test_nested_transforms(tmp_path):
    body = (
        "Transform { translation 100 0 0 children Transform { rotation 0 0 2 1.5707963267948966 scale 2 1 1 "
        f"center 1 0 0 children [ Shape {{ geometry {face_set()} }} ] }} }}"
    )
    x, y, z = VERTICES.T
    expected = np.stack([101 - y, 2 * (x - 1), z], axis=1)
    np.testing.assert_allclose(read(tmp_path, vrml(body)).vertices, expected, atol=1e-5)


def test_scale_orientation_and_mirroring(tmp_path):
    shape = f"children Shape {{ geometry {face_set()} }}"
    turned = read(tmp_path, vrml(f"Transform {{ scale 2 1 1 scaleOrientation 0 0 1 1.5707963267948966 {shape} }}"))
    np.testing.assert_allclose(turned.vertices, VERTICES * [1, 2, 1], atol=1e-5)
    mirrored = read(tmp_path, vrml(f"Transform {{ scale -1 1 1 {shape} }}"))
    np.testing.assert_array_equal(mirrored.faces, FACES[:, [0, 2, 1]])
    np.testing.assert_array_equal(mirrored.uv, UV[:, [0, 2, 1]])


def test_colours(tmp_path):
    values = " ".join(f"{value:g}" for value in (COLORS / 255).ravel())
    mesh = read(tmp_path, vrml(extra=f"color Color {{ color [{values}] }}\n"))
    np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    assert read(tmp_path, vrml(extra=f"colorPerVertex FALSE color Color {{ color [{values}] }}")).vertex_colors is None
    indexed = ifs(SQUARE, "0 1 2 -1", "color Color { color [1 0 0 0 1 0] } colorIndex [1 0 1 -1]")
    np.testing.assert_array_equal(
        read(tmp_path, indexed).vertex_colors, [[0, 255, 0], [255, 0, 0], [0, 255, 0], [204, 204, 204]]
    )
    too_few = read(tmp_path, ifs(SQUARE, "0 1 2", "color Color { color [1 0 0 0 1 0] }"))
    assert too_few.vertex_colors is None
    assert too_few.remarks == ("2 colours do not fit the 4 vertices; left out",)


@pytest.mark.parametrize("kind", ["PointSet", "IndexedFaceSet"])
def test_point_cloud(tmp_path, kind):
    mesh = read(tmp_path, vrml(f"Shape {{ geometry {kind} {{ coord Coordinate {{ point [{SQUARE}] }} }} }}"))
    assert mesh.is_point_cloud
    assert mesh.num_vertices == 4


def test_what_is_unknown_is_passed_over(tmp_path):
    body = (
        'WorldInfo { info [ "a ] \\" b" , "{" ] title "x" } Foo { bar [ Baz { x 1 2 3 } ] deep Deep { y [ ] } z NULL }'
        ' PROTO P [ field SFInt32 a 3 ] { Group { } } EXTERNPROTO Q [ ] [ "u" ] EXTERNPROTO R [ ] "u"'
        ' Script { url "x" field SFTime t 0 eventIn SFBool set directOutput TRUE }'
        f" Switch {{ whichChoice 0 choice [ Shape {{ geometry {face_set()} }} Shape {{ geometry {face_set()} }} ] }}"
        f" LOD {{ range [ 1 ] level [ Shape {{ geometry {face_set()} }} Group {{ }} ] }}"
        f" Switch {{ choice Shape {{ geometry {face_set()} }} }}"
        " Shape { geometry Box { size 1 1 1 } } NavigationInfo { headlight TRUE } ROUTE a.b TO c.d"
    )
    assert read(tmp_path, vrml(body)).num_vertices == 10


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"#VRML V3.0 utf8\nSeparator { }", r":1: VRML 3, expected"),
        (b"\x1f\x8b\x08\x00", "a damaged gzip file"),
        (b"hello", r":1: expected '#VRML V2\.0 utf8'"),
        (vrml(""), "no IndexedFaceSet"),
        (vrml("Shape { geometry PointSet { } }"), "no vertices"),
        (ifs("nan 0 0", "0"), "1 of 1 points are not finite"),
        (ifs("0 0 nan, 1 0 0, 0 1 0", "0 1 2"), "1 of 3 vertices are not finite, and 1 of 1 faces use them"),
        (ifs("0 0 abc", "0"), r":2: expected a number.*'abc"),
        (ifs("0 0 1x", "0"), r":2: expected a number"),
        (ifs("0 0 1e", "0"), r":2: expected a number"),
        (ifs("0 0 -", "0"), r":2: expected a number"),
        (ifs('0 0 "1"', "0"), r":2: expected a number"),
        (ifs("0 0 0 1", "0"), r":2: 4 numbers for Coordinate point"),
        (ifs(SQUARE, "0 1 2 -1\n1 2\n4"), r":4: coordIndex names vertex 4, there are 4"),
        (ifs(SQUARE, "0 1\n-2"), r":3: coordIndex names vertex -2, there are 4"),
        (ifs(SQUARE, "0 1\n1.5"), r":3: coordIndex names vertex 1\.5, there are 4"),
        (ifs(SQUARE, "0 1\n99999999999"), r":3: coordIndex names vertex 99999999999, there are 4"),
        (ifs(SQUARE, "0 1\n1e30"), r":3: coordIndex names vertex 1e30, there are 4"),
        (ifs(SQUARE, "0 1\nnan"), r":3: coordIndex names vertex nan, there are 4"),
        (ifs(SQUARE, "0 1\nx"), r":3: expected a number, found 'x'"),
        (vrml("Shape {\n geometry }"), r":3: expected the value of geometry, found '}'"),
        (vrml("Shape {\n [ ] }"), r":3: expected a field's name"),
        (vrml('Shape {\n a "never }'), r":3: a string is never closed"),
        (vrml("A { b [\n 1 2"), r":2: '\[' is never closed"),
        (vrml("] "), r":2: expected a node, found '\]'"),
        (vrml("A { b " * 500), "nested more than"),
        (vrml("A { } " * 100_000), "words outside number lists"),
        (vrml("Transform { translation 1 2 children [ ] }"), r":2: translation has 2 numbers, expected 3"),
        (vrml(f"Transform {{ scale 1e38 1 1 children Shape {{ geometry {face_set()} }} }}"), "4 of 4 faces use them"),
    ],
)
def test_broken_files_say_where(tmp_path, data, message, monkeypatch):
    monkeypatch.setattr(vrml_nodes, "MAX_TOKENS", 20_000)
    with pytest.raises(MeshError, match=message) as caught:
        read(tmp_path, data)
    assert "scan.wrl" in str(caught.value)


@pytest.mark.parametrize(
    "bad", ["nan", "-inf", "1.#QNAN", "-1.#IND", "1e39", "1e999999999999", "-nan(ind)", "Infinity"]
)
def test_a_vertex_that_is_not_finite_is_left_out(tmp_path, bad):
    mesh = read(tmp_path, ifs(f"{SQUARE}, 0 {bad} 5", "0 1 2 -1 0 2 3 -1 2 3 4 -1"))
    assert mesh.num_vertices == 4
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    assert mesh.remarks == ("1 of 5 vertices are not finite; left out, with 1 of 3 faces",)


def test_use_cannot_multiply_geometry_without_bound(tmp_path):
    points = " ".join(["1 2 3"] * 20_000)
    one = f"DEF S Shape {{ geometry PointSet {{ coord DEF C Coordinate {{ point [{points}] }} }} }} "
    with pytest.raises(MeshError, match="MiB of geometry"):
        read(tmp_path, vrml(one + "USE S " * 5000))
    with pytest.raises(MeshError, match="MiB of geometry"):
        read(tmp_path, vrml(one + "Shape { geometry PointSet { coord USE C } } " * 5000))
    bomb = "DEF A0 Group { } " + "".join(
        f"DEF A{k} Group {{ children [ {f'USE A{k - 1} ' * 10} ] }} " for k in range(1, 9)
    )
    with pytest.raises(MeshError, match="describe more than"):
        read(tmp_path, vrml(bomb))


@pytest.mark.parametrize("form", ["%g", "%.9g", "%.9e", "%.8E", "%.17g"])
def test_numbers_round_trip(tmp_path, form):
    generator = np.random.default_rng(0)
    values = generator.integers(0, 2**32, 30_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values[np.isfinite(values)][:29_000], [0, 1e-45, 3.4028235e38, -1.17549435e-38, 16777217]])
    values = values.astype(np.float32)[: len(values) // 3 * 3]
    texts = [form % value for value in values.tolist()]
    mesh = read(tmp_path, vrml(f"Shape {{ geometry PointSet {{ coord Coordinate {{ point [{' '.join(texts)}] }} }} }}"))
    np.testing.assert_array_equal(mesh.vertices.ravel(), np.array([float(text) for text in texts], np.float32))


def test_writer_is_byte_exact_and_read_back(tmp_path):
    file = io.StringIO()
    polygons = np.array([[2, 0, 1, -1], [0, 1, 2, 3]], np.int32)
    uv_polygons = np.array([[4, 5, 1, -1], [0, 1, 2, 3]], np.int32)
    write_bu3dfe_vrml(
        file,
        vertices=VERTICES,
        polygons=polygons,
        uv=POINTS,
        uv_polygons=uv_polygons,
        texture_name="F0001_AN01WH_F3D.bmp",
    )
    text = file.getvalue()
    wanted = (
        "#VRML V2.0 utf8\n#Tricorder Technology plc - 2000\nDEF Tricorder_object Transform {\n        children [\n"
        "                Shape {\n                        appearance Appearance {\n"
    )
    assert text.startswith(wanted)
    assert 'url "F0001_AN01WH_F3D.bmp"\n' in text
    assert " " * 48 + "10 10 0.5,\n" in text
    assert " " * 48 + "5 5 12.25\n" + " " * 40 + "]\n" in text
    assert " " * 40 + "2 0 1 -1,\n" + " " * 40 + "0 1 2 3 -1,\n" + " " * 32 + "]\n" in text
    names = ("Front", "Back", "Left", "Right", "Top", "Bottom")
    assert [text.index(f"DEF Tricorder_Camera_{name} Viewpoint {{") for name in names] == sorted(
        text.index(f"DEF Tricorder_Camera_{name} Viewpoint {{") for name in names
    )
    mesh = read(tmp_path, text.encode())
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, [[2, 0, 1], [0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(mesh.uv, POINTS[[[4, 5, 1], [0, 1, 2], [0, 2, 3]]])
    with pytest.raises(MeshError, match="polygons must index 5 points"):
        write_bu3dfe_vrml(io.StringIO(), vertices=VERTICES, polygons=polygons + 2)
    with pytest.raises(MeshError, match="uv_polygons must hold"):
        write_bu3dfe_vrml(
            io.StringIO(), vertices=VERTICES, polygons=polygons, uv=POINTS, uv_polygons=uv_polygons[::-1].copy()
        )


def bu4dfe_text(**changes) -> str:
    file = io.StringIO()
    uv = np.linspace(0, 1, 2 * len(VERTICES), dtype=np.float32).reshape(-1, 2)
    write_bu4dfe_vrml(file, **({"vertices": VERTICES, "faces": FACES.astype(np.int32), "uv": uv} | changes))
    return file.getvalue()


@pytest.mark.parametrize("with_texture_index", [False, True])
@pytest.mark.parametrize("texture_name", [None, "000.jpg"])
def test_bu4dfe_writer(tmp_path, with_texture_index, texture_name):
    uv = np.random.default_rng(0).integers(0, 65, (len(VERTICES), 2)).astype(np.float32) / 64
    text = bu4dfe_text(uv=uv, texture_name=texture_name, with_texture_index=with_texture_index)
    assert "point [\n0 0 0,\n10 0 0,\n" in text
    assert ("texCoordIndex" in text) == with_texture_index
    assert ('url "000.jpg"\n' in text) == (texture_name is not None)
    mesh = read_mesh(write(tmp_path, "000.wrl", text.encode()), load_texture=False)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.uv, uv[FACES])


def test_bu4dfe_writer_without_texture_coordinates(tmp_path):
    mesh = read(tmp_path, bu4dfe_text(uv=None).encode())
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.uv is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faces": np.array([[0, 1, len(VERTICES)]], np.int32)}, "faces must index"),
        ({"uv": np.zeros((2, 2), np.float32)}, "2 texture coordinates for"),
    ],
)
def test_bu4dfe_writer_refuses(changes, message):
    with pytest.raises(MeshError, match=message):
        bu4dfe_text(**changes)
