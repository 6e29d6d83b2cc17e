"""What hides a part of the face in Bosphorus' scans of type O: eyeglasses, hair, a hand on the eye or the mouth.

Everything is laid on the person's own surface: `front` says how far the face comes forward at a place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Int32

from smilevlm.synthesis.people import Person
from smilevlm.synthesis.scanner import ColoredMesh

Front = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""z in mm of the face's surface at (x, y) in the face frame."""

_EYE_X_MM, _EYE_Y_MM = 33.0, 40.0
_SIDES = 10
"""Of a tube."""


def tube(points: np.ndarray, radius: np.ndarray | float, color: np.ndarray) -> ColoredMesh:
    """A round tube of one `radius` (or one per point) along a line of two or more `points`, closed at both ends."""
    points = np.asarray(points, np.float64)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    # Any direction that no line of ours follows gives the two others.
    across = np.cross(along, [0.31, 0.47, 0.83])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(along, across)
    angle = 2 * np.pi * np.arange(_SIDES) / _SIDES
    ring = np.cos(angle)[:, None, None] * across + np.sin(angle)[:, None, None] * up
    wide = np.broadcast_to(np.asarray(radius, np.float64), len(points))
    rings = (points + ring * wide[:, None]).transpose(1, 0, 2).reshape(-1, 3)
    tips = np.stack([points[0] - along[0] * wide[0] / 2, points[-1] + along[-1] * wide[-1] / 2])
    vertices = np.concatenate([rings, tips]).astype(np.float32)
    colors = np.tile(np.asarray(color, np.float32), (len(vertices), 1))
    return ColoredMesh(vertices=vertices, faces=_tube_faces(len(points)), colors=colors)


def _tube_faces(num_points: int) -> Int32[np.ndarray, "face 3"]:
    number = np.arange(num_points * _SIDES).reshape(num_points, _SIDES)
    a, b = number[:-1], number[1:]
    next_a, next_b = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    sides = [np.stack([a, next_a, b], -1).reshape(-1, 3), np.stack([next_a, next_b, b], -1).reshape(-1, 3)]
    first, last = number[0], number[-1]
    tips = num_points * _SIDES + np.arange(2)
    caps = [
        np.stack([np.full(_SIDES, tips[0]), np.roll(first, -1), first], -1),
        np.stack([np.full(_SIDES, tips[1]), last, np.roll(last, -1)], -1),
    ]
    return np.concatenate([*sides, *caps]).astype(np.int32)


def merge_meshes(solids: list[ColoredMesh]) -> ColoredMesh:
    """Several as one."""
    starts = np.cumsum([0, *(len(solid.vertices) for solid in solids)])
    return ColoredMesh(
        vertices=np.concatenate([solid.vertices for solid in solids]),
        faces=np.concatenate([solid.faces + start for solid, start in zip(solids, starts[:-1], strict=True)]).astype(
            np.int32
        ),
        colors=np.concatenate([solid.colors for solid in solids]),
    )


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
