"""Tables as values, and their writers: CSV for programs (fractions, full precision), Markdown and LaTeX for people.

A table is described once: each column has a key, a title, a format, and a function that reads its cell from a record.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from smilevlm.results import Interval

Kind = Literal[
    "text", "count", "percent", "percent_fine", "points", "percent_interval", "points_interval", "fraction",
    "fraction_interval", "p_value",
]  # fmt: skip
"""How a column's numbers are written for people; `percent_fine` has two decimals, as the paper prints them."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """An empty cell says why it is empty."""

    reason: str


Cell = str | int | float | Interval | Missing
"""Shares as fractions of one; they become per cent when written for people, except in columns of kind `fraction`."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: In CSV.
        title: For people.
        kind: How numbers are written for people.
        get: A record's cell, or the path of the attribute that it is, by default the key; None is an empty cell.
        missing: Why a cell is empty where `get` gives None.
    """

    key: str
    title: str
    kind: Kind = "text"
    get: Callable[[Any], Cell | None] | str = ""
    missing: str = ""

    def cell(self, record: object) -> Cell:
        """The cell of a record."""
        get = self.get if callable(self.get) else attrgetter(self.get or self.key)
        return Missing(reason=self.missing) if (found := get(record)) is None else found

    @property
    def csv_keys(self) -> list[str]:
        """An interval takes two columns."""
        return [f"{self.key}_low", f"{self.key}_high"] if self.kind.endswith("interval") else [self.key]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A named table.

    Attributes:
        name: File name without the ending.
        note: What a reader must know to read it right.
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name


def table_of(name: str, title: str, note: str, columns: Sequence[Column], records: Iterable[object]) -> Table:
    """A table with one row per record.

    Args:
        name: File name without the ending.
        title: For people.
        note: What a reader must know to read it right.
        columns: Each reads its cell from a record.
        records: Of any one type.
    """
    rows = tuple(tuple(column.cell(record) for column in columns) for record in records)
    return Table(name=name, title=title, note=note, columns=tuple(columns), rows=rows)


def angle_columns(
    angles_deg: Iterable[float],
    get: Callable[[Any, float], Cell | None],
    *,
    key: str = "view",
    title: str = "View",
    kind: Kind = "percent",
    missing: str = "",
) -> list[Column]:
    """One column per view angle; `get` reads a record's cell at an angle."""

    def column(angle: float) -> Column:
        return Column(f"{key}_{angle:g}", f"{title} {angle_text(angle)}", kind, lambda each: get(each, angle), missing)

    return [column(angle) for angle in angles_deg]


def constant_column(key: str, title: str, text: str) -> Column:
    """The same words in every row, such as whose faces they are."""
    return Column(key, title, "text", lambda _: text)


def angle_text(angle_deg: float) -> str:
    """`−30°`, `0°`, `+30°`."""
    return f"{angle_deg:+g}°".replace("-", "−") if angle_deg else "0°"


def data_text(synthetic: bool, layout: str) -> str:
    """Whose faces these are, for titles and captions: synthetic ones must not be taken for real."""
    return "synthetic faces" if synthetic else layout


_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "°": r"\textdegree{}", "−": r"\textminus{}", "–": "--",
    "\n": " ", "[": "{[}", "]": "{]}",
}  # fmt: skip
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&$])")


def cell_text(cell: Cell, kind: Kind) -> str:
    """A cell for people."""
    if isinstance(cell, Missing):
        return cell.reason
    if isinstance(cell, tuple) and kind == "fraction_interval":
        return f"{cell[0]:.4f}–{cell[1]:.4f}"
    if isinstance(cell, tuple):
        low, high = (cell_text(end, "points" if kind == "points_interval" else "percent") for end in cell)
        return f"{low} to {high}" if kind == "points_interval" else f"{low}–{high}"
    if isinstance(cell, str):
        return cell
    if kind == "percent":
        return f"{100.0 * cell:.1f}"
    if kind == "percent_fine":
        return f"{100.0 * cell:.2f}"
    if kind == "points":
        # Rounding first keeps a minus away from zero.
        points = round(100.0 * cell, 1) + 0.0
        return f"{points:+.1f}".replace("-", "−") if points else "0.0"
    if kind == "fraction":
        return f"{cell:.4f}"
    if kind == "p_value":
        return "< 0.001" if cell < 0.001 else f"{cell:.3f}"
    if kind == "count":
        return f"{cell:d}" if isinstance(cell, int) else f"{cell:g}"
    raise AssertionError(f"a number in a {kind} column: {cell!r}")


def to_csv(table: Table) -> str:
    """Fractions of one; an interval takes two columns, and an empty cell holds its reason."""

    def values(column: Column, cell: Cell) -> list[str]:
        if isinstance(cell, Missing):
            return [cell.reason] * len(column.csv_keys)
        return [each if isinstance(each, str) else repr(each) for each in (cell if isinstance(cell, tuple) else [cell])]

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([key for column in table.columns for key in column.csv_keys])
    for row in table.rows:
        writer.writerow([v for pair in zip(table.columns, row, strict=True) for v in values(*pair)])
    return buffer.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table under its title, with its note."""
    lines = [f"### {_markdown(table.title)}", ""]
    lines.append("| " + " | ".join(_markdown(column.title) for column in table.columns) + " |")
    lines.append("|" + "|".join(" --- " if column.kind == "text" else " ---: " for column in table.columns) + "|")
    for row in table.rows:
        cells = (cell_text(cell, column.kind) for column, cell in zip(table.columns, row, strict=True))
        lines.append("| " + " | ".join(_markdown(text) for text in cells) + " |")
    return "\n".join([*lines, "", _markdown(table.note), ""])


def to_latex(table: Table) -> str:
    """A `table` float; asks for the packages booktabs and textcomp."""
    alignment = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    lines = [
        r"% \usepackage{booktabs} and, before LaTeX 2020, \usepackage{textcomp}",
        r"\begin{table}[t]",
        r"  \centering",
        rf"  \caption{{{latex(table.title)}. {latex(table.note)}}}",
        rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', table.name)}}}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        "    " + " & ".join(latex(column.title) for column in table.columns) + r" \\",
        r"    \midrule",
    ]
    for row in table.rows:
        cells = []
        for column, cell in zip(table.columns, row, strict=True):
            text = latex(cell_text(cell, column.kind))
            cells.append(rf"\emph{{{text}}}" if isinstance(cell, Missing) else text)
        lines.append("    " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def latex(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_LATEX.get(character, character) for character in text)


def _markdown(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(text.split()))
