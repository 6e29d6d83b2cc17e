"""Kinds of depth sensors that faces are scanned with, and the ranges in which single devices differ.

Sources: 640 x 480 depth pixels and millimetre accuracy of a phone's front sensor: Breitbarth et al., Proc. SPIE 11144,
2019. Depth steps of 0.7 mm at 0.5 m for a disparity step of 1/8 pixel at f = 580 pixels and a baseline of 75 mm:
Khoshelham and Elberink, Sensors 12(2), 2012. Sampling of 0.3 mm and depth resolution of 0.4 mm of a structured-light
face scanner: Savran et al., BIOID 2008 (Bosphorus). Shares of missing regions are assumptions, as are ranges around
these figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from smilevlm.synthesis.depth_sensor import DepthSensor
from smilevlm.synthesis.seeds import log_uniform

SensorKind = Literal["phone", "structured_light"]
"""A phone's front sensor at arm's length; a stripe projector and a camera on a stand."""


@dataclass(frozen=True, kw_only=True)
class DarkRegions:
    """Where a sensor gets little light back, per vertex of the head: shares in [0, 1].

    Args:
        eyes: Wet surfaces, which mirror the pattern away.
        brows: Eyebrows.
        hair: Hair and beard.
    """

    eyes: Float32[np.ndarray, " vert"]
    brows: Float32[np.ndarray, " vert"]
    hair: Float32[np.ndarray, " vert"]

    def absorption(self, shares: Absorption) -> Float32[np.ndarray, " vert"]:
        """Share of failed measurements per vertex."""
        regions = (self.eyes * shares.eyes, self.brows * shares.brows, self.hair * shares.hair)
        return np.maximum.reduce(regions).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Absorption:
    """How much of each region a sensor loses, in [0, 1]."""

    eyes: float
    brows: float
    hair: float


def draw_sensor(rng: np.random.Generator, kind: SensorKind) -> tuple[DepthSensor, Absorption]:
    """Draw one device and how it stands before the face."""
    yaw, pitch = np.clip(rng.normal(0, (13, 7)), -40, 40).tolist()
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    return (_draw_phone if kind == "phone" else _draw_structured_light)(rng, (yaw, pitch), side)


def _draw_phone(
    rng: np.random.Generator, angles_deg: tuple[float, float], side: float
) -> tuple[DepthSensor, Absorption]:
    """Coarse, filtered over space and time: soft lips and lids, mixed pixels at rims, often no eyes."""
    distance_mm = float(rng.uniform(250, 500))
    sensor = DepthSensor(
        distance_mm=distance_mm,
        pitch_mm=log_uniform(rng, 0.7, 2.0),
        angles_deg=angles_deg,
        # Camera and projector lie less than 30 mm apart.
        triangulation_deg=side * float(np.rad2deg(np.arctan(rng.uniform(15, 30) / distance_mm))),
        noise_mm=log_uniform(rng, 0.15, 0.9),
        step_mm=log_uniform(rng, 0.1, 0.9),
        smoothing_mm=float(rng.uniform(1.2, 3.2)),
        bridge_mm=float(rng.uniform(2, 8)),
        flying_share=float(rng.uniform(0.2, 0.9)),
        flying_mm=float(rng.uniform(1.5, 5)),
        steepest=float(rng.uniform(3, 6)),
        max_jump_mm=float(rng.uniform(8, 15)),
    )
    return sensor, _draw_absorption(rng, eyes=0.3, brows=0.1, hair=0.5)


def _draw_structured_light(
    rng: np.random.Generator, angles_deg: tuple[float, float], side: float
) -> tuple[DepthSensor, Absorption]:
    """Fine, with stripes in the surface, a shadow on one side of the nose, and nothing of what is dark."""
    sensor = DepthSensor(
        distance_mm=float(rng.uniform(600, 1500)),
        pitch_mm=log_uniform(rng, 0.5, 1.4),
        angles_deg=angles_deg,
        triangulation_deg=side * float(rng.uniform(12, 28)),
        noise_mm=log_uniform(rng, 0.03, 0.25),
        step_mm=log_uniform(rng, 0.01, 0.4),
        ripple_mm=float(rng.uniform(0.02, 0.25)),
        ripple_period_mm=float(rng.uniform(2.5, 9)),
        smoothing_mm=float(rng.uniform(0.4, 1.2)),
        bridge_mm=float(rng.uniform(0, 2.5)),
        flying_share=float(rng.uniform(0, 0.25)),
        flying_mm=float(rng.uniform(0.5, 2)),
        steepest=float(rng.uniform(2.5, 4.5)),
        max_jump_mm=float(rng.uniform(4, 12)),
    )
    return sensor, _draw_absorption(rng, eyes=0.45, brows=0.4, hair=0.7)


def _draw_absorption(rng: np.random.Generator, *, eyes: float, brows: float, hair: float) -> Absorption:
    """Each region fails with its own probability, then in a part of its surface or all of it."""
    lost = rng.uniform(size=3) < (eyes, brows, hair)
    shares = np.where(lost, rng.uniform(0.25, 1.0, 3), 0.0).tolist()
    return Absorption(eyes=shares[0], brows=shares[1], hair=shares[2])
