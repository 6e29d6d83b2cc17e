"""Who is where in the folds of a run: the splits of a recipe, the file that keeps them, and the leak check on them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smilevlm.datasets import check_leaks, find_protocol, protocol_folds
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.files import write_atomically
from smilevlm.store import PreparedSet, Sample
from smilevlm.training.captions import captioned_beside
from smilevlm.training.config import ExperimentConfig

FOLDS_NAME = "folds.json"

_HELD_BACK, _LABELLED = 7, 8
"""Keep the draws of validation subjects and of labelled subjects apart from other draws with the same seed."""


@dataclass(frozen=True, kw_only=True)
class FoldSplit:
    """Who is where in one fold; written beside the fold's weights.

    Args:
        fold: Index from zero.
        num_folds: Folds of the protocol.
        train_subjects, validation_subjects, test_subjects: Disjoint; there may be no validation subjects.
        train, validation, test: Indices into the prepared set; `test` is empty where another set is tested on.
        captioned: Further samples of the training subjects for pairings by captions: without a class, or with several,
            each of which then stands for a share of the sample (a soft label).
        labelled_subjects: Training subjects whose samples have prompts; None for all.
        unlabelled: Further samples for the multi-view loss alone, see `ExperimentConfig.unlabelled_samples`; their
            subjects are among the training subjects.
    """

    fold: int
    num_folds: int
    train_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    test_subjects: tuple[str, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    captioned: tuple[int, ...] = ()
    labelled_subjects: tuple[str, ...] | None = None
    unlabelled: tuple[int, ...] = ()

    def labelled_samples(self, samples: Sequence[Sample]) -> tuple[int, ...]:
        """Those of `train` whose class training is told."""
        if self.labelled_subjects is None:
            return self.train
        return tuple(i for i in self.train if samples[i].subject in self.labelled_subjects)


def split_folds(config: ExperimentConfig, prepared: PreparedSet) -> list[FoldSplit]:
    """The subject-independent splits of the recipe's protocol.

    Raises:
        LayoutError: The store lacks samples or subjects that the protocol needs.
        SettingsError: The number of folds does not fit the protocol or the subjects.
    """
    samples = prepared.samples
    protocol = find_protocol(config.protocol)
    if isinstance(config.labelled_subjects, tuple):
        unknown = sorted(set(config.labelled_subjects) - {sample.subject for sample in samples})
        if unknown:
            raise SettingsError(f"labelled_subjects: {prepared.path} has no subject {', '.join(unknown)}")
    if protocol.train_on is not None:
        # The test samples lie in a store of their own, which training never opens.
        return [_fold_split(config, samples, 0, protocol.training.select(samples), [], num_folds=1)]
    folds = protocol_folds(protocol, samples, config.num_folds, config.seed, repeat=config.repeat)
    if len(folds) != config.num_folds:
        raise SettingsError(
            f"protocol {config.protocol} has {len(folds)} folds on {prepared.path}; set num_folds={len(folds)}"
        )
    return [
        _fold_split(config, samples, fold, train.tolist(), test.tolist(), num_folds=len(folds))
        for fold, (train, test) in enumerate(folds)
    ]


def _fold_split(
    config: ExperimentConfig,
    samples: Sequence[Sample],
    fold: int,
    learned_from: list[int],
    test: list[int],
    *,
    num_folds: int,
) -> FoldSplit:
    held_back = _held_back(config, sorted({samples[i].subject for i in learned_from}), fold)
    train = tuple(i for i in learned_from if samples[i].subject not in held_back)
    labelled = _labelled(config, sorted({samples[i].subject for i in train}), fold)
    with_prompts = [i for i in train if labelled is None or samples[i].subject in labelled]
    if labelled is not None and len({samples[i].expression for i in with_prompts}) < 2:
        raise SettingsError(f"the labelled subjects of fold {fold} show one class; two or more are needed")
    captioned = captioned_beside(config.pairing, samples, with_prompts)
    elsewhere = {*held_back, *(samples[i].subject for i in test)}
    unlabelled = _unlabelled(config, samples, {*train, *captioned}, elsewhere)
    return FoldSplit(
        fold=fold,
        num_folds=num_folds,
        train_subjects=tuple(sorted({samples[i].subject for i in (*train, *unlabelled)})),
        validation_subjects=tuple(sorted(held_back)),
        test_subjects=tuple(sorted({samples[i].subject for i in test})),
        train=train,
        validation=tuple(i for i in learned_from if samples[i].subject in held_back),
        test=tuple(test),
        captioned=captioned,
        labelled_subjects=labelled,
        unlabelled=unlabelled,
    )


def _labelled(config: ExperimentConfig, subjects: Sequence[str], fold: int) -> tuple[str, ...] | None:
    """Those of the fold's training subjects whose labels are used."""
    wanted = config.labelled_subjects
    if wanted is None:
        return None
    if isinstance(wanted, int):
        if wanted > len(subjects):
            raise SettingsError(f"labelled_subjects is {wanted}, but fold {fold} trains on {len(subjects)} subjects")
        generator = np.random.default_rng([config.seed, fold, _LABELLED])
        return tuple(sorted(generator.permutation(subjects)[:wanted].tolist()))
    if found := tuple(name for name in subjects if name in wanted):
        return found
    raise SettingsError(f"none of labelled_subjects {', '.join(wanted)} is a training subject of fold {fold}")


def _unlabelled(
    config: ExperimentConfig, samples: Sequence[Sample], taken: Collection[int], elsewhere: Collection[str]
) -> tuple[int, ...]:
    """Samples for the multi-view loss alone, none of them `taken` or of subjects that are `elsewhere` in the fold."""
    if config.unlabelled_samples == "none":
        return ()
    protocol, subjects = find_protocol(config.protocol).training, {samples[i].subject for i in taken}
    return tuple(
        i
        for i, sample in enumerate(samples)
        if i not in taken
        and sample.subject not in elsewhere
        and (
            config.unlabelled_samples == "all" or (sample.subject in subjects and protocol.takes_without_class(sample))
        )
    )


def _held_back(config: ExperimentConfig, subjects: Sequence[str], fold: int) -> set[str]:
    """Subjects of the fold's training side that choose the epoch."""
    if not config.validation.share:
        return set()
    count = max(1, round(config.validation.share * len(subjects)))
    if count >= len(subjects):
        raise SettingsError(f"validation.share {config.validation.share} leaves none of {len(subjects)} to train on")
    generator = np.random.default_rng([config.seed, fold, _HELD_BACK])
    return {subjects[int(i)] for i in generator.choice(len(subjects), count, replace=False)}


def trained_sides(split: FoldSplit) -> tuple[tuple[int, ...], ...]:
    """Samples that training sees: of classes, of captions alone, without a prompt, and those that choose an epoch."""
    return split.train, split.captioned, split.unlabelled, split.validation


def num_batched_samples(config: ExperimentConfig, split: FoldSplit, samples: Sequence[Sample]) -> int:
    """So many samples batches are made of: those without a prompt only where a loss sees them."""
    if config.all_paired or config.uses_unpaired:
        return len(split.train) + len(split.captioned) + len(split.unlabelled)
    return len(split.labelled_samples(samples)) + len(split.captioned)


def split_fold(config: ExperimentConfig, prepared: PreparedSet, fold: int) -> FoldSplit:
    """One of `split_folds`."""
    return split_folds(config, prepared)[fold]


def fold_seed(config: ExperimentConfig, fold: int) -> int:
    """Seed of everything that is drawn while a fold is trained."""
    return int(np.random.SeedSequence([config.seed, fold]).generate_state(1)[0])


def check_split_leaks(split: FoldSplit, prepared: PreparedSet) -> None:
    """Raises:
    LeakError: A test sample of the split is known from its training or validation samples.
    """
    train, validation, test = (
        [prepared.samples[i] for i in side]
        for side in ((*split.train, *split.captioned, *split.unlabelled), split.validation, split.test)
    )
    check_leaks(train, test)
    check_leaks(validation, test)


def write_folds(config: ExperimentConfig, prepared: PreparedSet, run: Path) -> None:
    """Keep every fold's subjects and samples by name, so that others can use the same folds."""
    write_atomically(run / FOLDS_NAME, json.dumps(_described_folds(config, prepared), indent=1) + "\n")


def check_folds(config: ExperimentConfig, prepared: PreparedSet, run: Path) -> None:
    """Raises:
    CheckpointError: The run's fold file is missing, damaged, or not what recipe and store give.
    """
    path = run / FOLDS_NAME
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; the run was begun with another version of smilevlm") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if found != _described_folds(config, prepared):
        raise CheckpointError(f"{path} is not what the run's recipe gives on {prepared.path}; train again")


def _described_folds(config: ExperimentConfig, prepared: PreparedSet) -> dict[str, Any]:
    samples = prepared.samples
    splits = split_folds(config, prepared)
    used = {i for split in splits for side in (*trained_sides(split), split.test) for i in side}
    return {
        "protocol": config.protocol,
        "scheme": find_protocol(config.protocol).scheme,
        "seed": config.seed,
        "repeat": config.repeat,
        "num_samples_used": len(used),
        "num_samples_left_out": len(samples) - len(used),
        "folds": [
            {
                "fold": split.fold,
                "train_subjects": list(split.train_subjects),
                "validation_subjects": list(split.validation_subjects),
                "test_subjects": list(split.test_subjects),
                "train": [samples[index].sample_id for index in split.train],
                "validation": [samples[index].sample_id for index in split.validation],
                "test": [samples[index].sample_id for index in split.test],
                **_described_labels(split, samples),
            }
            for split in splits
        ],
    }


def _described_labels(split: FoldSplit, samples: Sequence[Sample]) -> dict[str, list[str]]:
    """What only some recipes have."""
    sides = {"captioned": split.captioned, "unlabelled": split.unlabelled}
    described = {name: [samples[index].sample_id for index in side] for name, side in sides.items() if side}
    if split.labelled_subjects is not None:
        described["labelled_subjects"] = list(split.labelled_subjects)
    return described
