"""The recipe for a folder of one's own scans, whose settings are fitted to what the prepared store holds."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from smilevlm.datasets import find_protocol
from smilevlm.errors import SettingsError
from smilevlm.prompts import prompt_set_for
from smilevlm.recipes.tiny import demo
from smilevlm.training import ExperimentConfig, split_folds

if TYPE_CHECKING:
    from smilevlm.store import PreparedSet

_STEPS = 250
_FEWEST_EPOCHS, _MOST_EPOCHS = 8, 60


def folder() -> ExperimentConfig:
    """Your own scans in folders `SUBJECT/CLASS/`, the demo's tower from scratch; fitted to the store by `train`.

    Fitted are the views (as the store has them), the prompt set (by the classes that are there), num_folds (at most 5,
    at most the number of subjects), the batch size (at most 32, at most the samples of the smallest training side) and
    the epochs (8 to 60, about 250 steps). What `--set` names is left alone.

    Command: smilevlm prepare folder SCANS store; smilevlm train folder --store store --out run
    Hardware: 2 CPU cores, 4 GB of memory
    Time: about a minute per fold for views of 64 pixels
    """
    return replace(demo(), name="folder", protocol="folder", prompt_set="class_names")


def fitted_to_store(config: ExperimentConfig, store: PreparedSet, given: Collection[str]) -> ExperimentConfig:
    """The recipe with the settings that follow from the store.

    Args:
        config: `folder()`, with what the user set.
        store: Of layout `folder`.
        given: Settings by name that the user set; they stay.

    Raises:
        SettingsError: There are fewer than two subjects or two classes.
        LayoutError: No sample has a class.
    """
    protocol = find_protocol(config.protocol)
    if store.manifest.layout != protocol.layout:
        return config  # which is refused later, with everything else that does not fit
    chosen = [store.samples[index] for index in protocol.select(store.samples)]
    classes = protocol.classes_of(store.samples)
    subjects = {sample.subject for sample in chosen}
    if len(classes) < 2 or len(subjects) < 2:
        raise SettingsError(
            f"{store.path} holds {len(subjects)} subject(s) and {len(classes)} class(es), {', '.join(classes)}; "
            "training needs two subjects, one of them to be tested on, and two classes: add scans and prepare again"
        )
    if not any(name.startswith("prepare.") for name in given):
        config = replace(config, prepare=store.manifest.settings)
    if "prompt_set" not in given:
        config = replace(config, prompt_set=prompt_set_for(classes))
    if "num_folds" not in given:
        num_folds = min(config.num_folds, len(subjects))
        config = replace(config, num_folds=num_folds, num_control_folds=min(config.num_control_folds, num_folds))
    if not 2 <= config.num_folds <= len(subjects):
        return config
    fewest = min(len(split.train) for split in split_folds(config, store))
    optimiser = config.optimiser
    if "optimiser.batch_size" not in given:
        optimiser = replace(optimiser, batch_size=max(2, min(optimiser.batch_size, fewest)))
    if "optimiser.epochs" not in given:
        epochs = math.ceil(_STEPS / max(1, fewest // optimiser.batch_size))
        optimiser = replace(optimiser, epochs=min(max(epochs, _FEWEST_EPOCHS), _MOST_EPOCHS))
    return replace(config, optimiser=optimiser)
