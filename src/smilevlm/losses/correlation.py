"""The cross-correlation of two sets of embeddings, and the objective of Barlow Twins on it, over the global batch.

`correlation_loss` follows the equations with ordinary autograd. Where rows (samples times views) are at most three
quarters of the width, as in most recipes, it calls `gram_correlation_loss`, which is equal in value and gradient and
never makes the width x width matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int

from smilevlm.distributed import all_gather, all_reduce_sum, row_counts
from smilevlm.errors import SettingsError
from smilevlm.losses.gram import gram_correlation_loss

STANDARDIZATION_EPSILON = 1e-5
"""Added to the variance, as `BatchNorm1d(affine=False)` of the Barlow Twins reference does."""

ViewPairs = Literal["same", "cross"]
"""Which views of two distortions are compared: `same` a view with itself, `cross` every view with every other one."""


def correlation_loss(
    z_a: Float[torch.Tensor, "batch view dim"],
    z_b: Float[torch.Tensor, "batch view dim"],
    *,
    lambd: float,
    standardize: bool,
    counts: Sequence[int] | None = None,
    use_gram: bool | None = None,
    pairs: ViewPairs = "same",
    subjects: Int[torch.Tensor, " batch"] | None = None,
) -> Float[torch.Tensor, ""]:
    """Σ_k (C_kk - 1)² + λ Σ_{k≠l} C_kl² of the mean C over views of the cross-correlations over the global batch.

    Args:
        z_a: This process's samples; processes may hold different numbers of them, or none.
        z_b: Their counterparts.
        lambd: Weight of the off-diagonal sum, at least 0.
        standardize: Zero mean and unit variance along the global batch first, per view and feature.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.
        use_gram: Whether `gram_correlation_loss` computes it; None chooses by size, see `gram_pays`.
        pairs: `cross` takes the mean over all pairs of different views in place of that over views.
        subjects: See `centre_by_subject`, which comes first where they are given.

    Raises:
        SettingsError: The global batch is empty, or has fewer than two samples to standardise; or one view is to be
            compared with another.
    """
    if pairs == "cross" and z_a.shape[1] < 2:
        raise SettingsError("pairs=cross compares different views, got one view")
    counts = row_counts(z_a, counts)
    (_, num_views, dim), num_samples = z_a.shape, sum(counts)
    if num_samples < 1 + standardize:
        need = "standardisation needs at least two samples" if standardize else "a correlation needs a sample"
        raise SettingsError(f"{need} in the global batch, got {num_samples}")
    with torch.autocast(device_type=z_a.device.type, enabled=False):
        z_a, z_b = full_precision(z_a, z_b)
        if subjects is not None:
            z_a, z_b = centre_by_subject(z_a, subjects, counts), centre_by_subject(z_b, subjects, counts)
        if standardize:
            z_a, z_b = standardize_along_batch(z_a, num_samples), standardize_along_batch(z_b, num_samples)
        if pairs == "cross":
            # Σ_{i≠j} a_i b_jᵀ = Σ_i a_i (Σ_{j≠i} b_j)ᵀ: the mean over pairs of views is one over views of another b.
            z_b = (z_b.sum(dim=1, keepdim=True) - z_b) / (num_views - 1)
        # One product over all samples and views is the mean over views, since every view has the same batch.
        a, b, row_numbers = z_a.flatten(0, 1), z_b.flatten(0, 1), [num_views * count for count in counts]
        if gram_pays(num_rows=sum(row_numbers), dim=dim) if use_gram is None else use_gram:
            return gram_correlation_loss(a, b, lambd, row_numbers)
        return barlow_twins_objective(cross_correlation(a, b, sum(row_numbers)), lambd)


def standardize_along_batch(
    z: Float[torch.Tensor, "batch view dim"], num_samples: int
) -> Float[torch.Tensor, "batch view dim"]:
    """Subtract each feature's mean over the global batch and divide by its standard deviation (biased, eps 1e-5).

    A feature that is constant over the batch becomes zero and has a finite gradient. Assumption A7.
    """
    centred = z - all_reduce_sum(z.sum(dim=0)) / num_samples
    # The mean of numbers far from zero is rounded. What is left of it is subtracted in a second turn, without gradient:
    # centring what is centred changes none.
    centred = centred - all_reduce_sum(centred.detach().sum(dim=0)) / num_samples
    variance = all_reduce_sum(centred.square().sum(dim=0)) / num_samples
    return centred * (variance + STANDARDIZATION_EPSILON).rsqrt()


def centre_by_subject(
    z: Float[torch.Tensor, "batch view dim"], subjects: Int[torch.Tensor, " batch"], counts: Sequence[int]
) -> Float[torch.Tensor, "batch view dim"]:
    """Subtract from each row the mean of its subject's rows in the global batch, per view and feature. Assumption A59.

    A subject's only row becomes zero, which adds nothing to any correlation.

    Args:
        z: This process's rows.
        subjects: Any whole number per person, the same on all processes.
        counts: Rows of every process, in the order of rank.
    """
    shared = (subjects[:, None] == all_gather(subjects, counts)).to(z.dtype)
    shared = shared / shared.sum(dim=1, keepdim=True)
    centred = z - (shared @ all_gather(z.flatten(1), counts)).view_as(z)
    # As in `standardize_along_batch`.
    return centred - (shared @ all_gather(centred.detach().flatten(1), counts)).view_as(z)


def cross_correlation(
    a: Float[torch.Tensor, "row dim"], b: Float[torch.Tensor, "row dim"], num_rows: int
) -> Float[torch.Tensor, "dim dim"]:
    """C = (1/n) Σ_r a_r b_rᵀ over the rows of all processes."""
    return all_reduce_sum(a.T @ b) / num_rows


def barlow_twins_objective(correlation: Float[torch.Tensor, "dim dim"], lambd: float) -> Float[torch.Tensor, ""]:
    """Σ_k (C_kk - 1)² + λ Σ_{k≠l} C_kl²; the sums are not divided by the width.

    Source: SMILE-VLM, Eq. 3, 4 and 9; Barlow Twins, Eq. 1.
    """
    diagonal = torch.diagonal(correlation)
    off_diagonal = correlation - torch.diag(diagonal)
    return (diagonal - 1).square().sum() + lambd * off_diagonal.square().sum()


def gram_pays(*, num_rows: int, dim: int) -> bool:
    """Whether `gram_correlation_loss` is the faster: four rows to three of the width at most.

    There the two forms need equally many multiplications, 4 n² D and 3 n D² for value and gradient. It also bounds the
    rounding of ‖C‖² - Σ C_kk²: a C of rank n leaves a loss of at least min(1, λ)(D - n), so the terms taken from each
    other are at most a few times larger than the result, however nearly diagonal C is.
    """
    return 4 * num_rows <= 3 * dim


def full_precision(*tensors: Float[torch.Tensor, " ..."]) -> list[Float[torch.Tensor, " ..."]]:
    """The tensors in their common type, at least float32: sums of products over a batch drown in half precision."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def expected_if_unrelated(
    *,
    dim: int,
    batch: int,
    num_views: int,
    lambd: float,
    standardize: bool,
    pairs: ViewPairs = "same",
    num_subjects: int = 1,
) -> float:
    """The mean of the correlation loss over embeddings whose two sides have nothing to do with each other.

        E = D + (D + λ D (D - 1)) / n_eff

    Each C_kl has mean 0 and variance 1/n_eff, so the diagonal sum gives D (1 + 1/n_eff) and the off-diagonal sum
    D (D - 1)/n_eff. The correlation of B samples after subtracting means has variance 1/(B - 1) whatever the
    distribution, if one side is dealt out at random; the mean over N views that are independent too divides that by N:
    n_eff = N (B - 1). Pairs of different views are N (N - 1) in the place of N. After subtracting the means of S
    subjects B - S is left of B - 1; where that is nothing, so that all rows are zero, the loss is D. Without
    standardisation n_eff = N B, for features of mean 0 and variance 1.
    """
    num_free = batch - num_subjects if standardize else batch
    if num_free == 0:
        return float(dim)
    num_effective = num_free * (num_views if pairs == "same" else num_views * (num_views - 1))
    return dim + (dim + lambd * dim * (dim - 1)) / num_effective


def sampling_noise_floor(*, dim: int, batch: int, lambd: float = 0.0051) -> float:
    """λ D (D - 1) / B: what the off-diagonal sum of unrelated features costs through chance alone.

    Compare it with D, the largest value of the diagonal sum of unrelated features, and with ln B of the alignment loss,
    before choosing a width, a batch size and a scale (Assumption A9).

    Args:
        dim: Width of the embedding.
        batch: Number of samples in the global batch.
        lambd: Weight of the off-diagonal sum.
    """
    return lambd * dim * (dim - 1) / batch


def check_weight(name: str, value: float) -> None:
    """Raises:
    SettingsError: The value is not a finite number of at least 0.
    """
    if not (math.isfinite(value) and value >= 0):
        raise SettingsError(f"{name} must be a finite number of at least 0, got {value}")


def check_shape(name: str, tensor: torch.Tensor, num_axes: int, axes: str) -> None:
    """Refuse a tensor with another number of axes, or with an empty one beside the first.

    A process may hold no row of the global batch, so its number of rows is checked once they are counted together.

    Raises:
        SettingsError: The tensor is not of the named shape.
    """
    if tensor.ndim != num_axes or 0 in tensor.shape[1:]:
        raise SettingsError(f"{name} must be ({axes}) and not empty, got shape {tuple(tensor.shape)}")
