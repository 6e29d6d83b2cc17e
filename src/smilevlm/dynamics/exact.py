"""Exact rank pooling: the direction along which the frames of a sequence come in their order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Float64, Num

from smilevlm.errors import SettingsError

_EPSILON = 0.1
_TOLERANCE = 1e-6
_BLOCK = 1 << 12
"""Values of a frame that are worked on at once, so that only the frames themselves are as large as the sequence."""


def exact_rank_pooling(
    frames: Num[np.ndarray, " time *shape"], *, regularisation: float = 1.0
) -> Float32[np.ndarray, "*shape"]:
    """The dynamic image of a sequence: weights w of a linear function that ranks its frames in time.

    Frame t becomes v_t: the mean of the frames up to t, the signed square root of each value, the whole scaled to
    length one. w minimises |w|^2 / 2 + C sum_t max(0, |w . v_t - t| - 0.1)^2. A single frame is its own dynamic image;
    frames that are all the same have no order and give zeros.

    Args:
        frames: Any finite values; time is the first axis.
        regularisation: C.

    Returns:
        w in the shape of a frame, not scaled for display.

    Raises:
        SettingsError: There is no frame, or the regularisation is not positive.

    Source: Fernando et al., Modeling Video Evolution for Action Recognition, CVPR 2015; solver and constants as in the
    dynamic images of later work. Departs from it: w is sought in the span of the frames, where the solution lies, on
    the T by T Gram matrix, which is so small that it is solved to 1e-6 instead of 1e-3; only the forward direction is
    ranked.
    """
    if len(frames) == 0:
        raise SettingsError("rank pooling needs at least one frame")
    if not 0 < regularisation < float("inf"):
        raise SettingsError(f"regularisation is {regularisation}; expected a positive number")
    if len(frames) == 1:
        return frames[0].astype(np.float32)
    if (frames == frames[0]).all():
        return np.zeros(frames.shape[1:], np.float32)
    flat = frames.reshape(len(frames), -1)
    gram = np.zeros((len(flat), len(flat)))
    for _, block in _evolution_blocks(flat):
        gram += block @ block.T
    lengths = np.sqrt(np.diag(gram))
    # A running mean may be all zero: it has no direction, and stays zero.
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    coefficients = scale * _ranking_coefficients(scale[:, None] * gram * scale, regularisation)
    image = np.empty(flat.shape[1], np.float32)
    for columns, block in _evolution_blocks(flat):
        image[columns] = coefficients @ block
    return image.reshape(frames.shape[1:])


def _evolution_blocks(
    flat: Num[np.ndarray, "time value"],
) -> Iterator[tuple[slice, Float64[np.ndarray, "time block"]]]:
    """Running mean and signed square root, a block of values at a time."""
    count = np.arange(1, len(flat) + 1)[:, None]
    for begin in range(0, flat.shape[1], _BLOCK):
        columns = slice(begin, begin + _BLOCK)
        mean = np.cumsum(flat[:, columns], axis=0, dtype=np.float64) / count
        yield columns, np.sign(mean) * np.sqrt(np.abs(mean))


def _ranking_coefficients(
    gram: Float64[np.ndarray, "time time"], regularisation: float
) -> Float64[np.ndarray, " time"]:
    """How much of each v_t makes up w: the regression is fitted to coordinates with the same Gram matrix."""
    from sklearn.svm import LinearSVR

    values, vectors = np.linalg.eigh(gram)
    kept = values > values[-1] * len(gram) * np.finfo(np.float64).eps
    basis = vectors[:, kept] / np.sqrt(values[kept])
    regression = LinearSVR(
        C=regularisation,
        epsilon=_EPSILON,
        tol=_TOLERANCE,
        loss="squared_epsilon_insensitive",
        fit_intercept=False,
        dual="auto",
        random_state=0,
    )
    regression.fit(gram @ basis, np.arange(1.0, len(gram) + 1))
    return basis @ regression.coef_
