import numpy as np
import pytest
from sklearn.metrics import f1_score

from smilevlm.errors import SettingsError
from smilevlm.evaluation import binary_counts, multi_label_score
from smilevlm.evaluation.binary_scores import choose_threshold
from smilevlm.results import BinaryCounts, binary_accuracy, binary_f1

CLASSES = ("happy", "sad")


def test_counts_by_hand():
    truth = np.array([True, True, True, False, False, False, False])
    said = np.array([True, False, False, True, False, False, False])
    found = binary_counts(truth, said)
    assert found == BinaryCounts(true_positive=1, false_positive=1, false_negative=2, true_negative=3)
    assert binary_f1(found) == pytest.approx(f1_score(truth, said))
    assert binary_accuracy(found) == pytest.approx((truth == said).mean())


@pytest.mark.parametrize(
    ("scores", "there", "expected"),
    [
        # A clean gap: midway.
        ([0.1, 0.2, 0.6, 0.9], [0, 0, 1, 1], 0.4),
        # Everything is there: midway from -1 to the lowest score.
        ([0.2, 0.6], [1, 1], -0.4),
        # From 0.5 on: 2 of 3 said are right, F1 0.8; from 0.85 on: 1 of 1, F1 2/3.
        ([0.1, 0.4, 0.6, 0.7, 1.0], [0, 0, 1, 0, 1], 0.5),
        # Saying the upper one, or all four (F1 2/3 each): -0.45 and 0.85 tie, equally far from the middle; the lower.
        ([0.1, 0.3, 0.7, 1.0], [1, 0, 0, 1], -0.45),
        # F1 1/2 from 0.7 on (1 right of 1), 0.2 (2 of 5) and -0.6 (3 of 9): 0.2 is nearest to the middle, 0.05.
        ([-0.2, -0.1, 0.0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.8], [1, 0, 0, 0, 1, 0, 0, 0, 1], 0.2),
        # Equal scores stay together.
        ([0.2, 0.5, 0.5, 0.5 + 1e-13], [0, 1, 0, 1], 0.35),
        # Never there.
        ([0.2, 1.0], [0, 0], 2.0),
    ],
)
def test_thresholds_by_hand(scores, there, expected):
    assert choose_threshold(np.array(scores), np.array(there, dtype=bool)) == pytest.approx(expected)


def test_no_threshold_is_better_on_its_own_samples():
    rng = np.random.default_rng(0)
    for _ in range(100):
        there = rng.random(40) < rng.random()
        scores = np.clip(0.3 * there + 0.4 * rng.normal(size=40), -1, 1)
        there[0] = True
        said = np.linspace(-1, 1, 400)[:, None] <= scores
        every = 2 * (said & there).sum(axis=1) / (said.sum(axis=1) + there.sum())
        best = f1_score(there, scores >= choose_threshold(scores, there))
        assert 0 < every.max() <= best + 1e-12


def arguments(**changes):
    train = np.array([[0.9, 0.0], [0.7, 0.6], [0.1, 0.8], [0.0, 0.1]])
    test = np.array([[0.5, 0.1], [0.5, 0.6], [0.3, 0.2]])
    return {
        "classes": CLASSES,
        "subjects": ["F1", "F2", "F1"],
        "train_truth": np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool),
        "train_scores": train,
        "train_view_scores": {0.0: train, 30.0: train - 0.2},
        "truth": np.array([[1, 0], [1, 1], [1, 0]], dtype=bool),
        "scores": test,
        "view_scores": {0.0: test, 30.0: test},
    } | changes


def test_score_by_hand():
    found = multi_label_score(**arguments())
    assert found.thresholds == pytest.approx({"happy": 0.4, "sad": 0.35})
    assert found.num_samples == 3
    assert found.fused == {
        "happy": BinaryCounts(true_positive=2, false_positive=0, false_negative=1, true_negative=0),
        "sad": BinaryCounts(true_positive=1, false_positive=0, false_negative=0, true_negative=2),
    }
    assert found.num_exact == 2
    assert found.by_view[0.0] == found.fused
    # That view's cosines are lower while training, so are its thresholds: 0.2 and 0.15.
    assert found.by_view[30.0]["happy"].true_positive == 3
    assert found.by_view[30.0]["sad"].false_positive == 1
    assert found.always_no == {
        "happy": BinaryCounts(true_positive=0, false_positive=0, false_negative=3, true_negative=0),
        "sad": BinaryCounts(true_positive=0, false_positive=0, false_negative=1, true_negative=2),
    }


def test_thresholds_do_not_see_the_test_side():
    other = arguments(scores=np.ones((3, 2)), truth=np.zeros((3, 2), dtype=bool))
    assert multi_label_score(**other).thresholds == multi_label_score(**arguments()).thresholds


def test_a_class_that_training_never_shows_is_never_said():
    truth = np.array([[1, 0], [1, 0], [0, 0], [0, 0]], dtype=bool)
    found = multi_label_score(**arguments(train_truth=truth, scores=np.ones((3, 2))))
    assert found.thresholds["sad"] == 2.0
    assert found.fused["sad"] == found.always_no["sad"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view_scores": {0.0: np.ones((3, 2))}}, "to choose on"),
        ({"classes": ("happy", "sad", "fear")}, "training samples and classes"),
        (
            {
                "truth": np.zeros((0, 2), dtype=bool),
                "scores": np.zeros((0, 2)),
                "view_scores": dict.fromkeys((0.0, 30.0), np.zeros((0, 2))),
            },
            "test samples and classes",
        ),
    ],
)
def test_unsound_input(changes, message):
    with pytest.raises(SettingsError, match=message):
        multi_label_score(**arguments(**changes))


def test_no_samples_no_threshold():
    with pytest.raises(SettingsError):
        choose_threshold(np.zeros(0), np.zeros(0, dtype=bool))
