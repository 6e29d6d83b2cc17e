"""Batch normalisation over all processes: torch's own with one, and two with half of the batch each equal one."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn

from processes import joined_by_gloo
from smilevlm.models import ConvTowerSettings, ModelSettings, ProjectorSettings, build_model, uses_batch_statistics
from smilevlm.models.batch_norm import GlobalBatchNorm1d, GlobalBatchNorm2d

SPLIT = 3  # of 5 samples: uneven on purpose


@pytest.mark.parametrize(
    ("ours", "reference", "shape"),
    [(GlobalBatchNorm1d, nn.BatchNorm1d, (6, 4)), (GlobalBatchNorm2d, nn.BatchNorm2d, (3, 4, 5, 2))],
)
def test_one_process_equals_torch_bit_for_bit(ours, reference, shape):
    torch.manual_seed(0)
    layers = ours(4), reference(4)
    with torch.no_grad():
        layers[0].weight.uniform_(0.5, 2)
        layers[0].bias.normal_()
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(shape)
    gradients = []
    for layer in layers:
        own = x.clone().requires_grad_()
        layer(own).square().sum().backward()
        gradients.append((own.grad, layer.weight.grad, layer.bias.grad))
    for first, second in zip(*gradients, strict=True):
        assert torch.equal(first, second)
    for name, tensor in layers[1].state_dict().items():
        assert torch.equal(layers[0].state_dict()[name], tensor), name
    assert torch.equal(layers[0].eval()(x), layers[1].eval()(x))


def step(rows: slice) -> dict[str, dict[str, torch.Tensor]]:
    """Output, gradients and state after one step of a whole model on some rows of one fixed batch."""
    torch.manual_seed(0)
    model = build_model(
        ModelSettings(
            embedding_dim=6, tower_settings=ConvTowerSettings(width=8), projector=ProjectorSettings(hidden_dim=7)
        )
    ).double()
    generator = torch.Generator().manual_seed(4)
    # Means far from zero: the mean of squares minus the square of the mean would lose digits.
    images = 100 + torch.randn(5, 2, 3, 16, 16, generator=generator, dtype=torch.float64)[rows]
    targets = torch.randn(5, 6, generator=generator, dtype=torch.float64)[rows]
    output = model(images)
    # A sum over samples is its own global loss up to the factor that averaging the gradients takes back.
    (output.z_fused * targets).sum().backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    outputs = {"z_views": output.z_views.detach(), "z_fused": output.z_fused.detach()}
    state = {name: tensor for name, tensor in model.state_dict().items() if "running" in name or "tracked" in name}
    evaluated = {"z_fused": model.eval()(images).z_fused.detach()}
    return {"gradients": gradients, "outputs": outputs, "state": state, "evaluated": evaluated}


def _work(rank: int) -> dict[str, dict[str, torch.Tensor]]:
    results = step(slice(0, SPLIT) if rank == 0 else slice(SPLIT, 5))
    for gradient in results["gradients"].values():
        dist.all_reduce(gradient)
    x = (torch.arange(8.0).reshape(4, 2) + 1000)[2 * rank : 2 * rank + 2].bfloat16()
    return results | {"half": {"y": GlobalBatchNorm1d(2)(x)}}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    return joined_by_gloo(_work, 2, tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("what", ["outputs", "evaluated"])
def test_rows_of_two_processes_are_those_of_one(two_processes, what):
    whole = step(slice(0, 5))
    for name, expected in whole[what].items():
        rows = torch.cat([results[what][name] for results in two_processes])
        torch.testing.assert_close(rows, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("what", ["gradients", "state"])
def test_both_processes_end_with_what_one_has(two_processes, what):
    whole = step(slice(0, 5))
    assert whole[what]
    for results in two_processes:
        assert results[what].keys() == whole[what].keys()
        for name, expected in whole[what].items():
            torch.testing.assert_close(results[what][name], expected, rtol=1e-8, atol=1e-9, msg=name)


def test_half_precision_keeps_its_type_and_its_digits(two_processes):
    y = torch.cat([results["half"]["y"] for results in two_processes])
    assert y.dtype == torch.bfloat16
    x = (torch.arange(8.0).reshape(4, 2) + 1000).bfloat16()
    torch.testing.assert_close(y, nn.BatchNorm1d(2)(x.float()).bfloat16(), rtol=0.01, atol=1e-4)


def test_which_modules_mix_samples():
    batch = build_model(ModelSettings(tower_settings=ConvTowerSettings(width=8)))
    group = build_model(ModelSettings(tower_settings=ConvTowerSettings(width=8, norm="group")))
    assert uses_batch_statistics(batch.tower)
    assert uses_batch_statistics(batch.eval().tower), "it is about training, whatever the mode is now"
    assert not uses_batch_statistics(group.tower)
    assert uses_batch_statistics(group.projector)
    batch.tower.requires_grad_(False)
    assert not uses_batch_statistics(batch.tower)
    before = {name: tensor.clone() for name, tensor in batch.tower.state_dict().items()}
    batch.train()(torch.rand(2, 3, 3, 16, 16))
    assert all(torch.equal(batch.tower.state_dict()[name], tensor) for name, tensor in before.items())
