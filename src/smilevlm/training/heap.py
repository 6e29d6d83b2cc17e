"""Freed memory kept by the process while it trains."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of `mallopt`, see <malloc.h>."""
_DEFAULT_TRIM_BYTES, _DEFAULT_MMAPS = 128 * 1024, 65536


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """The C library keeps freed memory for the next step inside the block, and gives it back at its end.

    A step allocates the same activations as the one before, several megabytes each. By default glibc returns such
    blocks to the system when they are freed, which then clears their pages anew: 6 to 10 % of a step's time on a CPU.
    With other C libraries nothing happens. Where blocks overlap in several threads the first that ends goes back to
    the default for all, which changes speed alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, _DEFAULT_MMAPS)
        mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM_BYTES)
        ctypes.CDLL(None).malloc_trim(0)
