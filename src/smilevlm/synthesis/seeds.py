"""Where the random numbers of a synthetic data set come from."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of two positive ones."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@dataclass(frozen=True, kw_only=True)
class SeedKey:
    """One sequence's or scan's place in a data set, on which all that is random about it depends.

    The layout is part of it: data sets of the same seed hold different people, so that one can test on one what was
    trained on another.

    Args:
        layout: Name of the layout.
        seed: Of the data set.
        person: Number of the person, from 0.
        sequence: Number of the sequence, or of the scan, within the person's.
    """

    layout: str
    seed: int
    person: int = 0
    sequence: int = 0

    def generator(self, purpose: str, frame: int = 0) -> np.random.Generator:
        """A generator for one purpose; its name is part of the bytes of every data set."""
        key = zlib.crc32(f"{self.layout}/{purpose}".encode())
        return np.random.default_rng([self.seed, key, self.person, self.sequence, frame])
