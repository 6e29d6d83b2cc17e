"""A virtual scanner: sees a head from outside and gives one noisy, cropped surface, as real scanners do.

The head is looked at from a vertical axis behind the nose (as several stereo heads around a face see it together), its
outermost surface is sampled on a jittered grid, and the grid becomes triangles and some quads. Inner surfaces (mouth
cavity, back of the eyeballs) are not in the result, and the tessellation is independent of the expression.

What is drawn at random comes in three parts: the `ScanSetup`, which a sequence keeps (with slow changes, see
`capture_session.py`), the `ScanNoise`, which no two scans share, and the `Pose`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import ndimage

from smilevlm.deprecation import renamed_attributes
from smilevlm.synthesis.scan_setup import (
    HALF_ARC_MM,
    TOP_MM,
    Pose,
    ScannerSettings,
    ScanNoise,
    ScanSetup,
    draw_scan,
    grid_shape,
)
from smilevlm.views import kernels

_AXIS_BEHIND_NOSE_MM = 95.0


@dataclass(frozen=True, kw_only=True)
class ColoredMesh:
    """A coloured surface in the face frame, millimetres.

    Args:
        vertices: Positions.
        faces: Triangles.
        colors: RGB per vertex, 0 to 255.
    """

    vertices: Float32[np.ndarray, "vert 3"]
    faces: Int32[np.ndarray, "face 3"]
    colors: Float32[np.ndarray, "vert 3"]


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

    @property
    def triangles(self) -> Int32[np.ndarray, "face 3"]:
        """The polygons with every quad cut in two; the second halves come last."""
        return triangles_of(self.polygons)


def triangles_of(polygons: Int32[np.ndarray, "polygon 4"]) -> Int32[np.ndarray, "face 3"]:
    """Polygons whose column 3 is -1 for a triangle with every quad cut in two; the second halves come last."""
    quads = polygons[polygons[:, 3] >= 0]
    return np.concatenate([polygons[:, :3], quads[:, [0, 2, 3]]]).astype(np.int32)


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
    setup, noise_sample, pose = draw_scan(rng, settings, cropped=cropped)
    return scan_with_setup(
        setup,
        noise_sample,
        pose,
        vertices_mm=vertices_mm,
        faces=faces,
        colors=colors,
        landmarks_mm=landmarks_mm,
        quad_share=settings.quad_share,
    )


def scan_with_setup(
    setup: ScanSetup,
    noise_sample: ScanNoise,
    pose: Pose,
    *,
    vertices_mm: Float32[np.ndarray, "vert 3"],
    faces: Int32[np.ndarray, "face 3"],
    colors: Float32[np.ndarray, "vert 3"],
    landmarks_mm: Float32[np.ndarray, "point 3"],
    quad_share: float,
) -> Scan:
    """Scan one head with everything random given; see `scan_head` for the other arguments."""
    pitch = setup.pitch_mm
    radius, covering, x_px, y_px = _outermost(vertices_mm, faces, pitch)
    radius = _bridge_slits(radius, setup.bridge_mm, pitch)
    grid_colors = np.full((*covering.shape, 3), 60, np.float32)
    grid_colors[covering >= 0] = interpolate_colors(colors, faces, covering, x_px, y_px)
    valid = (radius != kernels.EMPTY) & _kept(setup, radius.shape)
    points, arc = _sample(setup, noise_sample, radius, valid)
    polygons = _polygons(noise_sample.cuts, valid, radius, quad_share, setup.max_jump_mm)
    used = np.unique(polygons[polygons >= 0])
    renumber = np.full(radius.size, -1, np.int32)
    renumber[used] = np.arange(len(used), dtype=np.int32)
    in_head = points.reshape(-1, 3)[used]
    return Scan(
        vertices=(in_head @ pose.rotation.T + pose.offset_mm).astype(np.float32),
        head_vertices=in_head.astype(np.float32),
        polygons=np.where(polygons >= 0, renumber[polygons], -1).astype(np.int32),
        colors=grid_colors.reshape(-1, 3)[used],
        arc_mm=arc.reshape(-1)[used],
        landmarks=(landmarks_mm @ pose.rotation.T + pose.offset_mm).astype(np.float32),
    )


def _kept(setup: ScanSetup, shape: tuple[int, int]) -> Bool[np.ndarray, "row column"]:
    arc, y = _grid_positions(shape, setup.pitch_mm)
    kept = np.ones(shape, bool) if setup.crop is None else setup.crop.mask(arc, y)
    for scrap in setup.scraps:
        kept |= scrap.mask(arc, y)
    for hole in setup.holes:
        kept &= ~hole.mask(arc, y)
    return kept


def _outermost(vertices: np.ndarray, faces: np.ndarray, pitch: float) -> tuple[np.ndarray, ...]:
    """Radius from the axis of the outermost surface per grid cell, what covers it, and the vertices' grid positions."""
    behind = vertices[:, 2] + np.float32(_AXIS_BEHIND_NOSE_MM)
    radius = np.hypot(vertices[:, 0], behind).astype(np.float32)
    arc = (np.arctan2(vertices[:, 0], behind) * _AXIS_BEHIND_NOSE_MM).astype(np.float32)
    shape = grid_shape(pitch)
    depth = np.full(shape, kernels.EMPTY, np.float32)
    cover = np.full(shape, -1, np.int32)
    x_px = ((arc + np.float32(HALF_ARC_MM)) / np.float32(pitch)).astype(np.float32)
    y_px = ((np.float32(TOP_MM) - vertices[:, 1]) / np.float32(pitch)).astype(np.float32)
    # Triangles behind the axis wrap around it; they are the back of the head.
    front = (behind[faces] > 5).all(axis=1)
    front_faces = np.ascontiguousarray(faces[front])
    kernels.rasterise(x_px, y_px, radius, front_faces, depth, cover)
    kernels.fill_holes(depth, 1)
    return depth, np.where(cover >= 0, np.flatnonzero(front)[cover], -1).astype(np.int32), x_px, y_px


def _bridge_slits(radius: np.ndarray, reach_mm: float, pitch: float) -> np.ndarray:
    """Close narrow gaps between the lips and in the nostrils, as stereo matching with its windows does."""
    size = 2 * max(1, round(reach_mm / 2 / pitch)) + 1
    return np.maximum(radius, ndimage.grey_closing(radius, size=(size, size)))


def interpolate_colors(
    colors: np.ndarray, faces: np.ndarray, cover: np.ndarray, x_px: np.ndarray, y_px: np.ndarray
) -> np.ndarray:
    """Colours of the pixels whose `cover` is a triangle, between those of its corners."""
    weights = np.zeros((*cover.shape, 2), np.float32)
    kernels.barycentric(x_px, y_px, faces, cover, weights)
    drawn = cover >= 0
    corner = colors[faces[cover[drawn]]]
    second, third = weights[drawn][:, 0, None], weights[drawn][:, 1, None]
    return corner[:, 0] * (1 - second - third) + corner[:, 1] * second + corner[:, 2] * third


def _grid_positions(shape: tuple[int, int], pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """(arc, y) in mm of every grid cell's centre."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return (columns + 0.5) * pitch - HALF_ARC_MM, TOP_MM - (rows + 0.5) * pitch


def _sample(
    setup: ScanSetup, noise_sample: ScanNoise, radius: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points (row, column, 3) on the surface at jittered places, with the scanner's noise."""
    pitch = setup.pitch_mm
    arc, y = _grid_positions(radius.shape, pitch)
    jitter = noise_sample.jitter.copy()
    grow = [np.roll(valid, shift, axis) for axis in (0, 1) for shift in (-1, 1)]
    inner = np.logical_and.reduce([valid, *grow])
    clean = np.where(valid, radius, 0).astype(np.float64)
    slope_y, slope_x = np.gradient(clean)
    steep = np.hypot(slope_x, slope_y) > 4
    jitter[:, ~inner | steep] = 0
    shifted = clean + slope_x * jitter[0] + slope_y * jitter[1]
    arc = arc + jitter[0] * pitch
    y = y - jitter[1] * pitch
    ripple = np.zeros(radius.shape)
    for kx, ky, phase in setup.ripple:
        ripple += np.sin(kx * arc + ky * y + phase)
    shifted = shifted + setup.noise_mm * noise_sample.noise + setup.ripple_mm * ripple / np.sqrt(len(setup.ripple))
    for spike_arc, spike_y, height in setup.spikes:
        shifted[int((TOP_MM - spike_y) / pitch), int((spike_arc + HALF_ARC_MM) / pitch)] += height
    angle = arc / _AXIS_BEHIND_NOSE_MM
    points = np.stack([shifted * np.sin(angle), y, shifted * np.cos(angle) - _AXIS_BEHIND_NOSE_MM], axis=-1)
    return points, arc.astype(np.float32)


def _polygons(
    cuts: np.ndarray, valid: np.ndarray, radius: np.ndarray, quad_share: float, max_jump_mm: float
) -> Int32[np.ndarray, "polygon 4"]:
    """Quads and triangles between neighbouring valid cells, counter-clockwise from outside."""
    index = np.arange(valid.size, dtype=np.int32).reshape(valid.shape)
    corners = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1).reshape(-1, 4)
    height = np.where(valid, radius, np.nan).reshape(-1)[corners]
    present = np.isfinite(height)
    complete = present.all(axis=1)
    with np.errstate(invalid="ignore"):
        flat = np.ptp(height, axis=1) <= max_jump_mm
    quad = complete & flat & (cuts[0] < quad_share)
    split = complete & flat & ~quad
    first = cuts[1] < 0.5
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


__getattr__ = renamed_attributes(__name__, {"observe": f"{__name__}.scan_with_setup"})
