"""Whether a text or a table holds points, or is a list of labels, measurements or notes."""

from __future__ import annotations

from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.readers.archives import read_file, split_archive
from smilevlm.readers.decode import decimal_points, decode_text
from smilevlm.readers.numpy_arrays import holds_points
from smilevlm.readers.suffixes import COMPRESSION_SUFFIXES
from smilevlm.readers.table_header import TableHeader, find_delimiter, is_number, read_table_header, split_fields

_HEAD_BYTES = 2**16
_MOST_LINES = 32
"""So many lines decide: headers and comments are shorter."""


def holds_coordinates(path: Path) -> bool:
    """Whether the head of a table or text has three columns of coordinates.

    Names of columns are read as `read_point_cloud` reads them and must name x, y and z; without names, the first line
    and most of the next must hold three or more numbers and nothing else. What cannot be read, is binary or is
    compressed counts as coordinates: its reader says what is wrong.

    Args:
        path: A file of a suffix in `POINT_SUFFIXES`.
    """
    if path.suffix.lower() in COMPRESSION_SUFFIXES:
        return True
    try:
        if path.suffix.lower() in (".npy", ".npz"):
            return holds_points(read_file(path), path)
        head = _head(path)
        text = decimal_points(decode_text(head, path))
    except (MeshError, OSError):
        return True
    if b"\0" in text:
        return True
    header = read_table_header(text)
    whole = text[header.start :].decode("utf-8", "replace").splitlines()
    if len(head) == _HEAD_BYTES:
        del whole[-1:]  # it may have been cut
    return _has_points([line for each in whole if (line := _without_comment(each))][:_MOST_LINES], header)


def _head(path: Path) -> bytes:
    if split_archive(path) is not None:
        return read_file(path)[:_HEAD_BYTES]
    if not path.is_file():
        raise MeshError("not a regular file", path=path)
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _without_comment(line: str) -> str:
    return line.partition("#")[0].partition("//")[0].strip()


def _has_points(lines: list[str], header: TableHeader) -> bool:
    if header.first_word is not None:
        return False
    if header.axes is not None:  # other columns may hold text, and values may be missing
        return any(len(split_fields(line, header.delimiter)) > max(header.axes) for line in lines)
    if len(lines) > 1 and _num_numbers(lines[0]) == 1:  # the number of points
        del lines[0]
    # A line that is broken makes a broken point cloud, not a table of something else.
    points = [_num_numbers(line) >= 3 for line in lines]
    return bool(points) and points[0] and 2 * sum(points) >= len(points)


def _num_numbers(line: str) -> int:
    """How many numbers a line consists of; 0 when anything else stands in it."""
    fields = split_fields(line, find_delimiter(line))
    return len(fields) if all(map(is_number, fields)) else 0
