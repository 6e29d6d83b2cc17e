"""Argument types and options that several commands share."""

from __future__ import annotations

import argparse
import os

LAYOUT_NAMES = ("bu3dfe", "bu4dfe", "bosphorus", "bp4d", "4dme", "folder")
"""Those of `smilevlm.datasets.LAYOUTS`, whose import would cost every `--help` a second."""


def positive_int(text: str) -> int:
    """An integer of at least one."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


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
