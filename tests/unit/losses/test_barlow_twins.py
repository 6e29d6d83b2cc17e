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


def test_cross_pairs_see_whose_views_go_together_and_the_same_view_does_not():
    """Another person's view 1 beside each view 2: Eq. 1 and 2 look at one view at a time and do not notice."""
    z_a, z_b = pair(16, 3, 5)
    z_b = z_b + z_a
    permuted_a, permuted_b = z_a.clone(), z_b.clone()
    order = torch.arange(16).roll(1)
    permuted_a[:, 1], permuted_b[:, 1] = z_a[order, 1], z_b[order, 1]
    before, after = (multi_view_barlow_twins(*z, pairs="same") for z in ((z_a, z_b), (permuted_a, permuted_b)))
    torch.testing.assert_close(after, before, rtol=1e-12, atol=0)
    before, after = (multi_view_barlow_twins(*z, pairs="cross") for z in ((z_a, z_b), (permuted_a, permuted_b)))
    assert abs(after - before) > 1e-2 * before


def test_cross_pairs_by_hand():
    z_a = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    z_b = torch.tensor([[[5.0], [0.5]]], dtype=torch.float64)
    # C_01 = 1 · 0.5 and C_10 = 3 · 5, and their mean is 7.75.
    ours = multi_view_barlow_twins(z_a, z_b, standardize=False, pairs="cross")
    assert float(ours) == pytest.approx(6.75**2, rel=1e-12)


def test_one_view_has_no_other_one():
    with pytest.raises(SettingsError, match="one view"):
        multi_view_barlow_twins(*pair(4, 1, 3), pairs="cross")


def test_centring_takes_out_what_is_a_persons():
    z_a, z_b = pair(8, 3, 5)
    people = torch.tensor([1, 1, 1, 2, 2, 2, 9, 9])
    loss = multi_view_barlow_twins(z_a, z_b, subjects=people)
    offsets = torch.randn(10, 3, 5, dtype=torch.float64)[people]
    moved = multi_view_barlow_twins(z_a + 3 * offsets, z_b + offsets, subjects=people)
    torch.testing.assert_close(moved, loss, rtol=1e-9, atol=0)
    torch.testing.assert_close(multi_view_barlow_twins(z_a, z_b, subjects=10 - people), loss)
    assert abs(float(multi_view_barlow_twins(z_a, z_b) - loss)) > 1e-2


def test_a_persons_only_row_is_as_good_as_not_there():
    z_a, z_b = pair(7, 3, 5)
    people = torch.tensor([1, 1, 2, 2, 2, 8, 9])
    loss = multi_view_barlow_twins(z_a, z_b, subjects=people)
    without = multi_view_barlow_twins(z_a[:5], z_b[:5], subjects=people[:5])
    # Up to the 1e-5 that standardisation adds to the variance.
    torch.testing.assert_close(loss, without, rtol=1e-4, atol=0)


def test_centring_by_hand():
    z = torch.tensor([[[1.0]], [[5.0]], [[100.0]]], dtype=torch.float64)
    # Rows -2, 2 and 0: C = 8 / 3.
    ours = multi_view_barlow_twins(z, z, standardize=False, subjects=torch.tensor([4, 4, 0]))
    assert float(ours) == pytest.approx((8 / 3 - 1) ** 2, rel=1e-12)


@pytest.mark.parametrize(("pairs", "people"), [("cross", None), ("same", [0, 0, 1, 1]), ("cross", [0, 1, 1, 1])])
@pytest.mark.parametrize("dim", [3, 12])
def test_gradcheck_of_options(pairs, people, dim):
    z = [tensor.requires_grad_() for tensor in (*pair(4, 2, dim), pair(4, 2, dim, seed=1)[0])]
    subjects = None if people is None else torch.tensor(people)
    assert gradcheck(lambda *args: multi_view_barlow_twins(*args, lambd=0.2, pairs=pairs, subjects=subjects), z)


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
