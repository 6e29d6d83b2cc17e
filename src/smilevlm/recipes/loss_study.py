"""What `smilevlm reproduce losses` trains: languages, numbers of labels, and the losses that are left out. Values only.

The three contrasts, the columns and the margin of equivalence are named here, before any number is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from smilevlm.recipes.studies import ProfileName
from smilevlm.results import LossContrast, LossSetting


@dataclass(frozen=True, kw_only=True)
class LossProfile:
    """How much is run.

    Args:
        prefix: Of the recipes.
        num_steps: Of every training.
        num_units: Populations of synthetic people, one training of each kind on each; None for the folds of one
            prepared set that is given.
        num_people: Of each population, a third of whom are tested.
        num_other_people: Of another head model, per population.
    """

    prefix: str
    num_steps: int
    num_units: int | None
    num_people: int = 72
    num_other_people: int = 24


MARGIN = 0.03
"""Differences below 3 points are taken for equal."""
FEW_LABELS = (6, 12)
CONTRASTS: tuple[LossContrast, ...] = (
    LossContrast(title="multi-view Barlow Twins", method="without_multi_view", reading="prompts"),
    LossContrast(title="redundancy minimisation", method="without_redundancy", reading="prompts"),
    LossContrast(title="vision-language alignment", method="without_alignment", reading="linear_probe"),
)
"""The three of the paper. Beside them, with few labels:"""
PRETRAINING = LossContrast(
    title="multi-view pretraining", first="pretrained", method="without_multi_view", reading="prompts"
)
_COMPARED = ("full", "without_multi_view", "without_redundancy")
_ALONE = ("without_alignment", "alignment_alone", "multi_view_alone", "shuffled_prompts", "untrained")


def _setting(language: str, words: str, num_labelled: int | None, methods: tuple[str, ...]) -> LossSetting:
    captions = language == "captions"
    labels = "all labels" if num_labelled is None else f"labels of {num_labelled} people"
    return LossSetting(
        name=f"{language}_{num_labelled or 'all'}",
        title=f"{words}, {labels}",
        recipe="losses_captions" if captions else "losses",
        num_labelled=num_labelled,
        methods=methods,
        has_captions=captions,
    )


_SETTINGS = (
    _setting("class", "class prompts", None, (*_COMPARED, *_ALONE)),
    *(_setting("class", "class prompts", number, (*_COMPARED, "pretrained")) for number in reversed(FEW_LABELS)),
    *(_setting("captions", "captions", number, _COMPARED) for number in (None, *reversed(FEW_LABELS))),
)
LOSS_SETTINGS: dict[str, LossSetting] = {setting.name: setting for setting in _SETTINGS}
LOSS_PROFILES: dict[ProfileName, LossProfile] = {
    "tiny": LossProfile(prefix="tiny_", num_steps=400, num_units=10),
    "paper": LossProfile(prefix="paper_", num_steps=1200, num_units=None),
}
