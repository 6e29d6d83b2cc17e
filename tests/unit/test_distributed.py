"""Collectives: the identity alone; rows, sums and gradients of the whole with two processes."""

from __future__ import annotations

import pytest
import torch

from processes import joined_by_gloo
from smilevlm.distributed import (
    all_gather,
    all_reduce_max,
    all_reduce_sum,
    rank,
    row_counts,
    sum_over_processes_,
    world_size,
)


@pytest.mark.parametrize("collective", [all_gather, all_reduce_sum])
def test_one_process_gets_its_own_tensor_back(collective):
    tensor = torch.randn(3, 2, requires_grad=True)
    assert world_size() == 1
    assert collective(tensor) is tensor


def test_one_process_is_the_whole():
    tensor = torch.randn(3, 2, requires_grad=True)
    assert rank() == 0
    assert row_counts(tensor) == [3]
    assert sum_over_processes_(tensor) is tensor
    largest = all_reduce_max(tensor)
    assert torch.equal(largest, tensor)
    assert not largest.requires_grad


def _work(number: int) -> dict[str, object]:
    # Two rows here, three there: an uneven last batch must not hang or lose rows.
    rows = (torch.arange(6.0) + 10 * number).reshape(3, 2)[: 2 + number].requires_grad_()
    gathered = all_gather(rows)
    weights = torch.arange(1.0, 6.0)[:, None]
    (gathered.square() * weights).sum().backward()
    numbers = all_gather(torch.tensor([number + 5]))
    scalar = torch.tensor(float(number + 1), requires_grad=True)
    mean = all_reduce_sum(scalar**2) / world_size()
    mean.backward()
    return {
        "gathered": gathered.detach(),
        "rows": rows.detach(),
        "gradient": rows.grad,
        "numbers": numbers,
        "sum": all_reduce_sum(torch.tensor([1.0, 2.0]) * (number + 1)),
        "mean": mean.detach(),
        "scalar_gradient": scalar.grad,
        "world": world_size(),
        "rank": rank(),
        "counts": row_counts(rows),
        "of_known_counts": all_gather(rows.detach(), [2, 3]),
        "nothing_here": all_gather(torch.ones(number * 2, 3)),
        "largest": all_reduce_max(torch.tensor([number, -number, 7])),
        "in_place": sum_over_processes_(torch.tensor([1.0, 2.0]) * (number + 1)),
    }


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    return joined_by_gloo(_work, 2, tmp_path_factory.mktemp("gloo"))


def test_gather_keeps_rank_order_and_uneven_rows(two_processes):
    whole = torch.cat([result["rows"] for result in two_processes])
    for result in two_processes:
        assert result["world"] == 2
        torch.testing.assert_close(result["gathered"], whole, rtol=0, atol=0)
        torch.testing.assert_close(result["of_known_counts"], whole, rtol=0, atol=0)
        assert result["numbers"].tolist() == [5, 6]
        assert result["counts"] == [2, 3]
        assert result["nothing_here"].shape == (2, 3)


def test_gather_sums_the_gradients_of_both_losses(two_processes):
    whole = torch.cat([result["rows"] for result in two_processes])
    expected = 2 * 2 * whole * torch.arange(1.0, 6.0)[:, None]
    torch.testing.assert_close(torch.cat([result["gradient"] for result in two_processes]), expected)


def test_sum_and_mean(two_processes):
    for number, result in enumerate(two_processes):
        assert result["rank"] == number
        assert result["sum"].tolist() == result["in_place"].tolist() == [3.0, 6.0]
        assert result["largest"].tolist() == [1, 0, 7]
        assert float(result["mean"]) == pytest.approx((1 + 4) / 2)
        # After the averaging of DistributedDataParallel this is the gradient of the mean.
        assert float(result["scalar_gradient"]) == pytest.approx(2 * (number + 1))
