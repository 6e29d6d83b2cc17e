"""`smilevlm check`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import LAYOUT_NAMES, add_jobs, add_numbered_as
from smilevlm.errors import SmileVlmError

if TYPE_CHECKING:
    from rich.console import Console

    from smilevlm.datasets import CheckReport, Count, Problem

HELP = "count a data set's files and find the bad ones"
DESCRIPTION = (
    "A dry run: counts what is there against what a complete copy holds, reads every mesh, texture and landmark file, "
    "looks for the face in every scan, and lists what is missing or broken, with the line or byte. Writes nothing. "
    "Ends with 1 if anything is."
)
EXAMPLE = "smilevlm check bu4dfe /data/BU-4DFE --jobs 16"
_LISTED = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layout", choices=LAYOUT_NAMES, help="how the data set is stored")
    parser.add_argument("root", type=Path, help="the data set's folder")
    parser.add_argument("--names-only", action="store_true", help="look at names and label tables, read no mesh: quick")
    parser.add_argument("--no-faces", action="store_true", help="read the files, but look for no face in them: faster")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs, with every problem")
    parser.add_argument("--subjects-table", action="store_true", help="also count each person's recordings")
    add_numbered_as(parser, prefix="layout folder: ")
    add_jobs(parser, "scans or sequences")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import counting, table_console
    from smilevlm.datasets import check_data_set, index_data_set

    index = index_data_set(arguments.layout, arguments.root, numbered_as=arguments.numbered_as)
    with counting("recordings read") as progress:
        report = check_data_set(
            index,
            read_files=not arguments.names_only,
            find_faces=not arguments.no_faces,
            jobs=arguments.jobs,
            progress=progress,
        )
    if arguments.json:
        print(json.dumps(_plain(report), indent=1))
    else:
        _print_report(table_console(), report, subjects=arguments.subjects_table)
    if not report.is_clean:
        raise SmileVlmError(
            f"{arguments.root}: {_counted(len(report.bad_files), 'bad file')} and "
            f"{_counted(len(report.problems), 'problem')} in this copy"
        )


def _plain(report: CheckReport) -> dict[str, object]:
    return {
        "layout": report.layout,
        "root": str(report.root),
        "synthetic": report.synthetic,
        "is_clean": report.is_clean,
        "expected_source": report.source,
        "subjects": _plain_count(report.subjects),
        "recordings": _plain_count(report.recordings),
        "classes": {name: _plain_count(count) for name, count in report.classes.items()},
        "per_subject": {subject: dict(counts) for subject, counts in report.per_subject.items()},
        "num_frames": report.num_frames,
        "bad_files": [{"path": bad.path, "reason": bad.reason} for bad in report.bad_files],
        "problems": [{"path": problem.path, "reason": problem.reason} for problem in report.problems],
        "remarks": list(report.remarks),
    }


def _plain_count(count: Count) -> dict[str, int | None]:
    return {"found": count.found, "expected": count.expected}


def _print_report(console: Console, report: CheckReport, *, subjects: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    kind = "synthetic faces in the layout of " if report.synthetic else ""
    console.print(escape(f"{report.root}: {kind}{report.layout}"), soft_wrap=True)
    table = Table()
    table.add_column("what")
    table.add_column("found", justify="right")
    table.add_column("expected", justify="right")
    for name, count in (("subjects", report.subjects), ("recordings", report.recordings)):
        table.add_row(name, str(count.found), _shown(count))
    table.add_section()
    for name, count in report.classes.items():
        table.add_row(escape(name), str(count.found), _shown(count))
    console.print(table)
    if report.source:
        console.print(escape(f"expected according to {report.source}"), soft_wrap=True)
    if subjects:
        console.print(_subjects_table(report))
    _print_list(console, "bad file", report.bad_files)
    _print_list(console, "problem", report.problems)
    for remark in report.remarks:
        console.print(escape(f"remark: {remark}"), soft_wrap=True)
    read = f"{report.num_frames} frames read" if report.num_frames else "names looked at, no file read"
    verdict = "nothing is missing or broken" if report.is_clean else "see above"
    console.print(escape(f"{read}; {verdict}"), soft_wrap=True)


def _shown(count: Count) -> str:
    return "" if count.expected is None else str(count.expected)


def _subjects_table(report: CheckReport) -> object:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="recordings per subject", title_justify="left")
    table.add_column("subject")
    for name in report.classes:
        table.add_column(escape(name), justify="right")
    for subject, counts in report.per_subject.items():
        table.add_row(escape(subject), *(str(counts.get(name, 0)) for name in report.classes))
    return table


def _print_list(console: Console, title: str, problems: tuple[Problem, ...]) -> None:
    from rich.markup import escape

    if not problems:
        return
    console.print(f"{_counted(len(problems), title)}:")
    for problem in problems[:_LISTED]:
        console.print(escape(f"  {problem.path}: {problem.reason}"), soft_wrap=True, highlight=False)
    if len(problems) > _LISTED:
        console.print(f"  and {len(problems) - _LISTED} more; --json shows all of them")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
