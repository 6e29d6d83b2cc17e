"""What is random about a scan: how bad the scanner is, what it misses, its noise, and where the head is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64

from smilevlm.deprecation import renamed_attributes
from smilevlm.errors import SettingsError
from smilevlm.synthesis.marker import OMIT_DEFAULT

HALF_ARC_MM = 160.0
TOP_MM, BOTTOM_MM = 125.0, -130.0
"""What the scanner's grid covers: to both sides around the head, and up and down from the nose tip."""
_FACE_AREA_MM2 = 31_000.0
"""About what the crop covers."""
_FIRST_RIM_WAVE = 2


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
        hole_size: Factor on the size of the holes.
        crop_share: How much of the face is kept, as a factor on the crop's axes.
        flicker: How much noise, holes, long-wave errors and place change from one frame of a sequence to the next, in
            [0, 3]: 0 for a steady scanner. Single scans have none.
    """

    num_vertices: int = 8000
    noise_mm: float = 0.12
    ripple_mm: float = 0.25
    max_holes: int = 3
    quad_share: float = 0.04
    pose_deg: float = 5.0
    offset_mm: float = 15.0
    hole_size: float = field(default=1.0, metadata=OMIT_DEFAULT)
    crop_share: float = field(default=1.0, metadata=OMIT_DEFAULT)
    flicker: float = field(default=0.0, metadata=OMIT_DEFAULT)

    def __post_init__(self) -> None:
        if not 500 <= self.num_vertices <= 200_000:
            raise SettingsError(f"num_vertices is {self.num_vertices}; expected 500 to 200,000")
        if min(self.noise_mm, self.ripple_mm, self.max_holes, self.quad_share, self.pose_deg, self.offset_mm) < 0:
            raise SettingsError("scanner settings cannot be negative")
        if not (0 < self.hole_size <= 10 and 0.5 <= self.crop_share <= 1.2):
            raise SettingsError("scanner.hole_size is expected above 0 to 10, scanner.crop_share 0.5 to 1.2")
        if not 0 <= self.flicker <= 3:
            raise SettingsError(f"scanner.flicker is {self.flicker}; expected 0 to 3")


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """A patch of the scanner's grid, in mm around the head (`arc`) and up from the nose tip (`y`)."""

    centre: tuple[float, float]
    radii: tuple[float, float]

    def mask(self, arc: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, "row column"]:
        return ((arc - self.centre[0]) / self.radii[0]) ** 2 + ((y - self.centre[1]) / self.radii[1]) ** 2 < 1


@dataclass(frozen=True, kw_only=True)
class Crop:
    """An egg-shaped crop with a ragged rim.

    Args:
        centre_y, half_arc, up, down: Its place and half axes in mm.
        waves: (amplitude, phase) of the rim's waves from two per turn upward.
        arc_limits: What the cameras see of a turned head, in mm around the head.
    """

    centre_y: float
    half_arc: float
    up: float
    down: float
    waves: tuple[tuple[float, float], ...]
    arc_limits: tuple[float, float] = (-np.inf, np.inf)

    def mask(self, arc: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, "row column"]:
        dy = y - self.centre_y
        distance = np.hypot(arc / self.half_arc, np.where(dy > 0, dy / self.up, dy / self.down))
        angle = np.arctan2(dy, arc)
        rim = 1 + sum(size * np.cos(k * angle + phase) for k, (size, phase) in enumerate(self.waves, _FIRST_RIM_WAVE))
        return (distance < rim) & (arc > self.arc_limits[0]) & (arc < self.arc_limits[1])


@dataclass(frozen=True, kw_only=True)
class ScanSetup:
    """What stays the same, or nearly, while someone sits before the scanner.

    Args:
        pitch_mm: Of the grid.
        bridge_mm: Gaps up to this width are closed.
        crop: What is kept, or None for everything the scanner saw.
        holes: What the scanner did not see.
        scraps: Bits outside the crop that were kept all the same.
        noise_mm: Standard deviation of the depth noise.
        ripple_mm: Amplitude of the long-wave error.
        ripple: Its waves: (1/mm around the head, 1/mm upward, phase).
        max_jump_mm: Neighbours further apart in depth are not joined.
        spikes: (mm around the head, mm upward, height in mm) of single points far off the surface.
    """

    pitch_mm: float
    bridge_mm: float
    crop: Crop | None
    holes: tuple[Ellipse, ...]
    scraps: tuple[Ellipse, ...] = ()
    noise_mm: float
    ripple_mm: float
    ripple: tuple[tuple[float, float, float], ...]
    max_jump_mm: float
    spikes: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScanNoise:
    """What no two scans share.

    Args:
        jitter: Displacement of each grid point along rows and columns, in cells.
        noise: Standard normal depth noise.
        cuts: Two uniform numbers per cell: quad or not, and which diagonal.
    """

    jitter: Float64[np.ndarray, "2 row column"]
    noise: Float64[np.ndarray, "row column"]
    cuts: Float64[np.ndarray, "2 cell"]


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where the head is: `scanner = rotation @ head + offset_mm`, the head's origin being its nose tip."""

    rotation: Float64[np.ndarray, "3 3"]
    offset_mm: Float64[np.ndarray, " 3"]


def draw_scan(
    rng: np.random.Generator, settings: ScannerSettings, *, cropped: bool = True
) -> tuple[ScanSetup, ScanNoise, Pose]:
    """Draw everything that is random about one scan."""
    pitch = pitch_for(settings.num_vertices) * rng.uniform(0.88, 1.14)
    # Most scanners bridge a few millimetres; some see right into the mouth.
    bridge = rng.uniform(2.5, 8.0) if rng.uniform() < 0.75 else 2.5
    crop = _draw_crop(rng, settings.crop_share) if cropped else None
    holes = tuple(draw_hole(rng, settings.hole_size) for _ in range(int(rng.integers(0, settings.max_holes + 1))))
    shape = grid_shape(pitch)
    jitter = _draw_jitter(rng, shape)
    noise_mm = settings.noise_mm * rng.uniform(0.5, 1.6)
    noise = rng.normal(size=shape)
    ripple = tuple((*rng.normal(0, 2 * np.pi / 35, 2).tolist(), rng.uniform(0, 2 * np.pi)) for _ in range(6))
    ripple_mm = settings.ripple_mm * rng.uniform(0.3, 1.0)
    max_jump = float(rng.uniform(7, 16))
    cuts = _draw_cuts(rng, shape)
    setup = ScanSetup(
        pitch_mm=pitch,
        bridge_mm=bridge,
        crop=crop,
        holes=holes,
        noise_mm=noise_mm,
        ripple_mm=ripple_mm,
        ripple=ripple,
        max_jump_mm=max_jump,
    )
    return setup, ScanNoise(jitter=jitter, noise=noise, cuts=cuts), _draw_pose(rng, settings)


def pitch_for(num_vertices: int) -> float:
    """Distance in mm of the points of a grid that covers a face with so many."""
    return float(np.sqrt(_FACE_AREA_MM2 / num_vertices))


def draw_noise(rng: np.random.Generator, setup: ScanSetup) -> ScanNoise:
    """Draw what is new in another scan with the same setup."""
    shape = grid_shape(setup.pitch_mm)
    return ScanNoise(jitter=_draw_jitter(rng, shape), noise=rng.normal(size=shape), cuts=_draw_cuts(rng, shape))


def grid_shape(pitch_mm: float) -> tuple[int, int]:
    """Rows and columns of the scanner's grid."""
    return int((TOP_MM - BOTTOM_MM) / pitch_mm), int(2 * HALF_ARC_MM / pitch_mm)


def _draw_crop(rng: np.random.Generator, share: float) -> Crop:
    centre_y, half_arc, up, down = rng.uniform(-6, 6), rng.uniform(94, 120), rng.uniform(80, 108), rng.uniform(100, 120)
    waves = tuple((rng.normal(0, 0.02), rng.uniform(0, 2 * np.pi)) for _ in range(_FIRST_RIM_WAVE, 12))
    return Crop(centre_y=centre_y, half_arc=share * half_arc, up=share * up, down=share * down, waves=waves)


def draw_hole(rng: np.random.Generator, size: float) -> Ellipse:
    """A small ellipse anywhere on the face: hair, highlights, nostrils; `size` is a factor on its axes."""
    centre = rng.uniform(-70, 70), rng.uniform(-75, 70)
    first, second = rng.uniform(1.0, 5.0, 2).tolist()
    return Ellipse(centre=centre, radii=(size * first, size * second))


def _draw_jitter(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.uniform(-0.3, 0.3, (2, *shape))


def _draw_cuts(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.uniform(size=(2, (shape[0] - 1) * (shape[1] - 1)))


def _draw_pose(rng: np.random.Generator, settings: ScannerSettings) -> Pose:
    angles = np.clip(rng.normal(size=3), -2.5, 2.5) * settings.pose_deg * (1, 1, 0.5)
    offset = rng.normal(0, settings.offset_mm, 3) + np.array([7.0, -26.0, 0.0])
    return Pose(rotation=rotation_from_angles(*angles.tolist()), offset_mm=offset)


def rotation_from_angles(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float64[np.ndarray, "3 3"]:
    """Turn toward the viewer's right, then nod (positive looks down), then tilt (positive lifts the viewer's right)."""
    yaw, pitch, roll = np.deg2rad([yaw_deg, pitch_deg, roll_deg])
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


_RENAMED = {"Setup": "ScanSetup", "Grain": "ScanNoise", "draw_grain": "draw_noise"}
__getattr__ = renamed_attributes(__name__, {old: f"{__name__}.{new}" for old, new in _RENAMED.items()})
