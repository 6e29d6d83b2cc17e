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
    """BU-3DFE Subset I on synthetic people.

    Command: make demo.
    """
    return ExperimentConfig(
        name="demo",
        protocol="bu3dfe_subset1",
        num_folds=4,
        num_control_folds=1,
        prepare=TINY_VIEWS,
        model=ModelSettings(),
        loss=JointLossSettings(multi_view_scale=0.024, redundancy_scale=0.024),
        optimiser=OptimiserSettings(epochs=20, batch_size=32),
        distortions=DistortionSettings(),
    )
