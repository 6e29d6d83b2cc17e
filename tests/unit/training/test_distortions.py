"""Distortions: range, seeds, mirroring with left and right views changing places, empty pixels."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from smilevlm.errors import SettingsError
from smilevlm.training.distortions import Distortions, DistortionSettings

ANGLES = (-30.0, 0.0, 30.0)
STILL = {field.name: 0.0 for field in dataclasses.fields(DistortionSettings)}


def only(**changes: float) -> DistortionSettings:
    """Everything off but these."""
    return DistortionSettings(**{**STILL, **changes})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(batch: int = 3, views: int = 3, size: int = 32) -> torch.Tensor:
    """Values from 1 to 255: no pixel is empty."""
    return torch.randint(1, 256, (batch, views, 3, size, size), generator=seeded(7), dtype=torch.uint8)


def framed_images(size: int = 48) -> torch.Tensor:
    """A square of random values on an empty background."""
    images = random_images(size=size)
    inside = torch.zeros(size, size, dtype=torch.uint8)
    inside[size // 4 : -size // 4, size // 4 : -size // 4] = 1
    return images * inside


@pytest.mark.parametrize("which", ["clean", "distort"])
def test_range_shape_and_seed(which):
    images = random_images()
    draw = getattr(Distortions(DistortionSettings(), ANGLES), which)
    first = draw(images, seeded(1))
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, draw(images, seeded(1)))
    assert not torch.equal(first, draw(images, seeded(2)))


def test_the_caller_s_images_and_torch_s_own_generator_are_left_alone():
    images, state = random_images(), torch.get_rng_state()
    before = images.clone()
    distortions = Distortions(DistortionSettings(mirror=1.0), ANGLES, normal_x_channel=0)
    distortions.distort(images, seeded())
    distortions.clean(images, seeded())
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_clean_share_of_zero_leaves_the_views_as_rendered():
    images = random_images()
    clean = Distortions(DistortionSettings(clean_share=0.0), ANGLES).clean(images, seeded())
    assert torch.equal(clean, images.float() / 255)


@pytest.mark.parametrize("which", ["clean", "distort"])
def test_with_every_range_at_zero_nothing_changes(which):
    images = framed_images()
    result = getattr(Distortions(only(clean_share=1.0), ANGLES), which)(images, seeded())
    torch.testing.assert_close(result, images.float() / 255, rtol=0, atol=1e-4)


@pytest.mark.parametrize("which", ["clean", "distort"])
@pytest.mark.parametrize("angles", [ANGLES, (0.0, 30.0, -30.0), (-15.0, 15.0)])
def test_mirroring_flips_each_view_and_swaps_left_and_right(which, angles):
    images = torch.full((2, len(angles), 3, 32, 32), 100, dtype=torch.uint8)
    left = angles.index(min(angles))
    images[:, left, :, 4:8, 2:9] = 250  # a mark on the image's left side, in the left view alone
    result = getattr(Distortions(only(mirror=1.0, clean_share=1.0), angles), which)(images, seeded())
    right = angles.index(max(angles))
    swapped = images.clone()
    swapped[:, left], swapped[:, right] = images[:, right], images[:, left]
    torch.testing.assert_close(result, swapped.flip(-1).float() / 255, rtol=0, atol=1e-4)
    assert (result[:, right, :, 5, 25] > 0.9).all(), "the mark is now on the right side of the right view"


def test_mirroring_takes_about_its_share_of_the_samples():
    images = torch.zeros(400, 1, 3, 16, 16, dtype=torch.uint8)
    images[..., :8] = 200
    result = Distortions(only(mirror=0.25, clean_share=1.0), (0.0,)).clean(images, seeded())
    share = (result[:, 0, 0, 8, 2] < 0.1).float().mean()
    assert 0.18 < share < 0.32


def test_geometry_is_shared_by_the_views_of_a_sample_and_drawn_anew_for_each_sample():
    one = random_images(batch=1, views=1)
    images = one.expand(4, 3, -1, -1, -1).contiguous()
    moved = Distortions(DistortionSettings(mirror=0.0, clean_share=1.0), ANGLES).clean(images, seeded())
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert not torch.allclose(moved[0], moved[1], atol=1e-2)


def test_noise_brightness_and_holes_are_each_view_s_own():
    images = random_images(batch=1, views=1).expand(1, 3, -1, -1, -1).contiguous()
    for name in ("noise", "brightness", "contrast", "hole"):
        settings = only(**{name: 0.5}, **({"hole_probability": 1.0} if name == "hole" else {}))
        result = Distortions(settings, ANGLES).distort(images, seeded(3))
        assert not torch.allclose(result[:, 0], result[:, 1], atol=1e-3), name


def test_a_shift_is_a_share_of_the_image_side():
    images = torch.zeros(300, 1, 3, 40, 40, dtype=torch.uint8)
    images[..., 18:22, 18:22] = 255
    moved = Distortions(only(shift=0.1, clean_share=1.0), (0.0,)).clean(images, seeded())[:, 0, 0]
    columns = (moved.sum(1) * torch.arange(40)).sum(1) / moved.sum((1, 2)) - 19.5
    assert 3.5 < columns.abs().max() <= 4.001, "a tenth of 40 pixels"


def test_half_the_clean_share_is_half_the_range():
    images = torch.zeros(300, 1, 3, 40, 40, dtype=torch.uint8)
    images[..., 18:22, 18:22] = 255
    moved = Distortions(only(shift=0.1, clean_share=0.5), (0.0,)).clean(images, seeded())[:, 0, 0]
    columns = (moved.sum(1) * torch.arange(40)).sum(1) / moved.sum((1, 2)) - 19.5
    assert 1.7 < columns.abs().max() <= 2.001


@pytest.mark.parametrize("size", [32, 48, 64, 224])
def test_the_background_stays_empty(size):
    images = framed_images(size)
    settings = only(brightness=0.3, contrast=0.3, noise=0.2, hole=0.2, hole_probability=0.5)
    result = Distortions(settings, ANGLES).distort(images, seeded())
    # A pixel of margin: resampling may round by a hair at the edge of the face.
    near = torch.nn.functional.max_pool2d(images.flatten(0, 1).float(), 3, stride=1, padding=1).reshape(images.shape)
    assert (result[near == 0] == 0).all()
    assert not torch.allclose(result, images.float() / 255, atol=0.05)


def test_a_hole_is_black_in_every_channel():
    images = random_images(batch=20)
    result = Distortions(only(hole=0.5, hole_probability=1.0), ANGLES).distort(images, seeded())
    black = result == 0
    assert (black.all(dim=2) == black.any(dim=2)).all()
    assert 0.02 < black.float().mean() < 0.15, "the mean of a product of two uniform sides up to a half is 1/16"


def test_mirroring_negates_the_horizontal_normal_of_covered_pixels_alone():
    images = framed_images()
    moved = Distortions(only(mirror=1.0, clean_share=1.0), ANGLES, normal_x_channel=0).clean(images, seeded())
    expected = images.float().flip(1).flip(-1) / 255
    covered = (expected > 0).any(dim=2)
    expected[:, :, 0] = torch.where(covered, 1 - expected[:, :, 0], expected[:, :, 0])
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-4)
    assert (moved.movedim(2, -1)[~covered] < 1e-4).all()


def test_normals_of_samples_that_are_not_mirrored_stay():
    images = random_images(batch=64)
    moved = Distortions(only(mirror=0.5, clean_share=1.0), ANGLES, normal_x_channel=0).clean(images, seeded())
    plain = images.float() / 255
    same = torch.tensor([torch.allclose(a, b, atol=1e-4) for a, b in zip(moved, plain, strict=True)])
    flipped = plain.flip(1).flip(-1)
    flipped[:, :, 0] = 1 - flipped[:, :, 0]
    mirrored = torch.tensor([torch.allclose(a, b, atol=1e-4) for a, b in zip(moved, flipped, strict=True)])
    assert (same ^ mirrored).all()
    assert same.any()
    assert mirrored.any()


def test_angles_must_be_symmetric_to_mirror():
    with pytest.raises(SettingsError, match="symmetric"):
        Distortions(DistortionSettings(), (-30.0, 0.0, 15.0))
    images = random_images()
    clean = Distortions(only(clean_share=1.0), (-30.0, 0.0, 15.0)).clean(images, seeded())
    torch.testing.assert_close(clean, images.float() / 255, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["mirror", "blur", "hole_probability", "clean_share", "hole"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_lie_in_zero_to_one(name, value):
    with pytest.raises(SettingsError, match=name):
        DistortionSettings(**{name: value})


@pytest.mark.parametrize("name", ["rotate_deg", "scale", "shift", "brightness", "contrast", "noise"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_ranges_are_finite_and_not_negative(name, value):
    with pytest.raises(SettingsError, match=name):
        DistortionSettings(**{name: value})
