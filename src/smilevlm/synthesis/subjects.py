"""A synthetic subject: a person with the head and the skin that every scan of them shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.people import Person
from smilevlm.synthesis.population import Population
from smilevlm.synthesis.skin import skin_colors
from smilevlm.typing import Vertices


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who is scanned.

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
