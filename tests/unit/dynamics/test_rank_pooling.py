"""Rank pooling against the definition written as loops, and the weights printed in the paper's example."""

from __future__ import annotations

import numpy as np
import pytest

import smilevlm
from smilevlm.dynamics import approximate_rank_pooling, pool_stream, rank_pooling_coefficients
from smilevlm.errors import SettingsError


def by_definition(num_frames: int) -> list[float]:
    """alpha_t = sum over i from t to T of (2 i - T - 1) / i."""
    weights = []
    for t in range(1, num_frames + 1):
        weight = 0.0
        for i in range(t, num_frames + 1):
            weight += (2 * i - num_frames - 1) / i
        weights.append(weight)
    return weights


def random_frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def test_five_frames():
    np.testing.assert_allclose(rank_pooling_coefficients(5), [-3.7, 0.3, 1.3, 1.3, 0.8], rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_frames", range(2, 61))
def test_equals_the_definition_and_sums_to_zero(num_frames):
    weights = rank_pooling_coefficients(num_frames)
    np.testing.assert_allclose(weights, by_definition(num_frames), rtol=0, atol=1e-12 * num_frames)
    assert abs(weights.sum()) < 1e-12 * num_frames


def test_a_single_frame_is_its_own_dynamic_image():
    assert rank_pooling_coefficients(1).tolist() == [1.0]
    frame = random_frames(1, 4, 3)
    np.testing.assert_array_equal(approximate_rank_pooling(frame), frame[0].astype(np.float32))


def test_what_stays_the_same_cancels():
    # uint8 must neither wrap around nor leave a rounding error that shows.
    frames = np.full((7, 5, 6, 3), 255, np.uint8)
    np.testing.assert_allclose(approximate_rank_pooling(frames), 0, atol=1e-4)


def test_a_rise_is_positive_and_its_reverse_is_not():
    rising = np.arange(6.0)
    assert approximate_rank_pooling(rising) > 0
    assert approximate_rank_pooling(rising[::-1]) < 0


@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 4, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int32])
def test_any_shape_and_type_gives_the_weighted_sum_as_float32(shape, dtype):
    frames = (random_frames(6, *shape) * 50 + 100).astype(dtype)
    pooled = approximate_rank_pooling(frames)
    expected = sum(weight * frame.astype(np.float64) for weight, frame in zip(by_definition(6), frames, strict=True))
    assert pooled.dtype == np.float32
    assert pooled.shape == shape
    np.testing.assert_allclose(pooled, expected, rtol=1e-6, atol=1e-4)


def test_the_input_is_left_alone():
    frames = random_frames(4, 3)
    before = frames.copy()
    approximate_rank_pooling(frames)
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("num_frames", [1, 2, 9])
def test_a_stream_gives_the_same_bits(num_frames):
    frames = random_frames(num_frames, 4, 5)
    np.testing.assert_array_equal(pool_stream(iter(frames), num_frames), approximate_rank_pooling(frames))


@pytest.mark.parametrize(("there", "announced"), [(3, 4), (4, 3), (0, 2), (1, 2), (2, 1)])
def test_a_wrong_number_of_frames_is_refused(there, announced):
    with pytest.raises(SettingsError, match=f"{announced} (that )?were announced"):
        pool_stream(iter(random_frames(there, 2)), announced)


@pytest.mark.parametrize("num_frames", [0, -1])
def test_no_frames_are_refused(num_frames):
    with pytest.raises(SettingsError, match="frame"):
        rank_pooling_coefficients(num_frames)
    with pytest.raises(SettingsError, match="at least one frame"):
        approximate_rank_pooling(np.zeros((0, 2)))


def test_the_package_offers_it():
    assert smilevlm.rank_pooling_coefficients is rank_pooling_coefficients
    assert smilevlm.approximate_rank_pooling is approximate_rank_pooling
