"""Image operations against the plain ones of torch that they replace."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import affine_grid, avg_pool2d

from smilevlm.augment.image_ops import (
    box_blur,
    halve_resolution,
    in_rectangles,
    replace_where,
    sampling_grid,
    stretch,
)

SIZES = [(1, 1), (2, 3), (16, 16), (17, 32)]


def images(height: int, width: int) -> torch.Tensor:
    return torch.rand(5, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_sampling_grid_is_torch_s(size):
    affine = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = affine_grid(affine, [5, 3, *size], align_corners=False)
    torch.testing.assert_close(sampling_grid(affine, *size), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_box_blur_is_average_pooling(size):
    given = images(*size)
    before = given.clone()
    expected = avg_pool2d(given, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(box_blur(given), expected)
    assert torch.equal(given, before)


@pytest.mark.parametrize("size", SIZES)
def test_half_the_resolution_keeps_size_and_brightness(size):
    assert halve_resolution(images(*size)).shape == (5, 3, *size)
    grey = torch.full((1, 3, *size), 0.4)
    torch.testing.assert_close(halve_resolution(grey), grey)


def test_half_the_resolution_takes_away_what_is_finer():
    stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 1, 16, 16)
    torch.testing.assert_close(halve_resolution(stripes), torch.full((1, 1, 16, 16), 0.5))


@pytest.mark.parametrize("chosen", [[], [1, 4], [0, 1, 2, 3, 4]])
def test_only_the_chosen_are_replaced(chosen):
    given = images(4, 4)
    expected = given.clone()
    expected[chosen] = 1 - expected[chosen]
    where = torch.zeros(5, dtype=torch.bool)
    where[chosen] = True
    replace_where(where, lambda some: 1 - some, given)
    assert torch.equal(given, expected)


def test_rectangles_by_hand():
    inside = in_rectangles(torch.tensor([[0.25], [0.5]]), torch.tensor([[0.75], [0.75]]), 4, 8)
    expected = torch.zeros(4, 8, dtype=torch.bool)
    expected[1:3, 4:6] = True
    assert torch.equal(inside, expected[None, None])


@pytest.mark.parametrize("size", [(2, 3), (8, 9), (7, 10)])
def test_cells_are_stretched_over_the_image(size):
    cells = torch.tensor([[True, False, True], [False, True, False]])[None, None]
    result = stretch(cells, *size)
    assert result.shape == (1, 1, *size)
    for y in range(size[0]):
        for x in range(size[1]):
            assert result[0, 0, y, x] == cells[0, 0, y * 2 // size[0], x * 3 // size[1]]
