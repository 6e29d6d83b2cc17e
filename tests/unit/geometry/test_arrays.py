"""Arrays as people have them."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.geometry.arrays import empty_arrays, face_array, float32_array, vertex_array

FACE = np.random.default_rng(1).normal(size=(500, 3)) * 60


@pytest.mark.parametrize("scale", [1.0, 0.001])
@pytest.mark.parametrize("offset", [[4e5, 5.6e6, 120], [-3e6, 0, 0], [1e9, 1e9, 1e9], [0, 0, 2e5]])
def test_an_offset_is_taken_out_exactly(offset, scale):
    coordinates = FACE * scale + offset
    vertices, origin = vertex_array(coordinates)
    expected = coordinates - np.array(origin)
    assert np.abs(origin).max() > 0
    assert vertices.dtype == np.float32
    np.testing.assert_allclose(vertices, expected, atol=1e-5)
    np.testing.assert_allclose(
        vertices + np.array(origin), coordinates, atol=max(1e-5, 1e-15 * np.abs(coordinates).max())
    )


@pytest.mark.parametrize("offset", [0.0, 600.0, [0, 0, 5e4]])
def test_near_coordinates_stay(offset):
    vertices, origin = vertex_array(FACE + offset)
    assert origin == (0, 0, 0)
    np.testing.assert_array_equal(vertices, (FACE + offset).astype(np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -9999.0, 1e300])
def test_the_origin_is_that_of_the_bulk(bad):
    coordinates = FACE + [4e5, 5.6e6, 0]
    coordinates[::10] = bad
    vertices, origin = vertex_array(coordinates)
    good = np.arange(len(FACE)) % 10 != 0
    np.testing.assert_allclose(vertices[good], coordinates[good] - np.array(origin), atol=1e-4)
    assert np.abs(np.array(origin) - [4e5, 5.6e6, 0]).max() < 200


def test_what_is_not_measured_has_no_origin():
    assert vertex_array(np.full((5, 3), 4e5))[1] == (0, 0, 0), "no extent to compare with"
    assert vertex_array(np.full((5, 3), np.nan))[1] == (0, 0, 0)
    assert vertex_array([[1, 2, 3]])[1] == (0, 0, 0)
    assert vertex_array(np.zeros((0, 3)))[0].shape == (0, 3)


def test_a_mesh_keeps_the_origin_and_moves_its_landmarks():
    mesh = Mesh(vertices=FACE + [4e5, 5.6e6, 0], landmarks={"nose": np.float32([4e5, 5.6e6, 0])})
    assert mesh.remarks == (f"coordinates are relative to {mesh.origin}",)
    np.testing.assert_allclose(mesh.landmarks["nose"], -(np.array(mesh.origin) - [4e5, 5.6e6, 0]), atol=0.5)


@pytest.mark.parametrize(
    ("values", "triangles", "rows"),
    [
        (None, [], None),
        ([], [], None),
        ([[0, 1, 2]], [[0, 1, 2]], None),
        (np.array([[0, 1, 2]], np.uint64), [[0, 1, 2]], None),
        ([[0.0, 1.0, 2.0]], [[0, 1, 2]], None),
        ([[0, 1, 2, 3], [0, 1, 4, -1]], [[0, 1, 2], [0, 2, 3], [0, 1, 4]], [0, 0, 1]),
        ([3, 0, 1, 2, 3, 2, 3, 4], [[0, 1, 2], [2, 3, 4]], [0, 1]),
        ([4, 0, 1, 2, 3, 3, 0, 1, 4], [[0, 1, 2], [0, 2, 3], [0, 1, 4]], [0, 0, 1]),
        ([5, 0, 1, 2, 3, 4], [[0, 1, 2], [0, 2, 3], [0, 3, 4]], [0, 0, 0]),
    ],
)
def test_faces_of_any_form(values, triangles, rows):
    faces, found = face_array(values, 5)
    assert faces.dtype == np.int32
    np.testing.assert_array_equal(faces, np.array(triangles).reshape(-1, 3))
    assert (found is None) == (rows is None)
    if rows is not None:
        np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 1, 5]], "a face names vertex 5, but there are 5"),
        ([[0, 1, -2]], "vertex -2"),
        ([[0, 1, 2.5]], "not whole"),
        ([[0, 1, np.nan]], "not whole"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([[0, 1, 2, 3, 4]], r"shape \(1, 5\)"),
        ([3, 0, 1], "face 0 has 3 corners"),
        ([0, 1, 2], "face 0 has 0 corners"),
        ([3, 0, 1, 2, 2, 1], "face 1 has 2 corners"),
        ([["a", "b", "c"]], "no array of numbers"),
        ([[0, 1], [0, 1, 2]], "no array of numbers"),
        ([[0, 1, 2, 5]], "vertex 5"),
        ([[-1, 1, 2, 3]], "vertex -1"),
    ],
)
def test_faces_that_are_none(values, message):
    with pytest.raises(MeshError, match=message):
        face_array(values, 5)


@pytest.mark.parametrize(
    "values", [[1, 2, 3], [[1, 2]], [["a", "b", "c"]], None, "abc", [[1 + 2j, 0, 0]], [[True, False, True]]]
)
def test_vertices_that_are_none(values):
    with pytest.raises(MeshError, match="vertices"):
        vertex_array(values)


def test_shapes_of_other_arrays():
    assert float32_array([[[0, 1]] * 3], "uv", (None, 3, 2)).dtype == np.float32
    with pytest.raises(MeshError, match=r"uv have the shape \(1, 2\), expected \(n, 3, 2\)"):
        float32_array([[0, 1]], "uv", (None, 3, 2))


@pytest.mark.parametrize("rows", [0, 1, 1000, 100_003, 700_000])
def test_arrays_have_their_shapes_and_do_not_overlap(rows):
    kinds = (((rows, 3), np.int32), ((rows, 3, 2), np.float32), ((7,), np.float64))
    arrays = empty_arrays(*kinds)
    for number, (array, (shape, kind)) in enumerate(zip(arrays, kinds, strict=True)):
        assert array.shape == shape
        assert array.dtype == kind
        assert array.flags.c_contiguous
        assert array.flags.aligned
        array[...] = number
    for number, array in enumerate(arrays):
        assert (array == number).all()
