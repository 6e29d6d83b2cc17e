"""The image side of SMILE-VLM: views to embeddings, embeddings to one fused embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import nn

from smilevlm.errors import SettingsError
from smilevlm.models.clip_tower import ClipTowerSettings
from smilevlm.models.conv_tower import ConvTowerSettings
from smilevlm.models.fusion import Fusion, FusionSettings, build_fusion
from smilevlm.models.projector import Projector, ProjectorSettings
from smilevlm.models.timm_tower import TimmTowerSettings
from smilevlm.models.towers import TOWERS, CustomTowerSettings, ImageTower
from smilevlm.models.tuning import keep_frozen_in_eval


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Everything that fixes the model's architecture.

    Args:
        embedding_dim: Width of the embedding; that of the text tower, 384 for MiniLM.
        tower: Kind of image tower, a key of `TOWERS`.
        tower_settings: Of that kind.
        projector: Depth and width of the projector.
        fusion: Kind and size of the fusion.
        image_mean: Subtracted per colour channel from images scaled to 0..1; pretrained towers want their own.
        image_std: Divided by afterwards; above 0.

    Raises:
        SettingsError: The tower is not known, its settings are another tower's, or a value is outside its range.
    """

    embedding_dim: int = 384
    tower: str = "conv"
    tower_settings: ConvTowerSettings | ClipTowerSettings | TimmTowerSettings | CustomTowerSettings = field(
        default_factory=ConvTowerSettings
    )
    projector: ProjectorSettings = field(default_factory=ProjectorSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    def __post_init__(self) -> None:
        if self.embedding_dim < 1:
            raise SettingsError(f"embedding_dim must be at least 1, got {self.embedding_dim}")
        if self.tower not in TOWERS:
            raise SettingsError(f"no image tower is called {self.tower!r}; there are {', '.join(sorted(TOWERS))}")
        expected = TOWERS[self.tower].settings
        if not isinstance(self.tower_settings, expected):
            given = type(self.tower_settings).__name__
            raise SettingsError(f"tower {self.tower!r} takes {expected.__name__}, got {given}")
        if min(self.image_std) <= 0:
            raise SettingsError(f"image_std must be above 0, got {self.image_std}")


class ModelOutput(NamedTuple):
    """Embeddings of a batch: per view, fused, and the weight of each view in the fused one."""

    z_views: Float[torch.Tensor, "batch view dim"]
    z_fused: Float[torch.Tensor, "batch dim"]
    view_weights: Float[torch.Tensor, "batch view"]


class SmileVlm(nn.Module):
    """Tower f_v and projector g_v, shared by all views, and the fusion.

    Args:
        tower: Image tower, an `nn.Module`.
        projector: From the tower's features to the embedding.
        fusion: Weighs the views.
        settings: What the parts were built from; kept for the checkpoint.

    Raises:
        SettingsError: The parts' widths do not fit each other.
    """

    image_mean: torch.Tensor
    image_std: torch.Tensor

    def __init__(self, tower: ImageTower, projector: Projector, fusion: Fusion, settings: ModelSettings) -> None:
        super().__init__()
        if not (isinstance(tower, nn.Module) and hasattr(tower, "feature_dim") and hasattr(tower, "architecture")):
            raise SettingsError(
                "a tower is an nn.Module with the attributes feature_dim and architecture (may be None)"
            )
        if tower.feature_dim != projector.in_dim or projector.out_dim != fusion.dim:
            raise SettingsError(
                f"widths do not fit: tower gives {tower.feature_dim}, projector takes {projector.in_dim} and gives "
                f"{projector.out_dim}, fusion takes {fusion.dim}"
            )
        self.settings = settings
        self.tower = tower
        self.projector = projector
        self.fusion = fusion
        keep_frozen_in_eval(tower)
        self.register_buffer("image_mean", torch.tensor(settings.image_mean).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(settings.image_std).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> SmileVlm:
        """Training or evaluation mode; frozen parts of the tower stay in evaluation mode."""
        super().train(mode)
        keep_frozen_in_eval(self.tower)
        return self

    def tower_parameters(self) -> list[nn.Parameter]:
        """The tower's weights that train."""
        return [weight for weight in self.tower.parameters() if weight.requires_grad]

    def new_parameters(self) -> list[nn.Parameter]:
        """The weights that train and come with no tower: projector and fusion."""
        parts = (self.projector, self.fusion)
        return [weight for part in parts for weight in part.parameters() if weight.requires_grad]

    def encode_features(
        self,
        images: Float[torch.Tensor, "batch view 3 height width"] | UInt8[torch.Tensor, "batch view 3 height width"],
    ) -> Float[torch.Tensor, "batch view feature"]:
        """The tower's features of every view of every sample, in one pass: f_v(x).

        Args:
            images: RGB, row 0 on top: uint8 from 0 to 255, or floating point from 0 to 1. The model normalises them.

        Raises:
            SettingsError: Not images of three channels, or of a size that the tower does not take.
        """
        if images.ndim != 5 or images.shape[2] != 3:
            raise SettingsError(f"images must be (batch, view, 3, height, width), got {tuple(images.shape)}")
        flat = images.flatten(0, 1)
        if not flat.is_floating_point():
            if flat.dtype != torch.uint8:
                raise SettingsError(f"images must be uint8 or floating point, got {flat.dtype}")
            flat = flat.to(self.image_mean.dtype) / 255
        # (flat - mean) / std in one pass over the images.
        normalised = torch.addcmul(-self.image_mean / self.image_std, flat, 1 / self.image_std)
        return self.tower(normalised).unflatten(0, images.shape[:2])

    def project(self, features: Float[torch.Tensor, "batch view feature"]) -> Float[torch.Tensor, "batch view dim"]:
        """Features to embeddings: g_v(h). All rows at once, since in training the statistics are those of all views."""
        return self.projector(features.flatten(0, 1)).unflatten(0, features.shape[:2])

    def encode_views(
        self,
        images: Float[torch.Tensor, "batch view 3 height width"] | UInt8[torch.Tensor, "batch view 3 height width"],
    ) -> Float[torch.Tensor, "batch view dim"]:
        """Embed every view of every sample: z = g_v(f_v(x)); takes and raises what `encode_features` does.

        Source: SMILE-VLM, III-A.
        """
        return self.project(self.encode_features(images))

    def fuse(
        self,
        z_views: Float[torch.Tensor, "batch view dim"],
        mask: Bool[torch.Tensor, "batch view"] | None = None,
        text: Float[torch.Tensor, "prompt dim"] | None = None,
    ) -> tuple[Float[torch.Tensor, "batch dim"], Float[torch.Tensor, "batch view"]]:
        """Fused embedding and view weights; see `Fusion.forward`."""
        return self.fusion(z_views, mask, text)

    def forward(
        self,
        images: Float[torch.Tensor, "batch view 3 height width"] | UInt8[torch.Tensor, "batch view 3 height width"],
        mask: Bool[torch.Tensor, "batch view"] | None = None,
        text: Float[torch.Tensor, "prompt dim"] | None = None,
    ) -> ModelOutput:
        """Embed the views and fuse them.

        Args:
            images: As `encode_features` takes them.
            mask: True where a view is there; None when all are.
            text: Embedded candidate prompts, for the text-guided fusion alone.
        """
        z_views = self.encode_views(images)
        z_fused, view_weights = self.fuse(z_views, mask, text)
        return ModelOutput(z_views, z_fused, view_weights)


def build_model(
    settings: ModelSettings | None = None,
    architecture: Mapping[str, Any] | None = None,
    *,
    tower: ImageTower | None = None,
) -> SmileVlm:
    """A model with fresh weights, drawn from torch's global generator, and those that its tower comes with.

    Args:
        settings: Of the model.
        architecture: `ImageTower.architecture` from a checkpoint, whose weights will follow: then none are fetched for
            the tower. None for a new model.
        tower: A tower of one's own in the place of the settings', for training loops of one's own: such a model
            cannot be loaded from a checkpoint unless the tower is added to `TOWERS`.

    Raises:
        SettingsError: The parts cannot be built so.
        CheckpointError: The tower's weights are missing.
        MissingExtraError: The tower needs a library that is not installed.
    """
    settings = settings or ModelSettings()
    tower = tower or TOWERS[settings.tower].build(settings.tower_settings, architecture)
    return SmileVlm(
        tower=tower,
        projector=Projector(tower.feature_dim, settings.embedding_dim, settings.projector),
        fusion=build_fusion(settings.embedding_dim, settings.fusion),
        settings=settings,
    )
