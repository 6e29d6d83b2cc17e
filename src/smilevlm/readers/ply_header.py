"""The header of a PLY file: its encoding, elements and properties."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smilevlm.readers._source import Source

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
                error = source.text_error(f"not a line of a PLY header: {line[:60]!r}", 0)
                error.line = number
                raise error
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
