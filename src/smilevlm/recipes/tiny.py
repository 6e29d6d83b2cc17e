"""Recipes of the tiny profile: a small tower trained from scratch, MiniLM as the frozen text tower, two CPU cores.

Twins of the paper's recipes on synthetic faces. All of them:
    Command: see docs/training.md, which synthesises, prepares, trains and scores each
    Hardware: 2 CPU cores with bfloat16, 4 GB of memory
"""

from __future__ import annotations

from smilevlm.geometry import NormaliseSettings
from smilevlm.losses import JointLossSettings
from smilevlm.models import ModelSettings
from smilevlm.store import PrepareSettings
from smilevlm.training.distortions import DistortionSettings
from smilevlm.training.settings import ExperimentConfig, OptimiserSettings
from smilevlm.views import ViewSettings

TINY_VIEWS = PrepareSettings(views=ViewSettings(size=64), normalise=NormaliseSettings())


def _tiny(name: str, protocol: str, *, epochs: int, prompt_set: str = "basic_expressions") -> ExperimentConfig:
    return ExperimentConfig(
        name=name,
        protocol=protocol,
        num_folds=5,
        num_control_folds=1,
        prompt_set=prompt_set,
        prepare=TINY_VIEWS,
        model=ModelSettings(),
        loss=JointLossSettings(multi_view_scale=0.001, redundancy_scale=0.001),
        optimiser=OptimiserSettings(epochs=epochs, batch_size=32, learning_rate=2e-3, precision="bf16"),
        distortions=DistortionSettings(),
    )


def demo() -> ExperimentConfig:
    """BU-3DFE Subset I, weakly supervised, on two cores.

    Command: make demo (synthetic people; folds 0 and 1 of 5 and one control)
    Hardware: 2 CPU cores with bfloat16, 4 GB of memory
    Time: about 2 minutes per fold on one core, 80 people in training
    Expected: 80 to 86 % zero-shot on synthetic people, see docs/log.md
    """
    return _tiny("demo", "bu3dfe_subset1", epochs=18)


def tiny_bu3dfe_subset1() -> ExperimentConfig:
    """Twin of paper_bu3dfe_subset1."""
    return _tiny("tiny_bu3dfe_subset1", "bu3dfe_subset1", epochs=18)


def tiny_bu3dfe_subset2() -> ExperimentConfig:
    """Twin of paper_bu3dfe_subset2."""
    return _tiny("tiny_bu3dfe_subset2", "bu3dfe_subset2", epochs=12)


def tiny_bosphorus() -> ExperimentConfig:
    """Twin of paper_bosphorus."""
    return _tiny("tiny_bosphorus", "bosphorus", epochs=40)


def tiny_bu4dfe() -> ExperimentConfig:
    """Twin of paper_bu4dfe."""
    return _tiny("tiny_bu4dfe", "bu4dfe", epochs=40)


def tiny_bp4d() -> ExperimentConfig:
    """Twin of paper_bp4d."""
    return _tiny("tiny_bp4d", "bp4d", epochs=40, prompt_set="spontaneous_expressions")


def tiny_4dme() -> ExperimentConfig:
    """Twin of paper_4dme."""
    return _tiny("tiny_4dme", "fourdme", epochs=40, prompt_set="micro_expressions")
