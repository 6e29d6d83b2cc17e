"""Wiring of timm's networks, with a stand-in for timm: the real one asks for torchvision and is not installed here."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from smilevlm.errors import CheckpointError, MissingExtraError, SettingsError
from smilevlm.models import (
    ModelSettings,
    ProjectorSettings,
    TimmTowerSettings,
    build_model,
    load_model,
    save_model,
    uses_batch_statistics,
)
from smilevlm.models.timm_tower import build_timm_tower

REFUSED = (SettingsError, TypeError)


class Network(nn.Module):
    """One convolution and batch normalisation; it ends wider than what it calls its features, as some of timm do."""

    num_features = 3
    head_hidden_size = 5

    def __init__(self, side: int | None) -> None:
        super().__init__()
        self.side = side
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.BatchNorm2d(5), nn.ReLU())

    def forward(self, x):
        if self.side not in (None, x.shape[-1]):
            raise AssertionError(f"Input width ({x.shape[-1]}) doesn't match model ({self.side}).")
        return self.layers(x).mean((2, 3))


@pytest.fixture
def calls(monkeypatch):
    calls = []

    def create_model(name, *, pretrained, num_classes, img_size=None):
        calls.append((name, pretrained, num_classes, img_size))
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        network = Network(img_size)
        if pretrained:
            network.layers[0].weight.data.fill_(0.125)
        return network

    timm = ModuleType("timm")
    timm.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", timm)
    return calls


def settings_of(**changes) -> ModelSettings:
    return ModelSettings(
        embedding_dim=6,
        tower="timm",
        tower_settings=TimmTowerSettings(**{"name": "small", **changes}),
        projector=ProjectorSettings(hidden_dim=7),
    )


def test_a_new_tower_comes_with_its_weights_and_leaves_random_numbers_alone(calls):
    state = torch.get_rng_state()
    tower = build_timm_tower(TimmTowerSettings(name="small"))
    assert torch.equal(torch.get_rng_state(), state)
    assert calls == [("small", True, 0, None)]
    assert (tower.network.layers[0].weight == 0.125).all()
    assert tower.feature_dim == 5
    assert build_model(settings_of()).encode_features(torch.rand(2, 3, 3, 16, 16)).shape == (2, 3, 5)


def test_fresh_weights_come_from_the_global_generator(calls):
    towers = [
        torch.manual_seed(seed) and build_timm_tower(TimmTowerSettings(name="small", pretrained=False))
        for seed in (1, 1, 2)
    ]
    first, same, other = (tower.network.layers[0].weight for tower in towers)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert calls[0] == ("small", False, 0, None)


def test_a_saved_tower_fetches_nothing(calls, tmp_path):
    model = build_model(settings_of(image_size=16))
    model(torch.rand(2, 3, 3, 16, 16))
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert calls == [("small", True, 0, 16), ("small", False, 0, 16)]
    images = torch.rand(2, 3, 3, 16, 16)
    assert torch.equal(loaded(images).z_fused, model.eval()(images).z_fused)


def test_a_frozen_tower_is_left_as_it_came(calls):
    model = build_model(settings_of(tuning="frozen")).train()
    before = {name: tensor.clone() for name, tensor in model.tower.state_dict().items()}
    model(torch.rand(2, 3, 3, 16, 16)).z_fused.sum().backward()
    assert model.tower_parameters() == []
    assert all(torch.equal(model.tower.state_dict()[name], tensor) for name, tensor in before.items())
    assert not uses_batch_statistics(model.tower)
    assert uses_batch_statistics(build_model(settings_of()).tower)


def test_a_size_that_the_network_refuses(calls):
    with pytest.raises(SettingsError, match=r"small refuses the images.*image_size"):
        build_model(settings_of(image_size=16))(torch.rand(2, 3, 3, 32, 32))


def test_a_network_that_timm_does_not_have(calls):
    with pytest.raises(CheckpointError, match="unknown: timm cannot build it: Unknown model"):
        build_model(settings_of(name="unknown"))


def test_timm_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"smilevlm\[timm\]"):
        build_model(settings_of())


@pytest.mark.parametrize(
    "bad", [{"name": ""}, {"name": "local-dir:/x"}, {"name": "hf-hub:a"}, {"image_size": 0}, {"tuning": "lora"}]
)
def test_refuses_settings(bad):
    with pytest.raises(REFUSED):
        TimmTowerSettings(**bad)
