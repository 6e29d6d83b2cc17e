"""A synthetic subject: a person with the head and the skin that every scan of them shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from smilevlm.synthesis.anatomy import Anatomy, anatomy
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.people import Person
from smilevlm.synthesis.population import Population
from smilevlm.typing import Vertices


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One subject.

    Args:
        person: Shape, skin and habits.
        colors: RGB per vertex of the refined head, 0 to 255.
    """

    person: Person
    colors: Float32[np.ndarray, "vert 3"]

    def heads(
        self, actions: Sequence[Mapping[str, float]], *, origin_mm: Float32[np.ndarray, " 3"] | None = None
    ) -> Iterator[Vertices]:
        """Refined heads of this person's size in the face frame, millimetres.

        Args:
            actions: One mapping of facial actions to [0, 1] per head.
            origin_mm: Of the face frame on the unscaled head, see `neutral_nose_mm`; None for each head's own nose tip.
        """
        for head in head_model().heads_mm(self.person, actions):
            origin = head[anatomy().nose_tip] if origin_mm is None else origin_mm
            yield ((head - origin) * np.float32(self.person.size)).astype(np.float32)

    def neutral_nose_mm(self) -> Float32[np.ndarray, " 3"]:
        """The nose tip of the neutral face on the unscaled head: the origin of all frames of a sequence."""
        model, person = head_model(), self.person
        neutral = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=[{}])[0]
        return (model.topology.refine[anatomy().nose_tip] @ neutral).astype(np.float32).reshape(3)


def draw_subject(rng: np.random.Generator, *, sex: str, population: Population) -> Subject:
    """Draw one subject of a population from the person's own generator; `sex` is `F` or `M`."""
    person = head_model().draw_person(rng, sex=sex, population=population)
    return Subject(person=person, colors=skin_colors(rng, person, anatomy()))


def skin_colors(rng: np.random.Generator, person: Person, anatomy: Anatomy) -> Float32[np.ndarray, "vert 3"]:
    """RGB per vertex of the refined head, 0 to 255: skin with blotches, lips, brows, eyes, stubble.

    `rng` is the person's own generator: a person keeps their freckles from scan to scan.
    """
    base = np.array(person.skin_rgb, np.float32)
    colors = np.tile(base, (len(anatomy.position_mm), 1))
    colors *= (1 + 0.02 * _smooth_noise(rng, anatomy.position_mm, 9.0) + 0.012 * rng.normal(size=len(colors)))[:, None]
    red = np.array([0.10, -0.06, -0.05], np.float32) * base.mean()
    colors += anatomy.cheeks[:, None] * red * float(rng.uniform(0.2, 1.2))
    lips = np.array([base[0] * 0.82, base[1] * 0.55, base[2] * 0.58], np.float32)
    colors = _blend(colors, lips, anatomy.lips * (0.4 + 0.6 * person.lip_redness))
    brow = base * 0.25
    hair = np.clip(0.6 + 0.5 * _smooth_noise(rng, anatomy.position_mm, 2.5), 0.2, 1)
    colors = _blend(colors, brow, anatomy.brows * person.brow_darkness * hair)
    colors = _blend(colors, base * 0.5, anatomy.stubble * person.stubble)
    colors = _blend(colors, np.array([238, 234, 228], np.float32), anatomy.eyes)
    iris = np.array([(60, 38, 24), (70, 92, 110), (84, 74, 44)], np.float32)[rng.integers(3)]
    colors = _blend(colors, iris, anatomy.iris)
    return np.clip(colors, 0, 255).astype(np.float32)


def _blend(colors: np.ndarray, target: np.ndarray, share: np.ndarray) -> np.ndarray:
    return colors * (1 - share[:, None]) + target * share[:, None]


def _smooth_noise(rng: np.random.Generator, position_mm: np.ndarray, wavelength_mm: float) -> np.ndarray:
    """A sum of random plane waves of about this length, unit variance."""
    num_waves = 24
    direction = rng.normal(size=(num_waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    frequency = 2 * np.pi / (wavelength_mm * rng.uniform(0.6, 1.6, num_waves))
    phase = rng.uniform(0, 2 * np.pi, num_waves)
    waves = np.sin(position_mm.astype(np.float64) @ (direction * frequency[:, None]).T + phase)
    return (waves.sum(axis=1) * np.sqrt(2 / num_waves)).astype(np.float32)
