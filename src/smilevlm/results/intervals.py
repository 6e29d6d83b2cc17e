"""95 % intervals: Student t over folds, and a percentile bootstrap over test subjects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from smilevlm.results.fields import Interval

LEVEL = 0.95
NUM_RESAMPLES = 2000


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
    shares = amounts[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(shares, [tail, 1.0 - tail])
    return float(low), float(high)
