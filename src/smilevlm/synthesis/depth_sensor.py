"""A depth sensor: one camera and one projector before a face, a depth image with the errors of its kind, a mesh.

A pinhole camera looks at the face; its depth image is a z-buffer. Sensors that triangulate measure disparity, so noise
and quantisation are constant in disparity and grow with the square of the distance.

Sources: Khoshelham and Elberink, Sensors 12(2), 2012, Eq. 11 (noise of disparity, depth error ~ z^2); Chatterjee and
Govindu, arXiv 1505.01936 (the same for structured light in general); Handa et al., ICRA 2014 (order of the errors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32
from scipy import ndimage

from smilevlm.errors import MeshError, SettingsError
from smilevlm.geometry import Mesh
from smilevlm.synthesis.scan_setup import rotation_from_angles
from smilevlm.synthesis.scanner import grid_polygons
from smilevlm.typing import Faces, Vertices
from smilevlm.views import kernels

MAX_VERTICES = 70_000
"""Of one depth image; a finer grid is coarsened."""
_SHADOW_BIAS_MM = 3.0
"""The projector's depth image is sampled; what lies less far behind it counts as lit."""
_LOSS_BLOB_MM = 3.0
"""Size of the patches in which dark or shiny regions fail."""


@dataclass(frozen=True, kw_only=True)
class DepthSensor:
    """How one sensor sees; lengths along the line of sight hold at the nose tip.

    Args:
        distance_mm: From the camera to the nose tip.
        pitch_mm: Between neighbouring pixels.
        angles_deg: (yaw, pitch) of the head before the camera.
        triangulation_deg: Angle at the nose tip between camera and projector, which stands on the viewer's right where
            positive; what it does not light is not seen.
        noise_mm: Standard deviation of the depth noise.
        step_mm: Between neighbouring depths that the sensor can tell apart.
        ripple_mm: Amplitude of waves that a phase error leaves.
        ripple_period_mm: Their period across the face.
        smoothing_mm: Standard deviation of the filter over the depth image, which stops at steps in depth.
        bridge_mm: Gaps up to this width are closed: parted lips, lids, nostrils.
        flying_share: Of the pixels beside an edge, those that mix both sides of it.
        flying_mm: How far these lie behind the surface, on average.
        steepest: Surfaces that fall away faster are not seen, in mm per mm.
        max_jump_mm: Neighbours further apart in depth are not joined.
    """

    distance_mm: float
    pitch_mm: float
    angles_deg: tuple[float, float] = (0.0, 0.0)
    triangulation_deg: float = 0.0
    noise_mm: float = 0.0
    step_mm: float = 0.0
    ripple_mm: float = 0.0
    ripple_period_mm: float = 6.0
    smoothing_mm: float = 0.0
    bridge_mm: float = 0.0
    flying_share: float = 0.0
    flying_mm: float = 4.0
    steepest: float = 5.0
    max_jump_mm: float = 10.0

    def __post_init__(self) -> None:
        if not 200 <= self.distance_mm <= 5000:
            raise SettingsError(f"distance_mm is {self.distance_mm}; expected 200 to 5000")
        if not 0.2 <= self.pitch_mm <= 10:
            raise SettingsError(f"pitch_mm is {self.pitch_mm}; expected 0.2 to 10")
        if max(abs(self.triangulation_deg), *map(abs, self.angles_deg)) > 80:
            raise SettingsError("angles_deg and triangulation_deg are expected within -80 to 80")
        lengths = (self.noise_mm, self.step_mm, self.ripple_mm, self.smoothing_mm, self.bridge_mm, self.flying_mm)
        if min(lengths) < 0 or not 0 <= self.flying_share <= 1:
            raise SettingsError("a sensor's errors cannot be negative, and flying_share is expected in 0 to 1")
        if min(self.ripple_period_mm, self.steepest, self.max_jump_mm) <= 0:
            raise SettingsError("ripple_period_mm, steepest and max_jump_mm are expected above 0")


@dataclass(frozen=True, kw_only=True)
class _Pinhole:
    """A camera at (shift, 0, distance) that looks along -z at the plane of the nose tip.

    Args:
        distance_mm: From that plane.
        pitch_mm: Side of a pixel there.
        shift_mm: How far to the viewer's right it stands.
        corner_mm: Left and top edge of its image in that plane, from its own axis.
        shape: Rows and columns.
    """

    distance_mm: float
    pitch_mm: float
    shift_mm: float
    corner_mm: tuple[float, float]
    shape: tuple[int, int]

    @staticmethod
    def around(points: Vertices, *, distance_mm: float, pitch_mm: float, shift_mm: float) -> _Pinhole:
        """The camera whose image holds all the points."""
        scale = distance_mm / (distance_mm - points[:, 2])
        x, y = (points[:, 0] - shift_mm) * scale, points[:, 1] * scale
        left, top = float(x.min()) - 2 * pitch_mm, float(y.max()) + 2 * pitch_mm
        rows, columns = (top - float(y.min())) / pitch_mm + 3, (float(x.max()) - left) / pitch_mm + 3
        return _Pinhole(
            distance_mm=distance_mm,
            pitch_mm=pitch_mm,
            shift_mm=shift_mm,
            corner_mm=(left, top),
            shape=(int(rows), int(columns)),
        )

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns, rows and disparities; disparity is 1 in the plane of the nose tip and linear over a triangle."""
        disparity = np.float32(self.distance_mm) / (np.float32(self.distance_mm) - points[..., 2])
        column = ((points[..., 0] - np.float32(self.shift_mm)) * disparity - self.corner_mm[0]) / self.pitch_mm
        row = (self.corner_mm[1] - points[..., 1] * disparity) / self.pitch_mm
        return column.astype(np.float32), row.astype(np.float32), disparity.astype(np.float32)

    def look(self, points: Vertices, faces: Faces) -> tuple[Float32[np.ndarray, "row column"], np.ndarray]:
        """Disparity of the nearest surface per pixel, EMPTY where there is none, and the triangle it belongs to."""
        column, row, disparity = self.project(points)
        seen = np.full(self.shape, kernels.EMPTY, np.float32)
        cover = np.full(self.shape, -1, np.int32)
        kernels.rasterise(column, row, disparity, faces, seen, cover)
        return seen, cover

    def points(self, height: Float32[np.ndarray, "row column"]) -> Float32[np.ndarray, "row column 3"]:
        """The places of pixels whose height over the plane of the nose tip is known."""
        rows, columns = np.indices(self.shape, np.float32)
        scale = (self.distance_mm - height) / np.float32(self.distance_mm)
        x = ((columns + 0.5) * self.pitch_mm + self.corner_mm[0]) * scale + self.shift_mm
        y = (self.corner_mm[1] - (rows + 0.5) * self.pitch_mm) * scale
        return np.stack([x, y, height], axis=-1).astype(np.float32)


def sense(
    rng: np.random.Generator,
    sensor: DepthSensor,
    vertices_mm: Vertices,
    faces: Faces,
    absorption: Float32[np.ndarray, " vert"],
) -> Mesh:
    """What the sensor delivers of a face, in the face frame.

    Args:
        rng: Of this image's noise.
        sensor: How it sees.
        vertices_mm: Face frame, nose tip near the origin.
        faces: Triangles, counter-clockwise from outside.
        absorption: Share of the measurements that fail at each vertex, in [0, 1]: dark hair, brows, wet eyes.

    Raises:
        MeshError: The sensor sees nothing of it.
    """
    rotation = rotation_from_angles(*sensor.angles_deg, 0.0).astype(np.float32)
    posed = (vertices_mm @ rotation.T).astype(np.float32)
    faces = _facing(posed, faces, sensor.distance_mm)
    if not len(faces):
        raise MeshError("a depth sensor sees nothing of this surface")
    pitch_mm = max(sensor.pitch_mm, _finest_pitch(posed, faces, sensor.distance_mm))
    used = posed[np.unique(faces)]
    camera = _Pinhole.around(used, distance_mm=sensor.distance_mm, pitch_mm=pitch_mm, shift_mm=0.0)
    disparity, cover = camera.look(posed, faces)
    height = _height(disparity, sensor.distance_mm)
    kernels.fill_holes(height, 1)
    height = _bridge(height, sensor.bridge_mm, pitch_mm)
    lost = _steep(height, pitch_mm, sensor.steepest) | _unlit(sensor, camera, posed, faces, height)
    lost |= _absorbed(rng, absorption[faces].mean(axis=1), cover, pitch_mm)
    height[lost] = kernels.EMPTY
    height = _with_errors(rng, sensor, camera, height)
    return _mesh(rng, camera, height, sensor.max_jump_mm, rotation)


def _facing(points: Vertices, faces: Faces, distance_mm: float) -> Faces:
    """Triangles whose outside is toward the camera."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    toward = np.array([0, 0, distance_mm], np.float32) - a
    return np.ascontiguousarray(faces[(np.cross(b - a, c - a) * toward).sum(axis=1) > 0])


def _finest_pitch(points: Vertices, faces: Faces, distance_mm: float) -> float:
    """The pitch at which the image of these triangles fills the budget of vertices."""
    scale = distance_mm / (distance_mm - points[:, 2:])
    a, b, c = ((points[:, :2] * scale)[faces[:, k]] for k in range(3))
    first, second = b - a, c - a
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2
    # Pixels at the rim are covered in part.
    return float(np.sqrt(1.02 * area / MAX_VERTICES))


def _height(disparity: np.ndarray, distance_mm: float) -> Float32[np.ndarray, "row column"]:
    there = disparity > 0
    height = np.full(disparity.shape, kernels.EMPTY, np.float32)
    height[there] = distance_mm - distance_mm / disparity[there]
    return height


def _bridge(height: np.ndarray, bridge_mm: float, pitch_mm: float) -> np.ndarray:
    size = 2 * round(bridge_mm / 2 / pitch_mm) + 1
    return height if size < 3 else np.maximum(height, ndimage.grey_closing(height, size=(size, size)))


def _steep(height: np.ndarray, pitch_mm: float, steepest: float) -> Bool[np.ndarray, "row column"]:
    """Surfaces that the camera only grazes; a pixel with one gentle side is seen from there."""
    padded = np.pad(height, 1, constant_values=kernels.EMPTY)
    steep = np.zeros(height.shape, bool)
    for before, after in ((padded[:-2, 1:-1], padded[2:, 1:-1]), (padded[1:-1, :-2], padded[1:-1, 2:])):
        steep |= np.minimum(np.abs(height - before), np.abs(height - after)) > steepest * pitch_mm
    return steep & (height != kernels.EMPTY)


def _unlit(
    sensor: DepthSensor, camera: _Pinhole, posed: Vertices, faces: Faces, height: np.ndarray
) -> Bool[np.ndarray, "row column"]:
    """Pixels in the projector's shadow: beside the nose, below a brow, behind a cheek."""
    if sensor.triangulation_deg == 0:
        return np.zeros(height.shape, bool)
    projector = _Pinhole.around(
        posed[np.unique(faces)],
        distance_mm=camera.distance_mm,
        pitch_mm=camera.pitch_mm,
        shift_mm=camera.distance_mm * float(np.tan(np.deg2rad(sensor.triangulation_deg))),
    )
    lit, _ = projector.look(posed, faces)
    there = height != kernels.EMPTY
    column, row, disparity = projector.project(camera.points(np.where(there, height, 0))[there])
    row = np.clip(row.astype(np.int32), 0, projector.shape[0] - 1)
    column = np.clip(column.astype(np.int32), 0, projector.shape[1] - 1)
    unlit = np.zeros(height.shape, bool)
    bias = np.float32(_SHADOW_BIAS_MM / camera.distance_mm)
    unlit[there] = lit[row, column] > disparity + bias * disparity**2
    return unlit


def _absorbed(
    rng: np.random.Generator, absorption: Float32[np.ndarray, " face"], cover: np.ndarray, pitch_mm: float
) -> Bool[np.ndarray, "row column"]:
    """Patches without a signal: where a smooth uniform field lies below the absorption."""
    cell = max(1, round(_LOSS_BLOB_MM / pitch_mm))
    rows, columns = (length // cell + 2 for length in cover.shape)
    field = np.repeat(np.repeat(rng.uniform(size=(rows, columns)), cell, axis=0), cell, axis=1)
    field = ndimage.uniform_filter(field[: cover.shape[0], : cover.shape[1]].astype(np.float32), cell)
    dark = np.where(cover >= 0, absorption[cover], 0)
    # The mean of neighbouring uniform numbers keeps near the middle; stretched, a full absorption still takes all.
    return (dark > 0) & (np.clip(0.5 + 1.6 * (field - 0.5), 0, 0.999) < dark)


def _with_errors(
    rng: np.random.Generator, sensor: DepthSensor, camera: _Pinhole, height: np.ndarray
) -> Float32[np.ndarray, "row column"]:
    """Noise and ripples, then the sensor's filter, mixed pixels at edges, and its steps of depth."""
    there = height != kernels.EMPTY
    distance = np.where(there, (sensor.distance_mm - height) / sensor.distance_mm, 1)
    error = sensor.noise_mm * distance**2 * rng.standard_normal(height.shape, np.float32)
    if sensor.ripple_mm > 0:
        columns = np.arange(height.shape[1]) * camera.pitch_mm * 2 * np.pi / sensor.ripple_period_mm
        error += sensor.ripple_mm * np.sin(columns + rng.uniform(0, 2 * np.pi))
    height = np.where(there, height + error, kernels.EMPTY).astype(np.float32)
    if sensor.smoothing_mm > 0:
        height = kernels.smooth(height, _half_gaussian(sensor.smoothing_mm / camera.pitch_mm), sensor.max_jump_mm)
    if sensor.flying_share > 0:
        flying = _beside_an_edge(height, sensor.max_jump_mm) & (rng.uniform(size=height.shape) < sensor.flying_share)
        height[flying] -= rng.exponential(sensor.flying_mm, int(flying.sum())).astype(np.float32)
    if sensor.step_mm > 0:
        step = sensor.step_mm / sensor.distance_mm
        disparity = np.round(1 / (1 - height[there] / sensor.distance_mm) / step) * step
        height[there] = sensor.distance_mm - sensor.distance_mm / disparity
    return height


def _half_gaussian(sigma_px: float) -> Float32[np.ndarray, " weight"]:
    reach = np.arange(int(3 * sigma_px) + 1)
    return np.exp(-(reach**2) / (2 * sigma_px**2)).astype(np.float32)


def _beside_an_edge(height: np.ndarray, max_jump_mm: float) -> Bool[np.ndarray, "row column"]:
    padded = np.pad(height, 1, constant_values=kernels.EMPTY)
    lowest = np.minimum.reduce([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    return (height != kernels.EMPTY) & (height - lowest > max_jump_mm)


def _mesh(
    rng: np.random.Generator,
    camera: _Pinhole,
    height: Float32[np.ndarray, "row column"],
    max_jump_mm: float,
    rotation: Float32[np.ndarray, "3 3"],
) -> Mesh:
    """Triangles between neighbouring pixels, in the face frame; `rotation` is camera from face."""
    valid = height != kernels.EMPTY
    if not valid.any():
        raise MeshError("a depth sensor sees nothing of this surface")
    cuts = rng.uniform(size=(2, (height.shape[0] - 1) * (height.shape[1] - 1)))
    triangles = grid_polygons(cuts, valid, height.astype(np.float64), 0.0, max_jump_mm)[:, :3]
    used: Int32[np.ndarray, " vert"]
    used, faces = np.unique(triangles, return_inverse=True)
    points: Float64[np.ndarray, "vert 3"] = camera.points(height).reshape(-1, 3)[used] @ rotation
    return Mesh(vertices=points.astype(np.float32), faces=faces.reshape(-1, 3).astype(np.int32))
