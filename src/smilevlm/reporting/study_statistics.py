"""One accuracy per unit, what the units say together, and how sure a difference between two methods is.

A unit is one seed and fold. Two methods are compared on the units that both have, which test the same people.

Source: Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003 (corrected resampled
t-test); Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

import numpy as np
from scipy.special import stdtr

from smilevlm.errors import ResultError
from smilevlm.reporting.study_source import RunGroup
from smilevlm.reporting.table import Missing, angle_text
from smilevlm.results import ExperimentResult, FoldResult, Interval, bootstrap_interval, student_quantile

Key = TypeVar("Key", str, int)
NO_SPREAD = 1e-12
"""Differences of shares that are equal on paper differ by rounding alone."""
FUSED = "fused"
MEAN_FUSION = "mean_fusion"
UNSEEN_WORDINGS = "unseen_wordings"
NOT_ALIGNED = Missing(reason="not aligned with text")
ONE_PERSON = Missing(reason="one person")
READING_TITLES = {
    FUSED: "prompts, all views fused",
    UNSEEN_WORDINGS: "unseen wordings (zero-shot), all views fused",
    MEAN_FUSION: "prompts, plain mean of the views",
    "late_fusion": "prompts, late fusion of the views' scores",
    "nearest_prompt": "prompts, nearest single one",
    "linear_probe": "linear probe on frozen features",
    "knn": "k nearest neighbours on frozen features",
    "majority": "most frequent class of the training subjects",
}
_NEEDS_TEXT = (FUSED, UNSEEN_WORDINGS, MEAN_FUSION, "late_fusion", "nearest_prompt")
Reading = str | float
"""How classes are read from a model: `fused`, `unseen_wordings`, `mean_fusion`, a view's angle in degrees, or the name
of a readout."""


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
class OverUnits:
    """A number over units.

    Attributes:
        std: Sample standard deviation over units; None with one unit.
        interval: 95 % interval of the mean by Student t, cut to the range that it can have; None with one unit, where
            the units do not differ (that a few agree to the last digit does not make them sure), and where all test
            the same people: their spread is that of training alone then, and says nothing of people.
        same_people: Whether there are several units, and all of them test the same people.
    """

    num_units: int
    mean: float
    std: float | None
    interval: Interval | None
    same_people: bool

    @property
    def no_interval(self) -> Missing:
        """Why there is no interval."""
        if self.num_units == 1:
            return Missing(reason="one seed and fold")
        return Missing(reason="the same test people in every unit" if self.same_people else "the units do not differ")


@dataclass(frozen=True, kw_only=True)
class PairedDifference(OverUnits):
    """First minus second, paired by unit.

    Attributes:
        p_value: Two-sided, of the test whose interval it is; None where there is none.
    """

    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class Pooled(OverUnits):
    """One accuracy over all units.

    Attributes:
        mean: Unweighted mean over units; over all samples where every unit tests one person, whose few samples would
            make a unit's accuracy a coarse number.
        subject_interval: 95 % bootstrap over the distinct test subjects; None with one subject.
        num_subjects: Distinct test subjects.
        num_samples: Test samples summed over units, so that one counts as often as it is tested.
    """

    num_seeds: int
    subject_interval: Interval | None
    num_subjects: int
    num_samples: int


def reading_title(reading: Reading) -> str:
    """For people."""
    return READING_TITLES[reading] if isinstance(reading, str) else f"prompts, view {angle_text(reading)} alone"


def unit_scores(group: RunGroup, reading: Reading) -> list[UnitScore] | Missing:
    """One score per unit, or why there is none."""
    if not group.runs:
        return Missing(reason=group.reason)
    if (not isinstance(reading, str) or reading in _NEEDS_TEXT) and not all(r.aligned_with_text for r in group.results):
        return NOT_ALIGNED
    units = []
    for run in group.runs:
        for fold in run.result.folds:
            score = _read(fold, reading)
            if isinstance(score, Missing):
                return score
            accuracy, counts = score
            units.append(
                UnitScore(
                    seed=run.seed,
                    fold=fold.fold,
                    accuracy=accuracy,
                    num_train=fold.num_train_samples,
                    num_test=fold.num_test_samples,
                    test_subjects=tuple(sorted(fold.test_subjects)),
                    subject_counts=counts,
                )
            )
    return units


def _read(fold: FoldResult, reading: Reading) -> tuple[float, dict[str, tuple[int, int]]] | Missing:
    if not isinstance(reading, str):
        if reading not in fold.single_view_accuracy:
            return Missing(reason=f"no view at {angle_text(reading)}")
        return fold.single_view_accuracy[reading], dict(fold.single_view_subject_counts[reading])
    if reading == FUSED:
        return fold.accuracy, dict(fold.subject_counts)
    if reading == MEAN_FUSION:
        return fold.mean_fusion_accuracy, dict(fold.mean_fusion_subject_counts)
    readout, reason = fold.readouts.get(reading), f"the result has no readout {reading}"
    if reading == UNSEEN_WORDINGS:
        readout, reason = fold.unseen_wordings, "no score with unseen wordings"
    if readout is None:
        return Missing(reason=reason)
    return readout.accuracy, dict(readout.subject_counts)


def pooled(units: Sequence[UnitScore]) -> Pooled:
    """What the units say together.

    Raises:
        ResultError: There are none.
    """
    if not units:
        raise ResultError("there are no units to pool")
    values = np.array([unit.accuracy for unit in units])
    mean, std, interval = float(values.mean()), None, None
    if all(len(unit.test_subjects) == 1 for unit in units):
        mean = float(np.average(values, weights=[unit.num_test for unit in units]))
    if len(units) > 1:
        std = float(values.std(ddof=1))
        if std >= NO_SPREAD and not same_people(units):
            half = student_quantile(len(units)) * std / sqrt(len(units))
            interval = (max(0.0, mean - half), min(1.0, mean + half))
    return Pooled(
        num_units=len(units),
        num_seeds=len({unit.seed for unit in units}),
        mean=mean,
        std=std,
        interval=interval,
        subject_interval=subject_interval(units),
        num_subjects=len({name for unit in units for name in unit.test_subjects}),
        num_samples=sum(unit.num_test for unit in units),
        same_people=same_people(units),
    )


def pooled_or_missing(group: RunGroup, reading: Reading) -> Pooled | Missing:
    """`pooled` of `unit_scores`, or why there is nothing to pool."""
    units = unit_scores(group, reading)
    return units if isinstance(units, Missing) else pooled(units)


def difference(
    first: RunGroup, first_reading: Reading, second: RunGroup, second_reading: Reading
) -> PairedDifference | Missing:
    """First minus second, paired by unit, or why that cannot be said."""
    ours, theirs = unit_scores(first, first_reading), unit_scores(second, second_reading)
    if isinstance(ours, Missing):
        return ours
    if isinstance(theirs, Missing):
        return theirs
    if not {(unit.seed, unit.fold) for unit in ours} & {(unit.seed, unit.fold) for unit in theirs}:
        return Missing(reason="no seed and fold in common")
    return paired_difference(ours, theirs)


def chance(results: Sequence[ExperimentResult]) -> float | Missing:
    """One of the number of classes."""
    return 1.0 / len(results[0].classes) if results else Missing(reason="no result names the classes")


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
    same = same_people([unit for unit, _ in pairs])
    std = float(differences.std(ddof=1)) if num_units > 1 else None
    p_value = interval = None
    if std is not None and std < NO_SPREAD:
        std = std if same else 0.0
    elif std is not None and not same:
        ratio = sum(a.num_test for a, _ in pairs) / max(1, sum(a.num_train for a, _ in pairs)) if corrected else 0.0
        _, p_value, half = corrected_t_test(mean, std, num_units, ratio)
        interval = (max(-1.0, mean - half), min(1.0, mean + half))
    return PairedDifference(
        num_units=num_units, mean=mean, std=std, interval=interval, same_people=same, p_value=p_value
    )


def corrected_t_test(mean: float, std: float, num_units: int, ratio: float) -> tuple[float, float, float]:
    """Corrected resampled t-test of a mean of paired differences.

    Args:
        mean: Of the differences.
        std: Their sample standard deviation, above 0.
        num_units: How many there are, at least two.
        ratio: Test over training samples where training sets overlap; 0 for the plain paired test.

    Returns:
        Standard error, two-sided p-value, and half of the 95 % interval.
    """
    error = std * sqrt(1.0 / num_units + ratio)
    p_value = 2.0 * float(stdtr(num_units - 1, -abs(mean) / error))
    return error, p_value, student_quantile(num_units) * error


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction over a family of tests; those without a p-value do not count and stay without one."""
    corrected: list[float | None] = [None] * len(p_values)
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    highest = 0.0
    for rank, (p, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        corrected[index] = highest
    return corrected


def paired_subject_interval(first: Sequence[UnitScore], second: Sequence[UnitScore], **options: int) -> Interval | None:
    """Bootstrap interval of the pooled accuracy difference when the test subjects are drawn anew.

    A subject's counts are summed over all units it is tested in, so that no one counts as several people.

    Args:
        first: One score per unit.
        second: Of the same units, at least one.
        options: Of `bootstrap_interval`.
    """
    pairs = pair_units(first, second)
    ours, theirs = pooled_counts([a for a, _ in pairs]), pooled_counts([b for _, b in pairs])
    gained = np.array([ours[name][0] - theirs[name][0] for name in ours], dtype=np.float64)
    return bootstrap_interval(gained, np.array([tested for _, tested in ours.values()], dtype=np.float64), **options)


def subject_interval(units: Sequence[UnitScore], **options: int) -> Interval | None:
    """The same for one accuracy."""
    counts = np.array(list(pooled_counts(units).values()), dtype=np.float64)
    return bootstrap_interval(counts[:, 0], counts[:, 1], **options)


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
    return sum_counts(unit.subject_counts for unit in units)


def sum_counts(counts: Iterable[Mapping[Key, tuple[int, int]]]) -> dict[Key, tuple[int, int]]:
    """(correct, tested) summed for each key, such as a subject or an intensity; sorted by key."""
    found: dict[Key, tuple[int, int]] = {}
    for each in counts:
        for key, (correct, tested) in each.items():
            before = found.get(key, (0, 0))
            found[key] = (before[0] + correct, before[1] + tested)
    return dict(sorted(found.items()))
