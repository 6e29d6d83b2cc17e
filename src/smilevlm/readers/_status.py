"""What a compiled scanner reports: one of these, and the position where it stopped."""

from __future__ import annotations

DONE = 0
NOT_A_NUMBER = 1
NON_FINITE = 2
TOO_LARGE = 3
NOT_AN_INDEX = 4
INDEX_OUT_OF_RANGE = 5
TEXTURE_INDEX_OUT_OF_RANGE = 6
STRUCTURE_MISMATCH = 7
TOO_SHORT = 8
UNKNOWN_WORD = 9

MESSAGES = {
    NOT_A_NUMBER: "expected a number",
    NON_FINITE: "expected a finite number",
    TOO_LARGE: "expected a smaller number",
    NOT_AN_INDEX: "expected a whole index (-1 only to end a face)",
    INDEX_OUT_OF_RANGE: "a face names a vertex that is not there",
    TOO_SHORT: "fewer values than announced",
    UNKNOWN_WORD: "unexpected word",
}

TOKEN_END = 0
TOKEN_WORD = 1
TOKEN_NUMBER = 2
TOKEN_STRING = 3
TOKEN_OPEN = 4
TOKEN_CLOSE = 5
TOKEN_UNCLOSED_STRING = 6

NO_TEXTURE = -2
"""Texture index of a corner that has none."""
ZERO_INDEX = -3
"""A corner written 0 where the format counts from 1."""
BAD_INDEX = -4
"""A corner that can name nothing: a fraction, not finite, too large, or counted back to before the first."""
