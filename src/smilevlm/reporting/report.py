"""From result files to a folder with tables, figures and one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smilevlm.reporting.output import report_files, write_files
from smilevlm.reporting.page import Section, render_page
from smilevlm.reporting.run_figures import run_figures
from smilevlm.reporting.run_tables import (
    classes_table,
    folds_table,
    methods_table,
    overview_table,
    readouts_table,
    settings_table,
)
from smilevlm.reporting.source import load_runs


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
            tables=[methods_table(run), readouts_table(run), folds_table(run), classes_table(run)],
            figures=run_figures(run),
            settings=settings_table(run),
        )
        for run in runs
    ]
    page = render_page(sections, overview)

    tables = [overview, *(table for each in sections for table in (*each.tables, each.settings))]
    figures = [figure for each in sections for figure in each.figures]
    write_files(out, report_files(tables, figures, page))
    return out / "index.html"
