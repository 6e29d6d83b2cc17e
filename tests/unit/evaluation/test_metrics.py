import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from smilevlm.errors import SettingsError
from smilevlm.evaluation import classification_metrics, spread, subject_bootstrap_interval
from smilevlm.results import class_f1, class_recall

CLASSES = ("happy", "sad", "fear")


def test_by_hand():
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    found = classification_metrics(truth, predicted, CLASSES)
    assert found.confusion_matrix == ((2, 1, 0), (0, 2, 0), (1, 0, 0))
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.per_class_f1 == pytest.approx({"happy": 2 / 3, "sad": 0.8, "fear": 0.0})
    assert found.macro_f1 == pytest.approx((2 / 3 + 0.8) / 3)
    assert found.unweighted_average_recall == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_against_sklearn_and_the_schemas_own_formulas():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(3, size=200), rng.integers(3, size=200)
    found = classification_metrics(truth, predicted, CLASSES)
    assert found.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found.unweighted_average_recall == pytest.approx(balanced_accuracy_score(truth, predicted))
    np.testing.assert_allclose(class_f1(found.confusion_matrix), list(found.per_class_f1.values()), atol=1e-12)
    assert class_recall(found.confusion_matrix).mean() == pytest.approx(found.unweighted_average_recall)


def test_a_class_that_never_occurs_counts_as_zero():
    found = classification_metrics(np.array([0, 1]), np.array([0, 1]), CLASSES)
    assert found.per_class_f1["fear"] == 0.0
    assert found.macro_f1 == pytest.approx(2 / 3)
    assert found.unweighted_average_recall == pytest.approx(2 / 3)
    assert found.confusion_matrix[2] == (0, 0, 0)


def test_no_samples_and_unknown_classes():
    with pytest.raises(SettingsError, match="no test samples"):
        classification_metrics(np.array([], dtype=int), np.array([], dtype=int), CLASSES)
    with pytest.raises(SettingsError, match="truth holds class 0 to 3 of 3"):
        classification_metrics(np.array([0, 3]), np.array([0, 1]), CLASSES)


def test_bootstrap_redraws_subjects_not_samples():
    correct = np.repeat([True, False], 500)
    subjects = ["a"] * 500 + ["b"] * 500
    # Two subjects, one always right: a resample is all right, half right or all wrong.
    assert subject_bootstrap_interval(correct, subjects) == (0.0, 1.0)
    many = [f"s{i // 10}" for i in range(1000)]
    low, high = subject_bootstrap_interval(np.tile([True, False], 500), many)
    assert (low, high) == (0.5, 0.5)


def test_bootstrap_is_fixed_by_its_seed_and_needs_two_subjects():
    rng = np.random.default_rng(0)
    correct, subjects = rng.random(300) < 0.8, [f"s{i}" for i in rng.integers(30, size=300)]
    first = subject_bootstrap_interval(correct, subjects, seed=1)
    assert first == subject_bootstrap_interval(correct, subjects, seed=1)
    assert first != subject_bootstrap_interval(correct, subjects, seed=2)
    assert first[0] < correct.mean() < first[1]
    assert subject_bootstrap_interval(correct, ["only"] * 300) is None
    with pytest.raises(SettingsError, match="300 samples, but 1 subjects"):
        subject_bootstrap_interval(correct, ["only"])


def test_spread_by_hand():
    found = spread([0.7, 0.8, 0.9])
    # t quantile 0.975 with two degrees of freedom.
    half = 4.302652729911275 * 0.1 / np.sqrt(3)
    assert found.mean == pytest.approx(0.8)
    assert found.std == pytest.approx(0.1)
    assert found.interval == (pytest.approx(0.8 - half), 1.0)
    assert spread([0.5]).std is None
    assert spread([0.5]).interval is None
    assert spread([-0.9, -0.8], low=-1.0).interval[0] == -1.0
    with pytest.raises(SettingsError, match="no folds"):
        spread([])
