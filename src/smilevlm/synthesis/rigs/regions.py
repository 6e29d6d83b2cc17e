"""Regions of a head of any topology, found from the usual 68 landmarks of its mean neutral face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int32

from smilevlm.synthesis.anatomy import on_the_outside
from smilevlm.synthesis.rigs.rig import RigSurface
from smilevlm.typing import Faces, Vertices

_OUTER_LIPS, _INNER_LIPS = slice(48, 60), slice(60, 68)
_NOSE_BASE = 33
_LIP_RIM_MM = 1.5
_MOUTH_BELOW_MM, _MOUTH_ABOVE_MM = np.array([9.0, 20.0, 60.0]), np.array([9.0, 12.0, 3.0])
"""How far the inside of the mouth reaches beyond the lips."""
_BEHIND_NOSE_MM = 75.0


def rig_surface(
    *,
    position_mm: Vertices,
    faces: Faces,
    nose_tip: int,
    landmarks: Int32[np.ndarray, " 68"],
    eyes: Bool[np.ndarray, " vert"],
    inner: Bool[np.ndarray, " vert"],
    inside_mouth: Bool[np.ndarray, " vert"] | None = None,
) -> RigSurface:
    """A surface whose lips and stubble, and inside of the mouth if it is not given, are found by the landmarks.

    Args:
        position_mm: The mean neutral face, face frame, nose tip at the origin.
        faces: Triangles.
        nose_tip: Vertex number.
        landmarks: Vertex numbers of the usual 68 points.
        eyes: Vertices of the eyeballs.
        inner: Vertices of teeth, gums and tongue.
        inside_mouth: Vertices of the skin behind the lips.
    """
    skin = ~(eyes | inner)
    outside = np.zeros(len(skin), bool)
    outside[skin] = on_the_outside(position_mm[skin])
    points = position_mm[landmarks]
    if inside_mouth is None:
        inside_mouth = _behind_lips(position_mm, points) & skin & ~outside
    front = skin & outside & ~inside_mouth & (position_mm[:, 2] > -_BEHIND_NOSE_MM)
    lips = _lips(position_mm, points) * front
    return RigSurface(
        faces=faces,
        coarse_faces=None,
        position_mm=position_mm,
        nose_tip=nose_tip,
        landmarks=landmarks,
        eyes=eyes,
        inner=inner,
        inside_mouth=inside_mouth,
        lips=lips.astype(np.float32),
        stubble=(_stubble(position_mm, points) * front * (1 - lips)).astype(np.float32),
    )


def _behind_lips(position_mm: Vertices, points: Float32[np.ndarray, "68 3"]) -> Bool[np.ndarray, " vert"]:
    mouth = points[_OUTER_LIPS]
    low, high = mouth.min(axis=0) - _MOUTH_BELOW_MM, mouth.max(axis=0) + _MOUTH_ABOVE_MM
    return ((position_mm > low) & (position_mm < high)).all(axis=1)


def _lips(position_mm: Vertices, points: Float32[np.ndarray, "68 3"]) -> Float32[np.ndarray, " vert"]:
    """1 within the outline of the lips, seen from the front, falling to 0 over a rim around it."""
    outline = points[_OUTER_LIPS, :2]
    near = np.flatnonzero(position_mm[:, 2] > points[_OUTER_LIPS, 2].min() - 12)
    share = np.zeros(len(position_mm), np.float32)
    seen = position_mm[near, :2]
    distance = _distance_to_outline(seen, outline)
    share[near] = np.where(_within(seen, outline), 1, np.clip(1 - distance / _LIP_RIM_MM, 0, 1))
    return share


def _stubble(position_mm: Vertices, points: Float32[np.ndarray, "68 3"]) -> Float32[np.ndarray, " vert"]:
    """Below the nose, as wide as the jaw's outline is at the height of the mouth."""
    half_width = 0.9 * float(np.abs(points[[4, 12], 0]).mean())
    below = position_mm[:, 1] - points[_NOSE_BASE, 1]
    return np.clip(1 - np.maximum(np.abs(position_mm[:, 0]) - half_width, below) / 14, 0, 1)


def _within(
    points: Float32[np.ndarray, "point 2"], outline: Float32[np.ndarray, "corner 2"]
) -> Bool[np.ndarray, " point"]:
    """Which points lie within a closed outline, by the number of edges to the right of them."""
    start, end = outline, np.roll(outline, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], 1, end[:, 1] - start[:, 1])
    at_x = start[:, 0] + (y - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    return (crosses & (at_x > x)).sum(axis=1) % 2 == 1


def _distance_to_outline(
    points: Float32[np.ndarray, "point 2"], outline: Float32[np.ndarray, "corner 2"]
) -> Float32[np.ndarray, " point"]:
    start, along = outline, np.roll(outline, -1, axis=0) - outline
    offset = points[:, None] - start
    share = np.clip((offset * along).sum(axis=2) / np.maximum((along**2).sum(axis=1), 1e-9), 0, 1)
    return np.linalg.norm(offset - share[..., None] * along, axis=2).min(axis=1)
