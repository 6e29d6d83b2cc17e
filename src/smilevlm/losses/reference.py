"""The losses written word for word from the equations, on one process: what the fast forms are held against.

Tests and benchmarks compare with these; training does not use them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch.nn.functional import cosine_similarity

from smilevlm.losses.correlation import STANDARDIZATION_EPSILON, ViewPairs, barlow_twins_objective


def reference_multi_view_barlow_twins(
    z_a: Float[torch.Tensor, "batch view dim"],
    z_b: Float[torch.Tensor, "batch view dim"],
    *z_more: Float[torch.Tensor, "batch view dim"],
    lambd: float = 0.0051,
    standardize: bool = True,
    pairs: ViewPairs = "same",
    subjects: Int[torch.Tensor, " batch"] | None = None,
) -> Float[torch.Tensor, ""]:
    """One correlation matrix per view, or per pair of different views, then their mean, then its distance from the
    identity; the mean of that over the pairs of distortions.

    Source: SMILE-VLM, Eq. 1-4; standardised as Barlow Twins does it (Assumption A7). Options: Assumptions A58, A59.
    """
    distorted = [z_a, z_b, *z_more]
    if subjects is not None:
        distorted = [_centre_by_subject(z, subjects) for z in distorted]
    if standardize:
        distorted = [_standardize(z) for z in distorted]
    batch, num_views, dim = z_a.shape
    losses = []
    for first in range(len(distorted)):
        for second in range(first + 1, len(distorted)):
            matrices = []
            for i in range(num_views):
                for j in range(num_views):
                    if (i == j) == (pairs == "same"):
                        matrices.append(distorted[first][:, i].T @ distorted[second][:, j] / batch)
            mean = z_a.new_zeros(dim, dim)
            for matrix in matrices:
                mean = mean + matrix / len(matrices)
            losses.append(barlow_twins_objective(mean, lambd))
    return sum(losses, z_a.new_zeros(())) / len(losses)


def reference_head(
    z: Float[torch.Tensor, "row _"], weights: Sequence[Float[torch.Tensor, "_ _"]]
) -> Float[torch.Tensor, "row _"]:
    """The head of the multi-view loss in training, fresh: a linear layer, standardisation over the rows, ReLU, and so
    on; the last layer is linear.

    Source: the projector of Barlow Twins. Assumption A58.
    """
    *hidden, last = weights
    for weight in hidden:
        z = _standardize(z @ weight.T).clamp(min=0)
    return z @ last.T


def reference_multi_view_scale(gradient_norms: Sequence[tuple[float, float]], target: float) -> float:
    """The scale that gives the multi-view loss its share of the tower's gradient.

    Args:
        gradient_norms: Of each measured step, of the multi-view loss at scale 1 and of the alignment, each with its
            weight.
        target: The share.

    Source: Assumption A60.
    """
    product = 1.0
    for multi_view, alignment in gradient_norms:
        product *= (multi_view / alignment) ** (1 / len(gradient_norms))
    return target / product


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


def _centre_by_subject(
    z: Float[torch.Tensor, "batch view dim"], subjects: Int[torch.Tensor, " batch"]
) -> Float[torch.Tensor, "batch view dim"]:
    """Subtract the mean of each person's rows."""
    centred = []
    for row in range(len(z)):
        own = [z[other] for other in range(len(z)) if subjects[other] == subjects[row]]
        centred.append(z[row] - torch.stack(own).mean(dim=0))
    return torch.stack(centred)


def _standardize(z: Float[torch.Tensor, " batch *feature"]) -> Float[torch.Tensor, " batch *feature"]:
    """Subtract each feature's mean over the batch and divide by its standard deviation (biased, eps 1e-5)."""
    centred = z - z.mean(dim=0, keepdim=True)
    variance = centred.square().mean(dim=0, keepdim=True)
    return centred * (variance + STANDARDIZATION_EPSILON).rsqrt()
