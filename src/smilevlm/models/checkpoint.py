"""A model on disk: `model.safetensors` with the weights, `model.json` with the settings and the weights' digest."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.files import write_atomically
from smilevlm.models.fusion import FusionSettings
from smilevlm.models.projector import ProjectorSettings
from smilevlm.models.smile_vlm import ModelSettings, SmileVlm, build_model
from smilevlm.models.towers import TOWERS

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "model.json"
_FORMAT = 1


def save_model(model: SmileVlm, folder: str | os.PathLike[str]) -> None:
    """Write weights and settings into a folder, which is made where it is missing.

    Each file is written under another name and renamed into place. The settings hold the digest of the weights and are
    written last, so that a half-written pair is noticed by `load_model`.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    config = {
        "format": _FORMAT,
        "settings": asdict(model.settings),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    if model.tower.architecture is not None:
        config["architecture"] = dict(model.tower.architecture)
    write_atomically(target / WEIGHTS_FILE, weights)
    write_atomically(target / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())


def load_model(folder: str | os.PathLike[str]) -> SmileVlm:
    """Build the model that a folder describes and give it the folder's weights; in evaluation mode, on the CPU.

    Raises:
        CheckpointError: A file is missing or damaged, the two do not belong together, or tensors do not fit the
            architecture.
        MissingExtraError: The tower needs a library that is not installed.
    """
    config_path, weights_path = Path(folder) / CONFIG_FILE, Path(folder) / WEIGHTS_FILE
    config = _read_config(config_path)
    settings = _settings_from(config.get("settings"), config_path)
    try:
        data = weights_path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{weights_path}: the weights cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != config.get("weights_sha256"):
        raise CheckpointError(
            f"{weights_path}: sha256 is {digest}, but {CONFIG_FILE} says {config.get('weights_sha256')}: "
            "the file is damaged or belongs to another checkpoint"
        )
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path}: not a safetensors file: {error}") from error
    # The fresh weights are overwritten, so drawing them must not move the caller's random numbers.
    try:
        with torch.random.fork_rng(devices=[]):
            model = build_model(settings, _architecture_from(config, config_path))
    except SettingsError as error:
        raise CheckpointError(f"{config_path}: no model can be built from the settings: {error}") from error
    _check_tensors(model, tensors, weights_path)
    model.load_state_dict(tensors)
    return model.eval()


def _check_tensors(model: SmileVlm, tensors: dict[str, torch.Tensor], path: Path) -> None:
    expected = model.state_dict()
    faults = [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    faults += [f"{name} is not part of the model" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        want, have = expected[name], tensors[name]
        if want.shape != have.shape or want.dtype != have.dtype:
            faults.append(f"{name} is {have.dtype} {tuple(have.shape)}, the model has {want.dtype} {tuple(want.shape)}")
    if faults:
        shown = "; ".join(faults[:8]) + (f"; and {len(faults) - 8} more" if len(faults) > 8 else "")
        raise CheckpointError(f"{path}: the weights are for another architecture: {shown}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: the settings cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        given = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{path}: expected a model of format {_FORMAT}, got {given}")
    return config


def _architecture_from(config: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """What the tower must be built from, so that no checkpoint makes it fetch weights."""
    architecture = config.get("architecture")
    if config["settings"].get("tower", "conv") in ("clip", "timm") and not isinstance(architecture, dict):
        raise CheckpointError(f"{path}: the tower's architecture is missing or no mapping: {architecture!r}")
    return architecture


def _settings_from(values: Any, path: Path) -> ModelSettings:  # noqa: ANN401
    try:
        values = dict(values)
        kind = TOWERS[values.get("tower", "conv")]
        values["tower_settings"] = kind.settings(**values["tower_settings"])
        values["projector"] = ProjectorSettings(**values["projector"])
        values["fusion"] = FusionSettings(**values["fusion"])
        for name in ("image_mean", "image_std"):
            values[name] = tuple(values[name])
        return ModelSettings(**values)
    except (TypeError, ValueError, KeyError, SettingsError) as error:
        raise CheckpointError(f"{path}: the settings do not describe a model of this version: {error}") from error
