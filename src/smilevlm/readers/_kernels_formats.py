"""Compiled scanners that serve one format each: OBJ, text STL, packed PCD (LZF), PLY with lists. See `_kernels`."""

# ruff: noqa: SIM109  (comparisons, not tuples, in inner loops)

from __future__ import annotations

from typing import no_type_check

import numpy as np

from smilevlm.readers._kernels import (
    BACKSLASH,
    INDEX_LIMIT,
    LINE_FEED,
    RETURN,
    SLASH,
    SPACE,
    Array,
    Bytes,
    is_delimiter,
    kernel,
    parse_number,
    skip_non_finite,
)
from smilevlm.readers._status import (
    BAD_INDEX,
    DONE,
    NO_TEXTURE,
    NON_FINITE,
    NOT_A_NUMBER,
    NOT_AN_INDEX,
    TOO_LARGE,
    TOO_SHORT,
    UNKNOWN_WORD,
    ZERO_INDEX,
)
from smilevlm.readers._words import WORD, first_digits, load_word

LETTER_F, LETTER_T, LETTER_V = 102, 116, 118


@kernel
@no_type_check
def skip_inline(buffer: Bytes, i: int, stop: int) -> int:
    """Past blanks within a line of OBJ; a backslash before the line's end continues it."""
    while i < stop:
        code = buffer[i]
        if code == LINE_FEED or code == RETURN:
            break
        if code <= SPACE:
            i += 1
        elif code == BACKSLASH and i + 1 < stop and buffer[i + 1] == LINE_FEED:
            i += 2
        elif code == BACKSLASH and i + 1 < stop and buffer[i + 1] == RETURN:
            i += 3 if i + 2 < stop and buffer[i + 2] == LINE_FEED else 2
        else:
            break
    return i


@kernel
@no_type_check
def line_end(buffer: Bytes, i: int, stop: int) -> int:
    """The first byte of the next line; continued lines count as one."""
    while i < stop:
        code = buffer[i]
        if code == BACKSLASH:
            i = max(skip_inline(buffer, i, stop), i + 1)
            continue
        i += 1
        if code == LINE_FEED or code == RETURN:
            break
    return i


@kernel
@no_type_check
def line_kind(buffer: Bytes, i: int, stop: int) -> int:
    """1 for `v`, 2 for `vt`, 3 for `f`, in any case, 0 for the rest; followed by a blank or a continuation."""
    if i >= stop:
        return 0
    second = buffer[i + 1] if i + 1 < stop else SPACE
    third = buffer[i + 2] if i + 2 < stop else SPACE
    letter = buffer[i] | 32  # in lower case
    if letter == LETTER_V and (second <= SPACE or second == BACKSLASH):
        return 1
    if letter == LETTER_V and (second | 32) == LETTER_T and (third <= SPACE or third == BACKSLASH):
        return 2
    if letter == LETTER_F and (second <= SPACE or second == BACKSLASH):
        return 3
    return 0


@kernel
@no_type_check
def count_obj(buffer: Bytes, stop: int) -> tuple[int, int, int]:
    """Lines of `v` and `vt`, and an upper bound for the corners of all `f` with one separator each."""
    num_vertices = 0
    num_texture = 0
    num_corners = 0
    i = 0
    while i < stop:
        i = skip_inline(buffer, i, stop)
        kind = line_kind(buffer, i, stop)
        if kind == 1:
            num_vertices += 1
        elif kind == 2:
            num_texture += 1
        end = line_end(buffer, i, stop)
        if kind == 3:
            in_word = False
            for j in range(i + 1, end):
                blank = buffer[j] <= SPACE
                num_corners += in_word and blank
                in_word = not blank
            num_corners += 2
        i = end
    return num_vertices, num_texture, num_corners


@kernel
@no_type_check
def scan_line_numbers(buffer: Bytes, i: int, stop: int, numbers: Array) -> tuple[int, int, int]:
    """Numbers to the end of a line or a comment, as many as fit: (count, status, position); nan if not finite."""
    count = 0
    i = skip_inline(buffer, i, stop)
    while i < stop and count < len(numbers):
        if is_delimiter(buffer[i]) and buffer[i] > 0:
            break
        value, after, status = parse_number(buffer, i, stop)
        if status == NON_FINITE or status == TOO_LARGE:
            value, after, status = np.nan, skip_non_finite(buffer, i, stop), DONE
        if status == DONE and after < stop and not is_delimiter(buffer[after]) and buffer[after] != BACKSLASH:
            status = NOT_A_NUMBER
        if status != DONE:
            return count, status, i
        numbers[count] = value
        count += 1
        i = skip_inline(buffer, after, stop)
    return count, DONE, i


@kernel
@no_type_check
def parse_relative_index(buffer: Bytes, i: int, stop: int, num_before: int) -> tuple[int, int, int]:
    """An OBJ index, from 1 or counted back from the last one before: (index from 0, position, status).

    ZERO_INDEX for 0; BAD_INDEX for one that can name nothing.
    """
    if i + WORD < stop:  # the short way for up to seven digits
        digits, num_digits = first_digits(load_word(buffer, i))
        end = buffer[i + num_digits]
        if 0 < num_digits < WORD and digits > 0 and (end <= SPACE or end == SLASH):
            return digits - 1, i + num_digits, DONE
    value, after, status = parse_number(buffer, i, stop)
    if status == NON_FINITE or status == TOO_LARGE:
        return BAD_INDEX, index_end(buffer, i, stop), DONE
    if status != DONE:
        return BAD_INDEX, i, status
    if value == 0:
        return ZERO_INDEX, after, DONE
    if value != np.floor(value) or abs(value) > INDEX_LIMIT:
        return BAD_INDEX, after, DONE
    index = np.int64(value)
    index = index - 1 if index > 0 else num_before + index
    return (index if index >= 0 else BAD_INDEX), after, DONE


@kernel
@no_type_check
def index_end(buffer: Bytes, i: int, stop: int) -> int:
    """The slash or blank after an index that is no number."""
    while i < stop and buffer[i] > SPACE and buffer[i] != SLASH and buffer[i] != BACKSLASH:
        i += 1
    return i


@kernel
@no_type_check
def scan_obj(
    buffer: Bytes, stop: int, vertices: Array, colors: Array, texture_points: Array, corners: Array, texture: Array
) -> tuple[int, int, int]:
    """Fill what `count_obj` counted: (corners used, status, position).

    Colours that are absent become nan, and so do texture points that are no numbers. A texture index that is no whole
    number becomes one that is too large.
    """
    numbers = np.empty(6, np.float64)
    num_vertices = 0
    num_texture = 0
    count = 0
    i = 0
    while i < stop:
        i = skip_inline(buffer, i, stop)
        kind = line_kind(buffer, i, stop)
        if kind == 1:
            found, status, position = scan_line_numbers(buffer, i + 1, stop, numbers)
            if found < 3:
                return count, (status if status != DONE else TOO_SHORT), (position if status != DONE else i)
            for axis in range(3):
                vertices[num_vertices, axis] = numbers[axis]
                colors[num_vertices, axis] = numbers[3 + axis] if found == 6 else np.nan
            num_vertices += 1
        elif kind == 2:
            found, status, position = scan_line_numbers(buffer, i + 2, stop, numbers[:3])
            texture_points[num_texture, 0] = numbers[0] if found > 0 else np.nan
            texture_points[num_texture, 1] = numbers[1] if found > 1 else (0.0 if status == DONE else np.nan)
            num_texture += 1
        elif kind == 3:
            i = skip_inline(buffer, i + 1, stop)
            while i < stop and buffer[i] > SPACE and buffer[i] != 35:
                index, after, status = parse_relative_index(buffer, i, stop, num_vertices)
                if status != DONE:
                    return count, status, i
                texture_index = NO_TEXTURE
                if after < stop and buffer[after] == SLASH:
                    after += 1
                    if after < stop and buffer[after] != SLASH and buffer[after] > SPACE:
                        texture_index, _, status = parse_relative_index(buffer, after, stop, num_texture)
                        if status != DONE or texture_index == BAD_INDEX:
                            texture_index = INDEX_LIMIT
                        after = index_end(buffer, after, stop)
                    if after < stop and buffer[after] == SLASH:  # the normal, which is not kept
                        after += 1
                        while after < stop and buffer[after] > SPACE and buffer[after] != BACKSLASH:
                            after += 1
                if after < stop and buffer[after] > SPACE and buffer[after] != BACKSLASH:
                    return count, NOT_A_NUMBER, i
                corners[count] = index
                texture[count] = texture_index
                count += 1
                i = skip_inline(buffer, after, stop)
                if i == after and i < stop and buffer[i] == BACKSLASH:
                    return count, NOT_A_NUMBER, i
            corners[count] = -1
            texture[count] = -1
            count += 1
        i = line_end(buffer, i, stop)
    return count, DONE, i


@kernel
@no_type_check
def next_word(buffer: Bytes, i: int, stop: int) -> tuple[int, int]:
    """Start and end of the next word."""
    while i < stop and buffer[i] <= SPACE:
        i += 1
    start = i
    while i < stop and buffer[i] > SPACE:
        i += 1
    return start, i


@kernel
@no_type_check
def is_word(buffer: Bytes, start: int, end: int, word: bytes) -> bool:
    """Whether the bytes are this word, in any case."""
    if end - start != len(word):
        return False
    for k in range(len(word)):  # noqa: SIM110  (numba has no generator here)
        if buffer[start + k] | 32 != word[k]:
            return False
    return True


@kernel
@no_type_check
def scan_stl(buffer: Bytes, stop: int, points: Array) -> tuple[int, int, int, bool]:
    """Corners of the whole facets of a text STL: (count, status, position, whether `endsolid` closes the last solid).

    TOO_SHORT for a facet of fewer than three corners. Trouble at the position `stop` is that of a file that was cut.
    """
    count = 0
    i = 0
    is_open = False
    in_loop = 0
    while True:
        start, end = next_word(buffer, i, stop)
        if start >= stop:
            return count - in_loop, (DONE if in_loop == 0 else TOO_SHORT), stop, not is_open
        i = end
        if is_word(buffer, start, end, b"end"):  # `end solid`, `end facet`, `end loop`
            start, end = next_word(buffer, i, stop)
            i = end
            if is_word(buffer, start, end, b"solid") or start >= stop:
                is_open = False
                i = text_line_end(buffer, i, stop)
                continue
            is_end = True
        else:
            is_end = False
        if is_word(buffer, start, end, b"solid") or is_word(buffer, start, end, b"endsolid"):
            is_open = end - start == 5
            i = text_line_end(buffer, i, stop)
        elif is_word(buffer, start, end, b"facet") and not is_end:
            for _ in range(4):  # the normal follows from the corners, and degenerate facets have nan there
                start, i = next_word(buffer, i, stop)
        elif is_word(buffer, start, end, b"vertex"):
            in_loop += 1
            if in_loop > 3:
                return count - in_loop + 1, UNKNOWN_WORD, start, False
            for axis in range(3):
                start, end = next_word(buffer, i, stop)
                value, after, status = parse_number(buffer, start, end)
                if status == NON_FINITE or status == TOO_LARGE:
                    value, after, status = np.nan, end, DONE
                if status == DONE and after != end:
                    status = NOT_A_NUMBER
                if status != DONE:
                    return count - in_loop + 1, status, (stop if end >= stop else start), False
                points[count, axis] = value
                i = end
            count += 1
        elif is_word(buffer, start, end, b"endfacet") or (is_end and is_word(buffer, start, end, b"facet")):
            if in_loop != 3:
                return count - in_loop, TOO_SHORT, start, False
            in_loop = 0
        elif not (
            is_word(buffer, start, end, b"outer")
            or is_word(buffer, start, end, b"loop")
            or is_word(buffer, start, end, b"endloop")
        ):
            return count - in_loop, UNKNOWN_WORD, (stop if end >= stop else start), False


@kernel
@no_type_check
def text_line_end(buffer: Bytes, i: int, stop: int) -> int:
    """The end of the line."""
    while i < stop and buffer[i] != LINE_FEED and buffer[i] != RETURN:
        i += 1
    return i


@kernel
@no_type_check
def unpack_lzf(packed: Bytes, unpacked: Bytes) -> int:
    """Unpack into an array of the announced size; returns how many bytes came out, -1 for damaged input.

    Source: M. Lehmann, LibLZF 3.6, `lzf_d.c`.
    """
    i, out = 0, 0
    while i < len(packed):
        control = int(packed[i])
        i += 1
        if control < 32:  # a run of bytes as they are
            length = control + 1
            if i + length > len(packed) or out + length > len(unpacked):
                return -1
            for k in range(length):
                unpacked[out + k] = packed[i + k]
            i += length
            out += length
            continue
        length = control >> 5
        if length == 7:
            if i >= len(packed):
                return -1
            length += int(packed[i])
            i += 1
        length += 2
        if i >= len(packed):
            return -1
        source = out - ((control & 31) << 8) - int(packed[i]) - 1
        i += 1
        if source < 0 or out + length > len(unpacked):
            return -1
        for k in range(length):  # byte by byte: the two may overlap
            unpacked[out + k] = unpacked[source + k]
        out += length
    return out


# Codes of PLY's scalar types: size in bytes, then whether signed or a float.
INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, FLOAT32, FLOAT64 = range(10)


@kernel
@no_type_check
def read_scalar(buffer: Bytes, i: int, code: int, big: bool, word: Array, single: Array, double: Array) -> float:
    """One scalar of a binary PLY; `single` and `double` are views of `word`."""
    size = 1 if code <= UINT8 else 2 if code <= UINT16 else 4 if code <= UINT32 or code == FLOAT32 else 8
    bits = np.uint64(0)
    for k in range(size):
        byte = np.uint64(buffer[i + k] if big else buffer[i + size - 1 - k])
        bits = (bits << np.uint64(8)) | byte
    word[0] = bits
    if code == FLOAT64:
        return double[0]
    if code == FLOAT32:
        return np.float64(single[0])
    if code == UINT64:
        return np.float64(bits)
    value = np.int64(bits)
    if code == INT8 or code == INT16 or code == INT32:
        half = np.int64(1) << (8 * size - 1)
        if value >= half:
            value -= 2 * half
    return np.float64(value)


@kernel
@no_type_check
def walk_ply(
    buffer: Bytes,
    offset: int,
    num_rows: int,
    count_codes: Array,
    value_codes: Array,
    big: bool,
    wanted: int,
    values: Array,
    lengths: Array,
) -> tuple[int, int, int, int]:
    """Walk rows that have lists: (values of the wanted property, status, offset, whole rows).

    The offset is that after the rows, or of the trouble.

    With `values` empty nothing is written, so that a first walk can size the second. A scalar property counts as a
    list of one; `count_codes` is -1 for it.
    """
    word = np.zeros(1, np.uint64)
    single = word.view(np.float32)  # the low half first: numba runs on little-endian machines
    double = word.view(np.float64)
    sizes = (1, 1, 2, 2, 4, 4, 8, 8, 4, 8)
    stop = len(buffer)
    count = 0
    i = offset
    for row in range(num_rows):
        for column in range(len(value_codes)):
            length = 1
            if count_codes[column] >= 0:
                width = sizes[count_codes[column]]
                if i + width > stop:
                    return count, TOO_SHORT, i, row
                announced = read_scalar(buffer, i, count_codes[column], big, word, single, double)
                if not 0 <= announced <= stop - i:
                    return count, TOO_SHORT, i, row
                length = np.int64(announced)
                i += width
            width = sizes[value_codes[column]]
            if i + length * width > stop:
                return count, TOO_SHORT, i, row
            if column == wanted:
                if len(values):
                    for k in range(length):
                        values[count + k] = read_scalar(
                            buffer, i + k * width, value_codes[column], big, word, single, double
                        )
                    lengths[row] = length
                count += length
            i += length * width
    return count, DONE, i, num_rows


@kernel
@no_type_check
def walk_ply_text(
    numbers: Array, offset: int, num_rows: int, is_list: Array, wanted: int, values: Array, lengths: Array
) -> tuple[int, int, int, int]:
    """`walk_ply` over the numbers of a text PLY; offsets count numbers."""
    stop = len(numbers)
    count = 0
    i = offset
    for row in range(num_rows):
        for column in range(len(is_list)):
            length = 1
            if is_list[column]:
                if i >= stop:
                    return count, TOO_SHORT, i, row
                announced = numbers[i]
                if announced != np.floor(announced) or announced < 0:
                    return count, NOT_AN_INDEX, i, row
                if announced > stop - i:
                    return count, TOO_SHORT, i, row
                length = np.int64(announced)
                i += 1
            if i + length > stop:
                return count, TOO_SHORT, i, row
            if column == wanted:
                if len(values):
                    values[count : count + length] = numbers[i : i + length]
                    lengths[row] = length
                count += length
            i += length
    return count, DONE, i, num_rows
