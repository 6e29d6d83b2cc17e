"""Normalisation, an optional sum, and ReLU; in training on a CPU all three in one pass over the maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from smilevlm.distributed import world_size
from smilevlm.models.batch_norm import GlobalBatchNorm2d

_FUSED_DTYPES = (torch.float32, torch.bfloat16)


def norm_relu(
    norm: nn.Module,
    maps: Float[torch.Tensor, "image channel height width"],
    added: Float[torch.Tensor, "image channel height width"] | None = None,
) -> Float[torch.Tensor, "image channel height width"]:
    """relu(norm(maps) + added).

    Batch normalisation that trains in one process, on a CPU and with the channels innermost, takes two passes over the
    maps and two over the gradients, about half of what torch's layers take. Its sums are nearer to the exact ones
    (those over many rows are in float64), and in bfloat16 the result is rounded once. The gradient has no gradient.

    Args:
        norm: Layer of the maps' channels; its running statistics move as if it were called. Its hooks do not run.
        maps: What is normalised.
        added: A residual block's shortcut.
    """
    if _is_fused(norm, maps, added):
        assert isinstance(norm, GlobalBatchNorm2d)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        return _NormReLU.apply(maps, added, norm.weight, norm.bias, norm)
    normalised = norm(maps)
    return torch.relu_(normalised) if added is None else torch.relu(normalised + added)


def _is_fused(norm: nn.Module, maps: torch.Tensor, added: torch.Tensor | None) -> bool:
    return (
        isinstance(norm, GlobalBatchNorm2d)
        and norm.training
        and norm.weight.dtype == torch.float32
        and maps.numel() > maps.shape[1]
        and not torch.compiler.is_compiling()
        and world_size() == 1
        # The passes are serial; with several threads torch's own run side by side.
        and torch.get_num_threads() == 1
        and all(
            each.device.type == "cpu"
            and each.dtype == maps.dtype
            and each.dtype in _FUSED_DTYPES
            and each.is_contiguous(memory_format=torch.channels_last)
            for each in (maps, *(() if added is None else (added,)))
        )
    )


class _NormReLU(torch.autograd.Function):
    """Batch normalisation with its running statistics, sum and ReLU."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        maps: torch.Tensor,
        added: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor,
        norm: GlobalBatchNorm2d,
    ) -> torch.Tensor:
        from smilevlm.models import _norm_kernels

        assert norm.running_mean is not None
        assert norm.running_var is not None
        y, statistics = torch.empty_like(maps), torch.empty(2, maps.shape[1])
        constants = [each.detach().numpy() for each in (weight, bias, norm.running_mean, norm.running_var)]
        _norm_kernels.forward(
            _rows(maps), None if added is None else _rows(added), *constants, norm.momentum, norm.eps, _rows(y),
            *statistics.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(maps, y, weight, statistics)
        ctx.has_added = added is not None
        return y

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        gradient: torch.Tensor,
    ) -> tuple[torch.Tensor | None, ...]:
        from smilevlm.models import _norm_kernels

        # Asked for with `create_graph`; `once_differentiable` lets it pass where it starts from a constant gradient.
        if torch.is_grad_enabled():
            raise NotImplementedError("batch normalisation in one pass can be differentiated once only")
        maps, y, weight, statistics = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_maps, of_weight, of_bias = torch.empty_like(maps), torch.empty_like(weight), torch.empty_like(weight)
        of_added = torch.empty_like(maps) if ctx.has_added else None
        _norm_kernels.backward(
            _rows(gradient), _rows(y), _rows(maps), weight.detach().numpy(), *statistics.numpy(), _rows(of_maps),
            None if of_added is None else _rows(of_added), of_weight.numpy(), of_bias.numpy(),
        )  # fmt: skip
        return of_maps, of_added, of_weight, of_bias, None


def _rows(maps: torch.Tensor) -> np.ndarray:
    """The memory of maps as (pixel, channel); bfloat16 as its bits."""
    rows = maps.detach().permute(0, 2, 3, 1).flatten(0, 2)
    return (rows.view(torch.uint16) if rows.dtype == torch.bfloat16 else rows).numpy()
