"""Distortions: range, seeds, mirroring with left and right views changing places, empty pixels, shared batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from smilevlm.augment.distortions import Distortions, DistortionSettings, _PixelChanges
from smilevlm.errors import SettingsError

ANGLES = (-30.0, 0.0, 30.0)
SHARES = (
    "mirror", "blur", "downsample_probability", "hole", "hole_probability", "dropout", "view_dropout", "weak_strength",
    "weak_degraded_share",
)  # fmt: skip
RANGES = ("rotate_deg", "scale", "shift", "brightness", "contrast", "lighting", "noise", "pitch_mm")
COUNTS = {"num_holes": 1, "dropout_patches": 16, "num_distortions": 2}
STILL = dict.fromkeys((*SHARES, *RANGES), 0.0) | COUNTS
EVERYTHING = DistortionSettings(
    lighting=0.3, downsample_probability=0.3, num_holes=3, dropout=0.2, view_dropout=0.4, weak_degraded_share=0.5
)


def only(**changes: Any) -> DistortionSettings:
    """Everything off but these."""
    return DistortionSettings(**{**STILL, **changes})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(which: str, distortions: Distortions, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The clean views, or those under the first distortion."""
    views, _ = distortions.views_and_pairs(images, generator, with_pairs=which == "distort")
    return views[len(images) : 2 * len(images)] if which == "distort" else views


def clean(distortions: Distortions, images: torch.Tensor) -> torch.Tensor:
    return draw("clean", distortions, images, seeded())


def distort(distortions: Distortions, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return draw("distort", distortions, images, seeded(seed))


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
    distortions = Distortions(DistortionSettings(), ANGLES)
    first = draw(which, distortions, images, seeded(1))
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, draw(which, distortions, images, seeded(1)))
    assert not torch.equal(first, draw(which, distortions, images, seeded(2)))


def test_the_caller_s_images_and_torch_s_own_generator_are_left_alone():
    images, state = random_images(), torch.get_rng_state()
    before = images.clone()
    for changes in ({}, {"weak_strength": 0.0, "weak_degraded_share": 1.0}):
        settings = dataclasses.replace(EVERYTHING, mirror=1.0, **changes)
        Distortions(settings, ANGLES, normal_x_channel=0).views_and_pairs(images, seeded())
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_clean_share_of_zero_leaves_the_views_as_rendered():
    images = random_images()
    result = clean(Distortions(DistortionSettings(weak_strength=0.0), ANGLES), images)
    assert torch.equal(result, images.float() / 255)


@pytest.mark.parametrize("which", ["clean", "distort"])
def test_with_every_range_at_zero_nothing_changes(which):
    images = framed_images()
    result = draw(which, Distortions(only(weak_strength=1.0), ANGLES), images, seeded())
    torch.testing.assert_close(result, images.float() / 255, rtol=0, atol=1e-4)


@pytest.mark.parametrize("which", ["clean", "distort"])
@pytest.mark.parametrize("angles", [ANGLES, (0.0, 30.0, -30.0), (-15.0, 15.0)])
def test_mirroring_flips_each_view_and_swaps_left_and_right(which, angles):
    images = torch.full((2, len(angles), 3, 32, 32), 100, dtype=torch.uint8)
    left = angles.index(min(angles))
    images[:, left, :, 4:8, 2:9] = 250  # a mark on the image's left side, in the left view alone
    result = draw(which, Distortions(only(mirror=1.0, weak_strength=1.0), angles), images, seeded())
    right = angles.index(max(angles))
    swapped = images.clone()
    swapped[:, left], swapped[:, right] = images[:, right], images[:, left]
    torch.testing.assert_close(result, swapped.flip(-1).float() / 255, rtol=0, atol=1e-4)
    assert (result[:, right, :, 5, 25] > 0.9).all(), "the mark is now on the right side of the right view"


def test_mirroring_takes_about_its_share_of_the_samples():
    images = torch.zeros(400, 1, 3, 16, 16, dtype=torch.uint8)
    images[..., :8] = 200
    result = clean(Distortions(only(mirror=0.25, weak_strength=1.0), (0.0,)), images)
    share = (result[:, 0, 0, 8, 2] < 0.1).float().mean()
    assert 0.18 < share < 0.32


def test_geometry_is_shared_by_the_views_of_a_sample_and_drawn_anew_for_each_sample():
    one = random_images(batch=1, views=1)
    images = one.expand(4, 3, -1, -1, -1).contiguous()
    moved = clean(Distortions(DistortionSettings(mirror=0.0, weak_strength=1.0), ANGLES), images)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert not torch.allclose(moved[0], moved[1], atol=1e-2)


def test_noise_brightness_and_holes_are_each_view_s_own():
    images = random_images(batch=1, views=1).expand(1, 3, -1, -1, -1).contiguous()
    for name in ("noise", "brightness", "contrast", "hole"):
        settings = only(**{name: 0.5}, **({"hole_probability": 1.0} if name == "hole" else {}))
        result = distort(Distortions(settings, ANGLES), images, 3)
        assert not torch.allclose(result[:, 0], result[:, 1], atol=1e-3), name


def test_a_shift_is_a_share_of_the_image_side():
    images = torch.zeros(300, 1, 3, 40, 40, dtype=torch.uint8)
    images[..., 18:22, 18:22] = 255
    moved = clean(Distortions(only(shift=0.1, weak_strength=1.0), (0.0,)), images)[:, 0, 0]
    columns = (moved.sum(1) * torch.arange(40)).sum(1) / moved.sum((1, 2)) - 19.5
    assert 3.5 < columns.abs().max() <= 4.001, "a tenth of 40 pixels"


def test_half_the_clean_share_is_half_the_range():
    images = torch.zeros(300, 1, 3, 40, 40, dtype=torch.uint8)
    images[..., 18:22, 18:22] = 255
    moved = clean(Distortions(only(shift=0.1, weak_strength=0.5), (0.0,)), images)[:, 0, 0]
    columns = (moved.sum(1) * torch.arange(40)).sum(1) / moved.sum((1, 2)) - 19.5
    assert 1.7 < columns.abs().max() <= 2.001


@pytest.mark.parametrize("size", [32, 48, 64, 224])
def test_the_background_stays_empty(size):
    images = framed_images(size)
    settings = only(brightness=0.3, contrast=0.3, noise=0.2, hole=0.2, hole_probability=0.5)
    result = distort(Distortions(settings, ANGLES), images)
    # A pixel of margin: resampling may round by a hair at the edge of the face.
    near = torch.nn.functional.max_pool2d(images.flatten(0, 1).float(), 3, stride=1, padding=1).reshape(images.shape)
    assert (result[near == 0] == 0).all()
    assert not torch.allclose(result, images.float() / 255, atol=0.05)


def test_a_hole_is_black_in_every_channel():
    images = random_images(batch=20)
    result = distort(Distortions(only(hole=0.5, hole_probability=1.0), ANGLES), images)
    black = result == 0
    assert (black.all(dim=2) == black.any(dim=2)).all()
    assert 0.02 < black.float().mean() < 0.15, "the mean of a product of two uniform sides up to a half is 1/16"


def test_mirroring_negates_the_horizontal_normal_of_covered_pixels_alone():
    images = framed_images()
    moved = clean(Distortions(only(mirror=1.0, weak_strength=1.0), ANGLES, normal_x_channel=0), images)
    expected = images.float().flip(1).flip(-1) / 255
    covered = (expected > 0).any(dim=2)
    expected[:, :, 0] = torch.where(covered, 1 - expected[:, :, 0], expected[:, :, 0])
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-4)
    assert (moved.movedim(2, -1)[~covered] < 1e-4).all()


def test_normals_of_samples_that_are_not_mirrored_stay():
    images = random_images(batch=64)
    moved = clean(Distortions(only(mirror=0.5, weak_strength=1.0), ANGLES, normal_x_channel=0), images)
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
    result = clean(Distortions(only(weak_strength=1.0), (-30.0, 0.0, 15.0)), images)
    torch.testing.assert_close(result, images.float() / 255, rtol=0, atol=1e-4)


@pytest.mark.parametrize("with_pairs", [True, False])
def test_one_batch_holds_the_clean_views_and_then_both_distortions(with_pairs):
    images = random_images()
    settings = only(noise=0.1, brightness=0.1)
    views, mask = Distortions(settings, ANGLES).views_and_pairs(images, seeded(), with_pairs=with_pairs)
    assert mask is None
    assert views.is_contiguous()
    assert torch.equal(views[:3], images.float() / 255)
    if not with_pairs:
        assert len(views) == 3
        return
    assert len(views) == 9
    for distorted in (views[3:6], views[6:]):
        assert not torch.allclose(distorted, views[:3], atol=0.02)
    assert not torch.allclose(views[3:6], views[6:], atol=0.02)


@pytest.mark.parametrize("with_pairs", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        DistortionSettings(),
        DistortionSettings(num_distortions=3),
        EVERYTHING,
        dataclasses.replace(EVERYTHING, weak_strength=0, num_distortions=4),
    ],
)
def test_processes_that_share_a_batch_make_together_what_one_makes(settings, with_pairs, monkeypatch):
    monkeypatch.setattr("smilevlm.augment.distortions._NOISE_ROWS", 3)
    images = random_images(batch=8)
    distortions = Distortions(settings, ANGLES, normal_x_channel=0)
    whole, whole_mask = distortions.views_and_pairs(images, seeded(), with_pairs=with_pairs)
    parts = [
        distortions.views_and_pairs(images[rows], seeded(), with_pairs=with_pairs, rows=rows, total=8)
        for rows in (slice(0, 5), slice(5, 8))
    ]
    copies = [part.unflatten(0, (-1, size)) for (part, _), size in zip(parts, (5, 3), strict=True)]
    assert torch.equal(torch.cat(copies, dim=1).flatten(0, 1), whole)
    masks = [mask for _, mask in parts if mask is not None]
    assert len(masks) == (0 if whole_mask is None else 2)
    if whole_mask is not None:
        assert torch.equal(torch.cat(masks), whole_mask)


@pytest.mark.parametrize("weak_strength", [0.0, 0.1])
@pytest.mark.parametrize("num_distortions", [2, 3, 4])
def test_any_number_of_distortions_beside_the_weak_views(num_distortions, weak_strength):
    images = random_images(batch=20, size=24)
    settings = only(shift=0.5, weak_strength=weak_strength, num_distortions=num_distortions)
    weak, *distorted = Distortions(settings, ANGLES)(images, seeded())
    assert len(distorted) == num_distortions
    # What is shifted far has black borders; the weak views have next to none.
    assert (weak == 0).float().mean() < 0.12
    assert all((copy == 0).float().mean() > 0.25 for copy in distorted)
    assert not any(torch.equal(copy, other) for i, copy in enumerate(distorted) for other in distorted[:i])


def test_rows_must_be_those_of_the_images():
    with pytest.raises(AssertionError, match="rows"):
        Distortions(DistortionSettings(), ANGLES).views_and_pairs(random_images(), seeded(), rows=slice(0, 2), total=8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_of_the_same_numbers():
    images = random_images()
    distortions = Distortions(EVERYTHING, ANGLES, normal_x_channel=0)
    expected, expected_mask = distortions.views_and_pairs(images, seeded())
    views, mask = distortions.views_and_pairs(images.cuda(), seeded())
    torch.testing.assert_close(views.cpu(), expected, rtol=0, atol=1e-3)
    assert mask is not None
    assert expected_mask is not None
    assert torch.equal(mask.cpu(), expected_mask)


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_view_dropout_leaves_a_view_at_least(probability):
    images = torch.zeros(400, 3, 3, 16, 16, dtype=torch.uint8)
    _, mask = Distortions(only(view_dropout=probability), ANGLES).views_and_pairs(images, seeded(), with_pairs=False)
    assert mask is not None
    assert mask.any(dim=1).all()
    # Of three views dropped at once one comes back.
    expected = 1 - probability + probability**3 / 3
    assert abs(mask.float().mean() - expected) < 0.05
    assert (mask.float().mean(dim=0) - expected).abs().max() < 0.08, "each view goes as often as the others"


def test_a_share_of_the_clean_views_is_degraded_and_the_others_are_as_rendered():
    images = random_images(batch=100, size=16)
    settings = dataclasses.replace(EVERYTHING, weak_strength=0.0, weak_degraded_share=0.3)
    views, _ = Distortions(settings, ANGLES).views_and_pairs(images, seeded())
    as_rendered = (views[:100] == images.float() / 255).flatten(2).all(dim=2)
    assert 0.6 < as_rendered.float().mean() < 0.8
    pairs = views[100:].unflatten(0, (2, 100))
    assert not (pairs == images.float() / 255).flatten(3).all(dim=3).any()


def test_light_from_one_side_is_a_linear_gradient():
    images = torch.full((200, 3, 3, 16, 32), 128, dtype=torch.uint8)
    change = distort(Distortions(only(lighting=0.4), ANGLES), images) - 128 / 255
    assert torch.equal(change[:, :, 0], change[:, :, 2])
    change = change[:, :, 0]
    torch.testing.assert_close(change.mean(dim=(2, 3)), torch.zeros(200, 3), rtol=0, atol=1e-3)
    for axis in (2, 3):
        steps = change.diff(dim=axis)
        torch.testing.assert_close(steps, steps.mean(dim=(2, 3), keepdim=True).expand_as(steps), rtol=0, atol=1e-3)
    across = change[..., -1].mean(dim=2) - change[..., 0].mean(dim=2)
    assert 0.35 < across.abs().max() <= 0.4
    assert across.min() < -0.3 < 0.3 < across.max(), "from either side"


def test_a_share_of_the_views_loses_half_of_its_resolution():
    images = random_images(batch=100, size=16)
    result = distort(Distortions(only(downsample_probability=0.3), ANGLES), images)
    difference = (result - images.float() / 255).abs().flatten(2).amax(dim=2)
    coarse = difference > 0.1
    assert 0.2 < coarse.float().mean() < 0.4
    assert difference[~coarse].max() < 1e-4


@pytest.mark.parametrize(("num_holes", "expected"), [(0, 0.0), (1, 1 / 16), (3, 0.17)])
def test_the_number_of_holes(num_holes, expected):
    settings = only(hole=0.5, hole_probability=1.0, num_holes=num_holes)
    result = distort(Distortions(settings, ANGLES), random_images(batch=100))
    assert abs((result == 0).float().mean() - expected) < 0.025


def test_dropped_patches_are_blank_as_a_whole():
    images = random_images(batch=100, size=32)
    result = distort(Distortions(only(dropout=0.4, dropout_patches=8), ANGLES), images)
    blank = (result == 0).view(100, 3, 3, 8, 4, 8, 4).permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
    assert (blank.all(dim=-1) == blank.any(dim=-1)).all()
    share = blank.all(dim=-1).float().mean(dim=(2, 3))
    assert abs(share.mean() - 0.2) < 0.03, "each view draws its share from 0 to 0.4"
    assert share.std() > 0.08


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_lie_in_zero_to_one(name, value):
    with pytest.raises(SettingsError, match=name):
        DistortionSettings(**{name: value})


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_ranges_are_finite_and_not_negative(name, value):
    with pytest.raises(SettingsError, match=name):
        DistortionSettings(**{name: value})


def test_every_setting_is_tested_for_its_range():
    assert {*SHARES, *RANGES, *COUNTS} == {field.name for field in dataclasses.fields(DistortionSettings)}


@pytest.mark.parametrize("changes", [{"num_holes": -1}, {"dropout_patches": 0}, {"num_distortions": 1}])
def test_counts_have_a_least_value(changes):
    with pytest.raises(SettingsError, match=next(iter(changes))):
        DistortionSettings(**changes)


def reduced(images: torch.Tensor, size: int) -> torch.Tensor:
    """The first view of each image, as pixels of the same few millimetres."""
    return torch.nn.functional.interpolate(images[:, 0], size=(size, size), mode="bilinear", antialias=True)


@pytest.mark.parametrize("size", [48, 112, 224])
def test_noise_of_a_pitch_is_as_strong_on_the_face_whatever_the_size(size):
    settings = only(noise=0.2, pitch_mm=180 / 64)
    images = torch.full((64, 1, 3, size, size), 128, dtype=torch.uint8)
    change = reduced(distort(Distortions(settings, (0.0,)), images) - images / 255, 32)[:, 0]
    pixels = torch.full((64, 1, 3, 64, 64), 128, dtype=torch.uint8)
    expected = reduced(distort(Distortions(only(noise=0.2), (0.0,)), pixels) - pixels / 255, 32)[:, 0]
    assert float(change.std()) == pytest.approx(float(expected.std()), rel=0.15)
    by_pixel = reduced(distort(Distortions(only(noise=0.2), (0.0,)), images) - images / 255, 32)[:, 0]
    assert abs(float(by_pixel.std() / expected.std()) - 1) > 0.25, (
        "noise of the views' own pixels depends on their size"
    )


@pytest.mark.parametrize("setting", [{"blur": 1.0}, {"downsample_probability": 1.0}])
def test_detail_of_a_pitch_is_lost_alike_whatever_the_size(setting):
    def contrast(size: int, pitch_mm: float) -> float:
        stripes = 0.5 + 0.4 * torch.sin((torch.arange(size) + 0.5) / size * 2 * torch.pi * 18)
        images = (stripes.expand(2, 1, 3, size, size) * 255).round().to(torch.uint8)
        changed = distort(Distortions(only(**setting, pitch_mm=pitch_mm), (0.0,)), images)
        return float(changed[..., size // 4 : -size // 4].std() / (images / 255).std())

    assert contrast(96, 180 / 64) == pytest.approx(contrast(224, 180 / 64), abs=0.07)
    assert contrast(224, 180 / 64) < 0.5
    assert contrast(224, 0.0) > contrast(96, 0.0) + 0.1


def test_lengths_are_the_same_on_the_face_for_another_window():
    images = torch.full((200, 1, 3, 60, 60), 128, dtype=torch.uint8)
    settings = only(hole=0.5, hole_probability=1.0)
    shares = [
        float((distort(Distortions(settings, (0.0,), window_mm=window_mm), images) == 0).float().mean()) * window_mm**2
        for window_mm in (180.0, 240.0)
    ]
    assert shares[0] == pytest.approx(shares[1], rel=0.15)


# Dynamic images, whose empty value is "no change".

NO_CHANGE = 128 / 255
HOLES = only(hole=0.5, hole_probability=1.0)
BORDERS = only(rotate_deg=25.0, scale=0.3, shift=0.2, weak_strength=1.0)


def dynamic_images(batch: int = 3, size: int = 32) -> torch.Tensor:
    """Changes on a background that never had a surface."""
    images = torch.full((batch, 3, 3, size, size), 128, dtype=torch.uint8)
    inside = slice(size // 4, -size // 4)
    images[..., inside, inside] = random_images(batch, size=size)[..., inside, inside]
    return images


def both(settings: DistortionSettings, images: torch.Tensor, is_dynamic: list[bool] | None) -> torch.Tensor:
    """(copy, batch, view, channel, height, width): clean, and the two distortions."""
    flags = None if is_dynamic is None else torch.tensor(is_dynamic)
    views, _ = Distortions(settings, ANGLES).views_and_pairs(images, seeded(), is_dynamic=flags)
    return views.unflatten(0, (3, len(images)))


@pytest.mark.parametrize(
    "settings",
    [HOLES, only(dropout=0.4, dropout_patches=8), only(num_holes=4, hole=0.3, hole_probability=0.6)],
    ids=["holes", "patches", "several"],
)
def test_a_hole_in_a_dynamic_image_shows_no_change(settings):
    images = torch.full((20, 3, 3, 32, 32), 40, dtype=torch.uint8)
    distorted = both(settings, images, [True] * 20)[1:]
    torch.testing.assert_close(distorted.unique(), torch.tensor([40 / 255, NO_CHANGE]))
    black = both(settings, images, None)[1:] == 0
    assert torch.equal(distorted > 0.3, black), "the holes of scans are at the same places"


@pytest.mark.parametrize("settings", [BORDERS, only(shift=0.3, weak_strength=1.0), only(scale=0.4, weak_strength=1.0)])
def test_beyond_the_border_of_a_dynamic_image_nothing_changes(settings):
    still = torch.full((20, 3, 3, 32, 32), 128, dtype=torch.uint8)
    torch.testing.assert_close(both(settings, still, [True] * 20), torch.full((3, 20, 3, 3, 32, 32), NO_CHANGE))
    assert both(settings, still, None).min() == 0


def test_the_background_of_a_dynamic_image_stays_beside_what_moves():
    views = both(BORDERS, dynamic_images(20), [True] * 20)
    corners = views[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.full_like(corners, NO_CHANGE), rtol=0, atol=1e-6)


def test_scans_and_dynamic_images_in_one_batch():
    images = torch.cat([framed_images(32), dynamic_images(3)])
    everything = dataclasses.replace(EVERYTHING, view_dropout=0.0)
    mixed = both(everything, images, [False] * 3 + [True] * 3)
    assert torch.equal(mixed[:, :3], both(everything, images, None)[:, :3])
    dynamic = both(everything, images, [True] * 6)
    assert torch.equal(mixed[:, 3:], dynamic[:, 3:])
    assert (mixed >= 0).all()
    assert (mixed <= 1).all()


def test_a_dynamic_image_black_in_every_channel_is_a_change_and_no_hole():
    images = torch.zeros(8, 3, 3, 32, 32, dtype=torch.uint8)
    settings = only(brightness=0.2)
    assert both(settings, images, None).max() == 0
    brighter = both(settings, images, [True] * 8)[1:]
    assert 0 < brighter.max() <= 0.2 + 1e-6


def test_rows_of_a_batch_of_dynamic_images_are_those_of_the_whole():
    images, settings = dynamic_images(8), dataclasses.replace(EVERYTHING, view_dropout=0.0)
    whole, flags = both(settings, images, [True] * 8), torch.tensor([True] * 3)
    part, _ = Distortions(settings, ANGLES).views_and_pairs(
        images[2:5], seeded(), rows=slice(2, 5), total=8, is_dynamic=flags
    )
    assert torch.equal(part.unflatten(0, (3, 3)), whole[:, 2:5])


@pytest.mark.parametrize(
    "changes", [{}, {"noise": 0.0}, {"lighting": 0.0}, {"num_holes": 0}, {"dropout": 0.0}, {"weak_degraded_share": 0.0}]
)
@pytest.mark.parametrize("is_dynamic", [None, torch.tensor([True, False, True])])
@pytest.mark.parametrize("size", [(48, 48), (32, 48)])
def test_the_compiled_pass_has_the_bits_of_the_operations_of_a_gpu(changes, is_dynamic, size, monkeypatch):
    distortions = Distortions(dataclasses.replace(EVERYTHING, **changes), ANGLES)
    images = framed_images()[..., : size[0], : size[1]]
    given, _ = distortions.views_and_pairs(images, seeded(), is_dynamic=is_dynamic)
    monkeypatch.setattr(_PixelChanges, "apply_compiled", _PixelChanges.apply)
    expected, _ = distortions.views_and_pairs(images, seeded(), is_dynamic=is_dynamic)
    assert torch.equal(given, expected)
    assert not torch.equal(given, clean(Distortions(only(), ANGLES), images).repeat(3, 1, 1, 1, 1))
