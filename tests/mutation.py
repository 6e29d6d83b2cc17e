"""Files damaged at random, for the tests of readers."""

from __future__ import annotations

import random


def mutated(data: bytes, chance: random.Random, words: list[bytes], *, num_kinds: int = 6) -> bytes:
    """A file with one to four faults: a byte replaced, a word put in, bytes cut, repeated, overwritten, a bit flipped.

    Args:
        data: The whole file.
        chance: Decides all.
        words: What is put in or written over the file's own bytes.
        num_kinds: How many of the kinds of fault may occur, in the order above.
    """
    result = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(result) + 1)
        match chance.randrange(num_kinds):
            case 0:
                result[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                result[at:at] = chance.choice(words)
            case 2:
                del result[at : at + chance.randint(1, 12)]
            case 3:
                start = chance.randrange(len(result) + 1)
                result[at:at] = result[start : start + chance.randint(1, 40)]
            case 4:
                result[at : at + 4] = chance.choice(words)
            case 5:
                result[at : at + 1] = bytes([(result[at] if at < len(result) else 0) ^ (1 << chance.randrange(8))])
    return bytes(result)
