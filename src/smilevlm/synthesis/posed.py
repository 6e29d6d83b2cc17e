"""A posed expression as BU-4DFE records it, and how clearly, how regularly and how undisturbed people act it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from smilevlm.errors import SettingsError
from smilevlm.labels import NEUTRAL
from smilevlm.synthesis.expressions import RECIPES, by_side
from smilevlm.synthesis.motion import (
    Motion,
    MotionContext,
    Phase,
    TimeAxis,
    animate_expression,
    blinks,
    combine,
    eyelid_closures,
    idle_movement,
    limit_angles,
    phase_frames,
    plateau,
    sway,
)
from smilevlm.synthesis.spontaneous import talking

_SECONDS_OF_A_POSED_SEQUENCE = 4.0
_SHORTEST_RISE = 0.07
"""Of the sequence."""
_PEAK_WITHIN = (0.2, 0.8)
"""Where in the sequence the expression reaches its peak, however early or late people begin."""
_SWALLOW = {"mouthPress": 0.5, "mouthShrugLower": 0.4, "mouthRollLower": 0.3}
_FIDGETS = (
    "mouthPress", "mouthPucker", "mouthRollLower", "mouthDimple", "mouthSide", "jawSide", "cheekPuff", "mouthStretch",
    "browInnerUp", "browOuterUp", "browDown", "eyeSquint", "noseSneer", "jawOpen", "mouthShrugUpper",
)  # fmt: skip
"""Single movements that people make beside what they act: lips pressed, a twitch of the brow, a yawn held back."""


@dataclass(frozen=True, kw_only=True)
class ActingSettings:
    """How people act. The defaults are hard to read; `REGULAR` is as clear and regular as acting can be.

    Args:
        intensity: Of the weakest and the strongest expression, where 1 is full.
        blend: Another expression mixes in, with up to this share of the acted one's intensity; in [0, 1].
        irregularity: Of the timing, in [0, 1]: early and late beginnings (before the recording, too), ends after the
            recording, other speeds, brows and mouth at different times, a return in between and a second peak.
        distraction: Movement that is no expression, in [0, 2]: 0 for what any face does at rest, from there on also
            speech, swallowing, fidgeting, more blinks, more gaze, and a head that sways more.
    """

    intensity: tuple[float, float] = (0.6, 1.05)
    blend: float = 0.3
    irregularity: float = 0.5
    distraction: float = 0.5

    def __post_init__(self) -> None:
        low, high = self.intensity
        if not 0 < low <= high <= 1.2:
            raise SettingsError(f"acting.intensity is {self.intensity}; expected lowest and highest above 0 to 1.2")
        for name, most in (("blend", 1), ("irregularity", 1), ("distraction", 2)):
            if not 0 <= getattr(self, name) <= most:
                raise SettingsError(f"acting.{name} is {getattr(self, name)}; expected 0 to {most}")


REGULAR = ActingSettings(intensity=(0.8, 1.1), blend=0.0, irregularity=0.0, distraction=0.0)


def posed_motion(
    rng: np.random.Generator, context: MotionContext, expression: str, acting: ActingSettings = REGULAR
) -> Motion:
    """Neutral, onset, apex, offset, neutral: one posed expression (or `neutral` for none) over the whole sequence.

    With irregular acting the sequence may begin or end while the expression is there.
    """
    # A stream beside the one that regular acting draws from, which thus does not depend on what is added to it.
    beside = rng.spawn(1)[0]
    phase = _irregular(beside, context, _posed_phase(rng, context), acting.irregularity)
    acted = animate_expression(
        rng,
        context,
        expression,
        intensity=float(rng.uniform(*acting.intensity)),
        phase=phase,
        upper_phase=_out_of_step(beside, context, phase, acting.irregularity),
    )
    acted = acted * _returns(beside, context, phase, acting.irregularity)[:, None]
    mixed = _blend(beside, context, expression, acting)
    strength = combine(
        acted,
        idle_movement(rng, context, scale=1 + acting.distraction),
        blinks(rng, context),
        mixed,
        _distractions(beside, context, acting.distraction),
    )
    angles, offset = sway(rng, context, angles_deg=(1.6, 1.4, 0.8), offset_mm=1.5)
    envelope = plateau(context.time_s, start=phase.start, peak=phase.peak, release=phase.release, end=phase.end)
    angles = angles * (1 + acting.distraction) + envelope[:, None] * rng.normal(0, 2.2, 3)
    onset, apex, last = phase_frames(acted)
    return Motion(
        actions=context.facial_actions,
        strength=strength,
        angles_deg=limit_angles(angles),
        offset_mm=offset,
        onset=onset,
        apex=apex,
        offset=last,
    )


def _posed_phase(rng: np.random.Generator, context: MotionContext) -> Phase:
    duration = context.duration_s
    # A sequence of fewer frames shows the whole expression too, faster.
    pace = min(1.0, duration / _SECONDS_OF_A_POSED_SEQUENCE)
    start = float(rng.uniform(0.06, 0.2)) * duration
    latest = float(rng.uniform(0.8, 0.94)) * duration
    rise = context.tempo.onset_s * pace * float(np.exp(rng.normal(0, 0.12)))
    fall = context.tempo.offset_s * pace * float(np.exp(rng.normal(0, 0.12)))
    squeeze = min(1.0, 0.85 * (latest - start) / (rise + fall))
    rise, fall = rise * squeeze, fall * squeeze
    free = latest - start - rise - fall
    hold = free * float(np.clip(context.tempo.hold + rng.normal(0, 0.1), 0.15, 1))
    start += (free - hold) * float(rng.uniform(0.2, 0.8))
    return Phase(start=start, peak=start + rise, release=start + rise + hold, end=start + rise + hold + fall)


def _irregular(rng: np.random.Generator, context: MotionContext, phase: Phase, amount: float) -> Phase:
    """The same movement faster or slower, held longer or shorter, and earlier or later."""
    if amount == 0:
        return phase
    duration = context.duration_s
    rise, hold, fall = (
        length * float(np.exp(amount * np.clip(rng.normal(0, 0.5), -1, 1)))
        for length in (phase.peak - phase.start, phase.release - phase.peak, phase.end - phase.release)
    )
    peak = phase.peak + amount * float(rng.uniform(-0.4, 0.4)) * duration
    first, last = (share * duration for share in _PEAK_WITHIN)
    peak = min(max(peak, first), last)
    return _phase(duration, peak=peak, rise=rise, hold=hold, fall=fall)


def _out_of_step(rng: np.random.Generator, context: MotionContext, phase: Phase, amount: float) -> Phase:
    """When brows, eyes and cheeks move: earlier or later than the mouth, and with other speeds."""
    if amount == 0:
        return phase
    rise, fall = (
        length * float(np.exp(amount * np.clip(rng.normal(0, 0.35), -0.7, 0.7)))
        for length in (phase.peak - phase.start, phase.end - phase.release)
    )
    peak = phase.peak + amount * float(np.clip(rng.normal(0, 0.07), -0.14, 0.14)) * context.duration_s
    return _phase(context.duration_s, peak=peak, rise=rise, hold=phase.release - phase.peak, fall=fall)


def _phase(duration_s: float, *, peak: float, rise: float, hold: float, fall: float) -> Phase:
    rise, fall = (max(length, _SHORTEST_RISE * duration_s) for length in (rise, fall))
    return Phase(start=peak - rise, peak=peak, release=peak + hold, end=peak + hold + fall)


def _returns(rng: np.random.Generator, context: MotionContext, phase: Phase, amount: float) -> TimeAxis:
    """A factor that falls and rises again while the expression is held: a partial return, or a second peak."""
    depth = amount * float(rng.uniform(0.3, 1.0)) * (rng.uniform() < 0.5)
    middle = float(rng.uniform(phase.peak, phase.release))
    half = float(rng.uniform(0.08, 0.16)) * context.duration_s
    return 1 - depth * plateau(context.time_s, start=middle - half, peak=middle, release=middle, end=middle + half)


def _blend(
    rng: np.random.Generator, context: MotionContext, expression: str, acting: ActingSettings
) -> Float64[np.ndarray, "time action"]:
    """Another expression, at a time of its own."""
    others = [name for name in RECIPES if name != expression]
    other = others[int(rng.integers(len(others)))]
    intensity = acting.blend * float(rng.uniform()) * float(np.mean(acting.intensity))
    phase = _irregular(rng, context, _posed_phase(rng, context), acting.irregularity)
    if expression == NEUTRAL or acting.blend == 0:
        return context.strengths({})
    return animate_expression(rng, context, other, intensity=intensity, phase=phase)


def _distractions(
    rng: np.random.Generator, context: MotionContext, amount: float
) -> Float64[np.ndarray, "time action"]:
    """Speech, a swallow, fidgets and blinks."""
    if amount == 0:
        return context.strengths({})
    share = min(amount, 1.0)
    movements = [context.strengths({})]
    if rng.uniform() < 0.5 * share:
        movements.append(np.clip(amount * talking(rng, context), 0, 0.9))
    if rng.uniform() < 0.4 * share:
        movements.append(_gesture(rng, context, _SWALLOW))
    for _ in range(int(rng.poisson(1.5 * amount))):
        name = _FIDGETS[int(rng.integers(len(_FIDGETS)))]
        movements.append(_gesture(rng, context, {name: float(rng.uniform(0.1, 0.6))}))
    starts = rng.uniform(0, context.duration_s, int(rng.poisson(amount))).tolist()
    movements.append(eyelid_closures(rng, context, starts))
    return combine(*movements)


def _gesture(
    rng: np.random.Generator, context: MotionContext, strength: dict[str, float]
) -> Float64[np.ndarray, "time action"]:
    """A few actions that come and go together once, with the person's asymmetry."""
    duration = context.duration_s
    peak, rise, fall = float(rng.uniform(0, 1)), float(rng.uniform(0.1, 0.25)), float(rng.uniform(0.1, 0.25))
    hold = float(rng.uniform(0, 0.4))
    envelope = plateau(
        context.time_s,
        start=(peak - rise) * duration,
        peak=peak * duration,
        release=(peak + hold) * duration,
        end=(peak + hold + fall) * duration,
    )
    sided = by_side(rng, context.person, strength, context.facial_actions)
    return envelope[:, None] * context.strengths(dict(sided))
