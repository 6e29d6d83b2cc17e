"""Spontaneous behaviour as BP4D's eight tasks call it forth: blends, talking, averted gaze, and a head that moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from smilevlm.synthesis.motion import (
    Motion,
    MotionContext,
    Phase,
    TimeAxis,
    animate_expression,
    blinks,
    combine,
    drift,
    gaze,
    idle_movement,
    limit_angles,
    minimum_jerk,
    phase_frames,
    squash,
    sway,
)

_SECONDS_PER_EPISODE = 1.2
_MAX_EPISODES = 4


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one task makes of people.

    Args:
        expression: The emotion it is meant to call forth, and mostly does.
        others: What mixes with it, with weights.
        talking: Probability that the person speaks.
        head_deg: Spread of yaw, pitch and roll.
        bow_deg: How far the head bows when the emotion comes.
        aversion: How far the gaze turns away, in [0, 1].
    """

    expression: str
    others: Mapping[str, float]
    talking: float
    head_deg: tuple[float, float, float]
    bow_deg: float = 0.0
    aversion: float = 0.0


TASKS: Mapping[int, Task] = {
    # an interview with a joke, a documentary, a sudden noise, a silly song
    1: Task(expression="happy", others={"surprise": 0.6, "embarrassment": 0.4}, talking=0.8, head_deg=(7, 4, 3)),
    2: Task(expression="sad", others={"fear": 0.3, "disgust": 0.2, "angry": 0.2}, talking=0.1, head_deg=(4, 3, 2),
            bow_deg=4, aversion=0.2),
    3: Task(expression="surprise", others={"fear": 0.5, "happy": 0.7}, talking=0.3, head_deg=(8, 4, 3), bow_deg=-4),
    4: Task(expression="embarrassment", others={"happy": 0.8, "surprise": 0.2}, talking=0.6, head_deg=(8, 5, 4),
            bow_deg=8, aversion=0.7),
    # a threat, ice water, an insult, a bad smell
    5: Task(expression="fear", others={"surprise": 0.5, "happy": 0.3}, talking=0.3, head_deg=(8, 4, 3), bow_deg=-2),
    6: Task(expression="pain", others={"disgust": 0.3, "happy": 0.2, "sad": 0.3}, talking=0.3, head_deg=(7, 5, 4),
            bow_deg=5),
    7: Task(expression="angry", others={"disgust": 0.4, "sad": 0.2, "surprise": 0.2}, talking=0.5,
            head_deg=(6, 3, 2)),
    8: Task(expression="disgust", others={"angry": 0.3, "happy": 0.4, "surprise": 0.2}, talking=0.3,
            head_deg=(9, 4, 3), aversion=0.2),
}  # fmt: skip
"""By BP4D's numbers. Source: Zhang et al., Image and Vision Computing 2014, Table 1."""


def spontaneous_motion(rng: np.random.Generator, context: MotionContext, task: Task) -> Motion:
    """One to four episodes, most of them of the task's emotion, partial and mixed with others.

    Returns:
        Onset, apex and offset are those of the task's own emotion.
    """
    most = int(np.clip(round(context.duration_s / _SECONDS_PER_EPISODE), 1, _MAX_EPISODES))
    num_episodes = int(rng.integers(1, most + 1))
    edges = np.linspace(0.04, 0.96, num_episodes + 1) * context.duration_s
    target = mixed = context.strengths({})
    own = int(rng.integers(num_episodes))
    for number in range(num_episodes):
        phase = _episode(rng, context, float(edges[number]), float(edges[number + 1]))
        if number == own or rng.uniform() < 0.5:
            acted = animate_expression(
                rng, context, task.expression, intensity=float(rng.uniform(0.5, 1.0)), phase=phase
            )
            target = combine(target, acted)
        if number != own or rng.uniform() < 0.4:
            names, weights = list(task.others), np.array(list(task.others.values()))
            other = names[int(rng.choice(len(names), p=weights / weights.sum()))]
            acted = animate_expression(rng, context, other, intensity=float(rng.uniform(0.15, 0.45)), phase=phase)
            mixed = combine(mixed, acted)
    onset, apex, offset = phase_frames(target)
    presence = target.sum(axis=1) / max(float(target.sum(axis=1).max()), 1e-9)
    movements = [
        target,
        mixed,
        idle_movement(rng, context),
        blinks(rng, context),
        _aversion(rng, context, task, presence),
    ]
    if rng.uniform() < task.talking:
        movements.append(talking(rng, context))
    angles, displaced = _head(rng, context, task, presence)
    return Motion(
        actions=context.facial_actions,
        strength=combine(*movements),
        angles_deg=limit_angles(angles),
        offset_mm=displaced,
        onset=onset,
        apex=apex,
        offset=offset,
    )


def _episode(rng: np.random.Generator, context: MotionContext, first: float, last: float) -> Phase:
    length = last - first
    rise, fall = (
        context.tempo.onset_s * float(rng.uniform(0.7, 1.3)),
        context.tempo.offset_s * float(rng.uniform(0.7, 1.5)),
    )
    squeeze = min(1.0, 0.75 * length / (rise + fall))
    rise, fall = rise * squeeze, fall * squeeze
    start = first + float(rng.uniform(0, 0.3)) * (length - rise - fall)
    hold = (last - start - rise - fall) * float(rng.uniform(0.3, 1.0))
    return Phase(start=start, peak=start + rise, release=start + rise + hold, end=start + rise + hold + fall)


def talking(rng: np.random.Generator, context: MotionContext) -> Float64[np.ndarray, "time action"]:
    """Jaw and lips in syllables, about four a second, on and off in phrases."""
    phrase = squash(2.5 * drift(rng, context.time_s, slowest_hz=0.15, fastest_hz=0.5))
    hertz = float(rng.uniform(2.8, 4.2))
    wander = 0.8 * drift(rng, context.time_s, slowest_hz=0.2, fastest_hz=0.8)
    curves = {}
    for name, most in (("jawOpen", 0.14), ("mouthFunnel", 0.2), ("mouthPucker", 0.2), ("mouthShrugUpper", 0.15)):
        beat = np.sin(2 * np.pi * hertz * context.time_s + wander + float(rng.uniform(0, 2 * np.pi)))
        loud = squash(drift(rng, context.time_s, slowest_hz=0.5, fastest_hz=1.5))
        curves[name] = most * phrase * loud * (0.5 + 0.5 * beat)
    return context.strengths(curves)


def _aversion(
    rng: np.random.Generator, context: MotionContext, task: Task, presence: TimeAxis
) -> Float64[np.ndarray, "time action"]:
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    return gaze(context, task.aversion * side * presence * 0.7, -task.aversion * presence)


def _head(
    rng: np.random.Generator, context: MotionContext, task: Task, presence: TimeAxis
) -> tuple[Float64[np.ndarray, "time 3"], Float64[np.ndarray, "time 3"]]:
    """Sway, a bow with the emotion, and now and then a turn to somebody at the side."""
    angles, displaced = sway(rng, context, angles_deg=task.head_deg, offset_mm=5.0)
    angles[:, 1] += task.bow_deg * float(rng.uniform(0.3, 1.3)) * presence
    if rng.uniform() < 0.5:
        start = float(rng.uniform(0.1, 0.6)) * context.duration_s
        turn = minimum_jerk((context.time_s - start) / max(0.5, 0.25 * context.duration_s))
        back = minimum_jerk((context.time_s - start - 0.3 * context.duration_s) / max(0.5, 0.25 * context.duration_s))
        angles[:, 0] += float(rng.choice([-1, 1])) * float(rng.uniform(8, 22)) * turn * (1 - back)
    return angles, displaced
