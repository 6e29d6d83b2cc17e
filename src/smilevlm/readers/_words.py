"""Eight bytes of text at a time, for the compiled scanners: whole runs of digits without a branch per digit.

A number's length cannot be foreseen, and each wrong guess of the processor costs as much as four numbers.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import sys
from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from smilevlm.compiled import kernel

WORD = 8
ZEROS = np.uint64(0x3030303030303030)
ABOVE_NINE = np.uint64(0x7676767676767676)
"""Added to a byte of 10 to 127, sets its highest bit; to one of 0 to 9 does not."""
HIGHEST_BITS = np.uint64(0x8080808080808080)
PAIRS, PAIRS_MASK = np.uint64(10 * 2**8 + 1), np.uint64(0x00FF00FF00FF00FF)
FOURS, FOURS_MASK = np.uint64(100 * 2**16 + 1), np.uint64(0x0000FFFF0000FFFF)
EIGHTS = np.uint64(10_000 * 2**32 + 1)


@intrinsic
def load_word(typing_context, buffer, position):
    """The eight bytes from `position` as a number, the first byte lowest. They must lie inside the buffer."""

    def build(context, builder, signature, arguments):
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(pointer, ir.IntType(64).as_pointer()), align=1)
        return builder.bswap(word) if sys.byteorder == "big" else word

    return types.uint64(buffer, types.int64), build


@intrinsic
def trailing_zeros(typing_context, word):
    """How many of the lowest bits are zero; 64 for zero."""

    def build(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


@kernel()
@no_type_check
def first_digits(word: int) -> tuple[int, int]:
    """The digits that eight bytes of text start with: (their value, how many).

    Takes the word, not the array: numba counts references to arrays, which would cost as much as the digits.
    """
    word ^= ZEROS
    others = ((word + ABOVE_NINE) | word) & HIGHEST_BITS
    count = trailing_zeros(others) >> np.uint64(3)
    # The digits move to the upper end and zeros, leading ones, come before them; in two steps, for 64 is no shift.
    unused = (np.uint64(WORD) - count) * np.uint64(4)
    word = (word << unused) << unused
    word = (word * PAIRS) >> np.uint64(8)
    word = ((word & PAIRS_MASK) * FOURS) >> np.uint64(16)
    word = ((word & FOURS_MASK) * EIGHTS) >> np.uint64(32)
    return np.int64(word), np.int64(count)
