"""What hides a part of the face in Bosphorus' scans of type O: eyeglasses, hair, a hand on the eye or the mouth.

Everything is laid on the person's own surface: `front` says how far the face comes forward at a place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from smilevlm.synthesis.people import Person
from smilevlm.synthesis.tubes import ColoredMesh, merge_meshes, tube

Front = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""z in mm of the face's surface at (x, y) in the face frame."""

_EYE_X_MM, _EYE_Y_MM = 33.0, 40.0


def surface_front(vertices_mm: np.ndarray, cell_mm: float = 6.0) -> Front:
    """The most forward vertex around each place of a head in the face frame."""
    low = vertices_mm[:, :2].min(axis=0)
    cell = ((vertices_mm[:, :2] - low) / cell_mm).astype(np.int64)
    highest = np.full((int(cell[:, 0].max()) + 1, int(cell[:, 1].max()) + 1), -np.inf)
    np.maximum.at(highest, (cell[:, 0], cell[:, 1]), vertices_mm[:, 2])

    def front(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        column = np.clip(((x - low[0]) / cell_mm).astype(np.int64), 0, highest.shape[0] - 1)
        row = np.clip(((y - low[1]) / cell_mm).astype(np.int64), 0, highest.shape[1] - 1)
        return np.maximum(highest[column, row], -120.0)

    return front


def _eyeglasses(rng: np.random.Generator, person: Person, front: Front) -> ColoredMesh:
    """Two rims, a bridge, and the sides toward the ears."""
    del person
    color = np.array([30, 28, 26]) + rng.uniform(0, 50)
    wide, high = rng.uniform(20, 26), rng.uniform(15, 21)
    angle = np.linspace(0, 2 * np.pi, 41)
    plane = float(front(np.array([0.0]), np.array([_EYE_Y_MM]))[0]) + rng.uniform(5, 9)
    parts = []
    for side in (-1, 1):
        x = side * _EYE_X_MM + wide * np.cos(angle)
        y = _EYE_Y_MM - 2 + high * np.sin(angle)
        z = plane - 0.004 * x**2
        parts.append(tube(np.stack([x, y, z], axis=1), 1.6, color))
        outer = np.array([side * (_EYE_X_MM + wide), _EYE_Y_MM, plane - 0.004 * (_EYE_X_MM + wide) ** 2])
        hinge = outer + np.array([side * 8, 2, -10])
        parts.append(tube(np.stack([outer, hinge, [side * 80, _EYE_Y_MM, -105]]), 1.6, color))
    bridge = np.linspace(-(_EYE_X_MM - wide), _EYE_X_MM - wide, 9)
    parts.append(tube(np.stack([bridge, 44 + 0 * bridge, plane + 1 - 0.01 * bridge**2], axis=1), 1.8, color))
    return merge_meshes(parts)


def _hair(rng: np.random.Generator, person: Person, front: Front) -> ColoredMesh:
    """Strands that fall from above the forehead over one side of it."""
    color = np.array([90, 62, 40]) * (1.2 - person.brow_darkness)
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    strands = []
    for _ in range(int(rng.integers(28, 44))):
        root_x = side * rng.uniform(-20, 60)
        steps = np.linspace(0, 1, 14)
        x = root_x + side * rng.uniform(4, 26) * steps**2
        y = 112 - rng.uniform(45, 95) * steps
        z = front(x, y) + rng.uniform(2, 7)
        strands.append(tube(np.stack([x, y, z], axis=1), rng.uniform(1.2, 3.2), color * rng.uniform(0.7, 1.3)))
    return merge_meshes(strands)


def _hand(rng: np.random.Generator, person: Person, front: Front, *, centre: tuple[float, float]) -> ColoredMesh:
    """Four fingers side by side that come from one side of the face."""
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    x0, y0 = side * abs(centre[0]), centre[1]
    tilt = rng.uniform(-0.25, 0.25)
    fingers = []
    for finger in range(4):
        reach = (-26, -34, -32, -20)[finger] + rng.normal(0, 2)
        x = x0 + side * np.linspace(reach, 75, 16)
        y = y0 + 17.0 * (1.5 - finger) + tilt * (x - x0) * side
        # Fingers are stiff: they follow the face's outline only roughly.
        z = np.maximum.accumulate(front(x, y)[::-1])[::-1] + 9
        z = np.convolve(np.pad(z, 3, mode="edge"), np.full(7, 1 / 7), mode="valid")
        skin = np.array(person.skin_rgb) * rng.uniform(0.92, 1.04)
        fingers.append(tube(np.stack([x, y, z], axis=1), np.linspace(7.5, 9.5, 16), skin))
    return merge_meshes(fingers)


OCCLUSIONS: Mapping[str, Callable[[np.random.Generator, Person, Front], ColoredMesh]] = {
    "EYE": partial(_hand, centre=(_EYE_X_MM, _EYE_Y_MM)),
    "MOUTH": partial(_hand, centre=(8.0, -34.0)),
    "EYEGLASSES": _eyeglasses,
    "HAIR": _hair,
}
