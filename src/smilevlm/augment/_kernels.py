"""The compiled form of what the distortions change pixel by pixel. Import this inside functions."""

# ruff: noqa: ANN001, ANN202

import numpy as np

from smilevlm.compiled import kernel as compiled_kernel


@compiled_kernel(error_model="numpy")
def change_pixels(images, gain, offset, slopes, noise, start, stop, cells, empty, centres_x, centres_y):
    """Gain and offset, lighting, noise, the range 0 to 1, and what is blanked, in place.

    The operations on a value, and their order, are those of `_PixelChanges.apply`, so that the bits are equal; its
    arrays are described there. `centres_x` and `centres_y` are those of the pixels, from -1 to 1.
    """
    num_images, channels, height, width = images.shape
    one, zero = np.float32(1), np.float32(0)
    places_x, places_y = (centres_x + one) / np.float32(2), (centres_y + one) / np.float32(2)
    columns = np.arange(width) * cells.shape[2] // width
    shown = np.empty(width, np.bool_)
    for i in range(num_images):
        image = images[i]
        background = zero if empty is None else empty[i]
        for y in range(height):
            for x in range(width):
                shown[x] = background > 0
            for c in range(channels):
                for x in range(width):
                    shown[x] |= image[c, y, x] > 0
            for hole in range(start.shape[1]):
                if places_y[y] >= start[i, hole, 0] and places_y[y] < stop[i, hole, 0]:
                    for x in range(width):
                        shown[x] &= (places_x[x] < start[i, hole, 1]) | (places_x[x] >= stop[i, hole, 1])
            if cells.shape[1]:
                row = cells[i, y * cells.shape[1] // height]
                for x in range(width):
                    shown[x] &= not row[columns[x]]
            for c in range(channels):
                for x in range(width):
                    value = image[c, y, x] * gain[i, c] + offset[i, c]
                    if slopes is not None:
                        value += slopes[i, 0] * centres_x[x] + slopes[i, 1] * centres_y[y]
                    if noise is not None:
                        value += noise[i, y, x]
                    image[c, y, x] = min(max(value, zero), one) if shown[x] else background
