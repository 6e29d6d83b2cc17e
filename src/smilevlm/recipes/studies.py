"""What a study of the paper consists of: settings, methods, seeds and folds for every table and figure. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from smilevlm.errors import SettingsError
from smilevlm.results import TARGETS, Target

ProfileName = Literal["tiny", "paper"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One data set and protocol of the paper.

    Args:
        title: For people.
        data: The prepared set that is trained on.
        test_data: The one that is tested on, where that is another.
        start_from: Setting whose model, of the same method and seed, training begins with.
        all_folds: Every fold is run in every profile, such as where one subject is left out at a time.
    """

    title: str
    data: str
    test_data: str | None = None
    start_from: str | None = None
    all_folds: bool = False


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How much of a study is run.

    Args:
        prefix: Of its recipes.
        seeds: Each decides folds, weights and everything else of a run.
        folds: Folds that every run trains; None for all.
        one_seed: Methods that are run with the first seed alone: controls, and baselines far from the others.
        makes_data: Whether synthetic faces are made for sets that are not given.
    """

    prefix: str
    seeds: tuple[int, ...]
    folds: tuple[int, ...] | None
    one_seed: tuple[str, ...] = ()
    makes_data: bool = False


PROFILES: dict[ProfileName, Profile] = {
    "tiny": Profile(
        prefix="tiny_",
        seeds=(0, 1, 2),
        folds=(0,),
        one_seed=("multi_view_alone", "shuffled_prompts", "untrained", "raw_clip"),
        makes_data=True,
    ),
    "paper": Profile(prefix="paper_", seeds=(0,), folds=None),
}

SETTINGS: dict[str, Setting] = {
    "bu3dfe_subset1": Setting(title="BU-3DFE Subset I", data="bu3dfe"),
    "bu3dfe_subset2": Setting(title="BU-3DFE Subset II", data="bu3dfe"),
    "bosphorus": Setting(title="Bosphorus", data="bosphorus"),
    "bu4dfe": Setting(title="BU-4DFE", data="bu4dfe"),
    "bp4d": Setting(title="BP4D recognition", data="bp4d"),
    "bp4d_cross": Setting(title="BU-4DFE to BP4D", data="bu4dfe", test_data="bp4d"),
    "4dme": Setting(title="4DME, one class per clip", data="4dme", start_from="bu4dfe"),
    "4dme_multi_label": Setting(title="4DME, several classes per clip", data="4dme", start_from="bu4dfe"),
    "4dme_loso": Setting(title="4DME, one subject left out", data="4dme", start_from="bu4dfe", all_folds=True),
}
"""By the name of the recipe after the profile's prefix."""
SIX_SETTINGS = ("bu3dfe_subset1", "bu3dfe_subset2", "bosphorus", "bu4dfe", "bp4d", "bp4d_cross")
"""Those of Fig. 2 and Fig. 3."""
_ABLATIONS = ("full", "without_multi_view", "without_alignment", "without_redundancy")
_BASELINES = (
    "full", "multi_view_alone", "alignment_alone", "supervised", "shuffled_prompts", "untrained", "raw_clip",
)  # fmt: skip
NEEDED: dict[Target, Mapping[str, tuple[str, ...]]] = {
    "table2": {name: _BASELINES for name in ("bu3dfe_subset1", "bu3dfe_subset2", "bosphorus")},
    "table3": {"bu4dfe": _BASELINES},
    "table4": {"bp4d": _BASELINES, "bp4d_cross": _BASELINES},
    "table5": {
        "bu4dfe": ("full", "supervised", "shuffled_prompts"),
        "4dme": ("full", "supervised", "shuffled_prompts"),
        "4dme_multi_label": ("full",),
        "4dme_loso": ("full",),
    },
    "fig2": {name: _ABLATIONS for name in SIX_SETTINGS},
    "fig3": {name: _ABLATIONS for name in SIX_SETTINGS},
}
"""The methods that each table and figure shows, by setting."""
ANALYSED = ("bu3dfe_subset1", "bu4dfe")
"""Settings whose full model is looked at more closely."""
OTHER_TASKS = "bu3dfe_subset1"
"""The setting whose full model serves the tasks beside expressions: its data have neutral scans and textures."""


def targets_of(name: str) -> tuple[Target, ...]:
    """The tables and figures that one word stands for.

    Raises:
        SettingsError: The word is none of them, nor `all`.
    """
    if name == "all":
        return TARGETS
    if name not in TARGETS:
        raise SettingsError(f"no table or figure {name!r}; there are {', '.join(TARGETS)} and all")
    return (name,)
