"""Recipes of the tiny profile: a small tower trained from scratch, MiniLM as the frozen text tower, two CPU cores."""

from __future__ import annotations

from smilevlm.geometry import NormaliseSettings
from smilevlm.losses import JointLossSettings
from smilevlm.models import ModelSettings
from smilevlm.store import PrepareSettings
from smilevlm.training.distortions import DistortionSettings
from smilevlm.training.settings import ExperimentConfig, OptimiserSettings
from smilevlm.views import ViewSettings

TINY_VIEWS = PrepareSettings(views=ViewSettings(size=64), normalise=NormaliseSettings())


def demo() -> ExperimentConfig:
    """BU-3DFE Subset I, weakly supervised, on two cores.

    Command: make demo (synthetic people; folds 0 and 1 of 5 and one control)
    Hardware: 2 CPU cores with bfloat16, 4 GB of memory
    Time: about 2 minutes per fold on one core, 80 people in training
    Expected: 80 to 86 % zero-shot on synthetic people, see docs/log.md
    """
    return ExperimentConfig(
        name="demo",
        protocol="bu3dfe_subset1",
        num_folds=5,
        num_control_folds=1,
        prepare=TINY_VIEWS,
        model=ModelSettings(),
        loss=JointLossSettings(multi_view_scale=0.001, redundancy_scale=0.001),
        optimiser=OptimiserSettings(epochs=18, batch_size=32, learning_rate=2e-3, precision="bf16"),
        distortions=DistortionSettings(),
    )
