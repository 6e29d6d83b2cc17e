"""One policy for elements that cannot be used, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import parse_mesh
from smilevlm.readers.elements import is_slightly_cut, mean_edge, usable_mesh, without_bad_indices

SIDE = 12
PATH = Path("/nowhere/scan")


def sheet() -> tuple[np.ndarray, np.ndarray]:
    """A bent sheet of 144 vertices and 242 triangles, decimals that float32 holds exactly."""
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    vertices = np.stack([x * 10.25, y * 10.5, ((x - 5) ** 2 + (y - 6) ** 2) / 4 + 0.125], -1).reshape(-1, 3)
    first = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    faces = np.concatenate(
        [np.stack([first, first + 1, first + SIDE], 1), np.stack([first + 1, first + SIDE + 1, first + SIDE], 1)]
    )
    return vertices, faces


def written(suffix: str, vertices: np.ndarray, faces: np.ndarray, *, base: int | None = None) -> bytes:
    """Text of a format; `base` is what its faces count from."""
    rows = [" ".join(f"{value:.12g}" for value in row) for row in vertices.tolist()]
    base = (1 if suffix == ".obj" else 0) if base is None else base
    indices = [" ".join(str(index + base) for index in row) for row in faces.tolist()]
    match suffix:
        case ".obj":
            lines = [f"v {row}" for row in rows] + [f"f {row}" for row in indices]
        case ".off":
            lines = ["OFF", f"{len(rows)} {len(indices)} 0", *rows, *(f"3 {row}" for row in indices)]
        case ".ply":
            lines = ["ply", "format ascii 1.0", f"element vertex {len(rows)}",
            *(f"property double {axis}" for axis in "xyz"),
                     f"element face {len(indices)}", "property list uchar int vertex_indices", "end_header",
                     *rows, *(f"3 {row}" for row in indices)]  # fmt: skip
        case ".wrl":
            lines = ["#VRML V2.0 utf8", "Shape { geometry IndexedFaceSet { coord Coordinate { point ["]
            lines += [row + "," for row in rows] + ["] } coordIndex ["]
            lines += [row.replace(" ", ", ") + ", -1," for row in indices] + ["] } }"]
        case _:
            lines = rows
    return ("\n".join(lines) + "\n").encode()


def parse(suffix: str, data: bytes) -> Mesh:
    return parse_mesh(data, Path(f"/nowhere/scan{suffix}"))


MESHES = [".obj", ".off", ".ply", ".wrl"]


@pytest.mark.parametrize("suffix", [*MESHES, ".xyz", ".csv"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e300])
def test_a_vertex_that_is_not_finite(suffix, value):
    vertices, faces = sheet()
    vertices[20, 1] = value
    mesh = parse(suffix, written(suffix, vertices, faces))
    np.testing.assert_array_equal(mesh.vertices, np.delete(vertices, 20, axis=0).astype(np.float32))
    assert mesh.num_faces in (0, len(faces) - 6)
    assert len(mesh.remarks) == 1
    assert "1 of 144" in mesh.remarks[0]


@pytest.mark.parametrize("bits", [0x7FA00000, 0xFFA00000, 0x7FC00000, 0xFF800000])
@pytest.mark.parametrize("name", ["a.ply", "cloud.ply", "a.stl", "a.off"])
def test_any_nan_of_a_binary_file(name, bits):
    """Signalling nan among them, which raise a floating-point exception when they are converted."""
    vertices, faces = sheet()
    order = ">" if name == "a.off" else "<"
    values = vertices.astype(order + "f4")
    values.view(order + "u4")[20, 1] = bits
    rows = np.zeros(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 144\n" + "".join(
        f"property float {a}\n" for a in "xyz"
    )
    triangles = np.zeros(len(faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    triangles["corners"].view("<u4")[:] = values.view(order + "u4")[faces]
    words = np.concatenate([np.full((242, 1), 3), faces, np.zeros((242, 1))], axis=1).astype(">i4")
    data = {
        "a.ply": (head + "element face 242\nproperty list uchar int vertex_indices\nend_header\n").encode()
        + values.tobytes() + rows.tobytes(),
        "cloud.ply": (head + "end_header\n").encode() + values.tobytes(),
        "a.stl": bytes(80) + len(faces).to_bytes(4, "little") + triangles.tobytes(),
        "a.off": b"OFF BINARY\n" + np.array([144, 242, 0], ">i4").tobytes() + values.tobytes() + words.tobytes(),
    }[name]  # fmt: skip
    mesh = parse_mesh(data, Path("/nowhere") / name)
    assert mesh.num_vertices == 143
    assert mesh.num_faces == (0 if name == "cloud.ply" else 242 - 6)


@pytest.mark.parametrize("suffix", MESHES)
@pytest.mark.parametrize("bad", [144, 999, 2**31 - 2])
def test_faces_that_name_missing_vertices(suffix, bad):
    vertices, faces = sheet()
    broken = faces.copy()
    broken[[0, 100], 2] = bad
    mesh = parse(suffix, written(suffix, vertices, broken))
    np.testing.assert_array_equal(mesh.faces, np.delete(faces, [0, 100], axis=0))
    assert mesh.remarks == ("2 of 242 faces name vertices that are not there; left out",)


@pytest.mark.parametrize("suffix", MESHES)
def test_too_many_bad_faces_are_refused(suffix):
    vertices, faces = sheet()
    broken = faces.copy()
    broken[:24, 1] = 5000
    assert parse(suffix, written(suffix, vertices, broken)).num_faces == 242 - 24
    broken[24, 0] = 5000
    with pytest.raises(MeshError, match="vert"):
        parse(suffix, written(suffix, vertices, broken))


@pytest.mark.parametrize("suffix", [".obj", ".off", ".ply"])
def test_faces_that_count_from_elsewhere(suffix):
    vertices, faces = sheet()
    mesh = parse(suffix, written(suffix, vertices, faces, base=0 if suffix == ".obj" else 1))
    np.testing.assert_array_equal(mesh.faces, faces)
    assert mesh.remarks == (f"the faces count vertices from {0 if suffix == '.obj' else 1}; read so",)


@pytest.mark.parametrize("suffix", [".obj", ".off", ".ply"])
def test_one_bad_index_beside_an_unused_vertex_shifts_nothing(suffix):
    """The first vertex (of OBJ: the last) is not used, and one face names the vertex beyond the other end."""
    vertices, faces = sheet()
    unused = [[500.0, 500.0, 500.0]]
    if suffix == ".obj":
        vertices, moved = np.concatenate([vertices, unused]), faces.copy()
        broken = moved.copy()
        broken[5, 0] = -1
    else:
        vertices, moved = np.concatenate([unused, vertices]), faces + 1
        broken = moved.copy()
        broken[5, 0] = len(vertices)
    mesh = parse(suffix, written(suffix, vertices, broken))
    np.testing.assert_array_equal(mesh.faces, np.delete(moved, 5, axis=0))
    assert mesh.remarks == ("1 of 242 faces name vertices that are not there; left out",)


@pytest.mark.parametrize("suffix", [*MESHES, ".xyz", ".csv"])
@pytest.mark.parametrize("offset", [[4e5, 5.6e6, 0], [0, -2e6, 3e5], [7e8, 0, 0]])
def test_map_coordinates_keep_the_face_exact(suffix, offset):
    vertices, faces = sheet()
    mesh = parse(suffix, written(suffix, vertices + np.array(offset), faces))
    np.testing.assert_allclose(mesh.vertices + (np.array(mesh.origin) - offset), vertices, atol=0.005)
    assert any("coordinates are relative to" in remark for remark in mesh.remarks)


def test_placeholders_beside_map_coordinates():
    vertices, faces = sheet()
    shifted = np.concatenate([vertices + [4e5, 5.6e6, 0], np.full((20, 3), -9999.0)])
    mesh = parse(".ply", written(".ply", shifted, faces))
    assert mesh.num_vertices == 144
    assert mesh.num_faces == 242


@pytest.mark.parametrize(
    ("announced", "present", "expected"),
    [(10, 9, True), (10, 8, False), (1, 0, False), (3, 2, False), (100, 90, True), (100, 100, False), (5, 9, False)],
)
def test_how_much_of_a_file_may_be_missing(announced, present, expected):
    assert is_slightly_cut(announced, present) == expected


def test_bad_indices_among_polygons_with_texture():
    corners = np.array([*range(20), -1] * 12, np.int32)
    corners[3] = 99
    texture = np.where(corners == -1, -1, 0).astype(np.int32)
    texture[30] = 7
    kept, kept_texture, remarks = without_bad_indices(corners, texture, 20, 5)
    np.testing.assert_array_equal(kept, corners[21:])
    assert kept_texture[30 - 21] == -2
    assert remarks == (
        "1 of 12 faces name vertices that are not there; left out",
        "1 corners of faces name texture coordinates that are not there; left out",
    )


@pytest.mark.parametrize("texture", [[0, 1, 2], [0, 1, 2, -1, 0], [0, -1, 1, 2, -1, 0, 1, 2]])
def test_texture_indices_that_do_not_follow_the_faces(texture):
    corners = np.array([0, 1, 2, -1, 2, 1, 0, -1], np.int32)
    kept, kept_texture, remarks = without_bad_indices(corners, np.array(texture, np.int32), 3, 3)
    np.testing.assert_array_equal(kept, corners)
    assert len(kept_texture) == 0
    assert remarks == ("texture indices do not follow the faces; texture coordinates left out",)


def test_edges_are_measured_between_vertices_that_are_there():
    vertices = np.float64([[0, 0, 0], [1, 0, 0], [1, 1, 0], [np.nan, 0, 0]])
    assert mean_edge(np.array([0, 1, 2, -1, 1, 3, -1, 7, 0, -1], np.int32), vertices) == 1
    assert mean_edge(np.array([3, -1], np.int32), vertices) == np.inf


def test_no_vertex_is_an_error():
    with pytest.raises(MeshError, match=r"scan: no vertices, expected at least one"):
        usable_mesh(PATH, np.zeros((0, 3)))
