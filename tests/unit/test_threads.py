"""Torch's number of threads is the caller's again after every block, also when blocks overlap."""

from __future__ import annotations

import threading

import pytest
import torch

from smilevlm.threads import one_thread, torch_threads


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_block_has_its_number_and_brings_back_the_caller_s(number):
    with torch_threads(number):
        assert torch.get_num_threads() == number
    assert torch.get_num_threads() == 3


def test_blocks_may_be_nested():
    with torch_threads(2):
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 3


def test_an_error_brings_the_number_back_too():
    with pytest.raises(ValueError, match="inside"), torch_threads(2), one_thread():
        raise ValueError("inside")
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("first_out", ["main", "other"])
@pytest.mark.parametrize("number", [1, 2])
def test_overlapping_blocks_of_two_threads_leave_the_caller_s_number(first_out, number):
    inside, leave, left, finish = (threading.Event() for _ in range(4))
    seen: dict[str, int] = {}

    def work() -> None:
        with torch_threads(number):
            inside.set()
            assert leave.wait(60)
        seen["other"] = torch.get_num_threads()
        left.set()
        assert finish.wait(60)

    def let_the_other_leave() -> None:
        leave.set()
        assert left.wait(60)

    worker = threading.Thread(target=work)
    with one_thread():
        worker.start()
        assert inside.wait(60)
        if first_out == "other":
            let_the_other_leave()
    if first_out == "main":
        assert torch.get_num_threads() == 3
        let_the_other_leave()
    newcomer = threading.Thread(target=lambda: seen.update(new=torch.get_num_threads()))
    newcomer.start()
    newcomer.join()
    finish.set()
    worker.join()
    assert (torch.get_num_threads(), seen) == (3, {"other": 3, "new": 3})
