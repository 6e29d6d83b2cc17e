"""What a face and its head do over time: what all motions share.

A motion is smooth: every curve has a continuous first derivative, so that frames of any rate show the same movement.
Times of a movement belong to the person (`Tempo`), and vary from one sequence to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from smilevlm.labels import NEUTRAL
from smilevlm.synthesis.expressions import by_side, draw_actions, draw_idle
from smilevlm.synthesis.people import Person, Tempo, action_stem

TimeAxis = Float64[np.ndarray, " time"]
_UPPER_FACE = ("brow", "eye", "cheekSquint")
_VISIBLE_SHARE = 0.05
"""Of its greatest strength: a weaker expression counts as absent."""
_BLINK_S = (0.10, 0.04, 0.22)
"""Closing, closed, opening."""
_MAX_ANGLES_DEG = (25.0, 18.0, 12.0)


def minimum_jerk(share: TimeAxis) -> TimeAxis:
    """From 0 to 1 with the least jerk: speed and acceleration are zero at both ends.

    Source: Flash and Hogan, The coordination of arm movements, J. Neurosci. 1985, Eq. 6.
    """
    x = np.clip(share, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def plateau(time_s: TimeAxis, *, start: float, peak: float, release: float, end: float) -> TimeAxis:
    """0 until `start`, 1 from `peak` to `release`, 0 from `end` on; all in seconds."""
    assert start < peak <= release < end
    return minimum_jerk((time_s - start) / (peak - start)) * (1 - minimum_jerk((time_s - release) / (end - release)))


def drift(rng: np.random.Generator, time_s: TimeAxis, *, slowest_hz: float = 0.1, fastest_hz: float = 0.6) -> TimeAxis:
    """Low-pass noise of about unit variance: a sum of a few sine waves."""
    num_waves = 5
    frequency = rng.uniform(slowest_hz, fastest_hz, num_waves)
    phase = rng.uniform(0, 2 * np.pi, num_waves)
    waves = np.sin(2 * np.pi * time_s[:, None] * frequency + phase)
    return waves.sum(axis=1) * np.sqrt(2 / num_waves)


def squash(curve: TimeAxis) -> TimeAxis:
    """Squeeze a curve around zero smoothly into (0, 1)."""
    return (1 + np.tanh(curve)) / 2


def soft_limit(curve: TimeAxis, limit: float) -> TimeAxis:
    """Keep a curve smoothly within `-limit` to `limit`."""
    return limit * np.tanh(curve / limit)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Facial actions and the head's movement, frame by frame.

    Args:
        actions: Names of the facial actions.
        strength: Of each action, in [0, 1].
        angles_deg: Yaw, pitch and roll of the head beside how it sits.
        offset_mm: Its displacement beside where it sits.
        onset: The first frame that shows the expression.
        apex: Where it is strongest.
        offset: The last frame that shows it.
    """

    actions: tuple[str, ...]
    strength: Float64[np.ndarray, "time action"]
    angles_deg: Float64[np.ndarray, "time 3"]
    offset_mm: Float64[np.ndarray, "time 3"]
    onset: int
    apex: int
    offset: int

    def at(self, frame: int) -> dict[str, float]:
        """Strength per action in one frame."""
        return dict(zip(self.actions, self.strength[frame].tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class MotionContext:
    """The person who moves and the times of the frames.

    Args:
        person: Their habits shape the expression.
        tempo: How this person moves.
        facial_actions: Names the head model knows.
        time_s: Of each frame, from 0 in even steps.
    """

    person: Person
    tempo: Tempo
    facial_actions: tuple[str, ...]
    time_s: TimeAxis

    @property
    def duration_s(self) -> float:
        return float(self.time_s[-1])

    def strengths(self, curves: Mapping[str, float | TimeAxis]) -> Float64[np.ndarray, "time action"]:
        """Strength of every action, from constants or curves over time of some; all others are zero."""
        strengths = np.zeros((len(self.time_s), len(self.facial_actions)))
        for name, curve in curves.items():
            strengths[:, self.facial_actions.index(name)] = curve
        return strengths


@dataclass(frozen=True, kw_only=True)
class Phase:
    """When one expression comes and goes, in seconds."""

    start: float
    peak: float
    release: float
    end: float


def animate_expression(
    rng: np.random.Generator,
    context: MotionContext,
    expression: str,
    *,
    intensity: float,
    phase: Phase,
    upper_phase: Phase | None = None,
) -> Float64[np.ndarray, "time action"]:
    """Let one expression come and go, each action at its own moment.

    Brows, mouth and the two sides do not move at the same time: by the person's habit and a little by chance.

    Args:
        rng: The sequence's own generator.
        context: The person and the times of the frames.
        expression: One of `SPONTANEOUS_RECIPES`, or `neutral` for none.
        intensity: 0 (nothing) to 1 (full).
        phase: When; it may begin before the sequence or end after it.
        upper_phase: When brows, eyes and cheeks move, where that is another time.
    """
    if expression == NEUTRAL:
        return context.strengths({})
    full = draw_actions(
        rng,
        person=context.person,
        expression=expression,
        intensity=intensity,
        facial_actions=context.facial_actions,
        idle=0.0,
    )
    curves = {}
    for name, value in full.items():
        own = upper_phase if upper_phase is not None and name.startswith(_UPPER_FACE) else phase
        rise = own.peak - own.start
        late = float(np.clip(_delay(rng, context.tempo, name), -0.15, 0.15))
        late *= min(1.0, rise / 0.5)
        # No delay may take an action out of the sequence or past its own phase.
        before, after = own.start, context.duration_s - own.end
        late = float(np.clip(late, -0.8 * before if before > 0 else -np.inf, 0.8 * after if after > 0 else np.inf))
        slow = min(rise * float(rng.uniform(-0.12, 0.12)), (own.end - own.peak) / 2)
        start, end = own.start + late, own.end + late
        peak = own.peak + late + slow
        release = max(own.release + late, peak)
        wave = 1 + soft_limit(0.06 * drift(rng, context.time_s, fastest_hz=1.0), 0.06)
        envelope = plateau(context.time_s, start=start, peak=peak, release=release, end=end)
        curves[name] = min(value, 0.94) * envelope * wave
    return context.strengths(curves)


def _delay(rng: np.random.Generator, tempo: Tempo, name: str) -> float:
    delay = tempo.delays_s[action_stem(name)] + float(rng.normal(0, 0.015))
    if name.startswith(_UPPER_FACE):
        delay -= tempo.brow_lead_s
    if name.endswith("Left"):
        delay += tempo.side_lag_s
    return delay


def idle_movement(
    rng: np.random.Generator, context: MotionContext, scale: float = 1.0
) -> Float64[np.ndarray, "time action"]:
    """Slow drifts of jaw, brows, lids and gaze that belong to no expression."""
    drawn = draw_idle(rng, scale * min(context.tempo.restlessness, 1.5))
    resting = {name: value for name, value in drawn.items() if not name.startswith("eyeLook")}
    amplitude = by_side(rng, context.person, resting, context.facial_actions)
    curve = {stem: squash(drift(rng, context.time_s)) for stem in sorted({action_stem(name) for name in amplitude})}
    moving = context.strengths({name: min(value, 0.6) * curve[action_stem(name)] for name, value in amplitude.items()})
    aside = 0.35 * scale * drift(rng, context.time_s, fastest_hz=0.8)
    upward = 0.3 * scale * drift(rng, context.time_s, fastest_hz=0.8)
    return combine(moving, gaze(context, aside, upward))


def gaze(context: MotionContext, aside: TimeAxis, upward: TimeAxis) -> Float64[np.ndarray, "time action"]:
    """Both eyes looking the same way, each direction in about [-1, 1]; positive is the viewer's right, and up."""
    curves = {
        "eyeLookOutLeft": _positive_part(aside), "eyeLookInRight": _positive_part(aside),
        "eyeLookInLeft": _positive_part(-aside), "eyeLookOutRight": _positive_part(-aside),
        "eyeLookUpLeft": _positive_part(upward), "eyeLookUpRight": _positive_part(upward),
        "eyeLookDownLeft": _positive_part(-upward), "eyeLookDownRight": _positive_part(-upward),
    }  # fmt: skip
    return context.strengths(curves)


def _positive_part(curve: TimeAxis) -> TimeAxis:
    """Of a curve, without a kink at zero, in [0, 1)."""
    positive = np.maximum(curve, 0)
    return np.tanh(positive**2 / (positive + 0.3))


def blinks(rng: np.random.Generator, context: MotionContext) -> Float64[np.ndarray, "time action"]:
    """Fast closings of both lids, at the person's rate."""
    count = int(rng.poisson(context.tempo.blinks_per_s * context.duration_s))
    return eyelid_closures(rng, context, rng.uniform(0, context.duration_s, count).tolist())


def eyelid_closures(
    rng: np.random.Generator, context: MotionContext, starts_s: Sequence[float]
) -> Float64[np.ndarray, "time action"]:
    """Blinks that begin at these times."""
    closing, closed, opening = _BLINK_S
    lids = np.zeros(len(context.time_s))
    for start in starts_s:
        shut = start + closing
        fall = plateau(context.time_s, start=start, peak=shut, release=shut + closed, end=shut + closed + opening)
        lids = np.maximum(lids, float(rng.uniform(0.8, 0.98)) * fall)
    return context.strengths(dict.fromkeys(("eyeBlinkLeft", "eyeBlinkRight"), lids))


def sway(
    rng: np.random.Generator, context: MotionContext, *, angles_deg: tuple[float, float, float], offset_mm: float
) -> tuple[Float64[np.ndarray, "time 3"], Float64[np.ndarray, "time 3"]]:
    """Slow movement of the head: (yaw, pitch, roll) in degrees and displacement in mm, of these spreads."""
    restless = context.tempo.restlessness
    angles = [restless * size * drift(rng, context.time_s, fastest_hz=0.45) for size in angles_deg]
    offset = [restless * offset_mm * drift(rng, context.time_s, fastest_hz=0.35) for _ in range(3)]
    return np.stack(angles, axis=1), np.stack(offset, axis=1)


def limit_angles(angles_deg: Float64[np.ndarray, "time 3"]) -> Float64[np.ndarray, "time 3"]:
    """Keep the head's angles to what the cameras can follow."""
    return np.stack([soft_limit(angles_deg[:, axis], limit) for axis, limit in enumerate(_MAX_ANGLES_DEG)], axis=1)


def combine(*strengths: Float64[np.ndarray, "time action"]) -> Float64[np.ndarray, "time action"]:
    """Actions that happen at once: as strong as the strongest or more, smooth, never above 1."""
    rest = np.ones_like(strengths[0])
    for strength in strengths:
        rest = rest * (1 - strength)
    return 1 - rest


def phase_frames(strength: Float64[np.ndarray, "time action"]) -> tuple[int, int, int]:
    """(onset, apex, offset) frames of a movement; (0, 0, 0) when there is none."""
    total = strength.sum(axis=1)
    if total.max() <= 0:
        return 0, 0, 0
    visible = np.flatnonzero(total > _VISIBLE_SHARE * total.max())
    return int(visible[0]), int(np.argmax(total)), int(visible[-1])
