import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from smilevlm.errors import SettingsError
from smilevlm.evaluation.verification import (
    area_under_curve,
    equal_error_rate,
    equal_error_rate_interval,
    equal_error_threshold,
    probe_ranks,
    rank_rates,
    roc_curve,
    thinned,
    true_accept_rate_at,
)

GENUINE = np.array([0.9, 0.8, 0.4, 0.7])
IMPOSTOR = np.array([0.1, 0.5, 0.75, 0.2, 0.3])
scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40).map(np.array)


def drawn(num_genuine=400, num_impostor=3000, shift=1.5, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, num_genuine), generator.normal(0, 1, num_impostor)


@given(scores, scores)
@settings(max_examples=100, deadline=None)
def test_curve_and_area_are_those_of_scikit_learn(genuine, impostor):
    truth = np.repeat([1, 0], [len(genuine), len(impostor)])
    both = np.concatenate([genuine, impostor])
    false, true, thresholds = metrics.roc_curve(truth, both, drop_intermediate=False)
    roc = roc_curve(genuine, impostor)
    np.testing.assert_allclose(roc.false_accept_rate, false)
    np.testing.assert_allclose(roc.true_accept_rate, true)
    np.testing.assert_array_equal(roc.thresholds, thresholds)
    assert area_under_curve(roc) == pytest.approx(metrics.roc_auc_score(truth, both))


@given(scores, scores)
@settings(max_examples=100, deadline=None)
def test_equal_error_rate_is_where_the_rates_meet(genuine, impostor):
    roc = roc_curve(genuine, impostor)
    rate = equal_error_rate(roc)
    assert np.interp(rate, roc.false_accept_rate, roc.true_accept_rate, left=0) >= 1 - rate - 1e-9
    # Swapping the roles and the sign of the scores is the same question.
    assert rate == pytest.approx(equal_error_rate(roc_curve(-impostor, -genuine)), abs=1e-9)


def test_curve_by_hand():
    roc = roc_curve(GENUINE, IMPOSTOR)
    assert roc.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.75, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert roc.true_accept_rate.tolist() == [0, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1, 1, 1]
    assert roc.false_accept_rate.tolist() == [0, 0, 0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.8, 1]
    # Between FAR 0.2 and 0.4 at a false reject rate of 0.25.
    assert equal_error_rate(roc) == pytest.approx(0.25)
    # 14 of 20 pairs of a genuine and an impostor score are in the right order... counted by hand: 5 + 5 + 3 + 4.
    assert area_under_curve(roc) == pytest.approx(17 / 20)
    # |FAR - FRR| is least, 0.05, from 0.7 down to 0.5.
    assert equal_error_threshold(roc) == pytest.approx(0.6)
    assert true_accept_rate_at(roc, 0.2) == 0.75
    assert true_accept_rate_at(roc, 0.39) == 0.75
    assert true_accept_rate_at(roc, 0.4) == 1.0
    assert true_accept_rate_at(roc, 0.19) is None


def test_perfect_and_inverted_scores():
    high, low = np.array([0.8, 1.0]), np.array([0.0, 0.2, 0.4])
    perfect, inverted = roc_curve(high, low), roc_curve(low, high)
    assert (equal_error_rate(perfect), area_under_curve(perfect)) == (0.0, 1.0)
    assert equal_error_threshold(perfect) == pytest.approx(0.6), "the middle of the gap"
    assert (equal_error_rate(inverted), area_under_curve(inverted)) == (1.0, 0.0)


def test_equal_scores_say_nothing():
    roc = roc_curve(np.ones(3), np.ones(4))
    assert (equal_error_rate(roc), area_under_curve(roc)) == (0.5, 0.5)
    assert equal_error_threshold(roc) > 1.0


def test_equal_error_rate_of_two_gaussians():
    # Means 2 apart at unit variance: the errors meet at Phi(-1).
    roc = roc_curve(*drawn(40_000, 40_000, 2.0))
    assert equal_error_rate(roc) == pytest.approx(0.158655, abs=5e-3)


def test_small_rates_need_enough_impostors():
    genuine, impostor = drawn(50, 1000)
    roc = roc_curve(genuine, impostor)
    allowed = np.sort(impostor)[-2]  # one impostor in a thousand lies above
    assert true_accept_rate_at(roc, 0.001) == (genuine > allowed).mean()
    assert true_accept_rate_at(roc_curve(genuine, impostor[1:]), 0.001) is None
    with pytest.raises(SettingsError, match="above 0 to 1"):
        true_accept_rate_at(roc, 0.0)


def test_thinned_keeps_the_shape():
    roc = roc_curve(*drawn())
    few = thinned(roc)
    assert len(few.thresholds) <= 200 < len(roc.thresholds)
    assert (few.false_accept_rate[0], few.true_accept_rate[0]) == (0, 0)
    assert (few.false_accept_rate[-1], few.true_accept_rate[-1]) == (1, 1)
    assert (np.diff(few.false_accept_rate) >= 0).all()
    assert set(zip(few.false_accept_rate, few.true_accept_rate, strict=True)) <= set(
        zip(roc.false_accept_rate, roc.true_accept_rate, strict=True)
    )
    assert area_under_curve(few) == pytest.approx(area_under_curve(roc), abs=2e-3)
    assert equal_error_rate(few) == pytest.approx(equal_error_rate(roc), abs=5e-3)
    assert thinned(roc_curve(GENUINE, IMPOSTOR)).thresholds.tolist()[1] == 0.9, "short curves stay as they are"
    with pytest.raises(SettingsError, match="at least 4"):
        thinned(roc, 3)


def test_ranks_by_hand():
    table = np.array([[0.9, 0.1, 0.5], [0.9, 0.2, 0.5], [0.1, 0.7, 0.7]])
    truth = np.array([0, 1, 2])
    assert probe_ranks(table, truth).tolist() == [1, 3, 2], "a tie counts against the probe"
    np.testing.assert_allclose(rank_rates(table, truth), [1 / 3, 2 / 3, 1])
    assert len(rank_rates(table, truth, max_rank=2)) == 2
    with pytest.raises(SettingsError, match="no probes"):
        rank_rates(table[:0], truth[:0])


@pytest.mark.parametrize(
    ("genuine", "impostor", "message"),
    [
        (np.zeros(0), IMPOSTOR, "no genuine"),
        (GENUINE, np.zeros(0), "no impostor"),
        (np.array([np.nan]), IMPOSTOR, "not finite"),
    ],
)
def test_useless_scores_are_refused(genuine, impostor, message):
    with pytest.raises(SettingsError, match=message):
        roc_curve(genuine, impostor)


def comparisons(num_subjects=12, per_subject=4, seed=0):
    """All pairs of noisy samples of people on a line."""
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(num_subjects), per_subject)
    place = generator.normal(0, 1, num_subjects)[subject] + generator.normal(0, 0.4, len(subject))
    left, right = np.triu_indices(len(subject), 1)
    score = -np.abs(place[left] - place[right])
    same = subject[left] == subject[right]
    return {
        "genuine": score[same],
        "genuine_subject": subject[left[same]],
        "impostor": score[~same],
        "impostor_subjects": np.stack([subject[left[~same]], subject[right[~same]]], axis=1),
        "num_subjects": num_subjects,
    }


def test_interval_is_that_of_repeated_comparisons():
    data = comparisons()
    generator = np.random.default_rng(5)
    rates = []
    for row in generator.integers(12, size=(300, 12)):
        times = np.bincount(row, minlength=12)
        genuine = np.repeat(data["genuine"], times[data["genuine_subject"]])
        impostor = np.repeat(data["impostor"], times[data["impostor_subjects"]].prod(axis=1))
        rates.append(equal_error_rate(roc_curve(genuine, impostor)))
    found = equal_error_rate_interval(**data, seed=5, num_resamples=300)
    np.testing.assert_allclose(found, np.quantile(rates, [0.025, 0.975]), atol=2e-3)


def test_interval_holds_the_rate_and_follows_the_seed():
    data = comparisons()
    low, high = equal_error_rate_interval(**data)
    assert low < equal_error_rate(roc_curve(data["genuine"], data["impostor"])) < high
    assert equal_error_rate_interval(**data) == (low, high)
    assert equal_error_rate_interval(**data, seed=1) != (low, high)
    swapped = data | {"impostor_subjects": data["impostor_subjects"][:, ::-1].copy()}
    assert equal_error_rate_interval(**swapped) == (low, high)


def test_no_interval_from_one_person():
    one = {"genuine": GENUINE, "genuine_subject": np.zeros(4, np.int64), "impostor": IMPOSTOR}
    pairs = np.zeros((5, 2), np.int64)
    assert equal_error_rate_interval(**one, impostor_subjects=pairs, num_subjects=1) is None
