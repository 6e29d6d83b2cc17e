"""The bytes of a scan as its reader expects them: unpacked, UTF-8 without a byte-order mark, with decimal points."""

from __future__ import annotations

import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from smilevlm.errors import MeshError

MAX_UNPACKED_BYTES = 2**30
MAX_UNPACKED_RATIO = 400
"""How many times its packed size; text of repeated numbers reaches 20, decompression bombs a thousand."""
_FREE_BYTES = 2**20
_MAX_LAYERS = 3

_DECOMPRESSORS: dict[bytes, tuple[str, Callable[[], object]]] = {
    b"\x1f\x8b\x08": ("gzip", lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\0": ("xz", lzma.LZMADecompressor),
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
_INNER_COMMA = re.compile(rb"\d,\d")
_WORD = re.compile(rb"[^\s;\"'\[\]{}()<>=|]+")
_POINT_NUMBER = re.compile(rb"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?,?")
_COMMA_NUMBER = re.compile(rb"[-+]?\d+,(\d+)(?:[eE][-+]?\d+)?,?")
_WHOLE_NUMBER = re.compile(rb"[-+]?\d+,?")
_DECIMAL_COMMA = re.compile(rb"(?<=\d),(?=\d)")
_LEAST_COMMA_SHARE = 0.3
"""Of the numbers of a sample: three coordinates among as many whole numbers for colours, for instance."""


def unpack(data: bytes, path: Path) -> bytes:
    """Decompress gzip, bzip2 and xz, told by the first bytes; other bytes are returned as they are.

    Raises:
        MeshError: The stream is damaged or cut, or unpacks to far too much.
    """
    for _ in range(_MAX_LAYERS):
        found = next((found for magic, found in _DECOMPRESSORS.items() if data.startswith(magic)), None)
        if found is None:
            return data
        data = _unpack_layer(data, path, *found)
    raise MeshError(f"packed more than {_MAX_LAYERS} times over", path=path)


def _unpack_layer(packed: bytes, path: Path, name: str, decompressor: Callable[[], object]) -> bytes:
    limit = min(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * len(packed) + _FREE_BYTES)
    unpacked = bytearray()
    rest = packed
    try:
        # Several streams one after another, as `cat a.gz b.gz` makes them; what follows the last is padding.
        while rest and (not unpacked or rest.startswith(tuple(_DECOMPRESSORS))):
            stream = decompressor()
            unpacked += stream.decompress(rest, limit + 1 - len(unpacked))  # type: ignore[attr-defined]
            if len(unpacked) > limit:
                raise MeshError(f"unpacks to more than {limit / 2**20:.0f} MiB; refused", path=path)
            if not stream.eof:  # type: ignore[attr-defined]
                raise EOFError("it ends too early")
            rest = stream.unused_data  # type: ignore[attr-defined]
    except _DAMAGED as error:
        raise MeshError(f"a damaged {name} file: {error}", path=path) from None
    return bytes(unpacked)


def decode_text(data: bytes, path: Path) -> bytes:
    """UTF-16 and UTF-32 text as UTF-8; a byte-order mark is removed; other bytes are returned as they are.

    Raises:
        MeshError: The bytes are not what their byte-order mark says.
    """
    for mark, encoding in _TEXT_MARKS:
        if data.startswith(mark):
            body = data[len(mark) :]
            return body if encoding == "utf-8" else _recode(body, encoding, path)
    encoding = _unmarked_utf16(data)
    return data if encoding is None else _recode(data, encoding, path)


def _recode(body: bytes, encoding: str, path: Path) -> bytes:
    try:
        return body.decode(encoding).encode("utf-8", "replace")
    except UnicodeDecodeError as error:
        raise MeshError(f"starts as {encoding.upper()} text but is not: {error.reason}", path=path) from None


def _unmarked_utf16(data: bytes) -> str | None:
    """Text of Latin letters in UTF-16 without a mark has a zero in every other byte."""
    head = data[:64]
    if len(head) < 16 or len(head) % 2:
        return None
    for first, encoding in ((0, "utf-16-le"), (1, "utf-16-be")):
        letters, zeros = head[first::2], head[1 - first :: 2]
        if not any(zeros) and all(9 <= code < 127 for code in letters):
            return encoding
    return None


def decimal_points(data: bytes) -> bytes:
    """Text whose numbers have decimal commas, with points; other bytes are returned as they are.

    A sample decides: at least 30 % of its numbers have one comma between digits, and none has a point but one, the
    version of the format. Lists that commas separate (`0,1,2,-1`) have several commas in a word.
    """
    samples = _samples(data)
    if not any(_INNER_COMMA.search(sample) for sample in samples) or any(b"\0" in sample for sample in samples):
        return data
    counts = [_count_numbers(sample) for sample in samples]
    if sum(num_points for num_points, _, _ in counts) > 1:
        return data
    if any(commas and commas >= _LEAST_COMMA_SHARE * numbers for _, commas, numbers in counts):
        return _DECIMAL_COMMA.sub(b".", data)
    return data


def _samples(data: bytes) -> list[bytes]:
    starts = dict.fromkeys(len(data) * number // _NUM_SAMPLES for number in range(_NUM_SAMPLES))
    return [data[start : start + _SAMPLE_BYTES] for start in starts]


def _count_numbers(sample: bytes) -> tuple[int, int, int]:
    """Numbers with a decimal point, numbers with a decimal comma, and all numbers of a sample."""
    words = _WORD.findall(sample)[1:-1]  # the first and the last may be cut
    num_points = sum(_POINT_NUMBER.fullmatch(word) is not None for word in words)
    fractions = [match[1] for word in words if (match := _COMMA_NUMBER.fullmatch(word))]
    # `0 0 0,10 0 0,10 5 0`: whole coordinates with commas between the rows have one digit or two after the comma.
    num_commas = len(fractions) if sum(map(len, fractions)) > 2 * len(fractions) else 0
    num_whole = sum(_WHOLE_NUMBER.fullmatch(word) is not None for word in words)
    return num_points, num_commas, num_points + len(fractions) + num_whole
