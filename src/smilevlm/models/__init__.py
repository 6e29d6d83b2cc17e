"""Images to embeddings: towers, projector, view-aware fusion, and the model that joins them."""

from smilevlm.models.checkpoint import load_model, save_model
from smilevlm.models.fusion import FusionSettings, ViewAwareFusion
from smilevlm.models.projector import Projector, ProjectorSettings
from smilevlm.models.smile_vlm import ModelOutput, ModelSettings, SmileVlm, build_model
from smilevlm.models.towers import TOWERS, ConvTower, ConvTowerSettings, ImageTower, TowerKind

__all__ = [
    "TOWERS",
    "ConvTower",
    "ConvTowerSettings",
    "FusionSettings",
    "ImageTower",
    "ModelOutput",
    "ModelSettings",
    "Projector",
    "ProjectorSettings",
    "SmileVlm",
    "TowerKind",
    "ViewAwareFusion",
    "build_model",
    "load_model",
    "save_model",
]
