"""What a face does: expressions as recipes of facial actions, varied per person and per scan.

Action units follow FACS; ARKit-style action names stand for them (AU12 is mouthSmile, AU4 browDown, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smilevlm.labels import NEUTRAL
from smilevlm.synthesis.people import Person

LEVEL_INTENSITY: Mapping[int, float] = {1: 0.4, 2: 0.6, 3: 0.8, 4: 1.0}
"""BU-3DFE's four levels, from low to highest."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One expression.

    Args:
        core: Actions that make it what it is, with their strength at full intensity.
        optional: Actions that some people add: (probability, strength).
    """

    core: Mapping[str, float]
    optional: Mapping[str, tuple[float, float]]


RECIPES: Mapping[str, Recipe] = {
    # AU 6 + 12
    "happy": Recipe(
        core={"mouthSmile": 0.95, "cheekSquint": 0.7},
        optional={"jawOpen": (0.45, 0.22), "mouthUpperUp": (0.4, 0.4), "eyeSquint": (0.5, 0.5),
                  "mouthDimple": (0.4, 0.5), "mouthLowerDown": (0.25, 0.3), "browInnerUp": (0.15, 0.25)},
    ),
    # AU 1 + 4 + 15
    "sad": Recipe(
        core={"browInnerUp": 0.85, "browDown": 0.35, "mouthFrown": 0.9},
        optional={"mouthShrugLower": (0.5, 0.6), "eyeBlink": (0.5, 0.3), "mouthPress": (0.3, 0.4),
                  "mouthPucker": (0.2, 0.25), "cheekSquint": (0.2, 0.25), "mouthRollLower": (0.2, 0.3)},
    ),
    # AU 1 + 2 + 5 + 26
    "surprise": Recipe(
        core={"browInnerUp": 0.85, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.55},
        optional={"mouthFunnel": (0.4, 0.4), "mouthPucker": (0.15, 0.3), "mouthLowerDown": (0.15, 0.2)},
    ),
    # AU 4 + 5 + 7 + 23
    "angry": Recipe(
        core={"browDown": 0.95, "eyeWide": 0.2, "eyeSquint": 0.6, "mouthPress": 0.75},
        optional={"mouthRollLower": (0.5, 0.45), "mouthRollUpper": (0.4, 0.35), "noseSneer": (0.3, 0.3),
                  "jawForward": (0.3, 0.4), "mouthShrugLower": (0.3, 0.35), "mouthFrown": (0.25, 0.3)},
    ),
    # AU 9 + 15 + 16
    "disgust": Recipe(
        core={"noseSneer": 0.95, "mouthFrown": 0.45, "mouthLowerDown": 0.45},
        optional={"mouthUpperUp": (0.6, 0.6), "cheekSquint": (0.5, 0.5), "browDown": (0.6, 0.5),
                  "eyeSquint": (0.5, 0.5), "mouthShrugUpper": (0.25, 0.4), "jawOpen": (0.2, 0.12)},
    ),
    # AU 1 + 2 + 4 + 5 + 20 + 26
    "fear": Recipe(
        core={"browInnerUp": 0.85, "browOuterUp": 0.4, "browDown": 0.25, "eyeWide": 0.85, "mouthStretch": 0.85,
              "jawOpen": 0.22},
        optional={"mouthLowerDown": (0.4, 0.4), "mouthFrown": (0.25, 0.3), "mouthUpperUp": (0.15, 0.25)},
    ),
}  # fmt: skip
SPONTANEOUS_RECIPES: Mapping[str, Recipe] = {
    **RECIPES,
    # A smile held back, gaze down: AU 12 + 24 + 64 (Keltner, J. Pers. Soc. Psychol. 1995)
    "embarrassment": Recipe(
        core={"mouthSmile": 0.5, "mouthPress": 0.55, "eyeLookDown": 0.5},
        optional={"mouthDimple": (0.5, 0.5), "cheekSquint": (0.4, 0.35), "mouthRollLower": (0.45, 0.5),
                  "mouthPucker": (0.2, 0.3), "browInnerUp": (0.3, 0.4), "mouthShrugLower": (0.2, 0.3)},
    ),
    # AU 4 + 6 or 7 + 9 or 10 + 43 (Prkachin and Solomon, Pain 2008)
    "pain": Recipe(
        core={"browDown": 0.75, "eyeSquint": 0.75, "noseSneer": 0.45, "eyeBlink": 0.45},
        optional={"cheekSquint": (0.7, 0.7), "mouthUpperUp": (0.7, 0.6), "mouthStretch": (0.4, 0.5),
                  "jawOpen": (0.35, 0.15), "mouthPress": (0.3, 0.4), "mouthLowerDown": (0.3, 0.4)},
    ),
}  # fmt: skip
"""The basic expressions and what else BP4D's tasks call forth."""
_IDLE: Mapping[str, tuple[float, float]] = {
    # what any face does at any moment: (probability, spread)
    "eyeBlink": (0.5, 0.18), "eyeSquint": (0.3, 0.15), "jawOpen": (0.3, 0.05), "jawSide": (0.3, 0.15),
    "mouthSide": (0.3, 0.12), "browInnerUp": (0.3, 0.12), "browDown": (0.25, 0.12), "browOuterUp": (0.25, 0.1),
    "mouthPress": (0.25, 0.15), "mouthSmile": (0.25, 0.1), "mouthFrown": (0.2, 0.1), "mouthPucker": (0.15, 0.12),
    "mouthShrugLower": (0.15, 0.12), "mouthRollLower": (0.15, 0.12), "cheekPuff": (0.1, 0.1),
    "eyeLookSide": (0.5, 0.3), "eyeLookUpDown": (0.5, 0.3), "noseSneer": (0.1, 0.08),
}  # fmt: skip


def draw_actions(
    rng: np.random.Generator,
    *,
    person: Person,
    expression: str,
    intensity: float,
    facial_actions: tuple[str, ...],
    idle: float = 1.0,
) -> dict[str, float]:
    """Facial actions of one scan: strength per action of `facial_actions`, each in [0, 1].

    Args:
        rng: The scan's own generator.
        person: Their habits shape the recipe.
        expression: One of `SPONTANEOUS_RECIPES` or `neutral`.
        intensity: 0 (nothing) to 1 (full).
        facial_actions: Names the head model knows.
        idle: Strength of movements that belong to no expression.
    """
    if expression != NEUTRAL and expression not in SPONTANEOUS_RECIPES:
        raise ValueError(f"{expression!r} has no recipe")
    strength = draw_idle(rng, idle)
    if expression != NEUTRAL:
        recipe = SPONTANEOUS_RECIPES[expression]
        level = intensity * float(np.clip(rng.normal(1, 0.08), 0.7, 1.2))
        for action, full in recipe.core.items():
            add = full * level * person.habits[action] * float(np.exp(rng.normal(0, 0.15)))
            strength[action] = strength.get(action, 0.0) + add
        for action, (probability, full) in recipe.optional.items():
            # People keep to their variants from scan to scan, but not always.
            lean = 0.7 * person.preferences[action] + 0.3 * float(rng.uniform())
            if lean < probability:
                strength[action] = strength.get(action, 0.0) + full * level * float(rng.uniform(0.5, 1.3))
    return by_side(rng, person, strength, facial_actions)


def draw_idle(rng: np.random.Generator, idle: float) -> dict[str, float]:
    """Strengths of movements that belong to no expression, without side; `idle` is 1 for what any face does."""
    return {
        action: idle * abs(rng.normal(0, spread))
        for action, (probability, spread) in _IDLE.items()
        if rng.uniform() < probability
    }


def by_side(
    rng: np.random.Generator, person: Person, strength: Mapping[str, float], facial_actions: tuple[str, ...]
) -> dict[str, float]:
    """Spread strengths over the model's left and right actions, with the person's asymmetry."""
    out: dict[str, float] = {}
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    mouth_side, jaw_side = ("mouthLeft", "jawLeft") if side > 0 else ("mouthRight", "jawRight")
    look = ("eyeLookOutLeft", "eyeLookInRight") if side > 0 else ("eyeLookInLeft", "eyeLookOutRight")
    vertical = "Up" if rng.uniform() < 0.5 else "Down"
    whole = {
        "mouthSide": (mouth_side,), "jawSide": (jaw_side,), "eyeLookSide": look,
        "eyeLookUpDown": (f"eyeLook{vertical}Left", f"eyeLook{vertical}Right"),
    }  # fmt: skip
    for action, value in strength.items():
        if action in whole:
            for name in whole[action]:
                out[name] = value
        elif action in facial_actions:
            out[action] = value
        else:
            tilt = 0.35 * person.lean[action] + float(rng.normal(0, 0.05))
            out[f"{action}Left"] = value * (1 + tilt)
            out[f"{action}Right"] = value * (1 - tilt)
    unknown = sorted(set(out) - set(facial_actions))
    assert not unknown, f"the head model has no action {unknown}"
    return {name: float(np.clip(value, 0, 1)) for name, value in out.items()}
