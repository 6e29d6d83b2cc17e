"""A virtual scanner: sees a head from outside and gives one noisy, cropped surface, as real scanners do.

The head is looked at from a vertical axis behind the nose (as several stereo heads around a face see it together), its
outermost surface is sampled on a jittered grid, and the grid becomes triangles and some quads. Inner surfaces (mouth
cavity, back of the eyeballs) are not in the result, and the tessellation tells nothing about the expression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import ndimage

from smilevlm.errors import SettingsError
from smilevlm.views import kernels

_AXIS_BEHIND_NOSE_MM = 95.0
_ARC_MM = 160.0
_TOP_MM, _BOTTOM_MM = 125.0, -130.0
_FACE_AREA_MM2 = 31_000.0
"""About what the crop covers; from it follows the grid pitch for a wanted number of vertices."""


@dataclass(frozen=True, kw_only=True)
class ScannerSettings:
    """How scans differ from the true surface.

    Args:
        num_vertices: Wanted vertices per scan; scans vary around it.
        noise_mm: Standard deviation of the depth noise; scans vary around it.
        ripple_mm: Amplitude of long-wave errors of the surface.
        max_holes: Holes per scan, at most.
        quad_share: Share of grid cells left as quads.
        pose_deg: Standard deviation of yaw and pitch; roll has half of it.
        offset_mm: Standard deviation of the head's place in front of the scanner.
    """

    num_vertices: int = 8000
    noise_mm: float = 0.12
    ripple_mm: float = 0.25
    max_holes: int = 3
    quad_share: float = 0.04
    pose_deg: float = 5.0
    offset_mm: float = 15.0

    def __post_init__(self) -> None:
        if not 500 <= self.num_vertices <= 200_000:
            raise SettingsError(f"num_vertices is {self.num_vertices}; expected 500 to 200,000")
        if min(self.noise_mm, self.ripple_mm, self.max_holes, self.quad_share, self.pose_deg, self.offset_mm) < 0:
            raise SettingsError("scanner settings cannot be negative")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the scanner delivers, in its own frame (millimetres, +y up, +z toward the camera, not centred).

    Args:
        vertices: Positions.
        head_vertices: The same before the head was posed: nose tip at the origin, frontal.
        polygons: Triangles and quads, column 3 is -1 for a triangle.
        colors: RGB per vertex, 0 to 255.
        arc_mm: Where each vertex lies around the head, negative on the viewer's left.
        landmarks: The head's landmarks in the same frame.
    """

    vertices: Float32[np.ndarray, "vert 3"]
    head_vertices: Float32[np.ndarray, "vert 3"]
    polygons: Int32[np.ndarray, "polygon 4"]
    colors: Float32[np.ndarray, "vert 3"]
    arc_mm: Float32[np.ndarray, " vert"]
    landmarks: Float32[np.ndarray, "point 3"]


def scan_head(
    rng: np.random.Generator,
    *,
    vertices_mm: Float32[np.ndarray, "vert 3"],
    faces: Int32[np.ndarray, "face 3"],
    colors: Float32[np.ndarray, "vert 3"],
    landmarks_mm: Float32[np.ndarray, "point 3"],
    settings: ScannerSettings,
    cropped: bool = True,
) -> Scan:
    """Scan one head.

    Args:
        rng: The scan's own generator.
        vertices_mm: The true surface, face frame axes, nose tip at the origin.
        faces: Its triangles.
        colors: RGB per vertex, 0 to 255.
        landmarks_mm: Points that travel with the head.
        settings: How bad the scanner is.
        cropped: Keep the face alone, or everything the scanner saw.
    """
    pitch = float(np.sqrt(_FACE_AREA_MM2 / settings.num_vertices) * rng.uniform(0.88, 1.14))
    radius, covering, x_px, y_px = _outermost(vertices_mm, faces, pitch)
    radius = _bridge_slits(rng, radius, pitch)
    grid_colors = _colors_on_grid(colors, faces, covering, x_px, y_px)
    valid = radius != kernels.EMPTY
    if cropped:
        valid &= _crop_mask(rng, radius.shape, pitch)
    valid &= ~_holes(rng, radius.shape, pitch, settings.max_holes)
    points, arc = _sample(rng, radius, valid, pitch, settings)
    polygons = _polygons(rng, valid, radius, settings.quad_share, max_jump_mm=float(rng.uniform(7, 16)))
    used = np.unique(polygons[polygons >= 0])
    renumber = np.full(radius.size, -1, np.int32)
    renumber[used] = np.arange(len(used), dtype=np.int32)
    polygons = np.where(polygons >= 0, renumber[polygons], -1).astype(np.int32)
    rotation, offset = _pose(rng, settings)
    in_head = points.reshape(-1, 3)[used]
    return Scan(
        vertices=(in_head @ rotation.T + offset).astype(np.float32),
        head_vertices=in_head.astype(np.float32),
        polygons=polygons,
        colors=grid_colors.reshape(-1, 3)[used],
        arc_mm=arc.reshape(-1)[used],
        landmarks=(landmarks_mm @ rotation.T + offset).astype(np.float32),
    )


def _outermost(vertices: np.ndarray, faces: np.ndarray, pitch: float) -> tuple[np.ndarray, ...]:
    """Radius from the axis of the outermost surface per grid cell, what covers it, and the vertices' grid places."""
    behind = vertices[:, 2] + np.float32(_AXIS_BEHIND_NOSE_MM)
    radius = np.hypot(vertices[:, 0], behind).astype(np.float32)
    arc = (np.arctan2(vertices[:, 0], behind) * _AXIS_BEHIND_NOSE_MM).astype(np.float32)
    shape = (int((_TOP_MM - _BOTTOM_MM) / pitch), int(2 * _ARC_MM / pitch))
    depth = np.full(shape, kernels.EMPTY, np.float32)
    cover = np.full(shape, -1, np.int32)
    x_px = ((arc + np.float32(_ARC_MM)) / np.float32(pitch)).astype(np.float32)
    y_px = ((np.float32(_TOP_MM) - vertices[:, 1]) / np.float32(pitch)).astype(np.float32)
    # Triangles behind the axis wrap around it; they are the back of the head.
    front = (behind[faces] > 5).all(axis=1)
    front_faces = np.ascontiguousarray(faces[front])
    kernels.rasterise(x_px, y_px, radius, front_faces, depth, cover)
    kernels.fill_holes(depth, 1)
    return depth, np.where(cover >= 0, np.flatnonzero(front)[cover], -1).astype(np.int32), x_px, y_px


def _bridge_slits(rng: np.random.Generator, radius: np.ndarray, pitch: float) -> np.ndarray:
    """Close narrow gaps between the lips and in the nostrils, as stereo matching with its windows does.

    Most scanners bridge a few millimetres; some see right into the mouth.
    """
    reach_mm = rng.uniform(2.5, 8.0) if rng.uniform() < 0.75 else 2.5
    size = 2 * max(1, round(reach_mm / 2 / pitch)) + 1
    return np.maximum(radius, ndimage.grey_closing(radius, size=(size, size)))


def _colors_on_grid(
    colors: np.ndarray, faces: np.ndarray, covering: np.ndarray, x_px: np.ndarray, y_px: np.ndarray
) -> np.ndarray:
    weights = np.zeros((*covering.shape, 2), np.float32)
    kernels.barycentric(x_px, y_px, faces, covering, weights)
    drawn = covering >= 0
    corner = colors[faces[covering[drawn]]]
    second, third = weights[drawn][:, 0, None], weights[drawn][:, 1, None]
    out = np.full((*covering.shape, 3), 60, np.float32)
    out[drawn] = corner[:, 0] * (1 - second - third) + corner[:, 1] * second + corner[:, 2] * third
    return out


def _grid_places(shape: tuple[int, int], pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """(arc, y) in mm of every grid cell's centre."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return (columns + 0.5) * pitch - _ARC_MM, _TOP_MM - (rows + 0.5) * pitch


def _crop_mask(rng: np.random.Generator, shape: tuple[int, int], pitch: float) -> Bool[np.ndarray, "row column"]:
    """An egg-shaped crop with a ragged rim, different for each scan."""
    arc, y = _grid_places(shape, pitch)
    centre_y, half_arc, up, down = rng.uniform(-6, 6), rng.uniform(94, 120), rng.uniform(80, 108), rng.uniform(100, 120)
    dy = y - centre_y
    distance = np.hypot(arc / half_arc, np.where(dy > 0, dy / up, dy / down))
    angle = np.arctan2(dy, arc)
    rim = 1 + sum(rng.normal(0, 0.02) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 12))
    return distance < rim


def _holes(
    rng: np.random.Generator, shape: tuple[int, int], pitch: float, max_holes: int
) -> Bool[np.ndarray, "row column"]:
    """Small ellipses anywhere on the face: hair, highlights, nostrils."""
    arc, y = _grid_places(shape, pitch)
    holes = np.zeros(shape, bool)
    for _ in range(int(rng.integers(0, max_holes + 1))):
        centre = rng.uniform(-70, 70), rng.uniform(-75, 70)
        size = rng.uniform(1.0, 5.0, 2)
        holes |= ((arc - centre[0]) / size[0]) ** 2 + ((y - centre[1]) / size[1]) ** 2 < 1
    return holes


def _sample(
    rng: np.random.Generator, radius: np.ndarray, valid: np.ndarray, pitch: float, settings: ScannerSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Points (row, column, 3) on the surface at jittered places, with the scanner's noise."""
    arc, y = _grid_places(radius.shape, pitch)
    jitter = rng.uniform(-0.3, 0.3, (2, *radius.shape))
    grow = [np.roll(valid, shift, axis) for axis in (0, 1) for shift in (-1, 1)]
    inner = np.logical_and.reduce([valid, *grow])
    clean = np.where(valid, radius, 0).astype(np.float64)
    slope_y, slope_x = np.gradient(clean)
    steep = np.hypot(slope_x, slope_y) > 4
    jitter[:, ~inner | steep] = 0
    shifted = clean + slope_x * jitter[0] + slope_y * jitter[1]
    arc = arc + jitter[0] * pitch
    y = y - jitter[1] * pitch
    noise = settings.noise_mm * rng.uniform(0.5, 1.6) * rng.normal(size=radius.shape)
    ripple = np.zeros(radius.shape)
    for _ in range(6):
        kx, ky = rng.normal(0, 2 * np.pi / 35, 2)
        ripple += np.sin(kx * arc + ky * y + rng.uniform(0, 2 * np.pi))
    shifted = shifted + noise + settings.ripple_mm * rng.uniform(0.3, 1.0) * ripple / np.sqrt(6)
    angle = arc / _AXIS_BEHIND_NOSE_MM
    points = np.stack([shifted * np.sin(angle), y, shifted * np.cos(angle) - _AXIS_BEHIND_NOSE_MM], axis=-1)
    return points, arc.astype(np.float32)


def _polygons(
    rng: np.random.Generator, valid: np.ndarray, radius: np.ndarray, quad_share: float, max_jump_mm: float
) -> Int32[np.ndarray, "polygon 4"]:
    """Quads and triangles between neighbouring valid cells, counter-clockwise from outside."""
    index = np.arange(valid.size, dtype=np.int32).reshape(valid.shape)
    corners = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1).reshape(-1, 4)
    height = np.where(valid, radius, np.nan).reshape(-1)[corners]
    present = np.isfinite(height)
    complete = present.all(axis=1)
    with np.errstate(invalid="ignore"):
        flat = np.ptp(height, axis=1) <= max_jump_mm
    draw = rng.uniform(size=(2, len(corners)))
    quad = complete & flat & (draw[0] < quad_share)
    split = complete & flat & ~quad
    first = draw[1] < 0.5
    minus = np.full((len(corners), 1), -1, np.int32)
    pieces = [corners[quad]]
    for chosen, orders in ((split & first, ((0, 1, 2), (0, 2, 3))), (split & ~first, ((0, 1, 3), (1, 2, 3)))):
        pieces += [np.concatenate([corners[chosen][:, list(order)], minus[chosen]], axis=1) for order in orders]
    for missing in range(4):
        order = [k for k in range(4) if k != missing]
        three = height[:, order]
        alone = ~present[:, missing] & present[:, order].all(axis=1)
        alone &= np.where(alone, three.max(axis=1) - three.min(axis=1), np.inf) <= max_jump_mm
        pieces.append(np.concatenate([corners[alone][:, order], minus[alone]], axis=1))
    polygons = np.concatenate(pieces)
    # In the order of the grid, as a scanner's mesher writes them.
    return polygons[np.argsort(polygons[:, 0], kind="stable")].astype(np.int32)


def _pose(rng: np.random.Generator, settings: ScannerSettings) -> tuple[np.ndarray, np.ndarray]:
    yaw, pitch, roll = np.deg2rad(np.clip(rng.normal(size=3), -2.5, 2.5) * settings.pose_deg * (1, 1, 0.5))
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    offset = rng.normal(0, settings.offset_mm, 3) + np.array([7.0, -26.0, 0.0])
    return about_z @ about_x @ about_y, offset
