"""From the results of a study to one accuracy per unit, and what these say together. A unit is one seed and fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from smilevlm.errors import ResultError
from smilevlm.reporting.significance import (
    CONFIDENCE,
    NO_SPREAD,
    PairedDifference,
    UnitScore,
    paired_difference,
    same_people,
    subject_interval,
)
from smilevlm.reporting.study_source import RunGroup
from smilevlm.reporting.table import Missing, angle_text
from smilevlm.results import ExperimentResult, FoldResult, Interval

FUSED = "fused"
MEAN_FUSION = "mean_fusion"
NOT_ALIGNED = Missing(reason="not aligned with text")
ONE_UNIT = Missing(reason="one seed and fold")
NO_DIFFERENCE = Missing(reason="the units do not differ")
ONE_PERSON = Missing(reason="one person")
SAME_PEOPLE = Missing(reason="the same test people in every unit")
READING_TITLES = {
    FUSED: "zero-shot, all views fused",
    MEAN_FUSION: "zero-shot, plain mean of the views",
    "late_fusion": "zero-shot, late fusion of the views' scores",
    "nearest_prompt": "zero-shot, nearest single prompt",
    "linear_probe": "linear probe on frozen features",
    "knn": "k nearest neighbours on frozen features",
    "majority": "most frequent class of the training subjects",
}
_NEEDS_TEXT = (FUSED, MEAN_FUSION, "late_fusion", "nearest_prompt")
Reading = str | float
"""How classes are read from a model: `fused`, `mean_fusion`, a view's angle in degrees, or the name of a readout."""


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One accuracy over all units.

    Attributes:
        mean: Unweighted mean over units; over all samples where every unit tests one person, whose few samples would
            make a unit's accuracy a coarse number.
        std: Sample standard deviation; None with one unit.
        interval: 95 % Student t interval over units, cut to [0, 1]; None with one unit, or where units do not differ:
            that a few agree to the last digit does not make them sure. None too where all units test the same people.
        subject_interval: 95 % bootstrap over the distinct test subjects; None with one subject.
        same_people: Whether there are several units, and all of them test the same people.
        num_subjects: Distinct test subjects.
        num_samples: Test samples summed over units, so that one counts as often as it is tested.
    """

    num_units: int
    num_seeds: int
    mean: float
    std: float | None
    interval: Interval | None
    subject_interval: Interval | None
    num_subjects: int
    num_samples: int
    same_people: bool = False


def reading_title(reading: Reading) -> str:
    """For people."""
    return READING_TITLES[reading] if isinstance(reading, str) else f"zero-shot, view {angle_text(reading)} alone"


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
    if reading not in fold.readouts:
        return Missing(reason=f"the result has no readout {reading}")
    readout = fold.readouts[reading]
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
            half = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, len(units) - 1)) * std / sqrt(len(units))
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
