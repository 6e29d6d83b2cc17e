"""Depth sensors: exact without errors, errors of the stated size, nothing of what they cannot see."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from smilevlm.errors import MeshError, SettingsError
from smilevlm.synthesis.depth_sensor import MAX_VERTICES, DepthSensor, sense
from smilevlm.synthesis.sensor_profiles import Absorption, DarkRegions, SensorKind, draw_sensor

EXACT = DepthSensor(distance_mm=400.0, pitch_mm=1.0)


def plane(z: float, left: float = -50, right: float = 50) -> tuple[np.ndarray, np.ndarray]:
    """A square of two triangles that faces the camera."""
    corners = np.array([[left, -50, z], [right, -50, z], [right, 50, z], [left, 50, z]], np.float32)
    return corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def seen(sensor: DepthSensor, vertices: np.ndarray, faces: np.ndarray, absorption: float = 0.0) -> np.ndarray:
    dark = np.full(len(vertices), absorption, np.float32)
    return sense(np.random.default_rng(0), sensor, vertices, faces, dark).vertices


@pytest.mark.parametrize("angles_deg", [(0, 0), (25, -10)])
def test_without_errors_every_point_lies_on_the_surface(angles_deg):
    vertices, faces = plane(-30.0)
    points = seen(replace(EXACT, angles_deg=angles_deg), vertices, faces)
    np.testing.assert_allclose(points[:, 2], -30, atol=0.01)
    np.testing.assert_allclose(np.ptp(points, axis=0)[:2], 100, atol=3)


def test_noise_and_steps_grow_with_the_square_of_the_distance():
    for z, distance in ((0.0, 1.0), (-400.0, 2.0)):
        vertices, faces = plane(z)
        noisy = seen(replace(EXACT, noise_mm=0.5), vertices, faces)
        assert noisy[:, 2].std() == pytest.approx(0.5 * distance**2, rel=0.05)
        slope = vertices + np.array([0, 0, 8], np.float32) * (vertices[:, :1] / 50)
        levels = np.unique(seen(replace(EXACT, step_mm=0.4), slope, faces)[:, 2].round(3))
        np.testing.assert_allclose(np.diff(levels), 0.4 * distance**2, rtol=0.15)


def test_a_phone_sees_no_deeper_than_its_filter():
    vertices, faces = plane(0.0)
    groove = vertices + np.array([0, 0, -6], np.float32)
    left, right = plane(0.0, -50, -1.5), plane(0.0, 1.5, 50)
    everything = np.concatenate([groove, left[0], right[0]])
    triangles = np.concatenate([faces, left[1] + 4, right[1] + 8]).astype(np.int32)
    assert seen(EXACT, everything, triangles)[:, 2].min() < -5.9
    bridged = seen(replace(EXACT, bridge_mm=6.0), everything, triangles)
    assert bridged[np.abs(bridged[:, 0]) < 40][:, 2].min() > -0.1


def test_the_shadow_lies_on_the_side_away_from_the_projector():
    vertices, faces = plane(-40.0)
    board, front = plane(0.0, -10, 10)
    everything = np.concatenate([vertices, board])
    triangles = np.concatenate([faces, front + 4]).astype(np.int32)
    for side in (-1, 1):
        behind = seen(replace(EXACT, triangulation_deg=25.0 * side), everything, triangles)
        behind = behind[behind[:, 2] < -20]
        near = behind[(np.abs(behind[:, 0]) > 14) & (np.abs(behind[:, 0]) < 22)]
        assert len(near), "one side of the board is lit"
        assert (near[:, 0] * side > 0).all(), "the other lies in its shadow"


def test_what_absorbs_all_light_is_missing_and_half_of_it_where_half_fails():
    vertices, faces = plane(0.0)
    whole = len(seen(EXACT, vertices, faces))
    with pytest.raises(MeshError, match="sees nothing"):
        seen(EXACT, vertices, faces, 1.0)
    assert 0.2 * whole < len(seen(EXACT, vertices, faces, 0.5)) < 0.8 * whole


def test_mixed_pixels_lie_behind_the_rim():
    vertices, faces = plane(0.0)
    points = seen(replace(EXACT, flying_share=1.0, flying_mm=3.0), vertices, faces)
    flying = points[:, 2] < -0.01
    assert 0.02 < flying.mean() < 0.06
    assert (np.abs(points[flying][:, :2]).max(axis=1) > 47).all()


def test_surfaces_that_face_away_are_not_seen():
    vertices, faces = plane(0.0)
    with pytest.raises(MeshError, match="sees nothing"):
        seen(EXACT, vertices, faces[:, ::-1].copy())


def test_a_grid_that_is_too_fine_is_coarsened():
    vertices, faces = plane(0.0)
    count = len(seen(replace(EXACT, pitch_mm=0.25), vertices, faces))
    assert 0.9 * MAX_VERTICES < count <= MAX_VERTICES


@pytest.mark.parametrize(
    "changes", [{"distance_mm": 10}, {"pitch_mm": 0}, {"noise_mm": -1}, {"angles_deg": (85, 0)}, {"max_jump_mm": 0}]
)
def test_settings_out_of_range(changes):
    with pytest.raises(SettingsError):
        replace(EXACT, **changes)


@pytest.mark.parametrize("kind", get_args(SensorKind))
def test_profiles_differ_from_draw_to_draw_and_come_again_with_the_seed(kind):
    drawn = [draw_sensor(np.random.default_rng(seed), kind) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    pitches = [draw_sensor(np.random.default_rng(seed), kind)[0].pitch_mm for seed in range(50)]
    assert min(pitches) >= 0.5
    assert max(pitches) <= 2.0


def test_absorption_is_the_darkest_region_of_each_vertex():
    regions = DarkRegions(
        eyes=np.array([1, 0, 0], np.float32),
        brows=np.array([0, 1, 0.5], np.float32),
        hair=np.array([0, 1, 0], np.float32),
    )
    found = regions.absorption(Absorption(eyes=0.5, brows=0.2, hair=0.9))
    np.testing.assert_allclose(found, [0.5, 0.9, 0.1], rtol=1e-6)
