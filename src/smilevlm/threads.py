"""How many CPU threads torch works on inside a block, with the caller's number back after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


class _Blocks(threading.local):
    """Blocks that the current thread is inside of."""

    depth = 0


_lock = threading.Lock()
_blocks = _Blocks()
_num_open = 0
"""Blocks in all threads."""
_outside = 0
"""Torch's number before the first of the open blocks."""


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Torch works on so many threads inside the block, and on as many as before after it.

    Blocks may be nested, and may overlap in several threads of the caller: torch's number is one for the process, and a
    new thread takes it over, so each outermost block brings back what held before any of them began.

    Args:
        number: Of threads, at least 1.
    """
    global _num_open, _outside
    import torch

    with _lock:
        if _num_open == 0:
            _outside = torch.get_num_threads()
        before = torch.get_num_threads() if _blocks.depth else _outside
        _num_open += 1
        _blocks.depth += 1
        torch.set_num_threads(number)
    try:
        yield
    finally:
        with _lock:
            _num_open -= 1
            _blocks.depth -= 1
            torch.set_num_threads(before)


def one_thread() -> AbstractContextManager[None]:
    """One thread inside the block, where the bits must not depend on the number of cores."""
    return torch_threads(1)
