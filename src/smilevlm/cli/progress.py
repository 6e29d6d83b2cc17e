"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


@contextmanager
def counting(description: str) -> Iterator[Callable[[int, int], None]]:
    """One bar; what comes out is called with (done, total)."""
    with _bar() as progress:
        task = progress.add_task(description, total=None, note="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def training() -> Iterator[Callable[[str, int, int, float], None]]:
    """A bar per fold; what comes out is called with (name, epochs done, epochs in all, loss)."""
    with _bar() as progress:
        tasks = {}

        def update(name: str, done: int, total: int, loss: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, note="")
            progress.update(tasks[name], completed=done, total=total, note=f"loss {loss:.3f}")

        yield update
