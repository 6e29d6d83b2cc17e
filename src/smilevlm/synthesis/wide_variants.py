"""Further ways of showing the six basic expressions, beyond the posed ones: what people do, and how often.

Source of the frequencies: Du, Tao and Martinez, Compound facial expressions of emotion, PNAS 111(15), 2014, 230 people,
FACS-coded. Source of the variants: Ekman, Friesen and Hager, FACS Investigator's Guide, 2002.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smilevlm.synthesis.expressions import Recipe


@dataclass(frozen=True, kw_only=True)
class FacsFrequencies:
    """How people show one expression.

    Args:
        core: Action units that most people use.
        optional: Further ones, with the share of the people who use them.
    """

    core: tuple[int, ...]
    optional: Mapping[int, float]


FACS_FREQUENCIES: Mapping[str, FacsFrequencies] = {
    "happy": FacsFrequencies(core=(12, 25), optional={6: 0.51}),
    "sad": FacsFrequencies(core=(4, 15), optional={17: 0.67, 1: 0.60, 6: 0.50}),
    "angry": FacsFrequencies(core=(4, 7, 24), optional={17: 0.52, 23: 0.29, 10: 0.26}),
    "disgust": FacsFrequencies(core=(9, 10, 17), optional={4: 0.31, 24: 0.26}),
    "fear": FacsFrequencies(core=(1, 4, 20, 25), optional={5: 0.63, 2: 0.57, 26: 0.33}),
    "surprise": FacsFrequencies(core=(1, 2, 25, 26), optional={5: 0.66}),
}
_FULL_UNIT: Mapping[int, Mapping[str, float]] = {
    1: {"browInnerUp": 0.9}, 2: {"browOuterUp": 0.9}, 4: {"browDown": 0.85}, 5: {"eyeWide": 0.85},
    6: {"cheekSquint": 0.8}, 7: {"eyeSquint": 0.75}, 9: {"noseSneer": 0.95}, 10: {"mouthUpperUp": 0.7},
    12: {"mouthSmile": 0.95}, 15: {"mouthFrown": 0.9}, 17: {"mouthShrugLower": 0.7},
    20: {"mouthStretch": 0.85}, 23: {"mouthRollUpper": 0.35, "mouthRollLower": 0.4, "mouthPress": 0.3},
    24: {"mouthPress": 0.8}, 25: {"jawOpen": 0.1, "mouthLowerDown": 0.25}, 26: {"jawOpen": 0.4},
}  # fmt: skip
"""Blend shapes of one action unit of a posed expression."""


def draw_facs_recipe(rng: np.random.Generator, expression: str) -> Recipe:
    """One person's way of showing an expression, by the frequencies of FACS-coded people."""
    frequencies = FACS_FREQUENCIES[expression]
    units = [*frequencies.core, *(unit for unit, share in frequencies.optional.items() if rng.uniform() < share)]
    core: dict[str, float] = {}
    for unit in units:
        strength = float(rng.uniform(0.6, 1.1))
        for action, full in _FULL_UNIT[unit].items():
            core[action] = max(core.get(action, 0.0), full * strength)
    return Recipe(core=core, optional={})


WIDE_VARIANTS: Mapping[str, tuple[Recipe, ...]] = {
    "happy": (
        # laughing with the eyes shut
        Recipe(core={"mouthSmile": 0.95, "cheekSquint": 0.9, "eyeBlink": 0.8, "jawOpen": 0.45, "mouthUpperUp": 0.4},
               optional={"mouthLowerDown": (0.6, 0.4), "noseSneer": (0.3, 0.3)}),
        # shouting with joy
        Recipe(core={"mouthSmile": 0.8, "jawOpen": 0.75, "cheekSquint": 0.5},
               optional={"browOuterUp": (0.6, 0.6), "browInnerUp": (0.5, 0.5), "mouthUpperUp": (0.5, 0.4)}),
        # a grin that bares both rows of teeth
        Recipe(core={"mouthSmile": 0.9, "mouthUpperUp": 0.5, "mouthLowerDown": 0.55, "jawOpen": 0.05},
               optional={"cheekSquint": (0.6, 0.6), "mouthStretch": (0.3, 0.3)}),
        # a smile held back
        Recipe(core={"mouthSmile": 0.6, "mouthPress": 0.45, "mouthDimple": 0.5},
               optional={"cheekSquint": (0.6, 0.5), "mouthShrugLower": (0.4, 0.3), "mouthRollLower": (0.3, 0.3)}),
        # greeting: brows up
        Recipe(core={"mouthSmile": 0.85, "browInnerUp": 0.45, "browOuterUp": 0.6},
               optional={"eyeWide": (0.3, 0.3), "jawOpen": (0.4, 0.15), "cheekSquint": (0.4, 0.5)}),
        # laughing that wrinkles the nose
        Recipe(core={"mouthSmile": 0.9, "noseSneer": 0.4, "cheekSquint": 0.9, "eyeSquint": 0.6, "jawOpen": 0.25},
               optional={"mouthUpperUp": (0.7, 0.4)}),
    ),
    "sad": (
        # crying aloud: AU 1 + 4 + 6 + 15 + 25 + 26
        Recipe(core={"browInnerUp": 0.9, "browDown": 0.35, "cheekSquint": 0.5, "mouthFrown": 0.75, "jawOpen": 0.35,
                     "mouthStretch": 0.35}, optional={"mouthLowerDown": (0.6, 0.4), "eyeBlink": (0.5, 0.7)}),
        # weeping with eyes and lips shut
        Recipe(core={"browInnerUp": 0.8, "eyeBlink": 0.85, "eyeSquint": 0.5, "mouthFrown": 0.7, "mouthPress": 0.5},
               optional={"browDown": (0.5, 0.35), "mouthShrugLower": (0.6, 0.6)}),
        # fighting tears: chin up, lips pressed
        Recipe(core={"browInnerUp": 0.8, "mouthFrown": 0.75, "mouthShrugLower": 0.85, "mouthPress": 0.55},
               optional={"browDown": (0.4, 0.3), "mouthRollLower": (0.4, 0.4)}),
        # pouting
        Recipe(core={"browInnerUp": 0.6, "mouthShrugLower": 0.9, "mouthShrugUpper": 0.3, "mouthFrown": 0.65},
               optional={"mouthPucker": (0.3, 0.25), "browDown": (0.4, 0.3)}),
        # weary: heavy lids, gaze down
        Recipe(core={"mouthFrown": 0.8, "eyeBlink": 0.4, "browInnerUp": 0.5},
               optional={"eyeLookDown": (0.7, 0.6), "jawOpen": (0.2, 0.08)}),
        # the mouth alone
        Recipe(core={"mouthFrown": 1.0, "mouthShrugLower": 0.5}, optional={"browInnerUp": (0.6, 0.4)}),
    ),
    "surprise": (
        # lips closed
        Recipe(core={"browInnerUp": 0.95, "browOuterUp": 1.0, "eyeWide": 0.9}, optional={"mouthPress": (0.2, 0.3)}),
        # shouting
        Recipe(core={"browInnerUp": 0.85, "browOuterUp": 0.9, "jawOpen": 0.95, "eyeWide": 0.6},
               optional={"mouthStretch": (0.2, 0.2)}),
        # a gasp, lips rounded
        Recipe(core={"browInnerUp": 0.85, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.3, "mouthPucker": 0.4},
               optional={"mouthFunnel": (0.5, 0.4)}),
        # pleasantly surprised
        Recipe(core={"browInnerUp": 0.85, "browOuterUp": 0.9, "eyeWide": 0.6, "jawOpen": 0.5, "mouthSmile": 0.3},
               optional={}),
        # eyes and mouth, the brows hardly
        Recipe(core={"eyeWide": 1.0, "jawOpen": 0.65, "browOuterUp": 0.35, "browInnerUp": 0.35}, optional={}),
        # breath held: cheeks full
        Recipe(core={"browInnerUp": 0.9, "browOuterUp": 0.95, "eyeWide": 0.85, "cheekPuff": 0.4, "jawOpen": 0.1},
               optional={"mouthPucker": (0.4, 0.3)}),
    ),
    "angry": (
        # shouting: AU 4 + 7 + 10 + 22 + 25 to 27
        Recipe(core={"browDown": 1.0, "eyeSquint": 0.5, "mouthUpperUp": 0.5, "mouthFunnel": 0.4, "jawOpen": 0.6},
               optional={"mouthLowerDown": (0.6, 0.4), "noseSneer": (0.5, 0.4), "eyeWide": (0.3, 0.4)}),
        # growling
        Recipe(core={"browDown": 0.95, "noseSneer": 0.5, "mouthUpperUp": 0.6, "eyeSquint": 0.4},
               optional={"mouthLowerDown": (0.5, 0.4), "jawOpen": (0.5, 0.1)}),
        # clenched teeth bared
        Recipe(core={"browDown": 1.0, "mouthUpperUp": 0.35, "mouthLowerDown": 0.65, "mouthStretch": 0.35},
               optional={"eyeWide": (0.4, 0.4), "eyeSquint": (0.4, 0.5), "jawForward": (0.3, 0.4)}),
        # chin thrust forward
        Recipe(core={"browDown": 0.95, "jawForward": 0.7, "mouthPress": 0.6}, optional={"eyeSquint": (0.6, 0.5)}),
        # lips tight and pushed out
        Recipe(core={"browDown": 1.0, "mouthPucker": 0.4, "mouthPress": 0.45, "eyeSquint": 0.5},
               optional={"mouthShrugLower": (0.4, 0.4)}),
        # eyes nearly shut
        Recipe(core={"browDown": 1.0, "eyeSquint": 0.9, "eyeBlink": 0.4, "mouthPress": 0.65},
               optional={"mouthRollUpper": (0.4, 0.4), "mouthRollLower": (0.4, 0.4)}),
    ),
    "disgust": (
        # AU 9 + 10 + 17
        Recipe(core={"noseSneer": 0.9, "mouthUpperUp": 0.6, "mouthShrugLower": 0.7},
               optional={"browDown": (0.31, 0.6), "mouthPress": (0.26, 0.5)}),
        # gagging, the tongue out
        Recipe(core={"noseSneer": 0.75, "tongueOut": 0.7, "jawOpen": 0.45, "mouthLowerDown": 0.3},
               optional={"eyeSquint": (0.6, 0.6), "browDown": (0.5, 0.5)}),
        # eyes nearly shut
        Recipe(core={"noseSneer": 0.95, "mouthUpperUp": 0.65, "eyeBlink": 0.75, "eyeSquint": 0.6},
               optional={"browDown": (0.6, 0.5), "cheekSquint": (0.5, 0.6)}),
        # lips shut tight
        Recipe(core={"noseSneer": 0.9, "mouthPress": 0.5, "mouthShrugLower": 0.75, "mouthFrown": 0.3},
               optional={"eyeSquint": (0.5, 0.5)}),
        # the upper lip alone
        Recipe(core={"mouthUpperUp": 0.95, "noseSneer": 0.4}, optional={"browDown": (0.4, 0.4),
               "mouthFrown": (0.4, 0.4)}),
        # retching
        Recipe(core={"noseSneer": 0.85, "jawOpen": 0.35, "mouthFrown": 0.6, "mouthUpperUp": 0.4},
               optional={"mouthStretch": (0.4, 0.4), "eyeBlink": (0.4, 0.6)}),
    ),
    "fear": (
        # screaming
        Recipe(core={"browInnerUp": 0.95, "browOuterUp": 0.5, "eyeWide": 1.0, "mouthStretch": 0.8, "jawOpen": 0.8},
               optional={"browDown": (0.5, 0.3), "mouthLowerDown": (0.5, 0.4)}),
        # frozen, the mouth shut
        Recipe(core={"browInnerUp": 0.95, "eyeWide": 1.0, "mouthStretch": 0.65, "mouthPress": 0.35},
               optional={"browDown": (0.6, 0.35), "browOuterUp": (0.5, 0.4)}),
        # anxious
        Recipe(core={"browInnerUp": 0.85, "browDown": 0.4, "mouthStretch": 0.5, "mouthRollLower": 0.5},
               optional={"eyeWide": (0.6, 0.5)}),
        # flinching, the eyes shut
        Recipe(core={"browInnerUp": 0.65, "browDown": 0.5, "eyeBlink": 0.85, "eyeSquint": 0.6, "mouthStretch": 0.85},
               optional={"jawOpen": (0.4, 0.15), "mouthLowerDown": (0.5, 0.5)}),
        # teeth clenched and bared
        Recipe(core={"browInnerUp": 0.85, "eyeWide": 0.8, "mouthStretch": 0.9, "mouthLowerDown": 0.65},
               optional={"mouthUpperUp": (0.4, 0.3), "browDown": (0.5, 0.35)}),
        # a gasp
        Recipe(core={"browInnerUp": 1.0, "browDown": 0.3, "eyeWide": 1.0, "jawOpen": 0.45, "mouthStretch": 0.4},
               optional={"browOuterUp": (0.4, 0.4)}),
    ),
}  # fmt: skip
"""Six recipes a class; every class can also be held back, shown on one side or weak, see `variants.draw_manner`."""
