"""The joint loss: weights, scales, terms left out, settings refused."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
import torch

from smilevlm.errors import SettingsError
from smilevlm.losses import (
    JointLoss,
    JointLossSettings,
    multi_view_barlow_twins,
    positives_from_groups,
    redundancy_minimization,
    sampling_noise_floor,
    vision_language_alignment,
)


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    views = {name: torch.randn(6, 3, 5, generator=generator) for name in ("z_a", "z_b", "z_views")}
    return views | {name: torch.randn(6, 5, generator=generator) for name in ("z_fused", "z_text")}


def test_weighted_sum(inputs):
    settings = JointLossSettings(
        alpha=2.0, beta=3.0, gamma=0.5, lambd_mv_bt=0.1, lambd_red_min=0.2, temperature=0.3,
        multi_view_scale=0.024, redundancy_scale=0.1,
    )  # fmt: skip
    terms = JointLoss(settings)(**inputs)
    multi_view = multi_view_barlow_twins(inputs["z_a"], inputs["z_b"], lambd=0.1)
    alignment = vision_language_alignment(inputs["z_views"], inputs["z_fused"], inputs["z_text"], temperature=0.3)
    redundancy = redundancy_minimization(inputs["z_fused"], inputs["z_text"], lambd=0.2)
    torch.testing.assert_close(terms.multi_view, multi_view)
    torch.testing.assert_close(terms.alignment, alignment)
    torch.testing.assert_close(terms.redundancy, redundancy)
    torch.testing.assert_close(terms.total, 2 * 0.024 * multi_view + 3 * alignment + 0.5 * 0.1 * redundancy)


@pytest.mark.parametrize(
    ("weight", "term", "needless"),
    [("alpha", "multi_view", ["z_a", "z_b"]), ("beta", "alignment", ["z_views"]), ("gamma", "redundancy", [])],
)
def test_zero_weight_skips_the_term_and_needs_no_input(inputs, weight, term, needless):
    full = JointLoss(JointLossSettings())(**inputs)
    rest = {name: tensor for name, tensor in inputs.items() if name not in needless}
    terms = JointLoss(JointLossSettings(**{weight: 0.0}))(**rest)
    assert getattr(terms, term) is None
    torch.testing.assert_close(terms.total, full.total - getattr(full, term))


@pytest.mark.parametrize("missing", ["z_a", "z_b", "z_views", "z_fused", "z_text"])
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


def test_groups_do_not_touch_the_literal_form(inputs):
    loss = JointLoss(JointLossSettings())
    assert torch.equal(loss(**inputs).total, loss(**inputs, groups=torch.zeros(6, dtype=torch.int64)).total)


@pytest.mark.parametrize(
    "bad",
    [
        {"alpha": -1.0}, {"beta": math.nan}, {"gamma": math.inf}, {"lambd_mv_bt": -0.1}, {"temperature": 0.0},
        {"multi_view_scale": 0.0}, {"redundancy_scale": -1.0}, {"alpha": 0.0, "beta": 0.0, "gamma": 0.0},
    ],
)  # fmt: skip
def test_settings_outside_their_range(bad):
    with pytest.raises(SettingsError, match=next(iter(bad))):
        JointLossSettings(**bad)


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        JointLossSettings().alpha = 2.0


def test_noise_floor():
    assert sampling_noise_floor(dim=512, batch=64) == pytest.approx(20.8, abs=0.1)
    # The prediction holds for unrelated features.
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 64, 1, 128, generator=generator)
    measured = multi_view_barlow_twins(z[0], z[1], lambd=1.0) - multi_view_barlow_twins(z[0], z[1], lambd=0.0)
    assert float(measured) == pytest.approx(sampling_noise_floor(dim=128, batch=64, lambd=1.0), rel=0.1)
