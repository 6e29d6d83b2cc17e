"""Whether a text or a table holds points, or is a list of labels, measurements or notes."""

from __future__ import annotations

import re
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.readers.archives import read_file, split_archive
from smilevlm.readers.numpy_arrays import holds_points
from smilevlm.readers.suffixes import COMPRESSION_SUFFIXES

_HEAD_BYTES = 2**16
_MOST_LINES = 32
"""So many lines decide: headers and comments are shorter."""
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eEdD][+-]?\d+)?|[+-]?(nan|inf|infinity)|-?1\.#\w+", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_AXIS_NAMES = tuple(
    re.compile(rf"(.*[^a-z])?(p|pos|v|vert|coord|point|points)?[_: .]?({axis}|{number})([^a-z].*)?")
    for axis, number in (("x", 0), ("y", 1), ("z", 2))
)
"""`x`, `X [mm]`, `pos_x`, `px`, `Points:0`."""


def holds_coordinates(path: Path) -> bool:
    """Whether the head of a table or text has three columns of coordinates.

    A line of column names must name x, y and z; without one, the first line and most of the next must hold three or
    more numbers. What cannot be read, is binary or is compressed counts as coordinates: its reader says what is wrong.

    Args:
        path: A file of a suffix in `POINT_SUFFIXES`.
    """
    if path.suffix.lower() in COMPRESSION_SUFFIXES:
        return True
    try:
        if path.suffix.lower() in (".npy", ".npz"):
            return holds_points(read_file(path), path)
        head = _head(path)
    except (MeshError, OSError):
        return True
    text = _decoded(head)
    if text is None:
        return True
    whole = text.splitlines()
    if len(head) == _HEAD_BYTES:
        del whole[-1]  # it may have been cut
    return _has_points([line for each in whole if (line := _without_comment(each))][:_MOST_LINES])


def _head(path: Path) -> bytes:
    if split_archive(path) is not None:
        return read_file(path)[:_HEAD_BYTES]
    if not path.is_file():
        raise MeshError("not a regular file", path=path)
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _decoded(head: bytes) -> str | None:
    """The text; None for binary data."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) // 2 * 2].decode("utf-16", "replace")
    if b"\0" in head:
        return None
    return head.decode("utf-8-sig", "replace")


def _without_comment(line: str) -> str:
    return line.partition("#")[0].partition("//")[0].strip()


def _has_points(lines: list[str]) -> bool:
    if lines and not _numbers(lines[0]):
        names = [name.strip(" \"'").lower() for name in re.split(r"[,;\t]|\s+", lines[0])]
        if not all(any(pattern.fullmatch(name) for name in names) for pattern in _AXIS_NAMES):
            return False
        del lines[0]
    if len(lines) > 1 and _numbers(lines[0]) == 1:  # the number of points
        del lines[0]
    # A line that is broken makes a broken point cloud, not a table of something else.
    points = [_numbers(line) >= 3 for line in lines]
    return bool(points) and points[0] and 2 * sum(points) >= len(points)


def _numbers(line: str) -> int:
    """How many numbers a line consists of; 0 when anything else stands in it."""
    parts = [part.strip(" \"'") for part in re.split(r"[;\t]|\s+", line) if part.strip(" \"',")]
    if not all(_DECIMAL_COMMA.fullmatch(part) or "," not in part for part in parts) or len(parts) < 3:
        parts = [part.strip(" \"'") for part in re.split(r"[,;]|\s+", line) if part.strip(" \"'")]
    return len(parts) if all(_NUMBER.fullmatch(part) for part in parts) else 0
