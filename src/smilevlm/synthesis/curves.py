"""Smooth curves over time, from which movements are put together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

TimeAxis = Float64[np.ndarray, " time"]


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
