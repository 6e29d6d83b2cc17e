"""From result files to a folder with tables, figures and one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from smilevlm.reporting.drawing import FigureImage
from smilevlm.reporting.figures import run_figures
from smilevlm.reporting.page import Section, render_page
from smilevlm.reporting.source import load_runs
from smilevlm.reporting.table_files import to_csv, to_latex, to_markdown
from smilevlm.reporting.tables import classes_table, folds_table, methods_table, overview_table, settings_table


def write_report(result_paths: Sequence[Path], out: Path) -> Path:
    """Write `index.html`, `tables/*.{csv,md,tex}` and `figures/*.{png,svg}`; the same input gives the same bytes.

    Args:
        result_paths: `results.json` files, in the order of the page.
        out: Made when missing. Files of the same names are replaced, others are left alone.

    Returns:
        The page.

    Raises:
        ResultError: A result file, or a log or image that it names, is missing or malformed. Nothing is written.
    """
    runs = load_runs(result_paths)
    overview = overview_table(runs)
    sections = [
        Section(
            run=run,
            tables=[methods_table(run), folds_table(run), classes_table(run)],
            figures=run_figures(run),
            settings=settings_table(run),
        )
        for run in runs
    ]
    page = render_page(sections, overview)

    files: dict[str, bytes] = {}
    for table in (overview, *(table for s in sections for table in (*s.tables, s.settings))):
        for ending, write in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
            files[f"tables/{table.name}.{ending}"] = write(table).encode("utf-8")
    for figure in (figure for section in sections for figure in section.figures):
        if isinstance(figure, FigureImage):
            files[f"figures/{figure.name}.svg"] = figure.svg_light
            files[f"figures/{figure.name}.png"] = figure.png
    # The page last: whoever sees it finds the files it speaks of.
    files["index.html"] = page.encode("utf-8")
    _write_files(out, files)
    return out / "index.html"


def _write_files(out: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
