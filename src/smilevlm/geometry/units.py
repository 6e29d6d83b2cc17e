"""Which unit a scan is in: faces differ by a factor of two, units by ten."""

from __future__ import annotations

import numpy as np

from smilevlm.errors import MeshError
from smilevlm.typing import Vertices

_UNIT_NAMES = {1.0: "mm", 10.0: "cm", 100.0: "dm", 1000.0: "m", 0.001: "um"}
_SMALLEST_MM = 89.0
"""A face crop is hardly smaller; ten times this, 890 mm, holds a head with neck and shoulders."""

_NUM_POINTS = 5000
"""About so many, evenly spread over the list of vertices, tell a scan's extent as well as all of them."""


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
    some = vertices[:: max(1, len(vertices) // _NUM_POINTS)]
    low, high = np.percentile(some.T.astype(np.float64, order="C"), [1, 99], axis=1)
    extent = float((high - low).max())
    if not np.isfinite(extent) or extent <= 0:
        raise MeshError("all vertices lie in one point: there is no face to find")
    exponent = -int(np.floor(np.log10(extent / _SMALLEST_MM)))
    factor = float(10.0**exponent)
    return factor, _UNIT_NAMES.get(factor, "unknown")
