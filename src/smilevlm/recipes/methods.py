"""Named changes of a recipe: the paper's ablations, and baselines to hold its numbers against. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.errors import SettingsError

if TYPE_CHECKING:
    from smilevlm.training import ExperimentConfig


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way of training.

    Args:
        title: For people.
        supervision: What training is told of classes.
        change: Makes a recipe train this way.
        needs_clip: Whether it needs CLIP weights.
    """

    title: str
    supervision: str
    change: Callable[[ExperimentConfig], ExperimentConfig]
    needs_clip: bool = False


def _weighted(title: str, supervision: str, **weights: float) -> Method:
    """A method whose loss has these weights."""
    return Method(
        title=title,
        supervision=supervision,
        change=lambda config: replace(config, loss=replace(config.loss, **weights)),
    )


def _without_training(config: ExperimentConfig) -> ExperimentConfig:
    return replace(config, optimiser=replace(config.optimiser, epochs=0), pretraining_epochs=0)


def _pretrained(config: ExperimentConfig) -> ExperimentConfig:
    """Half of the epochs without labels, before the other half."""
    num_before = config.optimiser.epochs // 2
    optimiser = replace(config.optimiser, epochs=config.optimiser.epochs - num_before)
    return replace(config, optimiser=optimiser, pretraining_epochs=num_before)


def _raw_clip(config: ExperimentConfig) -> ExperimentConfig:
    """CLIP as it comes: its own joint space, the plain mean of the views, prompts as its text tower gives them.

    The embedding is as wide as the CLIP's joint space. A local folder is read at once; a name of the hub is not fetched
    before it is trained with, see `with_clip_width`.

    Raises:
        CheckpointError: The folder holds no CLIP.
    """
    from smilevlm.models import CLIP_IMAGE_MEAN, CLIP_IMAGE_STD, ClipTowerSettings
    from smilevlm.recipes.paper import CLIP, CLIP_DIM
    from smilevlm.training import with_clip_width

    name = CLIP if config.text_tower == "minilm" else config.text_tower
    model = replace(
        config.model,
        tower="clip",
        tower_settings=ClipTowerSettings(name=name, tuning="frozen"),
        embedding_dim=CLIP_DIM,
        projector=replace(config.model.projector, num_layers=0),
        fusion=replace(config.model.fusion, kind="mean"),
        image_mean=CLIP_IMAGE_MEAN,
        image_std=CLIP_IMAGE_STD,
    )
    changed = _without_training(replace(config, model=model, text_tower=name, centre_prompts=False))
    return with_clip_width(changed) if Path(name).is_dir() else changed


_WEAK = "prompts of the sample's own class"
METHODS: dict[str, Method] = {
    "full": Method(title="SMILE-VLM", supervision=_WEAK, change=lambda config: config),
    "without_multi_view": _weighted("without multi-view Barlow Twins", _WEAK, alpha=0.0),
    "without_alignment": _weighted("without vision-language alignment", _WEAK, beta=0.0),
    "without_redundancy": _weighted("without redundancy minimisation", _WEAK, gamma=0.0),
    "multi_view_alone": _weighted("multi-view Barlow Twins alone", "none", beta=0.0, gamma=0.0),
    "pretrained": Method(title="multi-view Barlow Twins first, then SMILE-VLM", supervision=_WEAK, change=_pretrained),
    "alignment_alone": _weighted("vision-language alignment alone", _WEAK, alpha=0.0, gamma=0.0),
    "supervised": Method(
        title="supervised cross-entropy, same tower",
        supervision="class labels in the loss",
        change=lambda config: replace(config, pairing="labels"),
    ),
    "shuffled_prompts": Method(
        title="control: prompts dealt out at random",
        supervision="prompts of other samples' classes",
        change=lambda config: replace(config, shuffle_prompts=True),
    ),
    "untrained": Method(title="before training", supervision="none", change=_without_training),
    "raw_clip": Method(title="CLIP zero-shot on the renderings", supervision="none", change=_raw_clip, needs_clip=True),
}


def with_method(config: ExperimentConfig, name: str) -> ExperimentConfig:
    """The recipe changed to train this way.

    Raises:
        SettingsError: No method has this name.
    """
    if name not in METHODS:
        raise SettingsError(f"no method {name!r}; there are {', '.join(METHODS)}")
    return replace(METHODS[name].change(config), method=name)
