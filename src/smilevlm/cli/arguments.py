"""Argument types and options that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Protocol

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
    """A finite number from zero up.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 up")
    return number


def number_list(text: str) -> tuple[float, ...]:
    """Numbers separated by commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like -30,0,30") from None


def integer_list(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers like 3,4") from None


def add_jobs(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--jobs", type=positive_int, default=os.cpu_count() or 1, help=f"{what} worked on at the same time"
    )


def add_numbered_as(parser: argparse.ArgumentParser, *, prefix: str = "") -> None:
    """`--scans` and `--sequence`, which say what numbered files are.

    Args:
        parser: Gets them.
        prefix: What they are for, such as `layout folder: `.
    """
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--scans",
        dest="numbered_as",
        action="store_const",
        const="scans",
        default="auto",
        help=f"{prefix}numbered files are single scans, a row each",
    )
    either.add_argument(
        "--sequence",
        dest="numbered_as",
        action="store_const",
        const="sequence",
        default="auto",
        help=f"{prefix}the numbered files of a folder are the frames of one sequence, however few",
    )


def add_text_tower(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text-tower",
        default="minilm",
        metavar="minilm|FOLDER|HUB-ID",
        help="counts the tokens and compares the prompts: minilm, or a CLIP",
    )
