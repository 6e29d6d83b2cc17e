"""Experiment descriptions from outside: overrides on a recipe, and the resolved recipe kept with a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from smilevlm.deprecation import warn_renamed
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.models import TOWERS, ClipTowerSettings
from smilevlm.pretrained import clip_width
from smilevlm.training.config import ExperimentConfig

RENAMED_SETTINGS = {
    "unsure_below": "abstain_threshold",
    "loss.comparable": "loss.normalise_terms",
    "distortions.coarse": "distortions.downsample_probability",
    "distortions.clean_share": "distortions.weak_strength",
    "distortions.clean_degraded": "distortions.weak_degraded_share",
}
"""Former name to today's. An override by the former name works for one release; a run folder may have it for ever."""
ADDED_SETTINGS: Mapping[str, Any] = {
    "caption_share": 0.5,
    "captions_per_sample": 8,
    "distortions.pitch_mm": 0.0,
    "loss.head": "none",
    "loss.head_layers": 2,
    "loss.head_hidden_dim": 512,
    "loss.head_dim": 256,
    "loss.pairs": "same",
    "loss.centre": "none",
    "loss.multi_view_share": None,
    "loss.share_steps": 20,
    "loss.log_share": False,
    "distortions.num_distortions": 2,
    "labelled_subjects": None,
    "unlabelled_samples": "none",
    "pretraining_epochs": 0,
    "sampler": {"name": "shuffled", "paired_share": 0.5},
    "loss.positives": "prompt",
    "loss.negatives": "batch",
    "prepare.dynamics.apex": "labels",
}
"""Settings that former run folders lack, with values by which they mean what they meant then."""
_KEY = "experiment"
_TOWER_KEY = "model.tower_settings."
_Settings = TypeVar("_Settings")


def with_overrides(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """A recipe with single values changed.

    Args:
        config: The recipe.
        overrides: Like `optimiser.epochs=5`; values are read as YAML and checked against the setting's type.

    Raises:
        SettingsError: A setting is unknown, or its value of the wrong kind or outside its range.
    """
    pending = by_current_names(overrides)
    keys = [item.partition("=")[0] for item in pending]
    while pending:
        refused: list[tuple[str, SettingsError]] = []
        for item in pending:
            if "=" not in item:
                raise SettingsError(f"{item!r} is no override; expected SETTING=VALUE, such as optimiser.epochs=5")
            try:
                config = _with_override(config, item)
            except SettingsError as error:
                refused.append((item, error))
        # One may be right only together with one that comes after it.
        for item, error in refused:
            if len(refused) == len(pending) or keys.count(item.partition("=")[0]) > 1:
                raise SettingsError(f"override {item!r}: {error}") from None
        pending = [item for item, _ in refused]
    return config


def by_current_names(overrides: Sequence[str]) -> list[str]:
    """Overrides with a former name under today's; a caller that applies them twice warns once."""
    current = []
    for item in overrides:
        key, *value = item.partition("=")
        if key in RENAMED_SETTINGS:
            warn_renamed(f"setting {key}", RENAMED_SETTINGS[key])
        current.append("".join([RENAMED_SETTINGS.get(key, key), *value]))
    return current


def with_clip_width(config: ExperimentConfig) -> ExperimentConfig:
    """The same with an embedding as wide as the CLIP's joint space, where no projector comes after it.

    Raises:
        CheckpointError: There is no CLIP of this name.
    """
    model, tower = config.model, config.model.tower_settings
    if not isinstance(tower, ClipTowerSettings) or tower.features != "projected" or model.projector.num_layers > 0:
        return config
    return replace(config, model=replace(model, embedding_dim=clip_width(tower.name)))


def config_from(values: Mapping[str, Any]) -> ExperimentConfig:
    """The experiment that a run folder's `config.json` describes.

    Raises:
        CheckpointError: A setting is missing, unknown or of the wrong kind.
    """
    values = with_current_names(values)
    try:
        config = _parse_config(values)
    except SettingsError as error:
        raise CheckpointError(f"the run's settings cannot be read: {error}") from None
    # A setting that is missing must not take today's default: the run may have been trained with another value.
    if json.loads(json.dumps(asdict(config))) != json.loads(json.dumps(values)):
        raise CheckpointError(
            "the run's settings cannot be read: some are missing, it was begun with another version of smilevlm"
        )
    return config


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run folder, those with a former name under today's and those it did not know yet."""
    settings_now: dict[str, Any] = json.loads(json.dumps(values))
    for former, current in RENAMED_SETTINGS.items():
        group, _, name = former.rpartition(".")
        settings = settings_now.get(group) if group else settings_now
        if isinstance(settings, dict) and name in settings:
            settings[current.rpartition(".")[2]] = settings.pop(name)
    for added, value in ADDED_SETTINGS.items():
        *groups, name = added.split(".")
        settings: Any = settings_now
        for group in groups:
            settings = settings.get(group) if isinstance(settings, dict) else None
        if isinstance(settings, dict):
            settings.setdefault(name, value)
    return settings_now


def _parse_config(values: dict[str, Any]) -> ExperimentConfig:
    """A complete configuration. The tower's settings are read by its name: those of a tower that a user added are of a
    type that the annotations do not know."""
    model = values.get("model")
    if not isinstance(model, dict) or model.get("tower") not in TOWERS:
        return _parse(ExperimentConfig, None, f"={json.dumps(values)}")
    rest = {name: value for name, value in model.items() if name not in ("tower", "tower_settings")}
    config = _parse(ExperimentConfig, None, f"={json.dumps(values | {'model': rest})}")
    settings = _parse(TOWERS[model["tower"]].settings, None, f"={json.dumps(model.get('tower_settings'))}")
    return replace(config, model=replace(config.model, tower=model["tower"], tower_settings=settings))


def _with_override(config: ExperimentConfig, item: str) -> ExperimentConfig:
    # Each tower has settings of its own kind. Among several kinds jsonargparse would take the first that has the key,
    # and forget the values that the recipe gives.
    key, _, value = item.partition("=")
    model = config.model
    if key == "model.tower" and value in TOWERS:
        settings = model.tower_settings if value == model.tower else TOWERS[value].settings()
        return replace(config, model=replace(model, tower=value, tower_settings=settings))
    if key.startswith(_TOWER_KEY):
        settings = _parse(type(model.tower_settings), model.tower_settings, f".{item.removeprefix(_TOWER_KEY)}")
        return replace(config, model=replace(model, tower_settings=settings))
    return _parse(ExperimentConfig, config, f".{item}")


def _parse(kind: type[_Settings], default: _Settings | None, argument: str) -> _Settings:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument(f"--{_KEY}", type=kind, default=default)
    try:
        return parser.instantiate(parser.parse_args([f"--{_KEY}{argument}"]))[_KEY]
    except (ArgumentError, TypeError, ValueError) as error:
        raise SettingsError(_last_reason(str(error))) from None


def _last_reason(message: str) -> str:
    """The innermost reason of jsonargparse's nested message, in one line."""
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    return lines[-1] if lines else message
