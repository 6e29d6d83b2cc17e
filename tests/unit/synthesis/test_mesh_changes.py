"""Surfaces with fewer or more vertices, closed holes, and parts of faces."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from smilevlm.synthesis.mesh_density import merge_cells, simplify, subdivide
from smilevlm.synthesis.mesh_holes import behind_opening, close_across, rim_around
from smilevlm.synthesis.partial_faces import PARTIAL_SHARE, FacePart, draw_part, draw_partial


def grid(size: int = 41, pitch: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A square sheet facing +z, its middle at the origin."""
    rows, columns = np.mgrid[0:size, 0:size]
    half = (size - 1) / 2
    points = np.stack([(columns - half) * pitch, (rows - half) * pitch, 0 * rows], axis=-1).reshape(-1, 3)
    number = np.arange(size * size).reshape(size, size)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    faces = np.concatenate([np.stack(each, axis=-1).reshape(-1, 3) for each in ((a, b, c), (a, c, d))])
    return points.astype(np.float32), faces.astype(np.int32)


def area(vertices: np.ndarray, faces: np.ndarray) -> float:
    corners = vertices[faces]
    return float(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum() / 2)


def test_cells_hold_the_mean_of_their_vertices():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [9, 0, 0], [0, 9, 0]], np.float32)
    faces = np.array([[0, 2, 3], [0, 1, 2]], np.int32)
    merged, left = merge_cells(vertices, faces, 5.0)
    assert left.shape == (1, 3), "the triangle that collapsed is gone"
    np.testing.assert_allclose(sorted(merged.tolist()), [[0, 9, 0], [0.5, 0, 0], [9, 0, 0]])


def test_cells_grow_away_from_the_nose():
    vertices, faces = grid()
    merged, _ = merge_cells(vertices, faces, 2.5, growth=6.0)
    distance = np.linalg.norm(merged, axis=1)
    near, far = (distance < 12).sum() / 12**2, ((distance > 28) & (distance < 40)).sum() / (40**2 - 28**2)
    assert near > 2 * far


@pytest.mark.parametrize("budget", [100, 500, 1500])
def test_a_simplified_surface_keeps_to_its_budget_and_nearly_fills_it(budget):
    vertices, faces = grid()
    fewer, left = simplify(vertices, faces, budget, growth=1.0)
    assert 0.5 * budget < len(fewer) <= budget
    assert left.max() == len(fewer) - 1
    assert area(fewer, left) == pytest.approx(area(vertices, faces), rel=0.25)


@pytest.mark.parametrize("budget", [1681, 3000, 6561, 20_000])
def test_a_divided_surface_is_the_same_surface_within_its_budget(budget):
    vertices, faces = grid()
    more, divided = subdivide(vertices, faces, budget)
    assert len(vertices) <= len(more) <= budget
    assert area(more, divided) == pytest.approx(area(vertices, faces), rel=1e-5)
    if budget >= 6561:
        assert len(divided) == 4 * len(faces)


def test_a_hole_is_closed_from_side_to_side():
    vertices, faces = grid()
    inside = (np.abs(vertices[:, 0]) < 20) & (np.abs(vertices[:, 1]) < 5)
    open_faces = faces[~inside[faces].any(axis=1)]
    rim = rim_around(open_faces, vertices, np.zeros(3))
    closed = close_across(rim, vertices)
    assert area(vertices, np.concatenate([open_faces, closed])) == pytest.approx(area(vertices, faces), rel=1e-5)
    assert all(len(set(face)) == 3 for face in closed.tolist())


def test_what_lies_behind_an_opening_is_its_pocket_and_no_patch_of_the_outside():
    vertices, faces = grid()
    pocket = np.linalg.norm(vertices, axis=1) < 12
    mistaken = pocket.copy()
    mistaken[:3] = True
    # A ring that was found leaves the middle of the pocket as an island, which belongs to it.
    mistaken[np.linalg.norm(vertices, axis=1) < 5] = False
    everything = np.ones(len(vertices), bool)
    assert (behind_opening(everything, mistaken, faces) == pocket).all()


@pytest.mark.parametrize("part", get_args(FacePart))
def test_each_part_holds_the_nose_tip_and_not_the_other_side(part):
    places = np.array([[0, 0, 0], [0, 90, -40], [0, -80, -40], [70, 20, -60], [-70, 20, -60]], np.float32)
    for seed in range(20):
        kept = draw_part(np.random.default_rng(seed), part).keeps(places)
        assert kept[0]
        if part == "profile":
            assert kept[3] != kept[4]
        else:
            assert kept[1] == (part == "upper")
            assert kept[2] == (part == "lower")


def test_partial_faces_are_rare_and_of_every_part():
    rng = np.random.default_rng(0)
    drawn = [draw_partial(rng) for _ in range(4000)]
    parts = [each.part for each in drawn if each is not None]
    assert len(parts) / 4000 == pytest.approx(PARTIAL_SHARE, abs=0.015)
    assert all(parts.count(part) > 0.2 * len(parts) for part in get_args(FacePart))
