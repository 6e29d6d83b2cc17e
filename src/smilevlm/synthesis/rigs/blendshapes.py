"""A linear head model: a template, directions of identity, and named shapes that add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from smilevlm.synthesis.people import Person, draw_person
from smilevlm.synthesis.population import DEFAULT, Population
from smilevlm.synthesis.rigs.rig import ARKIT_ACTIONS, RigSurface
from smilevlm.threads import one_thread
from smilevlm.typing import Vertices

_MOST_DEVIATIONS = 2.5
_ANNY_SHAPE_SPREAD = 0.33
"""Populations give the shift of the mean face in `anny`'s units, whose people have this spread."""


@dataclass(frozen=True, kw_only=True)
class Displacements:
    """Shapes by name, as displacements from a template.

    Args:
        names: One per shape.
        vectors_mm: Displacement at weight 1.
    """

    names: tuple[str, ...]
    vectors_mm: Float32[np.ndarray, "shape vert 3"]

    def weighted(self, weights: Mapping[str, float]) -> Vertices:
        """The sum of shapes times weights, mm.

        Raises:
            KeyError: A name is unknown.
        """
        places = {name: place for place, name in enumerate(self.names)}
        values = np.zeros(len(self.names), np.float32)
        values[[places[name] for name in weights]] = list(weights.values())
        return weighted_sum(values, self.vectors_mm)


def weighted_sum(
    values: Float32[np.ndarray, " shape"], vectors_mm: Float32[np.ndarray, "shape vert 3"]
) -> Float32[np.ndarray, "vert 3"]:
    """Shapes times values, with the same bits whatever the number of cores."""
    import torch

    with one_thread():
        total = torch.from_numpy(values) @ torch.from_numpy(vectors_mm.reshape(len(values), 3 * vectors_mm.shape[1]))
    return total.numpy().reshape(vectors_mm.shape[1:])


class BlendshapeRig:
    """A rig of linear shapes.

    Args:
        name: As tables and markers have it.
        surface: Its position is the template.
        identity: Directions whose weights are N(0, 1), clipped at 2.5; may be empty.
        shapes: Facial actions by ARKit's names.
    """

    amplitudes = (0.8, 1.4)
    """With expressions drawn from half to full, faces are 0.4 to 1.4 of the rig's own full shape."""
    log_gain = 0.0

    def __init__(self, *, name: str, surface: RigSurface, identity: Displacements, shapes: Displacements) -> None:
        self.name = name
        self.surface = surface
        self.facial_actions = tuple(action for action in ARKIT_ACTIONS if action in shapes.names)
        self._identity = identity
        self._shapes = shapes

    def draw_person(self, rng: np.random.Generator, *, sex: str, population: Population = DEFAULT) -> Person:
        """See `Rig`; the directions of identity know neither sex nor age."""
        person = draw_person(rng, sex=sex, shape_changes=(), facial_actions=ARKIT_ACTIONS, population=population)
        names = self._identity.names
        own = np.clip(rng.normal(size=len(names)), -_MOST_DEVIATIONS, _MOST_DEVIATIONS) * population.shape_spread
        mean = population.mean_shape(names)
        shape = {name: float(value) + mean[name] / _ANNY_SHAPE_SPREAD for name, value in zip(names, own, strict=True)}
        return replace(person, shape=shape)

    def draw_rest(self, rng: np.random.Generator) -> dict[str, float]:
        """None: the rig has no shapes beside its actions."""
        return {}

    def draw_expression(self, rng: np.random.Generator, expression: str) -> dict[str, float]:
        """None: it has no expressions but those made of actions."""
        return {}

    def heads(self, person: Person, actions: Sequence[Mapping[str, float]]) -> Iterator[Vertices]:
        """See `Rig`."""
        neutral = self._neutral(person)
        neutral -= neutral[self.surface.nose_tip].copy()
        size = np.float32(person.size)
        for weights in actions:
            moved = self._shapes.weighted(weights) if weights else np.float32(0)
            yield (neutral + moved) * size

    def _neutral(self, person: Person) -> Vertices:
        return self.surface.position_mm + self._identity.weighted(person.shape)


def arkit_displacements(names: Sequence[str], vectors_mm: Float32[np.ndarray, "shape vert 3"]) -> Displacements:
    """Shapes of a rig by ARKit's names: `_L` and `_R` are `Left` and `Right`, halves of a whole action are added up.

    Shapes that ARKit does not know are left out.
    """
    spelled = {arkit_name(name): vector for name, vector in zip(names, vectors_mm, strict=True)}
    found: dict[str, np.ndarray] = {}
    for action in ARKIT_ACTIONS:
        halves = [spelled[f"{action}{side}"] for side in ("Left", "Right") if f"{action}{side}" in spelled]
        if action in spelled:
            found[action] = spelled[action]
        elif len(halves) == 2:
            found[action] = halves[0] + halves[1]
    vectors = np.stack(list(found.values())) if found else np.zeros((0, *vectors_mm.shape[1:]), np.float32)
    return Displacements(names=tuple(found), vectors_mm=vectors)


def arkit_name(name: str) -> str:
    """A name whose side is written `_L` or `_R` as ARKit writes it."""
    for ending, side in (("_L", "Left"), ("_R", "Right")):
        if name.endswith(ending):
            return name.removesuffix(ending) + side
    return name
