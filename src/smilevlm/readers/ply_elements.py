"""The elements of a PLY file: the header that announces them, and their rows one after another, text or binary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int32

from smilevlm.errors import MeshError
from smilevlm.readers._source import Source
from smilevlm.readers._status import DONE, MESSAGES, NOT_A_NUMBER, TOO_SHORT

MAX_HEADER_BYTES = 2**20
MAX_PROPERTIES = 256

# Type names to the codes of `_kernels_formats.read_scalar` (the position in CODES).
CODES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
FIRST_FLOAT_CODE = CODES.index("f4")
_NAMES = {
    "i1": "char int8 int8_t i1", "u1": "uchar uint8 uint8_t u1 byte bool b1",
    "i2": "short int16 int16_t i2 i16", "u2": "ushort uint16 uint16_t u2 u16",
    "i4": "int int32 int32_t i4 i32", "u4": "uint uint32 uint32_t u4 u32",
    "i8": "long longlong int64 int64_t i8 i64", "u8": "ulong ulonglong uint64 uint64_t u8 u64 size_t",
    "f4": "float float32 f4 f32", "f8": "double float64 f8 f64",
}  # fmt: skip
TYPES = {name: CODES.index(code) for code, names in _NAMES.items() for name in names.split()}
"""The standard's names, those with widths in bits, and NumPy's with widths in bytes: `i8` is one of eight bytes."""
_BITS = re.compile(r"\b[iuf](?:16|32|64)\b", re.IGNORECASE)
_BITS_TYPES = {"i8": CODES.index("i1"), "u8": CODES.index("u1")}
"""Where the others are `u32` or `f32` too, as in Rust, `i8` and `u8` are one byte wide."""

END = re.compile(rb"(?:^|[\r\n])[ \t]*end_header(?=[\s]|\Z)", re.IGNORECASE)

Encoding = Literal["ascii", "binary_little_endian", "binary_big_endian"]


@dataclass(frozen=True)
class Property:
    """One property, its name in lower case; `count_code` is None for a scalar."""

    name: str
    code: int
    count_code: int | None = None

    @property
    def least_bytes(self) -> int:
        return np.dtype(CODES[self.code if self.count_code is None else self.count_code]).itemsize


@dataclass(frozen=True)
class Element:
    """Rows of one kind, the name in lower case."""

    name: str
    count: int
    properties: tuple[Property, ...]
    line: int

    @property
    def has_lists(self) -> bool:
        return any(item.count_code is not None for item in self.properties)

    def column(self, name: str, *, is_list: bool = False) -> int | None:
        for column, item in enumerate(self.properties):
            if item.name == name and (item.count_code is not None) == is_list:
                return column
        return None


@dataclass(frozen=True)
class Header:
    encoding: Encoding
    elements: tuple[Element, ...]
    texture_names: tuple[str, ...]
    end: int


def read_header(source: Source) -> Header:
    """Read up to `end_header`."""
    head = source.data[:MAX_HEADER_BYTES]
    if not re.match(rb"\s*ply(?=\s|\Z)", head, re.IGNORECASE):
        raise source.text_error("expected 'ply' on the first line", 0)
    end = END.search(head)
    if end is None:
        raise source.text_error("the header has no 'end_header'", min(source.size, MAX_HEADER_BYTES))
    text = head[: end.start()].decode("latin-1")
    # A carriage return alone ends lines where there is no line feed; else it may stand in a comment.
    lines = text.split("\n") if "\n" in text else text.split("\r")
    first = next(number for number, line in enumerate(lines, 1) if line.strip())
    types = TYPES | _BITS_TYPES if _BITS.search(text) else TYPES
    encoding: Encoding | None = None
    elements: list[Element] = []
    textures: list[str] = []
    for number, line in enumerate(lines[first:], first + 1):
        match line.lower().split():
            case [] | ["obj_info", *_]:
                continue
            case ["comment", *words]:
                if len(words) > 1 and words[0] == "texturefile":
                    textures.append(line.split(maxsplit=2)[2].strip())
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as name, *_]:
                encoding = name
            case ["element", name, count] if count.isascii() and count.isdigit() and len(count) < 16:
                elements.append(Element(name, int(count), (), number))
            case ["property", "list", count_type, value_type, name] if (
                elements and types.get(count_type, FIRST_FLOAT_CODE) < FIRST_FLOAT_CODE and value_type in types
            ):
                elements[-1] = _with(elements[-1], Property(name, types[value_type], types[count_type]))
            case ["property", value_type, *words] if elements and words and value_type in types:
                elements[-1] = _with(elements[-1], Property(" ".join(words), types[value_type]))
            case _:
                raise source.line_error(f"not a line of a PLY header: {line[:60]!r}", number)
        num_properties = sum(len(element.properties) for element in elements[-1:])
        if num_properties > MAX_PROPERTIES or len(elements) > MAX_PROPERTIES:
            raise source.error(f"more than {MAX_PROPERTIES} properties or elements")
    if encoding is None:
        raise source.error("no format in the header, expected ascii, binary_little_endian or binary_big_endian")
    ends_with_return_alone = "\n" not in text and "\r" in text
    return Header(encoding, tuple(elements), tuple(textures), _body_start(source, end.end(), ends_with_return_alone))


def _with(element: Element, added: Property) -> Element:
    return Element(element.name, element.count, (*element.properties, added), element.line)


def _body_start(source: Source, position: int, ends_with_return_alone: bool) -> int:
    """Past the one line end after the header; the body may begin with a byte that looks like another."""
    while source.data[position : position + 1] in (b" ", b"\t"):
        position += 1
    if source.data[position : position + 2] == b"\r\n" and not ends_with_return_alone:
        return position + 2
    return position + 1 if source.data[position : position + 1] in (b"\n", b"\r") else position


@dataclass(frozen=True)
class Column:
    """One property of all rows: its values, and for a list how many each row has."""

    values: Float64[np.ndarray, " value"]
    lengths: Int32[np.ndarray, " row"]


class BinaryBody:
    """Rows as bytes; the position stands at the element that is being read."""

    def __init__(self, source: Source, header: Header) -> None:
        self._source = source
        self._big = header.encoding == "binary_big_endian"
        self._regular: tuple[Element, int, np.ndarray | None] | None = None
        self.position = header.end

    def num_rows(self, element: Element) -> int:
        """Whole rows of an element, at most as many as announced."""
        if not element.has_lists:
            return min(element.count, (self._source.size - self.position) // self._dtype(element).itemsize)
        if self._regular_rows(element) is not None:
            return element.count
        return self._walk_rows(element, -1, np.zeros(0), np.zeros(0, np.int32))[3]

    def check_count(self, element: Element) -> None:
        """Refuse more rows than bytes."""
        left = self._source.size - self.position
        if element.count * sum(item.least_bytes for item in element.properties) > left:
            raise self._source.byte_error(
                f"{element.count} rows of {element.name} announced, {left} bytes are left", self.position
            )

    def column(self, element: Element, column: int) -> Column:
        """One property of all rows."""
        if not element.has_lists:
            raw = self._structured(element)[f"p{column}"]
            return Column(raw.astype(np.float64), np.ones(element.count, np.int32))
        regular = self._regular_rows(element)
        if regular is not None:
            values = regular[f"p{column}"]
            length = values.shape[1] if values.ndim == 2 else 1
            self._source.require_memory(8 * values.size + 4 * element.count)
            return Column(values.astype(np.float64).ravel(), np.full(element.count, length, np.int32))
        count, _ = self._walk(element, column, np.zeros(0), np.zeros(0, np.int32))
        self._source.require_memory(8 * count + 4 * element.count)
        values, lengths = np.empty(count, np.float64), np.zeros(element.count, np.int32)
        if count:
            self._walk(element, column, values, lengths)
        return Column(values, lengths)

    def advance(self, element: Element) -> None:
        """Go on to what stands after the rows of an element."""
        if not element.properties:
            return
        regular = self._regular_rows(element)
        if regular is not None:
            self.position += regular.nbytes
        elif element.has_lists:
            _, self.position = self._walk(element, -1, np.zeros(0), np.zeros(0, np.int32))
        else:
            self.position += element.count * self._dtype(element).itemsize

    def error(self, message: str) -> MeshError:
        """An error at the element that is being read."""
        return self._source.byte_error(message, self.position)

    def require_numbers(self, element: Element, column: int, values: np.ndarray) -> None:
        """Bytes are always numbers."""

    def _dtype(self, element: Element, lengths: Sequence[int] = ()) -> np.dtype:
        """One row as a structure, its lists (by property) of the given lengths."""
        order = ">" if self._big else "<"
        fields: list[tuple] = []
        for k, item in enumerate(element.properties):
            value = order + CODES[item.code]
            if item.count_code is None:
                fields.append((f"p{k}", value))
            else:
                fields += [(f"n{k}", order + CODES[item.count_code]), (f"p{k}", value, (lengths[k],))]
        return np.dtype(fields)

    def _regular_rows(self, element: Element) -> np.ndarray | None:
        """Rows whose lists are all as long as those of the first row, as of triangles; None for other rows.

        They are a view of the file, which is many times faster than a walk from row to row.
        """
        if self._regular is None or self._regular[0] is not element or self._regular[1] != self.position:
            rows = self._find_regular_rows(element) if element.has_lists else None
            self._regular = (element, self.position, rows)
        return self._regular[2]

    def _find_regular_rows(self, element: Element) -> np.ndarray | None:
        lengths: list[int] = []
        position, order = self.position, ">" if self._big else "<"
        for item in element.properties:
            length = 1
            if item.count_code is not None:
                count_type = np.dtype(order + CODES[item.count_code])
                written = self._source.data[position : position + count_type.itemsize]
                if len(written) < count_type.itemsize:
                    return None
                number = float(np.frombuffer(written, count_type)[0])
                if not 0 <= number <= self._source.size:
                    return None
                length, position = int(number), position + count_type.itemsize
            lengths.append(length)
            position += length * np.dtype(CODES[item.code]).itemsize
        if position > self._source.size:
            return None
        row = self._dtype(element, lengths)
        if element.count == 0 or self.position + element.count * row.itemsize > self._source.size:
            return None
        rows = np.frombuffer(self._source.data, row, element.count, self.position)
        lists = [k for k, item in enumerate(element.properties) if item.count_code is not None]
        return rows if all((rows[f"n{k}"] == lengths[k]).all() for k in lists) else None

    def _structured(self, element: Element) -> np.ndarray:
        return np.frombuffer(self._source.data, self._dtype(element), element.count, self.position)

    def _walk(self, element: Element, wanted: int, values: np.ndarray, lengths: np.ndarray) -> tuple[int, int]:
        count, status, position, _ = self._walk_rows(element, wanted, values, lengths)
        if status != DONE:
            raise self._source.byte_error(f"{MESSAGES[status]} for the rows of {element.name}", position)
        return count, position

    def _walk_rows(
        self, element: Element, wanted: int, values: np.ndarray, lengths: np.ndarray
    ) -> tuple[int, int, int, int]:
        from smilevlm.readers._kernels_formats import walk_ply

        count_codes = np.array([-1 if p.count_code is None else p.count_code for p in element.properties], np.int64)
        value_codes = np.array([p.code for p in element.properties], np.int64)
        buffer, codes = self._source.buffer, (count_codes, value_codes)
        return walk_ply(buffer, self.position, element.count, *codes, self._big, wanted, values, lengths)


class TextBody:
    """Rows as numbers; the position counts numbers.

    A word that is no number is inf, a number that is not finite nan.
    """

    def __init__(self, source: Source, header: Header) -> None:
        from smilevlm.readers._kernels import scan_floats, scan_words

        self._source = source
        self._start = header.end
        numbers = np.empty((source.size - header.end) // 2 + 1, np.float64)
        count, status, _ = scan_floats(source.buffer, header.end, source.size, numbers)
        if status != DONE:
            count = scan_words(source.buffer, header.end, source.size, numbers)
        self._numbers = numbers[:count]
        self.position = 0

    def num_rows(self, element: Element) -> int:
        """Whole rows of an element, at most as many as announced; a number at a cut end is not whole."""
        if not element.has_lists:
            width = len(element.properties)
            rows = min(element.count, (len(self._numbers) - self.position) // width)
            end = self.position + rows * width
        else:
            _, status, end, rows = self._walk_rows(element, -1, np.zeros(0), np.zeros(0, np.int32))
            if status not in (DONE, TOO_SHORT):
                return 0
        is_cut = rows < element.count and end == len(self._numbers) and self._source.data[-1:] not in (b"\n", b"\r")
        return max(rows - 1, 0) if is_cut else rows

    def check_count(self, element: Element) -> None:
        """Refuse more rows than numbers."""
        left = len(self._numbers) - self.position
        if element.count * len(element.properties) > left:
            raise self._source.text_error(
                f"{element.count} rows of {element.name} announced, {left} numbers are left", self._source.size
            )

    def column(self, element: Element, column: int) -> Column:
        """One property of all rows."""
        if not element.has_lists:
            width = len(element.properties)
            rows = self._numbers[self.position : self.position + element.count * width].reshape(-1, width)
            return Column(rows[:, column].copy(), np.ones(element.count, np.int32))
        count, _ = self._walk(element, column, np.zeros(0), np.zeros(0, np.int32))
        self._source.require_memory(8 * (count + len(self._numbers)) + 4 * element.count)
        values, lengths = np.empty(count, np.float64), np.zeros(element.count, np.int32)
        if count:
            self._walk(element, column, values, lengths)
        return Column(values, lengths)

    def advance(self, element: Element) -> None:
        """Go on to what stands after the rows of an element."""
        if not element.has_lists:
            self.position += element.count * len(element.properties)
        else:
            _, self.position = self._walk(element, -1, np.zeros(0), np.zeros(0, np.int32))

    def error(self, message: str, ordinal: int = 0) -> MeshError:
        """An error at a number of the element that is being read."""
        place = self._source.value_position(self._start, self._source.size, self.position + ordinal)
        return self._source.text_error(message, place)

    def require_numbers(self, element: Element, column: int, values: np.ndarray) -> None:
        """Refuse words in a column that is needed."""
        words = np.isinf(values)
        if words.any():
            row = int(words.argmax())
            raise self.error(MESSAGES[NOT_A_NUMBER], 0 if element.has_lists else row * len(element.properties) + column)

    def _walk(self, element: Element, wanted: int, values: np.ndarray, lengths: np.ndarray) -> tuple[int, int]:
        count, status, position, _ = self._walk_rows(element, wanted, values, lengths)
        if status != DONE:
            place = self._source.value_position(self._start, self._source.size, position)
            raise self._source.text_error(f"{MESSAGES[status]} for the rows of {element.name}", place)
        return count, position

    def _walk_rows(
        self, element: Element, wanted: int, values: np.ndarray, lengths: np.ndarray
    ) -> tuple[int, int, int, int]:
        from smilevlm.readers._kernels_formats import walk_ply_text

        is_list = np.array([p.count_code is not None for p in element.properties], np.bool_)
        return walk_ply_text(self._numbers, self.position, element.count, is_list, wanted, values, lengths)


Body = BinaryBody | TextBody
