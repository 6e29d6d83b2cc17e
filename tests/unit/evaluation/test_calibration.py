import numpy as np
import pytest

from smilevlm.errors import SettingsError
from smilevlm.evaluation import calibration
from smilevlm.models import fit_temperature, probabilities


def test_four_samples_by_hand():
    """Two bins of width one half: confidences 0.4 (right); 0.6 (wrong), 0.8 (right), 1 (right)."""
    shares = np.array([[0.4, 0.3, 0.3], [0.6, 0.4, 0.0], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    found = calibration(shares, np.array([True, False, True, True]), 0.07, num_bins=2)
    first, second = found.bins
    assert (first.low, first.count, first.confidence, first.accuracy) == (0.0, 1, 0.4, 1.0)
    assert (second.low, second.count) == (0.5, 3)
    assert (second.confidence, second.accuracy) == pytest.approx((0.8, 2 / 3))
    assert found.expected_calibration_error == pytest.approx((1 * 0.6 + 3 * (0.8 - 2 / 3)) / 4)
    assert found.temperature == 0.07


def test_edges_of_bins_belong_to_the_bin_above_and_one_to_the_last():
    shares = np.array([[0.2] * 5, [0.6, 0.4, 0, 0, 0], [0.8, 0.2, 0, 0, 0], [1.0, 0, 0, 0, 0]])
    found = calibration(shares, np.ones(4, dtype=bool), 1.0, num_bins=5)
    assert [each.count for each in found.bins] == [0, 1, 0, 1, 2]
    assert [each.low for each in found.bins] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert (found.bins[0].confidence, found.bins[0].accuracy) == (0.0, 0.0)


def test_against_a_loop():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(6, 0.4), size=300)
    correct = rng.random(300) < 0.6
    found = calibration(shares, correct, 0.1)
    confidence, expected = shares.max(axis=1), 0.0
    for number in range(15):
        inside = (confidence >= number / 15) & (confidence < (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert found.expected_calibration_error == pytest.approx(expected)
    assert sum(each.count for each in found.bins) == 300


def test_probabilities_as_they_should_be_have_no_error():
    shares = np.tile([[0.75, 0.25]], (4, 1))
    assert calibration(shares, np.array([True, True, True, False]), 1.0).expected_calibration_error == 0.0


@pytest.mark.parametrize(
    ("shares", "num_bins"),
    [(np.zeros((0, 3)), 15), (np.full((2, 2), 0.5), 0), (np.full((2, 2), 0.4), 15), (np.array([[1.5, -0.5]]), 15)],
)
def test_what_is_no_distribution(shares, num_bins):
    with pytest.raises(SettingsError):
        calibration(shares, np.ones(len(shares), dtype=bool), 1.0, num_bins)


def test_the_fitted_temperature_is_the_one_the_labels_were_drawn_at():
    rng = np.random.default_rng(0)
    scores = rng.uniform(-0.5, 0.9, (20_000, 5))
    for temperature in (0.03, 0.2):
        shares = probabilities(scores, temperature)
        truth = (shares.cumsum(axis=1) > rng.uniform(size=(len(scores), 1))).argmax(axis=1)
        assert fit_temperature(scores, truth) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_makes_the_labels_likelier():
    rng = np.random.default_rng(1)
    scores, truth = rng.uniform(-1, 1, (50, 3)), rng.integers(0, 3, 50)
    best = fit_temperature(scores, truth)

    def surprise(temperature: float) -> float:
        return -np.log(probabilities(scores, temperature)[np.arange(50), truth]).mean()

    assert all(surprise(best) <= surprise(other) + 1e-6 for other in np.geomspace(0.01, 4, 60))


def test_a_temperature_is_fitted_to_something():
    with pytest.raises(SettingsError, match="none"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
