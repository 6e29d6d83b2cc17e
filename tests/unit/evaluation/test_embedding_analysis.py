"""Maps, correlation matrices and effective ranks, against references written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation.embedding_analysis import (
    blocks,
    cross_modal_correlation,
    describe_correlation,
    effective_rank,
    embedding_map,
    multi_view_correlation,
)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(loc=0.3, size=shape)


def reference(z_a: np.ndarray, z_b: np.ndarray) -> np.ndarray:
    _, num_views, dim = z_a.shape
    found = np.zeros((dim, dim))
    for k in range(dim):
        for m in range(dim):
            for view in range(num_views):
                found[k, m] += np.corrcoef(z_a[:, view, k], z_b[:, view, m])[0, 1] / num_views
    return found


def test_multi_view_correlation():
    z_a = random(9, 3, 4)
    z_b = 0.5 * z_a + random(9, 3, 4, seed=1)
    found = multi_view_correlation(z_a, z_b)
    np.testing.assert_allclose(found, reference(z_a, z_b), atol=1e-12)
    np.testing.assert_allclose(multi_view_correlation(1e-4 * z_a, z_b), found, atol=1e-9)
    np.testing.assert_allclose(np.diag(multi_view_correlation(z_a, z_a)), 1, atol=1e-12)


def test_cross_modal_correlation():
    z, text = random(8, 5), random(8, 5, seed=2)
    np.testing.assert_allclose(cross_modal_correlation(z, text), reference(z[:, None], text[:, None]), atol=1e-12)


def test_a_constant_feature_counts_as_zero():
    z = random(6, 1, 3).astype(np.float32)
    z[:, 0, 1] = 0.1
    found = multi_view_correlation(z, z)
    assert not found[1].any()
    assert not found[:, 1].any()
    assert found[0, 0] == pytest.approx(1)


def test_what_cannot_be_correlated():
    with pytest.raises(SettingsError, match="two samples"):
        multi_view_correlation(random(1, 2, 3), random(1, 2, 3))
    # The tests' shape checks come first where they are on.
    with pytest.raises((SettingsError, TypeError)):
        multi_view_correlation(random(4, 2, 3), random(4, 2, 5))
    with pytest.raises(SettingsError, match="width 1"):
        describe_correlation(np.ones((1, 1)), cross_modal=False, stage="after")


def test_blocks_by_hand():
    matrix = np.array([[1.0, 1, 2], [1, 5, 0], [3, 4, -6]])
    np.testing.assert_allclose(
        blocks(matrix, 2),
        [[np.sqrt(28 / 4), np.sqrt(4 / 2)], [np.sqrt(25 / 2), 6]],
    )
    np.testing.assert_allclose(blocks(matrix, 3), np.abs(matrix))
    assert blocks(np.eye(384)).shape == (64, 64)
    assert blocks(np.eye(70)).shape == (35, 35)


def test_a_described_matrix():
    matrix = np.array([[1.0, 0.3], [-0.4, 0.5]])
    found = describe_correlation(matrix, cross_modal=True, stage="before")
    assert (found.name, found.stage, found.width) == ("cross_modal", "before", 2)
    assert found.diagonal_mean == pytest.approx(0.75)
    assert found.off_diagonal_rms == pytest.approx(np.sqrt((0.09 + 0.16) / 2))
    assert found.block == ((1.0, 0.3), (0.4, 0.5))


def test_a_map_keeps_groups_together_and_is_the_same_twice():
    centres = np.repeat(np.eye(3, 8), 8, axis=0)
    embeddings = centres + 0.05 * random(24, 8)
    places, perplexity = embedding_map(embeddings, seed=3)
    assert places.shape == (24, 2)
    assert perplexity == pytest.approx(23 / 3)
    again, _ = embedding_map(7.0 * embeddings, seed=3)
    np.testing.assert_allclose(again, places, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(embedding_map(embeddings, seed=3)[0], places)
    group = np.repeat(np.arange(3), 8)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag(np.full(24, np.inf))
    assert (group[distances.argmin(axis=1)] == group).all()


def test_what_cannot_be_mapped():
    with pytest.raises(SettingsError, match="needs 4 samples"):
        embedding_map(random(3, 5), seed=0)
    with pytest.raises(CheckpointError, match="the same way"):
        embedding_map(np.outer(np.arange(1.0, 8), np.ones(5)), seed=0)


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
