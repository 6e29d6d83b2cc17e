"""Colours of the synthetic skin per vertex, so that texture views have something to show."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from smilevlm.synthesis.anatomy import Anatomy
from smilevlm.synthesis.people import Person


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
