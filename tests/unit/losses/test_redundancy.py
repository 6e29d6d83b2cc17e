"""Redundancy minimisation against Eq. 8-9 written as loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from smilevlm.errors import SettingsError
from smilevlm.losses import multi_view_barlow_twins, redundancy_minimization

REFUSED = (SettingsError, TypeError)


def reference(z_fused: torch.Tensor, z_text: torch.Tensor, lambd: float, standardize: bool) -> float:
    num_samples, dim = z_fused.shape
    columns = []
    for z in (z_fused, z_text):
        scaled = []
        for k in range(dim):
            column = [float(z[b, k]) for b in range(num_samples)]
            if standardize:
                mean = sum(column) / num_samples
                deviation = math.sqrt(sum((x - mean) ** 2 for x in column) / num_samples + 1e-5)
                column = [(x - mean) / deviation for x in column]
            scaled.append(column)
        columns.append(scaled)
    loss = 0.0
    for k in range(dim):
        for m in range(dim):
            entry = 0.0
            for b in range(num_samples):
                entry += columns[0][k][b] * columns[1][m][b]
            entry /= num_samples
            loss += (entry - 1) ** 2 if k == m else lambd * entry**2
    return loss


def pair(*shape: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(*shape, generator=generator, dtype=torch.float64) + 2,
        torch.randn(*shape, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("shape", [(6, 4), (2, 3), (5, 1)])
def test_equals_the_loops(shape, standardize):
    z_fused, z_text = pair(*shape)
    ours = redundancy_minimization(z_fused, z_text, lambd=0.4, standardize=standardize)
    assert ours.dtype == torch.float64
    assert float(ours) == pytest.approx(reference(z_fused, z_text, 0.4, standardize), rel=1e-6, abs=1e-6)


def test_hand_computed():
    z_fused = torch.tensor([[1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    z_text = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    # C = 1/2 [[4, 3], [2, 0]]: (2 - 1)^2 + (0 - 1)^2 + λ (1.5^2 + 1^2)
    ours = redundancy_minimization(z_fused, z_text, lambd=0.2, standardize=False)
    assert float(ours) == pytest.approx(2 + 0.2 * 3.25, abs=1e-12)


def test_equals_barlow_twins_of_one_view():
    z_fused, z_text = pair(9, 5)
    torch.testing.assert_close(
        redundancy_minimization(z_fused, z_text), multi_view_barlow_twins(z_fused[:, None], z_text[:, None])
    )


@pytest.mark.parametrize("standardize", [True, False])
def test_gradcheck(standardize):
    z_fused, z_text = pair(4, 3)
    z_fused.requires_grad_(), z_text.requires_grad_()
    assert gradcheck(lambda a, b: redundancy_minimization(a, b, standardize=standardize), (z_fused, z_text))


def test_order_of_samples_and_joint_order_of_features_do_not_count():
    z_fused, z_text = pair(12, 6)
    loss = redundancy_minimization(z_fused, z_text)
    samples, features = torch.randperm(12), torch.randperm(6)
    torch.testing.assert_close(redundancy_minimization(z_fused[samples], z_text[samples]), loss)
    torch.testing.assert_close(redundancy_minimization(z_fused[:, features], z_text[:, features]), loss)


def test_batch_of_one():
    z_fused, z_text = pair(1, 4)
    with pytest.raises(SettingsError, match="two samples"):
        redundancy_minimization(z_fused, z_text)
    assert torch.isfinite(redundancy_minimization(z_fused, z_text, standardize=False))


def test_one_prompt_for_all_leaves_a_finite_gradient():
    z_fused = torch.randn(8, 5, requires_grad=True)
    loss = redundancy_minimization(z_fused, torch.ones(8, 5) * 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(5.0, abs=1e-3)
    assert torch.isfinite(z_fused.grad).all()


def test_autocast_keeps_float32():
    z_fused, z_text = (z.float() for z in pair(32, 16))
    plain = redundancy_minimization(z_fused, z_text)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = redundancy_minimization(z_fused, z_text)
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)
    assert redundancy_minimization(z_fused.bfloat16(), z_text).dtype == torch.float32


@pytest.mark.parametrize(("first", "second"), [((4, 5), (4, 6)), ((4, 3, 5), (4, 3, 5)), ((4, 0), (4, 0))])
def test_refuses_shapes(first, second):
    with pytest.raises(REFUSED):
        redundancy_minimization(torch.zeros(first), torch.zeros(second))
