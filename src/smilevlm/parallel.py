"""One function called with many arguments, in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

ProgressCallback = Callable[[int, int], None]
"""Called with (calls done, calls in all)."""
_Result = TypeVar("_Result")


def parallel_map(
    function: Callable[..., _Result],
    calls: Sequence[tuple[Any, ...]],
    *,
    jobs: int,
    progress: ProgressCallback | None = None,
    num_done: int = 0,
    ordered: bool = True,
) -> Iterator[_Result]:
    """Call `function(*call)` for every call; the results come one by one.

    Args:
        function: Importable, since it crosses processes.
        calls: The arguments of each call.
        jobs: Processes; one calls in this process, -1 takes all that the joblib backend around it has.
        progress: Called after each call.
        num_done: Calls that an earlier run has made already, for `progress`.
        ordered: Whether results come in the order of the calls, or as they get ready.
    """
    from joblib import Parallel, delayed

    run = Parallel(n_jobs=jobs, return_as="generator" if ordered else "generator_unordered")
    results = cast("Iterator[_Result]", run(delayed(function)(*call) for call in calls))
    for done, result in enumerate(results, num_done + 1):
        if progress:
            progress(done, num_done + len(calls))
        yield result
