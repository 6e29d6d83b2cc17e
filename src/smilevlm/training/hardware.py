"""Where a fold is trained: CPU or which GPU, how often its state is kept, where its log goes."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from typing import Literal

from smilevlm.errors import MissingExtraError, SettingsError
from smilevlm.training.processes import under_launcher

Accelerator = Literal["auto", "cpu", "gpu"]
_TRACKER_PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Where a fold is trained; changes no number beyond rounding.

    Args:
        accelerator: `auto` takes a GPU where there is one.
        device: Which GPU a process takes that trains a fold alone.
        checkpoint_every: Epochs between two states that a killed run goes on from, at least.
        checkpoint_minutes: Minutes between two such states, at least; the last epoch's is written always.
        tracker: Where the log goes beside CSV and TensorBoard.
    """

    accelerator: Accelerator = "auto"
    device: int = 0
    checkpoint_every: int = 1
    checkpoint_minutes: float = 5.0
    tracker: Literal["none", "wandb", "mlflow", "comet"] = "none"

    def __post_init__(self) -> None:
        if self.device < 0 or self.checkpoint_every < 1:
            raise SettingsError("device must be 0 or more, checkpoint_every 1 or more")
        if not 0 <= self.checkpoint_minutes < float("inf"):
            raise SettingsError(f"checkpoint_minutes is {self.checkpoint_minutes}; expected 0 or more")
        package = _TRACKER_PACKAGES.get(self.tracker)
        if package is not None and importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"tracker {self.tracker} needs the package {package}, which is not installed")

    def check(self) -> None:
        """Raises:
        SettingsError: A GPU is asked for, and there is none.
        """
        _ = self.on_gpu

    @property
    def on_gpu(self) -> bool:
        """Raises:
        SettingsError: A GPU is asked for, and there is none.
        """
        import torch

        available = torch.cuda.is_available()
        if self.accelerator == "gpu" and not available:
            raise SettingsError("accelerator gpu: torch finds no GPU; `cpu` works everywhere")
        return available and self.accelerator != "cpu"

    def for_process(self, number: int) -> HardwareConfig:
        """The same with the GPU whose turn it is, for one of several processes that train a fold each."""
        if not self.on_gpu:
            return self
        import torch

        return replace(self, device=number % torch.cuda.device_count())

    @property
    def torch_device(self) -> str:
        """The device of this process, as torch names it.

        Raises:
            SettingsError: A GPU is asked for, and there is none.
        """
        if not self.on_gpu:
            return "cpu"
        return f"cuda:{os.environ['LOCAL_RANK'] if under_launcher() else self.device}"
