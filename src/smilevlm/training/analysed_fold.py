"""The fold that is analysed: its model on its test samples, after everything that evaluation refuses was looked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from smilevlm.datasets import find_protocol
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation import Prototypes
from smilevlm.evaluation.recogniser import Recogniser
from smilevlm.store import PreparedSet, Sample
from smilevlm.training.earlier import load_earlier
from smilevlm.training.evaluate import open_tested
from smilevlm.training.fold import fold_stream
from smilevlm.training.resolve import config_from
from smilevlm.training.run import fold_jobs, read_run_config
from smilevlm.training.scoring import checked_fold, class_directions, tested_indices
from smilevlm.training.settings import ExperimentConfig
from smilevlm.training.splits import FoldSplit

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
        recogniser: The trained model.
        indices: Test samples of exactly one class, into the store.
        prototypes: The classes that are compared.
        num_left_out: Test samples of several classes.
    """

    described: dict[str, Any]
    config: ExperimentConfig
    prepared: PreparedSet
    split: FoldSplit
    recogniser: Recogniser
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
    described = read_run_config(run)
    config = config_from(described["settings"])
    if find_protocol(config.protocol).train_on is not None:
        raise SettingsError(
            f"protocol {config.protocol} tests on another data set than it trains on; such a run cannot be analysed"
        )
    tested = open_tested(config, described["manifest_hash"], store, None, run)
    jobs = [job for job in fold_jobs(config, None if fold is None else [fold]) if not job.shuffled]
    trained = [job for job in jobs if job.is_trained(run)]
    if not trained:
        what = "no trained fold" if fold is None else f"no trained fold {fold}"
        raise CheckpointError(f"{run} has {what}; run `smilevlm train` first")
    folder = trained[0].folder(run)
    split, recogniser = checked_fold(config, tested, folder, trained[0].fold)
    everyone = tested_indices(tested, split)
    single = tuple(index for index in everyone if len(tested.test.samples[index].classes) == 1)
    if not single:
        raise SettingsError(f"{folder}: none of the {len(everyone)} test samples has exactly one class")
    return AnalysedFold(
        described=described,
        config=config,
        prepared=tested.test,
        split=split,
        recogniser=recogniser,
        indices=single,
        prototypes=class_directions(recogniser, tested.classes),
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
        _, start = load_earlier(
            config.start_from,
            "start_from",
            fold.prepared.manifest,
            split.test_subjects,
            test_digests=[sample.digest for sample in fold.samples],
        )
        return start.model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold_stream(config, split.fold))
        return build_model(config.model).eval()
