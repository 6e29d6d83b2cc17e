"""Where a faint movement of the face is strongest: found in the frames, without labels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8

from smilevlm.errors import LayoutError

MIN_FRAMES = 5
_WORKING_SIZE = 64
"""Images are smoothed and their rims left out as at this size, whatever theirs is."""
_SMOOTH_PX = 1.0
_RIM_PX = 2
_LEAST_ENERGY = 1e-9
"""Below it is the rounding of changes that are zero, in grey levels or in units of a pixel's own flicker."""


def find_apex(frames: UInt8[np.ndarray, "time view height width 3"]) -> int:
    """Index of the frame in which the face differs most from how it begins and ends.

    A pixel's change in time is taken after what moves the whole head, or all brightness, is projected out (shift, turn
    and scale of the mean image, a constant and a plane), relative to its own flicker (second differences in time). The
    changes are compared with a rise from the first frame to the apex and a fall to the last one (half periods of a
    cosine), a constant and a linear drift left out of both; the apex with the highest energy is taken. The
    sequence should begin just before the movement and end just after it.

    Args:
        frames: Rendered views in order, black where there is no surface. Only pixels with surface in all frames count.

    Returns:
        The apex, at least two frames from either end; where nothing moves the middle frame.

    Raises:
        LayoutError: Fewer than five frames, or no pixel has surface in all of them.

    Source: the apex as the peak of the motion over both views, Nguyen et al., Dual-View Optical Flow for 4D
    Micro-Expression Recognition, arXiv 2603.26849. Departs from it: no optical flow, and the peak is that of a matched
    filter (generalised likelihood ratio for a known shape in noise), since the largest change of a noisy scan is
    seldom the movement's. Assumption A70.
    """
    num_frames = len(frames)
    if num_frames < MIN_FRAMES:
        raise LayoutError(f"an apex is looked for in {MIN_FRAMES} frames or more, the sequence has {num_frames}")
    seen = _seen_in_all(frames)
    if not seen.any():
        raise LayoutError("no pixel shows the face in all frames, so no apex can be found")
    gram = np.zeros((num_frames, num_frames))
    for view in range(frames.shape[1]):
        for channel in range(3 if seen[view].any() else 0):
            changes = _changes(frames[:, view, :, :, channel], seen[view])
            gram += changes @ changes.T
    candidates = np.arange(2, num_frames - 2)
    energies = [shape @ gram @ shape for shape in (_rise_and_fall(num_frames, int(apex)) for apex in candidates)]
    return int(candidates[np.argmax(energies)]) if max(energies) > _LEAST_ENERGY else num_frames // 2


def _seen_in_all(frames: UInt8[np.ndarray, "time view height width 3"]) -> Bool[np.ndarray, "view height width"]:
    """Pixels with surface in all frames, rims left out."""
    from scipy import ndimage

    side = 2 * round(_RIM_PX * frames.shape[2] / _WORKING_SIZE) + 1
    covered = np.logical_and.reduce([frame.any(axis=-1) for frame in frames])
    return np.asarray(ndimage.binary_erosion(covered, structure=np.ones((1, side, side))))


def _changes(
    images: UInt8[np.ndarray, "time height width"], seen: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "time pixel"]:
    """One channel of one view: what changes in time at each pixel, without the head's own movement, by its flicker."""
    from scipy import ndimage

    sigma = _SMOOTH_PX * images.shape[1] / _WORKING_SIZE
    smooth = np.stack([ndimage.gaussian_filter(image.astype(np.float64), sigma) for image in images])
    mean = smooth.mean(axis=0)
    changes = (smooth - mean)[:, seen]
    rigid, _ = np.linalg.qr(_rigid_changes(mean)[seen])
    changes -= (changes @ rigid) @ rigid.T
    # A second difference of white noise has six times its variance.
    variance = (np.diff(changes, 2, axis=0) ** 2).mean(axis=0) / 6
    floor = np.median(variance)
    return changes / np.sqrt(variance + floor) if floor > 0 else changes


def _rigid_changes(mean: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width 7"]:
    """How an image changes, to first order, when it gets brighter or moves as a whole."""
    height, width = mean.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    down, right = np.gradient(mean)
    return np.stack(
        [np.ones_like(x), x, y, right, down, x * down - y * right, x * right + y * down],
        axis=-1,
    )


def _rise_and_fall(num_frames: int, apex: int) -> Float[np.ndarray, " time"]:
    """The movement's shape in time without constant and drift, of length one."""
    time = np.arange(num_frames)
    height = np.where(time <= apex, time / apex, (num_frames - 1 - time) / (num_frames - 1 - apex))
    shape = (1 - np.cos(np.pi * height)) / 2
    drift, _ = np.linalg.qr(np.stack([np.ones(num_frames), time], axis=1))
    shape -= drift @ (drift.T @ shape)
    return shape / np.linalg.norm(shape)
