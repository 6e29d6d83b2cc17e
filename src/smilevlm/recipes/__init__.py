"""Named experiments: functions that return a complete configuration. Values only."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from smilevlm.errors import SettingsError

if TYPE_CHECKING:
    from smilevlm.training.settings import ExperimentConfig

_SETTINGS = (
    "bu3dfe_subset1", "bu3dfe_subset2", "bosphorus", "bu4dfe", "bp4d", "bp4d_cross", "4dme", "4dme_multi_label",
    "4dme_loso",
)  # fmt: skip
RECIPES: dict[str, str] = {
    "bundled": "bundled",
    "demo": "tiny",
    **{f"tiny_{setting}": "tiny" for setting in _SETTINGS},
    **{f"paper_{setting}": "paper" for setting in _SETTINGS},
}
"""The module of this room that has each recipe as a function; it brings in torch, so it is imported when asked for."""


def find_recipe(name: str) -> ExperimentConfig:
    """Raises:
    SettingsError: No recipe has this name.
    """
    if name not in RECIPES:
        raise SettingsError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return getattr(import_module(f"{__name__}.{RECIPES[name]}"), name)()
