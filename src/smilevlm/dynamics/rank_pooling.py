"""Approximate rank pooling: a sequence of frames as one image that says how it evolved.

Source: Bilen et al., Action Recognition with Dynamic Image Networks, TPAMI 2017.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Float64, Num

from smilevlm.errors import SettingsError


def rank_pooling_coefficients(num_frames: int) -> Float64[np.ndarray, " time"]:
    """The weight of each frame: alpha_t = 2 (T - t + 1) - (T + 1) (H_T - H_{t-1}), H the harmonic numbers, H_0 = 0.

    Their sum is 0 for T > 1, so what stays the same over the sequence cancels. T = 5 gives -3.7, 0.3, 1.3, 1.3, 0.8.
    A single frame has the weight 1: it is its own dynamic image.

    Raises:
        SettingsError: `num_frames` is not positive.
    """
    if num_frames < 1:
        raise SettingsError(f"num_frames is {num_frames}; a sequence has at least one frame")
    if num_frames == 1:
        return np.ones(1)
    t = np.arange(1, num_frames + 1)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / t)])
    return 2.0 * (num_frames - t + 1) - (num_frames + 1) * (harmonic[num_frames] - harmonic[t - 1])


def approximate_rank_pooling(frames: Num[np.ndarray, " time *shape"]) -> Float32[np.ndarray, "*shape"]:
    """The dynamic image of a sequence: the weighted sum of its frames, not scaled for display.

    Args:
        frames: Any values; time is the first axis.

    Raises:
        SettingsError: There is no frame.
    """
    if len(frames) == 0:
        raise SettingsError("rank pooling needs at least one frame")
    return pool_stream(frames, len(frames))


def pool_stream(frames: Iterable[Num[np.ndarray, "*shape"]], num_frames: int) -> Float32[np.ndarray, "*shape"]:
    """The same from a stream of frames: memory for one frame and one sum, however long the sequence.

    Raises:
        SettingsError: The stream does not hold `num_frames` frames.
    """
    weights = rank_pooling_coefficients(num_frames)
    total: np.ndarray | None = None
    count = 0
    for frame in frames:
        count += 1
        if count > num_frames:
            raise SettingsError(f"more frames came than the {num_frames} that were announced")
        weighted = weights[count - 1] * np.asarray(frame, np.float64)
        total = weighted if total is None else total + weighted
    if total is None or count != num_frames:
        raise SettingsError(f"{count} frames came, {num_frames} were announced")
    return total.astype(np.float32)
