"""The joint loss: weights, scales, terms left out, settings refused."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch

from smilevlm.errors import SettingsError
from smilevlm.losses import (
    JointLoss,
    JointLossSettings,
    PromptBank,
    expected_if_unrelated,
    multi_view_barlow_twins,
    positives_from_groups,
    prompt_bank_alignment,
    redundancy_minimization,
    sampling_noise_floor,
    vision_language_alignment,
)
from smilevlm.losses.gradient_share import GradientShare
from smilevlm.losses.reference import (
    reference_head,
    reference_multi_view_barlow_twins,
    reference_multi_view_scale,
)
from smilevlm.models import Projector, ProjectorSettings


@pytest.fixture
def inputs() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    z_a, z_b, z_views = torch.randn(3, 6, 3, 5, generator=generator)
    views = {"z_distorted": (z_a, z_b), "z_views": z_views}
    return views | {name: torch.randn(6, 5, generator=generator) for name in ("z_fused", "z_text")}


def leaves_of(inputs):
    """Copies that take gradients."""
    tensors = {name: tensor for name, tensor in inputs.items() if name != "z_distorted"}
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    return leaves | {"z_distorted": [tensor.clone().requires_grad_() for tensor in inputs["z_distorted"]]}


def test_weighted_sum(inputs):
    settings = JointLossSettings(
        alpha=2.0, beta=3.0, gamma=0.5, lambd_mv_bt=0.1, lambd_red_min=0.2, temperature=0.3,
        multi_view_scale=0.024, redundancy_scale=0.1,
    )  # fmt: skip
    terms = JointLoss(settings)(**inputs)
    multi_view = multi_view_barlow_twins(*inputs["z_distorted"], lambd=0.1)
    alignment = vision_language_alignment(inputs["z_views"], inputs["z_fused"], inputs["z_text"], temperature=0.3)
    redundancy = redundancy_minimization(inputs["z_fused"], inputs["z_text"], lambd=0.2)
    torch.testing.assert_close(terms.multi_view, multi_view)
    torch.testing.assert_close(terms.alignment, alignment)
    torch.testing.assert_close(terms.redundancy, redundancy)
    torch.testing.assert_close(terms.total, 2 * 0.024 * multi_view + 3 * alignment + 0.5 * 0.1 * redundancy)


@pytest.mark.parametrize(
    ("weight", "term", "needless"),
    [("alpha", "multi_view", ["z_distorted"]), ("beta", "alignment", ["z_views"]), ("gamma", "redundancy", [])],
)
def test_zero_weight_skips_the_term_and_needs_no_input(inputs, weight, term, needless):
    full = JointLoss(JointLossSettings())(**inputs)
    rest = {name: tensor for name, tensor in inputs.items() if name not in needless}
    terms = JointLoss(JointLossSettings(**{weight: 0.0}))(**rest)
    assert getattr(terms, term) is None
    torch.testing.assert_close(terms.total, full.total - getattr(full, term))


@pytest.mark.parametrize("missing", ["z_distorted", "z_views", "z_fused", "z_text"])
def test_a_missing_input_is_named(inputs, missing):
    del inputs[missing]
    with pytest.raises(SettingsError, match=missing):
        JointLoss(JointLossSettings())(**inputs)


def test_multi_positive_takes_groups(inputs):
    loss = JointLoss(JointLossSettings(multi_positive=True, temperature=0.2))
    with pytest.raises(SettingsError, match="groups"):
        loss(**inputs)
    groups = torch.tensor([0, 1, 0, 1, 2, 2])
    expected = vision_language_alignment(
        inputs["z_views"], inputs["z_fused"], inputs["z_text"], temperature=0.2, positives=positives_from_groups(groups)
    )
    torch.testing.assert_close(loss(**inputs, groups=groups).alignment, expected)


@pytest.mark.parametrize("width", [5, 40])
def test_the_head_stands_before_the_multi_view_loss_alone(inputs, width):
    """Wide or narrow, against linear layers, standardisation and ReLU written out."""
    settings = JointLossSettings(head="embedding", head_layers=3, head_hidden_dim=7, head_dim=width)
    head = Projector(5, width, ProjectorSettings(num_layers=3, hidden_dim=7)).double()
    doubles = {name: z.double() for name, z in inputs.items() if name != "z_distorted"}
    z = torch.stack(inputs["z_distorted"]).double()
    terms = JointLoss(settings, head)(**doubles, z_distorted=z.unbind())
    weights = [layer.weight for layer in head.layers if isinstance(layer, torch.nn.Linear)]
    z_a, z_b = reference_head(z.flatten(0, 2), weights).unflatten(0, z.shape[:3])
    torch.testing.assert_close(terms.multi_view, reference_multi_view_barlow_twins(z_a, z_b), rtol=1e-9, atol=1e-9)
    plain = JointLoss(JointLossSettings())(**inputs)
    torch.testing.assert_close((terms.alignment, terms.redundancy), plain[2:4], check_dtype=False)


def test_a_head_is_given_where_it_is_asked_for():
    with pytest.raises(SettingsError, match="no head is given"):
        JointLoss(JointLossSettings(head="features"))
    with pytest.raises(SettingsError, match="a head is given"):
        JointLoss(JointLossSettings(), torch.nn.Identity())
    assert JointLoss(JointLossSettings(head="features", alpha=0.0)).head is None


def test_options_reach_the_multi_view_loss(inputs):
    settings = JointLossSettings(pairs="cross", centre="person", normalise_terms=True, beta=0.0, gamma=0.0)
    loss, subjects = JointLoss(settings), torch.tensor([0, 0, 1, 1, 1, 0])
    with pytest.raises(SettingsError, match="subjects"):
        loss(**inputs)
    with pytest.raises(SettingsError, match="got 1"):
        loss(z_distorted=inputs["z_distorted"][:1])
    distorted = [*inputs["z_distorted"], inputs["z_views"]]
    terms = loss(z_distorted=distorted, subjects=subjects)
    expected = reference_multi_view_barlow_twins(*distorted, pairs="cross", subjects=subjects)
    torch.testing.assert_close(terms.multi_view, expected)
    unit = 5 + (5 + 0.0051 * 20) / (6 * 4)  # of six pairs of views, and six rows less two means
    torch.testing.assert_close(terms.total, expected / unit)


def test_the_scale_follows_the_measured_shares():
    share = GradientShare(0.25, 3, 2.0)
    norms = [(8.0, 2.0), (1.0, 1.0), (6.0, 3.0)]
    assert share.mean is None
    for n, (multi_view, alignment) in enumerate(norms, 1):
        assert share.is_measuring
        before = share.scale
        factor = share.measured(before * multi_view / alignment)
        assert (
            share.scale == pytest.approx(before * factor) == pytest.approx(reference_multi_view_scale(norms[:n], 0.25))
        )
    assert not share.is_measuring
    assert share.scale == pytest.approx(0.25 / 2)
    assert share.mean == pytest.approx(0.25)
    again = GradientShare(0.25, 3, 2.0)
    again.load_state_dict(share.state_dict())
    assert (again.scale, again.num_measured, again.mean) == (share.scale, 3, share.mean)
    assert not list(share.parameters())


def test_a_step_without_gradient_does_not_count_and_without_target_the_scale_stays():
    share = GradientShare(None, 2, 0.1)
    assert share.measured(0.0) == share.measured(0.6) == 1.0
    assert (share.scale, share.num_measured) == (0.1, 1)
    assert share.mean == pytest.approx(0.6)


def test_rescaled_terms_are_those_of_another_scale(inputs):
    settings = JointLossSettings(alpha=0.7, gamma=0.3, normalise_terms=True, multi_view_scale=0.5)
    terms = JointLoss(settings)(**inputs).rescaled(4.0)
    expected = JointLoss(replace(settings, multi_view_scale=2.0))(**inputs)
    torch.testing.assert_close(terms[:4], expected[:4])
    assert terms.weights == pytest.approx(expected.weights)


def test_groups_do_not_touch_the_literal_form(inputs):
    loss = JointLoss(JointLossSettings())
    assert torch.equal(loss(**inputs).total, loss(**inputs, groups=torch.zeros(6, dtype=torch.int64)).total)


def test_the_prompt_bank_takes_the_place_of_the_batch(inputs):
    settings = JointLossSettings(negatives="prompt_bank", multi_positive=True, positives="class", normalise_terms=True)
    bank = PromptBank(torch.randn(7, 5), torch.tensor([0, 0, 0, 3, 3, 5, 6]))
    groups = torch.tensor([0, 3, 0, 5, 6, 3])
    terms = JointLoss(settings, bank=bank)(**inputs, groups=groups)
    expected = prompt_bank_alignment(
        inputs["z_views"], inputs["z_fused"], bank.embeddings, groups[:, None] == bank.groups
    )
    torch.testing.assert_close(terms.alignment, expected)
    # Nothing else changes, and the term is brought to one size by the bank's.
    literal = JointLoss(replace(settings, negatives="batch"))(**inputs, groups=groups)
    other = literal.total - literal.alignment / math.log(6)
    torch.testing.assert_close(terms.total, other + expected / math.log(7))


def test_one_pair_is_enough_against_a_bank(inputs):
    bank = PromptBank(torch.randn(7, 5), torch.arange(7))
    loss = JointLoss(JointLossSettings(negatives="prompt_bank", learned_temperature=True), bank=bank)
    groups, alone = torch.tensor([-1, -1, 4, -1, -1, -1]), torch.arange(6) == 2
    terms = loss(**inputs, groups=groups, paired=alone)
    expected = prompt_bank_alignment(
        inputs["z_views"][alone], inputs["z_fused"][alone], bank.embeddings, torch.arange(7)[None] == 4
    )
    torch.testing.assert_close(terms.alignment, expected)
    assert terms.redundancy == 0
    terms.total.backward()
    assert loss.log_inverse_temperature.grad != 0
    assert loss(**inputs, groups=groups, paired=torch.zeros(6, dtype=torch.bool)).alignment == 0


def test_a_bank_is_asked_for_where_it_is_used(inputs):
    with pytest.raises(SettingsError, match="bank"):
        JointLoss(JointLossSettings(negatives="prompt_bank"))
    JointLoss(JointLossSettings(negatives="prompt_bank", beta=0.0))
    with pytest.raises(SettingsError, match="groups"):
        JointLoss(JointLossSettings(negatives="prompt_bank"), bank=PromptBank(torch.ones(2, 5), torch.arange(2)))(
            **inputs
        )


@pytest.mark.parametrize(
    "wrong", [{"positives": "class"}, {"negatives": "prompt_bank", "symmetric": True}], ids=["groups", "symmetric"]
)
def test_forms_of_the_alignment_that_do_not_go_together(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        JointLossSettings(**wrong)


@pytest.mark.parametrize(
    "bad",
    [
        {"alpha": -1.0}, {"beta": math.nan}, {"gamma": math.inf}, {"lambd_mv_bt": -0.1}, {"temperature": 0.0},
        {"multi_view_share": 0.0}, {"multi_view_share": math.nan}, {"multi_view_share": 0.5, "beta": 0.0},
        {"head_layers": 0}, {"head_hidden_dim": 0}, {"head_dim": 0}, {"share_steps": 0},
        {"multi_view_scale": 0.0}, {"redundancy_scale": -1.0}, {"alpha": 0.0, "beta": 0.0, "gamma": 0.0},
    ],
)  # fmt: skip
def test_settings_outside_their_range(bad):
    with pytest.raises(SettingsError, match=next(iter(bad))):
        JointLossSettings(**bad)


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        JointLossSettings().alpha = 2.0


def test_comparable_terms_start_near_one():
    generator = torch.Generator().manual_seed(1)
    z_a, z_b, z_views = torch.randn(3, 48, 3, 256, generator=generator)
    z = {"z_distorted": (z_a, z_b), "z_views": z_views}
    z |= {name: torch.randn(48, 256, generator=generator) for name in ("z_fused", "z_text")}
    for weight in ("alpha", "beta", "gamma"):
        alone = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0} | {weight: 1.0}
        total = JointLoss(JointLossSettings(**alone, normalise_terms=True, temperature=0.2))(**z).total
        assert float(total) == pytest.approx(1.0, abs=0.05)


def test_comparable_divides_the_sum_and_not_the_terms(inputs):
    plain = JointLoss(JointLossSettings())(**inputs)
    terms = JointLoss(JointLossSettings(normalise_terms=True))(**inputs)
    torch.testing.assert_close(terms[1:4], plain[1:4], rtol=0, atol=0)
    of_views = expected_if_unrelated(dim=5, batch=6, num_views=3, lambd=0.0051, standardize=True)
    of_text = expected_if_unrelated(dim=5, batch=6, num_views=1, lambd=0.0051, standardize=True)
    expected = plain.multi_view / of_views + plain.alignment / math.log(6) + plain.redundancy / of_text
    torch.testing.assert_close(terms.total, expected)


def test_comparable_batch_of_one(inputs):
    one = {name: tensor[:1] for name, tensor in inputs.items() if name != "z_distorted"}
    one["z_distorted"] = [tensor[:1] for tensor in inputs["z_distorted"]]
    terms = JointLoss(JointLossSettings(normalise_terms=True, standardize=False))(**one)
    assert torch.isfinite(terms.total)


def test_symmetric_reaches_the_alignment(inputs):
    terms = JointLoss(JointLossSettings(symmetric=True))(**inputs)
    expected = vision_language_alignment(inputs["z_views"], inputs["z_fused"], inputs["z_text"], symmetric=True)
    assert torch.equal(terms.alignment, expected)


def test_learned_temperature_starts_at_the_setting_and_is_clamped(inputs):
    plain = JointLoss(JointLossSettings(temperature=0.3))
    assert not list(plain.parameters())
    plain.clamp_()
    loss = JointLoss(JointLossSettings(temperature=0.3, learned_temperature=True))
    assert [name for name, _ in loss.named_parameters()] == ["log_inverse_temperature"]
    torch.testing.assert_close(loss(**inputs).total, plain(**inputs).total)
    loss(**inputs).total.backward()
    assert loss.log_inverse_temperature.grad != 0
    for value, expected in ((9.0, 0.01), (-3.0, 1.0), (1.0, math.exp(-1.0))):
        torch.nn.init.constant_(loss.log_inverse_temperature, value)
        loss.clamp_()
        assert loss.temperature.item() == pytest.approx(expected, rel=1e-5)


def test_learned_temperature_needs_the_alignment():
    assert not list(JointLoss(JointLossSettings(beta=0.0, learned_temperature=True)).parameters())


@pytest.mark.parametrize("temperature", [0.009, 1.1])
def test_learned_temperature_starts_within_its_clamp(temperature):
    JointLossSettings(temperature=temperature)
    with pytest.raises(SettingsError, match=r"between 0\.01 and 1"):
        JointLossSettings(temperature=temperature, learned_temperature=True)


def test_samples_without_a_prompt_count_in_the_multi_view_loss_alone(inputs):
    paired = torch.tensor([True, False, True, True, False, True])
    settings = JointLossSettings(multi_positive=True, symmetric=True, normalise_terms=True, learned_temperature=True)
    groups = torch.tensor([0, -1, 1, 0, -1, 2])
    leaves = leaves_of(inputs)
    with torch.no_grad():
        leaves["z_text"][~paired] = math.nan
    terms = JointLoss(settings)(**leaves, groups=groups, paired=paired)
    rest = {name: inputs[name][paired] for name in ("z_views", "z_fused", "z_text")}
    of_pairs = JointLoss(replace(settings, alpha=0.0))(**rest, groups=groups[paired])
    of_all = JointLoss(replace(settings, beta=0.0, gamma=0.0))(z_distorted=inputs["z_distorted"])
    torch.testing.assert_close(terms[1:4], (of_all.multi_view, of_pairs.alignment, of_pairs.redundancy))
    torch.testing.assert_close(terms.total, of_all.total + of_pairs.total)
    terms.total.backward()
    distorted = leaves.pop("z_distorted")
    assert all(torch.isfinite(tensor.grad).all() for tensor in (*distorted, *leaves.values()))
    assert not leaves["z_fused"].grad[~paired].any()


def test_all_paired_is_the_same_as_no_mask(inputs):
    loss = JointLoss(JointLossSettings())
    assert torch.equal(loss(**inputs, paired=torch.ones(6, dtype=torch.bool)).total, loss(**inputs).total)


@pytest.mark.parametrize("num_pairs", [0, 1])
def test_fewer_than_two_pairs_leave_zeros_with_a_graph(inputs, num_pairs):
    loss = JointLoss(JointLossSettings(learned_temperature=True, normalise_terms=True))
    leaves = leaves_of(inputs)
    terms = loss(**leaves, paired=torch.arange(6) < num_pairs)
    assert terms.alignment.item() == terms.redundancy.item() == 0
    terms.total.backward()
    assert loss.log_inverse_temperature.grad.item() == 0
    for name in ("z_views", "z_fused", "z_text"):
        assert not leaves[name].grad.any()
    assert leaves["z_distorted"][0].grad.any()


def test_noise_floor():
    assert sampling_noise_floor(dim=512, batch=64) == pytest.approx(20.8, abs=0.1)
    # The prediction holds for unrelated features.
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 64, 1, 128, generator=generator)
    measured = multi_view_barlow_twins(z[0], z[1], lambd=1.0) - multi_view_barlow_twins(z[0], z[1], lambd=0.0)
    assert float(measured) == pytest.approx(sampling_noise_floor(dim=128, batch=64, lambd=1.0), rel=0.1)
