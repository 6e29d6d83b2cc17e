"""`smilevlm prompts check`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_text_tower, word_list
from smilevlm.errors import PromptError, SettingsError

if TYPE_CHECKING:
    from smilevlm.prompts import PhraseReport, PromptReport

_PHRASES = "action_phrases"
HELP = "find missing classes, duplicates, prompts that are too long or in the wrong class"
DESCRIPTION = (
    "Look for missing classes, duplicates, prompts past the text tower's token limit, and prompts nearer to another "
    "class than to the other prompts of their own. Ends with 1 if there is a fault; remarks are for you to judge. "
    f"`{_PHRASES}` instead of a set: phrases of captions and held-out statements that are nearer to another action "
    "than to their own, and opposites that the tower hardly separates."
)
EXAMPLE = "smilevlm prompts check my_prompts.yaml --protocol bp4d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt_set", metavar="NAME|FILE", help=f"name of a set, a YAML file, or {_PHRASES}")
    needed = parser.add_mutually_exclusive_group()
    classes_help = "classes that are needed; only their prompts are compared"
    needed.add_argument("--classes", type=word_list, metavar="A,B", help=classes_help)
    needed.add_argument("--protocol", metavar="NAME", help="the same, the classes being those of a protocol")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    add_text_tower(parser)


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.tables import counted
    from smilevlm.prompts import check_prompts, find_prompt_file, load_text_tower, read_prompt_source

    if arguments.prompt_set == _PHRASES:
        _check_phrases(arguments)
        return
    classes = arguments.classes if arguments.protocol is None else _classes_of(arguments.protocol)
    source = read_prompt_source(find_prompt_file(arguments.prompt_set))
    report = check_prompts(source, load_text_tower(arguments.text_tower), classes=classes)
    if arguments.json:
        print(json.dumps(_as_json(report) | {"text_tower": arguments.text_tower}, indent=1))
    else:
        print_report(report)
    if report.faults:
        raise PromptError(counted(len(report.faults), "fault"), path=report.path)


def _check_phrases(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.tables import counted
    from smilevlm.prompts import check_phrases, language_statements, load_text_tower, phrase_bank

    if arguments.classes is not None or arguments.protocol is not None:
        raise SettingsError(f"{_PHRASES} has no classes; leave out --classes and --protocol")
    report = check_phrases(phrase_bank(), language_statements(), load_text_tower(arguments.text_tower))
    if arguments.json:
        print(json.dumps(asdict(report) | {"text_tower": arguments.text_tower}, indent=1))
    else:
        for finding in report.findings:
            print(f"{finding.severity}: {finding.message}")
        print_phrase_report(report)
    if report.faults:
        raise PromptError(f"{_PHRASES}: {counted(len(report.faults), 'fault')}")


def print_phrase_report(report: PhraseReport) -> None:
    """How many texts of how many were found."""
    from smilevlm.cli.tables import print_table

    near, apart = "nearer_to_another", f"opposites with a cosine of {report.bound:g} or more"
    rows = [
        ("phrases nearer to another action", report.count(near, held_out=False), report.num_phrases),
        ("held-out statements nearer to another action", report.count(near, held_out=True), report.num_statements),
        (apart, report.count("hardly_separated"), report.num_opposites),
    ]
    print_table(["remarks"], ["found", "of"], rows)
    print(f"left and right: mean cosine {report.side_cosine:.2f} over {report.num_sides} pairs of phrases")


def _classes_of(protocol_name: str) -> tuple[str, ...]:
    from smilevlm.datasets import find_protocol

    classes = find_protocol(protocol_name).classes
    if not classes:
        raise SettingsError(f"protocol {protocol_name} names no classes; give them with --classes")
    return classes


def print_report(report: PromptReport) -> None:
    """The classes, how alike they are, and everything that was found."""
    from smilevlm.cli.tables import counted, print_table

    num_prompts = counted(sum(report.num_prompts.values()), "prompt")
    longest = f"the longest of {report.most_tokens} tokens (limit {report.token_limit})"
    print(f"{report.path}: {num_prompts}, {longest}")
    similarities = report.similarities
    if similarities is None:
        print_table(["class"], ["prompts"], report.num_prompts.items())
    else:
        rows = [
            (name, number, *(f"{cosine:.2f}" for cosine in similarities[row]))
            for row, (name, number) in enumerate(report.num_prompts.items())
        ]
        columns = ["prompts", *report.classes]
        print_table(["class"], columns, rows, title="cosine between classes", title_justify="left")
    for finding in report.findings:
        print(f"{finding.severity}: {finding.path}:{finding.line}: {finding.message}")
    print(f"{counted(len(report.faults), 'fault')}, {counted(len(report.remarks), 'remark')}")


def _as_json(report: PromptReport) -> dict[str, object]:
    return {
        "path": str(report.path),
        "name": report.name,
        "is_sound": not report.faults,
        "num_prompts": dict(report.num_prompts),
        "token_limit": report.token_limit,
        "most_tokens": report.most_tokens,
        "similarities": None if report.similarities is None else report.similarities.round(4).tolist(),
        "findings": [
            {
                "severity": finding.severity,
                "kind": finding.kind,
                "path": str(finding.path),
                "line": finding.line,
                "class": finding.class_name,
                "text": finding.text,
                "message": finding.message,
            }
            for finding in report.findings
        ],
    }
