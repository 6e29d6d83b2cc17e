"""Scores that follow from counts: of one class against the rest, and of a confusion matrix summed over folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from smilevlm.errors import SettingsError
from smilevlm.results.fields import ConfusionMatrix, Record, Size


@dataclass(frozen=True, kw_only=True)
class BinaryCounts(Record):
    """One class against all others: how often it was there or not, and predicted or not."""

    true_positive: Size
    false_positive: Size
    false_negative: Size
    true_negative: Size


def binary_f1(counts: BinaryCounts) -> float:
    """2 TP / (2 TP + FP + FN); zero where the class is neither there nor said."""
    support = 2 * counts.true_positive + counts.false_positive + counts.false_negative
    return 2 * counts.true_positive / support if support else 0.0


def binary_accuracy(counts: BinaryCounts) -> float:
    """(TP + TN) / all samples.

    Raises:
        SettingsError: There are no samples.
    """
    right = counts.true_positive + counts.true_negative
    total = right + counts.false_positive + counts.false_negative
    if total == 0:
        raise SettingsError("there are no samples to take an accuracy of")
    return right / total


def add_counts(counts: Iterable[BinaryCounts]) -> BinaryCounts:
    """Pool counts, as over folds; all zero where there are none."""
    given = list(counts)
    return BinaryCounts(
        **{field.name: sum(getattr(each, field.name) for each in given) for field in fields(BinaryCounts)}
    )


def counts_from_confusion(matrix: ConfusionMatrix, index: int) -> BinaryCounts:
    """The class with this index against the rest."""
    counts = np.asarray(matrix, dtype=np.int64)
    hits = int(counts[index, index])
    predicted, present = int(counts[:, index].sum()), int(counts[index].sum())
    return BinaryCounts(
        true_positive=hits,
        false_positive=predicted - hits,
        false_negative=present - hits,
        true_negative=int(counts.sum()) - predicted - present + hits,
    )


def class_f1(confusion: ConfusionMatrix) -> Float[np.ndarray, " class"]:
    """F1 of every class; zero where a class is neither there nor predicted."""
    counts = np.asarray(confusion, dtype=np.float64)
    hits = np.diag(counts)
    support = counts.sum(axis=0) + counts.sum(axis=1)
    return np.divide(2.0 * hits, support, out=np.zeros_like(hits), where=support > 0)


def class_recall(confusion: ConfusionMatrix) -> Float[np.ndarray, " class"]:
    """Recall of every class; zero where a class is not there."""
    counts = np.asarray(confusion, dtype=np.float64)
    support = counts.sum(axis=1)
    return np.divide(np.diag(counts), support, out=np.zeros_like(support), where=support > 0)


def overall_scores(confusion: ConfusionMatrix) -> dict[str, float]:
    """Accuracy, macro F1 and unweighted average recall, under the names of the fields that hold them."""
    counts = np.asarray(confusion, dtype=np.int64)
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "macro_f1": float(class_f1(confusion).mean()),
        "unweighted_average_recall": float(class_recall(confusion).mean()),
    }


def unweighted_f1(confusion: ConfusionMatrix) -> float:
    """UF1: each class's F1 from counts pooled over folds, then the mean over all classes.

    A class that never occurs counts as zero, so the score is below one even where everything is right.

    Args:
        confusion: The sum over folds. The mean of the folds' own F1 is another number.

    Source: See et al., MEGC 2019: the second facial micro-expressions grand challenge.
    """
    return float(class_f1(confusion).mean())


def unweighted_average_recall(confusion: ConfusionMatrix) -> float:
    """UAR: each class's recall from counts pooled over folds, then the mean over all classes.

    A class that never occurs counts as zero.

    Args:
        confusion: The sum over folds.
    """
    return float(class_recall(confusion).mean())
