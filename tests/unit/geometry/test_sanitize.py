"""Vertices that hold no measurement."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.geometry.sanitize import drop_invalid_vertices


def cloud(count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.normal(size=(count, 3)) * [60, 80, 40] + [0, 0, 600]).astype(np.float32)


def grid_mesh(side: int = 60) -> Mesh:
    """A bent sheet, as a range camera sees it."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    z = 600 - ((x - side / 2) ** 2 + (y - side / 2) ** 2) / 50
    first = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate(
        [np.stack([first, first + 1, first + side], 1), np.stack([first + 1, first + side + 1, first + side], 1)]
    )
    return Mesh(vertices=np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32), faces=faces.astype(np.int32))


@pytest.mark.parametrize("value", [-9999.0, 1e10, -32768.0, 3.4e38, -1e9, 99999.0])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("axes", [[0, 1, 2], [2]])
def test_placeholders_of_a_cloud(value, share, axes):
    points = cloud()
    num_missing = int(share * len(points))
    missing = np.random.default_rng(2).permutation(len(points))[:num_missing]
    points[missing[:, None], axes] = value
    kept = drop_invalid_vertices(Mesh(vertices=points))
    assert kept.num_vertices == len(points) - num_missing
    np.testing.assert_array_equal(kept.vertices, np.delete(points, missing, axis=0))
    assert kept.remarks == (
        f"{num_missing} of 4000 points are not finite or hold a placeholder for missing data; left out",
    )


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_position_that_repeats_in_a_cloud(share):
    points = cloud()
    points[: int(share * len(points))] = 0
    assert drop_invalid_vertices(Mesh(vertices=points)).num_vertices == len(points) - int(share * len(points))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axes", [[0], [1, 2], [0, 1, 2]])
def test_values_that_are_not_finite(value, axes):
    points = cloud(50)
    points[np.ix_([0, 7, 49], axes)] = value
    kept = drop_invalid_vertices(Mesh(vertices=points, vertex_colors=np.arange(150, dtype=np.uint8).reshape(50, 3)))
    np.testing.assert_array_equal(kept.vertices, np.delete(points, [0, 7, 49], axis=0))
    np.testing.assert_array_equal(kept.vertex_colors[0], [3, 4, 5])
    assert kept.remarks == ("3 of 50 points are not finite; left out",)


def test_several_placeholders_and_nan_at_once():
    points = cloud()
    points[:100], points[100:200], points[200:300, 2], points[300] = 1e10, np.nan, -9999, np.inf
    assert drop_invalid_vertices(Mesh(vertices=points)).num_vertices == len(points) - 301


def test_what_is_no_placeholder():
    flat = cloud()
    flat[:, 2] = np.maximum(flat[:, 2], 590)  # cut by a plane: many vertices share the lowest value
    sheet = grid_mesh()
    single = cloud()
    single[5] = -9999
    pairs = np.repeat(cloud(300), 20, axis=0)  # all points are written several times
    for mesh in (
        Mesh(vertices=flat), Mesh(vertices=sheet.vertices), sheet, Mesh(vertices=single), Mesh(vertices=pairs),
        Mesh(vertices=flat, faces=np.random.default_rng(1).integers(0, len(flat), (5000, 3)).astype(np.int32)),
        Mesh(vertices=np.float32([[0, 0, 0], [0, 0, 1]])),
    ):  # fmt: skip
        assert drop_invalid_vertices(mesh) is mesh


def test_faces_go_with_their_vertices():
    sheet = grid_mesh()
    vertices = sheet.vertices.copy()
    vertices[61 * 7] = np.nan
    uv = np.random.default_rng(1).random((sheet.num_faces, 3, 2)).astype(np.float32)
    kept = drop_invalid_vertices(Mesh(vertices=vertices, faces=sheet.faces, uv=uv))
    uses = (sheet.faces == 61 * 7).any(axis=1)
    assert kept.remarks == (
        f"1 of 3600 vertices are not finite; left out, with {uses.sum()} of {sheet.num_faces} faces",
    )
    np.testing.assert_array_equal(kept.vertices[kept.faces], vertices[sheet.faces[~uses]])
    np.testing.assert_array_equal(kept.uv, uv[~uses])


def test_vertices_that_no_face_uses_cost_no_face():
    sheet = grid_mesh()
    vertices = np.concatenate([np.full((40, 3), -9999, np.float32), sheet.vertices])
    kept = drop_invalid_vertices(Mesh(vertices=vertices, faces=sheet.faces + np.int32(40)))
    np.testing.assert_array_equal(kept.vertices, sheet.vertices)
    np.testing.assert_array_equal(kept.faces, sheet.faces)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.full((9, 3), np.nan, np.float32), None, "9 of 9 points are not finite"),
        (np.concatenate([cloud(4), np.full((96, 3), np.inf, np.float32)]), None, "up to 95% may be"),
        (np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [np.nan, 0, 0]]), np.int32([[0, 1, 2], [0, 1, 3], [1, 2, 3]]),
         "2 of 3 faces use them; up to 50% may"),
    ],
)  # fmt: skip
def test_refused_above_the_shares(vertices, faces, message):
    with pytest.raises(MeshError, match=message):
        drop_invalid_vertices(Mesh(vertices=vertices, faces=faces))


def test_ninety_percent_of_a_cloud_may_be_missing():
    points = cloud()
    points[: int(0.95 * len(points))] = np.nan
    assert drop_invalid_vertices(Mesh(vertices=points)).num_vertices == 200


def test_a_cloud_of_one_point_holds_no_placeholder():
    mesh = Mesh(vertices=np.zeros((100, 3), np.float32))
    assert drop_invalid_vertices(mesh) is mesh
