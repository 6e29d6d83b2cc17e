import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from smilevlm.errors import SettingsError
from smilevlm.results import (
    BinaryCounts,
    add_counts,
    binary_accuracy,
    binary_f1,
    counts_from_confusion,
    unweighted_average_recall,
    unweighted_f1,
)

MATRIX = ((4, 1, 0), (2, 2, 0), (0, 1, 0))


def test_one_class_against_the_rest_by_hand():
    assert counts_from_confusion(MATRIX, 0) == BinaryCounts(
        true_positive=4, false_positive=2, false_negative=1, true_negative=3
    )
    assert binary_f1(counts_from_confusion(MATRIX, 0)) == pytest.approx(8 / 11)
    assert binary_accuracy(counts_from_confusion(MATRIX, 0)) == pytest.approx(0.7)
    assert binary_f1(counts_from_confusion(MATRIX, 2)) == 0.0


def test_unweighted_scores_by_hand():
    """F1: 2*4/(8+2+1) = 8/11, 2*2/(4+2+2) = 1/2, 0; recall: 4/5, 1/2, 0."""
    assert unweighted_f1(MATRIX) == pytest.approx((8 / 11 + 1 / 2) / 3)
    assert unweighted_average_recall(MATRIX) == pytest.approx((4 / 5 + 1 / 2) / 3)


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 20, size=(5, 5))
    truth, said = (np.repeat(grid.ravel(), counts.ravel()) for grid in np.indices((5, 5)))
    matrix = tuple(tuple(row) for row in counts.tolist())
    assert unweighted_f1(matrix) == pytest.approx(f1_score(truth, said, average="macro"))
    assert unweighted_average_recall(matrix) == pytest.approx(balanced_accuracy_score(truth, said))
    singles = [binary_f1(counts_from_confusion(matrix, index)) for index in range(5)]
    assert unweighted_f1(matrix) == pytest.approx(np.mean(singles))


def test_pooling_is_not_averaging():
    """A fold without a class scores zero for it; pooled, the class is there."""
    first, second = ((3, 0), (0, 0)), ((0, 0), (1, 2))
    pooled = ((3, 0), (1, 2))
    assert unweighted_f1(pooled) == pytest.approx((6 / 7 + 4 / 5) / 2)
    assert np.mean([unweighted_f1(first), unweighted_f1(second)]) == pytest.approx((1 / 2 + 2 / 5) / 2)


def test_a_class_that_never_occurs_counts_as_zero():
    assert unweighted_f1(((5, 0), (0, 0))) == 0.5
    assert unweighted_average_recall(((5, 0), (0, 0))) == 0.5


def test_counts_add_up():
    one = BinaryCounts(true_positive=1, false_positive=2, false_negative=3, true_negative=4)
    two = BinaryCounts(true_positive=10, false_positive=20, false_negative=30, true_negative=40)
    assert add_counts([one, two]) == BinaryCounts(
        true_positive=11, false_positive=22, false_negative=33, true_negative=44
    )
    empty = BinaryCounts(true_positive=0, false_positive=0, false_negative=0, true_negative=0)
    assert add_counts([]) == empty
    assert binary_f1(empty) == 0.0
    with pytest.raises(SettingsError, match="no samples"):
        binary_accuracy(empty)
