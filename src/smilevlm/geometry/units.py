"""Which unit a scan is in: faces differ by a factor of two, units by ten."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import MeshError
from smilevlm.typing import Vertices

_UNIT_NAMES = {1.0: "mm", 10.0: "cm", 100.0: "dm", 1000.0: "m", 0.001: "um"}
_SMALLEST_MM = 89.0
"""A face crop is hardly smaller; ten times this, 890 mm, holds a head with neck and shoulders."""

_NUM_POINTS = 5000
"""About so many, evenly spread over the list of vertices, tell where a scan lies as well as all of them."""


def sample_columns(vertices: Vertices) -> Float32[np.ndarray, "3 few"]:
    """About `_NUM_POINTS` of the vertices, always the same ones, a row per axis."""
    return np.ascontiguousarray(vertices[:: max(1, len(vertices) // _NUM_POINTS)].T)


def column_quantiles(columns: Float32[np.ndarray, "3 few"], *shares: float) -> list[Float32[np.ndarray, " 3"]]:
    """For each share, the value in each row that so much of the row lies below, between two values in proportion."""
    places = [share * (columns.shape[1] - 1) for share in shares]
    neighbours = [(int(np.floor(place)), int(np.ceil(place))) for place in places]
    ordered = np.partition(columns, [place for pair in neighbours for place in pair], axis=1)
    return [
        ordered[:, below] + (ordered[:, above] - ordered[:, below]) * np.float32(place - below)
        for place, (below, above) in zip(places, neighbours, strict=True)
    ]


def find_unit(vertices: Vertices) -> tuple[float, str]:
    """Millimetres per unit, as the power of ten that gives the scan the size of a face or a head.

    Args:
        vertices: Any unit, no frame assumed.

    Returns:
        The factor and the unit's name, `unknown` when the factor is that of no common unit.

    Raises:
        MeshError: The points have no extent.

    Assumption A3: the largest extent between the 1st and 99th percentile lies in [89, 890) mm.
    """
    low, high = column_quantiles(sample_columns(vertices), 0.01, 0.99)
    extent = float((high - low).max())
    if not np.isfinite(extent) or extent <= 0:
        raise MeshError("all vertices lie in one point: there is no face to find")
    exponent = -int(np.floor(np.log10(extent / _SMALLEST_MM)))
    factor = float(10.0**exponent)
    return factor, unit_name(factor)


def unit_name(mm_per_unit: float) -> str:
    """The unit's name, `unknown` when the factor is that of no common unit."""
    return _UNIT_NAMES.get(mm_per_unit, "unknown")
