"""Lines and numbers of small text files of landmarks and labels, with errors at `path:line`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from smilevlm.errors import FileFormatError, LandmarkError, MeshError
from smilevlm.readers.archives import read_file

MAX_LANDMARK_BYTES = 2**20
_LARGEST = float(np.finfo(np.float32).max)


def read_text_lines(path: Path, *, max_bytes: int, error: type[FileFormatError]) -> list[str]:
    """The lines of a small text file, whatever ends them, without a byte order mark."""
    try:
        data = read_file(path)
    except MeshError as problem:
        raise error(problem.message, path=path) from problem
    if len(data) > max_bytes:
        raise error(f"{len(data)} bytes, expected {max_bytes} at most", path=path)
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def landmark_lines(path: Path) -> list[str]:
    """`read_text_lines` for landmark files."""
    return read_text_lines(path, max_bytes=MAX_LANDMARK_BYTES, error=LandmarkError)


def coordinates(path: Path, number: int, fields: list[str], names: str) -> list[float]:
    """The numbers of a line that holds nothing else; `names` are what they stand for, separated by blanks."""
    if len(fields) != len(names.split()):
        raise LandmarkError(f"{len(fields)} fields, expected {names!r}", path=path, line=number)
    return [_coordinate(path, number, field) for field in fields]


def _coordinate(path: Path, number: int, field: str) -> float:
    try:
        value = float(field.replace("_", "?"))  # Python would read 1_0 as ten
    except ValueError:
        raise LandmarkError(f"expected a number, found {field[:24]!r}", path=path, line=number) from None
    if not abs(value) <= _LARGEST:
        raise LandmarkError(f"{field[:24]!r} is not a finite float32", path=path, line=number)
    return value
