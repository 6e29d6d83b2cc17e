"""The Barlow Twins objective of wide embeddings by Gram matrices, without the width x width correlation matrix."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float

from smilevlm.distributed import all_gather, all_reduce_sum, rank, sum_over_processes_


def gram_correlation_loss(
    a: Float[torch.Tensor, "row dim"], b: Float[torch.Tensor, "row dim"], lambd: float, counts: list[int]
) -> Float[torch.Tensor, ""]:
    """The same value and gradient as `barlow_twins_objective` of the cross-correlation C = AᵀB/n of n rows.

    ‖C‖² = ⟨AAᵀ, BBᵀ⟩/n², where each process needs its own rows of the two n x n Gram matrices alone. The backward is
    written by hand: the two matrices are symmetric, which halves its products. It can be differentiated once.

    Args:
        a: This process's rows.
        b: Their counterparts.
        lambd: Weight of the off-diagonal sum.
        counts: Rows of every process, in the order of rank.
    """
    result = _GramObjective.apply(a, b, lambd, counts)
    assert isinstance(result, torch.Tensor)
    return result


class _GramObjective(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, lambd: float, counts: list[int]) -> torch.Tensor:  # noqa: ANN401
        num_rows = sum(counts)
        everyone_a, everyone_b = all_gather(a, counts), all_gather(b, counts)
        gram_a, gram_b = a @ everyone_a.T, b @ everyone_b.T
        norm = (gram_a * gram_b).sum(dim=1).sum(dim=0, keepdim=True) / num_rows
        sums = sum_over_processes_(torch.cat([(a * b).sum(dim=0), norm])).div_(num_rows)
        diagonal, squared_norm = sums[:-1], sums[-1]
        ctx.save_for_backward(everyone_a, everyone_b, gram_a, gram_b, diagonal)
        ctx.start = sum(counts[: rank()])
        ctx.lambd, ctx.num_rows = lambd, num_rows
        return (diagonal - 1).square().sum() + lambd * (squared_norm - diagonal.square().sum())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        # Asked for with `create_graph`. `once_differentiable` would let it pass where the loss itself is what is
        # differentiated, for the 1 it starts from has no gradient, and the second derivative would lack this loss.
        if torch.is_grad_enabled():
            raise NotImplementedError("the Gram form of the correlation losses can be differentiated once only")
        everyone_a, everyone_b, gram_a, gram_b, diagonal = ctx.saved_tensors
        own = slice(ctx.start, ctx.start + len(gram_a))
        with torch.autocast(device_type=gram_a.device.type, enabled=False):
            scale = 2 * all_reduce_sum(grad_outputs[0]) / ctx.num_rows
            along = (diagonal - 1 - ctx.lambd * diagonal) * scale
            across = ctx.lambd * scale / ctx.num_rows
            grad_a = grad_b = None
            if ctx.needs_input_grad[0]:
                grad_a = (gram_b @ everyone_a).mul_(across).addcmul_(everyone_b[own], along)
            if ctx.needs_input_grad[1]:
                grad_b = (gram_a @ everyone_b).mul_(across).addcmul_(everyone_a[own], along)
        return grad_a, grad_b, None, None
