"""Several processes that train one fold together: starting them, joining them, averaging their gradients.

torchrun starts the processes, on one machine or many; each runs the same command from its beginning and takes its rows
of every batch. torch is imported inside the functions, so that the command line can ask for the rank at no cost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from smilevlm.errors import SmileVlmError

if TYPE_CHECKING:
    import torch

_Value = TypeVar("_Value")
_BUCKET_ELEMENTS = 2**23
"""Gradients are averaged in pieces of 32 MB, so that no second copy of all of them is needed."""


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
def joined_processes(*, on_gpu: bool, timeout_minutes: float = 120.0) -> Iterator[None]:
    """Join the processes of torchrun for the length of the block; nothing to do without it.

    Args:
        on_gpu: Whether each has a GPU.
        timeout_minutes: After which a process that waits for another ends with an error. Longer than the first process
            takes for what it does alone: torch's own 10 minutes between GPUs can be too short for that.
    """
    if not under_launcher():
        yield
        return
    import torch
    import torch.distributed as dist

    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=timeout_minutes))
    try:
        yield
    finally:
        dist.destroy_process_group()


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


def on_rank0(step: Callable[[], _Value]) -> _Value:
    """Take a step on the first process alone; the others wait for its end and get what it gave.

    Returns:
        What the step returned, on every process.

    Raises:
        SmileVlmError, OSError: What the step raised, on every process: others would wait for the first for ever.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return step()
    outcome: list[_Value] = []
    error: SmileVlmError | OSError | None = None
    if dist.get_rank() == 0:
        try:
            outcome = [step()]
        except (SmileVlmError, OSError) as raised:
            error = raised
    outcome, error = broadcast_from_rank0((outcome, error))
    # The first process may end with the error: not before the others have it.
    dist.barrier()
    if error is not None:
        raise error
    return outcome[0]


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
    """Replace each parameter's gradient by its mean over the processes.

    With the losses of this package, whose collectives sum gradients on the way back, the mean is the gradient of the
    loss over the global batch. Every process must have gradients for the same parameters.
    """
    average_over_processes_([p.grad for p in parameters if p.grad is not None])


def average_over_processes_(gradients: list[torch.Tensor]) -> None:
    """Replace each tensor by its mean over the processes, which have tensors of the same shapes."""
    import torch
    import torch.distributed as dist

    from smilevlm.distributed import world_size

    if world_size() == 1:
        return
    for bucket in _buckets(gradients):
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
