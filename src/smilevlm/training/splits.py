"""Who is where in the folds of a run: the splits of a recipe, the file that keeps them, and the leak check on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
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

_HELD_BACK = 7
"""Keeps the draw of validation subjects apart from other draws with the same seed."""


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


def split_folds(config: ExperimentConfig, prepared: PreparedSet) -> list[FoldSplit]:
    """The subject-independent splits of the recipe's protocol.

    Raises:
        LayoutError: The store lacks samples or subjects that the protocol needs.
        SettingsError: The number of folds does not fit the protocol or the subjects.
    """
    samples = prepared.samples
    protocol = find_protocol(config.protocol)
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
    return FoldSplit(
        fold=fold,
        num_folds=num_folds,
        train_subjects=tuple(sorted({samples[i].subject for i in train})),
        validation_subjects=tuple(sorted(held_back)),
        test_subjects=tuple(sorted({samples[i].subject for i in test})),
        train=train,
        validation=tuple(i for i in learned_from if samples[i].subject in held_back),
        test=tuple(test),
        captioned=captioned_beside(config.pairing, samples, train),
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
    """Samples that training sees: those of classes, those of captions alone, those that an epoch is chosen on."""
    return split.train, split.captioned, split.validation


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
        [prepared.samples[i] for i in side] for side in ((*split.train, *split.captioned), split.validation, split.test)
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
                **({"captioned": [samples[index].sample_id for index in split.captioned]} if split.captioned else {}),
            }
            for split in splits
        ],
    }
