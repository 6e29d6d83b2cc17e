"""Scores of a set of predictions: accuracy, F1, confusion matrix, intervals, expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from smilevlm.errors import SettingsError
from smilevlm.results import (
    Calibration,
    CalibrationBin,
    ConfusionMatrix,
    Interval,
    bootstrap_interval,
    class_f1,
    overall_scores,
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
    """
    matrix = confusion_matrix(truth, predicted, classes)
    return Metrics(
        **overall_scores(matrix),
        per_class_f1={name: float(value) for name, value in zip(classes, class_f1(matrix), strict=True)},
        confusion_matrix=matrix,
    )


def confusion_matrix(
    truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], classes: Sequence[str]
) -> ConfusionMatrix:
    """Counts of (true class, predicted class), rows the true classes; arguments as for `classification_metrics`."""
    if len(truth) == 0:
        raise SettingsError("there are no test samples to score")
    for name, values in (("truth", truth), ("predicted", predicted)):
        if values.min() < 0 or values.max() >= len(classes):
            raise SettingsError(f"{name} holds class {int(values.min())} to {int(values.max())} of {len(classes)}")
    # Counted here and not by scikit-learn, whose checks cost more than a fold's dozen of small matrices.
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)


def class_indices(names: Sequence[str], classes: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Index into `classes` of each name."""
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


def subject_confusion(
    truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], subjects: Sequence[str], classes: Sequence[str]
) -> dict[str, ConfusionMatrix]:
    """Subject to the confusion matrix of its samples, by name; arguments as for `confusion_matrix`."""
    names = np.asarray(subjects)
    return {
        subject: confusion_matrix(truth[names == subject], predicted[names == subject], classes)
        for subject in sorted(set(subjects))
    }


def subject_bootstrap_interval(
    correct: Bool[np.ndarray, " n"], subjects: Sequence[str], *, seed: int = 0, num_resamples: int = 2000
) -> Interval | None:
    """95 % percentile interval of the accuracy when the test subjects are drawn anew.

    Samples of one subject are not independent, so whole subjects are redrawn.

    Returns:
        None with fewer than two subjects: one person says nothing of how people differ.
    """
    if len(correct) != len(subjects):
        raise SettingsError(f"{len(correct)} samples, but {len(subjects)} subjects of samples")
    _, index = np.unique(np.asarray(subjects), return_inverse=True)
    hits = np.bincount(index, weights=correct.astype(np.float64))
    return bootstrap_interval(hits, np.bincount(index).astype(np.float64), seed=seed, num_resamples=num_resamples)


def calibration(
    probabilities: Float[np.ndarray, "n class"], correct: Bool[np.ndarray, " n"], temperature: float, num_bins: int = 15
) -> Calibration:
    """Expected calibration error over bins of equal width.

    A sample's confidence is its highest probability. A bin holds its lower end and not its upper one; the last bin
    holds 1 as well.

    Args:
        probabilities: Rows sum to one.
        correct: Whether the class of the highest probability is the true one.
        temperature: Of the softmax that gave the probabilities; only noted.
        num_bins: How many intervals [0, 1] is cut into.

    Source: Guo et al., On calibration of modern neural networks, Eq. 3. Departs from it: its bins are closed above.
    """
    if len(correct) == 0 or num_bins < 1:
        raise SettingsError(f"expected samples and bins, found {len(correct)} and {num_bins}")
    shares = np.asarray(probabilities, dtype=np.float64)
    if not ((shares >= 0).all() and np.abs(shares.sum(axis=1) - 1.0).max() < 1e-6):
        raise SettingsError("the probabilities of each sample must not be negative and must sum to one")
    # Rounding can lift a softmax above one by the last bit.
    confidence = np.minimum(shares.max(axis=1), 1.0)
    lows = np.arange(num_bins) / num_bins
    place = np.searchsorted(lows, confidence, side="right") - 1
    bins = []
    for number, low in enumerate(lows):
        inside = place == number
        count = int(inside.sum())
        bins.append(
            CalibrationBin(
                low=float(low),
                count=count,
                confidence=float(confidence[inside].mean()) if count else 0.0,
                accuracy=float(correct[inside].mean()) if count else 0.0,
            )
        )
    error = sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / len(correct)
    return Calibration(expected_calibration_error=error, temperature=temperature, bins=tuple(bins))
