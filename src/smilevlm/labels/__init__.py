"""Canonical expression classes, and how each data set spells them."""

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
    "MICRO_EXPRESSIONS",
    "NEUTRAL",
    "SPONTANEOUS_EXPRESSIONS",
    "UNLABELLED",
    "canonical_expression",
]
