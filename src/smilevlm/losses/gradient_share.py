"""The multi-view loss's part of the image tower's gradient beside the alignment's, and the scale that gives it one."""

from __future__ import annotations

import math
from typing import Any

from torch import nn


class GradientShare(nn.Module):
    """Takes the shares measured in the first steps, and sets the scale of the multi-view loss by them.

        r_n = ‖∇ α L_mv-bt‖ / ‖∇ β L_vl-align‖,   s_n = ρ / (r_1 … r_n)^(1/n),   s = s_N from step N on

    The gradients are those of the tower's weights at scale 1; ρ is the target. It has no weight, but a state: a run
    that is gone on with has the same scale. Assumption A60.

    Args:
        target: ρ, above 0; None leaves the scale as it is and only measures.
        num_steps: N, at least 1.
        scale: The first scale.
    """

    def __init__(self, target: float | None, num_steps: int, scale: float) -> None:
        super().__init__()
        self._target = target
        self._num_steps = num_steps
        self._log_sum = 0.0
        self.scale = scale
        self.num_measured = 0

    @property
    def is_measuring(self) -> bool:
        """Whether the next step is to be measured."""
        return self.num_measured < self._num_steps

    @property
    def mean(self) -> float | None:
        """The geometric mean of the measured shares, at today's scale; None before the first."""
        return self.scale * math.exp(self._log_sum / self.num_measured) if self.num_measured else None

    def measured(self, share: float) -> float:
        """Take the share of a step at today's scale into account.

        Args:
            share: Finite; 0, as where nobody has two rows to be centred, does not count.

        Returns:
            The factor by which the scale has changed.
        """
        if share == 0:
            return 1.0
        before = self.scale
        self._log_sum += math.log(share / before)
        self.num_measured += 1
        if self._target is not None:
            self.scale = self._target / math.exp(self._log_sum / self.num_measured)
        return self.scale / before

    def get_extra_state(self) -> dict[str, Any]:
        """What a run is gone on with, for `state_dict`."""
        return {"log_sum": self._log_sum, "num_measured": self.num_measured, "scale": self.scale}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """From `load_state_dict`."""
        self._log_sum, self.num_measured, self.scale = state["log_sum"], state["num_measured"], state["scale"]
