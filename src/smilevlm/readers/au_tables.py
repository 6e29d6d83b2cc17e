"""BP4D and BP4D+ tables of action units: occurrence with a column per unit, intensity with a file per unit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int8, Int64

from smilevlm.errors import TableError
from smilevlm.readers._label_text import read_text_lines
from smilevlm.readers._source import TextSink

MAX_TABLE_BYTES = 2**22
MAX_ACTION_UNITS = 512
MAX_WHOLE_DIGITS = 9
AU_UNKNOWN = -1
"""An action unit that could not be coded; the files write 9."""

_VALUES = {"0": 0, "1": 1, "9": AU_UNKNOWN}
_INTENSITIES = {**{str(value): value for value in range(6)}, "9": AU_UNKNOWN}
_BYTES = {text: value.to_bytes(1, "little", signed=True) for text, value in _VALUES.items()}
_WRITTEN = {value: text for text, value in _VALUES.items()}


@dataclass(frozen=True, kw_only=True)
class AuTable:
    """Which action units a sequence shows, frame by frame.

    Args:
        au_numbers: FACS numbers in the order of the columns.
        frame_numbers: As the data set counts; often only a part of a sequence is coded.
        values: 1 present, 0 absent, `AU_UNKNOWN` could not be coded.
    """

    au_numbers: tuple[int, ...]
    frame_numbers: Int64[np.ndarray, " frame"]
    values: Int8[np.ndarray, "frame au"]

    def __post_init__(self) -> None:
        expected = (len(self.frame_numbers), len(self.au_numbers))
        if self.values.shape != expected:
            raise TableError(f"{self.values.shape} values for {expected[0]} frames and {expected[1]} action units")


def read_au_table(path: str | os.PathLike[str]) -> AuTable:
    """Read a csv whose first row has the action units' numbers and whose first column the frames'."""
    path = Path(path)
    lines = read_text_lines(path, max_bytes=MAX_TABLE_BYTES, error=TableError)
    rows = ((number, _cells(line)) for number, line in enumerate(lines, 1) if line.strip(" \t,"))
    head_line, head = next(rows, (1, [""]))
    if not 1 < len(head) <= MAX_ACTION_UNITS + 1:
        raise TableError(f"{len(head) - 1} action units, expected 1 to {MAX_ACTION_UNITS}", path=path, line=head_line)
    au_numbers = [_whole(path, head_line, cell) for cell in head[1:]]
    if len(set(au_numbers)) < len(au_numbers):
        raise TableError("an action unit occurs twice", path=path, line=head_line)
    frames: dict[int, bytes] = {}
    for line, cells in rows:
        frame = _whole(path, line, cells[0])
        if frame in frames:
            raise TableError(f"frame {frame} occurs twice", path=path, line=line)
        frames[frame] = _row(path, line, cells[1:], len(au_numbers))
    values = np.frombuffer(b"".join(frames.values()), np.int8).reshape(-1, len(au_numbers))
    return AuTable(au_numbers=tuple(au_numbers), frame_numbers=np.array(list(frames), np.int64), values=values)


def read_au_intensities(path: str | os.PathLike[str]) -> dict[int, int]:
    """Read one action unit's intensity by frame: rows of `frame,intensity` from 0 (absent) to 5, `AU_UNKNOWN` for 9.

    Assumption: no copy was at hand; a first row that is no number is taken for a header.
    """
    path = Path(path)
    lines = read_text_lines(path, max_bytes=MAX_TABLE_BYTES, error=TableError)
    rows = [(number, _cells(line)) for number, line in enumerate(lines, 1) if line.strip(" \t,")]
    if rows and not rows[0][1][0].isdecimal():
        rows = rows[1:]
    values: dict[int, int] = {}
    for line, cells in rows:
        if len(cells) != 2:
            raise TableError(f"{len(cells)} values, expected a frame and an intensity", path=path, line=line)
        frame = _whole(path, line, cells[0])
        if frame in values:
            raise TableError(f"frame {frame} occurs twice", path=path, line=line)
        if cells[1] not in _INTENSITIES:
            raise TableError(f"expected 0 to 5 or 9, found {cells[1][:24]!r}", path=path, line=line)
        values[frame] = _INTENSITIES[cells[1]]
    if not values:
        raise TableError("no coded frame", path=path)
    return values


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")]


def _row(path: Path, line: int, cells: list[str], width: int) -> bytes:
    """The values as the bytes of int8."""
    if len(cells) != width:
        raise TableError(f"{len(cells)} values, expected {width}", path=path, line=line)
    try:
        return b"".join([_BYTES[cell] for cell in cells])
    except KeyError as error:
        raise TableError(f"expected 0, 1 or 9, found {str(error.args[0])[:24]!r}", path=path, line=line) from None


def _whole(path: Path, line: int, cell: str) -> int:
    if not (cell.isascii() and cell.isdecimal() and len(cell) <= MAX_WHOLE_DIGITS):
        raise TableError(f"expected a whole number, found {cell[:24]!r}", path=path, line=line)
    return int(cell)


def write_au_table(file: TextSink, table: AuTable) -> None:
    """Write a table as the data sets do, 9 for what is unknown."""
    file.write(",".join(["0", *map(str, table.au_numbers)]) + "\n")
    for number, values in zip(table.frame_numbers.tolist(), table.values.tolist(), strict=True):
        file.write(",".join([str(number), *(_WRITTEN[value] for value in values)]) + "\n")
