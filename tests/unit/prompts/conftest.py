from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest


class FakeTextTower:
    """A text tower without weights: a direction drawn from the text's hash."""

    def __init__(self, dim: int = 8, digest: str = "fake") -> None:
        self.dim = dim
        self.digest = digest
        self.asked: list[str] = []

    @property
    def token_limit(self) -> int:
        return 20

    def count_tokens(self, text: str) -> int:
        return len(text.split()) + 2

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            seed = int.from_bytes(hashlib.sha256((self.digest + text).encode()).digest()[:8], "big")
            direction = np.random.default_rng(seed).normal(size=self.dim)
            row[:] = direction / np.linalg.norm(direction)
        return rows


@pytest.fixture
def make_tower() -> type[FakeTextTower]:
    return FakeTextTower


@pytest.fixture
def tower() -> FakeTextTower:
    return FakeTextTower()
