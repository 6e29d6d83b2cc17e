"""Batch normalisation, sum and ReLU in one pass: equal to a loop over channels, and to torch's layers in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from smilevlm.models import norm_relu as module
from smilevlm.models.batch_norm import GlobalBatchNorm2d
from smilevlm.models.conv_tower import ConvTower, ConvTowerSettings
from smilevlm.models.norm_relu import norm_relu
from smilevlm.threads import torch_threads


def make_norm(channels: int) -> GlobalBatchNorm2d:
    norm = GlobalBatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    return norm


def make_maps(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    # Means far from zero: the mean of squares minus the square of the mean would lose digits.
    maps = (5 + torch.randn(shape)).to(dtype)
    return maps.contiguous(memory_format=torch.channels_last).requires_grad_()


def looped(norm: nn.BatchNorm2d, maps: torch.Tensor, added: torch.Tensor | None) -> torch.Tensor:
    """Channel by channel, from the definition."""
    channels = []
    for c in range(maps.shape[1]):
        values = maps[:, c]
        mean = values.sum() / values.numel()
        variance = (values - mean).square().sum() / values.numel()
        result = (values - mean) / (variance + norm.eps).sqrt() * norm.weight[c] + norm.bias[c]
        channels.append(torch.clamp(result if added is None else result + added[:, c], min=0))
    return torch.stack(channels, dim=1)


@pytest.mark.parametrize("shape", [(3, 8, 4, 4), (5, 24, 3, 1), (70, 8, 5, 5), (8, 300, 1, 1)])
@pytest.mark.parametrize("has_added", [False, True])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 2e-5), (torch.bfloat16, 1e-2)])
def test_one_pass_equals_a_loop_over_channels(shape, has_added, dtype, near):
    norm, maps = make_norm(shape[1]), make_maps(*shape, dtype=dtype)
    added = (make_maps(*shape) - 5).to(dtype).detach().requires_grad_() if has_added else None
    assert module._is_fused(norm, maps, added)
    inputs = [maps, norm.weight, norm.bias, *([] if added is None else [added])]
    exact_norm = copy.deepcopy(norm).double()
    exact = [maps.detach().double().requires_grad_(), exact_norm.weight, exact_norm.bias]
    exact += [] if added is None else [added.detach().double().requires_grad_()]
    y = norm_relu(norm, maps, added)
    y_exact = looped(exact_norm, exact[0], None if added is None else exact[3])
    torch.testing.assert_close(y.double(), y_exact, rtol=near, atol=near)
    assert y.dtype == dtype
    # Where both are on one side of zero, so that rounding does not decide whether a gradient passes.
    away = torch.randn(shape).to(dtype) * (y_exact.abs() > near)
    gradients = torch.autograd.grad(y, inputs, away)
    for ours, theirs in zip(gradients, torch.autograd.grad(y_exact, exact, away.double()), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=10 * near, atol=10 * near * float(theirs.abs().max()))


def test_running_statistics_are_those_of_torch():
    norm, maps = make_norm(8), make_maps(4, 8, 6, 6)
    torchs = nn.BatchNorm2d(8)
    for _ in range(3):
        norm_relu(norm, maps)
        torchs(maps)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(norm, name), getattr(torchs, name), rtol=1e-6, atol=0)


def test_a_step_of_the_tower_is_nearer_to_float64_than_by_torchs_layers(monkeypatch):
    tower = ConvTower(ConvTowerSettings(width=8))
    exact, plain = copy.deepcopy(tower).double(), copy.deepcopy(tower)
    images = torch.randn(64, 3, 64, 64)

    def gradient(tower: ConvTower, images: torch.Tensor) -> torch.Tensor:
        (tower(images) * torch.linspace(-1, 1, 32)).square().sum().backward()
        return torch.cat([weight.grad.flatten().double() for weight in tower.parameters() if weight.grad is not None])

    truth, ours = gradient(exact, images.double()), gradient(tower, images)
    monkeypatch.setattr(module, "_is_fused", lambda *given: False)
    theirs = gradient(plain, images)
    assert (ours - truth).norm() < (theirs - truth).norm()
    assert (ours - truth).norm() < 1e-4 * truth.norm()


@pytest.mark.parametrize(
    "change",
    [
        lambda norm, maps: (norm.eval(), maps),
        lambda norm, maps: (norm.double(), maps.double()),
        lambda norm, maps: (norm, maps.contiguous()),
        lambda norm, maps: (nn.GroupNorm(1, 8), maps),
    ],
)
def test_torchs_layers_are_used_elsewhere(change):
    norm, maps = change(make_norm(8), make_maps(3, 8, 4, 4))
    assert not module._is_fused(norm, maps, None)
    assert torch.equal(norm_relu(copy.deepcopy(norm), maps, maps), torch.relu(norm(maps) + maps))


@pytest.mark.parametrize(("name", "value"), [("world_size", 2), ("get_num_threads", 2)])
def test_several_processes_or_threads_take_torchs_layers(monkeypatch, name, value):
    norm, maps = make_norm(8), make_maps(3, 8, 4, 4)
    assert module._is_fused(norm, maps, None)
    monkeypatch.setattr(module if name == "world_size" else torch, name, lambda: value)
    assert not module._is_fused(norm, maps, None)


def test_second_derivatives_are_refused():
    norm, maps = make_norm(8), make_maps(3, 8, 4, 4).requires_grad_()
    with pytest.raises(NotImplementedError, match="once only"):
        torch.autograd.grad(norm_relu(norm, maps).sum(), maps, create_graph=True)


@pytest.fixture(autouse=True)
def _one_thread():
    with torch_threads(1):
        yield
