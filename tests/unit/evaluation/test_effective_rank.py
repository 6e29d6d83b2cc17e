import numpy as np
import pytest

from smilevlm.errors import CheckpointError
from smilevlm.evaluation import effective_rank


def test_orthonormal_rows_use_every_dimension():
    rows, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))
    assert effective_rank(rows[:5]) == pytest.approx(5.0)
    assert effective_rank(7.0 * rows) == pytest.approx(8.0)


def test_a_line_is_one_dimension():
    rng = np.random.default_rng(0)
    line = np.outer(rng.normal(size=50), rng.normal(size=12))
    assert effective_rank(line) == pytest.approx(1.0)
    assert effective_rank(line.astype(np.float32)) == pytest.approx(1.0, abs=1e-4)


def test_two_singular_values():
    """3 and 1: shares 3/4 and 1/4, so exp(H) = 4 / 3^(3/4)."""
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    assert effective_rank(turn @ np.diag([3.0, 1.0])) == pytest.approx(4 / 3**0.75)


def test_embeddings_are_neither_centred_nor_scaled():
    same = np.tile([[1.0, 2.0, 2.0]], (6, 1))
    assert effective_rank(same) == pytest.approx(1.0)
    long = np.diag([100.0, 1.0])
    assert effective_rank(long) < 1.1


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.zeros((0, 4)), np.full((2, 2), np.nan)])
def test_what_has_no_rank(rows):
    with pytest.raises(CheckpointError):
        effective_rank(rows)
