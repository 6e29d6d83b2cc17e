"""What a head model gives to synthesis: a surface with its regions, people, and facial actions that move them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import sparse

from smilevlm.synthesis.people import Person
from smilevlm.synthesis.population import DEFAULT, Population
from smilevlm.typing import Faces, Vertices

ARKIT_ACTIONS: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""Names of the facial actions that a rig may know; `Left` and `Right` are the person's own.

Source: Apple, ARFaceAnchor.BlendShapeLocation.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class RigSurface:
    """What all heads of a rig share. Positions are of its mean neutral face.

    Args:
        faces: Triangles, counter-clockwise seen from outside.
        coarse_faces: Fewer triangles on the same vertices, for a rig that has them.
        position_mm: Face frame, nose tip at the origin.
        nose_tip: Vertex number.
        landmarks: Vertex numbers of the usual 68 points; None where they are not known.
        eyes: Vertices of the eyeballs.
        inner: Vertices of teeth, gums and tongue.
        inside_mouth: Vertices of the skin behind the lips.
        lips, stubble: Share in [0, 1] per vertex.
    """

    faces: Faces
    coarse_faces: Faces | None
    position_mm: Vertices
    nose_tip: int
    landmarks: Int32[np.ndarray, " 68"] | None
    eyes: Bool[np.ndarray, " vert"]
    inner: Bool[np.ndarray, " vert"]
    inside_mouth: Bool[np.ndarray, " vert"]
    lips: Float32[np.ndarray, " vert"]
    stubble: Float32[np.ndarray, " vert"]

    @functools.cached_property
    def skin_average(self) -> sparse.csr_matrix:
        """One step of smoothing along the surface.

        Half of a vertex and half of its neighbours' mean, for the skin; teeth and eyeballs stay rigid.
        """
        num = len(self.position_mm)
        faces = self.faces
        pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        links = sparse.csr_matrix((np.ones(len(pairs), np.float32), (pairs[:, 0], pairs[:, 1])), shape=(num, num))
        links.data[:] = 1
        counts = np.asarray(links.sum(axis=1)).ravel()
        mean = sparse.diags_array(1 / np.maximum(counts, 1)) @ links
        rigid = self.eyes | self.inner | (counts == 0)
        own = np.where(rigid, 1.0, 0.5).astype(np.float32)
        average = sparse.diags_array(own) + sparse.diags_array(1 - own) @ mean
        return sparse.csr_matrix(average.astype(np.float32))


class Rig(Protocol):
    """A head model."""

    @property
    def name(self) -> str:
        """As tables and markers have it."""
        ...

    @property
    def surface(self) -> RigSurface: ...

    @property
    def facial_actions(self) -> tuple[str, ...]:
        """Those of `ARKIT_ACTIONS` that it can show."""
        ...

    @property
    def amplitudes(self) -> tuple[float, float]:
        """Between which factors on a full action people vary, so that faces are as strong as scanned ones."""
        ...

    @property
    def log_gain(self) -> float:
        """Logarithm of the factor that brings its full shapes to those of scanned faces, for the mean face family."""
        ...

    def draw_person(self, rng: np.random.Generator, *, sex: str, population: Population = DEFAULT) -> Person:
        """Draw a person whom the rig can show; `sex` is `F` or `M`. Habits cover all of `ARKIT_ACTIONS`."""
        ...

    def draw_rest(self, rng: np.random.Generator) -> dict[str, float]:
        """Weights of shapes of the rig's own that belong to no action: how one face is at rest. May be empty."""
        ...

    def draw_expression(self, rng: np.random.Generator, expression: str) -> dict[str, float]:
        """Weights of an expression as the rig's authors made it, not of actions. Empty where they made none."""
        ...

    def heads(self, person: Person, actions: Sequence[Mapping[str, float]]) -> Iterator[Vertices]:
        """Refined heads in mm in the face frame, the nose tip of the person's own neutral face at the origin.

        Args:
            person: Drawn by this rig.
            actions: Per head, weights of `facial_actions` and of the shapes of `draw_rest` and `draw_expression`; 1 is
                the rig's own full shape, and up to 1.4 is allowed. That the first is empty saves working out the
                neutral face twice.
        """
        ...


def shown_actions(rig: Rig, actions: Mapping[str, float]) -> dict[str, float]:
    """The actions that a rig knows: it shows the face without the others."""
    return {name: value for name, value in actions.items() if name in rig.facial_actions}
