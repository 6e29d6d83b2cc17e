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
    dot,
    look_up,
    normal_equations,
    solve_in_place,
    step_after,
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
    stretched = np.empty(points.shape[0], np.float64)
    first, smallest, largest = scale, scale / _SCALE_ROOM, scale * _SCALE_ROOM
    step = 0
    while True:
        gate = max(FIRST_GATE_MM * GATE_SHRINK**step, LAST_GATE_MM)
        count = look_up(points, scale * rotation, nose, table, low, cell_mm, gate, found, cells)
        if count < FEWEST_POINTS:
            return scale, 0
        if step == iterations:
            return scale, count
        total = normal_equations(found, cells, count, flat_weight, gate, per_cell, sums)
        for i in range(DISTANCE):
            for j in range(i + 1):
                matrix[i, j] = sums[i, j]
            matrix[i, i] += (TURN_PULL if i < 3 else SHIFT_PULL) * total
            update[i] = -sums[DISTANCE, i]
        for p in range(count):
            stretched[p] = found[WEIGHT, p] * found[STRETCH, p]
        for i in range(_SIZE):
            matrix[_SIZE - 1, i] = dot(stretched[:count], found[i if i < DISTANCE else STRETCH, :count])
        matrix[_SIZE - 1, _SIZE - 1] += pull * total
        pulled_back = pull * total * np.log(scale / first)
        update[_SIZE - 1] = -dot(stretched[:count], found[DISTANCE, :count]) - pulled_back
        solve_in_place(matrix, update)
        scale *= np.exp(max(min(update[_SIZE - 1], _LARGEST_STRETCH), -_LARGEST_STRETCH))
        scale = max(min(scale, largest), smallest)
        step = step_after(step, iterations, gate, update)
        update[3:6] /= scale  # the shift is in the face frame, the nose in the scan's unit
        step_pose(update, rotation, nose)


@kernel
@no_type_check
def turn_points(points, rotation, out):
    """out = rotation @ point, and the lowest x and y, then the highest."""
    # In variables of their own: the compiler must take every store to `out` for a change of the array.
    ax, ay, az = rotation[0, 0], rotation[0, 1], rotation[0, 2]
    bx, by, bz = rotation[1, 0], rotation[1, 1], rotation[1, 2]
    cx, cy, cz = rotation[2, 0], rotation[2, 1], rotation[2, 2]
    low_x, low_y, high_x, high_y = np.inf, np.inf, -np.inf, -np.inf
    for p in range(points.shape[0]):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        u, v = ax * x + ay * y + az * z, bx * x + by * y + bz * z
        out[p, 0], out[p, 1], out[p, 2] = u, v, cx * x + cy * y + cz * z
        low_x, low_y = min(low_x, u), min(low_y, v)
        high_x, high_y = max(high_x, u), max(high_y, v)
    return low_x, low_y, high_x, high_y


@kernel
@no_type_check
def seen_from_front(points, rotation, nose, reach, cell_mm, depth_mm, out):
    """The points in a cube around the nose that lie at most `depth_mm` behind the highest of their cell, into out.

    Height and cell are those of rotation @ point. Returns how many points there are.
    """
    rows, turned = np.empty(points.shape[0], np.int32), np.empty(points.shape, np.float32)
    near = 0
    for p in range(points.shape[0]):
        x, y, z = points[p, 0] - nose[0], points[p, 1] - nose[1], points[p, 2] - nose[2]
        if (abs(x) < reach) & (abs(y) < reach) & (abs(z) < reach):
            rows[near] = p
            for k in range(3):
                out[near, k] = points[p, k]
            near += 1
    if near == 0:
        return 0
    low_x, low_y, high_x, high_y = turn_points(out[:near], rotation, turned)
    low_x, low_y = np.float32(low_x - cell_mm), np.float32(low_y - cell_mm)
    columns = int((high_x - low_x) / cell_mm) + 2
    highest = np.full((int((high_y - low_y) / cell_mm) + 2) * columns, -np.inf, np.float32)
    cells = np.empty(near, np.int32)
    for p in range(near):
        cell = int((turned[p, 1] - low_y) / cell_mm) * columns + int((turned[p, 0] - low_x) / cell_mm)
        cells[p] = cell
        highest[cell] = max(highest[cell], turned[p, 2])
    count = 0
    for p in range(near):
        if turned[p, 2] >= highest[cells[p]] - depth_mm:
            for k in range(3):
                out[count, k] = points[rows[p], k]
            count += 1
    return count


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
