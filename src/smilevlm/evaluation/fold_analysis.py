"""The fold that is analysed: its model on its test samples, after everything that evaluation refuses was looked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from smilevlm.errors import SettingsError
from smilevlm.evaluation.scoring import class_directions, tested_indices
from smilevlm.evaluation.trained_fold import open_trained_fold
from smilevlm.models import ModelBundle, Prototypes
from smilevlm.store import PreparedSet, Sample
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.initial_weights import load_initial_weights
from smilevlm.training.splits import FoldSplit, fold_seed

if TYPE_CHECKING:
    from smilevlm.models import SmileVlm


@dataclass(frozen=True, kw_only=True)
class AnalysedFold:
    """One trained fold and the test samples that are analysed.

    Args:
        described: What the run says of itself, as `read_run_config` gives it.
        config: The run's recipe.
        prepared: The store.
        split: Who is where.
        bundle: The trained model.
        indices: Test samples of exactly one class, into the store.
        prototypes: The classes that are compared.
        num_left_out: Test samples of several classes.
    """

    described: dict[str, Any]
    config: ExperimentConfig
    prepared: PreparedSet
    split: FoldSplit
    bundle: ModelBundle
    indices: tuple[int, ...]
    prototypes: Prototypes
    num_left_out: int

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The test samples without their images."""
        return tuple(self.prepared.samples[index] for index in self.indices)

    @cached_property
    def truth(self) -> Int[np.ndarray, " n"]:
        """Index of each test sample's class."""
        return np.array([self.prototypes.classes.index(sample.expression) for sample in self.samples])


def open_fold(run: Path, store: Path, fold: int | None) -> AnalysedFold:
    """Open a run as evaluation does.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which; None for the first that is trained.

    Raises:
        CheckpointError: The fold is not trained, or the fold file, its split or its model is not the recipe's.
        StoreError: The store is not the run's.
        SettingsError: The run tests on another data set than it trained on, the fold is out of range, or no test sample
            has exactly one class.
        LeakError: A test subject or test sample was in training or had a part in a choice.
        PromptError: The prompts were changed since training.
    """
    opened = open_trained_fold(run, store, fold)
    tested, split = opened.tested, opened.split
    everyone = tested_indices(tested, split)
    single = tuple(index for index in everyone if len(tested.test.samples[index].classes) == 1)
    if not single:
        raise SettingsError(f"{opened.folder}: none of the {len(everyone)} test samples has exactly one class")
    return AnalysedFold(
        described=opened.described,
        config=opened.config,
        prepared=tested.test,
        split=split,
        bundle=opened.bundle,
        indices=single,
        prototypes=class_directions(opened.bundle, tested.classes),
        num_left_out=len(everyone) - len(single),
    )


def untrained_model(fold: AnalysedFold) -> SmileVlm:
    """The model that the fold's training began with: the same seed's fresh weights, or those it started from.

    Raises:
        CheckpointError: The model that it started from, or the pretrained tower, is no longer there.
        LeakError, StoreError: The model that it started from does not fit.
    """
    import torch

    from smilevlm.models import build_model

    config, split = fold.config, fold.split
    if config.start_from is not None:
        _, start = load_initial_weights(
            config.start_from,
            "start_from",
            fold.prepared.manifest,
            split.test_subjects,
            test_digests=[sample.digest for sample in fold.samples],
        )
        return start.model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold_seed(config, split.fold))
        return build_model(config.model).eval()
