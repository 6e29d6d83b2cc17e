"""Point clouds as tables of numbers: .xyz, .txt, .pts, .csv."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source, Table
from smilevlm.readers.elements import color_bytes, usable_mesh
from smilevlm.readers.tables import MISSING, TableHeader, find_delimiter, is_number, read_table_header, split_fields

PTX_WIDTHS = (1, 1, 3, 3, 3, 3, 4, 4, 4, 4)
"""Numbers in the lines before the points of a PTX file: columns, rows, the scanner's place and axes, a matrix."""
MAX_LINE_BYTES = 2**16


def read_point_cloud(data: bytes, *, path: Path) -> Mesh:
    """Read a table of points.

    A header may name the columns, in any case, quoted, with units, in a comment: x y z (also `pos_x`, `Points:0`,
    `X (mm)`) are taken wherever they stand, r g b (`red`, ...) as colours. Without one the first three columns are x y
    z, after a column that counts the rows; six columns of which the last three are whole numbers within 0..255 are
    x y z r g b, and so are seven after an intensity. Other columns are left out, of text too. Blanks, tabs, commas,
    semicolons separate; `#` and `//` start comments; titles, the number of points and the header of a scanner may come
    first. Missing values (empty, `NA`, `null`, `-`) make a point invalid, see `usable_mesh`.
    """
    source = Source(data, path)
    header = read_table_header(data)
    if header.first_word is not None:
        word, line = header.first_word
        message = f"expected a number, found {word[:24]!r}: neither lines of x y z nor a header that names x, y and z"
        raise MeshError(message, path=path, line=line)
    points = _read_numbers(source, header)
    if points is None:
        points = _read_fields(source, header)
    return usable_mesh(path, points.vertices, vertex_colors=points.colors, remarks=points.remarks)


class _Points(NamedTuple):
    """Coordinates, colours and what was left out."""

    vertices: Float64[np.ndarray, "vert 3"]
    colors: UInt8[np.ndarray, "vert 3"] | None
    remarks: tuple[str, ...] = ()


def _read_numbers(source: Source, header: TableHeader) -> _Points | None:
    """The short way for lines of nothing but numbers, as many in each; None for other tables."""
    try:
        table = source.table(header.start, source.size)
    except MeshError:
        return None
    first = _first_row(table)
    if table.num_rows == first:
        raise source.error("no points, expected lines of 'x y z'")
    widths = table.widths[first:]
    if header.delimiter is None and (widths < 3).all():
        raise source.row_error(f"{widths[0]} numbers in a line, expected three or more", table, first)
    if widths[0] < 3 or (widths != widths[0]).any() or (header.axes is not None and widths[0] != header.num_names):
        return None
    rows = table.values[table.row_starts[first] :].reshape(len(widths), -1)
    return _points_of_rows(rows, header)


def _points_of_rows(rows: Float64[np.ndarray, "row column"], header: TableHeader) -> _Points:
    if header.axes is not None:
        colors = None if header.colors is None else _scaled_colors(rows[:, list(header.colors)])
        return _Points(rows[:, list(header.axes)], colors)
    remarks: tuple[str, ...] = ()
    if rows.shape[1] > 3 and _counts_rows(rows[:, 0]):
        rows = rows[:, 1:]
        remarks = ("the first column counts the rows; left out",)
    colors = None
    if rows.shape[1] in (6, 7):
        raw = rows[:, -3:]
        if (raw == np.floor(raw)).all() and raw.min() >= 0 and raw.max() <= 255:
            colors = raw.astype(np.uint8)
    return _Points(rows[:, :3], colors, remarks)


def _counts_rows(column: Float64[np.ndarray, " row"]) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ...: of a few rows that may be chance."""
    return len(column) >= 16 and column[0] in (0, 1) and bool((np.diff(column) == 1).all())


def _scaled_colors(raw: Float64[np.ndarray, "vert 3"]) -> UInt8[np.ndarray, "vert 3"]:
    """Colours written as 0..1, 0..255 or 0..65535."""
    highest = float(np.nanmax(np.where(np.isfinite(raw), raw, np.nan), initial=0))
    return color_bytes(raw, 255.0 if highest <= 1 else 1.0 if highest <= 255 else 255 / 65535)


def _first_row(table: Table) -> int:
    """The first row of points: after the number of points, or after the header of a PTX file."""
    widths: Int64[np.ndarray, " row"] = table.widths[: len(PTX_WIDTHS)]
    if tuple(widths) == PTX_WIDTHS:
        return len(PTX_WIDTHS)
    return int(table.num_rows > 1 and widths[0] == 1 and widths[1] >= 3)


def _read_fields(source: Source, header: TableHeader) -> _Points:
    """The long way, line by line: text among the numbers, fields that are empty or quoted, lines of several widths."""
    axes, shift = (0, 1, 2), 0
    values, colors = array("d"), array("d")
    number = source.data.count(b"\n", 0, header.start)
    remarks: tuple[str, ...] = ()
    for raw in _lines(source.data, header.start):
        number += 1
        line = raw.decode("utf-8", "replace").strip("\r\n ")  # a tab may stand for an empty field
        if not line.strip() or line.startswith(("#", "//")):
            continue
        fields = split_fields(line, header.delimiter)
        if len(fields) == 1:
            fields = split_fields(line, find_delimiter(line))
        if len(fields) == 1 and is_number(fields[0]):  # the number of points of a part
            continue
        if not values:
            axes, shift = _columns_of(fields, header)
        if len(fields) <= max(axes):
            if source.data.endswith(raw) and not raw.endswith((b"\n", b"\r")):
                remarks = ("the file is cut within its last line, which is left out",)
                break
            for field in fields:
                _number(source, field, number)
            expected = "three or more" if header.axes is None else str(header.num_names)
            raise MeshError(f"{len(fields)} numbers in a line, expected {expected}", path=source.path, line=number)
        values.extend(_number(source, fields[axis], number) for axis in axes)
        if header.colors is not None:
            places = [column + shift for column in header.colors]
            colors.extend(_color(fields[place]) if place < len(fields) else np.nan for place in places)
    if not values:
        raise source.error("no points, expected lines of 'x y z'")
    vertices = np.frombuffer(values, np.float64).reshape(-1, 3)
    rgb = _scaled_colors(np.frombuffer(colors, np.float64).reshape(-1, 3)) if len(colors) else None
    return _Points(vertices, rgb, remarks)


def _columns_of(fields: list[str], header: TableHeader) -> tuple[tuple[int, ...], int]:
    """The columns of x, y and z by the first line, and how many stand before those that are named."""
    if header.axes is None:
        numbers = [column for column, field in enumerate(fields) if is_number(field)]
        return (tuple(numbers[:3]) if len(numbers) >= 3 else (0, 1, 2)), 0
    # R writes the names of the rows in a column without a name of its own.
    has_names = len(fields) == header.num_names + 1 and (not is_number(fields[0]) or fields[0] in ("0", "1"))
    return tuple(axis + has_names for axis in header.axes), int(has_names)


def _lines(data: bytes, start: int) -> Iterator[bytes]:
    """The lines from a position, with their ends."""
    separator = b"\n" if b"\n" in data else b"\r"
    while start < len(data):
        end = data.find(separator, start, start + MAX_LINE_BYTES)
        end = min(start + MAX_LINE_BYTES, len(data)) if end < 0 else end + 1
        yield data[start:end]
        start = end


def _number(source: Source, field: str, line: int) -> float:
    """A coordinate; nan for one that is missing."""
    try:
        return float(field)
    except ValueError:
        if field.lower() in MISSING or is_number(field):
            return np.nan
        raise MeshError(f"expected a number, found {field[:24]!r}", path=source.path, line=line) from None


def _color(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return np.nan
