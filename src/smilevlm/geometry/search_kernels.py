"""Compiled loops of the wide pose search; see `pose_search`. Import inside functions."""

# ruff: noqa: ANN001, ANN201

from typing import no_type_check

import numpy as np

from smilevlm.geometry.fit_kernels import (
    DISTANCE,
    FEWEST_POINTS,
    FIRST_GATE_MM,
    GATE_SHRINK,
    LAST_GATE_MM,
    SHIFT_PULL,
    STRETCH,
    TURN_PULL,
    WEIGHT,
    look_up,
    normal_equations,
    solve_in_place,
    step_pose,
)
from smilevlm.geometry.kernels import kernel

_SIZE = 7
"""Unknowns of a similarity: turn, shift, and the logarithm of the scale."""
_LARGEST_STRETCH = 0.1
"""A single step changes the scale by no more than this share."""
_SCALE_ROOM = 1.4
"""All steps together change it by no more than this factor: a tiny template fits anywhere."""
_QUADRIC = 6
_LARGEST_RELIEF_MM = 20.0


@kernel
@no_type_check
def fit_similarity(points, rotation, nose, scale, pull, table, weight, low, cell_mm, iterations, found, cells):
    """`fit_kernels.fit_pose` with the scale as a seventh unknown: face = scale * rotation @ (point - nose).

    Improves rotation and nose in place; `pull` holds the scale near the given one. Returns the scale and the number of
    points of the last look-up, which found and cells hold; zero when fewer than `FEWEST_POINTS` came near the template
    at some step.
    """
    sums = np.zeros((WEIGHT, WEIGHT))
    matrix, update = np.zeros((_SIZE, _SIZE)), np.zeros(_SIZE)
    flat_weight = weight.ravel()
    per_cell = np.empty(flat_weight.shape[0], np.int32)
    count = 0
    first, smallest, largest = scale, scale / _SCALE_ROOM, scale * _SCALE_ROOM
    for step in range(iterations + 1):
        gate = max(FIRST_GATE_MM * GATE_SHRINK**step, LAST_GATE_MM)
        count = look_up(points, scale * rotation, nose, table, low, cell_mm, gate, found, cells)
        if count < FEWEST_POINTS:
            return scale, 0
        if step < iterations:
            total = normal_equations(found, cells, count, flat_weight, gate, per_cell, sums)
            for i in range(DISTANCE):
                for j in range(i + 1):
                    matrix[i, j] = sums[i, j]
                matrix[i, i] += (TURN_PULL if i < 3 else SHIFT_PULL) * total
                update[i] = -sums[DISTANCE, i]
            for i in range(_SIZE):
                product = 0.0
                row = i if i < DISTANCE else STRETCH
                for p in range(count):
                    product += found[WEIGHT, p] * found[row, p] * found[STRETCH, p]
                matrix[_SIZE - 1, i] = product
            matrix[_SIZE - 1, _SIZE - 1] += pull * total
            product = 0.0
            for p in range(count):
                product += found[WEIGHT, p] * found[DISTANCE, p] * found[STRETCH, p]
            update[_SIZE - 1] = -product - pull * total * np.log(scale / first)
            solve_in_place(matrix, update)
            scale *= np.exp(max(min(update[_SIZE - 1], _LARGEST_STRETCH), -_LARGEST_STRETCH))
            scale = max(min(scale, largest), smallest)
            update[3:6] /= scale  # the shift is in the face frame, the nose in the scan's unit
            step_pose(update, rotation, nose)
    return scale, count


@kernel
@no_type_check
def turn_points(points, rotation, out):
    """out = rotation @ point, and the lowest x and y, then the highest."""
    low_x, low_y, high_x, high_y = np.inf, np.inf, -np.inf, -np.inf
    for p in range(points.shape[0]):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        u = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
        v = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
        out[p, 0], out[p, 1] = u, v
        out[p, 2] = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
        low_x, low_y = min(low_x, u), min(low_y, v)
        high_x, high_y = max(high_x, u), max(high_y, v)
    return low_x, low_y, high_x, high_y


@kernel
@no_type_check
def not_hidden(points, low_x, low_y, cell_mm, grid, depth_mm, keep):
    """Which points are at most so far behind the highest point of their cell; see `kernels.highest_per_cell`."""
    for p in range(points.shape[0]):
        column = int((points[p, 0] - low_x) / cell_mm)
        row = int((points[p, 1] - low_y) / cell_mm)
        keep[p] = points[p, 2] >= grid[row, column] - depth_mm


@kernel
@no_type_check
def fill_gaps(grid, out):
    """The grid with every empty cell that has two known neighbours or more at their mean."""
    rows, columns = grid.shape
    for r in range(rows):
        for c in range(columns):
            out[r, c] = grid[r, c]
            if grid[r, c] == grid[r, c]:
                continue
            total, number = np.float32(0), 0
            for k in range(4):
                row, column = r + (k == 0) - (k == 1), c + (k == 2) - (k == 3)
                if 0 <= row < rows and 0 <= column < columns and grid[row, column] == grid[row, column]:
                    total += grid[row, column]
                    number += 1
            if number >= 2:
                out[r, c] = total / np.float32(number)


@kernel
@no_type_check
def score_rolls(grid, row, column, offsets, basis, relief, deepest, highest, scores):
    """How well the surface around a cell, taken for the nose tip, has the template's relief, into scores per roll.

    `grid` holds heights seen from one direction, NaN where empty; `offsets` the steps (row, column) to the cells of the
    disc around the nose; `basis` the terms of a quadric there; `relief` per roll the template's height without its
    best quadric, NaN outside the template. Cells outside `deepest` to `highest` over the nose are something else. A
    score is the correlation of what is left of both heights, times the root of the share of the template that is known.
    """
    number = offsets.shape[0]
    heights = np.zeros(number)
    known = np.zeros(number, np.bool_)
    matrix, vector = np.zeros((_QUADRIC, _QUADRIC)), np.zeros(_QUADRIC)
    tip = grid[row, column]
    count = 0
    for o in range(number):
        r, c = row + offsets[o, 0], column + offsets[o, 1]
        if not (0 <= r < grid.shape[0] and 0 <= c < grid.shape[1]):
            continue
        height = grid[r, c] - tip
        if not deepest < height < highest:  # which NaN is not
            continue
        known[o] = True
        heights[o] = height
        count += 1
        for i in range(_QUADRIC):
            vector[i] += basis[o, i] * height
            for j in range(i + 1):
                matrix[i, j] += basis[o, i] * basis[o, j]
    scores[:] = 0.0
    if count < FEWEST_POINTS:
        return
    for i in range(_QUADRIC):
        matrix[i, i] += 1e-6 * count
    solve_in_place(matrix, vector)
    for o in range(number):
        if known[o]:
            for i in range(_QUADRIC):
                heights[o] -= basis[o, i] * vector[i]
            heights[o] = max(min(heights[o], _LARGEST_RELIEF_MM), -_LARGEST_RELIEF_MM)
    for roll in range(relief.shape[0]):
        ours, together, faces = 0.0, 0.0, 0.0
        for o in range(number):
            face = relief[roll, o]
            if face == face:
                faces += face * face
                if known[o]:
                    ours += heights[o] * heights[o]
                    together += heights[o] * face
        if together > 0:
            scores[roll] = together / np.sqrt((ours + 1.0) * faces)
