"""How far people go with an expression, as factors on a rig's own full shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smilevlm.synthesis.people import action_stem
from smilevlm.synthesis.rigs.rig import Rig

AT_THEIR_END = frozenset(
    {"eyeBlink", "jawOpen", "mouthClose", "mouthPress", "mouthRollLower", "mouthRollUpper", "eyeLookDown", "eyeLookUp",
     "eyeLookIn", "eyeLookOut"}
)  # fmt: skip
"""Nothing lies beyond their full shape: lids or lips meet, the gaze or the jaw is at its end (about 40 mm)."""
PERSON_SPREAD, SCAN_SPREAD = 0.15, 0.12


@dataclass(frozen=True, kw_only=True)
class Amplitude:
    """One person's.

    Args:
        usual: Their usual factor on a full shape.
        limits: Lowest and highest.
    """

    usual: float
    limits: tuple[float, float]

    def draw(self, rng: np.random.Generator) -> float:
        """The factor of one scan or sequence, from a generator of its own."""
        return float(np.clip(self.usual * np.exp(rng.normal(0, SCAN_SPREAD)), *self.limits))


def draw_amplitude(rng: np.random.Generator, rig: Rig) -> Amplitude:
    """Draw one person's amplitude, from a generator of its own."""
    middle = float(np.sqrt(rig.amplitudes[0] * rig.amplitudes[1]))
    return Amplitude(usual=middle * float(np.exp(rng.normal(0, PERSON_SPREAD))), limits=rig.amplitudes)


def amplified(actions: Mapping[str, float], factor: float) -> dict[str, float]:
    """Actions in [0, 1] times a factor; those that end at their full shape stay in [0, 1]."""
    return {
        name: min(value * factor, 1.0) if action_stem(name) in AT_THEIR_END else value * factor
        for name, value in actions.items()
    }
