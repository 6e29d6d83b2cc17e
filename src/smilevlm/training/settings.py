"""The complete description of an experiment: everything that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from smilevlm.errors import SettingsError
from smilevlm.geometry import NormaliseSettings
from smilevlm.losses import JointLossSettings
from smilevlm.models import ModelSettings
from smilevlm.prompts import PairingMode
from smilevlm.store import PrepareSettings
from smilevlm.training.distortions import DistortionSettings
from smilevlm.views import ViewSettings


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """How the weights are found.

    Args:
        epochs: Passes over the training subjects.
        batch_size: Samples per step; each has several views and, with the multi-view loss, two distortions of each.
        learning_rate: Highest rate; it rises linearly over `warmup_share` of the steps and falls as a cosine.
        weight_decay: Adam's L2 term, for the matrices of tower and projector. Assumption A17.
        warmup_share: Share of all steps, in [0, 1).
        precision: `bf16` uses autocast; the correlations stay in float32.
        threads: CPU threads of one training process; part of what fixes the bits.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_share: float = 0.05
    precision: Literal["float32", "bf16"] = "float32"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.threads < 1:
            raise SettingsError("epochs and threads must be at least 1, batch_size at least 2")
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.warmup_share < 1):
            raise SettingsError("learning_rate must be positive, weight_decay not negative, warmup_share in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """A recipe, resolved.

    Args:
        name: Of the recipe.
        protocol: Which samples are used, see `smilevlm.datasets.PROTOCOLS`.
        num_folds: Subject-independent folds; for leaving one subject out the number of subjects.
        repeat: Which of the protocol's repeats this run is, from zero.
        prompt_set: Name or path of the prompt set.
        pairing: Where a sample's prompt comes from.
        num_control_folds: So many of the first folds are trained a second time with prompts dealt out anew at
            random; zero-shot must fall to chance there.
        seed: Decides folds, weights, batches, distortions and prompts.
        score_temperature: Of the softmax that turns cosines into the probabilities shown to people.
        prepare: How the views are made; a store made otherwise is refused.
        model: Architecture.
        loss: Weights of the joint loss.
        optimiser: How the weights are found.
        distortions: The two distortions and the jitter of the clean views.
    """

    name: str
    protocol: str
    num_folds: int = 10
    repeat: int = 0
    prompt_set: str = "basic_expressions"
    pairing: PairingMode = "class"
    num_control_folds: int = 1
    seed: int = 0
    score_temperature: float = 0.07
    prepare: PrepareSettings = field(
        default_factory=lambda: PrepareSettings(views=ViewSettings(), normalise=NormaliseSettings())
    )
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: JointLossSettings = field(default_factory=JointLossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    distortions: DistortionSettings = field(default_factory=DistortionSettings)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingsError(f"seed is {self.seed}; expected 0 or more")
        if self.num_folds < 2:
            raise SettingsError(f"num_folds is {self.num_folds}; expected 2 or more")
        if not 0 <= self.num_control_folds <= self.num_folds:
            raise SettingsError(f"num_control_folds is {self.num_control_folds}; expected 0 to {self.num_folds}")
        if not self.score_temperature > 0:
            raise SettingsError(f"score_temperature is {self.score_temperature}; expected a positive number")
