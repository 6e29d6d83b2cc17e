"""`smilevlm check`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_data_set, add_jobs, add_numbered_as
from smilevlm.errors import SmileVlmError

if TYPE_CHECKING:
    from smilevlm.datasets import CheckReport, Problem

HELP = "count a data set's files and find the bad ones"
DESCRIPTION = (
    "A dry run: counts what is there against what a complete copy holds, reads every mesh, texture and landmark file, "
    "looks for the face in every scan, and lists what is missing or broken, with the line or byte. Writes nothing. "
    "Ends with 1 if anything is."
)
EXAMPLE = "smilevlm check bu4dfe /data/BU-4DFE --jobs 16"
_LISTED = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_data_set(parser)
    add("--names-only", action="store_true", help="look at names and label tables, read no mesh: quick")
    add("--no-faces", action="store_true", help="read the files, but look for no face in them: faster")
    add("--json", action="store_true", help="one JSON object for programs, with every problem")
    add("--subjects-table", action="store_true", help="also count each person's recordings")
    add_numbered_as(parser, prefix="layout folder: ")
    add_jobs(parser, "scans or sequences")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.cli.tables import counted
    from smilevlm.datasets import check_data_set, index_data_set

    index = index_data_set(arguments.layout, arguments.root, numbered_as=arguments.numbered_as)
    with progress_bar("recordings read") as progress:
        report = check_data_set(
            index,
            read_files=not arguments.names_only,
            find_faces=not arguments.no_faces,
            jobs=arguments.jobs,
            progress=progress,
        )
    if arguments.json:
        print(json.dumps(_as_json(report), indent=1))
    else:
        _print_report(report, show_subjects=arguments.subjects_table)
    if not report.is_clean:
        raise SmileVlmError(
            f"{arguments.root}: {counted(len(report.bad_files), 'bad file')} and "
            f"{counted(len(report.problems), 'problem')} in this copy"
        )


def _as_json(report: CheckReport) -> dict[str, object]:
    return {
        "layout": report.layout,
        "root": str(report.root),
        "synthetic": report.synthetic,
        "is_clean": report.is_clean,
        "expected_source": report.source,
        "subjects": asdict(report.subjects),
        "recordings": asdict(report.recordings),
        "classes": {name: asdict(count) for name, count in report.classes.items()},
        "per_subject": {subject: dict(counts) for subject, counts in report.per_subject.items()},
        "num_frames": report.num_frames,
        "bad_files": [{"path": bad.path, "reason": bad.reason} for bad in report.bad_files],
        "problems": [{"path": problem.path, "reason": problem.reason} for problem in report.problems],
        "remarks": list(report.remarks),
    }


def _print_report(report: CheckReport, *, show_subjects: bool) -> None:
    from smilevlm.cli.tables import print_table

    print(f"{report.root}: {'synthetic faces in the layout of ' if report.synthetic else ''}{report.layout}")
    counts = [("subjects", report.subjects), ("recordings", report.recordings), *report.classes.items()]
    rows = [(name, count.found, "" if count.expected is None else count.expected) for name, count in counts]
    print_table(["what"], ["found", "expected"], [*rows[:2], None, *rows[2:]])
    if report.source:
        print(f"expected according to {report.source}")
    if show_subjects:
        by_subject = [
            (subject, *(counts.get(name, 0) for name in report.classes))
            for subject, counts in report.per_subject.items()
        ]
        print_table(["subject"], list(report.classes), by_subject, title="recordings per subject", title_justify="left")
    _print_list("bad file", report.bad_files)
    _print_list("problem", report.problems)
    for remark in report.remarks:
        print(f"remark: {remark}")
    read = f"{report.num_frames} frames read" if report.num_frames else "names looked at, no file read"
    print(f"{read}; {'nothing is missing or broken' if report.is_clean else 'see above'}")


def _print_list(title: str, problems: Sequence[Problem]) -> None:
    from smilevlm.cli.tables import counted

    if not problems:
        return
    print(f"{counted(len(problems), title)}:")
    for problem in problems[:_LISTED]:
        print(f"  {problem.path}: {problem.reason}")
    if len(problems) > _LISTED:
        print(f"  and {len(problems) - _LISTED} more; --json shows all of them")
