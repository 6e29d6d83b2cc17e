"""Tables of text: which columns are coordinates and colours, and whether a file holds points at all."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.readers.archives import read_file, split_archive
from smilevlm.readers.decode import decimal_points, decode_text
from smilevlm.readers.file_kinds import COMPRESSION_SUFFIXES
from smilevlm.readers.numpy_arrays import holds_points

MAX_PREAMBLE_BYTES = 2**16
MAX_PREAMBLE_LINES = 200
MISSING = frozenset(
    ("", "-", "--", "?", ".", "na", "n/a", "n.a.", "#n/a", "#na", "nan", "null", "none", "nil", "missing")
)
"""Words that stand for a value that is not there, in lower case."""

_HEAD_BYTES = 2**16
_MOST_LINES = 32
"""So many lines decide: headers and comments are shorter."""
_DELIMITERS = (";", "\t", ",", "|")
_UNIT = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_COMMENT = re.compile(r"\s*(?:#|//|%|;|!)+\s*")
_QUOTED = re.compile(r'"[^"]*"')
_GENERAL_NAME = re.compile(r"(?:v|x|f|c|col|column|field|var)?[_:. ]?\d+")
_MAX_NAME = 64
_PREFIX = r"(?:points?|pos|positions?|coords?|coordinates?|vert|vertex|vertices|world|loc|location|p|v)"
_SUFFIX = r"(?:mm|cm|m|um|in|inch|coords?|coordinates?|pos|position|values?|world|raw)"
_AXIS = re.compile(rf"({_PREFIX}[_:. ]*)?([xyz])([_:. ]*{_SUFFIX})?")
_NUMBERED_AXIS = re.compile(rf"({_PREFIX}[_:. ]*)([012])()")
_COLOR = re.compile(r"((?:vertex|diffuse)?[_:. ]*(?:colou?r|rgba?|c)?[_:. ]*)(r|g|b|red|green|blue)()")
_NUMBERED_COLOR = re.compile(r"((?:vertex|diffuse)?[_:. ]*(?:colou?rs?|rgba?)[_:. ]*)([012])()")


@dataclass(frozen=True, kw_only=True)
class TableHeader:
    """What the lines before the numbers say.

    Args:
        start: Byte of the first line that may hold numbers.
        delimiter: Stands between the fields; None for blanks.
        num_names: How many columns the header names; 0 without one.
        axes: The columns of x, y and z; None without a header that names them.
        colors: Those of red, green and blue, or None.
        first_word: The first word that is no number, and its line, where no line of numbers follows or where its
            columns have other names.
    """

    start: int
    delimiter: str | None
    num_names: int = 0
    axes: tuple[int, ...] | None = None
    colors: tuple[int, ...] | None = None
    first_word: tuple[str, int] | None = None


def split_fields(line: str, delimiter: str | None) -> list[str]:
    """The fields of a line, without the quotes and blanks around them."""
    if '"' not in line and "'" not in line:
        fields = line.split(delimiter)
    else:
        try:
            mark = delimiter or " "
            blank_free = line if delimiter else " ".join(line.split())
            fields = next(csv.reader([blank_free], delimiter=mark, skipinitialspace=True), [])
        except csv.Error:
            fields = line.split(delimiter)
    return [field.strip("\"' \t").rstrip(",") for field in fields]


def find_delimiter(line: str) -> str | None:
    """What stands between the fields of a line; None for blanks."""
    bare = _QUOTED.sub("", line)
    return next((mark for mark in _DELIMITERS if mark in bare), None)


def is_number(field: str) -> bool:
    """Whether a field is a number, one that is not finite included."""
    try:
        float(field)
    except ValueError:
        return field.lower().startswith(("-nan", "nan(", "-nan(", "1.#", "-1.#"))
    return "_" not in field


def read_table_header(data: bytes) -> TableHeader:
    """Look for names of columns in the lines before the first line of three numbers.

    Names stand in a line of their own or in a comment; titles, units and a count of the rows may stand around them.
    """
    header = TableHeader(start=0, delimiter=None)
    names: list[str] = []
    at = 0
    numbers_at: int | None = None
    for number, raw in enumerate(data[:MAX_PREAMBLE_BYTES].splitlines(keepends=True)[:MAX_PREAMBLE_LINES], 1):
        line = raw.decode("utf-8", "replace").strip("\r\n ")
        comment = _COMMENT.match(line)
        bare = _UNIT.sub(" ", line[comment.end() :] if comment else line).strip(" ")
        delimiter = find_delimiter(bare)
        fields = split_fields(bare, delimiter)
        num_numbers = sum(map(is_number, fields))
        start, at = at, at + len(raw)
        if not comment and num_numbers and numbers_at is None:
            numbers_at = start
        axes = _columns(fields, (_AXIS, _NUMBERED_AXIS)) if num_numbers == 0 else None
        if axes is not None:
            colors = _columns(fields, (_COLOR, _NUMBERED_COLOR))
            header = TableHeader(start=at, delimiter=delimiter, num_names=len(fields), axes=axes, colors=colors)
        elif comment or not line.strip():
            continue
        elif header.axes is not None:
            # Units or a count may follow the names.
            if len(fields) > 1 and (num_numbers or not all(fields)):
                return replace(header, start=start, delimiter=delimiter or header.delimiter)
            header = replace(header, start=at)
        elif num_numbers >= 3:
            assert numbers_at is not None
            is_named = len(names) == len(fields) and not all(map(_GENERAL_NAME.fullmatch, names))
            return replace(
                header, start=numbers_at, delimiter=delimiter, first_word=header.first_word if is_named else None
            )
        elif num_numbers < len(fields):
            names = [name.lower() for name in fields] if num_numbers == 0 else []
            numbers_at = None
            if header.first_word is None:
                word = next(field for field in fields if not is_number(field))
                header = replace(header, first_word=(word, number))
    return header


def _columns(fields: list[str], patterns: tuple[re.Pattern[str], ...]) -> tuple[int, ...] | None:
    """The three columns whose names differ in nothing but the axis or the colour; those of the shortest names."""
    for pattern in patterns:
        groups: dict[tuple[str, str], dict[str, int]] = {}
        for column, field in enumerate(fields):
            if len(field) <= _MAX_NAME and (match := pattern.fullmatch(field.lower())):
                group = groups.setdefault((match[1] or "", match[3] or ""), {})
                group.setdefault(match[2][0], column)
        whole = [group for group in sorted(groups, key=lambda names: len("".join(names))) if len(groups[group]) == 3]
        if whole:
            group = groups[whole[0]]
            order = next(keys for keys in ("xyz", "rgb", "012") if set(keys) == set(group))
            return tuple(group[key] for key in order)
    return None


def holds_coordinates(path: Path) -> bool:
    """Whether the head of a table or text, or an array, has three columns of coordinates.

    Names of columns are read as `read_point_cloud` reads them and must name x, y and z; without names, the first line
    and most of the next must hold three or more numbers and nothing else. What cannot be read, is binary or is
    compressed counts as coordinates: its reader says what is wrong.
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
