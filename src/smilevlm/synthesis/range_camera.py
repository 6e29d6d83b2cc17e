"""A single structured-light scanner: one view, a regular grid of points, and nothing of what that view does not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

from smilevlm.errors import SettingsError
from smilevlm.synthesis.photograph import Portrait
from smilevlm.synthesis.scan_setup import Pose
from smilevlm.synthesis.scanner import ColoredMesh, Scan
from smilevlm.typing import RgbImage
from smilevlm.views import kernels

_HALF_WIDTH_MM, _TOP_MM, _BOTTOM_MM = 115.0, 130.0, -130.0
"""What the scanner covers around the middle of its field."""
_CROP_TOP_MM, _CROP_BOTTOM_MM, _CROP_BACK_MM = 92.0, -98.0, -155.0
"""What is kept of a head, from its nose tip: hair, neck and shoulders are cut off in the data set."""
_JAW_MM, _NECK_MM = -62.0, -58.0
"""Below and behind these lies the neck."""
_STEEPEST = 3.2
"""Stripes of light cannot be told apart on a surface that falls away faster, in mm per mm."""
_PICTURE_WIDTH_MM = 340.0
_HEIGHT_PER_WIDTH = 3 / 4
_MARGIN_CELLS = 2
_SEEN_AREA_MM2 = 20_000.0
"""About what one view covers of a face, as the scanner sees it."""


@dataclass(frozen=True, kw_only=True)
class RangeCameraSettings:
    """How scans differ from the true surface.

    Args:
        pitch_mm: Between neighbouring points; Bosphorus has 0.3.
        texture_width: Of the pictures in pixels; Bosphorus has 1600 x 1200.
        noise_mm: Standard deviation of the depth noise; scans vary around it.
        ripple_mm: Amplitude of the stripes that structured light leaves in the surface; scans vary around it.
        max_holes: Holes per scan, at most.
        pose_deg: Standard deviation of yaw and pitch about the wanted pose; roll has half of it.
        offset_mm: Standard deviation of the head's place.
    """

    pitch_mm: float = 1.0
    texture_width: int = 400
    noise_mm: float = 0.12
    ripple_mm: float = 0.12
    max_holes: int = 3
    pose_deg: float = 2.5
    offset_mm: float = 8.0

    def __post_init__(self) -> None:
        if not 0.25 <= self.pitch_mm <= 5:
            raise SettingsError(f"pitch_mm is {self.pitch_mm}; expected 0.25 to 5")
        if not 16 <= self.texture_width <= 4096:
            raise SettingsError(f"texture_width is {self.texture_width}; expected 16 to 4096")
        if min(self.noise_mm, self.ripple_mm, self.max_holes, self.pose_deg, self.offset_mm) < 0:
            raise SettingsError("scanner settings cannot be negative")


@dataclass(frozen=True, kw_only=True)
class RangeImage:
    """What the scanner delivers, in its own frame: millimetres, +x the viewer's right, +y up, +z toward it.

    Args:
        points: Row 0 is the bottom; nan where the scanner saw nothing.
        uv: Where each point falls in the picture, u to the right and v from the top; nan as in `points`.
        picture: Taken from the same place.
    """

    points: Float64[np.ndarray, "row column 3"]
    uv: Float64[np.ndarray, "row column 2"]
    picture: RgbImage

    @property
    def valid(self) -> Bool[np.ndarray, "row column"]:
        return np.isfinite(self.points[..., 2])

    def nearest(self, place_mm: np.ndarray, *, within_mm: float) -> tuple[int, int] | None:
        """Row and column of the point nearest to a place; None when there is none within this distance."""
        distance = np.linalg.norm(np.where(self.valid[..., None], self.points, np.inf) - place_mm, axis=-1)
        row, column = np.unravel_index(int(np.argmin(distance)), distance.shape)
        return (int(row), int(column)) if distance[row, column] <= within_mm else None


def range_image_pitch(num_vertices: int) -> float:
    """Distance in mm of the points of a grid that holds about so many of one view of a face."""
    return float(np.sqrt(_SEEN_AREA_MM2 / num_vertices))


def scan_from_front(
    rng: np.random.Generator, head: ColoredMesh, pose: Pose, settings: RangeCameraSettings
) -> RangeImage:
    """Scan a head in the face frame, and whatever is before it, from one side; `pose` is before the scanner."""
    posed = (head.vertices @ pose.rotation.T + pose.offset_mm).astype(np.float32)
    depth = _depth(posed, head.faces, settings.pitch_mm)
    x, y = _grid_positions(depth.shape, settings.pitch_mm)
    visible = depth != kernels.EMPTY
    points = np.stack([x, y, np.where(visible, depth, 0.0)], axis=-1)
    visible &= _kept((points - pose.offset_mm) @ pose.rotation, rng) & ~_steep(depth, settings.pitch_mm)
    visible &= ~_holes(rng, x, y, visible, settings.max_holes)
    points[..., 2] += _errors(rng, x, y, settings)
    camera = Portrait(
        width_px=settings.texture_width,
        height_px=round(settings.texture_width * _HEIGHT_PER_WIDTH),
        centre_mm=(0.0, 0.0),
        width_mm=_PICTURE_WIDTH_MM,
    )
    picture, _ = camera.capture(_as_scan(head, posed))
    height_mm = camera.width_mm * camera.height_px / camera.width_px
    uv = np.stack([0.5 + x / camera.width_mm, 0.5 - y / height_mm], axis=-1)
    points[~visible], uv[~visible] = np.nan, np.nan
    window = _window(visible)
    return RangeImage(points=points[window], uv=uv[window], picture=picture)


def _depth(posed: np.ndarray, faces: np.ndarray, pitch_mm: float) -> np.ndarray:
    shape = (int((_TOP_MM - _BOTTOM_MM) / pitch_mm), int(2 * _HALF_WIDTH_MM / pitch_mm))
    depth = np.full(shape, kernels.EMPTY, np.float32)
    x_px = ((posed[:, 0] + np.float32(_HALF_WIDTH_MM)) / np.float32(pitch_mm)).astype(np.float32)
    y_px = ((posed[:, 1] - np.float32(_BOTTOM_MM)) / np.float32(pitch_mm)).astype(np.float32)
    kernels.rasterise(x_px, y_px, np.ascontiguousarray(posed[:, 2]), faces, depth, np.full(shape, -1, np.int32))
    return depth


def _grid_positions(shape: tuple[int, ...], pitch_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of every grid point; row 0 is the bottom."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return (columns + 0.5) * pitch_mm - _HALF_WIDTH_MM, (rows + 0.5) * pitch_mm + _BOTTOM_MM


def _kept(in_head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Between hair and neck, with ragged rims that differ from scan to scan."""
    x, y, z = np.moveaxis(in_head, -1, 0)
    top = _CROP_TOP_MM + rng.uniform(-12, 6) - 0.004 * x**2
    bottom = _CROP_BOTTOM_MM + rng.uniform(-6, 10)
    for wave in range(1, 6):
        top = top + rng.normal(0, 1.5) * np.sin(wave * x / 25 + rng.uniform(0, 2 * np.pi))
        bottom = bottom + rng.normal(0, 1.5) * np.sin(wave * x / 25 + rng.uniform(0, 2 * np.pi))
    neck = (y < _JAW_MM) & (z < _NECK_MM + rng.uniform(-8, 8))
    return (y < top) & (y > bottom) & (z > _CROP_BACK_MM + rng.uniform(0, 25)) & ~neck


def _steep(depth: np.ndarray, pitch_mm: float) -> np.ndarray:
    """Surfaces that the view only grazes. Steps between two surfaces are no slope: both sides of them are seen."""
    fall = [np.abs(np.diff(depth.astype(np.float64), axis=axis)) / pitch_mm for axis in (0, 1)]
    steep = np.zeros(depth.shape, bool)
    for axis, slope in enumerate(fall):
        grazed = (slope > _STEEPEST) & (slope * pitch_mm < 25)
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        steep[tuple(before)] |= grazed
        steep[tuple(after)] |= grazed
    return steep


def _holes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, visible: np.ndarray, max_holes: int) -> np.ndarray:
    """Small ellipses on the face that gave no signal: highlights, brows."""
    holes = np.zeros(x.shape, bool)
    rows, columns = np.nonzero(visible)
    for _ in range(int(rng.integers(0, max_holes + 1))):
        at = int(rng.integers(0, max(len(rows), 1)))
        radii = rng.uniform(1.0, 4.0, 2)
        if len(rows):
            centre = x[rows[at], columns[at]], y[rows[at], columns[at]]
            holes |= ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1
    return holes


def _errors(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, settings: RangeCameraSettings) -> np.ndarray:
    noise = settings.noise_mm * rng.uniform(0.5, 1.6) * rng.normal(size=x.shape)
    # Neighbouring points of a correlation window err alike.
    noise = ndimage.gaussian_filter(noise, 0.6) * 1.7
    wavelength_mm = rng.uniform(3, 9)
    stripes = np.sin(2 * np.pi * (x + rng.normal(0, 0.1) * y) / wavelength_mm + rng.uniform(0, 2 * np.pi))
    return noise + settings.ripple_mm * rng.uniform(0.2, 1.0) * stripes


def _window(visible: np.ndarray) -> tuple[slice, slice]:
    """The part of the grid that holds points, and a little around it."""
    bounds = []
    for axis in (1, 0):
        cells = np.flatnonzero(visible.any(axis=axis))
        assert len(cells), "the scanner saw nothing of the head"
        bounds.append(slice(max(0, cells[0] - _MARGIN_CELLS), cells[-1] + 1 + _MARGIN_CELLS))
    return bounds[0], bounds[1]


def _as_scan(head: ColoredMesh, posed: np.ndarray) -> Scan:
    """The true surface as something to photograph."""
    return Scan(
        vertices=posed,
        head_vertices=head.vertices,
        polygons=np.concatenate([head.faces, np.full((len(head.faces), 1), -1, np.int32)], axis=1),
        colors=head.colors,
        arc_mm=np.zeros(len(posed), np.float32),
        landmarks=np.zeros((0, 3), np.float32),
    )
