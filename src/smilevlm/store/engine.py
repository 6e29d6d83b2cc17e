"""The same calls on one process, many processes, or the workers of a dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from smilevlm.compiled import announce_compiling, choose_cache, is_announcing
from smilevlm.errors import MissingExtraError, StoreError
from smilevlm.parallel import parallel_map

_CONNECT_SECONDS = 20
_RETRIES = 5
"""How often a call is made again because the worker that ran it died."""


def run_everywhere(
    work: Callable[..., None], calls: Sequence[tuple[Any, ...]], *, jobs: int, scheduler: str | None
) -> Iterator[int]:
    """Make every call once; yields the index of each call that is done, in the order in which they end.

    Args:
        work: An importable function.
        calls: Its arguments.
        jobs: Processes on this machine.
        scheduler: Address of a dask scheduler whose workers are used instead; a worker that dies is replaced.

    Raises:
        MissingExtraError: `scheduler` is given without the extra `distributed`.
        StoreError: No scheduler answers, or a process on this machine was killed.
    """
    if not calls:
        return
    choose_cache()
    # One worker speaks for all.
    numbered = [(index, work, call, is_announcing() and index == 0) for index, call in enumerate(calls)]
    with _backend(scheduler), _dead_workers_explained():
        yield from parallel_map(_numbered, numbered, jobs=jobs if scheduler is None else -1, ordered=False)


def _numbered(index: int, work: Callable[..., None], call: tuple[Any, ...], announce: bool) -> int:
    if announce:
        announce_compiling()
    work(*call)
    return index


@contextmanager
def _dead_workers_explained() -> Iterator[None]:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        yield
    except TerminatedWorkerError:
        raise StoreError(
            "a worker process was killed, most often for want of memory; run again to go on, with fewer --jobs"
        ) from None


@contextmanager
def _backend(scheduler: str | None) -> Iterator[None]:
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError("--scheduler needs dask: install smilevlm[distributed]") from None
    from joblib import parallel_config

    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise StoreError(f"no dask scheduler answers at {scheduler}: {error}") from None
    with client, parallel_config(backend="dask", client=client, retries=_RETRIES):
        yield
