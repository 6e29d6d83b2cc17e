"""What a report leaves on disk, and what the templates of its pages share."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from smilevlm.files import write_atomically
from smilevlm.reporting.figure_theme import FigureImage, NoFigure
from smilevlm.reporting.published import PUBLISHED_DATA
from smilevlm.reporting.table import Missing, Table, angle_text, cell_text, to_csv, to_latex, to_markdown


def report_files(tables: Sequence[Table], figures: Sequence[FigureImage | NoFigure], page: str) -> dict[str, bytes]:
    """`tables/*.{csv,md,tex}`, `figures/*.{svg,png}` and `index.html`, by name."""
    files: dict[str, bytes] = {}

    def add(name: str, data: bytes) -> None:
        assert name not in files, f"two tables or figures are called {name}"
        files[name] = data

    for table in tables:
        for ending, write in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
            add(f"tables/{table.name}.{ending}", write(table).encode("utf-8"))
    for figure in figures:
        if isinstance(figure, FigureImage):
            add(f"figures/{figure.name}.svg", figure.svg_light)
            add(f"figures/{figure.name}.png", figure.png)
    # The page last: whoever sees it finds the files it speaks of.
    add("index.html", page.encode("utf-8"))
    return files


def write_files(out: Path, files: Mapping[str, bytes]) -> None:
    """Write each file in one step, in the order given; other files of the folder are left alone."""
    for name, data in files.items():
        write_atomically(out / name, data)


def page_environment() -> Environment:
    """Templates with everything escaped, and a name that is not given an error."""
    environment = Environment(
        loader=PackageLoader("smilevlm.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell_text": cell_text,
        "angle": angle_text,
        "percent": lambda share: f"{100.0 * share:.1f}",
        "data_uri": lambda data, kind: f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}",
    }
    environment.tests |= {
        "missing": lambda cell: isinstance(cell, Missing),
        "drawn": lambda figure: isinstance(figure, FigureImage),
        "published": lambda row: PUBLISHED_DATA in row,
    }
    return environment
