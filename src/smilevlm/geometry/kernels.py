"""Compiled loops over a mesh and the height grid of the nose search. Import inside functions: numba is slow to load.

Plain scalar loops, one thread, no fast-math: the same input gives the same bits on one machine.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from typing import no_type_check

import numpy as np

from smilevlm.compiled import kernel as compiled_kernel

kernel = compiled_kernel()


@kernel
@no_type_check
def move_points(points, rotation, translation, scale, out):
    """out = scale * rotation @ (point + translation), summed in float64."""
    for p in range(points.shape[0]):
        x = np.float64(points[p, 0]) + translation[0]
        y = np.float64(points[p, 1]) + translation[1]
        z = np.float64(points[p, 2]) + translation[2]
        for k in range(3):
            out[p, k] = scale * (rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z)


@kernel
@no_type_check
def _corners(faces, f):
    """The corners of a triangle, unsigned: an index that may be negative costs a test."""
    return np.uint32(faces[f, 0]), np.uint32(faces[f, 1]), np.uint32(faces[f, 2])


@kernel
@no_type_check
def _longest_squared(vertices, faces, f):
    a, b, c = _corners(faces, f)
    ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
    cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
    ab = (ax - bx) ** 2 + (ay - by) ** 2 + (az - bz) ** 2
    bc = (bx - cx) ** 2 + (by - cy) ** 2 + (bz - cz) ** 2
    ca = (cx - ax) ** 2 + (cy - ay) ** 2 + (cz - az) ** 2
    finite = ab + bc + ca < np.inf  # which NaN is not
    return max(ab, bc, ca) if finite else np.float32(np.inf)


@kernel
@no_type_check
def longest_edge(vertices, faces):
    """The length of the longest edge of all; infinite where a corner is not finite."""
    longest = np.float32(0)
    for f in range(faces.shape[0]):
        longest = max(longest, _longest_squared(vertices, faces, f))
    return np.sqrt(longest)


@kernel
@no_type_check
def longest_edges(vertices, faces, out):
    """The length of each triangle's longest edge; infinite where a corner is not finite."""
    for f in range(faces.shape[0]):
        out[f] = np.sqrt(_longest_squared(vertices, faces, f))


@kernel
@no_type_check
def faces_within(faces, keep, out):
    """Which faces use kept vertices only."""
    for f in range(faces.shape[0]):
        a, b, c = _corners(faces, f)
        out[f] = keep[a] & keep[b] & keep[c]


@kernel
@no_type_check
def renumber(faces, keep, number):
    """Number the vertices of the kept faces in their order, -1 for the others: (vertices used, faces kept)."""
    number[:] = -1
    num_faces = 0
    for f in range(faces.shape[0]):
        if keep[f]:
            num_faces += 1
            a, b, c = _corners(faces, f)
            number[a], number[b], number[c] = 0, 0, 0
    num_vertices = 0
    for v in range(number.shape[0]):
        if number[v] == 0:
            number[v] = num_vertices
            num_vertices += 1
    return num_vertices, num_faces


@kernel
@no_type_check
def take_faces(faces, keep, number, out):
    """The kept faces with the new numbers of their vertices."""
    row = 0
    for f in range(faces.shape[0]):
        if keep[f]:
            a, b, c = _corners(faces, f)
            out[row, 0], out[row, 1], out[row, 2] = number[a], number[b], number[c]
            row += 1


@kernel
@no_type_check
def take_rows(values, width, keep, out):
    """The kept rows of a matrix of `width` columns; both matrices are given as one row after the other."""
    filled = 0
    first = 0
    while first < keep.shape[0]:
        last = first
        while last < keep.shape[0] and keep[last]:
            last += 1
        end = filled + (last - first) * width
        out[filled:end] = values[first * width : last * width]  # whole runs are copied far faster than rows
        filled = end
        first = last + 1


@kernel
@no_type_check
def label_components(faces, labels):
    """Number the connected components in the order of their lowest vertices, into labels; returns how many."""
    for v in range(labels.shape[0]):
        labels[v] = v
    for f in range(faces.shape[0]):
        a, b, c = _corners(faces, f)
        if (labels[a] == labels[b]) & (labels[b] == labels[c]):
            continue
        joined = a
        for corner in range(3):
            root = np.uint32(faces[f, corner])
            while labels[root] != root:
                labels[root] = labels[np.uint32(labels[root])]  # halves the way for the next search
                root = np.uint32(labels[root])
            # The lower root becomes the parent, so that the loop below meets parents first.
            low, high = min(root, joined), max(root, joined)
            if corner > 0:
                labels[high] = low
            joined = low if corner > 0 else root
    count = 0
    for v in range(labels.shape[0]):
        if labels[v] == v:
            labels[v] = count
            count += 1
        else:
            labels[v] = labels[np.uint32(labels[v])]
    return count


@kernel
@no_type_check
def faces_per_component(faces, labels, sizes):
    """Count the faces of each component, into sizes of zeros."""
    for f in range(faces.shape[0]):
        sizes[np.uint32(labels[np.uint32(faces[f, 0])])] += 1


@kernel
@no_type_check
def any_near(vertices, labels, stays, centre, reach):
    """Whether a vertex of a component that stays lies within `reach` of `centre`."""
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0] - centre[0], vertices[v, 1] - centre[1], vertices[v, 2] - centre[2]
        if x * x + y * y + z * z <= reach * reach and stays[labels[v]]:
            return True
    return False


@kernel
@no_type_check
def inside_crop(vertices, radius, depth, keep):
    """Keep only those vertices that also lie within `radius` of the origin and at most `depth` behind it."""
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        keep[v] &= (np.sqrt(x * x + y * y + z * z) <= radius) & (z >= -depth)


@kernel
@no_type_check
def inside_box(vertices, centre, reach, keep):
    """Which vertices lie within `reach` (3) of `centre` along every axis."""
    x, y, z = centre[0], centre[1], centre[2]
    reach_x, reach_y, reach_z = reach[0], reach[1], reach[2]
    for v in range(vertices.shape[0]):
        near_x, near_y = abs(vertices[v, 0] - x) <= reach_x, abs(vertices[v, 1] - y) <= reach_y
        keep[v] = near_x & near_y & (abs(vertices[v, 2] - z) <= reach_z)


@kernel
@no_type_check
def highest_per_cell(points, low_x, low_y, cell_mm, grid):
    """The largest z of the points in each cell of the frontal plane, into a grid of NaN."""
    for p in range(points.shape[0]):
        column = int((points[p, 0] - low_x) / cell_mm)
        row = int((points[p, 1] - low_y) / cell_mm)
        if not grid[row, column] >= points[p, 2]:  # also where the cell is still NaN
            grid[row, column] = points[p, 2]


@kernel
@no_type_check
def compare_with_ring(grid, offsets, reach, total, number, higher):
    """Sum and count the known cells at `offsets` (row, column) around each cell, and those higher than it.

    `grid` has a margin of `reach` cells of NaN, which the three results have not.
    """
    rows, columns = total.shape
    for row in range(rows):
        here = grid[row + reach, reach : reach + columns]
        for o in range(offsets.shape[0]):
            dy, dx = reach + offsets[o, 0], reach + offsets[o, 1]
            _compare_rows(grid[row + dy, dx : dx + columns], here, total[row], number[row], higher[row])


@kernel
@no_type_check
def _compare_rows(others, here, total, number, higher):
    """`compare_with_ring` for one row of cells and one step."""
    for k in range(here.shape[0]):
        known = others[k] == others[k]
        total[k] += others[k] if known else np.float32(0)
        number[k] += known
        higher[k] += others[k] > here[k]
