"""STL, OFF, point clouds, and the choice of a reader."""

# ruff: noqa: UP031

from __future__ import annotations

import struct

import numpy as np
import pytest

from builders import COLORS, FACES, POINTS, TINY, VERTICES, off, off_binary, stl_binary, stl_text, write, xyz
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


TRIANGLES = stl_text().split(b"\n", 1)[1].rsplit(b"endsolid", 1)[0]
CORNERS = VERTICES[FACES]


@pytest.mark.parametrize(
    ("data", "remarks"),
    [
        (b"\n\n  " + stl_text(), ()),
        (stl_text().upper().replace(b"E+", b"e+"), ()),
        (b"solid \xff\xfe name\n" + TRIANGLES + b"endsolid\n", ()),
        (b"solid a\n" + TRIANGLES + b"end solid a\n", ()),
        (b"solid a\n" + TRIANGLES.replace(b"endfacet", b"end facet").replace(b"endloop", b"end loop") + b"END SOLID",
        ()),
        (b"solid a\n" + TRIANGLES, ("the file does not end with 'endsolid': it may be cut",)),
        (b"solid\n" + TRIANGLES[: len(TRIANGLES) // 2 + 1] + TRIANGLES[len(TRIANGLES) // 2 + 1 :] + b"endsolid", ()),
        (stl_binary(b"solid").replace(b"\x04\0\0\0", bytes(4), 1),
         ("0 triangles announced, the file's length is that of 4; they are read",)),
        (stl_binary().replace(b"\x04\0\0\0", b"\xff\xff\xff\xff", 1),
         ("4294967295 triangles announced, the file's length is that of 4; they are read",)),
        (stl_binary() + b"trailing bytes", ()),
        (stl_binary(b"solid facet")[:-2] + b"\x7f\xff", ()),
    ],
    ids=range(11),
)  # fmt: skip
def test_forms_of_stl(tmp_path, data, remarks):
    mesh = read_mesh(write(tmp_path, "a.stl", data))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], CORNERS)
    assert mesh.remarks == remarks


def test_several_solids(tmp_path):
    mesh = read_mesh(write(tmp_path, "a.stl", stl_text("one") + stl_text("two") + b"\n"))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], np.concatenate([CORNERS, CORNERS]))


@pytest.mark.parametrize("cut", [b"\nendfacet", b"endloop", b"vertex 0", b"e+01"])
def test_a_text_stl_cut_within_its_last_triangle(tmp_path, cut):
    data = b"solid a\n" + TRIANGLES
    at = data.rindex(cut.replace(b"vertex 0", b"vertex")) + len(cut) // 2
    mesh = read_mesh(write(tmp_path, "a.stl", data[:at]))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], CORNERS[:3])
    assert mesh.remarks == ("the file is cut within its last triangle, which is left out",)


@pytest.mark.parametrize("cut", [1, 49, 50])
def test_a_binary_stl_cut_within_its_last_triangles(tmp_path, cut):
    record = stl_binary()[84:]
    data = b"solid part exported".ljust(80) + struct.pack("<I", 40) + record * 10
    if cut == 50:
        data = data[:-1]
    mesh = read_mesh(write(tmp_path, "a.stl", data[:-cut]))
    assert mesh.num_faces == 40 - 1 - (cut == 50)
    assert mesh.remarks == (f"the file is cut: {1 + (cut == 50)} of 40 triangles are missing",)


def test_map_coordinates_in_text_stl(tmp_path):
    rows = "".join("facet normal 0 0 1\nouter loop\n"
                   + "".join("vertex %.4f %.4f %.4f\n" % tuple(corner) for corner in face)
                   + "endloop\nendfacet\n" for face in (CORNERS.astype(np.float64) + [4e5, 5.6e6,
                   0]).tolist())  # fmt: skip
    mesh = read_mesh(write(tmp_path, "a.stl", f"solid a\n{rows}endsolid a\n"))
    assert mesh.num_vertices == 5
    np.testing.assert_allclose(mesh.vertices[mesh.faces] + np.array(mesh.origin), CORNERS + [4e5, 5.6e6, 0], atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        (b"OFF\n", b"off\n"), (b"OFF\n", b"Off "), (b"OFF\n5 3 0", b"OFF5 3 0"), (b"OFF\n5 3 0", b"OFF 5 3"),
        (b"OFF\n", b""),
        (b"5 3 0 #", b"5\n3\n0 #"), (b"5 3 0 #", b"5 3\n0 #"), (b"OFF\n", b"# a\n\n#b  \nOFF # c\n# d\n"),
        (b"OFF\n", b"OFF\r\n"),
        (b"3 0 1 4", b"3 0 1 4 0.5 0.5 0.5 1 7 7 7 # red"), (b"4 0 1 2 3\n", b"4 0 1 2 3 # c\n# d\n\n"),
    ],
)  # fmt: skip
def test_forms_of_off(tmp_path, change):
    mesh = read_mesh(write(tmp_path, "a.off", off().replace(*change)))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.remarks == ()


NORMALS = [[0.6, 0.8, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, -0.6, 0.8]]


@pytest.mark.parametrize(
    ("magic", "order"),
    [("NCOFF", "cn"), ("NCOFF", "nc"), ("CNOFF", "nc"), ("CNOFF", "cn"), ("STNCOFF", "cnt"), ("STCNOFF", "nct"),
    ("STCOFF", "ct"),
     ("ncoff", "cn"), ("noff", "n"), ("STOFF", "t"), ("stcnoff", "nct")],
)  # fmt: skip
@pytest.mark.parametrize("width", [3, 4])
def test_orders_of_what_a_vertex_has(tmp_path, magic, order, width):
    colors = [[*color, 255][:width] for color in COLORS.tolist()]
    columns = {"c": colors, "n": NORMALS, "t": POINTS.tolist()[:5]}
    rows = [
        " ".join(map(str, [*vertex, *(value for part in order for value in columns[part][row])]))
        for row, vertex in enumerate(VERTICES.tolist())
    ]
    data = "\n".join([magic, "5 3 0", *rows, "4 0 1 2 3", "3 0 1 4", "3 2 3 4", ""])
    mesh = read_mesh(write(tmp_path, "a.off", data))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    if "c" in order:
        np.testing.assert_array_equal(mesh.vertex_colors, COLORS)
    if "t" in order:
        np.testing.assert_array_equal(mesh.uv, POINTS[FACES])


@pytest.mark.parametrize("end", ["4", "4 5", "0.5 0.5", ""])
def test_off_colours_of_another_width_never_cost_the_surface(tmp_path, end):
    rows = "".join("%g %g %g " % tuple(row) + end + "\n" for row in VERTICES.tolist())
    mesh = read_mesh(write(tmp_path, "a.off", f"COFF\n5 3 0\n{rows}4 0 1 2 3\n3 0 1 4\n3 2 3 4\n"))
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.vertex_colors is None
    assert len(mesh.remarks) == 1


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_binary_off(tmp_path, colors, line_end):
    data = off_binary("COFF" if colors else "off", colors=colors).replace(b"BINARY\n", b"BINARY" + line_end.encode())
    mesh = read_mesh(write(tmp_path, "a.off", data))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert (mesh.vertex_colors is not None) == colors
    with pytest.raises(MeshError, match=r"byte \d+: (3 faces announced, 2 follow|5 vertices and 3 faces announced)"):
        read_mesh(write(tmp_path, "a.off", data[:-2]))


@pytest.mark.parametrize(("cut", "missing"), [(2, 1), (9, 2), (17, 3)])
def test_off_cut_within_its_faces(tmp_path, cut, missing):
    rows = "".join("%g %g %g\n" % tuple(row) for row in VERTICES.tolist())
    faces = "".join("3 %d %d %d\n" % tuple(row) for row in np.tile(FACES, (10, 1)))
    mesh = read_mesh(write(tmp_path, "a.off", f"OFF\n5 40 0\n{rows}{faces}"[:-cut]))
    np.testing.assert_array_equal(mesh.faces, np.tile(FACES, (10, 1))[: 40 - missing])
    assert mesh.remarks == (f"the file is cut: {missing} of 40 faces are missing",)


POINTS_3 = [[1.5, 2, 3], [4, 5.25, 6], [7, 8, -9]]


@pytest.mark.parametrize(
    "text",
    [
        ",x,y,z\n0,1.5,2,3\n1,4,5.25,6\n2,7,8,-9\n",
        "id,x,y,z\n10,1.5,2,3\n11,4,5.25,6\n12,7,8,-9\n",
        '"Normals:0","Normals:1","Normals:2","Points:0","Points:1","Points:2"\n9,9,9,1.5,2,3\n9,9,9,4,5.25,6\n9,9,9,7,8,-9\n',
        "X (mm),Y (mm),Z (mm)\n1.5,2,3\n4,5.25,6\n7,8,-9\n",
        "X (mm) Y [mm] Z (mm)\n1.5 2 3\n4 5.25 6\n7 8 -9\n",
        "name;pos_x;pos_y;pos_z\na b;1.5;2;3\n'c d';4;5.25;6\n;7;8;-9\n",
        "//X Y Z R G B\n3\n1.5 2 3 255 0 0\n4 5.25 6 0 0 1\n7 8 -9 1 2 3\n",
        "sep=;\nx;y;z\n1,50;2,00;3,00\n4,00;5,25;6,00\n7,00;8,00;-9,00\n",
        '"x","y","z"\n"1.5","2","3"\n"4","5.25","6"\n"7","8","-9"\n',
        "Z\tY\tX\tlabel\n3\t2\t1.5\tnose\n6\t5.25\t4\t\n-9\t8\t7\thttp://a#b\n",
        "scan of Anna\ncreated 2020-01-01\n1.5 2 3\n4 5.25 6\n7 8 -9\n",
        "2\n1.5 2 3\n4 5.25 6\n1\n7 8 -9\n",
        "3\n1\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n1.5 2 3 0.5\n4 5.25 6 0.5\n7 8 -9 0.5\n",
        '"x" "y" "z"\n"1" 1.5 2 3\n"2" 4 5.25 6\n"3" 7 8 -9\n',
        "x|y|z\n1.5|2|3\n4|5.25|6\n7|8|-9\n",
        "x,y,z\nmm,mm,mm\n1.5,2,3\n4,5.25,6\n7,8,-9\n",
        "V1 V2 V3\n1.5 2 3\n4 5.25 6\n7 8 -9\n",
        "1.5 2 3 nose\n4 5.25 6 chin tip\n7 8 -9\n",
        "a 1.5 2 3\nb 4 5.25 6\nc 7 8 -9\n",
        "1.5 2 3 4\n4 5.25 6\n7 8 -9 1 1 1 1\n",
        "% made by a tool\n; and more\nx y z\n1.5 2 3\n4 5.25 6\n7 8 -9\n",
        "x,y,z,\n1.5,2,3,\n4,5.25,6,\n7,8,-9,\n",
        "frame,head_x,point x,point y,point z\n0,1,1.5,2,3\n1,1,4,5.25,6\n2,1,7,8,-9\n",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_of_every_kind(tmp_path, text, end):
    mesh = read_mesh(write(tmp_path, "a.csv", text.replace("\n", end)))
    np.testing.assert_array_equal(mesh.vertices, np.float32(POINTS_3))
    assert mesh.is_point_cloud
    assert mesh.remarks == ()


@pytest.mark.parametrize("missing", ["", "NA", "null", "-", "nan", "N/A", "NaN", "-1.#IND", "1e999", "None", "?"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
def test_missing_values(tmp_path, missing, delimiter):
    rows = [
        ["x", "y", "z", "w"],
        ["1", "2", "3", missing],
        ["4", missing, "6", "0"],
        [missing, "1", "1", "0"],
        ["7", "8", "9", "0"],
    ]
    mesh = read_mesh(write(tmp_path, "a.csv", "\n".join(delimiter.join(row) for row in rows) + "\n"))
    np.testing.assert_array_equal(mesh.vertices, [[1, 2, 3], [7, 8, 9]])
    assert mesh.remarks == ("2 of 4 points are not finite; left out",)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("x,y,z,red,green,blue", "1,2,3,255,0,7"), ("r,g,b,x,y,z", "255,0,7,1,2,3"), ("X Y Z R G B", "1 2 3 255 0 7"),
        ("x;y;z;Color_R;Color_G;Color_B;n", "1;2;3;255;0;7;nose"), ("id,x,y,z,RGB:0,RGB:1,RGB:2", "0,1,2,3,255,0,7"),
        ("x y z i r g b", "1 2 3 99 255 0 7"), ("", "1 2 3 99 255 0 7"),
    ],
)  # fmt: skip
def test_colours_by_name(tmp_path, header, rows):
    mesh = read_mesh(write(tmp_path, "a.csv", f"{header}\n{rows}\n"))
    np.testing.assert_array_equal(mesh.vertices, [[1, 2, 3]])
    np.testing.assert_array_equal(mesh.vertex_colors, [[255, 0, 7]])


def test_a_column_that_counts_the_rows(tmp_path):
    rows = "".join(f"{row + 1} {row * 0.5} {row * row} 7\n" for row in range(20))
    mesh = read_mesh(write(tmp_path, "a.xyz", rows))
    np.testing.assert_array_equal(mesh.vertices[3], [1.5, 9, 7])
    assert mesh.remarks == ("the first column counts the rows; left out",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.ply,happy\n", r":1: expected a number, found 'file'"),
        ("age,height,weight\n1,2,3\n4,5,6\n", r":1: expected a number, found 'age'"),
        ("x,y,z\n1,2,3\n4,five,6\n", r":3: expected a number, found 'five'"),
        ("x,y,z\n1,2,3\n\n4,5\n6,7,8\n", r":4: 2 numbers in a line, expected 3"),
        ("x,y,z\n", "no points"),
        ("x,y\n1,2\n", r":1: expected a number, found 'x'"),
        ("nothing here\n" * 500 + "1 2 3\n", r":1: expected a number, found 'nothing'"),
    ],
)
def test_tables_that_are_no_scan(tmp_path, text, message):
    with pytest.raises(MeshError, match=message):
        read_mesh(write(tmp_path, "a.csv", text))


def test_a_table_cut_within_its_last_line(tmp_path):
    mesh = read_mesh(write(tmp_path, "a.csv", "x,y,z\n1,2,3\n4,5"))
    np.testing.assert_array_equal(mesh.vertices, [[1, 2, 3]])
    assert mesh.remarks == ("the file is cut within its last line, which is left out",)


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
