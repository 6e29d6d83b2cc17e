from __future__ import annotations

import pytest

from smilevlm.parallel import parallel_map


def divide(numerator: int, denominator: int) -> float:
    return numerator / denominator


@pytest.mark.parametrize("ordered", [True, False])
def test_every_call_is_made_once_and_counted(ordered):
    seen: list[tuple[int, int]] = []
    calls = [(6, 1), (6, 2), (6, 3)]
    results = parallel_map(
        divide, calls, jobs=1, progress=lambda *counts: seen.append(counts), num_done=2, ordered=ordered
    )
    assert list(results) == [6, 3, 2]
    assert seen == [(3, 5), (4, 5), (5, 5)]


def test_results_come_while_others_are_still_missing():
    results = parallel_map(divide, [(1, 1), (1, 0)], jobs=1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_nothing_to_do():
    assert list(parallel_map(divide, [], jobs=2)) == []
