"""Vision-language alignment against Eq. 6 written as loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from smilevlm.errors import SettingsError
from smilevlm.losses import positives_from_groups, vision_language_alignment
from smilevlm.losses.reference import reference_vision_language_alignment

REFUSED = (SettingsError, TypeError)


def cosine(a: list, b: list) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def reference(z_views, z_fused, z_text, temperature, positives=None) -> float:
    num_samples, num_views, _ = z_views.shape
    total = 0.0
    for term in range(num_views + 1):
        for b in range(num_samples):
            image = (z_views[b, term] if term < num_views else z_fused[b]).tolist()
            exponentials = []
            for j in range(num_samples):
                exponentials.append(math.exp(cosine(image, z_text[j].tolist()) / temperature))
            right = [b] if positives is None else [j for j in range(num_samples) if bool(positives[b, j])]
            for j in right:
                total += math.log(exponentials[j] / sum(exponentials)) / len(right)
    return -total / ((num_views + 1) * num_samples)


def batch(num_samples=5, num_views=3, dim=4, seed=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(num_samples, num_views, dim, generator=generator, dtype=dtype),
        torch.randn(num_samples, dim, generator=generator, dtype=dtype),
        torch.randn(num_samples, dim, generator=generator, dtype=dtype),
    )


@pytest.mark.parametrize("sizes", [(5, 3, 4), (2, 1, 3), (4, 2, 1)])
def test_equals_the_loops(sizes):
    z = batch(*sizes)
    ours = vision_language_alignment(*z, temperature=0.2)
    assert ours.dtype == torch.float64
    assert float(ours) == pytest.approx(reference(*z, 0.2), rel=1e-6, abs=1e-6)


def test_several_positives_equal_the_loops():
    z = batch()
    positives = positives_from_groups(torch.tensor([0, 1, 0, 2, 1]))
    assert positives.sum(1).tolist() == [2, 2, 2, 1, 2]
    ours = vision_language_alignment(*z, temperature=0.2, positives=positives)
    assert float(ours) == pytest.approx(reference(*z, 0.2, positives), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("groups", [None, [0, 1, 0, 2, 1]])
def test_symmetric_is_the_mean_with_the_roles_exchanged(groups):
    z_views, z_fused, z_text = batch()
    positives = None if groups is None else positives_from_groups(torch.tensor(groups))
    forth = reference(z_views, z_fused, z_text, 0.2, positives)
    # The prompts in the place of the only view and of the fused embedding, and one view at a time in that of prompts.
    images = [*z_views.unbind(1), z_fused]
    back = sum(reference(z_text[:, None], z_text, image, 0.2, positives) for image in images) / len(images)
    ours = vision_language_alignment(z_views, z_fused, z_text, temperature=0.2, positives=positives, symmetric=True)
    assert abs(forth - back) > 1e-3
    assert float(ours) == pytest.approx((forth + back) / 2, rel=1e-9)


def test_symmetric_gradcheck_with_a_learned_temperature():
    z = [tensor.requires_grad_() for tensor in batch(3, 2, 3)]
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    positives = positives_from_groups(torch.tensor([0, 0, 1]))
    for targets in (None, positives):
        assert gradcheck(
            lambda tau, *args, targets=targets: vision_language_alignment(
                *args, temperature=tau, positives=targets, symmetric=True
            ),
            (temperature, *z),
        )


def test_literal_form_is_the_loops():
    z = batch()
    assert float(reference_vision_language_alignment(*z, temperature=0.2)) == pytest.approx(
        reference(*z, 0.2), rel=1e-6
    )


def test_own_prompt_as_the_only_positive_is_the_literal_form():
    z = batch()
    literal = vision_language_alignment(*z)
    torch.testing.assert_close(vision_language_alignment(*z, positives=torch.eye(5, dtype=torch.bool)), literal)


def test_hand_computed():
    # Views look at their prompt, the fused embeddings at the other's; τ = 1.
    z_text = torch.eye(2, dtype=torch.float64)
    z_views = 3 * torch.eye(2, dtype=torch.float64)[:, None]
    z_fused = torch.eye(2, dtype=torch.float64).flip(0)
    right, wrong = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    ours = vision_language_alignment(z_views, z_fused, z_text, temperature=1.0)
    assert float(ours) == pytest.approx((right + wrong) / 2, abs=1e-12)


def test_shared_prompts_set_the_floor_of_the_literal_form():
    """12 samples of 3 classes, perfectly aligned: ln(12 / 3) one-hot and the same, as the minimum, with positives."""
    classes = torch.arange(12) % 3
    anchors = torch.eye(3, dtype=torch.float64)[classes]
    loss = vision_language_alignment(anchors[:, None], anchors, anchors, temperature=0.01)
    assert float(loss) == pytest.approx(math.log(4), abs=1e-6)


def test_gradcheck():
    z = [tensor.requires_grad_() for tensor in batch(3, 2, 3)]
    assert gradcheck(lambda *args: vision_language_alignment(*args, temperature=0.5), z)
    positives = positives_from_groups(torch.tensor([0, 0, 1]))
    assert gradcheck(lambda *args: vision_language_alignment(*args, temperature=0.5, positives=positives), z)


def test_length_and_order_do_not_count():
    z_views, z_fused, z_text = batch()
    loss = vision_language_alignment(z_views, z_fused, z_text)
    torch.testing.assert_close(vision_language_alignment(z_views * 9, z_fused * 0.1, z_text * 5), loss)
    order = torch.randperm(5)
    torch.testing.assert_close(vision_language_alignment(z_views[order], z_fused[order], z_text[order]), loss)
    torch.testing.assert_close(vision_language_alignment(z_views.flip(1), z_fused, z_text), loss)


def test_batch_of_one_has_nothing_to_choose_from():
    assert float(vision_language_alignment(*batch(1))) == 0.0


def test_zero_and_constant_embeddings_have_finite_gradients():
    z_views = torch.zeros(4, 3, 5, requires_grad=True)
    z_fused = torch.ones(4, 5, requires_grad=True)
    loss = vision_language_alignment(z_views, z_fused, torch.randn(4, 5))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z_views.grad).all()
    assert torch.isfinite(z_fused.grad).all()


def test_small_temperature_does_not_overflow():
    assert torch.isfinite(vision_language_alignment(*batch(dtype=torch.float32), temperature=1e-3))


def test_autocast_keeps_float32():
    z = batch(16, 3, 32, dtype=torch.float32)
    plain = vision_language_alignment(*z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = vision_language_alignment(*z)
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)
    assert vision_language_alignment(z[0].bfloat16(), z[1].bfloat16(), z[2]).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_refuses_temperatures(temperature):
    with pytest.raises(SettingsError, match="temperature"):
        vision_language_alignment(*batch(), temperature=temperature)


def test_refuses_a_prompt_without_positives():
    with pytest.raises(SettingsError, match="a prompt no sample"):
        vision_language_alignment(*batch(), positives=torch.ones(5, 5, dtype=torch.bool) & (torch.arange(5) > 0))


def test_refuses_a_row_without_positives_and_a_mask_of_another_batch():
    with pytest.raises(SettingsError, match="no positive"):
        vision_language_alignment(*batch(), positives=torch.zeros(5, 5, dtype=torch.bool))
    with pytest.raises(REFUSED):
        vision_language_alignment(*batch(), positives=torch.ones(4, 4, dtype=torch.bool))


def test_refuses_shapes():
    z_views, z_fused, z_text = batch()
    for bad in (
        (z_views, z_fused[:4], z_text),
        (z_views, z_fused, z_text[:, :3]),
        (z_fused, z_fused, z_text),
        (z_views[:, :0], z_fused, z_text),
    ):
        with pytest.raises(REFUSED):
            vision_language_alignment(*bad)
