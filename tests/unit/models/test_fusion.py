"""View-aware fusion: weights, masks, and views in any order and number."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from smilevlm.errors import SettingsError
from smilevlm.models import FusionSettings, ViewAwareFusion

REFUSED = (SettingsError, TypeError)


@pytest.fixture
def fusion() -> ViewAwareFusion:
    torch.manual_seed(0)
    fusion = ViewAwareFusion(6, FusionSettings(hidden_dim=8)).double()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.mul_(5)  # scores far from equal, or the tests would prove little
    return fusion


def views(num_views: int = 4, num_samples: int = 5) -> torch.Tensor:
    return torch.randn(num_samples, num_views, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("num_views", [1, 2, 3, 7])
def test_weights_sum_to_one_for_any_number_of_views(fusion, num_views):
    z = views(num_views)
    fused, weights = fusion(z)
    assert fused.shape == (5, 6)
    assert weights.shape == (5, num_views)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(5, dtype=torch.float64))
    by_loops = [[sum(weights[b, v] * z[b, v, k] for v in range(num_views)) for k in range(6)] for b in range(5)]
    torch.testing.assert_close(fused, torch.tensor([[float(x.detach()) for x in row] for row in by_loops]).double(),
                               check_dtype=False, rtol=1e-6, atol=1e-6)  # fmt: skip
    if num_views > 1:
        assert weights.std() > 0.01


def test_views_in_another_order(fusion):
    z, order = views(), torch.tensor([2, 0, 3, 1])
    mask = torch.tensor([True, True, False, True]).expand(5, 4)
    for given, permuted in ((None, None), (mask, mask[:, order])):
        fused, weights = fusion(z, given)
        fused_permuted, weights_permuted = fusion(z[:, order], permuted)
        torch.testing.assert_close(fused_permuted, fused)
        torch.testing.assert_close(weights_permuted, weights[:, order])


def test_a_masked_view_counts_for_nothing(fusion):
    z = views()
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[:, 2] = False
    fused, weights = fusion(z, mask)
    assert (weights[:, 2] == 0).all()
    without = z[:, [0, 1, 3]]
    expected, expected_weights = fusion(without)
    torch.testing.assert_close(fused, expected)
    torch.testing.assert_close(weights[:, [0, 1, 3]], expected_weights)
    z[:, 2] = torch.nan
    z.requires_grad_()
    fused_beside_nan, _ = fusion(z, mask)
    torch.testing.assert_close(fused_beside_nan, fused)
    fused_beside_nan.sum().backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad[:, 2] == 0).all()


def test_full_mask_is_no_mask(fusion):
    for given, expected in zip(fusion(views(), torch.ones(5, 4, dtype=torch.bool)), fusion(views()), strict=True):
        torch.testing.assert_close(given, expected)


def test_a_single_view_left_gets_everything(fusion):
    z = views()
    mask = torch.zeros(5, 4, dtype=torch.bool)
    mask[:, 1] = True
    fused, weights = fusion(z, mask)
    assert weights[:, 1].tolist() == [1.0] * 5
    torch.testing.assert_close(fused, z[:, 1])


def test_a_sample_without_views_is_refused(fusion):
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[3] = False
    with pytest.raises(SettingsError, match=r"\[3\]"):
        fusion(views(), mask)


def test_scores_do_not_see_the_length(fusion):
    z = views()
    torch.testing.assert_close(fusion(z * 10)[1], fusion(z)[1])


def test_zero_embeddings_are_finite(fusion):
    z = torch.zeros(2, 3, 6, dtype=torch.float64, requires_grad=True)
    fused, _ = fusion(z)
    fused.sum().backward()
    assert torch.isfinite(z.grad).all()


def test_gradcheck(fusion):
    z = views(3, 2).requires_grad_()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert gradcheck(lambda z: fusion(z, mask), (z,))


def test_learns_which_view_to_trust():
    """The target is in the view whose first feature is high."""
    torch.manual_seed(0)
    fusion = ViewAwareFusion(4, FusionSettings(hidden_dim=16))
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.02)
    z = torch.randn(64, 3, 4)
    z[..., 0] = -2
    good = torch.randint(3, (64,))
    z[torch.arange(64), good, 0] = 2
    for _ in range(60):
        optimizer.zero_grad()
        (fusion(z)[0] - z[torch.arange(64), good]).square().mean().backward()
        optimizer.step()
    assert (fusion(z)[1].argmax(1) == good).float().mean() > 0.95


def test_refuses_shapes(fusion):
    for bad in (torch.zeros(2, 6).double(), torch.zeros(2, 3, 5).double(), torch.zeros(2, 0, 6).double()):
        with pytest.raises(REFUSED):
            fusion(bad)
    with pytest.raises(REFUSED):
        fusion(views(), torch.ones(5, 3, dtype=torch.bool))
    with pytest.raises(REFUSED):
        fusion(views(), torch.ones(5, 4))


def test_refuses_settings():
    with pytest.raises(SettingsError):
        FusionSettings(hidden_dim=0)
    with pytest.raises(SettingsError):
        ViewAwareFusion(0)
