"""Collectives that carry gradients: a loss over the global batch gives the same gradient on any number of processes.

Every process computes the same loss of the gathered rows. The backward pass of `all_gather` sums the incoming gradients
of all processes, so that a parameter's gradient is `world_size` times its own rows' share; the averaging that
DistributedDataParallel does afterwards makes that exact. A plain `torch.distributed.all_gather` with the own slice put
back gives the gradient divided by the number of processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped


def world_size() -> int:
    """The number of processes that train together; one where torch.distributed is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_gather(local: Shaped[torch.Tensor, "local ..."]) -> Shaped[torch.Tensor, "global ..."]:
    """The rows of every process, one process after the other in the order of rank.

    Processes may hold different numbers of rows. Without torch.distributed the tensor itself comes back.

    Args:
        local: This process's rows; every process calls this in the same order, with the same trailing shape and dtype.
    """
    return local if world_size() == 1 else _apply(_AllGather, local)


def all_reduce_sum(local: Shaped[torch.Tensor, "*shape"]) -> Shaped[torch.Tensor, "*shape"]:
    """The sum over processes of tensors of one shape; the identity where torch.distributed is not initialised."""
    return local if world_size() == 1 else _apply(_AllReduceSum, local)


def all_reduce_mean(local: Shaped[torch.Tensor, "*shape"]) -> Shaped[torch.Tensor, "*shape"]:
    """The mean over processes of tensors of one shape; the identity where torch.distributed is not initialised."""
    return all_reduce_sum(local) / world_size() if world_size() > 1 else local


def _apply(function: type[torch.autograd.Function], tensor: torch.Tensor) -> torch.Tensor:
    result = function.apply(tensor)
    assert isinstance(result, torch.Tensor)
    return result


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        counts = torch.zeros(world_size(), dtype=torch.int64, device=local.device)
        counts[dist.get_rank()] = local.shape[0]
        dist.all_reduce(counts)
        sizes = [int(count) for count in counts.tolist()]
        # The backends gather equal shapes only, so shorter processes send padding that is cut off here.
        padded = local.new_zeros((max(sizes), *local.shape[1:]))
        padded[: local.shape[0]] = local
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        ctx.start = sum(sizes[: dist.get_rank()])
        ctx.stop = ctx.start + local.shape[0]
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        gradient = grad_outputs[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.start : ctx.stop]


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        total = local.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        gradient = grad_outputs[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient
