"""The image half of a CLIP as a tower: from the hub or a folder for a new model, else from the checkpoint alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import nn

from smilevlm.errors import SettingsError
from smilevlm.models.tuning import Tuning, add_lora, train_only
from smilevlm.pretrained import load_clip_vision

if TYPE_CHECKING:
    from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

CLIP_IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""`ModelSettings.image_mean` of the published CLIPs."""
CLIP_IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
"""`ModelSettings.image_std` of the published CLIPs."""
_ATTENTION_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "projection_dim",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
)
_ARCHITECTURE_FIELDS = (*_SIZES, "hidden_act", "layer_norm_eps", "attention_dropout")

ClipFeatures = Literal["projected", "pooled"]


@dataclass(frozen=True, kw_only=True)
class ClipTowerSettings:
    """Which CLIP, what of it is used, and what of it trains.

    Images are normalised by the model's settings: give it `CLIP_IMAGE_MEAN` and `CLIP_IMAGE_STD`.

    Args:
        name: Hub id or local folder of a CLIP in the format of transformers. It is read when a new model is built;
            a saved model needs it no more.
        features: `projected` into the joint space of image and text, or the wider `pooled` ones before it.
        tuning: What trains: all of it, nothing, the last blocks with the layer norm and the projection after them, or
            low-rank adapters beside the attention's four linear layers in every block. The rest is frozen.
        num_blocks: Of `last_blocks`, at least 1.
        lora_rank: Of the adapters, at least 1.
        lora_alpha: The adapters are scaled by lora_alpha / lora_rank; above 0.
        lora_dropout: Of the adapters' input while training, in [0, 1).
        checkpointing: Compute a block's activations again in the backward pass instead of keeping them: less memory,
            about a third more time.

    Raises:
        SettingsError: A value is not known or outside its range.
    """

    name: str = "openai/clip-vit-base-patch32"
    features: ClipFeatures = "projected"
    tuning: Tuning = "full"
    num_blocks: int = 2
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise SettingsError("name of the CLIP tower is empty; expected a hub id or a local folder")
        for field, choices in (("features", get_args(ClipFeatures)), ("tuning", get_args(Tuning))):
            if getattr(self, field) not in choices:
                raise SettingsError(f"{field} of the CLIP tower is {getattr(self, field)!r}; expected one of {choices}")
        for field in ("num_blocks", "lora_rank"):
            if getattr(self, field) < 1:
                raise SettingsError(f"{field} of the CLIP tower must be at least 1, got {getattr(self, field)}")
        if not self.lora_alpha > 0 or not 0 <= self.lora_dropout < 1:
            raise SettingsError(
                f"lora_alpha must be above 0 and lora_dropout in [0, 1), got {self.lora_alpha} and {self.lora_dropout}"
            )


class ClipTower(nn.Module):
    """The vision transformer of a CLIP, with its projection or without.

    Args:
        model: Whose weights are used; its unused parts are dropped.
        settings: What is used and what trains.

    Raises:
        SettingsError: More blocks are to train than there are.
        MissingExtraError: Adapters are asked for and peft is not installed.
    """

    def __init__(self, model: CLIPVisionModelWithProjection, settings: ClipTowerSettings) -> None:
        super().__init__()
        config = model.config
        self.architecture = {field: getattr(config, field) for field in _ARCHITECTURE_FIELDS}
        # The annotations allow for more, the constructor of the embeddings does not.
        assert isinstance(config.image_size, int)
        assert isinstance(config.patch_size, int)
        self.image_size, self.patch_size = config.image_size, config.patch_size
        self.vision = model.vision_model
        projected = settings.features == "projected"
        self.feature_dim = model.visual_projection.out_features if projected else config.hidden_size
        self.projection = model.visual_projection if projected else nn.Identity()
        self._tune(settings)
        if settings.checkpointing:
            _checkpoint_blocks(self.vision)
        self.train()

    def _tune(self, settings: ClipTowerSettings) -> None:
        blocks = self.vision.encoder.layers
        if settings.tuning == "full":
            train_only(self, [self])
        elif settings.tuning == "frozen":
            train_only(self, [])
        elif settings.tuning == "last_blocks":
            if settings.num_blocks > len(blocks):
                raise SettingsError(
                    f"num_blocks is {settings.num_blocks}, but {settings.name} has {len(blocks)} blocks"
                )
            train_only(self, [*blocks[-settings.num_blocks :], self.vision.post_layernorm, self.projection])
        else:
            add_lora(
                self,
                _ATTENTION_LAYERS,
                rank=settings.lora_rank,
                alpha=settings.lora_alpha,
                dropout=settings.lora_dropout,
            )

    def forward(self, images: Float[torch.Tensor, "image 3 height width"]) -> Float[torch.Tensor, "image feature_dim"]:
        """Features of normalised images, not scaled to unit length.

        Images of another size than the CLIP was trained with get its position embeddings interpolated.

        Raises:
            SettingsError: Height or width is not a positive multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size or not height or not width:
            raise SettingsError(
                f"this CLIP takes images of sides divisible by its patch size {self.patch_size}, and was trained with "
                f"{self.image_size} x {self.image_size} pixels; got {height} x {width}"
            )
        other_size = (height, width) != (self.image_size, self.image_size)
        pooled = self.vision(pixel_values=images, interpolate_pos_encoding=other_size).pooler_output
        return self.projection(pooled)


def build_clip_tower(settings: ClipTowerSettings, architecture: Mapping[str, Any] | None = None) -> ClipTower:
    """A tower with the weights of `settings.name`, or a bare one for weights that follow.

    Args:
        settings: Which CLIP.
        architecture: `ClipTower.architecture` of a saved model, with which nothing is fetched; None reads the CLIP.

    Raises:
        CheckpointError: There is no CLIP of this name.
        SettingsError: The architecture is not one of a CLIP.
        MissingExtraError: Adapters are asked for and peft is not installed.
    """
    if architecture is None:
        projected = settings.features == "projected"
        return ClipTower(load_clip_vision(settings.name, projected=projected), settings)
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    if set(architecture) != set(_ARCHITECTURE_FIELDS):
        wrong = ", ".join(sorted(set(architecture) ^ set(_ARCHITECTURE_FIELDS)))
        raise SettingsError(f"the architecture of the CLIP tower has too many or too few entries: {wrong}")
    sizes = {field: architecture[field] for field in _SIZES}
    if bad := [f"{field} is {size!r}" for field, size in sizes.items() if not isinstance(size, int) or size < 1]:
        raise SettingsError(f"the architecture is none of a CLIP: {', '.join(bad)}")
    try:
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**architecture))
    except (TypeError, ValueError, KeyError, RuntimeError, StrictDataclassError) as error:
        raise SettingsError(f"the architecture is none of a CLIP: {' '.join(str(error).split())}") from error
    return ClipTower(model, settings)


def _checkpoint_blocks(vision: CLIPVisionModel) -> None:
    # Newer versions of transformers have renamed it and warn of the old name.
    enable = getattr(vision, "activation_checkpointing_enable", None) or vision.gradient_checkpointing_enable
    enable({"use_reentrant": False})
