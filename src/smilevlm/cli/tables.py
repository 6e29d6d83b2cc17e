"""Tables and counts as the commands print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def table_console() -> Console:
    """Where tables go: stdout, and wide enough for them when that is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def print_table(
    text_columns: Sequence[str],
    number_columns: Sequence[str] = (),
    rows: Iterable[Sequence[object] | None] = (),
    *,
    last_columns: Sequence[str] = (),
    title: str | None = None,
    title_justify: Literal["left", "center"] = "center",
) -> None:
    """Print a table on stdout.

    Args:
        text_columns: Titles of the first columns.
        number_columns: Titles of the columns after them, which stand on the right.
        rows: One cell per column; None for a line between two rows.
        last_columns: Titles of columns of text after the numbers.
        title: Above the table.
        title_justify: Where the title stands.
    """
    table = Table(title=None if title is None else escape(title), title_justify=title_justify)
    for name in text_columns:
        table.add_column(escape(name), overflow="fold")
    for name in number_columns:
        table.add_column(escape(name), justify="right")
    for name in last_columns:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*(escape(str(cell)) for cell in row))
    table_console().print(table)


def print_note(note: str) -> None:
    """A sentence below a table, as wide as it may be."""
    table_console().print(note, markup=False, highlight=False)


def counted(number: int, word: str) -> str:
    """A number and what it counts."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
