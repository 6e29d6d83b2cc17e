"""Two processes with half of the batch each give the losses and gradients of one process with all of it."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from smilevlm.losses import JointLoss, JointLossSettings

WEIGHTS = {
    "multi_view": {"beta": 0.0, "gamma": 0.0},
    "alignment": {"alpha": 0.0, "gamma": 0.0},
    "alignment_multi_positive": {"alpha": 0.0, "gamma": 0.0, "multi_positive": True},
    "redundancy": {"alpha": 0.0, "beta": 0.0},
    "joint": {"alpha": 0.7, "beta": 1.3, "gamma": 0.4},
}
SPLIT = 5  # of 8: uneven on purpose


def step(case: str, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient of a linear encoder on some rows of one fixed batch."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(3, 8, 3, 6, generator=generator, dtype=torch.float64)[:, rows]
    texts = torch.randn(8, 4, generator=generator, dtype=torch.float64)[rows]
    encoder = torch.randn(6, 4, generator=generator, dtype=torch.float64).requires_grad_()
    z_a, z_b, z_views = images @ encoder
    groups = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])[rows]
    settings = JointLossSettings(**WEIGHTS[case])
    terms = JointLoss(settings)(z_a=z_a, z_b=z_b, z_views=z_views, z_fused=z_views.mean(1), z_text=texts, groups=groups)
    terms.total.backward()
    assert encoder.grad is not None
    return terms.total.detach(), encoder.grad


def _work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    try:
        results = {}
        for case in WEIGHTS:
            loss, gradient = step(case, slice(0, SPLIT) if rank == 0 else slice(SPLIT, 8))
            # What DistributedDataParallel does with the gradients of a parameter.
            dist.all_reduce(gradient)
            results[case] = (loss, gradient / 2)
        torch.save(results, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(_work, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", list(WEIGHTS))
def test_two_processes_equal_one(two_processes, case):
    loss, gradient = step(case, slice(0, 8))
    for results in two_processes:
        torch.testing.assert_close(results[case][0], loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(results[case][1], gradient, rtol=1e-10, atol=1e-12)
