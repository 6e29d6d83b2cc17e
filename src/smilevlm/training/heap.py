"""Freed memory kept by the process while it trains."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of `mallopt`, see <malloc.h>."""
_TRIM_BYTES, _DEFAULT_MMAPS = 64 * 2**20, 65536


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """The C library keeps freed memory for the next step inside the block, and gives it back at its end.

    A step allocates the same activations as the one before, several megabytes each. By default glibc returns such
    blocks to the system when they are freed, which then clears their pages anew: 6 to 16 % of a step's time on a CPU.
    With other C libraries, and where the user has set glibc's limits, nothing happens. Afterwards the process keeps up
    to 64 MiB of freed memory, as glibc's own limit grows to in such a process. Where blocks overlap in several threads
    the first that ends does so for all, which changes speed alone.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and not chosen else None
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, _DEFAULT_MMAPS)
        mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
        ctypes.CDLL(None).malloc_trim(0)
