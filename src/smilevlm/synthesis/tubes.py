"""Things before a face, made of tubes: fingers, strands of hair, the frame of eyeglasses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

_SIDES = 10


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
    return ColoredMesh(vertices=vertices, faces=_tube_faces(len(points)), colors=_tinted(color, len(vertices)))


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


def _tinted(color: np.ndarray, num_vertices: int) -> Float32[np.ndarray, "vert 3"]:
    return np.tile(np.asarray(color, np.float32), (num_vertices, 1))


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
