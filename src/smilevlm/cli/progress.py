"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int, str], None]]:
    """A bar per name, updated with (name, done, total, note).

    They show themselves with the first update: an error before that leaves its one line alone on stderr.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def update(name: str, done: int, total: int, note: str) -> None:
        if not tasks:
            progress.start()
        if name not in tasks:
            tasks[name] = progress.add_task(name, note="")
        progress.update(tasks[name], completed=done, total=total, note=note)

    try:
        yield update
    finally:
        if tasks:
            progress.stop()


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[..., None]]:
    """One bar, updated with (done, total) and maybe a note behind it."""
    with _bars() as update:
        yield lambda done, total, note="": update(description, done, total, note)


@contextmanager
def training_bars() -> Iterator[Callable[[str, int, int, float], None]]:
    """A bar per fold, updated with (name, epochs done, epochs in all, loss)."""
    with _bars() as update:
        yield lambda name, done, total, loss: update(name, done, total, f"loss {loss:.3f}")
