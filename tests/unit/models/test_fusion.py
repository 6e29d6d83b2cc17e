"""Fusion of views: weights, masks, and views in any order and number, for every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch.autograd import gradcheck

from smilevlm.errors import SettingsError
from smilevlm.models.fusion import (
    CrossViewFusion,
    Fusion,
    FusionKind,
    FusionSettings,
    MeanFusion,
    TextGuidedFusion,
    ViewAwareFusion,
    build_fusion,
)

REFUSED = (SettingsError, TypeError)
DIM = 8
KINDS = get_args(FusionKind)
LEARNED = [kind for kind in KINDS if kind != "mean"]
Fuse = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def make(kind: FusionKind) -> Fusion:
    torch.manual_seed(0)
    fusion = build_fusion(DIM, FusionSettings(kind=kind, hidden_dim=16, num_heads=2)).double()
    with torch.no_grad():
        for parameter in fusion.parameters():
            # Scores far from equal, or the tests would prove little; biases start at zero in places.
            parameter.mul_(3).add_(0.1 * torch.randn_like(parameter))
    return fusion


def bank(num_prompts: int = 5) -> torch.Tensor:
    return torch.randn(num_prompts, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.fixture(params=KINDS)
def kind(request) -> FusionKind:
    return request.param


@pytest.fixture
def fuse(kind) -> Fuse:
    """The fusion with a bank of prompts given."""
    fusion = make(kind)
    return lambda z, mask=None: fusion(z, mask, bank())


def views(num_views: int = 4, num_samples: int = 5) -> torch.Tensor:
    return torch.randn(num_samples, num_views, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("view_aware", ViewAwareFusion),
        ("mean", MeanFusion),
        ("cross_view", CrossViewFusion),
        ("text_guided", TextGuidedFusion),
    ],
)
def test_a_kind_is_built_by_its_name(kind, expected):
    assert type(build_fusion(DIM, FusionSettings(kind=kind))) is expected


def test_the_paper_s_kind_is_the_default():
    assert type(build_fusion(DIM)) is ViewAwareFusion
    names = ["scorer.0.weight", "scorer.0.bias", "scorer.2.weight", "scorer.2.bias"]
    assert list(build_fusion(DIM).state_dict()) == names, "checkpoints name the weights so"


def test_view_aware_by_loops():
    fusion, z = make("view_aware"), views()
    fused, weights = fusion(z)
    for sample in range(len(z)):
        units = [view / view.norm() for view in z[sample]]
        context = sum(units) / len(units)
        scores = torch.stack([fusion.scorer(torch.cat([unit, context]))[0] for unit in units])  # pyright: ignore
        expected = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(weights[sample], expected)
        torch.testing.assert_close(fused[sample], sum(w * view for w, view in zip(expected, z[sample], strict=True)))


@pytest.mark.parametrize("num_views", [1, 2, 3, 7])
def test_weights_sum_to_one_for_any_number_of_views(kind, fuse, num_views):
    fused, weights = fuse(views(num_views))
    assert fused.shape == (5, DIM)
    assert weights.shape == (5, num_views)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(5, dtype=torch.float64))
    if num_views > 1:
        assert (weights.std() > 0.01) == (kind != "mean")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cross_view"], indirect=True)
def test_fused_is_the_weighted_sum_of_the_views(fuse):
    z = views()
    fused, weights = fuse(z)
    torch.testing.assert_close(fused, torch.einsum("bv,bvd->bd", weights, z))


def test_the_mean_is_the_mean_of_the_views_that_are_there():
    z = views()
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[1, 2:] = False
    fused, weights = make("mean")(z, mask)
    assert weights[1].tolist() == [0.5, 0.5, 0.0, 0.0]
    torch.testing.assert_close(fused[0], z[0].mean(0))
    torch.testing.assert_close(fused[1], z[1, :2].mean(0))


def test_views_in_another_order(fuse):
    z, order = views(), torch.tensor([2, 0, 3, 1])
    mask = torch.tensor([True, True, False, True]).expand(5, 4)
    for given, permuted in ((None, None), (mask, mask[:, order])):
        fused, weights = fuse(z, given)
        fused_permuted, weights_permuted = fuse(z[:, order], permuted)
        torch.testing.assert_close(fused_permuted, fused)
        torch.testing.assert_close(weights_permuted, weights[:, order])


def test_samples_do_not_see_each_other(fuse):
    z = views()
    fused, weights = fuse(z)
    torch.testing.assert_close(fuse(z[1:3])[0], fused[1:3])
    torch.testing.assert_close(fuse(z[1:3])[1], weights[1:3])


def test_a_masked_view_counts_for_nothing(fuse):
    z = views()
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[:, 2] = False
    fused, weights = fuse(z, mask)
    assert (weights[:, 2] == 0).all()
    expected, expected_weights = fuse(z[:, [0, 1, 3]])
    torch.testing.assert_close(fused, expected)
    torch.testing.assert_close(weights[:, [0, 1, 3]], expected_weights)
    z[:, 2] = torch.nan
    z.requires_grad_()
    fused_beside_nan, _ = fuse(z, mask)
    torch.testing.assert_close(fused_beside_nan, fused)
    fused_beside_nan.sum().backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    assert (z.grad[:, 2] == 0).all()


def test_full_mask_is_no_mask(fuse):
    for given, expected in zip(fuse(views(), torch.ones(5, 4, dtype=torch.bool)), fuse(views()), strict=True):
        torch.testing.assert_close(given, expected)


def test_a_single_view_left_gets_everything(kind, fuse):
    z = views()
    mask = torch.zeros(5, 4, dtype=torch.bool)
    mask[:, 1] = True
    fused, weights = fuse(z, mask)
    assert weights[:, 1].tolist() == [1.0] * 5
    if kind != "cross_view":  # there the view attends to itself
        torch.testing.assert_close(fused, z[:, 1])


def test_a_sample_without_views_is_refused(fuse):
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[3] = False
    with pytest.raises(SettingsError, match=r"\[3\]"):
        fuse(views(), mask)


def test_scores_do_not_see_the_length_and_the_fused_embedding_grows_with_it(fuse):
    z = views()
    fused, weights = fuse(z)
    longer, same_weights = fuse(z * 10)
    torch.testing.assert_close(same_weights, weights)
    torch.testing.assert_close(longer, fused * 10)


def test_zero_embeddings_are_finite(fuse):
    z = torch.zeros(2, 3, DIM, dtype=torch.float64, requires_grad=True)
    fused, _ = fuse(z)
    fused.sum().backward()
    assert z.grad is not None
    assert torch.isfinite(fused).all()
    assert torch.isfinite(z.grad).all()


def test_gradcheck(fuse):
    z = views(3, 2).requires_grad_()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert gradcheck(lambda z: fuse(z, mask), (z,))


@pytest.mark.parametrize("kind", LEARNED)
def test_every_weight_gets_a_gradient(kind):
    fusion = make(kind)
    fused, _ = fusion(views(), None, bank())
    fused.square().sum().backward()
    # The last bias adds the same to every view's score, which the softmax takes away again.
    assert [name for name, p in fusion.named_parameters() if p.grad is None or not p.grad.abs().sum() > 1e-9] == [
        "scorer.2.bias"
    ]


def test_views_attend_to_each_other():
    """What one view says changes what another contributes; in the other kinds only how much it does."""
    fusion, z = make("cross_view"), views()
    attended, _ = fusion._score(z, None, None)
    z[:, 0] *= -1
    changed, _ = fusion._score(z, None, None)
    assert not torch.allclose(attended[:, 1], changed[:, 1], atol=1e-3)


def test_prompts_guide_the_weights_in_any_order_and_number():
    fusion, z = make("text_guided"), views()
    _, weights = fusion(z, None, bank())
    torch.testing.assert_close(fusion(z, None, bank().flip(0))[1], weights)
    assert not torch.allclose(fusion(z, None, bank(1))[1], weights, atol=1e-3)
    torch.testing.assert_close(fusion(z, None, bank() * 5)[1], weights)


def test_prompts_are_needed_by_the_text_guided_fusion_alone(kind):
    if kind == "text_guided":
        with pytest.raises(SettingsError, match="text"):
            make(kind)(views())
    else:
        expected = make(kind)(views(), None, bank())
        assert all(torch.equal(a, b) for a, b in zip(make(kind)(views()), expected, strict=True))


@pytest.mark.parametrize("bad", [(5, DIM + 1), (0, DIM), (DIM,)])
def test_refuses_prompts_of_another_shape(bad):
    with pytest.raises(REFUSED):
        make("text_guided")(views(), None, torch.zeros(bad, dtype=torch.float64))


def test_works_under_autocast(kind):
    torch.manual_seed(0)
    fusion, z = build_fusion(DIM, FusionSettings(kind=kind, num_heads=2)), views().float()
    expected, expected_weights = fusion(z, None, bank().float())
    for given in (z, z.bfloat16()):
        with torch.autocast("cpu", torch.bfloat16):
            fused, weights = fusion(given, None, bank().float())
        torch.testing.assert_close(fused.float(), expected, atol=0.05, rtol=0.05)
        torch.testing.assert_close(weights.float(), expected_weights, atol=0.02, rtol=0)


def test_exports_with_any_number_of_samples_and_views(kind):
    fusion = make(kind).eval()
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    prompts = {0: torch.export.Dim.DYNAMIC} if kind == "text_guided" else None
    mask = torch.ones(5, 4, dtype=torch.bool)
    text = bank() if prompts else None
    program = torch.export.export(fusion, (views(), mask, text), dynamic_shapes=(sizes, sizes, prompts))
    z, mask = views(3, 2), torch.tensor([[True, True, False], [True, True, True]])
    for given, expected in zip(program.module()(z, mask, text), fusion(z, mask, text), strict=True):
        torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("kind", LEARNED)
def test_learns_which_view_to_trust(kind):
    """The target is in the view whose first feature is high."""
    torch.manual_seed(0)
    fusion = build_fusion(4, FusionSettings(kind=kind, hidden_dim=16, num_heads=2))
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.02)
    z, text = torch.randn(64, 3, 4), torch.randn(6, 4)
    z[..., 0] = -2
    good = torch.randint(3, (64,))
    z[torch.arange(64), good, 0] = 2
    for _ in range(60):
        optimizer.zero_grad()
        (fusion(z, None, text)[0] - z[torch.arange(64), good]).square().mean().backward()
        optimizer.step()
    assert (fusion(z, None, text)[1].argmax(1) == good).float().mean() > 0.95


def test_refuses_shapes(fuse):
    for bad in ((2, DIM), (2, 3, DIM - 1), (2, 0, DIM)):
        with pytest.raises(REFUSED):
            fuse(torch.zeros(bad).double())
    with pytest.raises(REFUSED):
        fuse(views(), torch.ones(5, 3, dtype=torch.bool))
    with pytest.raises(REFUSED):
        fuse(views(), torch.ones(5, 4))


@pytest.mark.parametrize("changes", [{"hidden_dim": 0}, {"num_heads": 0}, {"kind": "sum"}])
def test_refuses_settings(changes):
    with pytest.raises(REFUSED):
        FusionSettings(**changes)


def test_refuses_widths(kind):
    with pytest.raises(SettingsError):
        build_fusion(0, FusionSettings(kind=kind))
    if kind in ("cross_view", "text_guided"):
        with pytest.raises(SettingsError, match="num_heads"):
            build_fusion(10, FusionSettings(kind=kind, num_heads=4))
