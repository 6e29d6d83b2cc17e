"""Scores of comparisons: ROC curve, equal error rate, true accept rate at a false accept rate, ranks. Arrays only.

A comparison is accepted when its score is at least the threshold. Genuine comparisons should be accepted (the same
person; a bona fide scan), impostors should not (another person; an attack).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilevlm.errors import SettingsError
from smilevlm.results import Interval, RocPoint, percentile_interval

MAX_POINTS = 200
_SCORE_BINS = 1000
"""Of the bootstrap: it counts scores between as many quantiles; what that shifts a rate by is at most a thousandth."""


@dataclass(frozen=True, kw_only=True)
class Roc:
    """A ROC curve from (0, 0) to (1, 1).

    Attributes:
        thresholds: Falling; the first is infinite and accepts nothing, every other one is a score that occurred.
        false_accept_rate: Share of impostors accepted at each threshold.
        true_accept_rate: Share of genuine comparisons accepted.
        num_genuine, num_impostor: How many comparisons there were.
    """

    thresholds: Float[np.ndarray, " point"]
    false_accept_rate: Float[np.ndarray, " point"]
    true_accept_rate: Float[np.ndarray, " point"]
    num_genuine: int
    num_impostor: int


def roc_curve(genuine: Float[np.ndarray, " genuine"], impostor: Float[np.ndarray, " impostor"]) -> Roc:
    """The ROC curve over every distinct score.

    Args:
        genuine: Scores that should be accepted; higher is more alike.
        impostor: Scores that should be rejected.
    """
    from sklearn import metrics

    for name, scores in (("genuine", genuine), ("impostor", impostor)):
        if len(scores) == 0:
            raise SettingsError(f"there are no {name} comparisons")
        if not np.isfinite(scores).all():
            raise SettingsError(f"a score of the {name} comparisons is not finite")
    scores = np.concatenate([genuine, impostor]).astype(np.float64)
    is_genuine = np.arange(len(scores)) < len(genuine)
    false_accept_rate, true_accept_rate, thresholds = metrics.roc_curve(is_genuine, scores, drop_intermediate=False)
    return Roc(
        thresholds=thresholds,
        false_accept_rate=false_accept_rate,
        true_accept_rate=true_accept_rate,
        num_genuine=len(genuine),
        num_impostor=len(impostor),
    )


def equal_error_rate(roc: Roc) -> float:
    """Where the false accept rate is the false reject rate, on the straight lines between the curve's points."""
    rates = _equal_error_rates(roc.false_accept_rate[None], 1.0 - roc.true_accept_rate[None])
    return float(rates[0])


def equal_error_threshold(roc: Roc) -> float:
    """The threshold at which the two error rates differ least; among equals the strictest.

    It is put in the middle of the gap between two scores in which every threshold decides alike.
    """
    gap = np.abs(roc.false_accept_rate + roc.true_accept_rate - 1.0)
    # Equal counts may differ by a rounding error once they are rates.
    best = int(np.flatnonzero(gap <= gap.min() + 1e-12)[0])
    if best == 0:
        return float(np.nextafter(roc.thresholds[1], np.inf))
    below = min(best + 1, len(roc.thresholds) - 1)
    return float((roc.thresholds[best] + roc.thresholds[below]) / 2.0)


def area_under_curve(roc: Roc) -> float:
    """Area under the ROC curve by trapezoids: the chance that a genuine score exceeds an impostor's, ties halved."""
    # Rounding may carry the sum of many trapezoids past one.
    return float(min(1.0, np.trapezoid(roc.true_accept_rate, roc.false_accept_rate)))


def true_accept_rate_at(roc: Roc, false_accept_rate: float) -> float | None:
    """The largest true accept rate at which no more than this share of the impostors is accepted.

    Returns:
        None with fewer than 1 / `false_accept_rate` impostors: so small a share of them cannot be measured.
    """
    if not 0 < false_accept_rate <= 1:
        raise SettingsError(f"a false accept rate of {false_accept_rate} was asked for; expected above 0 to 1")
    # A rounding error must not cost an impostor: 1 / 0.001 is one above 1000 for some rates.
    if roc.num_impostor * false_accept_rate < 1.0 - 1e-9:
        return None
    allowed = roc.false_accept_rate <= false_accept_rate + 1e-12
    return float(roc.true_accept_rate[allowed].max())


def rank_rates(
    scores: Float[np.ndarray, "probe gallery"], truth: Int[np.ndarray, " probe"], *, max_rank: int = 10
) -> Float[np.ndarray, " rank"]:
    """Cumulative match characteristic: share of probes whose own entry is among the 1, 2, ... nearest of the gallery.

    Args:
        scores: Higher is more alike.
        truth: Index of each probe's own entry.
        max_rank: Ranks wanted; there are no more of them than entries.
    """
    ranks = probe_ranks(scores, truth)
    return np.array([(ranks <= rank).mean() for rank in range(1, min(max_rank, scores.shape[1]) + 1)])


def probe_ranks(scores: Float[np.ndarray, "probe gallery"], truth: Int[np.ndarray, " probe"]) -> Int[np.ndarray, " p"]:
    """Rank of each probe's own entry, from 1. Others with the same score come before it: a tie is no recognition."""
    if len(scores) == 0:
        raise SettingsError("there are no probes to identify")
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    return (scores >= own).sum(axis=1)


def thinned(roc: Roc, max_points: int = MAX_POINTS) -> Roc:
    """The curve with at most so many of its points, ends included, for drawing.

    Half of the points are spread over the true accept rate, half over the logarithm of the false accept rate, so that
    the curve keeps its shape on both kinds of axes.
    """
    if max_points < 4:
        raise SettingsError(f"{max_points} points were asked for; a curve needs at least 4")
    count = len(roc.thresholds)
    if count <= max_points:
        return roc
    half = (max_points - 2) // 2
    by_true = np.searchsorted(roc.true_accept_rate, np.linspace(0.0, 1.0, half))
    false_rates = np.geomspace(1.0 / roc.num_impostor, 1.0, half)
    # The last point at or below each rate: the one before the first that exceeds it.
    by_false = np.searchsorted(roc.false_accept_rate, false_rates + 1e-12, side="right") - 1
    kept = np.unique(np.concatenate([[0, count - 1], by_true, by_false]).clip(0, count - 1))
    return Roc(
        thresholds=roc.thresholds[kept],
        false_accept_rate=roc.false_accept_rate[kept],
        true_accept_rate=roc.true_accept_rate[kept],
        num_genuine=roc.num_genuine,
        num_impostor=roc.num_impostor,
    )


def roc_points(roc: Roc) -> tuple[RocPoint, ...]:
    """A curve as a result file holds it, thinned for drawing."""
    few = thinned(roc)
    return tuple(
        RocPoint(false_accept_rate=false, true_accept_rate=true)
        for false, true in zip(few.false_accept_rate.tolist(), few.true_accept_rate.tolist(), strict=True)
    )


def equal_error_rate_interval(
    *,
    genuine: Float[np.ndarray, " genuine"],
    genuine_subject: Int[np.ndarray, " genuine"],
    impostor: Float[np.ndarray, " impostor"],
    impostor_subjects: Int[np.ndarray, "impostor 2"],
    num_subjects: int,
    seed: int = 0,
    num_resamples: int = 1000,
) -> Interval | None:
    """95 % percentile interval of the equal error rate when the test subjects are drawn anew.

    A subject drawn k times brings its genuine comparisons k times, two subjects drawn k and l times the impostor
    comparisons between them k * l times; a subject is never its own impostor.

    Args:
        genuine: Scores.
        genuine_subject: Subject of each.
        impostor: Scores.
        impostor_subjects: The two people of each.
        num_subjects: Subjects are numbered from 0.
        seed: Of the draws.
        num_resamples: How many.

    Returns:
        None with fewer than two subjects, or where no draw has both kinds of comparisons.
    """
    if num_subjects < 2:
        return None
    edges = np.unique(
        np.concatenate([np.quantile(s, np.linspace(0, 1, _SCORE_BINS // 2)) for s in (genuine, impostor)])
    )
    drawn = np.random.default_rng(seed).integers(num_subjects, size=(num_resamples, num_subjects))
    times = np.stack([np.bincount(row, minlength=num_subjects) for row in drawn]).astype(np.float64)
    low, high = np.sort(impostor_subjects, axis=1).T
    pairs, pair_index = np.unique(low * num_subjects + high, return_inverse=True)
    pair_times = times[:, pairs // num_subjects] * times[:, pairs % num_subjects]
    # Sums of whole numbers are exact, in whatever order a matrix product adds them.
    accepted_genuine = times @ _accepted(genuine, genuine_subject, num_subjects, edges)
    accepted_impostor = pair_times @ _accepted(impostor, pair_index, len(pairs), edges)
    usable = (accepted_genuine[:, -1] > 0) & (accepted_impostor[:, -1] > 0)
    if not usable.any():
        return None
    reject = 1.0 - accepted_genuine[usable] / accepted_genuine[usable, -1:]
    rates = _equal_error_rates(accepted_impostor[usable] / accepted_impostor[usable, -1:], reject)
    return percentile_interval(rates)


def _accepted(
    scores: Float[np.ndarray, " n"], owner: Int[np.ndarray, " n"], num_owners: int, edges: Float[np.ndarray, " edge"]
) -> Float[np.ndarray, "owner point"]:
    """How many scores of each owner are accepted, from none at an infinite threshold to all at the lowest edge."""
    num_bins = len(edges)
    bins = np.searchsorted(edges, scores, side="right") - 1
    counts = np.bincount(owner * num_bins + bins, minlength=num_owners * num_bins).reshape(num_owners, num_bins)
    accepted = counts[:, ::-1].cumsum(axis=1).astype(np.float64)
    return np.concatenate([np.zeros((num_owners, 1)), accepted], axis=1)


def _equal_error_rates(
    false_accept: Float[np.ndarray, "curve point"], false_reject: Float[np.ndarray, "curve point"]
) -> Float[np.ndarray, " curve"]:
    """Where rising and falling rates cross, by linear interpolation."""
    difference = false_accept - false_reject
    # The first point at or past the crossing; the last one is, for there nothing is rejected.
    after = np.argmax(difference >= 0, axis=1)
    rows = np.arange(len(difference))
    before = after - 1
    step = difference[rows, after] - difference[rows, before]
    share = -difference[rows, before] / step
    return false_accept[rows, before] + share * (false_accept[rows, after] - false_accept[rows, before])
