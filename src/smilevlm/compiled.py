"""The compiler of the package's loops: where compiled code is kept, and a word while it compiles."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smilevlm.caches import is_writable, writable_cache

_SILENT_SECONDS = 1.0
"""So little compiling is not worth a word."""
_NOTICE = "smilevlm: compiling, once: this takes up to a minute"
_NOTICE_WITHOUT_CACHE = "smilevlm: compiling: this takes up to a minute"

_announcing = False
_is_listening = False
_is_kept = True


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: ANN401
    """A decorator that compiles a loop when it is first called, and keeps the code on disk.

    The code is kept where numba keeps it (the environment's `NUMBA_CACHE_DIR`, else beside the module); where that
    cannot be written to, in the package's cache, see `smilevlm.caches`; else nowhere, and every process compiles anew.

    Args:
        options: Of `numba.njit`; the lock of the interpreter is always given up.
    """
    import numba

    _listen()

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        config: Any = numba.config
        before = config.CACHE_DIR
        folder = _cache_of(function, before)
        if folder is None:
            global _is_kept
            _is_kept = False
            return numba.njit(nogil=True, **options)(function)
        try:
            # numba chooses the cache of a function here, once and for all.
            config.CACHE_DIR = folder
            return numba.njit(nogil=True, cache=True, **options)(function)
        finally:
            config.CACHE_DIR = before

    return compiled


def _cache_of(function: Callable[..., Any], given: str) -> str | None:
    """What numba is to be given as its cache folder, empty for its own choice; None for no cache."""
    if given and is_writable(Path(given)):
        return given
    if is_writable(Path(inspect.getfile(function)).parent / "__pycache__"):
        return ""
    folder = writable_cache("numba")
    return None if folder is None else str(folder)


def choose_cache() -> None:
    """Choose the cache before worker processes start, which would each choose and say so."""
    _cache_of(choose_cache, os.environ.get("NUMBA_CACHE_DIR", ""))


def announce_compiling() -> None:
    """Say once on stderr that loops are compiled, when this process does so for more than a second."""
    global _announcing
    _announcing = True
    if "numba" in sys.modules:
        _listen()


def is_announcing() -> bool:
    """Whether `announce_compiling` was called, for worker processes to do the same."""
    return _announcing


def _listen() -> None:
    global _is_listening
    if not _announcing or _is_listening:
        return
    _is_listening = True
    from numba.core import event

    class Listener(event.Listener):
        """Told of every loop that is compiled; one taken from the cache is not."""

        def __init__(self) -> None:
            self._notice = CompilingNotice()

        def on_start(self, event: event.Event) -> None:
            self._notice.begin()

        def on_end(self, event: event.Event) -> None:
            self._notice.end()

    event.register("numba:compile", Listener())


class CompilingNotice:
    """Adds up the time of compilations, which may nest, and says so once when it is long.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._depth = 0
        self._begun = self._seconds = 0.0
        self._is_said = False

    def begin(self) -> None:
        """A compilation begins."""
        if self._depth == 0:
            self._begun = self._clock()
        self._depth += 1
        self._say_if_long()

    def end(self) -> None:
        """The compilation that began last is over."""
        self._say_if_long()
        self._depth -= 1
        if self._depth == 0:
            self._seconds += self._clock() - self._begun

    def _say_if_long(self) -> None:
        if not self._is_said and self._seconds + self._clock() - self._begun >= _SILENT_SECONDS:
            self._is_said = True
            print(_NOTICE if _is_kept else _NOTICE_WITHOUT_CACHE, file=sys.stderr, flush=True)
