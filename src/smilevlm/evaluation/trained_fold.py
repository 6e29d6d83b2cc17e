"""One trained fold of a run, opened for analysis after the leak checks of the evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from smilevlm.datasets import check_leaks, find_protocol
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation.run import RunIdentity, open_evaluation_data, run_identity
from smilevlm.evaluation.scoring import EvaluationData, checked_fold, class_directions, tested_indices
from smilevlm.models import ModelBundle, Prototypes, build_model
from smilevlm.parallel import ProgressCallback
from smilevlm.store import PreparedSet, Sample
from smilevlm.training import (
    ExperimentConfig,
    FoldSplit,
    check_initial_weights,
    check_known_test_people,
    config_from,
    fold_jobs,
    fold_seed,
    load_initial_weights,
    read_run_config,
)

if TYPE_CHECKING:
    from smilevlm.models import SmileVlm


@dataclass(frozen=True, kw_only=True)
class TrainedFold:
    """A trained fold: its model, its subjects, and its test samples of exactly one class.

    Attributes:
        folder: Of the fold.
        identity: Of the run, for result files.
        config: The run's recipe.
        data: Its store.
        split: Training, validation and test subjects.
        bundle: The trained model.
    """

    folder: Path
    identity: RunIdentity
    config: ExperimentConfig
    data: EvaluationData
    split: FoldSplit
    bundle: ModelBundle

    @property
    def prepared(self) -> PreparedSet:
        """The store, which holds training and test samples."""
        return self.data.test

    @cached_property
    def prototypes(self) -> Prototypes:
        """The classes that are compared."""
        return class_directions(self.bundle, self.data.classes)

    @cached_property
    def indices(self) -> tuple[int, ...]:
        """Test samples of exactly one class, into the store."""
        tested = tested_indices(self.data, self.split)
        single = tuple(index for index in tested if len(self.prepared.samples[index].classes) == 1)
        if not single:
            raise SettingsError(f"{self.folder}: none of the {len(tested)} test samples has exactly one class")
        return single

    @property
    def num_left_out(self) -> int:
        """Test samples of several classes."""
        return len(tested_indices(self.data, self.split)) - len(self.indices)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The test samples of `indices`, without their images."""
        return tuple(self.prepared.samples[index] for index in self.indices)

    @cached_property
    def truth(self) -> Int[np.ndarray, " n"]:
        """Index of each of these samples' class."""
        return np.array([self.prototypes.classes.index(sample.expression) for sample in self.samples])


def open_trained_fold(run: Path, store: Path, fold: int | None) -> TrainedFold:
    """Open a run as evaluation does.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which; None for the first that is trained.
    """
    described = read_run_config(run)
    config = config_from(described["settings"])
    if find_protocol(config.protocol).train_on is not None:
        raise SettingsError(
            f"protocol {config.protocol} tests on another data set than it trains on; such a run cannot be analysed yet"
        )
    data = open_evaluation_data(config, described["manifest_hash"], store, None, run)
    jobs = [job for job in fold_jobs(config, None if fold is None else [fold]) if not job.shuffled]
    trained = [job for job in jobs if job.is_trained(run)]
    if not trained:
        what = "no trained fold" if fold is None else f"no trained fold {fold}"
        raise CheckpointError(f"{run} has {what}; run `smilevlm train` first")
    folder = trained[0].folder(run)
    split, bundle = checked_fold(config, data, folder, trained[0].fold)
    return TrainedFold(
        folder=folder,
        identity=run_identity(described, config, data.test.manifest),
        config=config,
        data=data,
        split=split,
        bundle=bundle,
    )


def open_fold_people(run: Path, store: Path, fold: int | None) -> TrainedFold:
    """Open a fold to test all scans of its test subjects; leaks are also checked on those its protocol leaves out."""
    trained = open_trained_fold(run, store, fold)
    split, samples = trained.split, trained.prepared.samples
    known, test = (
        [samples[i] for i in samples_of_subjects(samples, names)]
        for names in ((*split.train_subjects, *split.validation_subjects), split.test_subjects)
    )
    check_leaks(known, test)
    check_known_test_people(trained.bundle, split, test, same_set=True, place=trained.folder)
    return trained


def samples_of_subjects(samples: Sequence[Sample], subjects: Iterable[str]) -> list[int]:
    """Indices of the samples of some people."""
    wanted = set(subjects)
    return [i for i, sample in enumerate(samples) if sample.subject in wanted]


def untrained_model(fold: TrainedFold) -> SmileVlm:
    """The model that the fold's training began with: the same seed's fresh weights, or those it started from.

    Raises:
        CheckpointError: The model that it started from, or the pretrained tower, is no longer there.
        LeakError, StoreError: The model that it started from does not fit.
    """
    import torch

    config, split = fold.config, fold.split
    if config.start_from is not None:
        manifest, digests = fold.prepared.manifest, [sample.digest for sample in fold.samples]
        _, start = load_initial_weights(config.start_from, "start_from", manifest, other_spans=True)
        check_initial_weights(start, "start_from", manifest, split.test_subjects, test_digests=digests)
        return start.model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold_seed(config, split.fold))
        return build_model(config.model).eval()


class StepCounter:
    """Counts steps for a progress bar.

    Args:
        total: How many there will be.
        progress: Called after each; may be None.
    """

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
