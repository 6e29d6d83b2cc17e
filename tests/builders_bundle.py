"""A bundle of a few thousand weights, as if trained: its running statistics have moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from smilevlm.geometry import NormaliseSettings
from smilevlm.models import (
    ConvTowerSettings,
    FusionSettings,
    ModelBundle,
    ModelSettings,
    ProjectorSettings,
    TrainingProvenance,
    build_model,
)
from smilevlm.models.clip_tower import ClipTowerSettings
from smilevlm.prompts import PromptEmbeddings
from smilevlm.store import PrepareSettings
from smilevlm.views import ViewSettings

DIM, SIZE = 12, 32
CLASSES = ("happy", "sad", "surprise")
TEXTS = ("a smile", "a grin", "Tränen", "a frown", "an open mouth")
OWNERS = ("happy", "happy", "sad", "sad", "surprise")


def tiny_bundle(
    *,
    fusion: str = "view_aware",
    norm: str = "batch",
    grid: int = 1,
    clip: Path | None = None,
    tuning: str = "full",
    size: int = SIZE,
    **changes,
) -> ModelBundle:
    """A bundle with a convolutional tower, or with that of a CLIP on disk."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = {
            "tower": "conv" if clip is None else "clip",
            "tower_settings": ConvTowerSettings(width=8, norm=norm, grid=grid)
            if clip is None
            else ClipTowerSettings(name=str(clip), tuning=tuning),
        }
        model = build_model(
            ModelSettings(
                embedding_dim=DIM,
                projector=ProjectorSettings(hidden_dim=16),
                fusion=FusionSettings(kind=fusion, hidden_dim=8),
                **tower,
            )
        )
        model.train()
        model(torch.rand(4, 3, 3, size, size), text=torch.rand(5, DIM))
    raw = np.random.default_rng(0).normal(size=(len(TEXTS), DIM)).astype(np.float32)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    values = {
        "model": model.eval(),
        "prompts": PromptEmbeddings(texts=TEXTS, classes=OWNERS, raw=raw, mean=raw.mean(axis=0)),
        "text_digest": "abc",
        "text_tower": "minilm",
        "classes": CLASSES,
        "prepare": PrepareSettings(views=ViewSettings(size=size), normalise=NormaliseSettings()),
        "temperature": 0.05,
        "synthetic": True,
        "trained_on": TrainingProvenance(
            manifest_hash="5a11", subjects=("F0001", "M0002"), layout="bu3dfe", digests=()
        ),
    }
    return ModelBundle(**(values | changes))


def random_views(batch: int = 4, views: int = 3, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (batch, views, size, size, 3), dtype=np.uint8)
