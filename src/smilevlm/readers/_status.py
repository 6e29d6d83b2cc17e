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
    NON_FINITE: "non-finite number; every coordinate must be finite",
    TOO_LARGE: "number too large for float32",
    NOT_AN_INDEX: "expected a whole index (-1 only to end a face)",
    INDEX_OUT_OF_RANGE: "a face names a vertex that is not there",
    TEXTURE_INDEX_OUT_OF_RANGE: "a face names a texture coordinate that is not there",
    STRUCTURE_MISMATCH: "texture indices do not follow the faces corner by corner",
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
