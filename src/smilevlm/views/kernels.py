"""Compiled loops of the renderer: z-buffer, splatting, hole filling, smoothing, normals.

Plain scalar loops over one view, compiled by numba and cached on disk. No fast-math: the same input gives the same
bits on one machine. Depth grows toward the camera, so the nearest surface has the largest value; empty pixels hold
`EMPTY`.
"""

# ruff: noqa: ANN001, ANN201, ANN202

import numpy as np

from smilevlm.compiled import kernel as compiled_kernel

EMPTY = np.float32(-1e9)
ON_EDGE = np.float32(-1e-6)
"""A pixel centre with a corner weight down to this counts as inside, so that neighbours leave no crack."""
BLOCK = 512
"""Faces that are looked at together; their pixels stay in the nearest cache."""

# Division by zero must not branch: it would keep the compiler from working on several pixels at once.
kernel = compiled_kernel(error_model="numpy")


@kernel
def project(vertices, cos, sin, pivot_z, centre_y, half, pitch, x_px, y_px, depth):
    """Where vertices fall after a turn about the vertical axis through pivot_z, pixels and depth."""
    for v in range(vertices.shape[0]):
        x, z = vertices[v, 0], vertices[v, 2] - pivot_z
        x_px[v] = (cos * x + sin * z + half) / pitch
        y_px[v] = (half - (vertices[v, 1] - centre_y)) / pitch
        depth[v] = cos * z - sin * x + pivot_z


@kernel
def _boxes(x_px, y_px, faces, first, last, width, height, found, boxes):
    """The faces from `first` to `last` that may cover a pixel centre, and those (x0, x1, y0, y1); returns how many."""
    half = np.float32(0.5)
    count = 0
    for f in range(first, last):
        # Unsigned, for an index that may be negative costs a test.
        a, b, c = np.uint32(faces[f, 0]), np.uint32(faces[f, 1]), np.uint32(faces[f, 2])
        x0 = np.ceil(max(min(x_px[a], x_px[b], x_px[c]) - half, np.float32(0)))
        x1 = np.floor(min(max(x_px[a], x_px[b], x_px[c]) - half, np.float32(width - 1)))
        y0 = np.ceil(max(min(y_px[a], y_px[b], y_px[c]) - half, np.float32(0)))
        y1 = np.floor(min(max(y_px[a], y_px[b], y_px[c]) - half, np.float32(height - 1)))
        found[count] = f
        boxes[count, 0], boxes[count, 1] = np.int32(x0), np.int32(x1)
        boxes[count, 2], boxes[count, 3] = np.int32(y0), np.int32(y1)
        # NaN fails every comparison, so a vertex that is not finite draws nothing.
        count += (x0 <= x1) & (y0 <= y1)
    return count


@kernel
def rasterise(x_px, y_px, depth, faces, depth_map, face_map):
    """Z-buffer `faces` into depth_map (height, width) and face_map; pixel centres lie at +0.5.

    Triangles of a dense scan cover a pixel centre or none, and no processor can foresee which. Finding the pixels of
    some hundred faces first, without a branch, halves what the wrong guesses cost.
    """
    height, width = depth_map.shape
    half = np.float32(0.5)
    found = np.empty(BLOCK + 1, np.int32)
    boxes = np.empty((BLOCK + 1, 4), np.int32)
    for first in range(0, faces.shape[0], BLOCK):
        last = min(first + BLOCK, faces.shape[0])
        for k in range(_boxes(x_px, y_px, faces, first, last, width, height, found, boxes)):
            f = np.uint32(found[k])
            a, b, c = np.uint32(faces[f, 0]), np.uint32(faces[f, 1]), np.uint32(faces[f, 2])
            ax, ay, bx, by, cx, cy = x_px[a], y_px[a], x_px[b], y_px[b], x_px[c], y_px[c]
            az, bz, cz = depth[a], depth[b], depth[c]
            # A degenerate triangle has infinite or NaN weights, and a depth of NaN wherever they pass.
            inverse = np.float32(1.0) / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            for row in range(boxes[k, 2], boxes[k, 3] + 1):
                py = np.float32(row) + half
                for column in range(boxes[k, 0], boxes[k, 1] + 1):
                    px = np.float32(column) + half
                    wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * inverse
                    wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * inverse
                    wa = np.float32(1.0) - wb - wc
                    z = wa * az + wb * bz + wc * cz
                    if min(wa, wb, wc) >= ON_EDGE and z > depth_map[row, column]:
                        depth_map[row, column] = z
                        face_map[row, column] = f


@kernel
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


@kernel
def fill_holes(depth_map, rounds):
    """Give an empty pixel the mean of its neighbours when most of them are filled; in place, `rounds` times."""
    height, width = depth_map.shape
    for _ in range(rounds):
        before = depth_map.copy()
        for row in range(1, height - 1):
            for column in range(1, width - 1):
                if before[row, column] != EMPTY:
                    continue
                beside = max(before[row, column - 1], before[row, column + 1])
                if max(beside, before[row - 1, column], before[row + 1, column]) == EMPTY:
                    continue  # the four corners are no majority
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


@kernel
def _weigh(centre, other, weight, depth_jump, total, norm):
    """Add `other` to the weighted sums of the pixels that it belongs to the same surface with; all are rows."""
    for k in range(centre.shape[0]):
        w = weight if abs(other[k] - centre[k]) < depth_jump else np.float32(0)
        total[k] += other[k] * w
        norm[k] += w


@kernel
def _smooth_row(depth_map, row, weights, depth_jump, down, total, out):
    """Smooth one row across its columns, or down over its neighbouring rows; `total` is scratch."""
    height, width = depth_map.shape
    centre = depth_map[row]
    norm = out[row]
    total[:] = centre * weights[0]
    norm[:] = weights[0]
    for k in range(1, weights.shape[0]):
        if not down:
            _weigh(centre[k:], centre[: width - k], weights[k], depth_jump, total[k:], norm[k:])
            _weigh(centre[: width - k], centre[k:], weights[k], depth_jump, total, norm)
            continue
        if row >= k:
            _weigh(centre, depth_map[row - k], weights[k], depth_jump, total, norm)
        if row + k < height:
            _weigh(centre, depth_map[row + k], weights[k], depth_jump, total, norm)
    for column in range(width):
        norm[column] = EMPTY if centre[column] == EMPTY else total[column] / norm[column]


@kernel
def smooth(depth_map, weights, depth_jump):
    """Separable smoothing that stops at depth jumps and at empty pixels; returns a new map.

    `weights` holds the half kernel: weights[0] at the centre, weights[k] at distance k.
    """
    across = np.empty_like(depth_map)
    both = np.empty_like(depth_map)
    total = np.empty(depth_map.shape[1], np.float32)
    for row in range(depth_map.shape[0]):
        _smooth_row(depth_map, row, weights, depth_jump, False, total, across)
    for row in range(depth_map.shape[0]):
        _smooth_row(across, row, weights, depth_jump, True, total, both)
    return both


@kernel
def _slope(before, centre, after, pitch_mm, depth_jump):
    """Central difference; one-sided beside a depth jump, zero between two."""
    back, ahead = centre - before, after - centre
    has_back, has_ahead = abs(back) < depth_jump, abs(ahead) < depth_jump
    rise = (np.float64(back) if has_back else 0.0) + (np.float64(ahead) if has_ahead else 0.0)
    return rise / (max(np.int64(has_back) + np.int64(has_ahead), 1) * pitch_mm)


@kernel
def _normals_of_row(above, centre, below, pitch_mm, depth_jump, out_x, out_y, out_z):
    """`centre` has one empty pixel more on both sides."""
    for column in range(out_x.shape[0]):
        here = centre[column + 1]
        slope_x = _slope(centre[column], here, centre[column + 2], pitch_mm, depth_jump)
        slope_y = _slope(below[column], here, above[column], pitch_mm, depth_jump)
        length = np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
        drawn = here != EMPTY
        out_x[column] = -slope_x / length if drawn else 0.0
        out_y[column] = -slope_y / length if drawn else 0.0
        out_z[column] = 1.0 / length if drawn else 0.0


@kernel
def normals(depth_map, pitch_mm, depth_jump, out_x, out_y, out_z):
    """Unit normals of the depth map toward the camera, zero where empty.

    One-sided differences at borders and depth jumps, central ones elsewhere. Row 0 is on top; +y is up.
    """
    height, width = depth_map.shape
    nothing = np.full(width, EMPTY, np.float32)
    padded = np.full(width + 2, EMPTY, np.float32)
    for row in range(height):
        above = depth_map[row - 1] if row > 0 else nothing
        below = depth_map[row + 1] if row < height - 1 else nothing
        padded[1 : width + 1] = depth_map[row]
        _normals_of_row(above, padded, below, pitch_mm, depth_jump, out_x[row], out_y[row], out_z[row])


@kernel
def geometry_image(depth_map, pitch_mm, depth_jump, far, reach, image):
    """Depth (from `far` over `reach`), z and y of the normal as bytes of image (height, width, 3), row by row.

    The same as `normals` and `to_bytes`; but maps of the normals would take longer to get as memory than to fill.
    """
    height, width = depth_map.shape
    nothing = np.full(width, EMPTY, np.float32)
    padded = np.full(width + 2, EMPTY, np.float32)
    x, y, z = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(height):
        above = depth_map[row - 1] if row > 0 else nothing
        below = depth_map[row + 1] if row < height - 1 else nothing
        padded[1 : width + 1] = depth_map[row]
        _normals_of_row(above, padded, below, pitch_mm, depth_jump, x, y, z)
        for column in range(width):
            drawn = depth_map[row, column] != EMPTY
            image[row, column, 0] = _byte((depth_map[row, column] - far) / reach) if drawn else np.uint8(0)
            image[row, column, 1] = _byte(z[column]) if drawn else np.uint8(0)
            image[row, column, 2] = _byte((y[column] + np.float32(1)) / np.float32(2)) if drawn else np.uint8(0)


@kernel
def to_bytes(red, green, blue, depth_map, image):
    """Channels in [0, 1], clipped, as bytes of image (height, width, 3); black where the depth map is empty."""
    for row in range(depth_map.shape[0]):
        for column in range(depth_map.shape[1]):
            drawn = depth_map[row, column] != EMPTY
            image[row, column, 0] = _byte(red[row, column]) if drawn else np.uint8(0)
            image[row, column, 1] = _byte(green[row, column]) if drawn else np.uint8(0)
            image[row, column, 2] = _byte(blue[row, column]) if drawn else np.uint8(0)


@kernel
def _byte(value):
    return np.uint8(np.rint(min(max(value, np.float32(0)), np.float32(1)) * np.float32(255)))


@kernel
def average_down(image, factor, out):
    """Mean of the pixels that are not black in each block of `factor` squared, where those are half of it or more."""
    half = factor * factor / 2
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            red, green, blue, count = 0, 0, 0, 0
            for dy in range(factor):
                for dx in range(factor):
                    pixel = image[row * factor + dy, column * factor + dx]
                    red += pixel[0]
                    green += pixel[1]
                    blue += pixel[2]
                    count += pixel[0] > 0 or pixel[1] > 0 or pixel[2] > 0
            if count > 0 and count >= half:
                out[row, column, 0] = np.uint8(np.rint(red / count))
                out[row, column, 1] = np.uint8(np.rint(green / count))
                out[row, column, 2] = np.uint8(np.rint(blue / count))


@kernel
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
