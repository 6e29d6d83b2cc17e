"""Micro-expressions as 4DME describes them: a few action units, a fraction of a second, barely visible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from smilevlm.readers import ActionUnit
from smilevlm.synthesis.action_units import ACTION_UNITS, sides
from smilevlm.synthesis.motion import Motion, MotionContext, combine, eyelid_closures, idle_movement, plateau, sway

MICRO_UNITS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "positive": ((12,), (6, 12), (6,), (12, 25), (6, 12, 7)),
    "negative": ((4,), (4, 7), (7,), (9,), (10,), (4, 9), (1, 4), (15,), (20,), (4, 15)),
    "surprise": ((1, 2), (2,), (1, 2, 5), (5,), (1, 2, 26)),
    "repression": ((17,), (24,), (15, 17), (14, 17), (23,), (14, 24)),
    "others": ((14,), (16,), (18,), (28,), (22,), (1,), (18, 25)),
}
"""Combinations of action units that each class is shown by.

Source: FACS; Davison et al., Objective Classes for Micro-Facial Expression Recognition, J. Imaging 2018; for
repression the lip and chin movements that hold a smile back. Assumption: 4DME's own table was not at hand.
"""
_ONE_SIDED = frozenset({2, 4, 6, 7, 9, 10, 12, 14, 15, 20, 24})
_INTENSITY = (0.08, 0.25)
MAX_AMPLITUDE = 1 / _INTENSITY[1]
"""With it the strongest movement is that of a full action unit."""
STATIC_INTENSITY = 0.3
"""Of what is kept still all the time, as a share of a full unit."""
_NUM_FRAMES = (12, 30)
"""From onset to offset, both counted: 0.2 to 0.5 seconds at 60 frames per second."""
_MARGIN = (2, 6)
"""Frames before onset and after offset."""


@dataclass(frozen=True, kw_only=True)
class MicroExpression:
    """One clip's movement.

    Args:
        labels: Its classes, of `MICRO_EXPRESSIONS`.
        units: What moves, and what is kept still all the time (`static`).
        blinks: Whether the eyes blink too.
        intensity: Of the moving units, as a share of full ones.
        num_frames: Of the clip, margins included.
        onset: The first frame that shows the movement.
        apex: Where it is strongest.
        offset: The last frame that shows it.
    """

    labels: tuple[str, ...]
    units: tuple[ActionUnit, ...]
    blinks: bool
    intensity: float
    num_frames: int
    onset: int
    apex: int
    offset: int


def draw_micro_expression(rng: np.random.Generator, labels: tuple[str, ...], amplitude: float = 1.0) -> MicroExpression:
    """Draw what one clip shows.

    Args:
        rng: The clip's own generator.
        labels: Of `MICRO_EXPRESSIONS`; each adds a combination of action units.
        amplitude: Factor on the movement, in (0, `MAX_AMPLITUDE`].
    """
    moving: list[int] = []
    for label in labels:
        combinations = MICRO_UNITS[label]
        moving += [unit for unit in combinations[int(rng.integers(len(combinations)))] if unit not in moving]
    one_sided = [unit for unit in moving if unit in _ONE_SIDED]
    side = {one_sided[0]: str(rng.choice(["L", "R"]))} if one_sided and rng.uniform() < 0.3 else {}
    units = [ActionUnit(number=unit, side=side.get(unit, "")) for unit in sorted(moving)]
    if rng.uniform() < 0.15:
        resting = [unit for unit in (4, 7, 12, 14, 17) if unit not in moving]
        units.append(ActionUnit(number=int(rng.choice(resting)), static=True))
    length = int(rng.integers(_NUM_FRAMES[0], _NUM_FRAMES[1] + 1))
    before, after = (int(rng.integers(_MARGIN[0], _MARGIN[1] + 1)) for _ in range(2))
    return MicroExpression(
        labels=labels,
        units=tuple(units),
        blinks=bool(rng.uniform() < 0.12),
        # Movements of several units add up where they meet.
        intensity=amplitude * float(rng.uniform(*_INTENSITY) / np.sqrt(len(moving))),
        num_frames=before + length + after,
        onset=before,
        apex=before + round(float(rng.uniform(0.35, 0.6)) * (length - 1)),
        offset=before + length - 1,
    )


def micro_motion(rng: np.random.Generator, context: MotionContext, micro: MicroExpression) -> Motion:
    """What the face does in a clip; `context` has as many frames as the clip."""
    resting = _strengths(context, tuple(unit for unit in micro.units if unit.static), STATIC_INTENSITY)
    movements = [_moving(context, micro), context.strengths(resting), idle_movement(rng, context, scale=0.08)]
    if micro.blinks:
        movements.append(eyelid_closures(rng, context, [float(rng.uniform(0, 0.5)) * context.duration_s]))
    angles, displaced = sway(rng, context, angles_deg=(0.25, 0.25, 0.15), offset_mm=0.3)
    return Motion(
        actions=context.facial_actions,
        strength=combine(*movements),
        angles_deg=angles,
        offset_mm=displaced,
        onset=micro.onset,
        apex=micro.apex,
        offset=micro.offset,
    )


def _moving(context: MotionContext, micro: MicroExpression) -> Float64[np.ndarray, "time action"]:
    """Zero outside onset and offset, largest at the apex."""
    step = float(context.time_s[1])
    envelope = plateau(
        context.time_s,
        start=(micro.onset - 1) * step,
        peak=micro.apex * step,
        release=micro.apex * step,
        end=(micro.offset + 1) * step,
    )
    full = _strengths(context, tuple(unit for unit in micro.units if not unit.static), micro.intensity)
    return envelope[:, None] * context.strengths(full)


def _strengths(context: MotionContext, units: tuple[ActionUnit, ...], intensity: float) -> dict[str, float]:
    strengths: dict[str, float] = {}
    for unit in units:
        for action, full in ACTION_UNITS[unit.number].items():
            for name in sides(action, context.facial_actions, unit.side):
                strengths[name] = max(strengths.get(name, 0.0), intensity * full)
    return strengths
