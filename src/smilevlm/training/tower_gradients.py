"""How much of the image tower's gradient comes from the multi-view loss, and how much from the alignment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float

from smilevlm.losses import LossTerms
from smilevlm.training.processes import average_over_processes_, broadcast_from_rank0


def multi_view_gradient_share(
    terms: LossTerms,
    features: Float[torch.Tensor, "copy view feature"],
    encoded: Iterable[Float[torch.Tensor, "piece view feature"]],
    weights: Sequence[torch.nn.Parameter],
) -> float:
    """Norm of the tower's gradient by the multi-view loss over that by the alignment, each with its weight in the sum.

    The gradients are those of the global batch, the same on all processes. The graph of the terms is left as it is.

    Args:
        terms: With both of them.
        features: The tower's output that the terms were computed from.
        encoded: The same in pieces, one after the other, each with a graph to the weights.
        weights: The tower's that train.

    Returns:
        0 where the multi-view loss has no gradient, infinity or NaN where the alignment has none.
    """
    assert terms.multi_view is not None
    assert terms.alignment is not None
    both = ((terms.multi_view, terms.weights[0]), (terms.alignment, terms.weights[1]))
    with torch.autocast(features.device.type, enabled=False):
        arriving = [torch.autograd.grad([term], features, retain_graph=True)[0] for term, _ in both]
        gradients = [[torch.zeros_like(weight) for weight in weights] for _ in both]
        start = 0
        for piece in encoded:
            rows = slice(start, start + len(piece))
            for sums, gradient in zip(gradients, arriving, strict=True):
                found = torch.autograd.grad(piece, weights, gradient[rows], retain_graph=True, allow_unused=True)
                for total, part in zip(sums, found, strict=True):
                    if part is not None:
                        total += part
            start = rows.stop
    norms = []
    for sums, (_, weight) in zip(gradients, both, strict=True):
        average_over_processes_(sums)
        norms.append(weight * torch.stack([total.double().norm() for total in sums]).norm())
    # Sums of floats may differ in the last digit between machines, and all must take the same scale.
    return broadcast_from_rank0(float(norms[0] / norms[1]))
