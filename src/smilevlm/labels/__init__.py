"""Canonical expression classes and facial actions, and how each data set spells them."""

from smilevlm.labels.actions import (
    FACIAL_ACTIONS,
    FACS_INTENSITY,
    LEAST_INTENSITY,
    PRESENT_INTENSITY,
    ActionIntensities,
    FacialAction,
    Side,
    action_intensities,
    actions_from_arkit,
    arkit_weight,
    facs_code,
    side_of,
)
from smilevlm.labels.classes import (
    BASIC_EXPRESSIONS,
    MICRO_EXPRESSIONS,
    NEUTRAL,
    SPONTANEOUS_EXPRESSIONS,
    UNLABELLED,
    canonical_expression,
)

__all__ = [
    "BASIC_EXPRESSIONS",
    "FACIAL_ACTIONS",
    "FACS_INTENSITY",
    "LEAST_INTENSITY",
    "MICRO_EXPRESSIONS",
    "NEUTRAL",
    "PRESENT_INTENSITY",
    "SPONTANEOUS_EXPRESSIONS",
    "UNLABELLED",
    "ActionIntensities",
    "FacialAction",
    "Side",
    "action_intensities",
    "actions_from_arkit",
    "arkit_weight",
    "canonical_expression",
    "facs_code",
    "side_of",
]
