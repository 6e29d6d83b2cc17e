"""Compiled loops of the renderer: z-buffer, splatting, hole filling, smoothing, normals.

Plain scalar loops over one view, compiled by numba and cached on disk. No fast-math: the same input gives the same
bits on one machine. Depth grows toward the camera, so the nearest surface has the largest value; empty pixels hold
`EMPTY`.
"""

# ruff: noqa: ANN001, ANN201

import numpy as np
from numba import njit

EMPTY = np.float32(-1e9)


@njit(cache=True, nogil=True)
def rasterise(x_px, y_px, depth, faces, depth_map, face_map):
    """Z-buffer `faces` into depth_map (height, width) and face_map; pixel centres lie at +0.5."""
    height, width = depth_map.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = x_px[a], y_px[a], x_px[b], y_px[b], x_px[c], y_px[c]
        left = min(ax, bx, cx)
        right = max(ax, bx, cx)
        top = min(ay, by, cy)
        bottom = max(ay, by, cy)
        # NaN fails every comparison, so a vertex that is not finite draws nothing.
        if not (right >= 0 and left <= width and bottom >= 0 and top <= height):
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        inverse = np.float32(1.0) / area
        x0 = max(0, int(np.ceil(max(left, np.float32(0)) - np.float32(0.5))))
        x1 = min(width - 1, int(np.floor(min(right, np.float32(width)) - np.float32(0.5))))
        y0 = max(0, int(np.ceil(max(top, np.float32(0)) - np.float32(0.5))))
        y1 = min(height - 1, int(np.floor(min(bottom, np.float32(height)) - np.float32(0.5))))
        az, bz, cz = depth[a], depth[b], depth[c]
        for row in range(y0, y1 + 1):
            py = np.float32(row + 0.5)
            for column in range(x0, x1 + 1):
                px = np.float32(column + 0.5)
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * inverse
                wa = np.float32(1.0) - wb - wc
                if wa >= -1e-6 and wb >= -1e-6 and wc >= -1e-6:
                    z = wa * az + wb * bz + wc * cz
                    if z > depth_map[row, column]:
                        depth_map[row, column] = z
                        face_map[row, column] = f


@njit(cache=True, nogil=True)
def splat(x_px, y_px, depth, radius_px, depth_map, point_map):
    """Draw each point as a disc facing the camera; the nearest wins."""
    height, width = depth_map.shape
    reach = radius_px * radius_px
    for p in range(x_px.shape[0]):
        cx, cy = x_px[p], y_px[p]
        if not (cx + radius_px >= 0 and cx - radius_px <= width and cy + radius_px >= 0 and cy - radius_px <= height):
            continue
        x0 = max(0, int(np.ceil(cx - radius_px - 0.5)))
        x1 = min(width - 1, int(np.floor(cx + radius_px - 0.5)))
        y0 = max(0, int(np.ceil(cy - radius_px - 0.5)))
        y1 = min(height - 1, int(np.floor(cy + radius_px - 0.5)))
        for row in range(y0, y1 + 1):
            dy = row + 0.5 - cy
            for column in range(x0, x1 + 1):
                dx = column + 0.5 - cx
                if dx * dx + dy * dy <= reach and depth[p] > depth_map[row, column]:
                    depth_map[row, column] = depth[p]
                    point_map[row, column] = p


@njit(cache=True, nogil=True)
def fill_holes(depth_map, rounds):
    """Give an empty pixel the mean of its neighbours when most of them are filled; in place, `rounds` times."""
    height, width = depth_map.shape
    for _ in range(rounds):
        before = depth_map.copy()
        for row in range(1, height - 1):
            for column in range(1, width - 1):
                if before[row, column] != EMPTY:
                    continue
                total = 0.0
                count = 0
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        value = before[row + dy, column + dx]
                        if value != EMPTY:
                            total += value
                            count += 1
                if count >= 5:
                    depth_map[row, column] = total / count


@njit(cache=True, nogil=True)
def smooth(depth_map, weights, depth_jump):
    """Separable smoothing that stops at depth jumps and at empty pixels; returns a new map.

    `weights` holds the half kernel: weights[0] at the centre, weights[k] at distance k.
    """
    height, width = depth_map.shape
    half = weights.shape[0] - 1
    across = np.empty_like(depth_map)
    for row in range(height):
        for column in range(width):
            centre = depth_map[row, column]
            if centre == EMPTY:
                across[row, column] = EMPTY
                continue
            total = centre * weights[0]
            norm = weights[0]
            for k in range(1, half + 1):
                for side in (-k, k):
                    other = column + side
                    if 0 <= other < width:
                        value = depth_map[row, other]
                        if abs(value - centre) < depth_jump:
                            total += value * weights[k]
                            norm += weights[k]
            across[row, column] = total / norm
    down = np.empty_like(depth_map)
    for row in range(height):
        for column in range(width):
            centre = across[row, column]
            if centre == EMPTY:
                down[row, column] = EMPTY
                continue
            total = centre * weights[0]
            norm = weights[0]
            for k in range(1, half + 1):
                for side in (-k, k):
                    other = row + side
                    if 0 <= other < height:
                        value = across[other, column]
                        if abs(value - centre) < depth_jump:
                            total += value * weights[k]
                            norm += weights[k]
            down[row, column] = total / norm
    return down


@njit(cache=True, nogil=True)
def normals(depth_map, pitch_mm, depth_jump, out):
    """Unit normals of the depth map toward the camera, into out (height, width, 3); zero where empty.

    One-sided differences at borders and depth jumps, central ones elsewhere. Row 0 is on top, so +y is up in `out`.
    """
    height, width = depth_map.shape
    for row in range(height):
        for column in range(width):
            centre = depth_map[row, column]
            if centre == EMPTY:
                out[row, column, 0] = 0.0
                out[row, column, 1] = 0.0
                out[row, column, 2] = 0.0
                continue
            slope_x = 0.0
            count = 0
            if column > 0 and abs(centre - depth_map[row, column - 1]) < depth_jump:
                slope_x += centre - depth_map[row, column - 1]
                count += 1
            if column < width - 1 and abs(depth_map[row, column + 1] - centre) < depth_jump:
                slope_x += depth_map[row, column + 1] - centre
                count += 1
            if count:
                slope_x /= count * pitch_mm
            slope_y = 0.0
            count = 0
            if row > 0 and abs(centre - depth_map[row - 1, column]) < depth_jump:
                slope_y += depth_map[row - 1, column] - centre
                count += 1
            if row < height - 1 and abs(depth_map[row + 1, column] - centre) < depth_jump:
                slope_y += centre - depth_map[row + 1, column]
                count += 1
            if count:
                slope_y /= count * pitch_mm
            length = np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
            out[row, column, 0] = -slope_x / length
            out[row, column, 1] = -slope_y / length
            out[row, column, 2] = 1.0 / length


@njit(cache=True, nogil=True)
def barycentric(x_px, y_px, faces, face_map, out):
    """Weights of the second and third corner at every covered pixel centre, into out (height, width, 2)."""
    height, width = face_map.shape
    for row in range(height):
        for column in range(width):
            f = face_map[row, column]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay = x_px[a], y_px[a]
            area = (x_px[b] - ax) * (y_px[c] - ay) - (y_px[b] - ay) * (x_px[c] - ax)
            px, py = column + 0.5, row + 0.5
            out[row, column, 0] = ((px - ax) * (y_px[c] - ay) - (py - ay) * (x_px[c] - ax)) / area
            out[row, column, 1] = ((x_px[b] - ax) * (py - ay) - (y_px[b] - ay) * (px - ax)) / area
