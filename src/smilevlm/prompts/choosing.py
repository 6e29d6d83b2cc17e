"""Which prompt set of the package suits given classes."""

from __future__ import annotations

from collections.abc import Collection

from smilevlm.prompts.yaml_file import load_prompt_set

_IN_ORDER = ("basic_expressions", "basic_expressions_neutral", "spontaneous_expressions", "micro_expressions")
_BY_NAME = "class_names"
"""Makes prompts of the names of classes, whatever they are."""


def prompt_set_for(classes: Collection[str]) -> str:
    """The first prompt set that describes all these classes; `class_names` where none does."""
    for name in _IN_ORDER:
        if set(classes) <= set(load_prompt_set(name).classes):
            return name
    return _BY_NAME
