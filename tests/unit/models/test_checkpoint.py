"""A saved model comes back bit for bit; anything else is refused with the reason."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from smilevlm.errors import CheckpointError
from smilevlm.models import (
    ConvTowerSettings,
    FusionSettings,
    ModelSettings,
    ProjectorSettings,
    build_model,
    load_model,
    save_model,
)

SETTINGS = ModelSettings(
    embedding_dim=12,
    tower_settings=ConvTowerSettings(width=8, norm="group"),
    projector=ProjectorSettings(hidden_dim=16, num_layers=3),
    fusion=FusionSettings(hidden_dim=5),
    image_mean=(0.1, 0.2, 0.3),
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = build_model(SETTINGS)
    model.train()
    model(torch.rand(4, 3, 3, 16, 16))  # moves the running statistics
    folder = tmp_path / "run" / "model"
    save_model(model, folder)
    return model.eval(), folder


def rewrite_weights(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    config = json.loads((folder / "model.json").read_text())
    config["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(config))


def test_round_trip_is_bit_equal(saved):
    model, folder = saved
    state = torch.get_rng_state()
    loaded = load_model(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.settings == SETTINGS
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    images = torch.rand(2, 3, 3, 16, 16)
    for ours, theirs in zip(model(images), loaded(images), strict=True):
        assert torch.equal(ours, theirs)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    _, folder = saved
    save_model(load_model(folder), tmp_path / "again")
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_default_model_is_small_enough_to_ship(tmp_path):
    save_model(build_model(), tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 10_000_000


def test_a_model_of_an_older_version_is_read(saved):
    """Before there were other towers and fusions, the settings named neither."""
    model, folder = saved
    config = json.loads((folder / "model.json").read_text())
    assert "architecture" not in config
    config["settings"]["fusion"] = {"hidden_dim": 5}
    del config["settings"]["tower"]
    (folder / "model.json").write_text(json.dumps(config))
    assert load_model(folder).settings == model.settings


def test_saves_over_an_older_model(saved):
    model, folder = saved
    with torch.no_grad():
        next(model.parameters()).add_(1)
    save_model(model, folder)
    assert torch.equal(next(load_model(folder).parameters()), next(model.parameters()))


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_missing_file(saved, name):
    _, folder = saved
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


def test_damaged_weights(saved):
    _, folder = saved
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged or belongs to another"):
        load_model(folder)


def test_not_safetensors(saved):
    _, folder = saved
    (folder / "model.safetensors").write_bytes(b"nonsense")
    config = json.loads((folder / "model.json").read_text())
    config["weights_sha256"] = hashlib.sha256(b"nonsense").hexdigest()
    (folder / "model.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_model(folder)


def test_tensors_that_do_not_fit_are_named(saved):
    _, folder = saved

    def change(tensors):
        del tensors["fusion.scorer.0.bias"]
        tensors["stray"] = torch.zeros(2)
        tensors["fusion.scorer.2.weight"] = torch.zeros(1, 6)
        tensors["fusion.scorer.2.bias"] = tensors["fusion.scorer.2.bias"].half()

    rewrite_weights(folder, change)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "fusion.scorer.0.bias is missing" in message
    assert "stray is not part of the model" in message
    assert "(1, 6)" in message
    assert "(1, 5)" in message
    assert "float16" in message


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda config: config.update(format=99), "format 1, got 99"),
        (lambda config: config.pop("settings"), "do not describe"),
        (lambda config: config["settings"].update(tower="other"), "do not describe"),
        (lambda config: config["settings"].update(unknown=1), "do not describe"),
        (lambda config: config["settings"]["projector"].update(num_layers=-1), "num_layers"),
        (lambda config: config.update(architecture={"width": 8}), "no architecture beside its settings"),
        (lambda config: config["settings"].update(embedding_dim=13), "another architecture"),
    ],
)
def test_settings_that_do_not_fit(saved, change, match):
    _, folder = saved
    config = json.loads((folder / "model.json").read_text())
    change(config)
    (folder / "model.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=match):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}'])
def test_settings_that_are_no_settings(saved, text):
    _, folder = saved
    (folder / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        load_model(folder)
