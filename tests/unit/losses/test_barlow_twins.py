"""Multi-view Barlow Twins against Eq. 1-4 written as loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from smilevlm.errors import SettingsError
from smilevlm.losses import multi_view_barlow_twins

# The jaxtyping hook of the tests may refuse a shape before the function does.
REFUSED = (SettingsError, TypeError)


def standardized_by_loops(z: torch.Tensor) -> list:
    num_samples, num_views, dim = z.shape
    out = [[[0.0] * dim for _ in range(num_views)] for _ in range(num_samples)]
    for v in range(num_views):
        for k in range(dim):
            column = [float(z[b, v, k]) for b in range(num_samples)]
            mean = sum(column) / num_samples
            variance = sum((x - mean) ** 2 for x in column) / num_samples
            for b in range(num_samples):
                out[b][v][k] = (column[b] - mean) / math.sqrt(variance + 1e-5)
    return out


def reference(z_a: torch.Tensor, z_b: torch.Tensor, lambd: float, standardize: bool) -> float:
    num_samples, num_views, dim = z_a.shape
    a = standardized_by_loops(z_a) if standardize else z_a.tolist()
    b = standardized_by_loops(z_b) if standardize else z_b.tolist()
    loss = 0.0
    for k in range(dim):
        for m in range(dim):
            mean_over_views = 0.0
            for v in range(num_views):
                entry = 0.0
                for sample in range(num_samples):
                    entry += a[sample][v][k] * b[sample][v][m] / num_samples
                mean_over_views += entry / num_views
            loss += (mean_over_views - 1) ** 2 if k == m else lambd * mean_over_views**2
    return loss


def pair(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(*shape, generator=generator, dtype=dtype) * 2 + 1,
        torch.randn(*shape, generator=generator, dtype=dtype) - 3,
    )


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("shape", [(5, 3, 4), (2, 1, 3), (7, 2, 1)])
def test_equals_the_loops(shape, standardize):
    z_a, z_b = pair(*shape)
    ours = multi_view_barlow_twins(z_a, z_b, lambd=0.3, standardize=standardize)
    assert ours.dtype == torch.float64
    assert float(ours) == pytest.approx(reference(z_a, z_b, 0.3, standardize), rel=1e-6, abs=1e-6)


def test_hand_computed_without_standardisation():
    z_a = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]], dtype=torch.float64)
    z_b = torch.tensor([[[1.0, 1.0]], [[0.0, 3.0]]], dtype=torch.float64)
    # C = 1/2 [[1, 1], [0, 6]]: (0.5 - 1)^2 + (3 - 1)^2 + λ (0.5^2 + 0)
    ours = multi_view_barlow_twins(z_a, z_b, lambd=0.1, standardize=False)
    assert float(ours) == pytest.approx(0.25 + 4 + 0.1 * 0.25, abs=1e-12)


def test_mean_of_the_matrices_is_not_the_mean_of_the_losses():
    """Views whose errors cancel cost nothing in Eq. 2-3, though each alone would."""
    z_a = torch.tensor([[[2.0], [0.0]]], dtype=torch.float64)
    z_b = torch.tensor([[[1.0], [1.0]]], dtype=torch.float64)
    assert float(multi_view_barlow_twins(z_a, z_b, standardize=False)) == pytest.approx(0.0)


@pytest.mark.parametrize("standardize", [True, False])
def test_gradcheck(standardize):
    z_a, z_b = pair(4, 2, 3)
    z_a.requires_grad_(), z_b.requires_grad_()
    assert gradcheck(lambda a, b: multi_view_barlow_twins(a, b, lambd=0.2, standardize=standardize), (z_a, z_b))


def test_invariances():
    z_a, z_b = pair(16, 3, 5)
    loss = multi_view_barlow_twins(z_a, z_b)
    samples, views, features = torch.randperm(16), torch.randperm(3), torch.randperm(5)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(multi_view_barlow_twins(z_a[samples], z_b[samples]), loss, **close)
    torch.testing.assert_close(multi_view_barlow_twins(z_a[:, views], z_b[:, views]), loss, **close)
    torch.testing.assert_close(multi_view_barlow_twins(z_a[..., features], z_b[..., features]), loss, **close)
    torch.testing.assert_close(multi_view_barlow_twins(z_b, z_a), loss, **close)
    shifted = multi_view_barlow_twins(z_a + 7, z_b * 50)
    torch.testing.assert_close(shifted, loss, rtol=1e-3, atol=1e-3)


def test_equal_uncorrelated_distortions_cost_almost_nothing():
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)[:, None]
    assert float(multi_view_barlow_twins(signs, signs)) < 1e-9


def test_batch_of_one():
    z_a, z_b = pair(1, 3, 4)
    with pytest.raises(SettingsError, match="two samples"):
        multi_view_barlow_twins(z_a, z_b)
    assert torch.isfinite(multi_view_barlow_twins(z_a, z_b, standardize=False))


def test_constant_features_have_finite_gradients():
    z_a = torch.full((6, 2, 4), 3.3, requires_grad=True)
    z_b = torch.zeros(6, 2, 4, requires_grad=True)
    loss = multi_view_barlow_twins(z_a, z_b)
    loss.backward()
    assert loss.item() == pytest.approx(4.0, abs=1e-3)
    assert torch.isfinite(z_a.grad).all()
    assert torch.isfinite(z_b.grad).all()


def test_autocast_keeps_float32():
    z_a, z_b = pair(32, 3, 16, dtype=torch.float32)
    plain = multi_view_barlow_twins(z_a, z_b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = multi_view_barlow_twins(z_a, z_b)
        half = multi_view_barlow_twins(z_a.bfloat16(), z_b.bfloat16())
    assert under.dtype == half.dtype == torch.float32
    assert torch.equal(under, plain)


@pytest.mark.parametrize(("first", "second"), [((4, 3, 5), (4, 3, 6)), ((4, 5), (4, 5)), ((0, 3, 5), (0, 3, 5))])
def test_refuses_shapes(first, second):
    with pytest.raises(REFUSED):
        multi_view_barlow_twins(torch.zeros(first), torch.zeros(second))


@pytest.mark.parametrize("lambd", [-1.0, math.nan, math.inf])
def test_refuses_weights(lambd):
    z_a, z_b = pair(4, 2, 3)
    with pytest.raises(SettingsError, match="lambd"):
        multi_view_barlow_twins(z_a, z_b, lambd=lambd)
