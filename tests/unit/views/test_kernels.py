"""The compiled loops against slow ones written from their description."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.views import kernels

HEIGHT, WIDTH = 21, 27


def slow_rasterise(x, y, depth, faces):
    """Per pixel: the nearest of all triangles that hold its centre, by signed areas in float64."""
    depth_map = np.full((HEIGHT, WIDTH), float(kernels.EMPTY))
    cover = np.full((HEIGHT, WIDTH), -1)
    margin = np.full((HEIGHT, WIDTH), np.inf)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            px, py = column + 0.5, row + 0.5
            for number, (a, b, c) in enumerate(faces):
                area = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
                if area == 0:
                    continue
                wb = ((px - x[a]) * (y[c] - y[a]) - (py - y[a]) * (x[c] - x[a])) / area
                wc = ((x[b] - x[a]) * (py - y[a]) - (y[b] - y[a]) * (px - x[a])) / area
                inside = min(1 - wb - wc, wb, wc)
                margin[row, column] = min(margin[row, column], abs(inside))
                if inside < 0:
                    continue
                z = (1 - wb - wc) * depth[a] + wb * depth[b] + wc * depth[c]
                if z > depth_map[row, column]:
                    depth_map[row, column], cover[row, column] = z, number
    return depth_map, cover, margin


def random_triangles(seed, num_faces=25):
    rng = np.random.default_rng(seed)
    num = 3 * num_faces
    x = rng.uniform(-6, WIDTH + 6, num).astype(np.float32)
    y = rng.uniform(-6, HEIGHT + 6, num).astype(np.float32)
    depth = rng.uniform(-50, 50, num).astype(np.float32)
    return x, y, depth, rng.permutation(num).reshape(-1, 3).astype(np.int32)


def rasterise(x, y, depth, faces):
    depth_map = np.full((HEIGHT, WIDTH), kernels.EMPTY, np.float32)
    cover = np.full((HEIGHT, WIDTH), -1, np.int32)
    kernels.rasterise(x, y, depth, faces, depth_map, cover)
    return depth_map, cover


@pytest.mark.parametrize("seed", range(5))
def test_rasterise_agrees_with_the_slow_loop(seed):
    x, y, depth, faces = random_triangles(seed)
    depth_map, cover = rasterise(x, y, depth, faces)
    expected, expected_cover, margin = slow_rasterise(*(a.astype(np.float64) for a in (x, y, depth)), faces)
    # Pixel centres within a hair of an edge may fall either way.
    clear = margin > 1e-4
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(cover[clear], expected_cover[clear])
    np.testing.assert_allclose(depth_map[clear], expected[clear], atol=2e-3)


def test_neighbouring_triangles_leave_no_crack():
    rng = np.random.default_rng(0)
    ticks = np.arange(7)
    gx, gy = np.meshgrid(ticks * 5.0 - 2, ticks * 4.0 - 2)
    gx[1:-1, 1:-1] += rng.uniform(-1.5, 1.5, (5, 5))
    gy[1:-1, 1:-1] += rng.uniform(-1.5, 1.5, (5, 5))
    index = np.arange(49).reshape(7, 7)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    x, y = gx.ravel().astype(np.float32), gy.ravel().astype(np.float32)
    _, cover = rasterise(x, y, np.zeros(49, np.float32), faces)
    assert (cover >= 0).all()


def test_either_winding_is_drawn_and_degenerate_triangles_are_not():
    x = np.array([2, 12, 2, 5, 5, 5], np.float32)
    y = np.array([2, 2, 12, 1, 9, 17], np.float32)
    depth = np.ones(6, np.float32)
    one = rasterise(x, y, depth, np.array([[0, 1, 2]], np.int32))
    other = rasterise(x, y, depth, np.array([[2, 1, 0]], np.int32))
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    assert (one[1] == 0).sum() == pytest.approx(50, abs=6)
    assert (rasterise(x, y, depth, np.array([[3, 4, 5]], np.int32))[1] == -1).all()


def test_barycentric_weights_rebuild_the_pixel_centres():
    x, y, depth, faces = random_triangles(7)
    _, cover = rasterise(x, y, depth, faces)
    weights = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    kernels.barycentric(x, y, faces, cover, weights)
    for row, column in np.argwhere(cover >= 0):
        a, b, c = faces[cover[row, column]]
        wb, wc = weights[row, column].astype(float)
        assert (1 - wb - wc) * x[a] + wb * x[b] + wc * x[c] == pytest.approx(column + 0.5, abs=2e-3)
        assert (1 - wb - wc) * y[a] + wb * y[b] + wc * y[c] == pytest.approx(row + 0.5, abs=2e-3)
    assert not weights[cover < 0].any()


@pytest.mark.parametrize("radius", [0.8, 2.5])
def test_splat_agrees_with_the_slow_loop(radius):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-4, WIDTH + 4, 30).astype(np.float32), rng.uniform(-4, HEIGHT + 4, 30).astype(np.float32)
    depth = rng.normal(size=30).astype(np.float32)
    depth_map = np.full((HEIGHT, WIDTH), kernels.EMPTY, np.float32)
    cover = np.full((HEIGHT, WIDTH), -1, np.int32)
    kernels.splat(x, y, depth, radius, depth_map, cover)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            near = np.flatnonzero((x - column - 0.5) ** 2 + (y - row - 0.5) ** 2 <= radius**2)
            expected = near[np.argmax(depth[near])] if len(near) else -1
            assert cover[row, column] == expected


def test_small_holes_are_filled_with_their_neighbours_mean_and_large_ones_stay():
    depth_map = np.tile(np.arange(12, dtype=np.float32), (12, 1))
    depth_map[3, 4] = kernels.EMPTY
    depth_map[6:12, 6:12] = kernels.EMPTY
    kernels.fill_holes(depth_map, 1)
    assert depth_map[3, 4] == pytest.approx(4.0)
    assert (depth_map[7:12, 7:12] == kernels.EMPTY).all()


def test_smoothing_keeps_ramps_steps_and_emptiness():
    weights = np.array([1.0, 0.6, 0.2], np.float32)
    ramp = np.tile(np.arange(20, dtype=np.float32), (15, 1))
    smoothed = kernels.smooth(ramp, weights, np.float32(8.0))
    np.testing.assert_allclose(smoothed[:, 2:-2], ramp[:, 2:-2], atol=1e-4)
    step = np.where(np.arange(20) < 10, 0.0, 50.0).astype(np.float32) * np.ones((15, 1), np.float32)
    step[5, 5] = kernels.EMPTY
    smoothed = kernels.smooth(step, weights, np.float32(8.0))
    np.testing.assert_allclose(smoothed[step != kernels.EMPTY], step[step != kernels.EMPTY], atol=1e-4)
    assert smoothed[5, 5] == kernels.EMPTY


def test_smoothing_is_the_weighted_mean_per_axis():
    rng = np.random.default_rng(2)
    image = rng.normal(size=(9, 9)).astype(np.float32)
    weights = np.array([1.0, 0.5], np.float32)
    kernel = np.array([0.5, 1.0, 0.5]) / 2
    expected = sum(kernel[i] * kernel[j] * image[3 + i, 4 + j] for i in range(3) for j in range(3))
    assert kernels.smooth(image, weights, np.float32(100.0))[4, 5] == pytest.approx(expected, abs=1e-5)


def test_normals_look_at_the_camera_and_stop_at_jumps():
    depth_map = np.tile(2.0 * np.arange(8, dtype=np.float32), (6, 1))
    depth_map[:, 4:] += 100
    out = np.empty((3, 6, 8), np.float32)
    kernels.normals(depth_map, np.float32(1.0), np.float32(8.0), *out)
    expected = np.array([-2, 0, 1])[:, None, None] / np.sqrt(5)
    np.testing.assert_allclose(out, np.broadcast_to(expected, out.shape), atol=1e-6)
    empty = np.full((6, 8), kernels.EMPTY, np.float32)
    kernels.normals(empty, np.float32(1.0), np.float32(8.0), *out)
    assert not out.any()


def test_averaging_counts_what_is_drawn_and_drops_what_is_mostly_empty():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2] = 100
    image[0, 2:] = (10, 20, 31)
    image[1, 2:] = (20, 20, 30)
    image[2, 0] = 200
    image[2:, 2] = 50
    out = np.full((2, 2, 3), 7, np.uint8)
    out[:] = 0
    kernels.average_down(image, 2, out)
    np.testing.assert_array_equal(out[0, 0], [100, 100, 100])
    np.testing.assert_array_equal(out[0, 1], [15, 20, 30], "half to even")
    np.testing.assert_array_equal(out[1, 0], [0, 0, 0], "a quarter is drawn")
    np.testing.assert_array_equal(out[1, 1], [50, 50, 50], "half is drawn")


def test_the_geometry_image_is_depth_and_normals_as_bytes():
    rng = np.random.default_rng(11)
    depth_map = np.cumsum(rng.normal(size=(HEIGHT, WIDTH)), axis=1).astype(np.float32) * 2
    depth_map[rng.random(depth_map.shape) < 0.2] = kernels.EMPTY
    pitch, jump, far, reach = np.float32(0.8), np.float32(8.0), np.float32(-20.0), np.float32(30.0)
    x, y, z = np.empty((3, *depth_map.shape), np.float32)
    kernels.normals(depth_map, pitch, jump, x, y, z)
    expected, found = np.empty((2, *depth_map.shape, 3), np.uint8)
    kernels.to_bytes((depth_map - far) / reach, z, (y + 1) / 2, depth_map, expected)
    kernels.geometry_image(depth_map, pitch, jump, far, reach, found)
    np.testing.assert_array_equal(found, expected)
