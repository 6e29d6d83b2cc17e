"""How sure a difference between two methods is, when both were tested on the same people.

Source: Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003 (corrected resampled
t-test); Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from smilevlm.errors import ResultError
from smilevlm.results import Interval

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
NO_SPREAD = 1e-12
"""Differences of shares that are equal on paper differ by rounding alone."""


@dataclass(frozen=True, kw_only=True)
class UnitScore:
    """The accuracy of one way of reading one method in one unit, a unit being one seed and fold.

    Attributes:
        num_train: Training samples of the unit.
        num_test: Test samples of the unit.
        test_subjects: Sorted.
        subject_counts: Subject to (correct, tested) samples.
    """

    seed: int
    fold: int
    accuracy: float
    num_train: int
    num_test: int
    test_subjects: tuple[str, ...]
    subject_counts: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """First minus second, paired by unit.

    Attributes:
        std: Sample standard deviation over units; None with one unit.
        p_value: Two-sided; None with one unit, where the differences do not vary at all and so give no scale, and where
            all units test the same people: their spread is that of training alone then, and says nothing of people.
        interval: 95 % interval of the mean by the same test, cut to [-1, 1]; None as `p_value`.
        same_people: Whether there are several units, and all of them test the same people.
    """

    num_units: int
    mean: float
    std: float | None
    p_value: float | None
    interval: Interval | None
    same_people: bool = False


def same_people(units: Sequence[UnitScore]) -> bool:
    """Whether there are several units, and all of them test the same people."""
    return len(units) > 1 and len({unit.test_subjects for unit in units}) == 1


def paired_difference(
    first: Sequence[UnitScore], second: Sequence[UnitScore], *, corrected: bool = True
) -> PairedDifference:
    """Corrected resampled t-test: the variance of the mean is s² (1/k + n_test/n_train) instead of s²/k.

    Training sets of folds and seeds overlap, so the k units are not independent and the plain test is too sure.

    Args:
        first: One score per unit.
        second: Of the same units.
        corrected: If not, the plain paired t-test.

    Raises:
        ResultError: There are no units, or the two were not tested on the same people.
    """
    pairs = pair_units(first, second)
    differences = np.array([a.accuracy - b.accuracy for a, b in pairs])
    num_units, mean = len(differences), float(differences.mean())
    if num_units == 1:
        return PairedDifference(num_units=1, mean=mean, std=None, p_value=None, interval=None)
    std = float(differences.std(ddof=1))
    if same_people([unit for unit, _ in pairs]):
        return PairedDifference(num_units=num_units, mean=mean, std=std, p_value=None, interval=None, same_people=True)
    if std < NO_SPREAD:
        return PairedDifference(num_units=num_units, mean=mean, std=0.0, p_value=None, interval=None)
    ratio = 0.0
    if corrected:
        ratio = sum(a.num_test for a, _ in pairs) / max(1, sum(a.num_train for a, _ in pairs))
    error = std * sqrt(1.0 / num_units + ratio)
    p_value = 2.0 * float(stats.t.sf(abs(mean) / error, num_units - 1))
    half = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, num_units - 1)) * error
    return PairedDifference(
        num_units=num_units,
        mean=mean,
        std=std,
        p_value=p_value,
        interval=(max(-1.0, mean - half), min(1.0, mean + half)),
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction over a family of tests; those without a p-value do not count and stay without one."""
    corrected: list[float | None] = [None] * len(p_values)
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    highest = 0.0
    for rank, (p, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        corrected[index] = highest
    return corrected


def paired_subject_interval(
    first: Sequence[UnitScore], second: Sequence[UnitScore], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval | None:
    """95 % percentile interval of the pooled accuracy difference when the test subjects are drawn anew.

    A subject's counts are summed over all units it is tested in, so that no one counts as several people.

    Returns:
        None with fewer than two subjects.

    Raises:
        ResultError: There are no units, or the two were not tested on the same people.
    """
    pairs = pair_units(first, second)
    ours, theirs = pooled_counts([a for a, _ in pairs]), pooled_counts([b for _, b in pairs])
    gained = np.array([ours[name][0] - theirs[name][0] for name in ours], dtype=np.float64)
    tested = np.array([ours[name][1] for name in ours], dtype=np.float64)
    return _percentiles(gained, tested, seed, num_resamples)


def subject_interval(
    units: Sequence[UnitScore], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval | None:
    """The same for one accuracy."""
    counts = pooled_counts(units)
    hits = np.array([hit for hit, _ in counts.values()], dtype=np.float64)
    return _percentiles(hits, np.array([n for _, n in counts.values()], dtype=np.float64), seed, num_resamples)


def pair_units(first: Sequence[UnitScore], second: Sequence[UnitScore]) -> list[tuple[UnitScore, UnitScore]]:
    """Scores of the units that both have, by seed and fold.

    Raises:
        ResultError: They have no unit in common, or one was tested on other people or samples.
    """
    there = {(unit.seed, unit.fold): unit for unit in second}
    pairs = [(unit, there[key]) for unit in first if (key := (unit.seed, unit.fold)) in there]
    if not pairs:
        raise ResultError("two methods share no seed and fold, so nothing can be paired")
    for ours, theirs in pairs:
        if ours.test_subjects != theirs.test_subjects or ours.num_test != theirs.num_test:
            raise ResultError(
                f"seed {ours.seed}, fold {ours.fold}: two methods were not tested on the same people and samples "
                f"({len(ours.test_subjects)} people, {ours.num_test} samples against {len(theirs.test_subjects)} "
                f"and {theirs.num_test}), so they cannot be paired"
            )
    return sorted(pairs, key=lambda pair: (pair[0].seed, pair[0].fold))


def pooled_counts(units: Sequence[UnitScore]) -> dict[str, tuple[int, int]]:
    """Subject to (correct, tested) over all units, sorted by name."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for unit in units:
        for name, (correct, tested) in unit.subject_counts.items():
            counts[name][0] += correct
            counts[name][1] += tested
    return {name: (counts[name][0], counts[name][1]) for name in sorted(counts)}


def _percentiles(amounts: np.ndarray, sizes: np.ndarray, seed: int, num_resamples: int) -> Interval | None:
    if len(sizes) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(num_resamples, len(sizes)))
    shares = amounts[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(shares, [tail, 1.0 - tail])
    return float(low), float(high)
