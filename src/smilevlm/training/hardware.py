"""Where and how a fold is trained: CPU or which GPU, how often its state is kept, where its log goes."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from typing import Literal, get_args

from smilevlm.errors import MissingExtraError, SettingsError
from smilevlm.training.processes import under_launcher

Accelerator = Literal["auto", "cpu", "gpu"]
Deterministic = Literal["auto", "on", "off"]
ImagesOnDevice = Literal["auto", "always", "never"]
_LARGEST_SHARE = 0.25
"""Of a GPU's free memory that the training images may take under `auto`; the rest is for the model and a step."""
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
        images_on_device: Whether the training images (uint8) are kept on the GPU as a whole. `auto` does so where they
            take at most a quarter of its free memory. Otherwise each batch is made ready in pinned memory while the one
            before is trained on. No effect on a CPU.
        deterministic: `auto` asks a GPU for deterministic operations and warns of those that have none; on a CPU all
            that is used has the same bits each time anyway. `on` makes an operation without a deterministic form an
            error, `off` asks for none, which is faster on a GPU.
        process_timeout_minutes: How long processes that train together wait for each other. The first one alone runs
            teacher and calibration meanwhile.
    """

    accelerator: Accelerator = "auto"
    device: int = 0
    checkpoint_every: int = 1
    checkpoint_minutes: float = 5.0
    tracker: Literal["none", "wandb", "mlflow", "comet"] = "none"
    images_on_device: ImagesOnDevice = "auto"
    deterministic: Deterministic = "auto"
    process_timeout_minutes: float = 120.0

    def __post_init__(self) -> None:
        if self.device < 0 or self.checkpoint_every < 1:
            raise SettingsError("device must be 0 or more, checkpoint_every 1 or more")
        if not 0 <= self.checkpoint_minutes < float("inf"):
            raise SettingsError(f"checkpoint_minutes is {self.checkpoint_minutes}; expected 0 or more")
        if not 0 < self.process_timeout_minutes < float("inf"):
            raise SettingsError(f"process_timeout_minutes is {self.process_timeout_minutes}; expected more than 0")
        for name, kind in (("images_on_device", ImagesOnDevice), ("deterministic", Deterministic)):
            if getattr(self, name) not in get_args(kind):
                raise SettingsError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(kind))}")
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

    def for_workers(self, num_workers: int) -> list[HardwareConfig]:
        """The same for each of several processes that train a fold each at the same time: GPUs in turn."""
        if not self.on_gpu:
            return [self] * num_workers
        import torch

        return [replace(self, device=number % torch.cuda.device_count()) for number in range(num_workers)]

    def keeps_on_device(self, num_bytes: int) -> bool:
        """Whether training images of this size are kept on the GPU as a whole."""
        if not self.on_gpu or self.images_on_device == "never":
            return False
        if self.images_on_device == "always":
            return True
        import torch

        free, _ = torch.cuda.mem_get_info(self.torch_device)
        return num_bytes <= _LARGEST_SHARE * free

    @property
    def torch_device(self) -> str:
        """The device of this process, as torch names it.

        Raises:
            SettingsError: A GPU is asked for, and there is none.
        """
        if not self.on_gpu:
            return "cpu"
        return f"cuda:{os.environ['LOCAL_RANK'] if under_launcher() else self.device}"
