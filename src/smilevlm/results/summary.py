"""What the folds of a result say together, with 95 % intervals, and the check that a file says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
from jaxtyping import Float

from smilevlm.errors import SettingsError
from smilevlm.results.fields import (
    ByAngle,
    ByClass,
    Confusion,
    Interval,
    PositiveSize,
    Record,
    Share,
    Weights,
    angle_key,
    fail,
)
from smilevlm.results.fold import TOLERANCE, FoldResult, check_equal
from smilevlm.results.pooled import (
    LEVEL,
    NUM_RESAMPLES,
    PooledScore,
    majority_confusion,
    percentile_interval,
    pooled_confusion,
    pooled_score,
)


@dataclass(frozen=True, kw_only=True)
class Spread(Record):
    """One number over folds.

    Attributes:
        mean: Unweighted mean over folds.
        std: Sample standard deviation (divisor n - 1); None with one fold.
        interval: 95 % Student t interval of the mean, cut to the range the number can have; None with one fold.
    """

    mean: float
    std: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class FoldsSummary(Record):
    """What the folds say together; nothing here is more than `summarise_folds` of them.

    Attributes:
        gain_over_mean_fusion: Fused minus mean-fusion accuracy, paired by fold.
        gain_over_single_view: View angle to fused minus that view's accuracy, paired by fold.
        view_weights: View angle to the mean over folds of the mean weight.
        confusion_matrix: Sum over folds: every test sample once.
        unseen_wordings_accuracy: With prompts that the run never trained with; None unless every fold has it.
        unseen_classes_accuracy: Of all test samples of classes that their fold never trained; None without any.
        pooled: UF1 and UAR of all test samples together; None for files from before there were matrices by subject.
        pooled_majority: The same of always saying the most frequent class of the fold's training subjects.
    """

    num_folds_run: PositiveSize
    accuracy: Spread
    macro_f1: Spread
    unweighted_average_recall: Spread
    per_class_f1: ByClass[Spread]
    mean_fusion_accuracy: Spread
    gain_over_mean_fusion: Spread
    single_view_accuracy: ByAngle[Spread]
    gain_over_single_view: ByAngle[Spread]
    view_weights: Weights
    confusion_matrix: Confusion
    unseen_wordings_accuracy: Spread | None = None
    unseen_classes_accuracy: Share | None = None
    pooled: PooledScore | None = None
    pooled_majority: PooledScore | None = None


def student_quantile(num_values: int) -> float:
    """Half the width of the interval of a mean, in standard errors.

    Args:
        num_values: That the mean is of, at least two.
    """
    # All of scipy.stats would cost every command a quarter of a second.
    from scipy.special import stdtrit

    return float(stdtrit(num_values - 1, (1.0 + LEVEL) / 2.0))


def bootstrap_interval(
    amounts: Float[np.ndarray, " subject"],
    sizes: Float[np.ndarray, " subject"],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Percentile interval of the sum of amounts over the sum of sizes when whole subjects are drawn anew.

    Samples of one subject are not independent, so subjects are drawn and not samples.

    Args:
        amounts: Of each subject, such as its correct samples.
        sizes: Of each subject, such as its tested samples.
        seed: Of the draws.
        num_resamples: How often all subjects are drawn.

    Returns:
        None with fewer than two subjects: one person says nothing of how people differ.
    """
    if len(sizes) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(num_resamples, len(sizes)))
    return percentile_interval(amounts[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))


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
    of_model, of_majority = pooled_confusion(folds), majority_confusion(folds)
    unseen = [fold.unseen_wordings.accuracy for fold in folds if fold.unseen_wordings is not None]
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
        unseen_wordings_accuracy=spread(unseen) if len(unseen) == len(folds) else None,
        unseen_classes_accuracy=_unseen_classes_accuracy(folds),
        pooled=None if of_model is None else pooled_score(of_model),
        pooled_majority=None if of_majority is None else pooled_score(of_majority),
    )


def _unseen_classes_accuracy(folds: Sequence[FoldResult]) -> float | None:
    correct = tested = 0
    for fold in folds:
        for name in fold.unseen_classes:
            row = list(fold.per_class_f1).index(name)
            correct += fold.confusion_matrix[row][row]
            tested += sum(fold.confusion_matrix[row])
    return correct / tested if tested else None


def _gain(fused: Sequence[float], other: Sequence[float]) -> Spread:
    return spread([a - b for a, b in zip(fused, other, strict=True)], low=-1.0)


def check_summary(found: FoldsSummary, folds: Sequence[FoldResult]) -> None:
    """A file's summary must be that of its folds; each field is compared under its own path."""
    check_same(found, summarise_folds(folds), "summary")


def check_same(found: object, expected: object, place: str) -> None:
    """A value of a file must be what was computed from the rest of it; each field is compared under its own path."""
    if is_dataclass(expected) and found is not None:
        for field in fields(expected):
            check_same(getattr(found, field.name), getattr(expected, field.name), f"{place}.{field.name}")
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key, value in expected.items():
            check_same(found[key], value, f"{place}.{key if isinstance(key, str) else angle_key(key)}")
    elif isinstance(expected, float) and isinstance(found, float):
        check_equal(found, expected, place)
    elif isinstance(expected, tuple) and isinstance(found, tuple):
        if np.abs(np.subtract(found, expected)).max() > TOLERANCE:
            fail(place, f"{found!r}, but the folds give {expected!r}")
    elif found != expected:
        fail(place, f"{found!r}, but the folds give {expected!r}")
