"""What `smilevlm reproduce losses` trains: languages, numbers of labels, and the losses that are left out. Values only.

The three contrasts, the columns and the margin of equivalence are named here, before any number is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smilevlm.errors import SettingsError
from smilevlm.recipes.studies import ProfileName

Reading = Literal["prompts", "linear_probe"]


@dataclass(frozen=True, kw_only=True)
class LossSetting:
    """One language with labels of so many training people.

    Args:
        title: For people.
        recipe: Name after the profile's prefix.
        num_labelled: Training people whose samples have prompts; None for all.
        methods: What is trained.
        has_captions: Whether sentences about single facial actions are scored as well.
    """

    title: str
    recipe: str
    num_labelled: int | None
    methods: tuple[str, ...]
    has_captions: bool = False


@dataclass(frozen=True, kw_only=True)
class LossContrast:
    """What a loss is worth: the full method minus the one without it.

    Args:
        title: Of the loss.
        method: That lacks it.
        reading: How classes are read; without alignment there is nothing that prompts could be compared with.
    """

    title: str
    method: str
    reading: Reading


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
_COMPARED = ("full", "without_multi_view", "without_redundancy")
_ALONE = ("without_alignment", "alignment_alone", "multi_view_alone", "shuffled_prompts", "untrained")
LOSS_SETTINGS: dict[str, LossSetting] = {
    "class_all": LossSetting(
        title="class prompts, all labels", recipe="losses", num_labelled=None, methods=(*_COMPARED, *_ALONE)
    ),
    **{
        f"class_{number}": LossSetting(
            title=f"class prompts, labels of {number} people", recipe="losses", num_labelled=number, methods=_COMPARED
        )
        for number in reversed(FEW_LABELS)
    },
    "captions_all": LossSetting(
        title="captions, all labels",
        recipe="losses_captions",
        num_labelled=None,
        methods=_COMPARED,
        has_captions=True,
    ),
    **{
        f"captions_{number}": LossSetting(
            title=f"captions, labels of {number} people",
            recipe="losses_captions",
            num_labelled=number,
            methods=_COMPARED,
            has_captions=True,
        )
        for number in reversed(FEW_LABELS)
    },
}
LOSS_PROFILES: dict[ProfileName, LossProfile] = {
    "tiny": LossProfile(prefix="tiny_", num_steps=300, num_units=10),
    "paper": LossProfile(prefix="paper_", num_steps=1200, num_units=None),
}


def loss_setting(name: str) -> LossSetting:
    """Raises:
    SettingsError: No setting has this name.
    """
    if name not in LOSS_SETTINGS:
        raise SettingsError(f"no setting {name!r}; there are {', '.join(LOSS_SETTINGS)}")
    return LOSS_SETTINGS[name]
