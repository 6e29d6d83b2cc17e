"""The losses written word for word from the equations, on one process: what the fast forms are held against.

Tests and benchmarks compare with these; training does not use them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch.nn.functional import cosine_similarity

from smilevlm.losses.correlation import STANDARDIZATION_EPSILON, barlow_twins_objective


def reference_multi_view_barlow_twins(
    z_a: Float[torch.Tensor, "batch view dim"],
    z_b: Float[torch.Tensor, "batch view dim"],
    *,
    lambd: float = 0.0051,
    standardize: bool = True,
) -> Float[torch.Tensor, ""]:
    """One correlation matrix per view, then their mean, then its distance from the identity.

    Source: SMILE-VLM, Eq. 1-4; standardised as Barlow Twins does it (Assumption A7).
    """
    if standardize:
        z_a, z_b = _standardize(z_a), _standardize(z_b)
    batch, num_views, dim = z_a.shape
    total = z_a.new_zeros(dim, dim)
    for view in range(num_views):
        total = total + z_a[:, view].T @ z_b[:, view] / batch
    return barlow_twins_objective(total / num_views, lambd)


def reference_redundancy_minimization(
    z_fused: Float[torch.Tensor, "batch dim"],
    z_text: Float[torch.Tensor, "batch dim"],
    *,
    lambd: float = 0.0051,
    standardize: bool = True,
) -> Float[torch.Tensor, ""]:
    """The correlation matrix of fused embedding and prompt, and its distance from the identity.

    Source: SMILE-VLM, Eq. 8, 9; standardised as Barlow Twins does it (Assumption A7).
    """
    if standardize:
        z_fused, z_text = _standardize(z_fused), _standardize(z_text)
    return barlow_twins_objective(z_fused.T @ z_text / z_fused.shape[0], lambd)


def reference_vision_language_alignment(
    z_views: Float[torch.Tensor, "batch view dim"],
    z_fused: Float[torch.Tensor, "batch dim"],
    z_text: Float[torch.Tensor, "batch dim"],
    *,
    temperature: float = 0.07,
) -> Float[torch.Tensor, ""]:
    """InfoNCE of each view and of the fused embedding, one after the other.

    Source: SMILE-VLM, Eq. 6.
    """
    images = [*z_views.unbind(dim=1), z_fused]
    total = z_text.new_zeros(())
    for image in images:
        exponentials = (cosine_similarity(image[:, None], z_text[None], dim=2) / temperature).exp()
        total = total + (torch.diagonal(exponentials) / exponentials.sum(dim=1)).log().sum()
    return -total / (len(images) * len(z_text))


def _standardize(z: Float[torch.Tensor, " batch *feature"]) -> Float[torch.Tensor, " batch *feature"]:
    """Subtract each feature's mean over the batch and divide by its standard deviation (biased, eps 1e-5)."""
    centred = z - z.mean(dim=0, keepdim=True)
    variance = centred.square().mean(dim=0, keepdim=True)
    return centred * (variance + STANDARDIZATION_EPSILON).rsqrt()
