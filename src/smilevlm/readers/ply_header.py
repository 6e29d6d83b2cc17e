"""The header of a PLY file: its encoding, elements and properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from smilevlm.readers._source import Source

MAX_HEADER_BYTES = 2**16
MAX_PROPERTIES = 256

# Type names to the codes of `_kernels_formats.read_scalar` (the position in CODES).
CODES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
TYPES = {
    "char": 0, "int8": 0, "uchar": 1, "uint8": 1, "short": 2, "int16": 2, "ushort": 3, "uint16": 3,
    "int": 4, "int32": 4, "uint": 5, "uint32": 5, "float": 6, "float32": 6, "double": 7, "float64": 7,
}  # fmt: skip
FIRST_FLOAT_CODE = 6

Encoding = Literal["ascii", "binary_little_endian", "binary_big_endian"]


@dataclass(frozen=True)
class Property:
    """One property; `count_code` is None for a scalar."""

    name: str
    code: int
    count_code: int | None = None

    @property
    def least_bytes(self) -> int:
        return np.dtype(CODES[self.code if self.count_code is None else self.count_code]).itemsize


@dataclass(frozen=True)
class Element:
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
    """Read up to `end_header`.

    Raises:
        MeshError: At `path:line`.
    """
    end = source.data.find(b"end_header", 0, MAX_HEADER_BYTES)
    if source.data[:4].strip() != b"ply":
        raise source.text_error("expected 'ply' on the first line", 0)
    if end < 0:
        raise source.text_error("the header has no 'end_header'", min(source.size, MAX_HEADER_BYTES))
    text = source.data[:end].decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    encoding: Encoding | None = None
    elements: list[Element] = []
    textures: list[str] = []
    num_properties = 0
    for number, line in enumerate(text.split("\n")[1:], 2):
        match line.split():
            case [] | ["obj_info", *_]:
                continue
            case ["comment", *words]:
                if len(words) > 1 and words[0].lower() == "texturefile":
                    textures.append(line.split(maxsplit=2)[2].strip())
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as name, _]:
                encoding = name
            case ["element", name, count] if count.isascii() and count.isdigit() and len(count) < 16:
                elements.append(Element(name, int(count), (), number))
            case ["property", "list", count_type, value_type, name] if (
                elements and TYPES.get(count_type, FIRST_FLOAT_CODE) < FIRST_FLOAT_CODE and value_type in TYPES
            ):
                elements[-1] = _with(elements[-1], Property(name, TYPES[value_type], TYPES[count_type]))
            case ["property", value_type, name] if elements and value_type in TYPES:
                elements[-1] = _with(elements[-1], Property(name, TYPES[value_type]))
            case _:
                error = source.text_error(f"not a line of a PLY header: {line[:60]!r}", 0)
                error.line = number
                raise error
        num_properties = sum(len(element.properties) for element in elements[-1:])
        if num_properties > MAX_PROPERTIES or len(elements) > MAX_PROPERTIES:
            raise source.error(f"more than {MAX_PROPERTIES} properties or elements")
    if encoding is None:
        raise source.error("no format in the header, expected ascii, binary_little_endian or binary_big_endian")
    return Header(encoding, tuple(elements), tuple(textures), _body_start(source, end + len(b"end_header")))


def _with(element: Element, added: Property) -> Element:
    return Element(element.name, element.count, (*element.properties, added), element.line)


def _body_start(source: Source, position: int) -> int:
    """Past the one line end after the header; the body may begin with a byte that looks like another."""
    while source.data[position : position + 1] in (b" ", b"\t"):
        position += 1
    if source.data[position : position + 2] == b"\r\n":
        return position + 2
    return position + 1 if source.data[position : position + 1] in (b"\n", b"\r") else position
