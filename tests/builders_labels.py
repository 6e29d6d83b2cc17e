"""Tiny range images, landmark files, label tables and archives of known content, never a real face."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smilevlm.readers import FOURDME_COLUMNS, write_bnt, write_lm2, write_lm3, write_workbook

BACKGROUND = -1e9
HOLE = (1, 2)
"""Row and column of the one background point of `range_image`."""


def range_image(num_rows: int = 4, num_columns: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Points of a bump, row 0 at the bottom, with one hole; and (u, v) with v from the top."""
    rows, columns = np.mgrid[0:num_rows, 0:num_columns].astype(np.float64)
    depth = 6 - (rows - num_rows / 2) ** 2 - (columns - num_columns / 2) ** 2 / 2
    points = np.stack([2 * columns, 3 * rows, depth], axis=2)
    points[HOLE] = np.nan
    uv = np.stack([columns / (num_columns - 1), 1 - rows / (num_rows - 1)], axis=2)
    return points, uv


def bnt(*, image_name: str = "a.png", **size: int) -> bytes:
    points, uv = range_image(**size)
    file = io.BytesIO()
    write_bnt(file, points=points, uv=uv, image_name=image_name)
    return file.getvalue()


def bnt_by_hand(
    columns: np.ndarray, *, num_rows: int, num_columns: int, zmin: float = BACKGROUND, count: int | None = None
) -> bytes:
    """The bytes as formats describe them, from (5, N) numbers; `count` may lie."""
    name = b"a.png"
    count = columns.size if count is None else count
    header = struct.pack("<HHdH", num_rows, num_columns, zmin, len(name)) + name + struct.pack("<I", count)
    return header + columns.astype("<f8").tobytes()


PIXELS = {
    "Nose tip": np.float32([10.5, 20]),
    "Chin middle": np.float32([11, 30.25]),
    "Left mouth corner": np.float32([5, 26]),
}
POSITIONS = {
    "Nose tip": np.float32([0.5, -1, 80]),
    "Chin middle": np.float32([0, -40.25, 60]),
    "Left mouth corner": np.float32([-25, -20, 65]),
}


def lm2(**settings: str) -> str:
    file = io.StringIO(newline="")
    write_lm2(file, PIXELS, **settings)
    return file.getvalue()


def lm3(**settings: object) -> str:
    file = io.StringIO(newline="")
    write_lm3(file, POSITIONS, **settings)
    return file.getvalue()


def bndplus(num_rows: int = 4) -> str:
    return "".join(f"{k},{k / 2:g},{-k:g}\n" for k in range(num_rows))


AU_CSV = "0,1,2,4\n33,0,1,9\n34,1,0,0\n36,9,9,9\n"

MICRO_ROWS: list[list[object]] = [
    [1, 1, "s1_001_01", "Surprise+Positive", 10, 14, 25, 16, "AU1+R2", 0, 1, 0, 1, 0, 0, 1, 1, 0],
    [2, 13, "s13_002_01", "Negative", 5, 9, 20, 16, "AU4(k)+L7", 0, 0, 1, 0, 0, 0, 0, 0, 1],
    [2, 13, "s13_002_02", "Others", 40, 44, 50, 11, "AUR2+12(k)+45", 1, 0, 0, 0, 0, 1, 0, 1, 0],
]
MICRO_HEADERS = (*FOURDME_COLUMNS, "AU1", "AU2", "AU4")


def micro_workbook(
    path: Path, rows: list[list[object]] | None = None, headers: tuple[str, ...] = MICRO_HEADERS
) -> Path:
    write_workbook(path, headers, MICRO_ROWS if rows is None else rows)
    return path


def archive(members: Mapping[str, bytes | str], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in members.items():
            made.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return file.getvalue()
