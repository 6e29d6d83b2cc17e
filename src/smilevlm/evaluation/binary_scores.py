"""Multi-label scores: each class is a binary classification of its own, as a sample may have several classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from smilevlm.errors import SettingsError
from smilevlm.results import BinaryCounts, MultiLabelScore

NEVER = 2.0
"""A threshold that no cosine reaches."""
_TIE = 1e-10
"""Scores this close are equal: a matrix product may round the same cosine differently."""


def binary_counts(truth: Bool[np.ndarray, " n"], predicted: Bool[np.ndarray, " n"]) -> BinaryCounts:
    """Confusion counts of one class."""
    return BinaryCounts(
        true_positive=int((truth & predicted).sum()),
        false_positive=int((~truth & predicted).sum()),
        false_negative=int((truth & ~predicted).sum()),
        true_negative=int((~truth & ~predicted).sum()),
    )


def multi_label_score(
    *,
    classes: Sequence[str],
    subjects: Sequence[str],
    train_truth: Bool[np.ndarray, "train class"],
    train_scores: Float[np.ndarray, "train class"],
    train_view_scores: Mapping[float, Float[np.ndarray, "train class"]],
    truth: Bool[np.ndarray, "test class"],
    scores: Float[np.ndarray, "test class"],
    view_scores: Mapping[float, Float[np.ndarray, "test class"]],
) -> MultiLabelScore:
    """Predict each class whose cosine reaches a threshold of its own, chosen on the training samples.

    The caller checks that no subject is on both sides.

    Args:
        classes: In the order of the columns.
        subjects: Subject of each test sample.
        train_truth: Which classes each training sample has; only thresholds come from the training samples.
        train_scores: Cosine of each training sample's fused embedding with each class.
        train_view_scores: View angle to the same from that view alone, which gets thresholds of its own.
        truth: Which classes each test sample has.
        scores: Cosine of each test sample's fused embedding with each class.
        view_scores: View angle to the same from that view alone.
    """
    if list(train_view_scores) != list(view_scores):
        raise SettingsError(f"views {list(train_view_scores)} to choose on, but {list(view_scores)} to score")
    _check_shapes(train_truth, [train_scores, *train_view_scores.values()], len(classes), "training")
    _check_shapes(truth, [scores, *view_scores.values()], len(classes), "test")
    if len(subjects) != len(truth):
        raise SettingsError(f"{len(subjects)} subjects of {len(truth)} test samples")
    thresholds = _thresholds(train_scores, train_truth)
    predicted = scores >= np.array(thresholds)
    views = {
        float(angle): view_scores[angle] >= np.array(_thresholds(on_training, train_truth))
        for angle, on_training in train_view_scores.items()
    }
    return MultiLabelScore(
        subjects=tuple(sorted(set(subjects))),
        num_samples=len(truth),
        thresholds=dict(zip(classes, thresholds, strict=True)),
        fused=_by_class(truth, predicted, classes),
        by_view={angle: _by_class(truth, view, classes) for angle, view in views.items()},
        always_no=_by_class(truth, np.zeros_like(truth), classes),
        num_exact=int((predicted == truth).all(axis=1).sum()),
    )


def choose_threshold(scores: Float[np.ndarray, " n"], there: Bool[np.ndarray, " n"]) -> float:
    """The cosine threshold at which predicting a class gives the highest F1 on these samples.

    Candidates lie midway between neighbouring scores, and midway between -1, the least cosine, and the lowest score.
    Among equally good ones it is the one nearest to the middle of their range, and of two equally near the lower. A
    class that is never there gets a threshold that no cosine reaches.

    Args:
        scores: Cosine of each sample with the class.
        there: Whether the sample has the class.
    """
    if len(scores) == 0:
        raise SettingsError("there are no samples to choose a threshold on")
    if not there.any():
        return NEVER
    order = np.argsort(scores, kind="stable")
    ranked = np.asarray(scores, dtype=np.float64)[order]
    # Everything from a cut onwards is predicted; equal scores stay together.
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(ranked) > _TIE) + 1])
    candidates = (np.concatenate([[-1.0], ranked])[cuts] + ranked[cuts]) / 2.0
    hits = np.cumsum(there[order][::-1])[::-1][cuts]
    f1 = 2.0 * hits / (len(ranked) - cuts + there.sum())
    tied = candidates[f1 == f1.max()]
    distances = np.abs(tied - (tied[0] + tied[-1]) / 2.0)
    return float(tied[distances <= distances.min() + _TIE][0])


def _check_shapes(truth: np.ndarray, scores: Sequence[np.ndarray], num_classes: int, side: str) -> None:
    shapes = [truth.shape, *(each.shape for each in scores)]
    if len(truth) == 0 or set(shapes) != {(len(truth), num_classes)}:
        raise SettingsError(
            f"{side} samples and classes: {shapes}, expected at least one sample, {num_classes} classes"
        )


def _thresholds(scores: Float[np.ndarray, "n class"], truth: Bool[np.ndarray, "n class"]) -> list[float]:
    return [choose_threshold(scores[:, number], truth[:, number]) for number in range(truth.shape[1])]


def _by_class(
    truth: Bool[np.ndarray, "n class"], predicted: Bool[np.ndarray, "n class"], classes: Sequence[str]
) -> dict[str, BinaryCounts]:
    return {name: binary_counts(truth[:, number], predicted[:, number]) for number, name in enumerate(classes)}
