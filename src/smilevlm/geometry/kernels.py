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
    # In variables of their own: the compiler must take every store to `out` for a change of the arrays.
    ax, ay, az = np.float64(rotation[0, 0]), np.float64(rotation[0, 1]), np.float64(rotation[0, 2])
    bx, by, bz = np.float64(rotation[1, 0]), np.float64(rotation[1, 1]), np.float64(rotation[1, 2])
    cx, cy, cz = np.float64(rotation[2, 0]), np.float64(rotation[2, 1]), np.float64(rotation[2, 2])
    shift_x, shift_y, shift_z = np.float64(translation[0]), np.float64(translation[1]), np.float64(translation[2])
    for p in range(points.shape[0]):
        x, y, z = points[p, 0] + shift_x, points[p, 1] + shift_y, points[p, 2] + shift_z
        out[p, 0] = scale * (ax * x + ay * y + az * z)
        out[p, 1] = scale * (bx * x + by * y + bz * z)
        out[p, 2] = scale * (cx * x + cy * y + cz * z)


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
def join_coincident(vertices, labels, num_labels):
    """Make one component of those that have a vertex in the same place, in labels; returns how many there are then."""
    size = 1
    while size < 2 * vertices.shape[0]:
        size *= 2
    slots = np.full(size, -1, np.int32)
    parent = np.arange(num_labels).astype(np.int32)
    for v in range(vertices.shape[0]):
        slot = _hashed(vertices[v, 0], vertices[v, 1], vertices[v, 2]) & (size - 1)
        while slots[slot] >= 0:
            other = slots[slot]
            if (
                vertices[other, 0] == vertices[v, 0]
                and vertices[other, 1] == vertices[v, 1]
                and vertices[other, 2] == vertices[v, 2]
            ):
                break
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = v
            continue
        first, second = labels[v], labels[slots[slot]]
        while parent[first] != first:
            parent[first] = parent[parent[first]]
            first = parent[first]
        while parent[second] != second:
            parent[second] = parent[parent[second]]
            second = parent[second]
        parent[max(first, second)] = min(first, second)
    count = 0
    for k in range(num_labels):
        if parent[k] == k:
            parent[k] = count
            count += 1
        else:
            parent[k] = parent[parent[k]]  # a parent has the lower number and has its new one already
    for v in range(labels.shape[0]):
        labels[v] = parent[labels[v]]
    return count


@kernel
@no_type_check
def _hashed(x, y, z):
    """A number of the place of three coordinates or cells, for a table."""
    mixed = np.float64(x) * 73_856.093 + np.float64(y) * 19_349.663 + np.float64(z) * 83_492.791
    return np.int64(mixed * 1e3) * np.int64(-7046029254386353131) >> np.int64(20)


@kernel
@no_type_check
def component_places(vertices, labels, rows, middle, places):
    """A component's centre and its vertices nearest to and furthest from `middle`, into places (row, 3, 3).

    `rows` has a row for each label, -1 for those to leave out.
    """
    number = places.shape[0]
    counts = np.zeros(number, np.int64)
    lowest, highest = np.full(number, np.inf, np.float32), np.full(number, -np.inf, np.float32)
    places[:] = 0
    for v in range(vertices.shape[0]):
        row = rows[labels[v]]
        if row < 0:
            continue
        distance = np.float32(0)
        for k in range(3):
            places[row, 0, k] += vertices[v, k]
            distance += (vertices[v, k] - middle[k]) ** 2
        counts[row] += 1
        if distance < lowest[row]:
            lowest[row] = distance
            places[row, 1] = vertices[v]
        if distance > highest[row]:
            highest[row] = distance
            places[row, 2] = vertices[v]
    for row in range(number):
        for k in range(3):
            places[row, 0, k] /= counts[row]


@kernel
@no_type_check
def any_near(vertices, choose, places, reach, out):
    """Whether a chosen vertex lies within `reach` of one of the places (row, place, 3), into out, per row.

    The vertices lie in lists by cells of `reach`, which a table finds; cells that share a list do no harm.
    """
    size = 1024
    while size < vertices.shape[0]:
        size *= 2
    first, following = np.full(size, -1, np.int32), np.empty(vertices.shape[0], np.int32)
    for v in range(vertices.shape[0] - 1, -1, -1):
        if choose[v]:
            x, y, z = (
                np.floor(vertices[v, 0] / reach),
                np.floor(vertices[v, 1] / reach),
                np.floor(vertices[v, 2] / reach),
            )
            slot = _hashed(x, y, z) & (size - 1)
            following[v] = first[slot]
            first[slot] = v
    for row in range(places.shape[0]):
        out[row] = False
        for p in range(places.shape[1]):
            for near in range(27):
                if out[row]:
                    break
                x = np.floor(places[row, p, 0] / reach) + (near % 3 - 1)
                y = np.floor(places[row, p, 1] / reach) + (near // 3 % 3 - 1)
                z = np.floor(places[row, p, 2] / reach) + (near // 9 - 1)
                v = first[_hashed(x, y, z) & (size - 1)]
                while v >= 0 and not out[row]:
                    dx, dy = vertices[v, 0] - places[row, p, 0], vertices[v, 1] - places[row, p, 1]
                    dz = vertices[v, 2] - places[row, p, 2]
                    out[row] = dx * dx + dy * dy + dz * dz <= reach * reach
                    v = following[v]


@kernel
@no_type_check
def inside_crop(vertices, centre, radius, depth, keep):
    """Keep only those vertices that also lie within `radius` of the centre and at most `depth` behind it."""
    for v in range(vertices.shape[0]):
        # Rounded as `move_points` rounds.
        x = np.float32(np.float64(vertices[v, 0]) - centre[0])
        y = np.float32(np.float64(vertices[v, 1]) - centre[1])
        z = np.float32(np.float64(vertices[v, 2]) - centre[2])
        keep[v] &= (np.sqrt(x * x + y * y + z * z) <= radius) & (z >= -depth)


@kernel
@no_type_check
def move_and_crop(points, rotation, translation, centre, radius, depth, keep, out):
    """`move_points` without a scale, then by -centre, into out; and `inside_crop` of what was moved, about zero."""
    ax, ay, az = np.float64(rotation[0, 0]), np.float64(rotation[0, 1]), np.float64(rotation[0, 2])
    bx, by, bz = np.float64(rotation[1, 0]), np.float64(rotation[1, 1]), np.float64(rotation[1, 2])
    cx, cy, cz = np.float64(rotation[2, 0]), np.float64(rotation[2, 1]), np.float64(rotation[2, 2])
    shift_x, shift_y, shift_z = np.float64(translation[0]), np.float64(translation[1]), np.float64(translation[2])
    centre_x, centre_y, centre_z = np.float64(centre[0]), np.float64(centre[1]), np.float64(centre[2])
    for p in range(points.shape[0]):
        x, y, z = points[p, 0] + shift_x, points[p, 1] + shift_y, points[p, 2] + shift_z
        # Rounded after each of the two moves.
        u = np.float32(np.float64(np.float32(ax * x + ay * y + az * z)) - centre_x)
        v = np.float32(np.float64(np.float32(bx * x + by * y + bz * z)) - centre_y)
        w = np.float32(np.float64(np.float32(cx * x + cy * y + cz * z)) - centre_z)
        out[p, 0], out[p, 1], out[p, 2] = u, v, w
        keep[p] &= (np.sqrt(u * u + v * v + w * w) <= radius) & (w >= -depth)


@kernel
@no_type_check
def foremost(points, keep, rotation, translation, reach, depth, mean):
    """Mean, into `mean`, of the foremost of the kept points within `reach` (3) of zero once they are moved.

    Points are moved as `move_points` does. The foremost lie at most `depth` behind the third highest z; returns how
    many points are within reach, and no mean where these are less than three.
    """
    cube = np.float32(np.sqrt(reach[0] ** 2 + reach[1] ** 2 + reach[2] ** 2) + 1)  # in the axes before the turn
    ax, ay, az = np.float64(rotation[0, 0]), np.float64(rotation[0, 1]), np.float64(rotation[0, 2])
    bx, by, bz = np.float64(rotation[1, 0]), np.float64(rotation[1, 1]), np.float64(rotation[1, 2])
    cx, cy, cz = np.float64(rotation[2, 0]), np.float64(rotation[2, 1]), np.float64(rotation[2, 2])
    shift_x, shift_y, shift_z = np.float64(translation[0]), np.float64(translation[1]), np.float64(translation[2])
    reach_x, reach_y, reach_z = reach[0], reach[1], reach[2]
    likely, num_likely, count = np.empty((points.shape[0], 3), np.float32), 0, 0
    first = second = third = np.float32(-np.inf)
    for p in range(points.shape[0]):
        x, y, z = points[p, 0] + shift_x, points[p, 1] + shift_y, points[p, 2] + shift_z
        if not (keep[p] & (abs(x) <= cube) & (abs(y) <= cube) & (abs(z) <= cube)):
            continue
        u, v = np.float32(ax * x + ay * y + az * z), np.float32(bx * x + by * y + bz * z)
        height = np.float32(cx * x + cy * y + cz * z)
        if not ((abs(u) <= reach_x) & (abs(v) <= reach_y) & (abs(height) <= reach_z)):
            continue
        count += 1
        if height > third:
            third = min(height, second)
            second = max(min(height, first), second)
            first = max(height, first)
        if height >= third - depth:
            likely[num_likely, 0], likely[num_likely, 1], likely[num_likely, 2] = u, v, height
            num_likely += 1
    if count < 3:
        return count
    total, number = np.zeros(3, np.float32), 0
    for p in range(num_likely):
        if likely[p, 2] >= third - depth:
            total += likely[p]
            number += 1
    mean[:] = total / np.float32(number)
    return count


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

    `grid` has a margin of `reach` cells of NaN. The three results, of zeros, have the grid's columns and its rows
    without the margin; cell (row, column) of the inner grid is their (row, column), and the last columns mean nothing.
    """
    columns = grid.shape[1]
    flat, length = grid.ravel(), total.size - 2 * reach
    first = reach * columns + reach
    here = flat[first : first + length]
    for o in range(offsets.shape[0]):
        # All rows at once, margins included: a loop for each row of some dozens of cells takes five times as long.
        start = first + offsets[o, 0] * columns + offsets[o, 1]
        _compare(flat[start : start + length], here, total.ravel(), number.ravel(), higher.ravel())


@kernel
@no_type_check
def _compare(others, here, total, number, higher):
    """`compare_with_ring` for one step."""
    for k in range(here.shape[0]):
        known = others[k] == others[k]
        total[k] += others[k] if known else np.float32(0)
        number[k] += known
        higher[k] += others[k] > here[k]


@kernel
@no_type_check
def spaced_rows(centres, spacing, count, rows):
    """Rows of the first `count` centres no nearer than `spacing` in x and y to one before; returns how many."""
    found = 0
    for c in range(centres.shape[0]):
        is_free = True
        for k in range(found):
            dx, dy = centres[c, 0] - centres[rows[k], 0], centres[c, 1] - centres[rows[k], 1]
            is_free &= np.sqrt(dx * dx + dy * dy) >= spacing
        if is_free:
            rows[found] = c
            found += 1
            if found == count:
                break
    return found


@kernel
@no_type_check
def cumulated_areas(vertices, faces, step, keep, triangles, area):
    """Every `step`-th face whose first corner is kept, and the sum of twice the areas up to it; returns how many."""
    count, total = 0, 0.0
    for f in range(0, faces.shape[0], step):
        a, b, c = _corners(faces, f)
        if not keep[a]:
            continue
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        total += np.float64(np.sqrt(x * x + y * y + z * z))
        triangles[count], area[count] = f, total
        count += 1
    return count


@kernel
@no_type_check
def points_on_triangles(vertices, faces, triangles, area, ratio, points):
    """Spread points over the triangles evenly by their cumulated areas; inside a triangle by powers of 1 / ratio."""
    place, number = 0, points.shape[0]
    for p in range(number):
        index = p + 0.5
        while area[place] < index / number * area[-1]:
            place += 1
        along, across = (index / ratio) % 1, (index / ratio**2) % 1
        if along + across > 1:
            along, across = 1 - along, 1 - across
        a, b, c = _corners(faces, triangles[place])
        for k in range(3):
            corner = vertices[a, k]
            points[p, k] = corner + along * (vertices[b, k] - corner) + across * (vertices[c, k] - corner)
