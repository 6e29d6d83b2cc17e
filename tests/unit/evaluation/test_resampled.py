"""Weighted scores against their definitions, and intervals that redraw people."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from smilevlm.evaluation.resampled import (
    People,
    area_under_curve,
    balanced,
    mean_of,
    of_rows,
    ordered_pairs,
    share_of,
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def ones(number: int) -> np.ndarray:
    return np.ones((1, number))


def test_area_is_sklearns_with_ties_and_weights(generator):
    values = generator.integers(0, 6, 40).astype(np.float64)
    present = generator.uniform(size=40) < 0.4
    absent = ~present & (generator.uniform(size=40) < 0.8)
    weights = generator.integers(0, 4, (3, 40)).astype(np.float64)
    found = area_under_curve(values, present, absent)(weights)
    chosen = present | absent
    for row, area in zip(weights, found, strict=True):
        expected = roc_auc_score(present[chosen], values[chosen], sample_weight=row[chosen])
        assert area == pytest.approx(expected, abs=1e-12)


def test_area_without_one_side_is_unknown():
    score = area_under_curve(np.arange(3.0), np.array([True, False, False]), np.zeros(3, bool))
    assert np.isnan(score(ones(3)))


@pytest.mark.parametrize("number", [7, 300], ids=["few", "more than are compared at a time"])
def test_pairs_count_as_often_as_their_samples(generator, number):
    values, levels = generator.uniform(size=number), generator.uniform(size=number)
    weights = generator.integers(0, 3, (1, number)).astype(np.float64)
    repeated = [n for n in range(number) for _ in range(int(weights[0, n]))]
    pairs = [(a, b) for a in repeated for b in repeated if levels[a] - levels[b] >= 0.2]
    expected = np.mean([values[a] > values[b] for a, b in pairs])
    (found,) = ordered_pairs(values, levels, least_difference=0.2)(weights)
    assert found == pytest.approx(expected)


def test_shares_and_means():
    hits, counted = np.array([1.0, 0.0, 0.5, 1.0]), np.array([True, True, True, False])
    assert share_of(hits, counted)(ones(4)) == pytest.approx(0.5)
    first, second = share_of(hits, counted), share_of(hits, ~counted)
    assert balanced(first, second)(ones(4)) == pytest.approx(0.75)
    unknown = share_of(hits, np.zeros(4, bool))
    assert mean_of([first, second, unknown])(ones(4)) == pytest.approx(0.75)
    assert np.isnan(mean_of([unknown])(ones(4)))
    assert of_rows(share_of(np.ones(1), np.ones(1, bool)), np.array([3]))(ones(4)) == 1


def test_intervals_redraw_people_and_hold_the_value():
    subjects = [f"p{n // 4}" for n in range(40)]
    hits = np.repeat([1.0, 0.0] * 5, 4)
    score = share_of(hits, np.ones(40, bool))
    found = People(subjects, seed=1).estimate(score)
    assert found is not None
    assert found.value == 0.5
    assert found.interval is not None
    low, high = found.interval
    # Ten people of one opinion each, not forty answers.
    assert low < 0.3 < 0.7 < high
    assert People(subjects, seed=1).estimate(score) == found
    alone = People(["p"] * 40, seed=1).estimate(score)
    assert alone is not None
    assert alone.interval is None
    assert People(subjects, seed=1).estimate(share_of(hits, np.zeros(40, bool))) is None
