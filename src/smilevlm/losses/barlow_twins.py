"""Multi-view Barlow Twins: every view's features agree between two distortions, and do not repeat each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float

from smilevlm.errors import SettingsError
from smilevlm.losses.correlation import check_shape, check_weight, correlation_loss


def multi_view_barlow_twins(
    z_a: Float[torch.Tensor, "batch view dim"],
    z_b: Float[torch.Tensor, "batch view dim"],
    *,
    lambd: float = 0.0051,
    standardize: bool = True,
    counts: Sequence[int] | None = None,
) -> Float[torch.Tensor, ""]:
    """Push the mean over views of the cross-correlation of two distortions towards the identity.

        C_i  = (1/B) Σ_b z_i^{A(b)} z_i^{B(b)T},   C̄ = (1/N) Σ_i C_i
        loss = Σ_k (C̄_kk - 1)² + λ Σ_{k≠l} C̄_kl²

    B is the global batch over all processes, which may hold different numbers of samples. Computed in float32 or
    better, under autocast too. Where N B is at most three quarters of the width, as in most recipes,
    `gram_correlation_loss` computes the same without C̄; that form can be differentiated once.

    Args:
        z_a: Embeddings of the views under the first distortion; any real values.
        z_b: The same samples and views under the second distortion.
        lambd: Weight of the off-diagonal sum, at least 0. Assumption A8.
        standardize: Zero mean and unit variance along the batch, per view and feature, before Eq. 1. Assumption A7.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.

    Returns:
        A scalar of at least 0; its scale grows with the width (see `sampling_noise_floor`).

    Raises:
        SettingsError: Shapes differ or are empty, the weight is negative, or there are fewer than two samples to
            standardise.

    Source: SMILE-VLM, Eq. 1-4. Departs from it: standardised embeddings, as in Barlow Twins.
    """
    check_weight("lambd", lambd)
    check_shape("z_a", z_a, 3, "batch, view, dim")
    if z_a.shape != z_b.shape:
        raise SettingsError(f"the two distortions differ in shape: {tuple(z_a.shape)} and {tuple(z_b.shape)}")
    return correlation_loss(z_a, z_b, lambd=lambd, standardize=standardize, counts=counts)
