"""Surfaces with a known truth for the geometry and rendering tests: never a real face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from smilevlm.geometry import Mesh


def height_map(
    height: Callable[[np.ndarray, np.ndarray], np.ndarray], *, half: float = 60.0, step: float = 3.0
) -> Mesh:
    """The surface z = height(x, y) over a square, as triangles that face +z."""
    ticks = np.linspace(-half, half, round(2 * half / step) + 1)
    x, y = np.meshgrid(ticks, ticks)
    vertices = np.stack([x, y, height(x, y)], axis=-1).reshape(-1, 3).astype(np.float32)
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (index[r, k].ravel() for r, k in (
        (slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(1, None)), (slice(1, None), slice(None, -1)),
    ))  # fmt: skip
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    return Mesh(vertices=vertices, faces=faces)


def split_in_four(mesh: Mesh) -> Mesh:
    """The same surface with each triangle cut at its edges' middles."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    num = mesh.num_faces
    vertices = np.concatenate([a, b, c, (a + b) / 2, (b + c) / 2, (c + a) / 2])
    k = [np.arange(num) + i * num for i in range(6)]
    triples = ((0, 3, 5), (1, 4, 3), (2, 5, 4), (3, 4, 5))
    faces = np.concatenate([np.stack([k[i] for i in triple], 1) for triple in triples])
    return Mesh(vertices=vertices.astype(np.float32), faces=faces.astype(np.int32))


def rotation(*, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Degrees about +y, then +x, then +z; a positive yaw turns +z toward +x."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def angles_of(matrix: np.ndarray) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of a matrix that `rotation` could have made."""
    pitch = np.arcsin(np.clip(matrix[2, 1], -1, 1))
    yaw = np.arctan2(-matrix[2, 0], matrix[2, 2])
    roll = np.arctan2(-matrix[0, 1], matrix[1, 1])
    return tuple(float(np.rad2deg(angle)) for angle in (yaw, pitch, roll))


def moved(mesh: Mesh, turn: np.ndarray | None = None, offset: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    """Every point p at turn @ p + offset, in float64 arithmetic of its own."""
    turn = np.eye(3) if turn is None else turn

    def move(points: np.ndarray) -> np.ndarray:
        return (points.astype(np.float64) @ turn.T + offset).astype(np.float32)

    return replace(
        mesh,
        vertices=move(mesh.vertices),
        landmarks={name: move(point[None])[0] for name, point in mesh.landmarks.items()},
    )


def as_points(mesh: Mesh) -> Mesh:
    return Mesh(vertices=mesh.vertices)
