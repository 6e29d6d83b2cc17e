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


def table_console() -> Console:
    """Where tables go: stdout, and wide enough for them when that is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


@contextmanager
def _bar() -> Iterator[Callable[[], Progress]]:
    """Bars that show themselves when first asked for: an error before that leaves its one line alone on stderr."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )

    def shown() -> Progress:
        if not progress.live.is_started:
            progress.start()
        return progress

    try:
        yield shown
    finally:
        if progress.live.is_started:
            progress.stop()


@contextmanager
def counting(description: str) -> Iterator[Callable[[int, int], None]]:
    """One bar; what comes out is called with (done, total)."""
    with noted_counting(description) as update:
        yield lambda done, total: update(done, total, "")


@contextmanager
def noted_counting(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """One bar with a note behind it; what comes out is called with (done, total, note)."""
    with _bar() as shown:
        tasks: list[TaskID] = []

        def update(done: int, total: int, note: str) -> None:
            if not tasks:
                tasks.append(shown().add_task(description, note=""))
            shown().update(tasks[0], completed=done, total=total, note=note)

        yield update


@contextmanager
def training() -> Iterator[Callable[[str, int, int, float], None]]:
    """A bar per fold; what comes out is called with (name, epochs done, epochs in all, loss)."""
    with _bar() as shown:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int, loss: float) -> None:
            if name not in tasks:
                tasks[name] = shown().add_task(name, total=total, note="")
            shown().update(tasks[name], completed=done, total=total, note=f"loss {loss:.3f}")

        yield update
