"""How many vertices a file says that it has, counted without making anything of them."""

from __future__ import annotations

import re
from collections.abc import Callable

_PLY_VERTICES = re.compile(rb"^element[ \t]+vertex[ \t]+(\d{1,18})", re.MULTILINE)
_PCD_POINTS = re.compile(rb"^[ \t]*POINTS[ \t]+(\d{1,18})", re.MULTILINE | re.IGNORECASE)
_ABS_SIZE = re.compile(rb"\s{0,99}(\d{1,6})[ \t]+rows\s+(\d{1,6})[ \t]+columns", re.IGNORECASE)
_REMARK = re.compile(rb"#[^\r\n]*")
_OFF_COUNTS = re.compile(rb"OFF\s*(\d{1,18})[ \t]+\d")
"""After remarks were taken out; a pattern that skips them itself takes exponential time on hostile ones."""
_HEADER_BYTES = 2**16
_STL_HEADER_BYTES, _STL_TRIANGLE_BYTES = 84, 50


def announced_vertices(data: bytes, suffix: str) -> int:
    """How many vertices a file says or seems to have, counted without making anything of them.

    The suffix is in lower case. 0 where the format does not say; VRML, whose numbers stand in any order, and glTF,
    arrays and USD, whose readers bound their memory by the file's size, are counted once they are read.
    """
    if suffix in _TABLES:
        return data.count(b"\n")
    return _COUNTERS[suffix](data) if suffix in _COUNTERS else 0


def _of_ply(data: bytes) -> int:
    return sum(int(count) for count in _PLY_VERTICES.findall(data[:_HEADER_BYTES].partition(b"end_header")[0]))


def _of_off(data: bytes) -> int:
    found = _OFF_COUNTS.search(_REMARK.sub(b" ", data[:_HEADER_BYTES]))
    return int(found[1]) if found else 0


def _of_obj(data: bytes) -> int:
    return data.count(b"\nv ") + data.count(b"\nv\t") + data.startswith((b"v ", b"v\t"))


def _of_stl(data: bytes) -> int:
    """A closed surface has half as many vertices as triangles."""
    triangles = int.from_bytes(data[80:_STL_HEADER_BYTES], "little")
    if len(data) >= _STL_HEADER_BYTES and len(data) == _STL_HEADER_BYTES + _STL_TRIANGLE_BYTES * triangles:
        return triangles // 2
    return data.count(b"vertex") // 6


def _of_bnt(data: bytes) -> int:
    return int.from_bytes(data[:2], "little") * int.from_bytes(data[2:4], "little")


def _of_pcd(data: bytes) -> int:
    found = _PCD_POINTS.search(data[:_HEADER_BYTES])
    return int(found[1]) if found else 0


def _of_abs(data: bytes) -> int:
    found = _ABS_SIZE.match(data[:_HEADER_BYTES])
    return int(found[1]) * int(found[2]) if found else 0


_COUNTERS: dict[str, Callable[[bytes], int]] = {
    ".ply": _of_ply, ".off": _of_off, ".obj": _of_obj, ".stl": _of_stl, ".bnt": _of_bnt, ".pcd": _of_pcd,
    ".abs": _of_abs,
}  # fmt: skip
_TABLES = (".xyz", ".txt", ".pts", ".csv", ".asc", ".xyzn", ".xyzrgb", ".dat")
