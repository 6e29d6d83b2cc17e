"""The recipe of the weights in the package."""

from __future__ import annotations

from smilevlm.geometry import NormaliseSettings
from smilevlm.losses import JointLossSettings
from smilevlm.models import ConvTowerSettings, ModelSettings
from smilevlm.store import PrepareSettings
from smilevlm.training.distortions import DistortionSettings
from smilevlm.training.settings import ExperimentConfig, OptimiserSettings, ValidationSettings
from smilevlm.views import ViewSettings


def bundled() -> ExperimentConfig:
    """Six expressions and neutral, single scans and dynamic images, on very varied synthetic people.

    Commands: docs/model_card.md
    Hardware: 2 CPU cores that know bfloat16 (AMX or AVX-512), 8 GB of memory
    """
    return ExperimentConfig(
        name="bundled",
        protocol="folder",
        num_folds=10,
        num_control_folds=0,
        prompt_set="basic_expressions_neutral",
        prepare=PrepareSettings(
            views=ViewSettings(size=96),
            # Hair, ears and neck differ between scanners and face models.
            normalise=NormaliseSettings(crop_depth_mm=85.0),
        ),
        model=ModelSettings(tower_settings=ConvTowerSettings(width=32, grid=3)),
        loss=JointLossSettings(multi_view_scale=0.001, redundancy_scale=0.001),
        optimiser=OptimiserSettings(epochs=20, batch_size=64, learning_rate=2e-3, precision="bf16"),
        validation=ValidationSettings(share=0.1, monitor="accuracy", calibrate=True),
        distortions=DistortionSettings(
            rotate_deg=8.0, scale=0.1, shift=0.04, noise=0.04, coarse=0.2, dropout=0.05, hole=0.2
        ),
        unsure_below=0.5,
    )
