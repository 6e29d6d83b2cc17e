"""Batched image operations that the distortions are made of; no randomness, no wait for a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad


def pixel_centres(size: int, device: torch.device) -> Float[torch.Tensor, " size"]:
    """Centres of the pixels along a side that runs from -1 to 1."""
    return (torch.arange(size, device=device) * 2 + 1) / size - 1


def sampling_grid(
    affine: Float[torch.Tensor, "image 2 3"], height: int, width: int
) -> Float[torch.Tensor, "image height width 2"]:
    """Where each pixel of the result is taken from: `affine_grid` without its slow batch of thin products.

    Args:
        affine: From coordinates of the result to those of the source, both from -1 to 1, x before y.
        height: Of the result.
        width: Of the result.
    """
    x, y = pixel_centres(width, affine.device), pixel_centres(height, affine.device)[:, None]
    of_x, of_y, shift = affine[..., None, None].unbind(dim=2)
    grid = affine.new_empty(len(affine), height, width, 2)
    torch.add(of_y * y + shift, of_x * x, out=grid.permute(0, 3, 1, 2))
    return grid


def box_blur(images: Float[torch.Tensor, "image c h w"]) -> Float[torch.Tensor, "image c h w"]:
    """Mean of each pixel and its eight neighbours, of fewer at the border: 5 times as fast as `avg_pool2d` on a CPU."""
    height, width = images.shape[-2:]
    rows = images.clone()
    rows[..., 1:] += images[..., :-1]
    rows[..., :-1] += images[..., 1:]
    sums = rows.clone()
    sums[..., 1:, :] += rows[..., :-1, :]
    sums[..., :-1, :] += rows[..., 1:, :]
    return sums.div_(_num_neighbours(height, images)[:, None] * _num_neighbours(width, images))


def _num_neighbours(size: int, like: torch.Tensor) -> torch.Tensor:
    count = like.new_full((size,), 3.0)
    count[0] -= 1
    count[-1] -= 1
    return count


def halve_resolution(images: Float[torch.Tensor, "image c h w"]) -> Float[torch.Tensor, "image c h w"]:
    """Down to half the resolution by the mean of 2 x 2 pixels and up again bilinearly."""
    small = avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False)
    return interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)


def gaussian_blur(images: Float[torch.Tensor, "image c h w"], sigma_px: float) -> Float[torch.Tensor, "image c h w"]:
    """Gaussian blur; beyond the border lies what is nearest on it."""
    radius = max(1, round(3 * sigma_px))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel /= kernel.sum()
    channels = images.shape[1]
    padded = pad(images, (radius, radius, radius, radius), mode="replicate")
    rows = conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def limit_resolution(images: Float[torch.Tensor, "image c h w"], size: int) -> Float[torch.Tensor, "image c h w"]:
    """Down to `size` pixels along a side and up again, without aliasing; images that are not larger stay."""
    if size >= images.shape[-1]:
        return images
    small = interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)


def replace_where(
    chosen: Bool[torch.Tensor, " image"],
    change: Callable[[torch.Tensor], torch.Tensor],
    images: Float[torch.Tensor, "image c h w"],
) -> None:
    """Put the changed images in the place of the chosen ones.

    On a CPU only the chosen are computed. On a GPU all are, which costs less than waiting for their number.
    """
    if images.device.type == "cpu":
        index = chosen.nonzero()[:, 0]
        images.index_copy_(0, index, change(images.index_select(0, index)))
    else:
        images.copy_(torch.where(chosen[:, None, None, None], change(images), images))


def in_rectangles(
    start: Float[torch.Tensor, "2 image"], stop: Float[torch.Tensor, "2 image"], height: int, width: int
) -> Bool[torch.Tensor, "image 1 height width"]:
    """True inside each image's rectangle.

    Args:
        start: Upper left corner, y before x, as a share of the side.
        stop: Lower right corner, likewise.
        height: Of the images.
        width: Of the images.
    """
    inside = []
    for axis, length in enumerate((height, width)):
        place = (pixel_centres(length, start.device) + 1) / 2
        inside.append((place >= start[axis, :, None]) & (place < stop[axis, :, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def stretch(cells: Bool[torch.Tensor, "image 1 row column"], height: int, width: int) -> torch.Tensor:
    """A grid of cells laid over images: each pixel has the value of its cell."""
    rows = torch.arange(height, device=cells.device) * cells.shape[-2] // height
    columns = torch.arange(width, device=cells.device) * cells.shape[-1] // width
    return cells.index_select(-2, rows).index_select(-1, columns)
