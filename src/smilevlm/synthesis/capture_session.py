"""One session of the scanner: what a sequence's scans share, and how it changes slowly from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from smilevlm.synthesis.scan_setup import (
    Crop,
    Ellipse,
    Pose,
    ScannerSettings,
    ScanSetup,
    draw_hole,
    draw_scan,
    rotation_from_angles,
)

_NECK_MM = np.array([0.0, -55.0, -95.0])
"""About what the head turns, from the nose tip."""
_AROUND_HEAD_MM_PER_RAD = 95.0
_VISIBLE_ARC_MM = 132.0
"""The cameras see so far around a head that faces them."""
_SPIKE_SHARE, _SCRAP_SHARE = 0.07, 0.07
_SMALLEST_HOLE = 0.25
_PLACE_ERROR_MM, _RIPPLE_JUMP_RAD = 0.3, 0.5
_HOLES_PER_FRAME, _LOST_PATCH_SHARE, _LOST_PATCH_SIZE = 1.0, 0.08, 3.0
"""What flicker 1 does to single frames."""


@dataclass(frozen=True, kw_only=True)
class CaptureSession:
    """A scanner set up for one sequence of one person.

    Args:
        setup: At time zero.
        angles_deg: Yaw, pitch and roll of how the head sits.
        offset_mm: Where its nose tip is.
        sees_teeth: Whether teeth and tongue are seen, or lost in the dark.
        hole_cycles: (Hz, phase) per hole: how it opens and closes.
        ripple_rates: How fast each wave of the ripple moves on, rad/s.
        rim_rates: The same for the waves of the crop's rim.
        flicker: How much it changes from one frame to the next, see `ScannerSettings`.
    """

    setup: ScanSetup
    angles_deg: tuple[float, float, float]
    offset_mm: Float64[np.ndarray, " 3"]
    sees_teeth: bool
    hole_cycles: tuple[tuple[float, float], ...]
    ripple_rates: tuple[float, ...]
    rim_rates: tuple[float, ...]
    flicker: float = 0.0

    def setup_at(self, rng: np.random.Generator, time_s: float, yaw_deg: float) -> ScanSetup:
        """The setup of one frame, `time_s` after the session began.

        A head that is turned by `yaw_deg` hides its far side from the cameras.
        """
        crop = self.setup.crop
        assert crop is not None, "a sequence keeps the face alone"
        hole_sizes = [0.55 + 0.6 * float(np.sin(2 * np.pi * hertz * time_s + x)) for hertz, x in self.hole_cycles]
        holes = tuple(
            Ellipse(centre=hole.centre, radii=(hole.radii[0] * size, hole.radii[1] * size))
            for hole, size in zip(self.setup.holes, hole_sizes, strict=True)
            if size > _SMALLEST_HOLE
        )
        ripple = tuple(
            (kx, ky, phase + rate * time_s)
            for (kx, ky, phase), rate in zip(self.setup.ripple, self.ripple_rates, strict=True)
        )
        waves = tuple(
            (size, phase + rate * time_s) for (size, phase), rate in zip(crop.waves, self.rim_rates, strict=True)
        )
        turned = float(np.deg2rad(yaw_deg) * _AROUND_HEAD_MM_PER_RAD)
        setup = replace(
            self.setup,
            # No two frames of a real scanner share their tessellation.
            pitch_mm=self.setup.pitch_mm * float(rng.uniform(0.992, 1.008)),
            crop=replace(crop, waves=waves, arc_limits=(-_VISIBLE_ARC_MM - turned, _VISIBLE_ARC_MM - turned)),
            holes=holes,
            ripple=ripple,
            spikes=_draw_spikes(rng),
            scraps=_draw_scraps(rng, crop),
        )
        return _with_flicker(rng, setup, self.flicker)

    def place_error_mm(self, rng: np.random.Generator) -> Float64[np.ndarray, " 3"]:
        """How far off the whole surface of one frame lies."""
        return rng.normal(0, _PLACE_ERROR_MM * self.flicker, 3) if self.flicker else np.zeros(3)

    def pose_at(self, angles_deg: Float64[np.ndarray, " 3"], offset_mm: Float64[np.ndarray, " 3"]) -> Pose:
        """The pose of one frame, from the movement beside how the head sits; the head turns about the neck."""
        yaw, pitch, roll = (np.asarray(self.angles_deg) + angles_deg).tolist()
        rotation = rotation_from_angles(yaw, pitch, roll)
        return Pose(rotation=rotation, offset_mm=self.offset_mm + offset_mm + _NECK_MM - rotation @ _NECK_MM)


def draw_session(rng: np.random.Generator, settings: ScannerSettings) -> CaptureSession:
    """Draw one session; `pose_deg` and `offset_mm` of the settings say how people sit in the scanner."""
    setup, _, _ = draw_scan(rng, settings)
    assert setup.crop is not None
    # More holes than one scan has, since each is closed for part of the time.
    holes = tuple(draw_hole(rng, settings.hole_size) for _ in range(int(rng.integers(0, 2 * settings.max_holes + 1))))
    yaw, pitch, roll = (np.clip(rng.normal(size=3), -2.5, 2.5) * settings.pose_deg * (1, 1, 0.5)).tolist()
    # Heads sit below and behind the origin of the scanner's frame.
    offset = rng.normal(0, settings.offset_mm, 3) + np.array([10.0, 5.0, -80.0])
    return CaptureSession(
        setup=replace(setup, holes=holes),
        angles_deg=(yaw, pitch, roll),
        offset_mm=offset,
        sees_teeth=bool(rng.uniform() < 0.5),
        hole_cycles=tuple((rng.uniform(0.05, 0.5), rng.uniform(0, 2 * np.pi)) for _ in holes),
        ripple_rates=tuple(rng.normal(0, 0.8, len(setup.ripple)).tolist()),
        rim_rates=tuple(rng.normal(0, 0.4, len(setup.crop.waves)).tolist()),
        flicker=settings.flicker,
    )


def _with_flicker(rng: np.random.Generator, setup: ScanSetup, flicker: float) -> ScanSetup:
    """The setup of one frame with what is bad about that frame alone."""
    if flicker == 0:
        return setup
    more_noise = float(np.exp(flicker * np.clip(rng.normal(0, 0.4), -1, 1)))
    more_ripple = float(np.exp(flicker * np.clip(rng.normal(0, 0.4), -1, 1)))
    holes = [draw_hole(rng, 1.0) for _ in range(int(rng.poisson(_HOLES_PER_FRAME * flicker)))]
    if rng.uniform() < _LOST_PATCH_SHARE * flicker:
        holes.append(draw_hole(rng, _LOST_PATCH_SIZE))
    shifts = rng.normal(0, _RIPPLE_JUMP_RAD * flicker, len(setup.ripple)).tolist()
    return replace(
        setup,
        noise_mm=setup.noise_mm * more_noise,
        ripple_mm=setup.ripple_mm * more_ripple,
        ripple=tuple((kx, ky, phase + shift) for (kx, ky, phase), shift in zip(setup.ripple, shifts, strict=True)),
        holes=(*setup.holes, *holes),
    )


def _draw_spikes(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    if rng.uniform() >= _SPIKE_SHARE:
        return ()
    return tuple(
        (rng.uniform(-80, 80), rng.uniform(-90, 75), rng.choice([-1, 1]) * rng.uniform(6, 35))
        for _ in range(int(rng.integers(1, 4)))
    )


def _draw_scraps(rng: np.random.Generator, crop: Crop) -> tuple[Ellipse, ...]:
    """A bit of hair, ear or neck that was not cut away, apart from the face."""
    if rng.uniform() >= _SCRAP_SHARE:
        return ()
    angle, beyond = rng.uniform(0, 2 * np.pi), rng.uniform(1.14, 1.22)
    arc = beyond * crop.half_arc * np.cos(angle)
    y = crop.centre_y + beyond * (crop.up if np.sin(angle) > 0 else crop.down) * np.sin(angle)
    return (Ellipse(centre=(float(arc), float(y)), radii=(rng.uniform(3, 6), rng.uniform(3, 6))),)
