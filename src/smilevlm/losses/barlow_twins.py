"""Multi-view Barlow Twins: every view's features agree between two distortions, and do not repeat each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float, Int

from smilevlm.errors import SettingsError
from smilevlm.losses.correlation import ViewPairs, check_shape, check_weight, correlation_loss


def multi_view_barlow_twins(
    z_a: Float[torch.Tensor, "batch view dim"],
    z_b: Float[torch.Tensor, "batch view dim"],
    *z_more: Float[torch.Tensor, "batch view dim"],
    lambd: float = 0.0051,
    standardize: bool = True,
    counts: Sequence[int] | None = None,
    pairs: ViewPairs = "same",
    subjects: Int[torch.Tensor, " batch"] | None = None,
) -> Float[torch.Tensor, ""]:
    """Push the mean over views of the cross-correlation of two distortions towards the identity.

        C_i  = (1/B) Σ_b z_i^{A(b)} z_i^{B(b)T},   C̄ = (1/N) Σ_i C_i
        loss = Σ_k (C̄_kk - 1)² + λ Σ_{k≠l} C̄_kl²

    With R distortions it is the mean of the loss over the R (R - 1) / 2 pairs of them. With `pairs="cross"` two
    different views of a sample are compared, so that what they share beyond the distortion is learned (CMC, arXiv
    1906.05849):

        C_ij = (1/B) Σ_b z_i^{A(b)} z_j^{B(b)T},   C̄ = (1/(N (N - 1))) Σ_{i≠j} C_ij

    With `subjects` the mean of a person's rows in the batch is subtracted first, z_b - (1/|P(b)|) Σ_{c∈P(b)} z_c over
    the rows P(b) of the same person, so that telling people apart is of no use.

    B is the global batch over all processes, which may hold different numbers of samples. Computed in float32 or
    better, under autocast too. Where N B is at most three quarters of the width, as in most recipes,
    `gram_correlation_loss` computes the same without C̄; that form can be differentiated once.

    Args:
        z_a: Embeddings of the views under the first distortion; any real values.
        z_b: The same samples and views under the second distortion.
        z_more: The same under further distortions.
        lambd: Weight of the off-diagonal sum, at least 0. Assumption A8.
        standardize: Zero mean and unit variance along the batch, per view and feature, before Eq. 1. Assumption A7.
        counts: Rows of every process, in the order of rank, where they are known; they are exchanged otherwise.
        pairs: `same` compares a view with itself, as in the paper, `cross` with the other views. Assumption A58.
        subjects: A number per person; None leaves the embeddings as they are. Assumption A59.

    Returns:
        A scalar of at least 0; its scale grows with the width (see `sampling_noise_floor`).

    Raises:
        SettingsError: Shapes differ or are empty, the weight is negative, or there are fewer than two samples to
            standardise; or one view where different ones are to be compared.

    Source: SMILE-VLM, Eq. 1-4. Departs from it: standardised embeddings, as in Barlow Twins; and only with more than
    two distortions, `pairs` and `subjects`.
    """
    check_weight("lambd", lambd)
    check_shape("z_a", z_a, 3, "batch, view, dim")
    for z in (z_b, *z_more):
        if z.shape != z_a.shape:
            raise SettingsError(f"the two distortions differ in shape: {tuple(z_a.shape)} and {tuple(z.shape)}")
    losses = [
        correlation_loss(
            first, second, lambd=lambd, standardize=standardize, counts=counts, pairs=pairs, subjects=subjects
        )
        for first, second in combinations((z_a, z_b, *z_more), 2)
    ]
    return torch.stack(losses).mean()
