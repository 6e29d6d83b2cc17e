"""Cross-modal redundancy minimisation: Barlow Twins between the fused image embedding and the prompt embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float

from smilevlm.errors import SettingsError
from smilevlm.losses.correlation import check_shape, check_weight, correlation_loss


def redundancy_minimization(
    z_fused: Float[torch.Tensor, "batch dim"],
    z_text: Float[torch.Tensor, "batch dim"],
    *,
    lambd: float = 0.0051,
    standardize: bool = True,
    counts: Sequence[int] | None = None,
) -> Float[torch.Tensor, ""]:
    """Push the cross-correlation of the fused embedding and the text towards the identity.

        C    = (1/B) Σ_b z^mv_b z^t_b^T
        loss = Σ_k (C_kk - 1)² + λ Σ_{k≠l} C_kl²

    B is the global batch over all processes, which may hold different numbers of samples. Computed in float32 or
    better, under autocast too. Where B is at most three quarters of the width, as in most recipes,
    `gram_correlation_loss` computes the same without C; that form can be differentiated once. A text of few distinct
    prompts spans few dimensions, so the loss has a floor above 0; a text feature without variance in the batch counts
    as uncorrelated with everything.

    Args:
        z_fused: Fused embeddings; any real values.
        z_text: The embedding of each sample's prompt, of the same width.
        lambd: Weight of the off-diagonal sum, at least 0. Assumption A8.
        standardize: Zero mean and unit variance along the batch, per feature. Assumption A7.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.

    Returns:
        A scalar of at least 0.

    Raises:
        SettingsError: Shapes differ or are empty, the weight is negative, or there are fewer than two samples to
            standardise.

    Source: SMILE-VLM, Eq. 8, 9. Departs from it: standardised embeddings, as in Barlow Twins.
    """
    check_weight("lambd", lambd)
    check_shape("z_fused", z_fused, 2, "batch, dim")
    if z_fused.shape != z_text.shape:
        raise SettingsError(
            f"fused and text embeddings differ in shape: {tuple(z_fused.shape)} and {tuple(z_text.shape)}"
        )
    return correlation_loss(z_fused[:, None], z_text[:, None], lambd=lambd, standardize=standardize, counts=counts)
