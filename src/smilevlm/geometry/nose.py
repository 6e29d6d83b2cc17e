"""First guesses of the nose tip in a face that roughly looks along +z."""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float32, Int64

from smilevlm.typing import Vertices

_CELL_MM = 4.0
_RING_MM = (22.0, 40.0)
_SPACING_MM = 25.0


def height_grid(points_mm: Vertices) -> tuple[Float32[np.ndarray, "row column"], Float32[np.ndarray, " 2"]]:
    """The largest z per cell of the frontal plane, and the (x, y) of cell (0, 0)'s corner; NaN where empty."""
    from smilevlm.geometry import kernels, search_kernels

    flat = np.ascontiguousarray(points_mm[:, :2].T)
    low = flat.min(axis=1) - 2 * _CELL_MM
    columns, rows = ((flat.max(axis=1) - low) / _CELL_MM).astype(np.int64) + 3
    grid = np.full((rows, columns), np.nan, np.float32)
    kernels.highest_per_cell(points_mm, low[0], low[1], np.float32(_CELL_MM), grid)
    filled = np.empty_like(grid)
    search_kernels.fill_gaps(grid, filled)
    return filled, low.astype(np.float32)


def nose_candidates(points_mm: Vertices, *, count: int) -> Float32[np.ndarray, "candidate 3"]:
    """Peaks of the surface, by their height over a ring around them, the most prominent first.

    Args:
        points_mm: Surface points, millimetres, +z roughly out of the face.
        count: How many to return at most; they lie at least 25 mm apart.

    Returns:
        Points (n, 3), n <= count; empty when no cell has enough surface around it.
    """
    grid, low = height_grid(points_mm)
    row, column = prominent_cells(grid, _CELL_MM, most=50 * count)
    centres = np.stack(
        [low[0] + (column + 0.5) * _CELL_MM, low[1] + (row + 0.5) * _CELL_MM, grid[row, column]], axis=1
    ).astype(np.float32)
    return centres[spaced(centres, count)]


def prominent_cells(
    grid: Float32[np.ndarray, "row column"], cell_mm: float, *, most: int
) -> tuple[Int64[np.ndarray, " cell"], Int64[np.ndarray, " cell"]]:
    """Rows and columns of at most so many cells with enough surface around them, the most prominent first."""
    from smilevlm.geometry import kernels

    offsets, reach = _ring(cell_mm)
    rows, columns = grid.shape
    padded = np.full((rows + 2 * reach, columns + 2 * reach), np.nan, np.float32)
    padded[reach : reach + rows, reach : reach + columns] = grid
    wide = rows, columns + 2 * reach
    total, number, higher = np.zeros(wide), np.zeros(wide, np.int32), np.zeros(wide, np.int32)
    kernels.compare_with_ring(padded, offsets, reach, total, number, higher)
    total, number, higher = total[:, :columns], number[:, :columns], higher[:, :columns]
    # A nose has face all around it; the rim of a crop, a chin or hair does not.
    usable = np.isfinite(grid) & (number >= 0.6 * len(offsets)) & (higher <= 0.25 * number)
    row, column = np.nonzero(usable)
    prominence = (grid - total / np.maximum(number, 1))[usable]
    order = np.argsort(-prominence, kind="stable")[:most]
    return row[order], column[order]


@functools.cache
def _ring(cell_mm: float) -> tuple[Int64[np.ndarray, "cell 2"], int]:
    """Steps (row, column) to the cells of the ring, and the longest of them along one axis."""
    reach = int(np.ceil(_RING_MM[1] / cell_mm))
    steps = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = np.hypot(*offsets.T) * cell_mm
    return offsets[(distance >= _RING_MM[0]) & (distance <= _RING_MM[1])], reach


def spaced(centres: Float32[np.ndarray, "peak 3"], count: int) -> list[int]:
    """The first peaks, leaving out what is too near to one before in the frontal plane."""
    from smilevlm.geometry import kernels

    rows = np.empty(count, np.int64)
    return rows[: kernels.spaced_rows(centres, np.float32(_SPACING_MM), count, rows)].tolist()
