"""Landmark files: BU `.bnd` and `.pse`, BP4D+ `.bndplus`, Bosphorus `.lm2` (pixels of the image) and `.lm3`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int64

from smilevlm.errors import LandmarkError
from smilevlm.readers._label_text import coordinates, landmark_lines
from smilevlm.readers._source import TextSink

NUM_BND_LANDMARKS = 83
PSE_BND_NUMBERS = (1, 5, 9, 13, 40, 45, 84, 85)
"""Which .bnd landmark each row of a complete .pse is; 84 and 85 occur in .pse files only."""

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


@dataclass(frozen=True)
class BndLandmarks:
    """The 83 landmarks of a `.bnd` file.

    Args:
        points: Positions in the unit and frame of the scan (BU: millimetres), in the order of the file.
        indices: Column 0: in BU-4DFE the index of the mesh vertex, in BU-3DFE an index that is not used.
    """

    points: Float32[np.ndarray, "83 3"]
    indices: Int64[np.ndarray, " 83"]

    def named(self) -> dict[str, Float32[np.ndarray, " 3"]]:
        """The points as `bnd_01` to `bnd_83`, by row, as `Mesh.landmarks` takes them."""
        return {f"bnd_{row + 1:02d}": point for row, point in enumerate(self.points)}


@dataclass(frozen=True)
class PseLandmarks:
    """The landmarks of a `.pse` file.

    Args:
        points: Positions in the frame of the raw scan, in the order of the file.
        problem: Why the points have no names, or None for a complete file of eight.
    """

    points: Float32[np.ndarray, "point 3"]
    problem: str | None = None

    def named(self) -> dict[str, Float32[np.ndarray, " 3"]]:
        """The points by the number of the same `.bnd` landmark; empty when there is a `problem`."""
        if self.problem is not None:
            return {}
        return {f"bnd_{number:02d}": point for number, point in zip(PSE_BND_NUMBERS, self.points, strict=True)}


def read_bnd(path: str | os.PathLike[str]) -> BndLandmarks:
    """Read a `.bnd` (BU-4DFE also `.landmark`) file of 83 rows `index x y z`; empty rows are passed over."""
    path = Path(path)
    rows = [(number, fields) for number, fields in _rows(path) if fields]
    parsed = [_parse(path, number, fields) for number, fields in rows]
    if len(parsed) != NUM_BND_LANDMARKS:
        raise LandmarkError(f"{len(parsed)} landmarks, expected {NUM_BND_LANDMARKS}", path=path)
    points = np.array([point for _, point in parsed], np.float32)
    return BndLandmarks(points=points, indices=np.array([index for index, _ in parsed], np.int64))


def read_pse(path: str | os.PathLike[str]) -> PseLandmarks:
    """Read a `.pse` file; rows that begin with `n` are the pose's normal and are left out.

    Files with another count than eight exist: their points come back without names, and `problem` says so.
    """
    path = Path(path)
    parsed = [
        _parse(path, number, fields)[1]
        for number, fields in _rows(path)
        if fields and not fields[0].lower().startswith("n")
    ]
    problem = None
    if len(parsed) != len(PSE_BND_NUMBERS):
        problem = f"{path}: {len(parsed)} landmarks, expected {len(PSE_BND_NUMBERS)}; they have no names"
    return PseLandmarks(points=np.array(parsed, np.float32).reshape(-1, 3), problem=problem)


def read_bndplus(path: str | os.PathLike[str]) -> dict[str, Float32[np.ndarray, " 3"]]:
    """Read a `.bndplus` file of any number of points, as `bndplus_01`, `bndplus_02`, ... in the order of the file."""
    path = Path(path)
    points = [
        coordinates(path, number, [field.strip() for field in line.split(",")], "x y z")
        for number, line in enumerate(landmark_lines(path), 1)
        if line.strip()
    ]
    if not points:
        raise LandmarkError("no landmarks, expected lines 'x,y,z'", path=path)
    return {f"bndplus_{row:02d}": np.array(point, np.float32) for row, point in enumerate(points, 1)}


def read_landmarks(path: str | os.PathLike[str]) -> dict[str, Float32[np.ndarray, " 3"]]:
    """Landmarks of a scan by name, whatever the data set's format, chosen by the suffix."""
    path = Path(path)
    reader = _LANDMARK_READERS.get(path.suffix.lower())
    if reader is None:
        known = " ".join(_LANDMARK_READERS)
        raise LandmarkError(f"unknown suffix {path.suffix!r}, expected one of {known}", path=path)
    return reader(path)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    return [(number, line.split()) for number, line in enumerate(landmark_lines(path), 1)]


def _parse(path: Path, number: int, fields: list[str]) -> tuple[int, list[float]]:
    index, *point = coordinates(path, number, fields, "index x y z")
    if index != math.floor(index) or abs(index) >= 2**31:
        raise LandmarkError(f"column 0 is {fields[0]!r}, expected a whole index", path=path, line=number)
    return int(index), point


def write_bnd(
    file: TextSink, points: Float32[np.ndarray, "point 3"], indices: Int64[np.ndarray, " index"] | None = None
) -> None:
    """Write a `.bnd` file of 83 points; column 0 holds the landmark numbers from 1 where no indices are given."""
    numbers = np.arange(1, len(points) + 1) if indices is None else indices
    if len(points) != NUM_BND_LANDMARKS or len(numbers) != len(points):
        raise LandmarkError(f"{len(points)} points and {len(numbers)} indices, expected {NUM_BND_LANDMARKS} of each")
    _write_rows(file, numbers, points)


def write_pse(
    file: TextSink, points: Float32[np.ndarray, "point 3"], *, normal: Float32[np.ndarray, " 3"] | None = None
) -> None:
    """Write a `.pse` file: the landmarks of `PSE_BND_NUMBERS` in that order, then the pose's normal if given.

    Incomplete files exist in the data set, so any number is written.
    """
    _write_rows(file, np.arange(1, len(points) + 1), points)
    if normal is not None:
        x, y, z = normal.tolist()
        file.write(f"n {x:g} {y:g} {z:g}\n")


def _write_rows(file: TextSink, indices: np.ndarray, points: np.ndarray) -> None:
    for index, (x, y, z) in zip(indices.tolist(), points.tolist(), strict=True):
        file.write(f"{index:d} {x:g} {y:g} {z:g}\n")


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
        _add_position(path, lines, points, label, "x y")
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
        _add_position(path, lines, points, label, "x y z")
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


def _add_position(path: Path, lines: Iterator[_Line], points: dict[str, np.ndarray], label: str, axes: str) -> None:
    number, text = _required(path, lines, f"the position of {label!r}")
    if label in points:
        raise LandmarkError(f"a second position of {label!r}", path=path, line=number)
    points[label] = np.array(coordinates(path, number, text.split(), axes), np.float32)


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
    file: TextSink, points: Mapping[str, Float[np.ndarray, " 2"]], *, comment: str = "# smilevlm", line_end: str = "\n"
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


_LANDMARK_READERS: dict[str, Callable[[Path], dict[str, Float32[np.ndarray, " 3"]]]] = {
    ".bnd": lambda path: read_bnd(path).named(),
    ".landmark": lambda path: read_bnd(path).named(),
    ".pse": lambda path: read_pse(path).named(),
    ".lm3": read_lm3,
    ".bndplus": read_bndplus,
}
