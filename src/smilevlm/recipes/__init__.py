"""Named experiments: functions that return a complete configuration. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.errors import SettingsError
from smilevlm.recipes.methods import METHODS, Method, with_method
from smilevlm.recipes.studies import (
    ANALYSED,
    NEEDED,
    OTHER_TASKS,
    PROFILES,
    SETTINGS,
    Profile,
    ProfileName,
    Setting,
    targets_of,
)

if TYPE_CHECKING:
    from smilevlm.training import ExperimentConfig

__all__ = [
    "ANALYSED",
    "FITTED",
    "METHODS",
    "NEEDED",
    "OTHER_TASKS",
    "PROFILES",
    "RECIPES",
    "SETTINGS",
    "Method",
    "Profile",
    "ProfileName",
    "Setting",
    "find_recipe",
    "recipe_for_store",
    "targets_of",
    "with_method",
]
RECIPES: dict[str, str] = {
    "bundled": "bundled",
    "demo": "tiny",
    "few_labels": "tiny",
    "folder": "own_data",
    **{f"tiny_{setting}": "tiny" for setting in (*SETTINGS, "losses", "losses_captions")},
    **{f"paper_{setting}": "paper" for setting in (*SETTINGS, "losses", "losses_captions")},
}
"""The module of this room that has each recipe as a function; it brings in torch, so it is imported when asked for."""

FITTED = ("folder",)
"""Recipes whose settings follow from the store."""


def find_recipe(name: str) -> ExperimentConfig:
    """Raises:
    SettingsError: No recipe has this name.
    """
    if name not in RECIPES:
        raise SettingsError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return getattr(import_module(f"{__name__}.{RECIPES[name]}"), name)()


def recipe_for_store(name: str, store: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """A recipe; one of `FITTED` with the settings that follow from the store, those aside that are overridden.

    Args:
        name: Of the recipe.
        store: A prepared set.
        overrides: That will be laid on the recipe, like `num_folds=2`. They are not yet, but what follows from them is.

    Raises:
        SettingsError: No recipe has this name, one of `FITTED` cannot be overridden like that, or the store has too few
            subjects or classes.
        StoreError: The store is unfinished or damaged.
    """
    config = find_recipe(name)
    if name not in FITTED:
        return config
    from smilevlm.recipes.own_data import fitted_to_store
    from smilevlm.store import PreparedSet
    from smilevlm.training import by_current_names, with_overrides

    overrides = by_current_names(overrides)
    given = {item.partition("=")[0] for item in overrides}
    return fitted_to_store(with_overrides(config, overrides), PreparedSet(store), given)
