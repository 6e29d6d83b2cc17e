"""Several processes that train one fold together: starting them, joining them, averaging their gradients.

torchrun starts the processes, on one machine or many; each runs the same command from its beginning and takes its rows
of every batch. torch is imported inside the functions, so that the command line can ask for the rank at no cost.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from smilevlm.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    import torch

_Value = TypeVar("_Value")
_TRACKER_PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}
Accelerator = Literal["auto", "cpu", "gpu"]
_BUCKET_ELEMENTS = 2**23
"""Gradients are averaged in pieces of 32 MB, so that no second copy of all of them is needed."""


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


def under_launcher() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def process_rank() -> int:
    """Number of this process among those that train together; 0 writes."""
    return int(os.environ["RANK"]) if under_launcher() else 0


def num_local_processes() -> int:
    return int(os.environ["LOCAL_WORLD_SIZE"]) if under_launcher() else 1


def num_processes() -> int:
    """On all machines together."""
    return int(os.environ["WORLD_SIZE"]) if under_launcher() else 1


def num_nodes() -> int:
    return num_processes() // num_local_processes()


@contextmanager
def joined_processes(hardware: HardwareConfig) -> Iterator[None]:
    """Join the processes of torchrun for the length of the block; nothing to do without it."""
    if not under_launcher():
        yield
        return
    import torch
    import torch.distributed as dist

    if hardware.on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if hardware.on_gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    """Return when every process is here."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def broadcast_from_rank0(value: _Value) -> _Value:
    """The first process's value on all of them; the value itself on one.

    For what is looked up on a disk or computed by each for itself, and decides what all of them do next: two that
    disagreed would wait for each other for ever.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def launch(arguments: Sequence[str], num_processes: int) -> int:
    """Run `smilevlm` with these arguments in several processes on this machine.

    Returns:
        The exit code: 0, or that of the first process that failed; the others are ended then.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    # Otherwise torchrun says on stderr that it sets this; what counts is `optimiser.threads`.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command = ["--standalone", f"--nproc-per-node={num_processes}", "--module", "smilevlm", *arguments]
    try:
        run(parse_args(command))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode
    except SignalException as stopped:
        if stopped.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        return 128 + stopped.sigval
    return 0


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes.

    With the losses of this package, whose collectives sum gradients on the way back, the mean is the gradient of the
    loss over the global batch. Every process must have gradients for the same parameters.
    """
    import torch
    import torch.distributed as dist

    from smilevlm.distributed import world_size

    if world_size() == 1:
        return
    for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        flat /= world_size()
        torch._foreach_copy_(bucket, [part.view_as(g) for part, g in zip(
            flat.split([g.numel() for g in bucket]), bucket, strict=True)])  # fmt: skip


def _buckets(gradients: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one type, together at most the bucket's size unless a single one is larger."""
    bucket: list[torch.Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size + gradient.numel() > _BUCKET_ELEMENTS or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket
