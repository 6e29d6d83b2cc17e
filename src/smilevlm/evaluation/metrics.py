"""Scores of a set of predictions, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from smilevlm.errors import SettingsError
from smilevlm.results import (
    ConfusionMatrix,
    FoldResult,
    FoldsSummary,
    Interval,
    Spread,
    bootstrap_interval,
    class_f1,
    class_recall,
    student_quantile,
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


def spread(values: Sequence[float], low: float = 0.0) -> Spread:
    """Mean, sample standard deviation and 95 % Student t interval over folds.

    Args:
        values: One per fold.
        low: The least that a value can be; the interval is cut to [low, 1].

    Raises:
        SettingsError: There are no values.
    """
    if not values:
        raise SettingsError("there are no folds to summarise")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Spread(mean=mean, std=None, interval=None)
    std = float(np.std(values, ddof=1))
    half = student_quantile(len(values)) * std / float(np.sqrt(len(values)))
    return Spread(mean=mean, std=std, interval=(max(low, mean - half), min(1.0, mean + half)))


def summarise_folds(folds: Sequence[FoldResult]) -> FoldsSummary:
    """What the folds say together. Training sets of folds overlap, so the interval over folds is somewhat too narrow.

    Raises:
        SettingsError: There are no folds.
    """
    if not folds:
        raise SettingsError("there are no folds to summarise")
    angles = list(folds[0].single_view_accuracy)
    fused = [fold.accuracy for fold in folds]
    mean_fusion = [fold.mean_fusion_accuracy for fold in folds]
    views = {angle: [fold.single_view_accuracy[angle] for fold in folds] for angle in angles}
    pooled = np.sum([fold.confusion_matrix for fold in folds], axis=0)
    return FoldsSummary(
        num_folds_run=len(folds),
        accuracy=spread(fused),
        macro_f1=spread([fold.macro_f1 for fold in folds]),
        unweighted_average_recall=spread([fold.unweighted_average_recall for fold in folds]),
        per_class_f1={name: spread([fold.per_class_f1[name] for fold in folds]) for name in folds[0].per_class_f1},
        mean_fusion_accuracy=spread(mean_fusion),
        gain_over_mean_fusion=_gain(fused, mean_fusion),
        single_view_accuracy={angle: spread(values) for angle, values in views.items()},
        gain_over_single_view={angle: _gain(fused, values) for angle, values in views.items()},
        view_weights={angle: float(np.mean([fold.view_weights[angle] for fold in folds])) for angle in angles},
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in pooled),
    )


def _gain(fused: Sequence[float], other: Sequence[float]) -> Spread:
    return spread([a - b for a, b in zip(fused, other, strict=True)], low=-1.0)
