"""Differences over paired units: told from zero (t-test), told to be small (equivalence test), or neither.

Source: Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003 (variance where training
sets overlap); Schuirmann, A Comparison of the Two One-Sided Tests Procedure, J. Pharmacokinetics 15, 1987 (TOST).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from smilevlm.reporting.study_statistics import NO_SPREAD, corrected_t_test
from smilevlm.results import Interval

_POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class EquivalenceTest:
    """A mean of paired differences.

    Attributes:
        num_units: Pairs.
        mean: Of the differences.
        error: Standard error of the mean.
        interval: 95 %, Student t.
        p_value: Two-sided, of no difference.
        equivalence_p: Of a difference of the margin or more, the larger of two one-sided tests.
    """

    num_units: int
    mean: float
    error: float
    interval: Interval
    p_value: float
    equivalence_p: float

    def detectable(self, level: float) -> float:
        """The difference that a two-sided test at this level finds in 4 of 5 studies, with the error that was met.

        By the usual sum of quantiles, which is close from about ten units on.
        """
        degrees = self.num_units - 1
        return self.error * float(stdtrit(degrees, 1.0 - level / 2.0) + stdtrit(degrees, _POWER))


def equivalence_test(differences: Sequence[float], *, margin: float, overlap: float = 0.0) -> EquivalenceTest | None:
    """Test differences against zero and against a margin.

    Args:
        differences: One per unit.
        margin: Smaller differences count as equal, above 0.
        overlap: Test people over training people where units are folds of one set, whose training people overlap; 0
            for units that share nobody.

    Returns:
        None with fewer than two units, and where all differ by the same: that a few agree to the last digit does not
        make them sure.
    """
    values = np.asarray(differences, dtype=np.float64)
    num_units = len(values)
    if num_units < 2 or (std := float(values.std(ddof=1))) < NO_SPREAD:
        return None
    mean, degrees = float(values.mean()), num_units - 1
    error, p_value, half = corrected_t_test(mean, std, num_units, overlap)
    return EquivalenceTest(
        num_units=num_units,
        mean=mean,
        error=error,
        interval=(mean - half, mean + half),
        p_value=p_value,
        equivalence_p=float(max(stdtr(degrees, (mean - margin) / error), stdtr(degrees, -(mean + margin) / error))),
    )
