"""What the two correlation losses share: standardisation, the objective of Barlow Twins, and number precision."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float

from smilevlm.errors import SettingsError

STANDARDIZATION_EPSILON = 1e-5
"""Added to the variance, as `BatchNorm1d(affine=False)` of the Barlow Twins reference does."""


def full_precision(*tensors: Float[torch.Tensor, " ..."]) -> list[Float[torch.Tensor, " ..."]]:
    """The tensors in their common type, at least float32: sums of products over a batch drown in half precision."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def standardize_along_batch(z: Float[torch.Tensor, " batch *feature"]) -> Float[torch.Tensor, " batch *feature"]:
    """Subtract each feature's mean over the batch and divide by its standard deviation (biased, eps 1e-5).

    A feature that is constant over the batch becomes zero and has a finite gradient. Assumption A7.

    Raises:
        SettingsError: The batch holds fewer than two samples.
    """
    if z.shape[0] < 2:
        raise SettingsError(f"standardisation needs at least two samples in the global batch, got {z.shape[0]}")
    centred = z - z.mean(dim=0, keepdim=True)
    variance = centred.square().mean(dim=0, keepdim=True)
    return centred * (variance + STANDARDIZATION_EPSILON).rsqrt()


def barlow_objective(correlation: Float[torch.Tensor, "dim dim"], lambd: float) -> Float[torch.Tensor, ""]:
    """Σ_k (C_kk - 1)² + λ Σ_{k≠l} C_kl², sums not divided by the width.

    Source: SMILE-VLM, Eq. 3, 4 and 9; Barlow Twins, Eq. 1.
    """
    diagonal = torch.diagonal(correlation)
    off_diagonal = correlation - torch.diag(diagonal)
    return (diagonal - 1).square().sum() + lambd * off_diagonal.square().sum()


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
    """Refuse a weight that is negative or not a number.

    Raises:
        SettingsError: The value is not a finite number from zero up.
    """
    if not (math.isfinite(value) and value >= 0):
        raise SettingsError(f"{name} must be a finite number of at least 0, got {value}")


def check_shape(name: str, tensor: torch.Tensor, num_axes: int, axes: str) -> None:
    """Refuse a tensor with another number of axes, or with an empty one.

    Raises:
        SettingsError: The tensor is not of the named shape.
    """
    if tensor.ndim != num_axes or 0 in tensor.shape:
        raise SettingsError(f"{name} must be ({axes}) and not empty, got shape {tuple(tensor.shape)}")
