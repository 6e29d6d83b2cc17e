"""First guesses of the nose tip in a face that roughly looks along +z."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from smilevlm.typing import Vertices

_CELL_MM = 4.0
_RING_MM = (22.0, 40.0)
_SPACING_MM = 25.0


def height_grid(points_mm: Vertices) -> tuple[Float32[np.ndarray, "row column"], Float32[np.ndarray, " 2"]]:
    """The largest z per cell of the frontal plane, and the (x, y) of cell (0, 0)'s corner; NaN where empty."""
    low = points_mm[:, :2].min(axis=0) - 2 * _CELL_MM
    cell = ((points_mm[:, :2] - low) / _CELL_MM).astype(np.int64)
    columns, rows = cell.max(axis=0) + 3
    flat = cell[:, 1] * columns + cell[:, 0]
    order = np.lexsort((points_mm[:, 2], flat))
    last = np.flatnonzero(np.diff(flat[order], append=-1))
    grid = np.full(rows * columns, np.nan, np.float32)
    grid[flat[order][last]] = points_mm[order][last, 2]
    return _fill_single_gaps(grid.reshape(rows, columns)), low.astype(np.float32)


def _fill_single_gaps(grid: np.ndarray) -> np.ndarray:
    shifted = [np.roll(grid, shift, axis) for axis in (0, 1) for shift in (-1, 1)]
    stack = np.stack(shifted)
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    mean = np.where(known, stack, 0).sum(axis=0) / np.maximum(count, 1)
    return np.where(np.isnan(grid) & (count >= 2), mean, grid).astype(np.float32)


def nose_candidates(points_mm: Vertices, *, count: int) -> Float32[np.ndarray, "candidate 3"]:
    """Places that stand out from the ring around them, the most prominent first.

    Args:
        points_mm: Surface points, millimetres, +z roughly out of the face.
        count: How many to return at most; they lie at least 25 mm apart.

    Returns:
        Points (n, 3), n <= count; empty when no cell has enough surface around it.
    """
    grid, low = height_grid(points_mm)
    reach = int(np.ceil(_RING_MM[1] / _CELL_MM))
    padded = np.pad(grid, reach, constant_values=np.nan)
    total = np.zeros(grid.shape, np.float64)
    number = np.zeros(grid.shape, np.int64)
    higher = np.zeros(grid.shape, np.int64)
    ring_cells = 0
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            distance = np.hypot(dx, dy) * _CELL_MM
            if not _RING_MM[0] <= distance <= _RING_MM[1]:
                continue
            ring_cells += 1
            other = padded[reach + dy : reach + dy + grid.shape[0], reach + dx : reach + dx + grid.shape[1]]
            known = np.isfinite(other)
            total += np.where(known, other, 0)
            number += known
            higher += known & (other > grid)
    # A nose has face all around it; the rim of a crop, a chin or hair does not.
    usable = np.isfinite(grid) & (number >= 0.6 * ring_cells)
    prominence = np.where(usable, grid - total / np.maximum(number, 1), -np.inf)
    prominence = np.where(higher > 0.25 * number, -np.inf, prominence)
    found: list[np.ndarray] = []
    for index in np.argsort(-prominence, axis=None, kind="stable")[: 50 * count]:
        row, column = np.unravel_index(index, grid.shape)
        if not np.isfinite(prominence[row, column]) or len(found) == count:
            break
        centre = np.array(
            [low[0] + (column + 0.5) * _CELL_MM, low[1] + (row + 0.5) * _CELL_MM, grid[row, column]], np.float32
        )
        if all(np.hypot(*(centre - f)[:2]) >= _SPACING_MM for f in found):
            found.append(centre)
    return np.array(found, np.float32).reshape(-1, 3)
