"""PCD, the point clouds of PCL: Kinect, RealSense and Azure recordings. Text, binary, and binary packed by LZF."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source
from smilevlm.readers.elements import usable_mesh

HEADER_LINE = re.compile(rb"[ \t]*(?:#[^\r\n]*|([A-Za-z_]+)[ \t]*([^\r\n]*?)[ \t]*)?(?:\r\n|\n|\r)")
MAX_HEADER_LINES = 64
MAX_FIELDS = 256
TYPES = {"F": "f", "I": "i", "U": "u"}
COLOR_FIELDS = ("rgb", "rgba")
"""Red, green and blue in the three lower bytes of four, stored as a float32 or as a whole number."""


@dataclass(frozen=True)
class Field:
    """A column of the cloud: its name in lower case, the type of one number, and numbers per point."""

    name: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class Header:
    """What stands before the points, which begin at byte `end`; the encoding is that of the line DATA."""

    fields: tuple[Field, ...]
    num_points: int
    encoding: str
    end: int


def read_pcd(data: bytes, *, path: Path) -> Mesh:
    """Read the fields x, y, z and rgb by name, in any order and of any type; other fields are passed over.

    Points of an organised cloud where the sensor saw nothing are nan, and dropped like any other invalid vertex.

    Returns:
        A point cloud. The sensor's viewpoint is not applied, as PCL does not apply it.
    """
    source = Source(data, path)
    header = _read_header(source)
    by_name = {field.name: number for number, field in reversed(list(enumerate(header.fields)))}
    if missing := [axis for axis in "xyz" if axis not in by_name]:
        there = " ".join(field.name for field in header.fields)[:200]
        raise source.error(f"no field {', '.join(missing)} among the fields: {there}")
    read = {"ascii": _text_columns, "binary": _binary_columns, "binary_compressed": _packed_columns}[header.encoding]
    columns = read(source, header)
    source.require_memory(40 * len(columns[0]))
    with np.errstate(invalid="ignore"):  # a signalling nan
        vertices = np.stack([columns[by_name[axis]][:, 0].astype(np.float64) for axis in "xyz"], axis=1)
    name = next((name for name in COLOR_FIELDS if name in by_name), None)
    colors = None if name is None else _unpacked_colors(columns[by_name[name]], header.fields[by_name[name]])
    remarks = []
    if len(vertices) < header.num_points:
        remarks.append(f"{header.num_points} points announced, {len(vertices)} are there")
    return usable_mesh(path, vertices, vertex_colors=colors, remarks=remarks)


def _read_header(source: Source) -> Header:
    found: dict[str, list[str]] = {}
    position = 0
    for _ in range(MAX_HEADER_LINES):
        line = HEADER_LINE.match(source.data, position)
        if line is None:
            raise source.text_error("expected a line of the PCD header, such as 'FIELDS x y z'", position)
        start, position = position, line.end()
        if line[1] is None:
            continue
        word, values = line[1].decode().upper(), line[2].decode("latin-1").split()
        found["FIELDS" if word == "COLUMNS" else word] = values
        if word == "DATA":
            break
    else:
        raise source.error(f"no line DATA within {MAX_HEADER_LINES} lines of header")
    encoding = " ".join(found["DATA"]).lower()
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise source.text_error(f"DATA {encoding[:40]}, expected ascii, binary or binary_compressed", start)
    fields = _fields(source, found, start)
    return Header(fields, _num_points(source, found, start), encoding, position)


def _fields(source: Source, found: dict[str, list[str]], position: int) -> tuple[Field, ...]:
    names = [name.lower() for name in found.get("FIELDS", [])]
    counts = found.get("COUNT", ["1"] * len(names))
    sizes = found.get("SIZE", ["4"] * len(names))
    types = found.get("TYPE", ["F"] * len(names))
    if not 0 < len(names) <= MAX_FIELDS or not len(names) == len(sizes) == len(types) == len(counts):
        sizes_of = f"{len(names)} FIELDS, {len(sizes)} SIZE, {len(types)} TYPE and {len(counts)} COUNT"
        raise source.text_error(f"{sizes_of}, expected as many of each", position)
    fields = []
    for name, size, kind, count in zip(names, sizes, types, counts, strict=True):
        code = f"<{TYPES.get(kind.upper(), '?')}{size}"
        if code[1:] not in ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8") or not _is_count(count):
            raise source.text_error(f"field {name[:40]} of TYPE {kind[:9]} SIZE {size[:9]} COUNT {count[:9]}", position)
        fields.append(Field(name, np.dtype(code), int(count)))
    return tuple(fields)


def _num_points(source: Source, found: dict[str, list[str]], position: int) -> int:
    written = found.get("POINTS") or [*found.get("WIDTH", []), *found.get("HEIGHT", ["1"])]
    if not written or not all(_is_count(number) for number in written[:2]):
        raise source.text_error("no points, expected POINTS or WIDTH and HEIGHT of at least 1", position)
    return prod(int(number) for number in written[:2])


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10 and int(word) > 0


def _text_columns(source: Source, header: Header) -> list[Shaped[np.ndarray, "vert count"]]:
    table = source.table(header.end, source.size)
    width = sum(field.count for field in header.fields)
    wrong = table.widths != width
    # A file that was cut short ends within a line.
    num_rows = table.num_rows - bool(table.num_rows and wrong[-1] and table.num_rows <= header.num_points)
    num_rows = min(num_rows, header.num_points)
    if wrong[:num_rows].any():
        row = int(wrong.argmax())
        raise source.row_error(f"{table.widths[row]} numbers in a line, expected {width}", table, row)
    _require_half(source, header, num_rows)
    rows = table.values[: num_rows * width].reshape(num_rows, width)
    stops = np.cumsum([field.count for field in header.fields])
    return [rows[:, stop - field.count : stop] for field, stop in zip(header.fields, stops.tolist(), strict=True)]


def _binary_columns(source: Source, header: Header) -> list[Shaped[np.ndarray, "vert count"]]:
    dtype = np.dtype([(str(number), field.dtype, (field.count,)) for number, field in enumerate(header.fields)])
    present = (source.size - header.end) // max(dtype.itemsize, 1)
    count = min(header.num_points, present)
    _require_half(source, header, count)
    points = np.frombuffer(source.data, dtype, count, header.end)
    return [points[str(number)] for number in range(len(header.fields))]


def _packed_columns(source: Source, header: Header) -> list[Shaped[np.ndarray, "vert count"]]:
    """All numbers of the first field, then of the next, packed as one."""
    from smilevlm.readers._kernels_formats import unpack_lzf

    if source.size < header.end + 8:
        raise source.byte_error("the file ends before its packed points", source.size)
    packed_size, size = struct.unpack_from("<2I", source.data, header.end)
    expected = header.num_points * sum(field.dtype.itemsize * field.count for field in header.fields)
    packed = source.buffer[header.end + 8 : header.end + 8 + packed_size]
    if size != expected or len(packed) < packed_size:
        raise source.byte_error(
            f"{len(packed)} of {packed_size} packed bytes for {size} bytes, the header says {expected}", header.end
        )
    source.require_memory(size)
    unpacked = np.zeros(size, np.uint8)
    if unpack_lzf(packed, unpacked) != size:
        raise source.byte_error("the packed points are damaged", header.end + 8)
    columns = []
    start = 0
    for field in header.fields:
        stop = start + header.num_points * field.count * field.dtype.itemsize
        columns.append(unpacked[start:stop].view(field.dtype).reshape(header.num_points, field.count))
        start = stop
    return columns


def _require_half(source: Source, header: Header, count: int) -> None:
    if count < header.num_points / 2 or not count:
        raise source.error(f"{header.num_points} points announced, {count} are there")


def _unpacked_colors(column: Shaped[np.ndarray, "vert count"], field: Field) -> UInt8[np.ndarray, "vert 3"] | None:
    if field.dtype.itemsize != 4 or field.count != 1:
        return None
    with np.errstate(all="ignore"):
        # A text body comes in float64: back to the type whose bits are the colour.
        bits = np.ascontiguousarray(column[:, 0].astype(field.dtype)).view("<u4")
    return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)
