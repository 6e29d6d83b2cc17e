"""Named experiments: functions that return a complete configuration. Values only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from smilevlm.errors import SettingsError

if TYPE_CHECKING:
    from smilevlm.training.settings import ExperimentConfig


def _demo() -> ExperimentConfig:
    from smilevlm.recipes.tiny import demo

    return demo()


RECIPES: dict[str, Callable[[], ExperimentConfig]] = {
    "demo": _demo,
}


def find_recipe(name: str) -> ExperimentConfig:
    """Raises:
    SettingsError: No recipe has this name.
    """
    if name not in RECIPES:
        raise SettingsError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()
