"""Compiled scanners over raw bytes. Import this module inside functions: loading numba takes a moment.

Every text scanner takes `(buffer, position, stop)`, never reads outside `[position, stop)`, and reports a status and
the position where it stopped instead of raising, so that its caller can say `path:line`. Outputs are allocated by the
caller from the number of bytes there are, so a file that lies about its counts cannot ask for memory.
"""

# ruff: noqa: SIM109  (comparisons, not tuples, in inner loops)

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np

from smilevlm.compiled import kernel as compiled_kernel
from smilevlm.readers._status import (
    BAD_INDEX,
    DONE,
    NON_FINITE,
    NOT_A_NUMBER,
    TOKEN_CLOSE,
    TOKEN_END,
    TOKEN_NUMBER,
    TOKEN_OPEN,
    TOKEN_STRING,
    TOKEN_UNCLOSED_STRING,
    TOKEN_WORD,
    TOO_LARGE,
)
from smilevlm.readers._words import WORD, first_digits, load_word

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Array = np.ndarray[Any, Any]

kernel = compiled_kernel()

POWERS_OF_TEN = np.array([float(f"1e{n}") for n in range(23)])  # all exact in float64
FLOAT32_LIMIT = 3.4028235677973366e38  # half a unit above the largest float32: this and more rounds to infinity
INDEX_LIMIT = 2**31 - 1
MANTISSA_LIMIT = 10**17  # further digits are below the last bit of a float64

PLAIN_LENGTH = 3 * WORD
"""Bytes that reading a plain number may look at."""

CODE_BLOCK = 64

TAB, LINE_FEED, RETURN, SPACE, QUOTE, HASH = 9, 10, 13, 32, 34, 35
PLUS, COMMA, MINUS, POINT, SLASH, SEMICOLON, BACKSLASH = 43, 44, 45, 46, 47, 59, 92
OPEN_LIST, CLOSE_LIST, OPEN_NODE, CLOSE_NODE = 91, 93, 123, 125
ONE = 49


@kernel
@no_type_check
def is_delimiter(code: int) -> bool:
    """Whether a byte ends a number: white space, separators, brackets, quotes and comments."""
    return (
        code <= SPACE
        or code == COMMA
        or code == SEMICOLON
        or code == HASH
        or code == QUOTE
        or code == OPEN_LIST
        or code == CLOSE_LIST
        or code == OPEN_NODE
        or code == CLOSE_NODE
    )


@kernel
@no_type_check
def is_non_finite_word(buffer: Bytes, i: int, stop: int) -> bool:
    """Whether `nan...` or `inf...` starts here, in any case."""
    if i + 3 > stop:
        return False
    a, b, c = buffer[i] | 32, buffer[i + 1] | 32, buffer[i + 2] | 32
    return (a == 110 and b == 97 and c == 110) or (a == 105 and b == 110 and c == 102)


@kernel
@no_type_check
def parse_number(buffer: Bytes, position: int, stop: int) -> tuple[float, int, int]:
    """One decimal number: (value, position after it, status).

    Correct to the last bit of a float32 for texts of up to nine significant digits: mantissa and power of ten are
    exact in float64 up to 10^22, and within a few float64 units beyond.
    """
    i = position
    negative = False
    if i < stop and (buffer[i] == MINUS or buffer[i] == PLUS):
        negative = buffer[i] == MINUS
        i += 1
    mantissa = np.int64(0)
    exponent = np.int64(0)
    num_digits = 0
    while i < stop:
        digit = np.int64(buffer[i]) - 48
        if digit < 0 or digit > 9:
            break
        if mantissa < MANTISSA_LIMIT:
            mantissa = mantissa * 10 + digit
        else:
            exponent += 1
        num_digits += 1
        i += 1
    if i < stop and buffer[i] == POINT:
        i += 1
        while i < stop:
            digit = np.int64(buffer[i]) - 48
            if digit < 0 or digit > 9:
                break
            if mantissa < MANTISSA_LIMIT:
                mantissa = mantissa * 10 + digit
                exponent -= 1
            num_digits += 1
            i += 1
        if i + 1 < stop and buffer[i] == HASH and (buffer[i + 1] == 73 or buffer[i + 1] == 81 or buffer[i + 1] == 83):
            return 0.0, position, NON_FINITE  # 1.#INF, 1.#IND, 1.#QNAN, 1.#SNAN of old Windows compilers
    if num_digits == 0:
        return 0.0, position, NON_FINITE if is_non_finite_word(buffer, i, stop) else NOT_A_NUMBER
    if i < stop and (buffer[i] == 101 or buffer[i] == 69):
        i += 1
        negative_exponent = False
        if i < stop and (buffer[i] == MINUS or buffer[i] == PLUS):
            negative_exponent = buffer[i] == MINUS
            i += 1
        written = np.int64(0)
        first = i
        while i < stop:
            digit = np.int64(buffer[i]) - 48
            if digit < 0 or digit > 9:
                break
            if written < 100_000_000:
                written = written * 10 + digit
            i += 1
        if i == first:
            return 0.0, position, NOT_A_NUMBER
        exponent += -written if negative_exponent else written
    value = np.float64(mantissa)
    if mantissa == 0 or exponent < -400:
        value = 0.0
    elif exponent > 400:
        return 0.0, position, TOO_LARGE
    else:
        while exponent > 22:
            value *= 1e22
            exponent -= 22
        while exponent < -22:
            value /= 1e22
            exponent += 22
        if exponent >= 0:
            value *= POWERS_OF_TEN[exponent]
        else:
            value /= POWERS_OF_TEN[-exponent]
    if value >= FLOAT32_LIMIT:
        return 0.0, position, TOO_LARGE
    return (-value if negative else value), i, DONE


@kernel
@no_type_check
def skip_non_finite(buffer: Bytes, i: int, stop: int) -> int:
    """Past a number that is not finite or too large: to the next blank or separator; `#` is part of `-1.#IND00`."""
    while i < stop and (not is_delimiter(buffer[i]) or buffer[i] == HASH):
        i += 1
    return i


@kernel
@no_type_check
def inside_number(buffer: Bytes, i: int, stop: int) -> bool:
    """Whether the `#` at a place is that of `-1.#IND` and its like, not of a comment."""
    if i == 0 or i + 1 >= stop or buffer[i - 1] != POINT:
        return False
    code = buffer[i + 1]
    return code == 73 or code == 81 or code == 83


@kernel
@no_type_check
def skip_blank(buffer: Bytes, i: int, stop: int) -> int:
    """Past white space, commas and `#` comments."""
    while i < stop:
        code = buffer[i]
        if code <= SPACE or code == COMMA:
            i += 1
        elif code == HASH:
            while i < stop and buffer[i] != LINE_FEED and buffer[i] != RETURN:
                i += 1
        else:
            break
    return i


@kernel
@no_type_check
def ends_plainly(code: int) -> bool:
    """Whether a blank or a comma, as after nearly every number."""
    return code <= SPACE or code == COMMA


@kernel
@no_type_check
def plain_value(negative: bool, whole: int, fraction: int, num_fraction: int) -> float:
    """What `parse_number` makes of the same digits, to the bit."""
    value = (whole * POWERS_OF_TEN[num_fraction] + fraction) / POWERS_OF_TEN[num_fraction]
    return -value if negative else value


@kernel
@no_type_check
def scan_floats(buffer: Bytes, position: int, stop: int, values: Array) -> tuple[int, int, int]:
    """All numbers up to `stop`: (count, status, position); nan for one that is not finite or too large.

    Those of up to seven digits before and after the point, without exponent, take a short way.
    """
    count = 0
    i = skip_blank(buffer, position, stop)
    while i < stop:
        after = i
        if i + PLAIN_LENGTH <= stop:
            negative = buffer[i] == MINUS
            j = i + negative
            whole, num_whole = first_digits(load_word(buffer, j))
            j += num_whole
            fraction, num_fraction = 0, 0
            if buffer[j] == POINT:
                fraction, num_fraction = first_digits(load_word(buffer, j + 1))
                j += 1 + num_fraction
            few = num_whole < WORD and num_fraction < WORD and num_whole + num_fraction > 0
            if few and ends_plainly(buffer[j]):
                values[count] = plain_value(negative, whole, fraction, num_fraction)
                after = j
        if after == i:
            value, after, status = parse_number(buffer, i, stop)
            if status == NON_FINITE or status == TOO_LARGE:
                value, after, status = np.nan, skip_non_finite(buffer, i, stop), DONE
            if status == DONE and after < stop and not is_delimiter(buffer[after]):
                status = NOT_A_NUMBER
            if status != DONE:
                return count, status, i
            values[count] = value
        count += 1
        i = after
        while i < stop and ends_plainly(buffer[i]):
            i += 1
        if i < stop and buffer[i] == HASH:
            i = skip_blank(buffer, i, stop)
        if i == after and i < stop:
            return count, NOT_A_NUMBER, i
    return count, DONE, i


@kernel
@no_type_check
def scan_words(buffer: Bytes, position: int, stop: int, values: Array) -> int:
    """All numbers up to `stop`, and how many there are: nan for one that is not finite, inf for a word that is none."""
    count = 0
    i = skip_blank(buffer, position, stop)
    while i < stop:
        value, after, status = parse_number(buffer, i, stop)
        if status == NON_FINITE or status == TOO_LARGE:
            value, after = np.nan, skip_non_finite(buffer, i, stop)
        elif status != DONE or (after < stop and not ends_plainly(buffer[after]) and buffer[after] != HASH):
            value, after = np.inf, i
            while after < stop and not ends_plainly(buffer[after]):
                after += 1
        values[count] = value
        count += 1
        i = skip_blank(buffer, after, stop)
    return count


@kernel
@no_type_check
def any_index(buffer: Bytes, position: int, stop: int) -> tuple[int, int, int]:
    """A whole number from -1 up, however it is written: (value or BAD_INDEX, position after it, status)."""
    value, i, status = parse_number(buffer, position, stop)
    if status == NON_FINITE or status == TOO_LARGE:
        return BAD_INDEX, skip_non_finite(buffer, position, stop), DONE
    if status != DONE:
        return 0, position, status
    if i < stop and not is_delimiter(buffer[i]):
        return 0, position, NOT_A_NUMBER
    if value != np.floor(value) or value < -1 or value > INDEX_LIMIT:
        return BAD_INDEX, i, DONE
    return np.int64(value), i, DONE


@kernel
@no_type_check
def scan_indices(buffer: Bytes, position: int, stop: int, values: Array) -> tuple[int, int, int]:
    """All whole numbers from -1 up, as VRML writes faces: (count, status, position); BAD_INDEX for any other number.

    Those of up to seven digits, and -1, take a short way.
    """
    count = 0
    i = skip_blank(buffer, position, stop)
    while i < stop:
        after = i
        if i + WORD <= stop:
            index, length = first_digits(load_word(buffer, i))
            if buffer[i] == MINUS and buffer[i + 1] == ONE:
                index, length = -1, 2
            if 0 < length < WORD and ends_plainly(buffer[i + length]):
                values[count] = index
                after = i + length
        if after == i:
            index, after, status = any_index(buffer, i, stop)
            if status != DONE:
                return count, status, i
            values[count] = index
        count += 1
        i = after
        while i < stop and ends_plainly(buffer[i]):
            i += 1
        if i < stop and buffer[i] == HASH:
            i = skip_blank(buffer, i, stop)
        if i == after and i < stop:
            return count, NOT_A_NUMBER, i
    return count, DONE, i


@kernel
@no_type_check
def position_of_value(buffer: Bytes, position: int, stop: int, ordinal: int) -> int:
    """Where the value number `ordinal` (from 0) of a list starts; used only to say a line."""
    i = skip_blank(buffer, position, stop)
    for _ in range(ordinal):
        while i < stop and (not is_delimiter(buffer[i]) or inside_number(buffer, i, stop)):
            i += 1
        i = skip_blank(buffer, i, stop)
    return i


@kernel
@no_type_check
def scan_table(buffer: Bytes, position: int, stop: int, values: Array, row_starts: Array) -> tuple[int, int, int, int]:
    """Numbers, and where each line that has any starts: (count, rows, status, position).

    Blanks, commas and semicolons separate; `#` and `//` start comments. `row_starts[rows]` is set to the count; nan is
    written for a number that is not finite or too large.
    """
    count = 0
    rows = 0
    i = position
    in_row = False
    while i < stop:
        code = buffer[i]
        if code == LINE_FEED or code == RETURN:
            in_row = False
            i += 1
        elif code <= SPACE or code == COMMA or code == SEMICOLON:
            i += 1
        elif code == HASH or (code == SLASH and i + 1 < stop and buffer[i + 1] == SLASH):
            while i < stop and buffer[i] != LINE_FEED and buffer[i] != RETURN:
                i += 1
        else:
            value, after, status = parse_number(buffer, i, stop)
            if status == NON_FINITE or status == TOO_LARGE:
                value, after, status = np.nan, skip_non_finite(buffer, i, stop), DONE
            if status == DONE and after < stop and not is_delimiter(buffer[after]):
                status = NOT_A_NUMBER
            if status != DONE:
                return count, rows, status, i
            if not in_row:
                row_starts[rows] = count
                rows += 1
                in_row = True
            values[count] = value
            count += 1
            i = after
            if i < stop and (buffer[i] == QUOTE or OPEN_LIST <= buffer[i] <= CLOSE_LIST or buffer[i] >= OPEN_NODE):
                return count, rows, NOT_A_NUMBER, i
    row_starts[rows] = count
    return count, rows, DONE, i


@kernel
@no_type_check
def next_token(buffer: Bytes, position: int, stop: int) -> tuple[int, int, int]:
    """The next VRML token: (kind, start, end)."""
    i = skip_blank(buffer, position, stop)
    if i >= stop:
        return TOKEN_END, stop, stop
    start = i
    code = buffer[i]
    if code == QUOTE:
        i += 1
        while i < stop and buffer[i] != QUOTE:
            i += 2 if buffer[i] == BACKSLASH else 1
        if i >= stop:
            return TOKEN_UNCLOSED_STRING, start, stop
        return TOKEN_STRING, start, i + 1
    if code == OPEN_NODE or code == OPEN_LIST:
        return TOKEN_OPEN, start, i + 1
    if code == CLOSE_NODE or code == CLOSE_LIST:
        return TOKEN_CLOSE, start, i + 1
    i += 1
    while i < stop and (not is_delimiter(buffer[i]) or buffer[i] == SEMICOLON or inside_number(buffer, i, stop)):
        i += 1
    is_number = 48 <= code <= 57 or code == PLUS or code == MINUS or code == POINT
    return (TOKEN_NUMBER if is_number else TOKEN_WORD), start, i


@kernel
@no_type_check
def has_structure(codes: Bytes) -> bool:
    """Whether a bracket, a quote or a comment is among these bytes."""
    found = False
    for k in range(CODE_BLOCK):
        code = codes[k]
        bracket = code | np.uint8(32)  # of [ and ], as of { and }
        found |= (code == HASH) | (code == QUOTE) | (bracket == OPEN_NODE) | (bracket == CLOSE_NODE)
    return found


@kernel
@no_type_check
def find_close(buffer: Bytes, position: int, stop: int) -> int:
    """Where the bracket that closes the one just before `position` stands, or -1."""
    depth = 1
    i = position
    while i < stop:
        if i + CODE_BLOCK <= stop and not has_structure(buffer[i : i + CODE_BLOCK]):
            i += CODE_BLOCK
            continue
        code = buffer[i]
        if code == HASH and not inside_number(buffer, i, stop):
            while i < stop and buffer[i] != LINE_FEED and buffer[i] != RETURN:
                i += 1
        elif code == QUOTE:
            i += 1
            while i < stop and buffer[i] != QUOTE:
                i += 2 if buffer[i] == BACKSLASH else 1
        elif code == OPEN_NODE or code == OPEN_LIST:
            depth += 1
        elif code == CLOSE_NODE or code == CLOSE_LIST:
            depth -= 1
            if depth == 0:
                return i
        i += 1
    return -1
