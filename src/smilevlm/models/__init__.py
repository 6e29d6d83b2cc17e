"""Images to embeddings and classes: towers, projector, view-aware fusion, zero-shot prototypes, the trained bundle."""

from smilevlm.models.batch_norm import mixes_local_samples, uses_batch_statistics
from smilevlm.models.bundle import (
    Embedded,
    ModelBundle,
    TrainingProvenance,
    bundle_digest,
    description_path,
    first_fold,
    load_bundle,
    save_bundle,
    short_digests,
)
from smilevlm.models.calibration import fit_temperature
from smilevlm.models.checkpoint import load_model, save_model
from smilevlm.models.clip_tower import CLIP_IMAGE_MEAN, CLIP_IMAGE_STD, ClipTower, ClipTowerSettings
from smilevlm.models.conv_tower import ConvTower, ConvTowerSettings
from smilevlm.models.fusion import Fusion, FusionSettings, ViewAwareFusion, build_fusion
from smilevlm.models.projector import Projector, ProjectorSettings
from smilevlm.models.smile_vlm import ModelOutput, ModelSettings, SmileVlm, build_model
from smilevlm.models.timm_tower import TimmTower, TimmTowerSettings
from smilevlm.models.towers import TOWERS, CustomTowerSettings, ImageTower, TowerKind, TowerSettings
from smilevlm.models.zero_shot import (
    Prototypes,
    class_prototypes,
    predicted_classes,
    probabilities,
    unit_rows,
    zero_shot_scores,
)

__all__ = [
    "CLIP_IMAGE_MEAN",
    "CLIP_IMAGE_STD",
    "TOWERS",
    "ClipTower",
    "ClipTowerSettings",
    "ConvTower",
    "ConvTowerSettings",
    "CustomTowerSettings",
    "Embedded",
    "Fusion",
    "FusionSettings",
    "ImageTower",
    "ModelBundle",
    "ModelOutput",
    "ModelSettings",
    "Projector",
    "ProjectorSettings",
    "Prototypes",
    "SmileVlm",
    "TimmTower",
    "TimmTowerSettings",
    "TowerKind",
    "TowerSettings",
    "TrainingProvenance",
    "ViewAwareFusion",
    "build_fusion",
    "build_model",
    "bundle_digest",
    "class_prototypes",
    "description_path",
    "first_fold",
    "fit_temperature",
    "load_bundle",
    "load_model",
    "mixes_local_samples",
    "predicted_classes",
    "probabilities",
    "save_bundle",
    "save_model",
    "short_digests",
    "unit_rows",
    "uses_batch_statistics",
    "zero_shot_scores",
]
