"""Compiled loops that make triangles of index lists, and merge vertices. See `_kernels`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from smilevlm.readers._kernels import INDEX_LIMIT, Array, kernel
from smilevlm.readers._status import (
    BAD_INDEX,
    DONE,
    INDEX_OUT_OF_RANGE,
    NOT_AN_INDEX,
    STRUCTURE_MISMATCH,
    TEXTURE_INDEX_OUT_OF_RANGE,
    TOO_SHORT,
)

ONE, TWO, THREE = np.uint64(1), np.uint64(2), np.uint64(3)


@kernel
@no_type_check
def count_triangles(
    corners: Array, texture_corners: Array, num_vertices: int, num_texture: int
) -> tuple[int, int, int]:
    """Triangles of faces separated by -1, cut as fans: (count, status, ordinal of the bad index).

    Degenerate triangles are not counted. `texture_corners` runs parallel, -2 for a corner without texture; it is
    empty for a mesh without texture coordinates.
    """
    total = 0
    with_texture = len(texture_corners) > 0
    size = 0
    first = -1
    previous = -1
    for i in range(len(corners)):
        corner = corners[i]
        if corner >= num_vertices or corner < -1:
            return total, INDEX_OUT_OF_RANGE, i
        if with_texture:
            if i >= len(texture_corners):
                if corner == -1 and i == len(corners) - 1:
                    break
                return total, STRUCTURE_MISMATCH, i
            if (texture_corners[i] == -1) != (corner == -1):
                return total, STRUCTURE_MISMATCH, i
            if texture_corners[i] >= num_texture:
                return total, TEXTURE_INDEX_OUT_OF_RANGE, i
        if corner == -1:
            size = 0
            continue
        size += 1
        if size == 1:
            first = corner
        elif size > 2 and first != previous and first != corner and previous != corner:
            total += 1
        previous = corner
    return total, DONE, 0


@kernel
@no_type_check
def fill_triangles(
    corners: Array, texture_corners: Array, texture_points: Array, faces: Array, uv: Array, flipped: bool
) -> None:
    """Write what `count_triangles` counted; `uv` has no rows for a mesh without texture coordinates."""
    with_texture = len(uv) > 0
    row = 0
    size = 0
    first = 0
    second, third = (2, 1) if flipped else (1, 2)
    for i in range(len(corners)):
        if corners[i] == -1:
            size = 0
            continue
        size += 1
        if size == 1:
            first = i
            continue
        a, b, c = corners[first], corners[i - 1], corners[i]
        if size > 2 and a != b and a != c and b != c:
            faces[row, 0] = a
            faces[row, second] = b
            faces[row, third] = c
            if with_texture:
                for slot, j in ((0, first), (second, i - 1), (third, i)):
                    k = texture_corners[j]
                    uv[row, slot, 0] = texture_points[k, 0] if k >= 0 else 0.0
                    uv[row, slot, 1] = texture_points[k, 1] if k >= 0 else 0.0
            row += 1


@kernel
@no_type_check
def plain_triangles(corners: Array, num_vertices: int, points: Array, faces: Array, uv: Array) -> bool:
    """Do the work of both above where all is as in a scan: proper triangles, and texture by the same indices.

    `points` and `uv` have no rows for a mesh without texture coordinates. False as soon as anything is different.
    """
    known = min(num_vertices, len(points)) if len(uv) > 0 else num_vertices
    for f in range(len(faces)):
        # Unsigned, a negative index is a large one, and using it costs no test.
        at = np.uint64(4 * f)
        a, b, c = np.uint32(corners[at]), np.uint32(corners[at + ONE]), np.uint32(corners[at + TWO])
        proper = (max(a, b, c) < known) & (a != b) & (b != c) & (c != a)
        if not (proper & (corners[at + THREE] == -1)):
            return False
        faces[f, 0], faces[f, 1], faces[f, 2] = a, b, c
        if len(uv) > 0:
            uv[f, 0, 0], uv[f, 0, 1] = points[a, 0], points[a, 1]
            uv[f, 1, 0], uv[f, 1, 1] = points[b, 0], points[b, 1]
            uv[f, 2, 0], uv[f, 2, 1] = points[c, 0], points[c, 1]
    return True


@kernel
@no_type_check
def polygons_from_rows(values: Array, row_starts: Array, first_row: int, corners: Array) -> tuple[int, int, int]:
    """Rows `n i1 ... in [colour]` as faces separated by -1: (count, status, row). BAD_INDEX where none is written."""
    count = 0
    for row in range(first_row, len(row_starts) - 1):
        start, end = row_starts[row], row_starts[row + 1]
        size = values[start]
        if size != np.floor(size) or size < 0:
            return count, NOT_AN_INDEX, row
        if start + 1 + size > end:
            return count, TOO_SHORT, row
        for i in range(start + 1, start + 1 + int(size)):
            index = values[i]
            is_index = index == np.floor(index) and 0 <= index <= INDEX_LIMIT
            corners[count] = index if is_index else BAD_INDEX
            count += 1
        corners[count] = -1
        count += 1
    return count, DONE, 0


@kernel
@no_type_check
def polygons_from_words(words: Array, num_faces: int, corners: Array) -> tuple[int, int]:
    """Faces `n i1 ... in m c1 ... cm` of a binary OFF as faces separated by -1: (count, whole faces)."""
    count = 0
    i = 0
    stop = len(words)
    for face in range(num_faces):
        if i >= stop or words[i] < 0 or words[i] > stop - i - 2:
            return count, face
        size = words[i]
        num_colors = words[i + 1 + size]
        if num_colors < 0 or num_colors > stop - i - 2 - size:
            return count, face
        for k in range(i + 1, i + 1 + size):
            corners[count] = words[k] if words[k] >= 0 else BAD_INDEX
            count += 1
        corners[count] = -1
        count += 1
        i += 2 + size + num_colors
    return count, num_faces


@kernel
@no_type_check
def merge_identical(points: Array, seed: int, first_rows: Array, merged: Array) -> int:
    """Number rows with the same bits alike, in order of first appearance; returns how many there are.

    Args:
        points: (n, 3) int32 views of float32 rows.
        seed: Any number: makes it impractical to write a file whose rows all collide.
        first_rows: (n,) receives the row of each number's first appearance.
        merged: (n,) receives each row's number.
    """
    size = 16
    while size < 2 * len(points):
        size *= 2
    table = np.full(size, -1, np.int32)
    mask = np.uint64(size - 1)
    count = 0
    for row in range(len(points)):
        value = np.uint64(seed)
        for axis in range(3):
            value = (value ^ np.uint64(np.uint32(points[row, axis]))) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(29)
        slot = value & mask
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = count
                first_rows[count] = row
                merged[row] = count
                count += 1
                break
            known = first_rows[other]
            if (
                points[known, 0] == points[row, 0]
                and points[known, 1] == points[row, 1]
                and points[known, 2] == points[row, 2]
            ):
                merged[row] = other
                break
            slot = (slot + np.uint64(1)) & mask
    return count
