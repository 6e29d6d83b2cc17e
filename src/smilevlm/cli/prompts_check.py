"""`smilevlm prompts check`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_text_tower, word_list
from smilevlm.errors import PromptError, SettingsError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from smilevlm.prompts import Finding, PromptReport

HELP = "find missing classes, duplicates, prompts that are too long or in the wrong class"
DESCRIPTION = (
    "Look for missing classes, duplicates, prompts past the text tower's token limit, and prompts nearer to another "
    "class than to the other prompts of their own. Ends with 1 if there is a fault; remarks are for you to judge."
)
EXAMPLE = "smilevlm prompts check my_prompts.yaml --protocol bp4d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt_set", metavar="NAME|FILE", help="name of a set, or a YAML file")
    needed = parser.add_mutually_exclusive_group()
    needed.add_argument(
        "--classes", type=word_list, metavar="A,B", help="classes that are needed; only their prompts are compared"
    )
    needed.add_argument("--protocol", metavar="NAME", help="the same, the classes being those of a protocol")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    add_text_tower(parser)


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import table_console
    from smilevlm.prompts import check_prompts, find_prompt_file, load_text_tower, read_prompt_source

    classes = arguments.classes if arguments.protocol is None else _classes_of(arguments.protocol)
    source = read_prompt_source(find_prompt_file(arguments.prompt_set))
    report = check_prompts(source, load_text_tower(arguments.text_tower), classes=classes)
    if arguments.json:
        print(json.dumps(_plain(report) | {"text_tower": arguments.text_tower}, indent=1))
    else:
        print_report(table_console(), report)
    if report.faults:
        raise PromptError(counted(len(report.faults), "fault"), path=report.path)


def _classes_of(protocol_name: str) -> tuple[str, ...]:
    from smilevlm.datasets import find_protocol

    classes = find_protocol(protocol_name).classes
    if not classes:
        raise SettingsError(f"protocol {protocol_name} names no classes; give them with --classes")
    return classes


def counted(number: int, word: str) -> str:
    """A number and what it counts."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def print_report(console: Console, report: PromptReport) -> None:
    """The classes, how alike they are, and everything that was found."""
    from rich.markup import escape

    num_prompts = sum(report.num_prompts.values())
    said = f"{report.path}: {counted(num_prompts, 'prompt')}, the longest of {report.most_tokens} tokens "
    console.print(escape(said + f"(limit {report.token_limit})"), soft_wrap=True, highlight=False)
    console.print(_class_table(report))
    for finding in report.findings:
        line = f"{finding.severity}: {finding.path}:{finding.line}: {finding.message}"
        console.print(escape(line), soft_wrap=True, highlight=False)
    verdict = f"{counted(len(report.faults), 'fault')}, {counted(len(report.remarks), 'remark')}"
    console.print(verdict, soft_wrap=True, highlight=False)


def _class_table(report: PromptReport) -> Table:
    from rich.markup import escape
    from rich.table import Table

    compared = report.similarities is not None
    table = Table(title="cosine between classes" if compared else None, title_justify="left")
    table.add_column("class")
    table.add_column("prompts", justify="right")
    for name in report.classes if compared else ():
        table.add_column(escape(name), justify="right")
    for row, (name, number) in enumerate(report.num_prompts.items()):
        cosines = [] if report.similarities is None else [f"{value:.2f}" for value in report.similarities[row]]
        table.add_row(escape(name), str(number), *cosines)
    return table


def _plain(report: PromptReport) -> dict[str, object]:
    return {
        "path": str(report.path),
        "name": report.name,
        "is_sound": not report.faults,
        "num_prompts": dict(report.num_prompts),
        "token_limit": report.token_limit,
        "most_tokens": report.most_tokens,
        "similarities": None if report.similarities is None else report.similarities.round(4).tolist(),
        "findings": [_plain_finding(finding) for finding in report.findings],
    }


def _plain_finding(finding: Finding) -> dict[str, object]:
    return {
        "severity": finding.severity,
        "kind": finding.kind,
        "path": str(finding.path),
        "line": finding.line,
        "class": finding.class_name,
        "text": finding.text,
        "message": finding.message,
    }
