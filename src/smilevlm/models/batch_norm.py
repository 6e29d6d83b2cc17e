"""Batch normalisation over the global batch of all processes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

from smilevlm.distributed import all_reduce_sum, world_size
from smilevlm.models.tuning import frozen_parts


class _Global(nn.modules.batchnorm._BatchNorm):
    """What torch's own layer does with the rows of all processes in one.

    In one process it is that layer, bit for bit; the state is the same in either case. Torch's SyncBatchNorm would do
    on CUDA alone.
    """

    def forward(self, input: Float[torch.Tensor, "row channel ..."]) -> Float[torch.Tensor, "row channel ..."]:
        self._check_input_dim(input)
        if not self.training or world_size() == 1:
            return super().forward(input)
        # Sums of many values in bfloat16 would lose most of them.
        x = input if input.dtype == torch.float64 else input.float()
        mean, variance, count = _global_moments(x)
        self._update_running_statistics(mean.detach(), variance.detach(), count)
        shape = (1, -1, *[1] * (input.ndim - 2))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return ((x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        unbiased = variance * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


class GlobalBatchNorm1d(_Global, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` with the statistics of the rows of all processes."""


class GlobalBatchNorm2d(_Global, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with the statistics of the images of all processes."""


def mixes_local_samples(module: nn.Module) -> bool:
    """Whether a part normalises over the samples of its own process alone, while training."""
    kind = nn.modules.batchnorm._BatchNorm
    return any(isinstance(part, kind) and not isinstance(part, _Global) for part in module.modules())


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether a module mixes the samples of a batch while it trains: batch normalisation that is not frozen."""
    frozen = {id(layer) for part in frozen_parts(module) for layer in part.modules()}
    return any(
        isinstance(layer, nn.modules.batchnorm._BatchNorm) and id(layer) not in frozen for layer in module.modules()
    )


def _global_moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and biased variance per channel over all processes, and over how many values each is."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    own = x.new_full((1,), x.numel() // x.shape[1])
    totals = all_reduce_sum(torch.cat([x.sum(axes), own]))
    count = totals[-1].detach()
    mean = totals[:-1] / count
    centred = x - mean.view(1, -1, *[1] * (x.ndim - 2))
    # The mean of squares minus the square of the mean would cancel where the mean is large.
    return mean, all_reduce_sum(centred.square().sum(axes)) / count, count
