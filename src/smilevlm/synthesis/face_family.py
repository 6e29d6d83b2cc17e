"""Faces as another face model would have them: another mean shape, and expressions that move the skin in other ways.

Every face model (blend shapes by an artist, statistics of scans) bends the same facial action into a slightly different
displacement field: smoother or sharper, stronger here and weaker there, more outward or more sideways. Here such a
model is drawn at random: a smooth change of space for the shape, and a smooth change of the displacements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from smilevlm.synthesis.rigs.rig import RigSurface
from smilevlm.typing import Vertices

_FACE_LOW_MM, _FACE_HIGH_MM = np.array([0.0, -85.0, -80.0]), np.array([75.0, 95.0, 8.0])
"""Where the centres of bumps lie, on the viewer's right; each has a mirror image on the left."""
_RESTING_FEATURES = (
    # place in mm (viewer's right), width in mm, spread of the height in mm along x, y, z
    ((16.0, 54.0, -14.0), 12.0, (0.6, 1.3, 1.4)),  # inner brow
    ((42.0, 56.0, -22.0), 14.0, (0.6, 1.3, 1.2)),  # outer brow
    ((31.0, 44.0, -24.0), 9.0, (0.4, 0.7, 0.7)),  # upper lid
    ((31.0, 33.0, -26.0), 9.0, (0.4, 0.6, 0.8)),  # lower lid
    ((22.0, -32.0, -22.0), 10.0, (1.0, 1.0, 0.8)),  # corner of the mouth
    ((7.0, -26.0, -14.0), 8.0, (0.5, 0.6, 0.9)),  # upper lip
    ((7.0, -40.0, -16.0), 9.0, (0.5, 0.6, 0.9)),  # lower lip
    ((24.0, -12.0, -20.0), 12.0, (0.6, 0.6, 1.0)),  # fold from nose to mouth
)
_GAIN_LIMITS = (0.7, 1.6)
"""An action is recorded as strong as the rig shows it; further off, the record would not be true."""
_SMOOTHING_STEPS = (0, 0, 1, 2, 4)
_PEAK = 99.7
"""Percentile of the displacement of all vertices: single ones do not count."""
_STEEPEST = 0.07
"""Standard deviation of a bump's height as a share of its width: space is bent, never folded."""


@dataclass(frozen=True, kw_only=True)
class Bumps:
    """A smooth vector or scalar field: a sum of Gaussian bumps in the face frame, mirrored in pairs.

    Args:
        centres_mm: Of all bumps.
        widths_mm: Standard deviations.
        heights: What each adds at its centre.
    """

    centres_mm: Float64[np.ndarray, "bump 3"]
    widths_mm: Float64[np.ndarray, " bump"]
    heights: Float64[np.ndarray, "bump channel"]

    def at(self, points_mm: Vertices) -> Float32[np.ndarray, "vert channel"]:
        """The field at points of the face frame."""
        centres = self.centres_mm.astype(np.float32)
        squared = (points_mm**2).sum(axis=1)[:, None] - 2 * points_mm @ centres.T + (centres**2).sum(axis=1)
        shares = np.exp(squared * (-0.5 / self.widths_mm.astype(np.float32) ** 2))
        return (shares @ self.heights.astype(np.float32)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class FaceFamily:
    """One face model's way with shapes and expressions.

    Args:
        bend: Displacement in mm that changes the shape of every face of the family.
        stretch: Factor per axis on the whole head.
        gain: Logarithm of how much an expression moves the skin, from place to place.
        axis_gain: Factor per axis on how an expression moves the skin.
        smoothing: Steps by which the displacements are smoothed along the surface; their peak stays what it was.
        eye_size: Factor on the eyeballs about their centres.
        eye_forward_mm: How much further out they lie.
    """

    bend: Bumps
    stretch: Float64[np.ndarray, " 3"]
    gain: Bumps
    axis_gain: Float64[np.ndarray, " 3"]
    smoothing: int
    eye_size: float
    eye_forward_mm: float

    def heads(
        self, surface: RigSurface, neutral_mm: Vertices, expressive_mm: Float32[np.ndarray, "expression vert 3"]
    ) -> Float32[np.ndarray, "expression vert 3"]:
        """Heads of this family, from heads of a rig in the face frame that have the neutral nose tip at the origin."""
        gain = np.clip(np.exp(self.gain.at(neutral_mm)) * self.axis_gain.astype(np.float32), *_GAIN_LIMITS)
        eyeballs = surface.eyes
        gain[eyeballs] = 1
        out = np.empty_like(expressive_mm)
        for number, head in enumerate(expressive_mm):
            shown = neutral_mm + self._smooth(surface, head - neutral_mm) * gain
            shown = shown + self.bend.at(shown)
            self._change_eyes(shown, eyeballs)
            out[number] = shown * self.stretch.astype(np.float32)
        return out

    def _smooth(self, surface: RigSurface, moved_mm: Vertices) -> Vertices:
        smooth = moved_mm
        for _ in range(self.smoothing):
            smooth = surface.skin_average @ smooth
        before, after = (np.percentile(np.linalg.norm(each, axis=1), _PEAK) for each in (moved_mm, smooth))
        return smooth * np.float32(before / after) if self.smoothing and after > 0 else moved_mm

    def _change_eyes(self, head: Vertices, eyeballs: np.ndarray) -> None:
        for side in (head[:, 0] > 0, head[:, 0] < 0):
            ball = eyeballs & side
            if not ball.any():
                continue
            centre = head[ball].mean(axis=0)
            head[ball] = centre + (head[ball] - centre) * np.float32(self.eye_size)
            head[ball, 2] += np.float32(self.eye_forward_mm)


def draw_family(rng: np.random.Generator, *, strength: float = 1.0, log_gain: float = 0.0) -> FaceFamily:
    """Draw one face model.

    Args:
        rng: The person's own generator.
        strength: How unlike the rig, 0 is that rig itself.
        log_gain: See `Rig.log_gain`.
    """
    return FaceFamily(
        bend=_merge_bumps(
            _draw_bumps(rng, count=10, widths_mm=(14.0, 45.0), steepest=_STEEPEST * strength),
            _draw_resting_features(rng, strength),
        ),
        stretch=1 + np.clip(rng.normal(0, 0.05 * strength, 3), -0.12, 0.12),
        gain=_draw_gain(rng, count=6, spread=0.22 * strength),
        axis_gain=np.exp(rng.normal(log_gain * min(strength, 1), 0.17 * strength) + rng.normal(0, 0.13 * strength, 3)),
        smoothing=int(rng.choice(_SMOOTHING_STEPS)) if strength > 0 else 0,
        eye_size=float(np.exp(rng.normal(0, 0.04 * strength))),
        eye_forward_mm=float(rng.normal(0, 0.7 * strength)),
    )


def _draw_bumps(rng: np.random.Generator, *, count: int, widths_mm: tuple[float, float], steepest: float) -> Bumps:
    centres, widths = _draw_positions(rng, count, widths_mm)
    heights = rng.normal(size=(count, 3)) * (steepest * widths)[:, None]
    mirrored = heights * (-1, 1, 1) * np.exp(rng.normal(0, 0.1, (count, 1)))
    return _in_pairs(centres, widths, heights, mirrored)


def _draw_resting_features(rng: np.random.Generator, strength: float) -> Bumps:
    """What makes faces at rest look as if they showed something: low brows, a heavy ridge, corners that hang, lids.

    Source: a real face at rest is read as angry or sad by such features; Said et al., Emotion 9(2), 2009.
    """
    centres, widths, spread = (np.array(each, np.float64) for each in zip(*_RESTING_FEATURES, strict=True))
    heights = rng.normal(size=(len(centres), 3)) * spread * strength
    mirrored = heights * (-1, 1, 1) * np.exp(rng.normal(0, 0.1, (len(centres), 1)))
    return _in_pairs(centres, widths, heights, mirrored)


def _merge_bumps(first: Bumps, second: Bumps) -> Bumps:
    return Bumps(
        centres_mm=np.concatenate([first.centres_mm, second.centres_mm]),
        widths_mm=np.concatenate([first.widths_mm, second.widths_mm]),
        heights=np.concatenate([first.heights, second.heights]),
    )


def _draw_gain(rng: np.random.Generator, *, count: int, spread: float) -> Bumps:
    centres, widths = _draw_positions(rng, count, (22.0, 55.0))
    heights = rng.normal(0, spread, (count, 1))
    return _in_pairs(centres, widths, heights, heights + rng.normal(0, 0.2 * spread, (count, 1)))


def _in_pairs(
    centres_mm: Float64[np.ndarray, "pair 3"],
    widths_mm: Float64[np.ndarray, " pair"],
    right: Float64[np.ndarray, "pair channel"],
    left: Float64[np.ndarray, "pair channel"],
) -> Bumps:
    """Bumps on the viewer's right and their mirror images on the left, with a height each."""
    return Bumps(
        centres_mm=np.concatenate([centres_mm, centres_mm * (-1, 1, 1)]),
        widths_mm=np.tile(widths_mm, 2),
        heights=np.concatenate([right, left]),
    )


def _draw_positions(
    rng: np.random.Generator, count: int, widths_mm: tuple[float, float]
) -> tuple[Float64[np.ndarray, "bump 3"], Float64[np.ndarray, " bump"]]:
    return rng.uniform(_FACE_LOW_MM, _FACE_HIGH_MM, (count, 3)), rng.uniform(*widths_mm, count)
