from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from builders import image, write
from builders_labels import BACKGROUND, HOLE, bnt, bnt_by_hand, range_image
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import find_v_direction, read_mesh, write_bnt

FLAT = np.array([[0, 2, 0, 2], [0, 0, 3, 3], [1, 1, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]], np.float64)
"""Four points, two rows and columns of a square, row 0 at the bottom; v from the top."""


def read(folder: Path, data: bytes) -> Mesh:
    return read_mesh(write(folder, "a.bnt", data))


def hand(columns: np.ndarray = FLAT, rows: int = 2, **changes) -> bytes:
    return bnt_by_hand(columns, num_rows=rows, num_columns=2, **changes)


def facing(mesh: Mesh) -> np.ndarray:
    """z of each triangle's normal."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)[:, 2]


def test_round_trip_is_exact(tmp_path):
    points, uv = range_image()
    mesh = read(tmp_path, bnt())
    present = ~np.isnan(points).any(axis=2)
    np.testing.assert_array_equal(mesh.vertices, points[present].astype(np.float32))
    expected_uv = np.stack([uv[..., 0], 1 - uv[..., 1]], axis=2)[present].astype(np.float32)
    np.testing.assert_array_equal(mesh.uv, expected_uv[mesh.faces])
    # Twelve cells; the hole touches four of them, which keep one triangle each.
    assert mesh.num_faces == 8 * 2 + 4
    assert (facing(mesh) > 0).all()


def test_layout_of_the_bytes():
    data = bnt(image_name="bs000_N_N_0.png")
    points, uv = range_image()
    assert struct.unpack_from("<HHdH", data) == (4, 5, BACKGROUND, 15)
    assert data[14:29] == b"bs000_N_N_0.png"
    assert struct.unpack_from("<I", data, 29) == (100,)
    columns = np.frombuffer(data, "<f8", 100, 33).reshape(5, 4, 5)
    np.testing.assert_array_equal(columns[0, 0], points[0, :, 0])
    np.testing.assert_array_equal(columns[1, :, 0], [0, 3, 6, 9])
    np.testing.assert_array_equal(columns[4, :, 0], uv[:, 0, 1])
    np.testing.assert_array_equal(columns[:, HOLE[0], HOLE[1]], [BACKGROUND] * 5)


def test_row_0_is_the_bottom_and_v_counts_from_the_bottom(tmp_path):
    mesh = read(tmp_path, hand())
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [0, 3, 2]])
    np.testing.assert_array_equal(mesh.uv[0], [[0, 0], [1, 0], [1, 1]])


@pytest.mark.parametrize("flip", [np.s_[:, [2, 3, 0, 1]], np.s_[:, [1, 0, 3, 2]]])
def test_triangles_face_the_scanner_whichever_way_the_grid_runs(tmp_path, flip):
    mesh = read(tmp_path, hand(FLAT[flip]))
    assert mesh.num_faces == 2
    assert (facing(mesh) > 0).all()


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("value", [-1e9, np.nan, np.inf])
def test_partial_zmin_drops_the_point(tmp_path, column, value):
    columns = FLAT.copy()
    columns[column, 3] = value
    mesh = read(tmp_path, hand(columns))
    assert mesh.num_vertices == 3
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])


def test_the_headers_zmin_counts(tmp_path):
    columns = FLAT.copy()
    columns[2, 0] = -7.5
    assert read(tmp_path, hand(columns, zmin=-7.5)).num_vertices == 3
    assert read(tmp_path, hand(columns)).num_vertices == 4


def test_a_point_without_texture_coordinates_stays(tmp_path):
    columns = FLAT.copy()
    columns[4, 3] = BACKGROUND
    mesh = read(tmp_path, hand(columns))
    assert mesh.num_vertices == 4
    np.testing.assert_array_equal(mesh.uv[0], [[0, 0], [1, 0], [0, 0]])


def test_neighbours_of_absurdly_different_depth_are_not_joined(tmp_path):
    columns = np.concatenate([FLAT, FLAT[:, 2:] + [[0], [3], [20.5], [0], [0]]], axis=1)
    mesh = read(tmp_path, hand(columns, rows=3))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [0, 3, 2]])
    columns[2, 4:] = 21
    assert read(tmp_path, hand(columns, rows=3)).num_faces == 4


def test_n_unlike_rows_times_columns_is_triangulated(tmp_path):
    points, uv = range_image(9, 9)
    flat = np.concatenate([points, uv], axis=2).reshape(-1, 5)
    flat = flat[~np.isnan(flat).any(axis=1)]
    mesh = read(tmp_path, bnt_by_hand(flat.T, num_rows=9, num_columns=9))
    assert mesh.num_vertices == 80
    assert mesh.num_faces == 2 * 80 - 2 - 32, "Euler: 80 points, 32 of them on the outline; the hole is closed"
    assert (facing(mesh) > 0).all()
    expected = np.stack([flat[:, 3], 1 - flat[:, 4]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(mesh.uv, expected[mesh.faces])


def test_long_edges_and_deep_ones_are_dropped_without_a_grid(tmp_path):
    points, uv = range_image(9, 9)
    near = np.concatenate([points, uv], axis=2).reshape(-1, 5)
    near = near[~np.isnan(near).any(axis=1)]
    far, deep = near + [1000, 0, 0, 0, 0], near + [16, 0, -100, 0, 0]
    for other in (far, deep):
        both = np.concatenate([near, other])
        mesh = read(tmp_path, bnt_by_hand(both.T, num_rows=9, num_columns=9))
        side = mesh.faces >= len(near)
        assert mesh.num_vertices == len(both)
        assert (side.all(axis=1) | ~side.any(axis=1)).all()
        assert side.all(axis=1).any()


@pytest.mark.parametrize("name", ["A.PNG", "D:\\scans\\a.png", "gone.png", ""])
def test_texture_named_in_another_case_or_by_the_stem(tmp_path, name):
    write(tmp_path, "a.png", image(size=(6, 7)))
    mesh = read(tmp_path, bnt(image_name=name))
    assert mesh.texture.shape == (7, 6, 3)
    assert read_mesh(tmp_path / "a.bnt", load_texture=False).texture is None


def test_the_header_names_another_file_than_the_scans_own_in_another_case(tmp_path):
    write(tmp_path, "a.png", image(size=(6, 7)))
    write(tmp_path, "front.png", image(size=(8, 9)))
    assert read(tmp_path, bnt(image_name="FRONT.PNG")).texture.shape == (9, 8, 3)


def test_texture_that_is_missing_is_no_error(tmp_path):
    mesh = read(tmp_path, bnt())
    assert mesh.texture is None
    assert mesh.uv is not None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bnt()[:13], r"a\.bnt: byte 13: the file ends within its header"),
        (bnt()[:20], r"byte 20: the file ends within an image name of 5"),
        (bnt()[:-321], r"byte 19: 100 numbers announced, 59 follow"),
        (bnt()[:23], r"byte 19: 100 numbers announced, 0 follow"),
        (hand(count=2**32 - 1), r"byte 19: 4294967295 numbers announced, 20 follow"),
        (hand(count=19), r"byte 19: 19 numbers announced, expected a multiple of 5"),
        (hand(count=0), r"byte 23: all of the 0 points are background"),
        (hand(np.full((5, 4), BACKGROUND)), r"byte 23: all of the 4 points are background"),
        (hand(FLAT * 1e300), r"byte 23: all of the 4 points are background"),
        (hand(FLAT[:, :2], rows=3), r"a\.bnt: the points are no grid and cannot be triangulated: QH"),
        (hand(FLAT * [[1], [0], [1], [1], [1]], rows=3), "cannot be triangulated"),
        (hand(np.zeros((5, 300_001)), rows=3), "300001 points that are no grid"),
    ],
    # The data of some would make names of megabytes.
    ids=range(12),
)
def test_truncated_data_and_counts_that_lie(tmp_path, data, message):
    with pytest.raises(MeshError, match=message):
        read(tmp_path, data)


@pytest.mark.parametrize("cut", [1, 8, 100, 320])
def test_a_file_cut_within_its_texture_coordinates_keeps_the_surface(tmp_path, cut):
    whole, mesh = read(tmp_path, bnt()), read(tmp_path, bnt()[:-cut])
    np.testing.assert_array_equal(mesh.vertices, whole.vertices)
    np.testing.assert_array_equal(mesh.faces, whole.faces)
    assert mesh.uv is None
    assert mesh.remarks == ("the file is cut within its texture coordinates, which are left out",)


def test_a_grid_without_joined_neighbours_is_a_point_cloud(tmp_path):
    columns = FLAT.copy()
    columns[2, 1:3] = BACKGROUND
    mesh = read(tmp_path, hand(columns))
    assert mesh.is_point_cloud
    assert mesh.num_vertices == 2
    assert mesh.uv is None


def landmarks(points: np.ndarray, uv: np.ndarray, *, upside_down: bool = False):
    """Three vertices as landmarks, with the pixels of an image of 40 x 60 that their texture coordinates name."""
    places = {"Nose tip": (0, 0), "Chin middle": (0, 4), "Left mouth corner": (3, 3)}
    v = 1 - uv[..., 1] if upside_down else uv[..., 1]
    pixels = {name: np.float32([40 * uv[at][0], 60 * v[at]]) for name, at in places.items()}
    return pixels, {name: points[at].astype(np.float32) + np.float32(0.1) for name, at in places.items()}


@pytest.mark.parametrize(("upside_down", "expected"), [(False, "top"), (True, "bottom")])
def test_direction_of_v(tmp_path, upside_down, expected):
    points, uv = range_image()
    write(tmp_path, "a.png", image(size=(40, 60)))
    mesh = read(tmp_path, bnt())
    pixels, places = landmarks(points, uv, upside_down=upside_down)
    assert find_v_direction(mesh, pixels, places) == expected
    pixels.pop("Nose tip")
    assert find_v_direction(mesh, pixels, places) == "unknown"


def test_direction_of_v_is_unknown_when_nothing_fits(tmp_path):
    points, uv = range_image()
    pixels, places = landmarks(points, uv)
    assert find_v_direction(read(tmp_path, bnt()), pixels, places) == "unknown"  # no texture
    write(tmp_path, "a.png", image(size=(40, 60)))
    mesh = read(tmp_path, bnt())
    shifted = {name: pixel + np.float32(25) for name, pixel in pixels.items()}
    assert find_v_direction(mesh, shifted, places) == "unknown"
    middle = {name: pixel * np.float32([1, 0]) + np.float32([0, 30]) for name, pixel in pixels.items()}
    flat = {name: points[2, 4].astype(np.float32) for name in pixels}
    assert find_v_direction(mesh, middle, flat) == "unknown"


def test_writing_what_does_not_fit():
    with pytest.raises(MeshError, match="1 x 65536 points"):
        write_bnt(io.BytesIO(), points=np.zeros((1, 65536, 3)), uv=np.zeros((1, 65536, 2)), image_name="a.png")
