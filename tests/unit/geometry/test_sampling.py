"""Points over a surface: far triangles do not stretch the search."""

from __future__ import annotations

import numpy as np

from faces import height_map
from smilevlm.geometry import Mesh
from smilevlm.geometry.sampling import even_points


def test_triangles_far_away_give_no_points():
    near = height_map(lambda x, y: 0.01 * (x**2 + y**2))
    far = np.array([[30_000, 0, 0], [30_010, 0, 0], [30_000, 10, 0]], np.float32)
    mesh = Mesh(
        vertices=np.concatenate([near.vertices, far]),
        faces=np.concatenate([near.faces, [[near.num_vertices, near.num_vertices + 1, near.num_vertices + 2]]]).astype(
            np.int32
        ),
    )
    points = even_points(mesh, np.ones(mesh.num_vertices, bool), 5000)
    assert np.abs(points).max() < 200
    assert len(points) > 4800


def test_points_are_those_of_a_loop():
    mesh = height_map(lambda x, y: 0.01 * (x**2 + y**2), half=20, step=5)
    keep = np.arange(mesh.num_vertices) % 5 > 0
    faces = mesh.faces[keep[mesh.faces[:, 0]]]
    corners = mesh.vertices[faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    ratio = 1.32471795724474602596
    assert abs(ratio**3 - ratio - 1) < 1e-12
    expected = []
    for index in np.arange(50) + 0.5:
        a, b, c = corners[np.searchsorted(np.cumsum(area), index / 50 * area.sum())]
        along, across = (index / ratio) % 1, (index / ratio**2) % 1
        if along + across > 1:
            along, across = 1 - along, 1 - across
        expected.append(a + along * (b - a) + across * (c - a))
    np.testing.assert_allclose(even_points(mesh, keep, 50), expected, atol=1e-4)


def test_a_surface_without_area_gives_its_vertices():
    mesh = Mesh(vertices=np.zeros((4, 3), np.float32), faces=np.array([[0, 1, 2], [1, 2, 3]]))
    assert len(even_points(mesh, np.ones(4, bool), 10)) == 4
