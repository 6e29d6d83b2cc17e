"""Collectives that carry gradients: a loss over the global batch gives the same gradient on any number of processes.

Every process ends with the same loss of the global batch. The backward passes sum the incoming gradients of all
processes, so that a parameter's gradient is `world_size` times its own rows' share; the averaging that
DistributedDataParallel does afterwards makes that exact. A plain `torch.distributed.all_gather` with the own slice put
back gives the gradient divided by the number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped


def world_size() -> int:
    """The number of processes that train together; one where torch.distributed is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number from 0; zero where torch.distributed is not initialised."""
    return dist.get_rank() if world_size() > 1 else 0


def row_counts(local: Shaped[torch.Tensor, "local ..."], known: Sequence[int] | None = None) -> list[int]:
    """The number of rows of every process, in the order of rank.

    Args:
        local: This process's rows; every process calls this in the same order.
        known: The answer, where it is known already: nothing is exchanged then, and no process waits for another.
    """
    if known is not None:
        assert len(known) == world_size(), f"{len(known)} counts for {world_size()} processes"
        assert known[rank()] == local.shape[0], f"{local.shape[0]} rows, {known[rank()]} were announced"
        return list(known)
    if world_size() == 1:
        return [local.shape[0]]
    counts = torch.zeros(world_size(), dtype=torch.int64, device=local.device)
    counts[rank()] = local.shape[0]
    return [int(count) for count in sum_over_processes_(counts).tolist()]


def all_gather(
    local: Shaped[torch.Tensor, "local ..."], counts: Sequence[int] | None = None
) -> Shaped[torch.Tensor, "global ..."]:
    """The rows of every process, one process after the other in the order of rank.

    Processes may hold different numbers of rows. Without torch.distributed the tensor itself comes back.

    Args:
        local: This process's rows; every process calls this in the same order, with the same trailing shape and dtype.
        counts: The answer of `row_counts`, where it is known already.
    """
    if world_size() == 1:
        return local
    return _apply(_AllGather, local, row_counts(local, counts))


def all_reduce_sum(local: Shaped[torch.Tensor, "*shape"]) -> Shaped[torch.Tensor, "*shape"]:
    """The sum over processes of tensors of one shape; the identity where torch.distributed is not initialised."""
    return local if world_size() == 1 else _apply(_AllReduceSum, local)


def all_reduce_max(local: Shaped[torch.Tensor, "*shape"]) -> Shaped[torch.Tensor, "*shape"]:
    """The largest over processes of each entry, without gradient; the detached tensor itself on one process."""
    largest = local.detach()
    if world_size() > 1:
        largest = largest.contiguous().clone()
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return largest


def sum_over_processes_(values: Shaped[torch.Tensor, "*shape"]) -> Shaped[torch.Tensor, "*shape"]:
    """Add up the tensors of all processes in place, without gradient: for autograd functions with their own backward.

    Args:
        values: Contiguous; overwritten by the sum and returned.
    """
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def _apply(function: type[torch.autograd.Function], *arguments: object) -> torch.Tensor:
    result = function.apply(*arguments)
    assert isinstance(result, torch.Tensor)
    return result


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:  # noqa: ANN401
        # The backends gather equal shapes only, so shorter processes send padding that is cut off here.
        padded = local.new_zeros((max(sizes), *local.shape[1:]))
        padded[: local.shape[0]] = local
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        ctx.start = sum(sizes[: rank()])
        ctx.stop = ctx.start + local.shape[0]
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        return sum_over_processes_(grad_outputs[0].contiguous().clone())[ctx.start : ctx.stop], None


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return sum_over_processes_(local.contiguous().clone())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return sum_over_processes_(grad_outputs[0].contiguous().clone())
