"""Tables as CSV for programs (fractions, full precision), and as Markdown and LaTeX for people (per cent)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping

from smilevlm.reporting.tables import Cell, Column, Kind, Missing, Table

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
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([key for column in table.columns for key in _csv_keys(column)])
    for row in table.rows:
        writer.writerow([v for c, cell in zip(table.columns, row, strict=True) for v in _csv_values(c, cell)])
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


def _csv_keys(column: Column) -> list[str]:
    if column.kind in ("percent_interval", "points_interval"):
        return [f"{column.key}_low", f"{column.key}_high"]
    return [column.key]


def _csv_values(column: Column, cell: Cell) -> list[str]:
    if isinstance(cell, Missing):
        return [cell.reason] * len(_csv_keys(column))
    if isinstance(cell, tuple):
        return [repr(end) for end in cell]
    return [cell if isinstance(cell, str) else repr(cell)]
