"""Vertices with the same position made one, for formats that repeat them."""

from __future__ import annotations

import secrets

import numpy as np
from jaxtyping import Float32, Int32


def merge_positions(
    vertices: Float32[np.ndarray, "vert 3"],
) -> tuple[Int32[np.ndarray, " distinct"], Int32[np.ndarray, " vert"]]:
    """Find the vertices whose coordinates have the same bits.

    Args:
        vertices: Positions; minus zero counts as zero.

    Returns:
        The row of each distinct position's first appearance, in order; and for each vertex the number of its position.
    """
    from smilevlm.readers._kernels_formats import merge_identical

    keys = vertices + np.float32(0)  # -0 becomes 0: the same place with other bits
    first_rows, merged = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    count = merge_identical(keys.view(np.int32), secrets.randbits(62), first_rows, merged)
    return first_rows[:count], merged
