"""FACS action units in terms of the head model's facial actions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from smilevlm.synthesis.motion import Motion

ACTION_UNITS: Mapping[int, Mapping[str, float]] = {
    # number: action (both sides where it has two) and its strength when the unit is fully there
    1: {"browInnerUp": 1.0},
    2: {"browOuterUp": 0.9},
    4: {"browDown": 0.9},
    5: {"eyeWide": 1.0},
    6: {"cheekSquint": 0.7},
    7: {"eyeSquint": 1.0},
    9: {"noseSneer": 1.0},
    10: {"mouthUpperUp": 1.0},
    12: {"mouthSmile": 0.36},
    14: {"mouthDimple": 0.8},
    15: {"mouthFrown": 0.95},
    16: {"mouthLowerDown": 1.0},
    17: {"mouthShrugLower": 0.95},
    18: {"mouthPucker": 0.75},
    20: {"mouthStretch": 0.75},
    22: {"mouthFunnel": 0.6},
    23: {"mouthRollUpper": 0.45, "mouthRollLower": 0.6},
    24: {"mouthPress": 0.8},
    25: {"jawOpen": 0.1},
    26: {"jawOpen": 0.17},
    28: {"mouthRollLower": 0.9},
    45: {"eyeBlink": 0.5},
}
"""The 22 units that the synthetic faces know. A full one moves the skin by 4 to 7 mm."""


def sides(action: str, facial_actions: tuple[str, ...], side: str = "") -> tuple[str, ...]:
    """The head model's names of an action (itself, or its left and right); `side` is `L`, `R`, or empty for both."""
    if action in facial_actions:
        return (action,)
    return tuple(f"{action}{word}" for word in ("Left", "Right") if word.startswith(side))


def occurs(motion: Motion, unit: int, *, threshold: float = 0.3) -> Bool[np.ndarray, " time"]:
    """In which frames a coder would see an action unit: from `threshold` of the full unit, on either side."""
    shares = [
        motion.strength[:, motion.actions.index(name)] / full
        for action, full in ACTION_UNITS[unit].items()
        for name in sides(action, motion.actions)
    ]
    return np.max(shares, axis=0) >= threshold
