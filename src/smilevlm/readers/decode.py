"""The bytes of a scan as its reader expects them: unpacked, UTF-8 without a byte-order mark, with decimal points."""

from __future__ import annotations

import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smilevlm.errors import MeshError

MAX_UNPACKED_BYTES = 2**30
MAX_UNPACKED_RATIO = 400
"""How many times its packed size; text of repeated numbers reaches 20, decompression bombs a thousand."""
_FREE_BYTES = 2**24
_MAX_LAYERS = 3
_CHUNK_BYTES = 2**16
_XZ_MEMORY = 2**27
"""What `xz -9` needs is half of it; the file names the size, and a hostile one names 4 GiB."""

_DECOMPRESSORS: dict[bytes, tuple[str, Callable[[], object]]] = {
    b"\x1f\x8b\x08": ("gzip", lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\0": ("xz", lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)),
}
_DAMAGED = (OSError, zlib.error, lzma.LZMAError, EOFError, ValueError)
_TEXT_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_SAMPLE_BYTES = 4096
_NUM_SAMPLES = 4
_INNER_COMMA = re.compile(rb",(?<=\d,)(?=\d)")  # begins with a letter to look for: much faster than with a class
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_WORD = re.compile(rb"[^\s;\"'\[\]{}()<>=|]+")
_POINT_NUMBER = re.compile(rb"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?,?")
_COMMA_NUMBER = re.compile(rb"[-+]?\d+,(\d+)(?:[eE][-+]?\d+)?,?")
_WHOLE_NUMBER = re.compile(rb"[-+]?\d+,?")
_LIST = re.compile(rb"[-+]?\d+,[-+]?\d+,[-+\d,]+")
_LEAST_COMMA_SHARE = 0.3
"""Of the numbers of a sample: three coordinates among as many whole numbers for colours, for instance."""
_MAX_OTHER_SHARE = 0.05
"""Numbers with a point, and lists, for each number with a comma: versions in a header, comments."""


def unpack(data: bytes, path: Path) -> bytes:
    """Decompress gzip, bzip2 and xz, recognised by the first bytes; other bytes are returned as they are."""
    for _ in range(_MAX_LAYERS):
        found = next((found for magic, found in _DECOMPRESSORS.items() if data.startswith(magic)), None)
        if found is None:
            return data
        data = _unpack_layer(data, path, *found)
    raise MeshError(f"packed more than {_MAX_LAYERS} times over", path=path)


def _unpack_layer(packed: bytes, path: Path, name: str, decompressor: Callable[[], object]) -> bytes:
    limit = min(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * len(packed) + _FREE_BYTES)
    unpacked = bytearray()
    at = 0
    magics = tuple(_DECOMPRESSORS)
    try:
        # Several streams one after another, as `cat a.gz b.gz` makes them; what follows the last is padding.
        while at == 0 or packed.startswith(magics, at):
            stream = decompressor()
            while not stream.eof:  # type: ignore[attr-defined]
                if at >= len(packed):
                    raise EOFError("it ends too early")
                chunk = packed[at : at + _CHUNK_BYTES]
                unpacked += stream.decompress(chunk, limit + 1 - len(unpacked))  # type: ignore[attr-defined]
                if len(unpacked) > limit:
                    raise MeshError(f"unpacks to more than {limit / 2**20:.0f} MiB; refused", path=path)
                at += len(chunk) - len(stream.unused_data)  # type: ignore[attr-defined]
    except _DAMAGED as error:
        raise MeshError(f"a damaged {name} file: {error}", path=path) from None
    return bytes(unpacked)


def decode_text(data: bytes, path: Path) -> bytes:
    """UTF-16 and UTF-32 text as UTF-8; byte-order marks are removed; other bytes are returned as they are."""
    for mark, encoding in _TEXT_MARKS:
        if data.startswith(mark):
            body = data[len(mark) :]
            return _unmarked(body if encoding == "utf-8" else _recode(body, encoding, path))
    encoding = _encoding_without_mark(data[:64])
    return data if encoding is None else _recode(data, encoding, path)


def _unmarked(text: bytes) -> bytes:
    """Without further marks, as tools that append files or write the mark twice leave them."""
    while text.startswith(codecs.BOM_UTF8):
        text = text[len(codecs.BOM_UTF8) :]
    return text


def _recode(body: bytes, encoding: str, path: Path) -> bytes:
    unit = 4 if "32" in encoding else 2
    try:
        # A file that was cut may end within a character.
        return body[: len(body) // unit * unit].decode(encoding).encode("utf-8", "replace")
    except UnicodeDecodeError as error:
        raise MeshError(f"starts as {encoding.upper()} text but is not: {error.reason}", path=path) from None


def _encoding_without_mark(head: bytes) -> str | None:
    """Text of Latin letters has a zero in every other byte of UTF-16, in three of four of UTF-32."""
    for unit, first, encoding in (
        (2, 0, "utf-16-le"), (2, 1, "utf-16-be"), (4, 0, "utf-32-le"), (4, 3, "utf-32-be"),
    ):  # fmt: skip
        whole = head[: len(head) // unit * unit]
        letters = whole[first::unit]
        num_zeros = whole.count(0)
        if len(letters) >= 8 and num_zeros == len(whole) - len(letters) and all(9 <= code < 127 for code in letters):
            return encoding
    return None


def decimal_points(data: bytes, *, commas_separate: bool = False) -> bytes:
    """Text whose numbers have decimal commas, with points; other bytes are returned as they are.

    Samples decide: at least 30 % of the numbers of one have one comma between digits, and hardly any has a point. Lists
    that commas separate (`0,1,2,-1`, a table of whole numbers) have several commas in a word.

    Args:
        data: The file.
        commas_separate: Commas stand between the rows in this format, so that `0 0 300,400 0 0` are two of them: a
            decimal part must begin with a zero somewhere (`73,05`), as no whole number does.
    """
    samples = _samples(data)
    if not any(_INNER_COMMA.search(sample) for sample in samples) or any(_BINARY.search(sample) for sample in samples):
        return data
    counts = [_count_numbers(sample, commas_separate) for sample in samples]
    num_points = sum(count.points for count in counts)
    num_commas = sum(count.commas for count in counts)
    num_lists = sum(count.lists for count in counts)
    if max(num_points, num_lists) > 2 + _MAX_OTHER_SHARE * num_commas or (commas_separate and num_lists):
        return data
    if commas_separate and not any(count.is_proven for count in counts):
        return data
    if any(count.commas and count.commas >= _LEAST_COMMA_SHARE * count.numbers for count in counts):
        return _with_points(data)
    return data


def _with_points(data: bytes) -> bytes:
    """Points for the commas between two digits."""
    codes = np.frombuffer(data, np.uint8)
    is_digit = (codes >= ord("0")) & (codes <= ord("9"))
    is_decimal = (codes[1:-1] == ord(",")) & is_digit[:-2] & is_digit[2:]
    result = codes.copy()
    result[1:-1][is_decimal] = ord(".")
    return result.tobytes()


def _samples(data: bytes) -> list[bytes]:
    starts = dict.fromkeys(len(data) * number // _NUM_SAMPLES for number in range(_NUM_SAMPLES))
    samples = []
    for start in starts:
        sample = data[start : start + _SAMPLE_BYTES]
        # The first word and the last may be cut.
        words = sample.split(None, 1) if start else [b"", sample]
        whole = words[1] if len(words) > 1 else b""
        samples.append(whole if start + _SAMPLE_BYTES >= len(data) else whole.rsplit(None, 1)[0] if whole else b"")
    return samples


class _Counts(NamedTuple):
    """What numbers a sample has: with a decimal point, with one comma between digits, and all; and lists of them.

    `is_proven`: a decimal part begins with a zero, as in `73,05`.
    """

    points: int
    commas: int
    numbers: int
    lists: int
    is_proven: bool


def _count_numbers(sample: bytes, commas_separate: bool) -> _Counts:
    points = commas = whole = lists = 0
    is_proven = False
    for line in [sample] if commas_separate else sample.splitlines():
        words = _WORD.findall(line)
        fractions = [match[1] for word in words if (match := _COMMA_NUMBER.fullmatch(word))]
        lists += sum(_LIST.fullmatch(word) is not None for word in words)
        points += sum(_POINT_NUMBER.fullmatch(word) is not None for word in words)
        line_whole = sum(_WHOLE_NUMBER.fullmatch(word) is not None for word in words)
        # A pair of whole numbers alone in its line, `100,200`, is no coordinate.
        commas += len(fractions) if len(fractions) + line_whole >= 3 else 0
        whole += line_whole
        is_proven |= any(len(fraction) > 1 and fraction.startswith(b"0") for fraction in fractions)
    return _Counts(points, commas, points + commas + whole, lists, is_proven)
