"""Compiled loops against the same written with NumPy, or with plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smilevlm.geometry import fit_kernels, kernels, search_kernels
from smilevlm.geometry.template import face_template


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 25, (4000, 3)).astype(np.float32)


@pytest.fixture
def turn() -> np.ndarray:
    return Rotation.from_euler("xyz", [20, -35, 10], degrees=True).as_matrix().astype(np.float32)


def moved(points: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    out = np.empty_like(points)
    kernels.move_points(points, rotation, translation, 1.0, out)
    return out


def test_points_are_moved_by_translation_then_rotation(points, turn):
    shift = np.array([3, -4, 5], np.float32)
    np.testing.assert_allclose(moved(points, turn, shift), (points + shift) @ turn.T, atol=1e-4)


def test_moving_and_cropping_at_once_gives_the_bits_of_one_after_the_other(points, turn):
    shift, tip = np.array([3, -4, 5], np.float32), np.array([0.5, 2, -1], np.float32)
    keep = np.random.default_rng(1).uniform(size=len(points)) < 0.7
    expected, wanted = moved(points, turn, shift), keep.copy()
    kernels.inside_crop(expected, tip, 40.0, 20.0, wanted)
    out = np.empty_like(points)
    kernels.move_and_crop(points, turn, shift, tip, 40.0, 20.0, keep, out)
    np.testing.assert_array_equal(out, moved(expected, np.eye(3, dtype=np.float32), -tip))
    np.testing.assert_array_equal(keep, wanted)
    assert 0 < keep.sum() < 0.7 * len(points)


def test_the_foremost_points_are_those_behind_the_third_highest(points, turn):
    shift, reach = np.array([3, -4, 5], np.float32), np.array([12, 14, 20], np.float32)
    keep = np.random.default_rng(1).uniform(size=len(points)) < 0.7
    placed = moved(points, turn, shift)
    near = placed[keep & (np.abs(placed) <= reach).all(axis=1)]
    expected = near[near[:, 2] >= np.sort(near[:, 2])[-3] - np.float32(1.5)].mean(axis=0)
    mean = np.empty(3, np.float32)
    assert kernels.foremost(points, keep, turn, shift, reach, np.float32(1.5), mean) == len(near)
    np.testing.assert_array_equal(mean, expected)
    few = np.zeros(len(points), bool)
    few[:2] = True
    points[:2] = -shift
    assert kernels.foremost(points, few, turn, shift, reach, np.float32(1.5), mean) == 2


def test_the_ring_around_each_cell_is_summed_and_counted():
    rng = np.random.default_rng(2)
    grid = rng.normal(size=(9, 7)).astype(np.float32)
    grid[rng.uniform(size=grid.shape) < 0.3] = np.nan
    reach = 2
    offsets = np.array([(-2, 0), (0, -2), (1, 1), (2, 2), (-1, 2)])
    padded = np.pad(grid, reach, constant_values=np.nan)
    shape = 9, 7 + 2 * reach
    total, number, higher = np.zeros(shape), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    kernels.compare_with_ring(padded, offsets, reach, total, number, higher)
    for row in range(9):
        for column in range(7):
            values = [padded[row + reach + dy, column + reach + dx] for dy, dx in offsets]
            known = [float(value) for value in values if not np.isnan(value)]
            assert number[row, column] == len(known)
            assert total[row, column] == pytest.approx(sum(known))
            assert higher[row, column] == sum(value > grid[row, column] for value in known)


def test_centres_too_near_to_one_before_are_left_out():
    centres = np.array([(0, 0, 1), (10, 0, 2), (24, 7, 3), (0, 25, 4), (24, 8, 5), (60, 0, 6)], np.float32)
    rows = np.empty(4, np.int64)
    found = kernels.spaced_rows(centres, np.float32(25), 4, rows)
    assert rows[:found].tolist() == [0, 2, 3, 5]
    assert kernels.spaced_rows(centres, np.float32(25), 2, rows) == 2


def test_points_behind_others_are_not_seen_from_the_front(points, turn):
    nose, reach, cell, depth = np.array([4.0, 1.0, 0.0]), 45.0, np.float32(6), np.float32(10)
    near = points[(np.abs(points - nose) < reach).all(axis=1)]
    turned = (near.astype(np.float64) @ turn.astype(np.float64).T).astype(np.float32)
    low = (turned[:, :2].astype(np.float64).min(axis=0) - 6).astype(np.float32)
    cells = [tuple(each) for each in ((turned[:, :2] - low) / cell).astype(int)]
    highest: dict[tuple[int, int], float] = {}
    for each, height in zip(cells, turned[:, 2], strict=True):
        highest[each] = max(highest.get(each, -np.inf), height)
    seen = np.array([height >= highest[each] - depth for each, height in zip(cells, turned[:, 2], strict=True)])
    out = np.empty_like(points)
    count = search_kernels.seen_from_front(points, turn.astype(np.float64), nose, reach, cell, depth, out)
    np.testing.assert_array_equal(out[:count], near[seen])
    assert 0.1 < seen.mean() < 0.9
    assert search_kernels.seen_from_front(points, turn.astype(np.float64), nose + 1000, reach, cell, depth, out) == 0


def test_the_correlation_of_reliefs_is_that_of_what_quadrics_leave():
    template = face_template()
    rng = np.random.default_rng(5)
    row, column = np.nonzero(np.isfinite(template.height_mm) & (template.weight > 0))
    place = np.stack([column, row], axis=1) * template.cell_mm + template.low_mm
    face = template.height_mm[row, column].astype(np.float64)
    height = face + 3 + 0.002 * place[:, 0] ** 2 + rng.normal(0, 3, len(face))
    scan = np.column_stack([place, height]).astype(np.float32)
    sums = np.empty((8, 8))
    count = fit_kernels.relief_sums(scan, np.eye(3), np.zeros(3), *template.height_map, sums)
    used = np.abs(height - face) < fit_kernels.FIRST_GATE_MM
    assert count == used.sum()
    weight = template.weight[row, column][used].astype(np.float64)
    x, y = place[used].T.astype(np.float64) / 50
    basis = np.sqrt(weight)[:, None] * np.stack([np.ones(count), x, y, x * x, x * y, y * y], axis=1)
    rests = []
    for values in (scan[used, 2].astype(np.float64), face[used]):
        target = np.sqrt(weight) * values
        rests.append(target - basis @ np.linalg.lstsq(basis, target, rcond=None)[0])
    ours, faces = rests
    expected = ours @ faces / np.sqrt((ours @ ours + 0.01 * weight.sum()) * (faces @ faces))
    assert fit_kernels.relief_correlation(sums) == pytest.approx(expected, rel=1e-5)
    assert 0.3 < expected < 1


def test_points_in_a_line_have_a_correlation_all_the_same():
    along, nothing, height = np.linspace(-1, 1, 50), np.zeros(50), np.ones(50)
    terms = np.stack([np.ones(50), along, nothing, along**2, nothing, nothing, height, height])
    assert np.isfinite(fit_kernels.relief_correlation(terms @ terms.T))
