"""Argument types and options that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

_Number = TypeVar("_Number", int, float)

LAYOUT_NAMES = ("bu3dfe", "bu4dfe", "bosphorus", "bp4d", "4dme", "folder")
"""Those of `smilevlm.datasets.LAYOUTS`, whose import would cost every `--help` a second."""


class Command(Protocol):
    """What a module has that is a command, or a command of a command."""

    @property
    def HELP(self) -> str: ...
    @property
    def DESCRIPTION(self) -> str: ...
    @property
    def EXAMPLE(self) -> str: ...
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, arguments: argparse.Namespace) -> None: ...


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to speak of."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []) or action.nargs == 0 or action.default == argparse.SUPPRESS:
            return action.help
        return super()._get_help_string(action)


def add_commands(
    parser: argparse.ArgumentParser,
    commands: Mapping[str, Command],
    *,
    dest: str,
    prefix: str = "",
) -> None:
    """Add one parser per command. What is parsed has the command under `dest`, and its whole name under `called`."""
    parsers = parser.add_subparsers(dest=dest, metavar="COMMAND", required=True)
    for name, module in commands.items():
        command = parsers.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=f"Example: {module.EXAMPLE}",
            formatter_class=HelpFormatter,
        )
        # Before its arguments, so that a command of a command can say its longer name.
        command.set_defaults(called=prefix + name)
        module.add_arguments(command)


def word_list(text: str) -> tuple[str, ...]:
    """Words separated by commas, each of them once."""
    words = tuple(part.strip() for part in text.split(","))
    if not all(words) or len(set(words)) != len(words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of different words like pain,calm")
    return words


def number_list(text: str) -> tuple[float, ...]:
    """Numbers separated by commas."""
    return _parsed_list(text, float, "numbers like -30,0,30")


def integer_list(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas."""
    return _parsed_list(text, int, "whole numbers like 3,4")


def _parsed_list(text: str, parse: Callable[[str], _Number], expected: str) -> tuple[_Number, ...]:
    try:
        return tuple(parse(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {expected}") from None


def positive_int(text: str) -> int:
    """An integer of at least one."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def not_negative(text: str) -> float:
    """A finite number from zero up."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 up")
    return number


def add_data_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layout", choices=LAYOUT_NAMES, help="how the data set is stored")
    parser.add_argument("root", type=Path, help="the data set's folder")


def add_run_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder that `smilevlm train` wrote")


def add_store(parser: argparse.ArgumentParser, what: str = "folder that `smilevlm prepare` wrote") -> None:
    parser.add_argument("--store", type=Path, required=True, help=what)


def add_accelerator(parser: argparse.ArgumentParser) -> None:
    devices = ("auto", "cpu", "gpu")
    parser.add_argument("--accelerator", choices=devices, default="auto", help="auto takes a GPU where there is one")


def add_overrides(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help=what)


def add_jobs(parser: argparse.ArgumentParser, what: str) -> None:
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=positive_int, default=jobs, help=f"{what} worked on at the same time")


def add_numbered_as(parser: argparse.ArgumentParser, *, prefix: str = "") -> None:
    """`--scans` and `--sequence`, which say what numbered files are.

    Args:
        parser: Gets them.
        prefix: What they are for, such as `layout folder: `.
    """
    either = parser.add_mutually_exclusive_group()
    for value, what in (
        ("scans", "numbered files are single scans, a row each"),
        ("sequence", "the numbered files of a folder are the frames of one sequence, however few"),
    ):
        either.add_argument(
            f"--{value}", dest="numbered_as", action="store_const", const=value, default="auto", help=prefix + what
        )


def add_text_tower(parser: argparse.ArgumentParser) -> None:
    what = "counts the tokens and compares the prompts: minilm, or a CLIP"
    parser.add_argument("--text-tower", default="minilm", metavar="minilm|FOLDER|HUB-ID", help=what)
