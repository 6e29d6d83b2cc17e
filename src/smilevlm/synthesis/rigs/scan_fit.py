"""Facial actions of one rig as combinations of another's components of expression, learned from scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from smilevlm.synthesis.people import action_stem
from smilevlm.synthesis.rigs.blendshapes import Displacements, weighted_sum
from smilevlm.synthesis.rigs.rig import Rig, RigSurface
from smilevlm.synthesis.rigs.transfer import Registration, outer_skin
from smilevlm.synthesis.scan_setup import rotation_from_angles
from smilevlm.typing import Vertices

_RIDGE = 0.3
"""Mean squared weight against mean squared error in mm, as if 68 points had been seen."""
_POINTS = 68
_FACE_BEHIND_NOSE_MM = 90.0
_GAZE_DEG: Mapping[str, tuple[float, float]] = {
    # yaw to the person's left and pitch downward of a full look
    "eyeLookUpLeft": (0, -22), "eyeLookUpRight": (0, -22), "eyeLookDownLeft": (0, 26), "eyeLookDownRight": (0, 26),
    "eyeLookInLeft": (-28, 0), "eyeLookOutLeft": (28, 0), "eyeLookInRight": (28, 0), "eyeLookOutRight": (-28, 0),
}  # fmt: skip
_LEAST_SHOWN = 0.5
"""Of a carried displacement, at its peak: an action of which less comes through would not look like itself."""
_PEAK = 99.7
"""Percentile: single vertices do not count."""
_NOT_CARRIED = ("tongueOut",)
FULL_MM: Mapping[str, float] = {
    "browDown": 6.2, "browInnerUp": 6.1, "browOuterUp": 8.4, "cheekPuff": 14.0, "cheekSquint": 5.9, "eyeBlink": 9.0,
    "eyeSquint": 3.5, "eyeWide": 3.4, "jawForward": 11.0, "jaw": 8.8, "jawOpen": 41.5, "mouthClose": 41.0,
    "mouthDimple": 8.2, "mouthFrown": 5.8, "mouthFunnel": 11.7, "mouth": 18.6, "mouthLowerDown": 4.4,
    "mouthPress": 4.1, "mouthPucker": 12.0, "mouthRollLower": 12.1, "mouthRollUpper": 11.1, "mouthShrugLower": 11.0,
    "mouthShrugUpper": 5.9, "mouthSmile": 15.5, "mouthStretch": 10.0, "mouthUpperUp": 8.3, "noseSneer": 10.0,
}  # fmt: skip
"""How far the visible skin moves at an action's full shape, at its peak: means over four people of ICT-FaceKit, whose
shapes were made after scans of people."""
SCALE_LIMITS = (0.6, 2.0)


def fit_actions(
    donor: Rig,
    registration: Registration,
    components_mm: Float32[np.ndarray, "component vert 3"],
    regions: Sequence[range],
) -> Displacements:
    """The donor's facial actions on the registered surface, as strong as scanned faces show them.

    Those that the components hardly show are left out.

    Args:
        donor: Rig whose actions these are, at its own full shape.
        registration: From its surface to the components'.
        components_mm: Displacement at weight one.
        regions: Components of the left eye, of the right eye, of the mouth and of the tongue.
    """
    surface = registration.target
    mean = donor.surface.position_mm
    fit = _RegionFit(surface, components_mm, regions)
    found: dict[str, np.ndarray] = {}
    names = [name for name in donor.facial_actions if name not in _NOT_CARRIED]
    for name, moved in zip(names, _mean_displacements(donor, names), strict=True):
        assert moved.shape == mean.shape
        wanted = registration.carry(moved)
        vector = fit.fitted(name, wanted)
        if fit.share_shown(vector, wanted) < _LEAST_SHOWN:
            continue
        vector = vector * fit.scale_to_full(name, vector)
        if name in _GAZE_DEG:
            vector = vector + _turned_eye(surface, name)
        found[name] = vector.astype(np.float32)
    return Displacements(names=tuple(found), vectors_mm=np.stack(list(found.values())))


def _mean_displacements(donor: Rig, names: Sequence[str]) -> list[Vertices]:
    """What each action does, averaged over a few people of the donor."""
    people = [donor.draw_person(np.random.default_rng([number]), sex="FM"[number % 2]) for number in range(4)]
    poses = [{}, *({name: 1.0} for name in names)]
    total: list[Vertices] = []
    for person in people:
        heads = [head / np.float32(person.size) for head in donor.heads(person, poses)]
        moved = [(head - heads[0]) / np.float32(len(people)) for head in heads[1:]]
        total = [a + b for a, b in zip(total, moved, strict=True)] if total else moved
    return total


@dataclass(frozen=True, kw_only=True, eq=False)
class _Regression:
    """The weighted equations of one region.

    Args:
        points: Vertex numbers; landmarks stand there twice.
        root: Square root of each point's weight.
        basis: The region's components at weight one, mm.
        matrix: These at the weighted points.
        gram: Of the matrix, with the ridge.
    """

    points: Int64[np.ndarray, " point"]
    root: Float64[np.ndarray, "point 1"]
    basis: Float32[np.ndarray, "component vert 3"]
    matrix: Float64[np.ndarray, "component coordinate"]
    gram: Float64[np.ndarray, "component component"]


class _RegionFit:
    """Ridge regression of a displacement onto the components of the action's region."""

    def __init__(self, surface: RigSurface, components_mm: np.ndarray, regions: Sequence[range]) -> None:
        left, right, mouth, _ = regions
        self._regions = {"left": [*left], "right": [*right], "both": [*left, *right], "mouth": [*mouth]}
        self._components = components_mm
        front = surface.position_mm[:, 2] > -_FACE_BEHIND_NOSE_MM
        self._seen = outer_skin(surface) & front
        assert surface.landmarks is not None
        self._landmarks = surface.landmarks
        self._problems: dict[str, _Regression] = {}

    def share_shown(self, fitted_mm: Vertices, wanted_mm: Vertices) -> float:
        """How much of a wanted displacement of the visible face is there, by the peaks of both."""
        return self._peak(fitted_mm) / max(self._peak(wanted_mm), 1e-9)

    def scale_to_full(self, action: str, fitted_mm: Vertices) -> np.float32:
        """Factor on a displacement that makes its peak that of `FULL_MM`, within limits."""
        full = FULL_MM.get(action_stem(action))
        if full is None:
            return np.float32(1)
        return np.float32(np.clip(full / max(self._peak(fitted_mm), 1e-9), *SCALE_LIMITS).round(3))

    def _peak(self, moved_mm: Vertices) -> float:
        return float(np.percentile(np.linalg.norm(moved_mm[self._seen], axis=1), _PEAK))

    def fitted(self, action: str, wanted_mm: Vertices) -> Vertices:
        """The displacement that the components of the action's region make of a wanted one."""
        problem = self._problem(_region(action))
        target = (wanted_mm[problem.points] * problem.root).ravel()
        weights = np.linalg.solve(problem.gram, problem.matrix @ target)
        # Rounded, so that the bits do not depend on how many cores solved it.
        return weighted_sum(np.round(weights, 4).astype(np.float32), problem.basis)

    def _problem(self, region: str) -> _Regression:
        """Of a region; made once, for it costs more than solving it."""
        if region not in self._problems:
            basis = self._components[self._regions[region]]
            moves = self._seen & basis.any(axis=(0, 2))
            dense = np.flatnonzero(moves)
            landmarks = self._landmarks[moves[self._landmarks]]
            # Half of the weight lies on the landmarks, half on all of the region's skin.
            points = np.concatenate([dense, landmarks])
            share = np.concatenate([np.full(len(dense), 1 / len(dense)), np.full(len(landmarks), 1 / len(landmarks))])
            root = np.sqrt(share * _POINTS / 2).astype(np.float64)[:, None]
            matrix = (basis[:, points] * root).reshape(len(basis), -1)
            gram = matrix @ matrix.T + _RIDGE * np.eye(len(basis))
            self._problems[region] = _Regression(points=points, root=root, basis=basis, matrix=matrix, gram=gram)
        return self._problems[region]


def _region(action: str) -> str:
    stem = action_stem(action)
    if not stem.startswith(("brow", "eye")):
        return "mouth"
    if stem == action:
        return "both"
    return "left" if action.endswith("Left") else "right"


def _turned_eye(surface: RigSurface, action: str) -> Vertices:
    """The displacement of one eyeball, which turns about its middle."""
    side = 1 if action.endswith("Left") else -1
    ball = surface.eyes & (surface.position_mm[:, 0] * side > 0)
    moved = np.zeros_like(surface.position_mm)
    if ball.any():
        yaw, pitch = _GAZE_DEG[action]
        points = surface.position_mm[ball]
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        moved[ball] = (points - middle) @ rotation_from_angles(yaw, pitch, 0.0).T - (points - middle)
    return moved.astype(np.float32)
