"""`smilevlm report`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "tables, figures and a page from results"
DESCRIPTION = "Write tables (CSV, Markdown, LaTeX), figures (PNG, SVG) and one self-contained HTML page."
EXAMPLE = "smilevlm report run --out report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folder or results.json")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.reporting import write_report

    paths = [path / "results.json" if path.is_dir() else path for path in arguments.runs]
    print(write_report(paths, arguments.out))
