"""Memory for the large arrays of a mesh: asked for as many small pages, it costs more than what is written to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PAGE_BYTES = 2**21
"""Of a large page; numpy asks Linux for them where a block has 4 MiB or more."""
_LEAST_BYTES = 2**19
"""Below this, a large page would mostly lie idle."""
_ALIGNMENT = 64


def empty_arrays(*kinds: tuple[Sequence[int], type[np.generic]]) -> list[np.ndarray]:
    """Arrays of the given shapes and types, not filled, one behind the other in a block on large pages.

    The block is freed with the last of them. Elsewhere than on Linux it is memory like any other.
    """
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in kinds]
    starts = np.cumsum([0] + [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes])
    if starts[-1] < _LEAST_BYTES:
        return [np.empty(shape, kind) for shape, kind in kinds]
    # Room to start at a page's border, and for the last page to be a whole one; what is not touched is not taken.
    block = np.empty((-(-int(starts[-1]) // _PAGE_BYTES) + 1) * _PAGE_BYTES, np.uint8)
    first = -block.ctypes.data % _PAGE_BYTES
    return [
        block[first + start : first + start + size].view(kind).reshape(shape)
        for (shape, kind), start, size in zip(kinds, starts, sizes, strict=False)
    ]
