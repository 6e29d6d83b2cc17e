from __future__ import annotations

import numpy as np
import pytest

from smilevlm.synthesis.occlusions import merge_meshes, tube


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Signed, positive when the triangles of a closed surface face outwards."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def edges_used_twice(faces: np.ndarray) -> bool:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return bool((np.unique(edges, axis=0, return_counts=True)[1] == 2).all())


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -2, 3)])
def test_a_straight_tube_is_closed_and_has_its_volume(direction):
    along = np.array(direction) / np.linalg.norm(direction)
    solid = tube(np.linspace(0, 40, 9)[:, None] * along, 3.0, np.array([10, 20, 30]))
    assert edges_used_twice(solid.faces)
    # A prism of ten sides and two pyramids of half a radius' height as its ends.
    area = 10 * 9.0 / 2 * np.sin(2 * np.pi / 10)
    assert volume(solid.vertices, solid.faces) == pytest.approx(area * (40 + 2 * 1.5 / 3), rel=1e-3)
    assert (solid.colors == (10, 20, 30)).all()


def test_a_tube_may_grow_and_bend():
    turn = np.linspace(0, np.pi, 30)
    points = np.stack([20 * np.cos(turn), 20 * np.sin(turn), 0 * turn], axis=1)
    solid = tube(points, np.linspace(1, 4, 30), np.zeros(3))
    distance = np.linalg.norm(solid.vertices[:300].reshape(30, 10, 3) - points[:, None], axis=2)
    np.testing.assert_allclose(distance, np.linspace(1, 4, 30)[:, None].repeat(10, axis=1), rtol=1e-5)
    assert edges_used_twice(solid.faces)


def test_joined_solids_keep_their_triangles():
    first = tube(np.array([[0, 0, 0], [9, 0, 0]]), 1.0, np.array([1, 1, 1]))
    second = tube(np.array([[0, 5, 0], [9, 5, 0]]), 2.0, np.array([2, 2, 2]))
    both = merge_meshes([first, second])
    assert volume(both.vertices, both.faces) == pytest.approx(
        volume(first.vertices, first.faces) + volume(second.vertices, second.faces)
    )
    assert both.colors[-1].tolist() == [2, 2, 2]
