"""Bosphorus landmark files: `.lm2` (pixels of the image) and `.lm3` (points of the scan), read by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from smilevlm.errors import LandmarkError
from smilevlm.readers._label_text import coordinates, landmark_lines
from smilevlm.readers._source import TextSink

BOSPHORUS_LABELS: tuple[str, ...] = (
    "Outer left eyebrow", "Middle left eyebrow", "Inner left eyebrow",
    "Inner right eyebrow", "Middle right eyebrow", "Outer right eyebrow",
    "Outer left eye corner", "Inner left eye corner", "Inner right eye corner", "Outer right eye corner",
    "Nose saddle left", "Nose saddle right", "Left nose peak", "Nose tip", "Right nose peak",
    "Left mouth corner", "Upper lip outer middle", "Right mouth corner",
    "Upper lip inner middle", "Lower lip inner middle", "Lower lip outer middle", "Chin middle",
    "Ear lobe left", "Ear lobe right",
)  # fmt: skip
"""The 24 landmarks in the data set's order; a file leaves out those that could not be seen."""

_CANONICAL = {label.lower(): label for label in BOSPHORUS_LABELS}
_LEADING_COUNT = re.compile(r"\d{1,9}(?!\S)")
_PIXELS_TITLE = "2D Image coordinates:"
_Line = tuple[int, str]


def read_lm2(path: str | os.PathLike[str]) -> dict[str, Float32[np.ndarray, " 2"]]:
    """Read a `.lm2` file: column and row of each landmark in the scan's image, by name."""
    path = Path(path)
    lines = _body(path)
    count = _count(path, lines)
    _expect_title(path, next(lines, None), "Labels:")
    labels = [_label(path, _required(path, lines, f"label {row} of {count}")) for row in range(1, count + 1)]
    _expect_title(path, next(lines, None), _PIXELS_TITLE)
    points: dict[str, Float32[np.ndarray, " 2"]] = {}
    for label in labels:
        number, text = _required(path, lines, f"the position of {label!r}")
        if label in points:
            raise LandmarkError(f"a second position of {label!r}", path=path, line=number)
        points[label] = np.array(coordinates(path, number, text.split(), "x y"), np.float32)
    _expect_end(path, lines, count)
    return points


def read_lm3(path: str | os.PathLike[str]) -> dict[str, Float32[np.ndarray, " 3"]]:
    """Read a `.lm3` file: each landmark on the scan, by name, in the unit and frame of the `.bnt`."""
    path = Path(path)
    lines = _body(path)
    count = _count(path, lines)
    points: dict[str, Float32[np.ndarray, " 3"]] = {}
    for row in range(1, count + 1):
        line = _required(path, lines, f"landmark {row} of {count}")
        label = _label(path, line)
        number, text = _required(path, lines, f"the position of {label!r}")
        if label in points:
            raise LandmarkError(f"a second position of {label!r}", path=path, line=number)
        points[label] = np.array(coordinates(path, number, text.split(), "x y z"), np.float32)
    _expect_end(path, lines, count)
    return points


def _body(path: Path) -> Iterator[_Line]:
    """Numbered lines with something in them, after the comment and the block of remarks that a `*` begins."""
    lines = [(number, line.strip()) for number, line in enumerate(landmark_lines(path), 1)][1:]
    if lines and lines[0][1].startswith("*"):
        first_empty = next((row for row, (_, text) in enumerate(lines) if not text), len(lines))
        lines = lines[first_empty:]
    return iter([line for line in lines if line[1]])


def _required(path: Path, lines: Iterator[_Line], what: str) -> _Line:
    line = next(lines, None)
    if line is None:
        raise LandmarkError(f"the file ends before {what}", path=path)
    return line


def _count(path: Path, lines: Iterator[_Line]) -> int:
    number, text = _required(path, lines, "the number of landmarks")
    match = _LEADING_COUNT.match(text)
    if match is None:
        raise LandmarkError(f"expected 'N landmarks', found {text[:24]!r}", path=path, line=number)
    return int(match.group())


def _label(path: Path, line: _Line) -> str:
    number, text = line
    if text.endswith(":") or not any(character.isalpha() for character in text):
        raise LandmarkError(f"expected a landmark's name, found {text[:24]!r}", path=path, line=number)
    return _CANONICAL.get(" ".join(text.lower().split()), text)


def _expect_title(path: Path, line: _Line | None, title: str) -> None:
    if line is None:
        raise LandmarkError(f"the file ends before {title!r}", path=path)
    if line[1].lower() != title.lower():
        raise LandmarkError(f"expected {title!r}, found {line[1][:24]!r}", path=path, line=line[0])


def _expect_end(path: Path, lines: Iterator[_Line], count: int) -> None:
    for number, text in lines:
        raise LandmarkError(f"{text[:24]!r} after the {count} landmarks announced", path=path, line=number)


def write_lm2(
    file: TextSink,
    points: Mapping[str, Float[np.ndarray, " 2"]],
    *,
    comment: str = "# smilevlm",
    line_end: str = "\n",
) -> None:
    r"""Write a `.lm2` file: column and row in the image, by name.

    The file is opened with `newline=""`; many of the data set end lines with `\r\n`. `comment` is the first line.
    """
    rows = [f"{x:.6f} {y:.6f}" for x, y in (point.tolist() for point in points.values())]
    lines = [comment, "", f"{len(points)} landmarks", "", "Labels:", *points, "", _PIXELS_TITLE, *rows]
    file.write(line_end.join([*lines, ""]))


def write_lm3(
    file: TextSink,
    points: Mapping[str, Float[np.ndarray, " 3"]],
    *,
    comment: str = "# smilevlm",
    remarks: Sequence[str] = (),
    line_end: str = "\n",
) -> None:
    """Write a `.lm3` file: positions in the frame of the `.bnt`, by name.

    Opened and ended as for `write_lm2`. `remarks` are the lines of the block that some files have before the count.
    """
    lines = [comment, *(f"* {remark}" for remark in remarks), "", f"{len(points)} landmarks"]
    for name, point in points.items():
        x, y, z = point.tolist()
        lines += [name, f"{x:.6f} {y:.6f} {z:.6f}"]
    file.write(line_end.join([*lines, ""]))
