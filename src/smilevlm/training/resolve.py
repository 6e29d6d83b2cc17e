"""Experiment descriptions from outside: overrides on a recipe, and the resolved recipe kept with a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.training.settings import ExperimentConfig

_KEY = "experiment"


def with_overrides(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """A recipe with single values changed.

    Args:
        config: The recipe.
        overrides: Like `optimiser.epochs=5`; values are read as YAML and checked against the setting's type.

    Raises:
        SettingsError: A setting is unknown, or its value of the wrong kind or outside its range.
    """
    for item in overrides:
        if "=" not in item:
            raise SettingsError(f"{item!r} is no override; expected SETTING=VALUE, such as optimiser.epochs=5")
        try:
            config = _parse(config, f"--{_KEY}.{item}")
        except SettingsError as error:
            raise SettingsError(f"override {item!r}: {error}") from None
    return config


def config_from(values: Mapping[str, Any]) -> ExperimentConfig:
    """The experiment that a run folder's `config.json` describes.

    Raises:
        CheckpointError: A setting is missing, unknown or of the wrong kind.
    """
    try:
        config = _parse(None, f"--{_KEY}={json.dumps(values)}")
    except SettingsError as error:
        raise CheckpointError(f"the run's settings cannot be read: {error}") from None
    # A setting that is missing must not take today's default: the run may have been trained with another value.
    if json.loads(json.dumps(asdict(config))) != json.loads(json.dumps(values)):
        raise CheckpointError(
            "the run's settings cannot be read: some are missing, it was begun with another version of smilevlm"
        )
    return config


def _parse(default: ExperimentConfig | None, argument: str) -> ExperimentConfig:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument(f"--{_KEY}", type=ExperimentConfig, default=default)
    try:
        return parser.instantiate(parser.parse_args([argument]))[_KEY]
    except (ArgumentError, TypeError, ValueError) as error:
        raise SettingsError(_last_reason(str(error))) from None


def _last_reason(message: str) -> str:
    """The innermost reason of jsonargparse's nested message, in one line."""
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    return lines[-1] if lines else message
