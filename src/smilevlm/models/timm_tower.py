"""Image towers of the library timm, by name. timm asks for torchvision and is an extra of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import nn

from smilevlm.errors import CheckpointError, MissingExtraError, SettingsError
from smilevlm.models.tuning import train_only

TimmTuning = Literal["full", "frozen"]


@dataclass(frozen=True, kw_only=True)
class TimmTowerSettings:
    """Which network, and what of it trains.

    Images are normalised by the model's settings: give it the mean and the standard deviation that the network was
    trained with, `timm.create_model(name).pretrained_cfg`.

    Args:
        name: Of timm's own list, such as `resnet18.a1_in1k`; a folder or hub address is not taken, since a saved model
            could not be built again without it.
        pretrained: Fetch the published weights when a new model is built; otherwise they are drawn at random.
        image_size: Side in pixels, for networks that are built for one size; None for the size of the list.
        tuning: Whether all of it trains or nothing.

    Raises:
        SettingsError: A value is not known or outside its range.
    """

    name: str = "resnet18.a1_in1k"
    pretrained: bool = True
    image_size: int | None = None
    tuning: TimmTuning = "full"

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name or "/" in self.name:
            raise SettingsError(f"name of the timm tower is {self.name!r}; expected a name of timm's own list")
        if self.image_size is not None and self.image_size < 1:
            raise SettingsError(f"image_size of the timm tower must be at least 1, got {self.image_size}")
        if self.tuning not in get_args(TimmTuning):
            raise SettingsError(f"tuning of the timm tower is {self.tuning!r}; expected 'full' or 'frozen'")


class TimmTower(nn.Module):
    """A network of timm without its classifier.

    Its batch normalisation, where it has one, is timm's own: each process normalises by its own samples.

    Args:
        network: Gives (image, feature) from (image, 3, height, width).
        feature_dim: Width of the features.
        settings: What it was made from.
    """

    def __init__(self, network: nn.Module, feature_dim: int, settings: TimmTowerSettings) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.architecture = {"name": settings.name, "image_size": settings.image_size}
        self.network = network
        train_only(self, [self] if settings.tuning == "full" else [])

    def forward(self, images: Float[torch.Tensor, "image 3 height width"]) -> Float[torch.Tensor, "image feature_dim"]:
        """Features of normalised images.

        Raises:
            SettingsError: The network does not take this size.
        """
        try:
            return self.network(images)
        except AssertionError as error:
            # This is how timm refuses a size.
            raise SettingsError(f"{self.architecture['name']} refuses the images: {error}; set image_size") from None


def build_timm_tower(settings: TimmTowerSettings, architecture: Mapping[str, Any] | None = None) -> TimmTower:
    """A tower with published or random weights, or a bare one for weights that follow.

    Args:
        settings: Which network.
        architecture: `TimmTower.architecture` of a saved model, with which nothing is fetched; None for a new model.

    Raises:
        CheckpointError: timm has no such network, or its weights cannot be fetched.
        MissingExtraError: timm is not installed.
    """
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(f"the tower 'timm' needs timm: pip install 'smilevlm[timm]' ({error})") from None
    size = {} if settings.image_size is None else {"img_size": settings.image_size}
    pretrained = settings.pretrained and architecture is None
    try:
        # Weights that are overwritten at once must not move the caller's random numbers.
        with torch.random.fork_rng(devices=[], enabled=pretrained):
            network = timm.create_model(settings.name, pretrained=pretrained, num_classes=0, **size)
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(f"{settings.name}: timm cannot build it: {' '.join(str(error).split())}") from error
    # Some networks end in a layer that is wider than what they call their features.
    feature_dim = getattr(network, "head_hidden_size", None) or network.num_features
    return TimmTower(network, feature_dim, settings)
