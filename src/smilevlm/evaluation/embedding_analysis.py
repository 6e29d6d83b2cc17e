"""What embeddings look like: a map, correlation matrices, and scores of heads that are turned. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation.fold_score import predict
from smilevlm.models import Prototypes, unit_rows
from smilevlm.results import CorrelationMatrix, Stage, YawPoint

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

    Raises:
        SettingsError: Fewer than four samples.
        CheckpointError: An embedding is zero or not finite, or all point the same way.
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

    Raises:
        SettingsError: The shapes differ, or there are fewer than two samples.

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

    Raises:
        SettingsError: The shapes differ, or there are fewer than two samples.

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
    """A correlation matrix as results keep it: two numbers of the whole, and its blocks.

    Raises:
        SettingsError: It is of width one, so that nothing is off the diagonal.
    """
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


def yaw_columns(nominal_deg: Sequence[float], prepared_deg: Sequence[float]) -> dict[float, list[int]]:
    """By how much heads can be turned, and which of the prepared views stand for the nominal ones then.

    Args:
        nominal_deg: Angles that the model was trained with, in its order.
        prepared_deg: Angles that there are.

    Returns:
        Yaw, rising, to indices into `prepared_deg`, one per nominal angle.
    """
    places = {round(angle, 6): index for index, angle in enumerate(prepared_deg)}
    turns = sorted({round(angle - nominal_deg[0], 6) + 0.0 for angle in prepared_deg})
    found = {}
    for yaw in turns:
        turned = [round(angle + yaw, 6) for angle in nominal_deg]
        if all(angle in places for angle in turned):
            found[yaw] = [places[angle] for angle in turned]
    return found


def yaw_point(
    *,
    yaw_deg: float,
    z_views: Float[np.ndarray, "n view dim"],
    z_fused: Float[np.ndarray, "n dim"],
    view_weights: Float[np.ndarray, "n view"],
    truth: Int[np.ndarray, " n"],
    prototypes: Prototypes,
    nominal_deg: Sequence[float],
) -> YawPoint:
    """Score the views of heads that are turned, under the names that the views would have had without the turn.

    Raises:
        CheckpointError: An embedding is zero or not finite.
    """

    def accuracy(embeddings: np.ndarray) -> float:
        return float((predict(embeddings, prototypes) == truth).mean())

    weights = np.asarray(view_weights, dtype=np.float64).mean(axis=0)
    return YawPoint(
        yaw_deg=yaw_deg,
        num_samples=len(truth),
        accuracy=accuracy(z_fused),
        mean_fusion_accuracy=accuracy(np.asarray(z_views, dtype=np.float64).mean(axis=1)),
        single_view_accuracy={float(angle): accuracy(z_views[:, view]) for view, angle in enumerate(nominal_deg)},
        view_weights={
            float(angle): float(weight / weights.sum()) for angle, weight in zip(nominal_deg, weights, strict=True)
        },
    )
