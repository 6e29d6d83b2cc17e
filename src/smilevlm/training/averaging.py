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

    return _WarmedUpAverage(model, decay)


class _WarmedUpAverage(AveragedModel):
    """torch's average with its number of updates in Python as well: reading a GPU's copy would halt every step."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self._decay = decay
        self._num_updates: int | None = None

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        # Also called where this is part of a module whose state is loaded.
        super()._load_from_state_dict(*arguments, **options)
        self._num_updates = None

    @torch.no_grad()
    def update_parameters(self, model: torch.nn.Module) -> None:
        if self._num_updates is None:
            self._num_updates = int(self.n_averaged)
        averaged, current = ([*each.parameters(), *each.buffers()] for each in (self.module, model))
        if self._num_updates == 0:
            torch._foreach_copy_(averaged, current)
        else:
            update = warmed_up(self._decay, self._num_updates)
            for kind in {tensor.dtype for tensor in averaged}:
                rows = [row for row, tensor in enumerate(averaged) if tensor.dtype == kind]
                update([averaged[row] for row in rows], [current[row] for row in rows], self._num_updates)
        self._num_updates += 1
        self.n_averaged += 1


def warmed_up(decay: float, num_updates: int) -> Callable[..., None]:
    """torch's update with the decay that belongs to a number of updates."""
    return get_ema_multi_avg_fn(min(decay, (1 + num_updates) / (10 + num_updates)))
