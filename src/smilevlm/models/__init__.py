"""Images to embeddings: towers, projector, view-aware fusion, and the model that joins them."""

from smilevlm.models.batch_norm import mixes_local_samples, uses_batch_statistics
from smilevlm.models.checkpoint import load_model, save_model
from smilevlm.models.clip_tower import CLIP_IMAGE_MEAN, CLIP_IMAGE_STD, ClipTower, ClipTowerSettings
from smilevlm.models.conv_tower import ConvTower, ConvTowerSettings
from smilevlm.models.fusion import Fusion, FusionSettings, ViewAwareFusion, build_fusion
from smilevlm.models.projector import Projector, ProjectorSettings
from smilevlm.models.smile_vlm import ModelOutput, ModelSettings, SmileVlm, build_model
from smilevlm.models.timm_tower import TimmTower, TimmTowerSettings
from smilevlm.models.towers import TOWERS, ImageTower, TowerKind, TowerSettings

__all__ = [
    "CLIP_IMAGE_MEAN",
    "CLIP_IMAGE_STD",
    "TOWERS",
    "ClipTower",
    "ClipTowerSettings",
    "ConvTower",
    "ConvTowerSettings",
    "Fusion",
    "FusionSettings",
    "ImageTower",
    "ModelOutput",
    "ModelSettings",
    "Projector",
    "ProjectorSettings",
    "SmileVlm",
    "TimmTower",
    "TimmTowerSettings",
    "TowerKind",
    "TowerSettings",
    "ViewAwareFusion",
    "build_fusion",
    "build_model",
    "load_model",
    "mixes_local_samples",
    "save_model",
    "uses_batch_statistics",
]
