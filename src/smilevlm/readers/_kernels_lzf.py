"""LZF, the packing of binary PCD files. Import this module inside functions: loading numba takes a moment."""

from __future__ import annotations

from typing import no_type_check

from smilevlm.readers._kernels import Bytes, kernel


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
