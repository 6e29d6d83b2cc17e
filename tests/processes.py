"""Other processes that tests start: Python with some code, commands, and processes that are joined as by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_python(
    *words: object, check: bool = True, cwd: Path | None = None, text: bool = True, **environment: str
) -> subprocess.CompletedProcess[Any]:
    """Run Python to its end, with what it says caught.

    Args:
        words: After `python`, such as `-c CODE`.
        check: Whether it must end well.
        cwd: Where it runs.
        text: Whether what it says is decoded.
        environment: Beside this process's own.

    Raises:
        subprocess.CalledProcessError: It must end well and does not.
    """
    command = [sys.executable, *map(str, words)]
    values = {**os.environ, **environment}
    done = subprocess.run(command, cwd=cwd, env=values, capture_output=True, text=text, check=False)
    if check and done.returncode:
        # The error itself does not show what was said.
        print(done.stderr)
        done.check_returncode()
    return done


def joined_by_gloo(work: Callable[..., Any], count: int, folder: Path, *arguments: object) -> list[Any]:
    """What `work(rank, *arguments)` returns in each of several processes that torch.distributed joins.

    Args:
        work: Of the top level of a module; returns what `torch.load` reads without running code.
        count: Of processes.
        folder: Empty; for the meeting point and the answers.
        arguments: Picklable.
    """
    import torch

    torch.multiprocessing.spawn(_join, (work, count, str(folder), arguments), nprocs=count)
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]


def _join(rank: int, work: Callable[..., Any], count: int, folder: str, arguments: tuple[object, ...]) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    of_torchrun = {"TORCHELASTIC_RUN_ID": "none", "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count,
                   "LOCAL_WORLD_SIZE": count}  # fmt: skip
    os.environ.update({name: str(value) for name, value in of_torchrun.items()})
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/meeting", count), rank=rank, world_size=count)
    try:
        torch.save(work(rank, *arguments), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()
