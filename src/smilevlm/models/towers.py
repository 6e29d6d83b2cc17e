"""Image towers, an image to a feature vector: what they have in common, and the list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float

from smilevlm.models.clip_tower import ClipTowerSettings, build_clip_tower
from smilevlm.models.conv_tower import ConvTowerSettings, build_conv_tower
from smilevlm.models.timm_tower import TimmTowerSettings, build_timm_tower


@dataclass(frozen=True, kw_only=True)
class CustomTowerSettings:
    """Base class for the settings of a tower of one's own, see `TOWERS`."""


TowerSettings = ConvTowerSettings | ClipTowerSettings | TimmTowerSettings | CustomTowerSettings


@runtime_checkable
class ImageTower(Protocol):
    """An `nn.Module` from normalised images to features."""

    @property
    def feature_dim(self) -> int:
        """Width of the features."""
        ...

    @property
    def architecture(self) -> Mapping[str, Any] | None:
        """What a checkpoint must hold beside the settings to build the tower again; JSON values."""
        ...

    def __call__(
        self, images: Float[torch.Tensor, "image 3 height width"]
    ) -> Float[torch.Tensor, "image feature_dim"]: ...


class TowerKind(NamedTuple):
    """How one kind of tower is described, and built: from settings, and from `ImageTower.architecture` or None."""

    settings: type[TowerSettings]
    build: Callable[[Any, Mapping[str, Any] | None], ImageTower]


TOWERS: dict[str, TowerKind] = {
    "conv": TowerKind(ConvTowerSettings, build_conv_tower),
    "clip": TowerKind(ClipTowerSettings, build_clip_tower),
    "timm": TowerKind(TimmTowerSettings, build_timm_tower),
}
"""Every image tower by the name that settings and checkpoints use. A tower of one's own is added here."""
