"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(model: torch.nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's weights and buffers whose decay warms up.

    The first update copies the model. The n-th after it keeps the share min(decay, (1 + n) / (10 + n)) of the average.
    With a constant decay the first weights would keep the share decay^n: 0.998 leaves 90 % of them after 50 updates.
    n is part of the average's state, so that a run that is gone on with continues the warm-up.

    Args:
        model: What is averaged.
        decay: In (0, 1).

    Source: `ExponentialMovingAverage` of TensorFlow, `num_updates`. Assumption A34.
    """

    def update(averaged: Any, current: Any, num_averaged: torch.Tensor | int) -> None:  # noqa: ANN401
        warmed_up(decay, int(num_averaged))(averaged, current, num_averaged)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def warmed_up(decay: float, num_updates: int) -> Callable[..., None]:
    """torch's update with the decay that belongs to a number of updates."""
    return get_ema_multi_avg_fn(min(decay, (1 + num_updates) / (10 + num_updates)))
