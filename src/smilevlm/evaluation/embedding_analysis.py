"""Embeddings as a t-SNE map, correlation matrices and an effective rank (RankMe), which shows collapse. Arrays only."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.models import unit_rows
from smilevlm.results import CorrelationMatrix, Stage

MAX_BLOCKS = 64
MIN_MAP_SAMPLES = 4
_LARGEST_PERPLEXITY = 30.0
_ROUNDING = 1e-6
"""A feature whose deviation is a smaller share of its largest value is constant: the rest is rounding of float32."""


def embedding_map(embeddings: Float[np.ndarray, "n dim"], *, seed: int) -> tuple[Float[np.ndarray, "n 2"], float]:
    """t-SNE of the embeddings on cosine distances, from the principal components, on one thread.

    Args:
        embeddings: Of any length; only the direction counts.
        seed: Of the principal components' solver.

    Returns:
        Places without unit, and the perplexity: 30, or a third of the other samples where that is less.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(embeddings) < MIN_MAP_SAMPLES:
        raise SettingsError(f"a map needs {MIN_MAP_SAMPLES} samples or more, got {len(embeddings)}")
    unit = unit_rows(embeddings, "image")
    if np.ptp(unit, axis=0).max() < 1e-6:
        raise CheckpointError("all embeddings point the same way; there is nothing to map")
    perplexity = min(_LARGEST_PERPLEXITY, (len(unit) - 1) / 3)
    solver = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=seed, n_jobs=1)
    with threadpool_limits(1):
        places = solver.fit_transform(unit)
    return np.asarray(places, dtype=np.float64), perplexity


def multi_view_correlation(
    z_a: Float[np.ndarray, "n view dim"], z_b: Float[np.ndarray, "n view dim"]
) -> Float[np.ndarray, "dim dim"]:
    """C between two distortions of the same samples: mean over views, embeddings standardised per view over samples.

    Source: SMILE-VLM, Eq. 2, standardised, Assumption A7. Departs from the loss: nothing is added to the variance, so
    that the small embeddings of an untrained model do not seem unrelated; a feature that is constant counts as zero.
    """
    if z_a.shape != z_b.shape:
        raise SettingsError(f"the two distortions differ in shape: {z_a.shape} and {z_b.shape}")
    a, b = _standardised(z_a), _standardised(z_b)
    return np.tensordot(a, b, axes=((0, 1), (0, 1))) / (a.shape[0] * a.shape[1])


def cross_modal_correlation(
    z_fused: Float[np.ndarray, "n dim"], z_text: Float[np.ndarray, "n dim"]
) -> Float[np.ndarray, "dim dim"]:
    """C_vt between fused embeddings (rows) and the text of each sample (columns), both standardised over samples.

    Source: SMILE-VLM, Eq. 8, standardised as in `multi_view_correlation`.
    """
    return multi_view_correlation(z_fused[:, None], z_text[:, None])


def _standardised(z: np.ndarray) -> np.ndarray:
    if len(z) < 2:
        raise SettingsError(f"a correlation needs two samples or more, got {len(z)}")
    double = np.asarray(z, dtype=np.float64)
    centred = double - double.mean(axis=0)
    deviation = np.sqrt(np.square(centred).mean(axis=0))
    varies = deviation > _ROUNDING * np.abs(double).max(axis=0)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=varies)


def blocks(matrix: Float[np.ndarray, "dim dim"], most: int = MAX_BLOCKS) -> Float[np.ndarray, "block block"]:
    """Root mean square of square blocks, at most `most` x `most` of them; those at the far ends may be smaller."""
    width = len(matrix)
    starts = np.arange(0, width, -(-width // most))
    sums = np.add.reduceat(np.add.reduceat(np.square(matrix), starts, axis=0), starts, axis=1)
    sizes = np.diff(np.append(starts, width))
    return np.sqrt(sums / np.outer(sizes, sizes))


def describe_correlation(matrix: Float[np.ndarray, "dim dim"], *, cross_modal: bool, stage: Stage) -> CorrelationMatrix:
    """A correlation matrix as results keep it: two numbers of the whole, and its blocks."""
    width = len(matrix)
    if width < 2:
        raise SettingsError("a correlation matrix of width 1 has nothing off its diagonal")
    off_diagonal = matrix[~np.eye(width, dtype=bool)]
    return CorrelationMatrix(
        name="cross_modal" if cross_modal else "multi_view",
        stage=stage,
        width=width,
        diagonal_mean=float(np.diag(matrix).mean()),
        off_diagonal_rms=float(np.sqrt(np.square(off_diagonal).mean())),
        block=tuple(tuple(float(value) for value in row) for row in blocks(matrix)),
    )


def effective_rank(embeddings: Float[np.ndarray, "n dim"]) -> float:
    """Exp of the entropy of the singular values, normalised to sum one: from 1 (a line) to min(n, dim).

    The embeddings are taken as they are, neither centred nor made unit length.

    Source: Garrido et al., RankMe, arXiv 2210.02885, Eq. 1. Departs from it: a singular value that is zero to rounding
    is left out, as its share times its logarithm tends to zero, where the paper adds 1e-7 to every share.
    """
    double = np.asarray(embeddings, dtype=np.float64)
    if double.size == 0 or not np.isfinite(double).all() or not double.any():
        raise CheckpointError("the embeddings have no rank: there are none, or they are zero or not finite")
    values = np.linalg.svd(double, compute_uv=False)
    values = values[values > max(double.shape) * np.finfo(np.float64).eps * values[0]]
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
