"""The many ways in which one expression is shown: more than one recipe per class, for faces of any model and person.

Posed data sets ask for one prototype; people bare their teeth in anger or press their lips, smile with a closed
mouth or laugh, and the blend shapes of other face models combine the same actions in other shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from smilevlm.labels import NEUTRAL
from smilevlm.synthesis.expressions import RECIPES, Recipe, by_side, draw_idle
from smilevlm.synthesis.people import Person
from smilevlm.synthesis.wide_variants import WIDE_VARIANTS, draw_facs_recipe

VARIANTS: Mapping[str, tuple[Recipe, ...]] = {
    "happy": (
        RECIPES["happy"],
        # closed mouth
        Recipe(core={"mouthSmile": 0.95, "cheekSquint": 0.45}, optional={"mouthDimple": (0.6, 0.5),
               "mouthPress": (0.3, 0.25), "eyeSquint": (0.4, 0.4)}),
        # laughing: AU 6 + 12 + 25 + 26
        Recipe(core={"mouthSmile": 0.95, "cheekSquint": 0.8, "jawOpen": 0.35, "mouthUpperUp": 0.4,
                     "mouthLowerDown": 0.35},
               optional={"eyeSquint": (0.7, 0.6), "noseSneer": (0.2, 0.3), "browOuterUp": (0.2, 0.3),
                         "mouthStretch": (0.2, 0.3)}),
        # nothing but the corners
        Recipe(core={"mouthSmile": 1.0}, optional={"cheekSquint": (0.5, 0.4), "jawOpen": (0.4, 0.15)}),
    ),
    "sad": (
        RECIPES["sad"],
        Recipe(core={"browInnerUp": 0.95, "mouthFrown": 1.0}, optional={"mouthShrugLower": (0.4, 0.5),
               "browDown": (0.5, 0.3), "mouthStretch": (0.2, 0.25)}),
        # AU 1 + 15 + 17, the lids heavy
        Recipe(core={"browInnerUp": 0.6, "mouthFrown": 0.85, "mouthShrugLower": 0.7},
               optional={"eyeBlink": (0.6, 0.35), "browDown": (0.4, 0.25), "eyeLookDown": (0.5, 0.5),
                         "mouthPress": (0.3, 0.4)}),
        # about to cry: AU 1 + 4 + 11 + 15 + 20
        Recipe(core={"browInnerUp": 0.85, "browDown": 0.4, "mouthFrown": 0.75, "mouthStretch": 0.35,
                     "cheekSquint": 0.35}, optional={"eyeSquint": (0.5, 0.5), "mouthShrugLower": (0.5, 0.5),
                                                     "jawOpen": (0.2, 0.08)}),
    ),
    "surprise": (
        RECIPES["surprise"],
        Recipe(core={"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 1.0, "jawOpen": 0.8},
               optional={"mouthFunnel": (0.3, 0.3)}),
        Recipe(core={"browInnerUp": 0.8, "browOuterUp": 0.85, "eyeWide": 0.6, "jawOpen": 0.35, "mouthFunnel": 0.4},
               optional={"mouthPucker": (0.3, 0.3)}),
        Recipe(core={"browInnerUp": 0.6, "browOuterUp": 0.7, "jawOpen": 0.7}, optional={"eyeWide": (0.6, 0.7)}),
    ),
    "angry": (
        RECIPES["angry"],
        # teeth bared: AU 4 + 5 + 7 + 10 + 16 + 25
        Recipe(core={"browDown": 1.0, "eyeSquint": 0.5, "mouthLowerDown": 0.6, "mouthUpperUp": 0.4, "jawOpen": 0.14},
               optional={"noseSneer": (0.5, 0.4), "mouthStretch": (0.4, 0.35), "eyeWide": (0.4, 0.4),
                         "jawForward": (0.3, 0.4)}),
        # staring
        Recipe(core={"browDown": 1.0, "eyeWide": 0.45, "mouthPress": 0.85},
               optional={"jawForward": (0.4, 0.4), "mouthShrugLower": (0.4, 0.4), "mouthRollLower": (0.4, 0.4)}),
        Recipe(core={"browDown": 1.0, "eyeSquint": 0.55, "mouthPress": 0.65, "noseSneer": 0.35},
               optional={"mouthFrown": (0.5, 0.4), "mouthPucker": (0.25, 0.3)}),
        Recipe(core={"browDown": 1.0, "mouthFrown": 0.45, "mouthPress": 0.5, "mouthShrugLower": 0.35},
               optional={"eyeSquint": (0.6, 0.6), "mouthRollUpper": (0.3, 0.4)}),
    ),
    "disgust": (
        RECIPES["disgust"],
        # AU 9 + 10
        Recipe(core={"noseSneer": 1.0, "mouthUpperUp": 0.75}, optional={"browDown": (0.7, 0.5),
               "eyeSquint": (0.6, 0.6), "cheekSquint": (0.5, 0.6), "mouthFrown": (0.4, 0.4)}),
        # AU 9 + 15 + 17
        Recipe(core={"noseSneer": 0.95, "mouthFrown": 0.65, "mouthShrugUpper": 0.45, "mouthShrugLower": 0.4},
               optional={"browDown": (0.5, 0.5), "eyeSquint": (0.5, 0.5), "cheekSquint": (0.4, 0.5)}),
        # AU 9 + 16 + 25, now and then with the tongue out
        Recipe(core={"noseSneer": 0.9, "mouthLowerDown": 0.6, "jawOpen": 0.18},
               optional={"mouthUpperUp": (0.7, 0.6), "tongueOut": (0.2, 0.5), "browDown": (0.5, 0.5),
                         "eyeSquint": (0.5, 0.6), "mouthStretch": (0.2, 0.3)}),
        Recipe(core={"noseSneer": 0.95, "mouthUpperUp": 0.6, "mouthFrown": 0.4, "browDown": 0.45, "eyeSquint": 0.45},
               optional={"cheekSquint": (0.5, 0.5)}),
    ),
    "fear": (
        RECIPES["fear"],
        Recipe(core={"browInnerUp": 0.95, "browOuterUp": 0.5, "eyeWide": 1.0, "mouthStretch": 1.0, "jawOpen": 0.3},
               optional={"browDown": (0.6, 0.3), "mouthLowerDown": (0.3, 0.4)}),
        Recipe(core={"browInnerUp": 0.85, "browDown": 0.35, "eyeWide": 0.8, "mouthStretch": 0.7, "mouthFrown": 0.3},
               optional={"browOuterUp": (0.5, 0.4), "jawOpen": (0.6, 0.2), "mouthLowerDown": (0.4, 0.4)}),
        Recipe(core={"browInnerUp": 0.8, "eyeWide": 0.9, "mouthStretch": 0.8, "jawOpen": 0.25,
                     "mouthLowerDown": 0.35}, optional={"browOuterUp": (0.6, 0.6), "browDown": (0.5, 0.3)}),
    ),
}  # fmt: skip
"""The posed prototype comes first."""
_PROTOTYPE_SHARE = 0.35
_FACS_SHARE = 0.4
"""Of the wide recipes: drawn by the frequencies of FACS-coded people."""
_WEAK_SHARE, _WEAK = 0.08, 0.4
"""Now and then one of a recipe's actions is hardly there."""
Manner = Literal["plain", "held back", "one-sided", "weak"]
_SHUT = 0.5
"""Lids further down than this cannot be raised as well."""
_MANNER_SHARES = (0.58, 0.14, 0.14, 0.14)


def draw_variant(rng: np.random.Generator, expression: str) -> Recipe | None:
    """One of the posed ways to show an expression; None for `neutral`.

    Raises:
        KeyError: There is no such expression.
    """
    if expression == NEUTRAL:
        return None
    variants = VARIANTS[expression]
    if rng.uniform() < _PROTOTYPE_SHARE:
        return variants[0]
    return variants[int(rng.integers(1, len(variants)))]


def draw_wide_variant(rng: np.random.Generator, expression: str) -> Recipe:
    """One of the further ways to show an expression: by FACS frequencies, or one of `WIDE_VARIANTS`.

    Raises:
        KeyError: There is no such expression.
    """
    if rng.uniform() < _FACS_SHARE:
        return draw_facs_recipe(rng, expression)
    variants = WIDE_VARIANTS[expression]
    return variants[int(rng.integers(len(variants)))]


CONFUSED: tuple[tuple[str, str], ...] = (("surprise", "fear"), ("angry", "disgust"))
"""Pairs that people themselves confuse most. Source: Du and Martinez, Journal of Vision 11(13), 2011."""


def draw_blend(rng: np.random.Generator, first: str, second: str) -> Recipe:
    """A face between two expressions, each with 35 to 65 % of the strength of a posed one."""
    share = float(rng.uniform(0.35, 0.65))
    core: dict[str, float] = {}
    for expression, weight in ((first, share), (second, 1 - share)):
        variants = VARIANTS[expression]
        for action, full in variants[int(rng.integers(len(variants)))].core.items():
            core[action] = core.get(action, 0.0) + 1.15 * weight * full
    return Recipe(core=core, optional={})


def draw_manner(rng: np.random.Generator) -> Manner:
    """How an expression is shown, whatever its recipe."""
    return get_args(Manner)[int(rng.choice(len(_MANNER_SHARES), p=_MANNER_SHARES))]


def show_in_manner(rng: np.random.Generator, weights: Mapping[str, float], manner: Manner) -> dict[str, float]:
    """ARKit weights as a manner changes them: held back behind pressed lips, on one side, or weak."""
    if manner == "weak":
        share = float(rng.uniform(0.35, 0.6))
        return {name: share * value for name, value in weights.items()}
    if manner == "held back":
        shown = {name: float(rng.uniform(0.45, 0.75)) * value for name, value in weights.items()}
        press = float(rng.uniform(0.25, 0.55))
        for name in ("mouthPressLeft", "mouthPressRight"):
            shown[name] = max(shown.get(name, 0.0), press)
        return shown
    if manner == "one-sided":
        less, share = ("Left", "Right")[int(rng.integers(2))], float(rng.uniform(0.0, 0.4))
        moved = {
            name for name in weights if name.endswith(less) and not name.startswith(("eyeLook", "eyeBlink", "jaw"))
        }
        return {name: value * (share if name in moved else 1.0) for name, value in weights.items()}
    return dict(weights)


def draw_varied_actions(
    rng: np.random.Generator,
    *,
    person: Person,
    recipe: Recipe | None,
    intensity: float,
    facial_actions: tuple[str, ...],
    idle: float,
    incidental: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, float]:
    """Facial actions of one scan: strength per action, each in [0, 1].

    Args:
        rng: The scan's own generator.
        person: Their habits shape the expression.
        recipe: What `draw_variant` or `draw_wide_variant` gave.
        intensity: 0 (nothing) to 1 (full) and a little beyond.
        facial_actions: Names the head model knows; what it lacks is left out.
        idle: Strength of movements that belong to no expression.
        incidental: What the face does besides, by ARKit name without side; the stronger of two of one name counts.
    """
    strength = draw_idle(rng, idle)
    if recipe is not None:
        for action, full in recipe.core.items():
            weak = _WEAK if rng.uniform() < _WEAK_SHARE else 1.0
            add = weak * full * intensity * person.habits.get(action, 1.0) * float(np.exp(rng.normal(0, 0.15)))
            strength[action] = strength.get(action, 0.0) + add
        for action, (probability, full) in recipe.optional.items():
            if rng.uniform() < probability:
                strength[action] = strength.get(action, 0.0) + full * intensity * float(rng.uniform(0.4, 1.3))
    for action, value in incidental.items():
        strength[action] = max(strength.get(action, 0.0), value)
    if strength.get("eyeBlink", 0.0) > _SHUT:
        strength.pop("eyeWide", None)
    if strength.pop("eyeLookDown", 0.0) > 0:
        strength["eyeLookUpDown"] = max(strength.get("eyeLookUpDown", 0.0), 0.5)
    known = {name: value for name, value in strength.items() if _is_known(name, facial_actions)}
    return by_side(rng, person, known, facial_actions)


def _is_known(stem: str, facial_actions: tuple[str, ...]) -> bool:
    look = {"eyeLookSide": "eyeLookOut", "eyeLookUpDown": "eyeLookUp", "mouthSide": "mouth", "jawSide": "jaw"}
    return stem in facial_actions or f"{look.get(stem, stem)}Left" in facial_actions
