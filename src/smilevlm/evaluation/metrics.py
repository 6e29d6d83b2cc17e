"""Scores of a set of predictions, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from smilevlm.errors import SettingsError
from smilevlm.results import (
    ConfusionMatrix,
    Interval,
    bootstrap_interval,
    class_f1,
    class_recall,
)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Scores over all classes; a class that is never there counts as zero instead of being left out."""

    accuracy: float
    macro_f1: float
    per_class_f1: dict[str, float]
    unweighted_average_recall: float
    confusion_matrix: ConfusionMatrix


def classification_metrics(
    truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], classes: Sequence[str]
) -> Metrics:
    """Score predictions.

    Args:
        truth: Index into `classes`.
        predicted: Index into `classes`.
        classes: All of them, also those that do not occur.

    Raises:
        SettingsError: There are no samples, or an index is none of a class.
    """
    if len(truth) == 0:
        raise SettingsError("there are no test samples to score")
    for name, values in (("truth", truth), ("predicted", predicted)):
        if values.min() < 0 or values.max() >= len(classes):
            raise SettingsError(f"{name} holds class {int(values.min())} to {int(values.max())} of {len(classes)}")
    # Counted here and not by scikit-learn, whose checks cost more than a fold's dozen of small matrices.
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    matrix: ConfusionMatrix = tuple(tuple(int(count) for count in row) for row in counts)
    f1 = class_f1(matrix)
    return Metrics(
        accuracy=float(np.trace(counts) / counts.sum()),
        macro_f1=float(f1.mean()),
        per_class_f1={name: float(value) for name, value in zip(classes, f1, strict=True)},
        unweighted_average_recall=float(class_recall(matrix).mean()),
        confusion_matrix=matrix,
    )


def class_indices(names: Sequence[str], classes: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Index into `classes` of each name.

    Raises:
        SettingsError: A name is none of the classes.
    """
    if unknown := sorted(set(names) - set(classes)):
        raise SettingsError(f"{', '.join(unknown)} are none of the classes {', '.join(classes)}")
    places = {name: index for index, name in enumerate(classes)}
    return np.array([places[name] for name in names], dtype=np.int64)


def subject_counts(correct: Bool[np.ndarray, " n"], subjects: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Subject to (correct, tested) samples, in the order of the names."""
    names = np.asarray(subjects)
    return {
        subject: (int(correct[names == subject].sum()), int((names == subject).sum()))
        for subject in sorted(set(subjects))
    }


def subject_bootstrap_interval(
    correct: Bool[np.ndarray, " n"], subjects: Sequence[str], *, seed: int = 0, num_resamples: int = 2000
) -> Interval | None:
    """95 % percentile interval of the accuracy when the test subjects are drawn anew.

    Samples of one subject are not independent, so whole subjects are redrawn.

    Returns:
        None with fewer than two subjects: one person says nothing of how people differ.

    Raises:
        SettingsError: The numbers of samples differ.
    """
    if len(correct) != len(subjects):
        raise SettingsError(f"{len(correct)} samples, but {len(subjects)} subjects of samples")
    _, index = np.unique(np.asarray(subjects), return_inverse=True)
    hits = np.bincount(index, weights=correct.astype(np.float64))
    return bootstrap_interval(hits, np.bincount(index).astype(np.float64), seed=seed, num_resamples=num_resamples)
