"""UF1 and UAR of all folds' test samples together, with their bootstrap over people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilevlm.results.fields import Confusion, ConfusionMatrix, Interval, Record, ShareInterval, Text
from smilevlm.results.fold import FoldResult

LEVEL = 0.95
NUM_RESAMPLES = 2000
SubjectConfusion = Mapping[Text, Confusion]
"""Subject to the confusion matrix of its test samples."""


@dataclass(frozen=True, kw_only=True)
class PooledScore(Record):
    """Scores of the sum of confusion matrices; intervals are 95 % percentile bootstraps that redraw people.

    Attributes:
        unweighted_f1: UF1, mean over classes of 2 TP / (2 TP + FP + FN) from counts of all samples together.
        unweighted_f1_interval: None with one person.
        unweighted_average_recall: UAR, mean recall over classes.
        unweighted_average_recall_interval: None with one person.
    """

    unweighted_f1: float
    unweighted_f1_interval: ShareInterval | None
    unweighted_average_recall: float
    unweighted_average_recall_interval: ShareInterval | None


def pooled_score(by_subject: Mapping[str, ConfusionMatrix], *, seed: int = 0) -> PooledScore:
    """Score the sum of people's confusion matrices; people, not samples, are drawn anew, with replacement.

    Samples of one person are not independent. A class that does not occur in a resample counts as zero, as it does in
    the score.

    Args:
        by_subject: At least one.
        seed: Of the draws.
    """
    counts = np.array([by_subject[name] for name in sorted(by_subject)], dtype=np.int64)
    f1, recall = _scores(counts.sum(axis=0)[None])
    f1_interval = recall_interval = None
    if len(counts) > 1:
        drawn = np.random.default_rng(seed).integers(len(counts), size=(NUM_RESAMPLES, len(counts)))
        times = np.stack([np.bincount(row, minlength=len(counts)) for row in drawn])
        f1_interval, recall_interval = map(percentile_interval, _scores(np.tensordot(times, counts, axes=1)))
    return PooledScore(
        unweighted_f1=float(f1[0]),
        unweighted_f1_interval=f1_interval,
        unweighted_average_recall=float(recall[0]),
        unweighted_average_recall_interval=recall_interval,
    )


def pooled_confusion(folds: Sequence[FoldResult]) -> dict[str, ConfusionMatrix] | None:
    """Subject to its confusion matrix in the fold that tests it; None in files from before there were such matrices."""
    found: dict[str, ConfusionMatrix] = {}
    for fold in folds:
        if fold.subject_confusion is None:
            return None
        for subject, matrix in fold.subject_confusion.items():
            _add(found, subject, matrix)
    return found


def majority_confusion(folds: Sequence[FoldResult]) -> dict[str, ConfusionMatrix] | None:
    """The same where the most frequent class of each fold's training subjects is always said; None where that is not
    scored."""
    found: dict[str, ConfusionMatrix] = {}
    for fold in folds:
        if fold.subject_confusion is None or "majority" not in fold.readouts:
            return None
        said = int(np.sum(fold.readouts["majority"].confusion_matrix, axis=0).argmax())
        for subject, matrix in fold.subject_confusion.items():
            always = np.zeros_like(np.asarray(matrix))
            always[:, said] = np.sum(matrix, axis=1)
            _add(found, subject, always)
    return found


def _add(found: dict[str, ConfusionMatrix], subject: str, matrix: ConfusionMatrix | np.ndarray) -> None:
    """Add to what earlier folds found of a subject."""
    counts = np.asarray(matrix) + np.asarray(found.get(subject, 0))
    found[subject] = tuple(tuple(row) for row in counts.tolist())


def percentile_interval(values: Float[np.ndarray, " resample"]) -> Interval:
    """The 95 % percentile interval of a number over bootstrap resamples."""
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def _scores(
    counts: Int[np.ndarray, "resample class class"],
) -> tuple[Float[np.ndarray, " resample"], Float[np.ndarray, " resample"]]:
    """UF1 and UAR of each matrix; see `class_f1` and `class_recall`."""
    hits = np.diagonal(counts, axis1=1, axis2=2).astype(np.float64)
    present, said = counts.sum(axis=2), counts.sum(axis=1)
    f1, recall = (
        np.divide(amount, size, out=np.zeros_like(hits), where=size > 0)
        for amount, size in ((2 * hits, present + said), (hits, present))
    )
    return f1.mean(axis=1), recall.mean(axis=1)
