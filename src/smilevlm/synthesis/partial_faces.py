"""Scans that show a part of the face alone: its lower or its upper half, or one side of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool

from smilevlm.typing import Vertices

FacePart = Literal["lower", "upper", "profile"]
"""What is left: mouth and nose; eyes and nose; the nose and one side."""
PARTIAL_SHARE = 0.06
_NUM_WAVES = 6


@dataclass(frozen=True, kw_only=True)
class PartialFace:
    """A cut through the face with a ragged rim.

    Args:
        part: What is left.
        axis: Of the face frame, 0 or 1, along which is cut.
        sign: 1 keeps what lies above the cut on this axis, -1 what lies below.
        cut_mm: Where, on the middle line of the face.
        tilt: How the cut runs off, in mm per mm.
        waves: (amplitude in mm, phase) of the rim, from 30 mm per radian on.
    """

    part: FacePart
    axis: int
    sign: float
    cut_mm: float
    tilt: float
    waves: tuple[tuple[float, float], ...]

    def keeps(self, points_mm: Vertices) -> Bool[np.ndarray, " vert"]:
        """Which points of the face frame are left."""
        along = points_mm[:, 1 - self.axis]
        rim = self.cut_mm + self.tilt * along
        for number, (size, phase) in enumerate(self.waves, 1):
            rim = rim + size * np.sin(number * along / 30 + phase)
        return self.sign * (points_mm[:, self.axis] - rim) > 0


def draw_partial(rng: np.random.Generator) -> PartialFace | None:
    """Draw the part of a face that a scan shows, None for all of it; the three parts are equally frequent."""
    if rng.uniform() >= PARTIAL_SHARE:
        return None
    return draw_part(rng, get_args(FacePart)[int(rng.integers(3))])


def draw_part(rng: np.random.Generator, part: FacePart) -> PartialFace:
    """Draw a cut that leaves this part, the nose tip always in it."""
    if part == "profile":
        axis, sign, cut_mm = 0, 1.0 if rng.uniform() < 0.5 else -1.0, float(rng.uniform(10, 26))
        cut_mm *= -sign
    else:
        axis, sign = 1, 1.0 if part == "upper" else -1.0
        cut_mm = float(rng.uniform(-22, -12) if part == "upper" else rng.uniform(32, 55))
    waves = tuple(zip(rng.normal(0, 0.8, _NUM_WAVES).tolist(), rng.uniform(0, 2 * np.pi, _NUM_WAVES), strict=True))
    return PartialFace(part=part, axis=axis, sign=sign, cut_mm=cut_mm, tilt=float(rng.normal(0, 0.06)), waves=waves)
