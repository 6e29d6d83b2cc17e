"""Compiled passes of batch normalisation with ReLU, float32 or the bits of bfloat16. Import this inside functions.

The channels of several pixels are taken side by side as one row of columns, which lets the processor work on more of
them at once. Sums over many rows are in float64.
"""

# ruff: noqa: ANN001, ANN202

from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import overload

from smilevlm.compiled import kernel as compiled_kernel

COLUMNS = 256
"""Values in a row, about."""
ROWS = 32
"""Rows that are summed in float32; they stay in the nearest cache."""

kernel = compiled_kernel(error_model="numpy")


def _read(value):
    """A float32 from itself or from the bits of a bfloat16."""


@overload(_read, inline="always")
def _compiled_read(value):
    if value == types.float32:
        return lambda value: value
    return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)


@kernel
@no_type_check
def _bfloat16(bits):
    """The upper half of a float32's bits, rounded."""
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


def _rounded(value, like):
    """A float32 as it is, or as the bits of the nearest bfloat16, even ones where two are as near."""


@overload(_rounded, inline="always")
def _compiled_rounded(value, like):
    if like == types.float32:
        return lambda value, like: value
    return lambda value, like: _bfloat16(np.float32(value).view(np.uint32))


@kernel
@no_type_check
def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


@kernel
@no_type_check
def repeat(values, number):
    """Values of channels for `number` pixels side by side."""
    repeated = np.empty((number, len(values)), np.float32)
    repeated[:] = values
    return repeated.ravel()


@kernel
@no_type_check
def moments(x):
    """Mean of each column and the sum of squares about it, by blocks (Chan, Golub and LeVeque 1983)."""
    num_rows, num_columns = x.shape
    mean, squares = np.zeros(num_columns), np.zeros(num_columns)
    block_mean, block_squares = np.empty(num_columns, np.float32), np.empty(num_columns, np.float32)
    for first in range(0, num_rows, ROWS):
        last = min(first + ROWS, num_rows)
        size = last - first
        block_mean[:], block_squares[:] = 0, 0
        for row in range(first, last):
            for c in range(num_columns):
                block_mean[c] += _read(x[row, c])
        for c in range(num_columns):
            block_mean[c] /= np.float32(size)
        for row in range(first, last):
            for c in range(num_columns):
                apart = _read(x[row, c]) - block_mean[c]
                block_squares[c] += apart * apart
        for c in range(num_columns):
            apart = np.float64(block_mean[c]) - mean[c]
            mean[c] += apart * size / last
            squares[c] += block_squares[c] + apart * apart * first * size / last
    return mean, squares


@kernel
@no_type_check
def normalise(x, added, mean, scale, bias, y):
    """max((x - mean) scale + bias + added, 0) of (row, column)."""
    for row in range(x.shape[0]):
        for c in range(x.shape[1]):
            value = (_read(x[row, c]) - mean[c]) * scale[c] + bias[c]
            if added is not None:
                value += _read(added[row, c])
            y[row, c] = _rounded(max(value, np.float32(0)), x[row, c])


@kernel
@no_type_check
def gradient_sums(gradient, y, x, mean):
    """Sums over the rows of the gradient before ReLU, and of its product with x - mean."""
    num_rows, num_columns = x.shape
    total, product = np.zeros(num_columns), np.zeros(num_columns)
    block_total, block_product = np.empty(num_columns, np.float32), np.empty(num_columns, np.float32)
    for first in range(0, num_rows, ROWS):
        block_total[:], block_product[:] = 0, 0
        for row in range(first, min(first + ROWS, num_rows)):
            for c in range(num_columns):
                passed = _read(gradient[row, c]) if _read(y[row, c]) > 0 else np.float32(0)
                block_total[c] += passed
                block_product[c] += passed * (_read(x[row, c]) - mean[c])
        for c in range(num_columns):
            total[c] += block_total[c]
            product[c] += block_product[c]
    return total, product


@kernel
@no_type_check
def input_gradient(gradient, y, x, mean, scale, slope, offset, of_x, of_added):
    """The gradient before ReLU, into `of_added` unless that is None, and of x: scale g + slope (x - mean) + offset."""
    for row in range(x.shape[0]):
        for c in range(x.shape[1]):
            passed = _read(gradient[row, c]) if _read(y[row, c]) > 0 else np.float32(0)
            value = scale[c] * passed + slope[c] * (_read(x[row, c]) - mean[c]) + offset[c]
            of_x[row, c] = _rounded(value, x[row, c])
            if of_added is not None:
                of_added[row, c] = _rounded(passed, x[row, c])


@kernel
@no_type_check
def forward(x, added, weight, bias, running_mean, running_var, momentum, eps, y, mean, inverse):
    """y = max((x - mean) inverse weight + bias + added, 0) of rows (pixel, channel); `added` may be None.

    Fills y, and in float32 the mean and the inverse standard deviation of each channel; moves the running statistics.
    """
    num_pixels, channels = x.shape
    repeats = gcd(num_pixels, max(1, COLUMNS // channels))
    shape = num_pixels // repeats, repeats * channels
    means, squares = moments(x.reshape(shape))
    for c in range(channels):
        centre = means[c::channels].mean()
        # Each column is the mean of equally many values.
        between = ((means[c::channels] - centre) ** 2).sum() * shape[0]
        variance = (squares[c::channels].sum() + between) / num_pixels
        mean[c], inverse[c] = centre, 1 / np.sqrt(variance + eps)
        running_mean[c] += momentum * (centre - running_mean[c])
        running_var[c] += momentum * (variance * num_pixels / (num_pixels - 1) - running_var[c])
    if added is not None:
        added = added.reshape(shape)
    normalise(
        x.reshape(shape), added, repeat(mean, repeats), repeat(weight * inverse, repeats), repeat(bias, repeats),
        y.reshape(shape),
    )  # fmt: skip


@kernel
@no_type_check
def backward(gradient, y, x, weight, mean, inverse, of_x, of_added, of_weight, of_bias):
    """Gradients of `forward`'s arguments from that of y, all of them filled; `of_added` may be None."""
    num_pixels, channels = x.shape
    repeats = gcd(num_pixels, max(1, COLUMNS // channels))
    shape = num_pixels // repeats, repeats * channels
    gradient, y, x = gradient.reshape(shape), y.reshape(shape), x.reshape(shape)
    totals, products = gradient_sums(gradient, y, x, repeat(mean, repeats))
    scale, slope, offset = weight * inverse, np.empty_like(mean), np.empty_like(mean)
    for c in range(channels):
        total, product = totals[c::channels].sum(), products[c::channels].sum() * inverse[c]
        of_weight[c], of_bias[c] = product, total
        slope[c], offset[c] = -scale[c] * inverse[c] * product / num_pixels, -scale[c] * total / num_pixels
    if of_added is not None:
        of_added = of_added.reshape(shape)
    input_gradient(
        gradient, y, x, repeat(mean, repeats), repeat(scale, repeats), repeat(slope, repeats), repeat(offset, repeats),
        of_x.reshape(shape), of_added,
    )  # fmt: skip
