"""Compiled point-to-plane registration to a height map; see `template.register`. Import inside functions.

The template comes as a table (row, column, 4): height, dz/dx, dz/dy and 1 / sqrt(1 + dz/dx^2 + dz/dy^2), so that a
point costs one look-up. `found` holds a column per usable point: the six derivatives of its signed distance from the
template (by the turn, then by the shift), the distance itself, its weight, and the derivative by the scale's logarithm.
"""

# ruff: noqa: ANN001, ANN201

from typing import no_type_check

import numpy as np

from smilevlm.compiled import kernel as compiled_kernel
from smilevlm.geometry.kernels import kernel

FIRST_GATE_MM, LAST_GATE_MM, GATE_SHRINK = 25.0, 7.0, 0.82
CLOSE_MM = 6.0
FEWEST_POINTS = 60
LAST_TURN, LAST_SHIFT_MM = 2e-4, 0.01
"""A step that moves the pose by less, at the last gate, is the last one."""
DISTANCE, WEIGHT, STRETCH, NUM_ROWS = 6, 7, 8, 9
"""Where the distance, the weight and the derivative by the scale are in `found`, and its number of rows."""

TURN_PULL, SHIFT_PULL = 0.05, 0.00002
"""A faint pull to the current pose keeps the solve sound when the surface leaves a direction open."""


@kernel
@no_type_check
def points_near(points, nose, reach, out):
    """The points in a cube around the nose, into out as float64; returns how many."""
    count = 0
    for p in range(points.shape[0]):
        x, y, z = points[p, 0] - nose[0], points[p, 1] - nose[1], points[p, 2] - nose[2]
        if abs(x) < reach and abs(y) < reach and abs(z) < reach:
            for k in range(3):
                out[count, k] = points[p, k]
            count += 1
    return count


@kernel
@no_type_check
def look_up(points, rotation, nose, table, low, cell_mm, gate, found, cells):
    """Points nearer to the template than `gate`, into found, and their cells; returns how many."""
    rows, columns = table.shape[0], table.shape[1]
    # In variables of their own: the compiler must take every store to `found` for a change of the arrays.
    ax, ay, az = rotation[0, 0], rotation[0, 1], rotation[0, 2]
    bx, by, bz = rotation[1, 0], rotation[1, 1], rotation[1, 2]
    cx, cy, cz = rotation[2, 0], rotation[2, 1], rotation[2, 2]
    nose_x, nose_y, nose_z = nose[0], nose[1], nose[2]
    low_x, low_y = np.float64(low[0]), np.float64(low[1])
    per_mm = 1 / cell_mm
    count = 0
    for p in range(points.shape[0]):
        dx, dy, dz = points[p, 0] - nose_x, points[p, 1] - nose_y, points[p, 2] - nose_z
        x = ax * dx + ay * dy + az * dz - low_x
        y = bx * dx + by * dy + bz * dz - low_y
        nearest_column, nearest_row = np.rint(x * per_mm), np.rint(y * per_mm)
        if not (0 <= nearest_column < columns and 0 <= nearest_row < rows):
            continue
        column, row = np.uint32(nearest_column), np.uint32(nearest_row)
        z = cx * dx + cy * dy + cz * dz
        slope_x, slope_y = np.float64(table[row, column, 1]), np.float64(table[row, column, 2])
        inverse = np.float64(table[row, column, 3])
        # The look-up is at the cell's centre; the slope carries it to the point itself.
        height = table[row, column, 0]
        height += slope_x * (x - nearest_column * cell_mm) + slope_y * (y - nearest_row * cell_mm)
        distance = (z - height) * inverse
        if not abs(distance) < gate:  # also where the template is NaN
            continue
        x += low_x
        y += low_y
        nx, ny = -slope_x * inverse, -slope_y * inverse
        found[0, count], found[1, count], found[2, count] = y * inverse - z * ny, z * nx - x * inverse, x * ny - y * nx
        found[3, count], found[4, count], found[5, count] = nx, ny, inverse
        found[DISTANCE, count] = distance
        found[STRETCH, count] = x * nx + y * ny + z * inverse
        cells[count] = row * np.uint32(columns) + column
        count += 1
    return count


@compiled_kernel(fastmath={"reassoc"})
@no_type_check
def dot(first, second):
    """A sum in as many parts as the processor adds at once; the machine's compiler fixes their order."""
    total = 0.0
    for p in range(first.shape[0]):
        total += first[p] * second[p]
    return total


@kernel
@no_type_check
def normal_equations(found, cells, count, weight, gate, per_cell, sums):
    """Sums of the products of found's rows under Tukey's weights, lower half of sums; returns the weights' sum.

    `per_cell` is scratch, like the row of `found` after the distance.
    """
    per_cell[:] = 0
    for p in range(count):
        per_cell[cells[p]] += 1
    total = 0.0
    for p in range(count):
        share = found[DISTANCE, p] / gate
        tukey = (1 - share * share) * (1 - share * share)
        # Dense regions of the mesh must not outvote the rest: each cell counts once.
        w = weight[cells[p]] / per_cell[cells[p]] * tukey
        total += w
        found[WEIGHT, p] = w
    scaled = np.empty(count, np.float64)
    for i in range(WEIGHT):
        for p in range(count):
            scaled[p] = found[WEIGHT, p] * found[i, p]
        for j in range(min(i + 1, DISTANCE)):
            sums[i, j] = dot(scaled, found[j, :count])
    return total


@kernel
@no_type_check
def solve_in_place(matrix, vector):
    """Cholesky: vector becomes matrix^-1 @ vector; matrix, positive definite, is read and spent in its lower half."""
    size = vector.shape[0]
    for i in range(size):
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(value) if i == j else value / matrix[j, j]
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
        vector[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            vector[i] -= matrix[k, i] * vector[k]
        vector[i] /= matrix[i, i]


@kernel
@no_type_check
def rotation_from_vector(vector):
    """Rodrigues' formula: the rotation about `vector` by its length in radians."""
    angle = np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
    result = np.eye(3)
    if angle < 1e-12:
        return result
    sin, versine = np.sin(angle), 1 - np.cos(angle)
    for i in range(3):
        result[i, i] -= versine
        for j in range(3):
            result[i, j] += versine * vector[i] * vector[j] / angle**2
        # The cross product's matrix: -axis[k] above the diagonal at (i, i + 1), axis[k] mirrored.
        j, k = (i + 1) % 3, (i + 2) % 3
        result[i, j] -= sin * vector[k] / angle
        result[j, i] += sin * vector[k] / angle
    return result


@kernel
@no_type_check
def step_pose(update, rotation, nose):
    """Apply a turn and a shift of the face frame, in place: face' = turn @ face + shift = rotation' @ (p - nose')."""
    turn = rotation_from_vector(update)
    before = rotation.copy()
    for i in range(3):
        for j in range(3):
            rotation[i, j] = turn[i, 0] * before[0, j] + turn[i, 1] * before[1, j] + turn[i, 2] * before[2, j]
    for j in range(3):
        nose[j] -= rotation[0, j] * update[3] + rotation[1, j] * update[4] + rotation[2, j] * update[5]


@kernel
@no_type_check
def step_after(step, iterations, gate, update):
    """The number of the next step: the last where this one, `update`, moved turn, shift and log scale hardly at all."""
    turn = np.sqrt(update[0] ** 2 + update[1] ** 2 + update[2] ** 2)
    shift = np.sqrt(update[3] ** 2 + update[4] ** 2 + update[5] ** 2)
    is_still = turn < LAST_TURN and shift < LAST_SHIFT_MM and np.all(np.abs(update[6:]) < LAST_TURN)
    return iterations if gate == LAST_GATE_MM and is_still else step + 1


@kernel
@no_type_check
def fit_pose(points, rotation, nose, table, weight, low, cell_mm, iterations, found, cells):
    """Improve rotation and nose in place; found and cells then hold the last look-up. Returns its number of points.

    Zero when fewer than `FEWEST_POINTS` came near the template at some step.
    """
    sums = np.zeros((WEIGHT, WEIGHT))
    flat_weight = weight.ravel()
    per_cell = np.empty(flat_weight.shape[0], np.int32)
    step = 0
    while True:
        gate = max(FIRST_GATE_MM * GATE_SHRINK**step, LAST_GATE_MM)
        count = look_up(points, rotation, nose, table, low, cell_mm, gate, found, cells)
        if count < FEWEST_POINTS:
            return 0
        if step == iterations:
            return count
        total = normal_equations(found, cells, count, flat_weight, gate, per_cell, sums)
        for i in range(DISTANCE):
            sums[i, i] += (TURN_PULL if i < 3 else SHIFT_PULL) * total
        update = -sums[DISTANCE, :DISTANCE]
        solve_in_place(sums, update)
        step_pose(update, rotation, nose)
        step = step_after(step, iterations, gate, update)


@kernel
@no_type_check
def relief_sums(points, rotation, nose, table, weight, low, cell_mm, sums):
    """Sums of the products of 1, x, y, x^2, xy, y^2 (x and y in 50 mm), the points' height and the template's.

    Of points within `FIRST_GATE_MM` of the template's height, so weighted that a cell counts once, lower half of sums
    (8, 8); returns how many points.
    """
    rows, columns = weight.shape
    ax, ay, az = rotation[0, 0], rotation[0, 1], rotation[0, 2]
    bx, by, bz = rotation[1, 0], rotation[1, 1], rotation[1, 2]
    cx, cy, cz = rotation[2, 0], rotation[2, 1], rotation[2, 2]
    nose_x, nose_y, nose_z = nose[0], nose[1], nose[2]
    low_x, low_y = low[0], low[1]
    cells, terms = np.empty(points.shape[0], np.uint32), np.empty((8, points.shape[0]))
    per_cell = np.zeros(rows * columns, np.int32)
    count = 0
    for p in range(points.shape[0]):
        dx, dy, dz = points[p, 0] - nose_x, points[p, 1] - nose_y, points[p, 2] - nose_z
        x, y = ax * dx + ay * dy + az * dz, bx * dx + by * dy + bz * dz
        column, row = np.rint((x - low_x) / cell_mm), np.rint((y - low_y) / cell_mm)
        if not (0 <= column < columns and 0 <= row < rows):
            continue
        z = cx * dx + cy * dy + cz * dz
        face = table[np.uint32(row), np.uint32(column), 0]
        if not abs(z - face) < FIRST_GATE_MM:  # which NaN is not
            continue
        cell = np.uint32(row) * np.uint32(columns) + np.uint32(column)
        cells[count] = cell
        per_cell[cell] += 1
        x, y = x / 50, y / 50
        terms[0, count], terms[1, count], terms[2, count] = 1.0, x, y
        terms[3, count], terms[4, count], terms[5, count] = x * x, x * y, y * y
        terms[6, count], terms[7, count] = z, face
        count += 1
    flat_weight = weight.ravel()
    weights, scaled = np.empty(count), np.empty(count)
    for p in range(count):
        weights[p] = flat_weight[cells[p]] / per_cell[cells[p]]
    for i in range(8):
        for p in range(count):
            scaled[p] = weights[p] * terms[i, p]
        for j in range(i + 1):
            sums[i, j] = dot(scaled, terms[j, :count])
    return count


@kernel
@no_type_check
def relief_correlation(sums):
    """Of the two heights in the sums of `relief_sums`, each without the quadric that fits it best."""
    quadric = 6
    ours, faces = sums[6, :quadric].copy(), sums[7, :quadric].copy()
    for best in (ours, faces):
        bend = sums[:quadric, :quadric].copy()
        for i in range(quadric):
            bend[i, i] += 1e-9 * sums[0, 0]  # points in a line do not tell all of the quadric
        solve_in_place(bend, best)
    left_ours = sums[6, 6] - np.sum(sums[6, :quadric] * ours)
    left_faces = sums[7, 7] - np.sum(sums[7, :quadric] * faces)
    together = sums[7, 6] - np.sum(sums[7, :quadric] * ours)
    # The small constant, about 0.1 mm of relief, keeps a perfectly smooth surface at zero.
    return together / np.sqrt((max(left_ours, 0.0) + 0.01 * sums[0, 0]) * max(left_faces, 1e-9))


@kernel
@no_type_check
def covered_share(found, cells, count, weight):
    """Share of the weight with a close point in the cell or beside it: sparse scans have fewer points than cells.

    The template's edges count as beside each other.
    """
    rows, columns = weight.shape
    hit = np.zeros((rows, columns), np.bool_)
    for p in range(count):
        if abs(found[DISTANCE, p]) < CLOSE_MM:
            row, column = cells[p] // columns, cells[p] % columns
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    hit[(row + dy) % rows, (column + dx) % columns] = True
    covered, total = 0.0, 0.0
    for row in range(rows):
        for column in range(columns):
            total += weight[row, column]
            if hit[row, column]:
                covered += weight[row, column]
    return covered / total
