"""Exact rank pooling: the same weights as a direct fit, frames come back in their order."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVR

import smilevlm
from smilevlm.dynamics import exact as exact_module
from smilevlm.dynamics import exact_rank_pooling
from smilevlm.errors import SettingsError


def drifting_frames(num_frames: int, num_values: int, seed: int = 0) -> np.ndarray:
    """Values that wander, as pixels of a moving face do."""
    steps = np.random.default_rng(seed).normal(0, 12, (num_frames, num_values))
    return np.clip(np.cumsum(steps, axis=0) + 120, 0, 255).astype(np.uint8)


def evolution(frames: np.ndarray) -> np.ndarray:
    """v_t, written frame by frame from the definition."""
    vectors = []
    for t in range(1, len(frames) + 1):
        mean = frames[:t].reshape(t, -1).astype(np.float64).sum(axis=0) / t
        root = np.array([np.sqrt(x) if x >= 0 else -np.sqrt(-x) for x in mean])
        vectors.append(root / np.linalg.norm(root))
    return np.array(vectors)


def direct_fit(frames: np.ndarray, regularisation: float) -> np.ndarray:
    regression = LinearSVR(
        C=regularisation,
        epsilon=0.1,
        tol=1e-8,
        loss="squared_epsilon_insensitive",
        fit_intercept=False,
        dual=False,
        max_iter=100_000,
    )
    return regression.fit(evolution(frames), np.arange(1.0, len(frames) + 1)).coef_


@pytest.mark.parametrize("regularisation", [0.1, 1.0, 100.0])
@pytest.mark.parametrize(("num_frames", "num_values"), [(2, 50), (12, 400), (32, 900), (20, 7)])
def test_equals_the_direct_fit(num_frames, num_values, regularisation):
    frames = drifting_frames(num_frames, num_values)
    expected = direct_fit(frames, regularisation)
    image = exact_rank_pooling(frames, regularisation=regularisation)
    np.testing.assert_allclose(image, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_signed_values_take_the_signed_root():
    frames = np.random.default_rng(1).normal(size=(8, 30))
    expected = direct_fit(frames, 1.0)
    np.testing.assert_allclose(exact_rank_pooling(frames), expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_the_weights_put_the_frames_in_order():
    frames = drifting_frames(24, 2000)
    scores = evolution(frames) @ exact_rank_pooling(frames, regularisation=1e4)
    assert (np.diff(scores) > 0).all()
    np.testing.assert_allclose(scores, np.arange(1, 25), atol=1.5)


def test_the_size_of_the_blocks_decides_nothing(monkeypatch):
    frames = drifting_frames(10, 301)
    whole = exact_rank_pooling(frames)
    monkeypatch.setattr(exact_module, "_BLOCK", 64)
    np.testing.assert_allclose(exact_rank_pooling(frames), whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_shape_and_type():
    frames = drifting_frames(5, 4 * 3 * 3).reshape(5, 4, 3, 3)
    image = exact_rank_pooling(frames)
    assert image.shape == (4, 3, 3)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image.ravel(), exact_rank_pooling(frames.reshape(5, -1)))


def test_no_movement_gives_zeros_and_one_frame_itself():
    frame = drifting_frames(1, 40)
    assert not exact_rank_pooling(np.repeat(frame, 6, axis=0)).any()
    np.testing.assert_array_equal(exact_rank_pooling(frame), frame[0].astype(np.float32))


def test_a_black_beginning_is_no_division_by_zero():
    frames = drifting_frames(6, 40)
    frames[:2] = 0
    assert np.isfinite(exact_rank_pooling(frames)).all()


def test_the_input_is_left_alone():
    frames = drifting_frames(6, 40)
    before = frames.copy()
    exact_rank_pooling(frames)
    np.testing.assert_array_equal(frames, before)


def test_impossible_input_is_refused():
    with pytest.raises(SettingsError, match="at least one frame"):
        exact_rank_pooling(np.zeros((0, 3)))
    for wrong in (0.0, -1.0, np.inf):
        with pytest.raises(SettingsError, match="regularisation"):
            exact_rank_pooling(np.zeros((2, 3)), regularisation=wrong)


def test_the_package_offers_it():
    assert smilevlm.exact_rank_pooling is exact_rank_pooling
