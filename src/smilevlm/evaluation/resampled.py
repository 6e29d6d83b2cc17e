"""Scores that count faces by weights, so that one line of code gives their value and their bootstrap over people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from smilevlm.results import Estimate, percentile_interval

Weights = Float[np.ndarray, "resample sample"]
"""How often each sample counts in each resample."""
Score = Callable[[Weights], Float[np.ndarray, " resample"]]
"""NaN where a resample holds no sample that could be scored."""
NUM_RESAMPLES = 1000
_AT_A_TIME = 100
_LOWER_AT_A_TIME = 256
"""Samples with whose levels all others are compared in one go, so that memory grows with their number alone."""


class People:
    """Whose the samples are; redraws whole people, since samples of one person are not independent.

    Args:
        subjects: Of each sample.
        seed: Of the draws.
    """

    def __init__(self, subjects: Sequence[str], *, seed: int) -> None:
        names, self._person = np.unique(np.asarray(subjects), return_inverse=True)
        generator = np.random.default_rng(seed)
        drawn = generator.integers(len(names), size=(NUM_RESAMPLES, len(names))) if len(names) > 1 else None
        self._counts = None if drawn is None else np.stack([np.bincount(row, minlength=len(names)) for row in drawn])

    def estimate(self, score: Score) -> Estimate | None:
        """A score of all samples and its interval; None where nothing can be scored."""
        (value,) = score(np.ones((1, len(self._person)))).tolist()
        if np.isnan(value):
            return None
        if self._counts is None:
            return Estimate(value=value, interval=None)
        steps = range(0, NUM_RESAMPLES, _AT_A_TIME)
        parts = [score(self._counts[i : i + _AT_A_TIME, self._person].astype(np.float64)) for i in steps]
        values = np.concatenate(parts)
        return Estimate(value=value, interval=percentile_interval(values[~np.isnan(values)]))


def share_of(hits: Float[np.ndarray, " sample"], counted: Bool[np.ndarray, " sample"]) -> Score:
    """Mean of what is in [0, 1] over the samples that count."""
    return lambda weights: _ratio(weights @ (hits * counted), weights @ counted)


def area_under_curve(values: Float[np.ndarray, " sample"], present: np.ndarray, absent: np.ndarray) -> Score:
    """Probability that a present sample has a greater value than an absent one; equal values count half.

    Args:
        values: Of all samples.
        present: Samples of the one kind.
        absent: Samples of the other; further ones do not count.
    """
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))

    def score(weights: Weights) -> Float[np.ndarray, " resample"]:
        sums = (np.add.reduceat((weights * chosen)[:, order], starts, axis=1) for chosen in (present, absent))
        positive, negative = sums
        below = np.cumsum(negative, axis=1) - negative / 2
        return _ratio((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))

    return score


def ordered_pairs(
    values: Float[np.ndarray, " sample"], levels: Float[np.ndarray, " sample"], *, least_difference: float
) -> Score:
    """Share of pairs whose values are in the order of their levels; equal values count half.

    Args:
        values: Of the samples that are compared.
        levels: Of the same.
        least_difference: Of the levels; pairs closer than this do not count.
    """

    def score(weights: Weights) -> Float[np.ndarray, " resample"]:
        right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for start in range(0, len(values), _LOWER_AT_A_TIME):
            lower = slice(start, start + _LOWER_AT_A_TIME)
            apart = (levels[:, None] - levels[None, lower] >= least_difference).astype(np.float64)
            pairs += ((weights @ apart) * weights[:, lower]).sum(axis=1)
            apart *= (np.sign(values[:, None] - values[None, lower]) + 1) / 2
            right += ((weights @ apart) * weights[:, lower]).sum(axis=1)
        return _ratio(right, pairs)

    return score


def balanced(first: Score, second: Score) -> Score:
    """Mean of the two."""
    return lambda weights: (first(weights) + second(weights)) / 2


def mean_of(scores: Sequence[Score]) -> Score:
    """Mean of those that a resample can score."""

    def score(weights: Weights) -> Float[np.ndarray, " resample"]:
        values = np.stack([each(weights) for each in scores])
        known = ~np.isnan(values)
        return _ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0).astype(np.float64))

    return score


def of_rows(score: Score, rows: np.ndarray) -> Score:
    """A score of some of the samples."""
    return lambda weights: score(weights[:, rows])


def _ratio(amount: Float[np.ndarray, " resample"], size: Float[np.ndarray, " resample"]) -> np.ndarray:
    return np.divide(amount, size, out=np.full(len(size), np.nan), where=size > 0)
