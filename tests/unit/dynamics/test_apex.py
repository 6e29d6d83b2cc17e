"""The apex of a faint movement, against a fit in loops, and in spite of what is no expression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from smilevlm.dynamics import find_apex
from smilevlm.dynamics.apex import MIN_FRAMES, _changes, _seen_in_all
from smilevlm.errors import LayoutError

SIZE = 48


def face(num_frames: int, *, apex: int, strength: float, shift_px: float, noise: float, seed: int) -> np.ndarray:
    """A relief in which one spot rises and falls, while the whole drifts, sways and flickers at its rim."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    relief = 120 + 40 * np.sin(x / 7.0) * np.cos(y / 9.0)
    spot = np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 18)
    outside = (x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2 > 20**2
    time = np.arange(num_frames)
    rise = np.where(time <= apex, time / apex, (num_frames - 1 - time) / (num_frames - 1 - apex))
    frames = []
    for height in rise:
        sway = shift_px * rng.normal(size=2)
        moved = ndimage.shift(relief, sway, order=1, mode="nearest") + rng.normal(0, 3)
        image = np.clip(moved + strength * height * spot + noise * rng.normal(size=moved.shape), 1, 255)
        rim = 20 + rng.normal()
        image[outside | ((x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2 > rim**2)] = 0
        frames.append(np.repeat(np.round(image)[..., None], 3, axis=-1))
    return np.stack(frames).astype(np.uint8)[:, None]


@pytest.mark.parametrize("apex", [6, 12, 20])
@pytest.mark.parametrize("seed", range(3))
def test_a_faint_movement_under_sway_and_flicker(apex, seed):
    frames = face(28, apex=apex, strength=14, shift_px=0.3, noise=1.0, seed=seed)
    assert abs(find_apex(frames) - apex) <= 2


def test_it_is_the_best_fit_of_a_rise_and_fall():
    """Pixel by pixel: least squares with a constant, a drift and the movement; the apex leaves the least over."""
    frames = face(11, apex=4, strength=20, shift_px=0.2, noise=2.0, seed=5)
    changes = _changes(frames[:, 0, :, :, 0], _seen_in_all(frames)[0])
    num_frames, num_pixels = changes.shape
    left_over = {}
    for apex in range(2, num_frames - 2):
        shape = [
            0.5 - 0.5 * np.cos(np.pi * (t / apex if t <= apex else (num_frames - 1 - t) / (num_frames - 1 - apex)))
            for t in range(num_frames)
        ]
        design = np.stack([np.ones(num_frames), np.arange(num_frames), shape], axis=1)
        left_over[apex] = sum(
            float(np.linalg.lstsq(design, changes[:, pixel], rcond=None)[1][0]) for pixel in range(num_pixels)
        )
    assert find_apex(frames) == min(left_over, key=left_over.__getitem__)


def test_brightness_and_contrast_of_all_frames_say_nothing():
    frames = face(20, apex=12, strength=30, shift_px=0.0, noise=0.5, seed=1)
    brighter = np.where(frames > 0, frames + np.arange(20)[:, None, None, None, None] % 5 * 4, 0).astype(np.uint8)
    assert find_apex(brighter) == find_apex(frames)


@pytest.mark.parametrize("num_frames", [9, 15, 31])
@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_moves_it_is_the_middle(num_frames, seed):
    still = face(1, apex=1, strength=0, shift_px=0, noise=9, seed=seed)
    assert find_apex(np.repeat(still, num_frames, axis=0)) == num_frames // 2


def test_too_few_frames_and_no_face():
    frames = face(MIN_FRAMES, apex=2, strength=9, shift_px=0, noise=1, seed=0)
    assert find_apex(frames) == 2
    with pytest.raises(LayoutError, match="5 frames or more, the sequence has 4"):
        find_apex(frames[:4])
    frames[1] = 0
    with pytest.raises(LayoutError, match="no pixel shows the face in all frames"):
        find_apex(frames)
