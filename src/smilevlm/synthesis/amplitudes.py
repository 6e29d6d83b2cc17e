"""How far people go with an expression, as factors on a rig's own full shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smilevlm.synthesis.people import action_stem
from smilevlm.synthesis.rigs.rig import Rig

_ENDS_IN_CONTACT = frozenset(
    {"eyeBlink", "mouthClose", "mouthPress", "mouthRollLower", "mouthRollUpper", "eyeLookDown", "eyeLookUp",
     "eyeLookIn", "eyeLookOut"}
)  # fmt: skip
"""Actions that are over when lids or lips meet or the gaze is at its end: nothing lies beyond their full shape."""
_PERSON_SPREAD, _SCAN_SPREAD = 0.15, 0.12


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
        return float(np.clip(self.usual * np.exp(rng.normal(0, _SCAN_SPREAD)), *self.limits))


def draw_amplitude(rng: np.random.Generator, rig: Rig) -> Amplitude:
    """Draw one person's amplitude, from a generator of its own."""
    middle = float(np.sqrt(rig.amplitudes[0] * rig.amplitudes[1]))
    return Amplitude(usual=middle * float(np.exp(rng.normal(0, _PERSON_SPREAD))), limits=rig.amplitudes)


def amplified(actions: Mapping[str, float], factor: float) -> dict[str, float]:
    """Actions in [0, 1] times a factor; those whose end is contact stay in [0, 1]."""
    return {
        name: min(value * factor, 1.0) if action_stem(name) in _ENDS_IN_CONTACT else value * factor
        for name, value in actions.items()
    }
