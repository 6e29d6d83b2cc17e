"""`Source`: the bytes of one file, with the scanners over them and errors that say where; and what writers write to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int32, Int64, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry.arrays import empty_arrays, far_origin
from smilevlm.readers._status import DONE, MESSAGES

MEMORY_PER_FILE_BYTE = 8
MEMORY_FREE_BYTES = 32 * 2**20

ITEM_BYTES = 4
"""Of a coordinate (float32) and of an index (int32)."""


@runtime_checkable
class TextSink(Protocol):
    """What a text writer writes to: an open file or an `io` buffer."""

    def write(self, text: str, /) -> object: ...


@runtime_checkable
class ByteSink(Protocol):
    """What a binary writer writes to."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True)
class Source:
    """The bytes of one file, and where it came from, for messages."""

    data: bytes
    path: Path

    @cached_property
    def buffer(self) -> UInt8[np.ndarray, " byte"]:
        return np.frombuffer(self.data, np.uint8)

    @property
    def size(self) -> int:
        return len(self.data)

    def line(self, position: int) -> int:
        """1-based line of a byte position; files of old Macs end lines with a carriage return alone."""
        newline = b"\n" if b"\n" in self.data else b"\r"
        return self.data.count(newline, 0, position) + 1

    def text_error(self, message: str, position: int) -> MeshError:
        return MeshError(message, path=self.path, line=self.line(position))

    def line_error(self, message: str, line: int) -> MeshError:
        return MeshError(message, path=self.path, line=line)

    def row_error(self, message: str, table: Table, row: int) -> MeshError:
        return self.line_error(message, self.row_line(table, row))

    def byte_error(self, message: str, offset: int) -> MeshError:
        return MeshError(message, path=self.path, offset=offset)

    def error(self, message: str) -> MeshError:
        """An error that concerns the file as a whole."""
        return MeshError(message, path=self.path)

    def status_error(self, status: int, position: int) -> MeshError:
        """What a scanner stopped at, with the word it found there."""
        word = self.word(position)
        return self.text_error(MESSAGES[status] + (f", found {word!r}" if word else ""), position)

    def word(self, position: int) -> str:
        """The word that starts at a position, for a message; empty where none does."""
        found = re.match(rb"[^\s,;{}\[\]\"]+", self.data[position : position + 24])
        return found.group().decode("ascii", "replace") if found else ""

    def require_memory(self, num_bytes: int, *, bytes_beside: int = 0) -> None:
        """Refuse what would need far more memory than the file, and those that belong to it, have bytes."""
        if num_bytes > MEMORY_PER_FILE_BYTE * (self.size + bytes_beside) + MEMORY_FREE_BYTES:
            raise self.error(f"the file describes {num_bytes / 2**20:.0f} MiB of geometry in {self.size} bytes")

    def floats(self, start: int, stop: int, *, single: bool = False) -> Float[np.ndarray, " value"]:
        """All numbers of a list of text; blanks and commas separate. Not finite or beyond float32: nan.

        As float32 with `single`, else as float64, which takes longer to fill.
        """
        from smilevlm.readers._kernels import scan_floats

        (values,) = empty_arrays((((stop - start) // 2 + 1,), np.float32 if single else np.float64))
        count, status, position = scan_floats(self.buffer, start, stop, values)
        if status != DONE:
            raise self.status_error(status, position)
        return values[:count]

    def rows(
        self, start: int, stop: int, width: int, what: str, *, single: bool = False
    ) -> Float[np.ndarray, "row {width}"]:
        """A list of numbers in groups of `width`; see `floats`."""
        values = self.floats(start, stop, single=single)
        if len(values) % width:
            raise self.text_error(f"{len(values)} numbers for {what}, expected groups of {width}", start)
        return values.reshape(-1, width)

    def coordinates(self, start: int, stop: int, what: str) -> Float[np.ndarray, "row 3"]:
        """Positions as float32, or as float64 where they lie so far from zero that float32 would lose them."""
        near = self.rows(start, stop, 3, what, single=True)
        return near if far_origin(near) is None else self.rows(start, stop, 3, what)

    def indices(self, start: int, stop: int) -> Int32[np.ndarray, " value"]:
        """All indices of a list of text, -1 included; `BAD_INDEX` for a number that can be no index."""
        from smilevlm.readers._kernels import scan_indices

        (values,) = empty_arrays((((stop - start) // 2 + 1,), np.int32))
        count, status, position = scan_indices(self.buffer, start, stop, values)
        if status != DONE:
            raise self.status_error(status, position)
        return values[:count]

    def table(self, start: int, stop: int) -> Table:
        """All numbers of the lines between two positions, comments left out. Not finite or beyond float32: nan."""
        from smilevlm.readers._kernels import scan_table

        values = np.empty((stop - start) // 2 + 1, np.float64)
        row_starts = np.empty((stop - start) // 2 + 2, np.int64)
        count, num_rows, status, position = scan_table(self.buffer, start, stop, values, row_starts)
        if status != DONE:
            raise self.status_error(status, position)
        return Table(values=values[:count], row_starts=row_starts[: num_rows + 1], start=start, stop=stop)

    def value_position(self, start: int, stop: int, ordinal: int) -> int:
        """Byte position of the value number `ordinal` of a list, for a message."""
        from smilevlm.readers._kernels import position_of_value

        return position_of_value(self.buffer, start, stop, ordinal)

    def row_line(self, table: Table, row: int) -> int:
        """1-based line of the row number `row` of a table."""
        # Each match is a line with something before its comment: control characters count as blanks.
        filled = re.compile(rb"(?:(?<=[\r\n])|\A)[\x00-\x09\x0b\x0c\x0e-\x20,;]*+(?![\r\n#]|//|\Z)")
        text = memoryview(self.data)[table.start : table.stop]
        for number, match in enumerate(filled.finditer(text)):
            if number == row:
                return self.line(table.start + match.end())
        return self.line(table.stop)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers in lines of any width: the bytes from `start` to `stop`.

    `row_starts` has the first value of each line, and the total count at the end.
    """

    values: Float64[np.ndarray, " value"]
    row_starts: Int64[np.ndarray, " row_and_one"]
    start: int
    stop: int

    @property
    def num_rows(self) -> int:
        return len(self.row_starts) - 1

    @property
    def widths(self) -> Int64[np.ndarray, " row"]:
        return np.diff(self.row_starts)
