"""Alignment against a bank of prompts, against Eq. 6 written as loops with the bank in the place of the batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from smilevlm.errors import SettingsError
from smilevlm.losses import class_cross_entropy, prompt_bank_alignment, vision_language_alignment
from unit.losses.test_vision_language import batch, cosine

BANK = torch.randn(6, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
POSITIVES = torch.tensor(
    [
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 0, 0, 1],
    ],
    dtype=torch.bool,
)


def reference(z_views, z_fused, bank, positives, temperature: float) -> float:
    num_samples, num_views, _ = z_views.shape
    total = 0.0
    for b in range(num_samples):
        for image in [*z_views[b], z_fused[b]]:
            exponentials = [math.exp(cosine(image.tolist(), text.tolist()) / temperature) for text in bank]
            right = [k for k in range(len(bank)) if bool(positives[b, k])]
            for k in right:
                total += math.log(exponentials[k] / sum(exponentials)) / len(right)
    return -total / ((num_views + 1) * num_samples)


def test_equals_the_loops():
    z_views, z_fused, _ = batch()
    ours = prompt_bank_alignment(z_views, z_fused, BANK, POSITIVES, temperature=0.2)
    assert ours.dtype == torch.float64
    assert float(ours) == pytest.approx(reference(z_views, z_fused, BANK, POSITIVES, 0.2), rel=1e-12)


def test_a_bank_of_the_batchs_own_prompts_is_the_literal_form():
    z = batch()
    ours = prompt_bank_alignment(*z, torch.eye(5, dtype=torch.bool), temperature=0.2)
    torch.testing.assert_close(ours, vision_language_alignment(*z, temperature=0.2))


def test_one_positive_each_is_cross_entropy_over_the_bank():
    z_views, z_fused, _ = batch()
    rows = torch.tensor([0, 5, 2, 2, 1])
    ours = prompt_bank_alignment(z_views, z_fused, BANK, rows[:, None] == torch.arange(6), temperature=0.2)
    torch.testing.assert_close(ours, class_cross_entropy(z_views, z_fused, BANK, rows, temperature=0.2))


def test_a_batch_of_one_learns():
    z_views, z_fused, _ = (tensor.requires_grad_() for tensor in batch(1))
    loss = prompt_bank_alignment(z_views, z_fused, BANK, POSITIVES[:1])
    loss.backward()
    assert loss > 0
    assert z_views.grad.abs().sum() > 0


def test_gradcheck():
    z_views, z_fused, _ = (tensor.requires_grad_() for tensor in batch(5, 2, 4))
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    bank = BANK.clone().requires_grad_()
    assert gradcheck(
        lambda views, fused, texts, t: prompt_bank_alignment(views, fused, texts, POSITIVES, temperature=t),
        (z_views, z_fused, bank, temperature),
    )


def test_only_directions_count_and_half_precision_is_not_used():
    z_views, z_fused, _ = batch(dtype=torch.float32)
    bank = BANK.float()
    plain = prompt_bank_alignment(z_views, z_fused, bank, POSITIVES)
    torch.testing.assert_close(prompt_bank_alignment(3 * z_views, 0.5 * z_fused, 2 * bank, POSITIVES), plain)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prompt_bank_alignment(z_views, z_fused, bank, POSITIVES), plain)


def test_what_does_not_fit_is_refused():
    z_views, z_fused, _ = batch()
    without = POSITIVES.clone()
    without[1] = False
    for positives in (without, POSITIVES[:4]):
        with pytest.raises((SettingsError, TypeError)):
            prompt_bank_alignment(z_views, z_fused, BANK, positives)
    with pytest.raises(SettingsError, match="temperature"):
        prompt_bank_alignment(z_views, z_fused, BANK, POSITIVES, temperature=0.0)
    with pytest.raises(SettingsError, match="got none"):
        prompt_bank_alignment(z_views[:0], z_fused[:0], BANK, POSITIVES[:0])
