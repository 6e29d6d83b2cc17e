"""The supervised baseline's loss against loops, by hand, and by its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from smilevlm.errors import SettingsError
from smilevlm.losses import SupervisedLoss, class_cross_entropy


def batch(num_samples=4, num_views=2, dim=5, num_classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z_views = torch.randn(num_samples, num_views, dim, generator=generator, dtype=torch.float64)
    z_fused = torch.randn(num_samples, dim, generator=generator, dtype=torch.float64)
    vectors = torch.randn(num_classes, dim, generator=generator, dtype=torch.float64)
    return z_views, z_fused, vectors, torch.tensor([0, 2, 1, 2])[:num_samples]


def cosine(a, b) -> float:
    return float(a @ b / a.norm() / b.norm())


def test_equals_the_loops():
    z_views, z_fused, vectors, labels = batch()
    total = 0.0
    for b in range(4):
        for image in (*z_views[b], z_fused[b]):
            logits = [cosine(image, vector) / 0.2 for vector in vectors]
            total -= logits[labels[b]] - math.log(sum(math.exp(value) for value in logits))
    ours = class_cross_entropy(z_views, z_fused, vectors, labels, temperature=0.2)
    assert float(ours) == pytest.approx(total / 12, rel=1e-9)


def test_by_hand():
    # One view and the fused embedding, both at the first of two orthogonal classes: cosines 1 and 0, temperature 1.
    z = torch.tensor([[[2.0, 0.0]]], dtype=torch.float64)
    ours = class_cross_entropy(z, z[:, 0], torch.eye(2, dtype=torch.float64), torch.tensor([0]), temperature=1.0)
    assert float(ours) == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-12)


def test_gradient():
    z_views, z_fused, vectors, labels = batch()
    inputs = (z_views.requires_grad_(), z_fused.requires_grad_())
    assert gradcheck(lambda views, fused: class_cross_entropy(views, fused, vectors, labels), inputs)


def test_the_length_of_an_embedding_does_not_matter():
    z_views, z_fused, vectors, labels = batch()
    longer = class_cross_entropy(7 * z_views, 3 * z_fused, 2 * vectors, labels)
    torch.testing.assert_close(longer, class_cross_entropy(z_views, z_fused, vectors, labels))


def test_takes_the_place_of_the_joint_loss():
    z_views, z_fused, vectors, labels = batch()
    loss = SupervisedLoss(vectors, 0.07)
    terms = loss(z_distorted=(), z_views=z_views, z_fused=z_fused, z_text=vectors[labels], groups=labels)
    torch.testing.assert_close(terms.total, class_cross_entropy(z_views, z_fused, vectors, labels))
    assert (terms.multi_view, terms.alignment, terms.redundancy) == (None, None, None)
    assert not loss.uses_pairs
    assert not list(loss.parameters())


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_none(temperature):
    with pytest.raises(SettingsError, match="temperature"):
        class_cross_entropy(*batch(), temperature=temperature)


def test_an_empty_batch():
    z_views, z_fused, vectors, labels = batch()
    with pytest.raises(SettingsError, match="got none"):
        class_cross_entropy(z_views[:0], z_fused[:0], vectors, labels[:0])
