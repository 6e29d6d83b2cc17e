from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from smilevlm.errors import ResultError
from smilevlm.reporting.study_statistics import (
    UnitScore,
    holm,
    pair_units,
    paired_difference,
    paired_subject_interval,
    pooled_counts,
    subject_interval,
)


def units(accuracies, *, num_train=90, num_test=10, counts=None):
    return [
        UnitScore(
            seed=seed,
            fold=0,
            accuracy=accuracy,
            num_train=num_train,
            num_test=num_test,
            # Other people in every unit, unless a test says who they are.
            test_subjects=(f"a{seed}", f"b{seed}") if counts is None else tuple(sorted(counts[seed])),
            subject_counts={f"a{seed}": (1, 2), f"b{seed}": (1, 2)} if counts is None else counts[seed],
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def test_corrected_t_test_by_hand():
    # Differences 0.1, 0.2, 0.3: mean 0.2, s = 0.1, k = 3, n_test/n_train = 1/2.
    found = paired_difference(units([0.6, 0.8, 0.9], num_train=20), units([0.5, 0.6, 0.6], num_train=20))
    assert found.mean == pytest.approx(0.2)
    assert found.std == pytest.approx(0.1)
    error = 0.1 * sqrt(1 / 3 + 1 / 2)
    # With two degrees of freedom: P(|T| > t) = 1 - t / sqrt(2 + t²), and its 97.5 % point is 4.302653.
    t = 0.2 / error
    assert found.p_value == pytest.approx(1 - t / sqrt(2 + t**2))
    assert found.interval == pytest.approx((0.2 - 4.302653 * error, 0.2 + 4.302653 * error), abs=1e-6)


def test_without_the_correction_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.random(10), rng.random(10)
    found = paired_difference(units(first), units(second), corrected=False)
    expected = stats.ttest_rel(first, second)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_the_correction_makes_it_less_sure():
    rng = np.random.default_rng(1)
    first, second = units(rng.random(10) + 0.3), units(rng.random(10))
    assert paired_difference(first, second).p_value > paired_difference(first, second, corrected=False).p_value


def test_exchanging_the_two_changes_the_sign_alone():
    first, second = units([0.6, 0.8, 0.9]), units([0.5, 0.6, 0.65])
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert one.mean == pytest.approx(-other.mean)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))


def test_one_unit_and_equal_differences_say_nothing_of_chance():
    one = paired_difference(units([0.8]), units([0.7]))
    assert (one.std, one.p_value, one.interval) == (None, None, None)
    equal = paired_difference(units([0.8, 0.7, 0.6]), units([0.7, 0.6, 0.5]))
    assert equal.mean == pytest.approx(0.1)
    assert (equal.std, equal.p_value, equal.interval) == (0.0, None, None)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04, None, 0.9]) == [pytest.approx(0.08), None, pytest.approx(0.9)]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_only_the_same_people_and_samples_are_paired():
    first = units([0.5, 0.6])
    other_people = [replace(unit, test_subjects=("a", "c")) for unit in first]
    other_samples = [replace(unit, num_test=11) for unit in first]
    for second in (other_people, other_samples):
        with pytest.raises(ResultError, match="seed 0, fold 0: two methods were not tested on the same people"):
            paired_difference(first, second)
        with pytest.raises(ResultError, match="not tested on the same people"):
            paired_subject_interval(first, second)
    with pytest.raises(ResultError, match="share no seed and fold"):
        paired_difference(first[:1], first[1:])


def test_units_are_paired_by_seed_and_fold_whatever_their_order():
    first, second = units([0.5, 0.6, 0.7]), units([0.4, 0.4, 0.4])
    pairs = pair_units(first, second[::-1][:2])
    assert [(a.seed, b.seed) for a, b in pairs] == [(1, 1), (2, 2)]


def test_counts_of_a_subject_are_pooled_over_its_units():
    scores = units([0.5, 0.5], counts=[{"b": (1, 2), "a": (2, 2)}, {"b": (2, 2), "c": (0, 4)}])
    assert pooled_counts(scores) == {"a": (2, 2), "b": (3, 4), "c": (0, 4)}
    assert list(pooled_counts(scores)) == ["a", "b", "c"]


def test_interval_over_two_people_by_hand():
    # One person gains both samples, the other none: redrawn, the difference is 0, 1/2 or 1, either end in a quarter.
    first = units([0.5], counts=[{"a": (2, 2), "b": (1, 2)}])
    second = units([0.25], counts=[{"a": (0, 2), "b": (1, 2)}])
    assert paired_subject_interval(first, second) == (0.0, 1.0)
    assert paired_subject_interval(second, first) == (-1.0, 0.0)
    assert paired_subject_interval(first, first) == (0.0, 0.0)


def test_interval_over_many_people_is_that_of_the_mean():
    rng = np.random.default_rng(2)
    hits = rng.integers(0, 11, size=200)
    scores = units([float(hits.mean() / 10)], counts=[{f"{i:03d}": (int(hit), 10) for i, hit in enumerate(hits)}])
    low, high = subject_interval(scores)
    half = 1.96 * (hits / 10).std() / sqrt(200)
    assert low == pytest.approx(hits.mean() / 10 - half, abs=0.005)
    assert high == pytest.approx(hits.mean() / 10 + half, abs=0.005)


def test_no_interval_over_people_where_there_can_be_none():
    one_person = units([0.5], counts=[{"a": (1, 2)}])
    assert subject_interval(one_person) is None
    assert paired_subject_interval(one_person, one_person) is None


def test_units_that_test_the_same_people_say_nothing_of_people():
    # Seeds of one fixed test set: their spread is that of training alone, which would make any difference look sure.
    counts = [{"a": (6, 10), "b": (5, 10)}, {"a": (7, 10), "b": (5, 10)}, {"a": (6, 10), "b": (6, 10)}]
    first, second = units([0.60, 0.61, 0.62], counts=counts), units([0.50, 0.50, 0.51], counts=counts)
    found = paired_difference(first, second)
    assert found.same_people
    assert (found.p_value, found.interval) == (None, None)
    assert found.mean == pytest.approx(0.32 / 3)
