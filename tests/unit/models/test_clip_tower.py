"""A CLIP on disk becomes a tower: the right features, the right weights train, and the checkpoint needs it no more."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch

from builders_clip import TINY_CLIP_DIM, TINY_CLIP_IMAGE_SIZE, build_tiny_clip
from smilevlm.errors import CheckpointError, MissingExtraError, SettingsError
from smilevlm.models import (
    CLIP_IMAGE_MEAN,
    CLIP_IMAGE_STD,
    ClipTowerSettings,
    ConvTowerSettings,
    FusionSettings,
    ModelSettings,
    ProjectorSettings,
    SmileVlm,
    build_model,
    load_model,
    save_model,
    uses_batch_statistics,
)
from smilevlm.models.clip_tower import build_clip_tower

REFUSED = (SettingsError, TypeError)
TUNINGS = {
    "full": {"tuning": "full"},
    "frozen": {"tuning": "frozen"},
    "last block": {"tuning": "last_blocks", "num_blocks": 1},
    "last block, pooled": {"tuning": "last_blocks", "num_blocks": 1, "features": "pooled"},
    "lora": {"tuning": "lora", "lora_rank": 2, "lora_dropout": 0.5},
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


def settings_of(folder, **changes) -> ModelSettings:
    return ModelSettings(
        embedding_dim=TINY_CLIP_DIM,
        tower="clip",
        tower_settings=ClipTowerSettings(name=str(folder), **changes),
        projector=ProjectorSettings(hidden_dim=16),
        fusion=FusionSettings(hidden_dim=5),
        image_mean=CLIP_IMAGE_MEAN,
        image_std=CLIP_IMAGE_STD,
    )


def pictures(batch: int = 2, views: int = 3, height: int = TINY_CLIP_IMAGE_SIZE, width: int = TINY_CLIP_IMAGE_SIZE):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (batch, views, 3, height, width), dtype=torch.uint8, generator=generator)


def one_step(model: SmileVlm) -> dict[str, bool]:
    """Every entry of the tower's state, and whether a step of training changed it."""
    before = {name: tensor.clone() for name, tensor in model.tower.state_dict().items()}
    weights = [*model.tower_parameters(), *model.new_parameters()]
    optimiser = torch.optim.AdamW(weights, lr=0.1, weight_decay=0.1)
    # Adapters begin as zero times something: the first step moves one factor, the second the other.
    for _ in range(2):
        optimiser.zero_grad()
        model(pictures()).z_fused.square().sum().backward()
        optimiser.step()
    after = model.tower.state_dict()
    return {name: not torch.equal(after[name], tensor) for name, tensor in before.items()}


@pytest.mark.parametrize("size", [TINY_CLIP_IMAGE_SIZE, 48])
def test_features_are_those_of_transformers(clip_folder, size):
    from transformers import CLIPModel, CLIPVisionConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        reference = CLIPModel.from_pretrained(clip_folder).eval()
    finally:
        logging.enable_progress_bar()
    assert isinstance(reference.config.vision_config, CLIPVisionConfig)
    model = build_model(settings_of(clip_folder)).eval()
    images = pictures(height=size, width=size)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_IMAGE_MEAN, CLIP_IMAGE_STD))
    with torch.no_grad():
        expected = reference.get_image_features(
            ((images / 255 - mean) / std).flatten(0, 1), interpolate_pos_encoding=True
        ).pooler_output
        features = model.encode_features(images)
    assert features.shape == (2, 3, TINY_CLIP_DIM)
    torch.testing.assert_close(features.flatten(0, 1), expected, rtol=1e-5, atol=1e-6)


def test_pooled_features_come_before_the_projection(clip_folder):
    torch.manual_seed(0)
    projected = build_clip_tower(ClipTowerSettings(name=str(clip_folder))).eval()
    pooled = build_clip_tower(ClipTowerSettings(name=str(clip_folder), features="pooled")).eval()
    images = torch.randn(2, 3, 32, 32)
    assert (projected.feature_dim, pooled.feature_dim) == (TINY_CLIP_DIM, 16)
    torch.testing.assert_close(projected.projection(pooled(images)), projected(images))
    assert not any(name.startswith("projection") for name in pooled.state_dict())


def test_attention_is_the_fused_kind(clip_folder):
    for architecture in (None, build_clip_tower(ClipTowerSettings(name=str(clip_folder))).architecture):
        tower = build_clip_tower(ClipTowerSettings(name=str(clip_folder)), architecture)
        assert tower.vision.config._attn_implementation == "sdpa"


def test_loading_is_silent_and_leaves_random_numbers_and_logging_alone(clip_folder, capfd):
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    state = torch.get_rng_state()
    build_clip_tower(ClipTowerSettings(name=str(clip_folder)))
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (verbosity, bars)


def test_half_precision_weights_are_used_in_single(clip_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(clip_folder, tmp_path / "half")
    path = tmp_path / "half" / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    tower = build_clip_tower(ClipTowerSettings(name=str(tmp_path / "half")))
    assert {weight.dtype for weight in tower.parameters()} == {torch.float32}


@pytest.mark.parametrize("case", list(TUNINGS))
def test_exactly_the_chosen_weights_train(clip_folder, case):
    torch.manual_seed(0)
    model = build_model(settings_of(clip_folder, **TUNINGS[case])).train()
    changed = one_step(model)

    def chosen(name: str) -> bool:
        if case == "full":
            return True
        if case == "lora":
            return ".lora_A." in name or ".lora_B." in name
        return case != "frozen" and name.startswith(("vision.encoder.layers.1.", "vision.post_layernorm", "projection"))

    assert {name for name, moved in changed.items() if moved} == {name for name in changed if chosen(name)}
    assert {name for name, weight in model.tower.named_parameters() if weight.requires_grad} == {
        name for name in changed if chosen(name)
    }
    if case == "lora":
        assert sum(map(chosen, changed)) == 2 * 4 * 2, "two factors, four layers, two blocks"


def test_parameter_groups_share_out_what_trains(clip_folder):
    model = build_model(settings_of(clip_folder, tuning="last_blocks", num_blocks=1))
    groups = [*model.tower_parameters(), *model.new_parameters()]
    assert {id(weight) for weight in groups} == {id(w) for w in model.parameters() if w.requires_grad}
    assert len({id(weight) for weight in groups}) == len(groups)
    assert build_model(settings_of(clip_folder, tuning="frozen")).tower_parameters() == []


def test_adapters_change_nothing_at_first(clip_folder):
    images = torch.randn(2, 3, 32, 32)
    plain, adapted = (
        build_clip_tower(ClipTowerSettings(name=str(clip_folder), tuning=tuning)).eval()
        for tuning in ("frozen", "lora")
    )
    torch.testing.assert_close(adapted(images), plain(images))


def test_frozen_parts_stay_in_evaluation_mode(tmp_path):
    folder = build_tiny_clip(tmp_path / "dropout", attention_dropout=0.5)
    frozen = build_model(settings_of(folder, tuning="frozen"))
    for model in (frozen, frozen.eval(), frozen.train()):
        assert torch.equal(model.encode_features(pictures()), model.encode_features(pictures()))
    assert frozen.projector.training
    blocks = build_model(settings_of(folder, tuning="last_blocks", num_blocks=1)).tower.vision.encoder.layers
    assert [block.self_attn.training for block in blocks] == [False, True]
    full = build_model(settings_of(folder, tuning="full"))
    assert not torch.equal(full.encode_features(pictures()), full.encode_features(pictures()))


def test_dropout_of_adapters_works_in_training_alone(clip_folder):
    torch.manual_seed(0)
    model = build_model(settings_of(clip_folder, **TUNINGS["lora"]))
    one_step(model)  # the adapters are no longer zero
    assert not torch.equal(model.encode_features(pictures()), model.encode_features(pictures()))
    model.eval()
    assert torch.equal(model.encode_features(pictures()), model.encode_features(pictures()))


def kept_for_backward(model: SmileVlm) -> int:
    """Bytes that autograd keeps of one pass of the tower, beside its weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = model.encode_features(pictures(4))
    assert features.requires_grad == bool(model.tower_parameters())
    return sum(kept.values())


def test_what_is_frozen_needs_no_memory_for_gradients(clip_folder):
    kept = {
        name: kept_for_backward(build_model(settings_of(clip_folder, **TUNINGS[name])))
        for name in ("full", "frozen", "last block")
    }
    assert kept["frozen"] == 0
    assert 0 < kept["last block"] < 0.65 * kept["full"]


def test_checkpointing_keeps_less_and_gives_the_same_gradients(clip_folder):
    gradients, kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = build_model(settings_of(clip_folder, checkpointing=checkpointing))
        kept.append(kept_for_backward(model))
        model.encode_features(pictures()).square().sum().backward()
        gradients.append({name: weight.grad for name, weight in model.tower.named_parameters()})
    assert kept[1] < 0.5 * kept[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize("case", list(TUNINGS))
def test_trained_saved_and_loaded_without_the_original(tmp_path, case):
    folder = build_tiny_clip(tmp_path / "clip", hidden_act="gelu")
    torch.manual_seed(0)
    model = build_model(settings_of(folder, **TUNINGS[case]))
    one_step(model)
    save_model(model, tmp_path / "run")
    shutil.rmtree(folder)
    state = torch.get_rng_state()
    loaded = load_model(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.settings == model.settings
    assert loaded.tower.architecture == model.tower.architecture
    assert not any(module.training for module in loaded.modules())
    model.eval()
    for ours, theirs in zip(model(pictures()), loaded(pictures()), strict=True):
        assert torch.equal(ours, theirs)
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert [name for name, weight in loaded.named_parameters() if weight.requires_grad] == trainable


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda config: config.pop("architecture"), "architecture is missing"),
        (lambda config: config.update(architecture=[1]), "no mapping"),
        (lambda config: config["architecture"].pop("patch_size"), "patch_size"),
        (lambda config: config["architecture"].update(extra=1), "extra"),
        (lambda config: config["architecture"].update(hidden_size="wide"), "hidden_size is 'wide'"),
        (lambda config: config["architecture"].update(hidden_size=15), "none of a CLIP"),
        (lambda config: config["architecture"].update(hidden_act="no such"), "none of a CLIP"),
        (lambda config: config["architecture"].update(patch_size=0), "patch_size is 0"),
        (lambda config: config["architecture"].update(image_size=[32, 48]), "image_size is"),
        (lambda config: config["architecture"].update(num_hidden_layers=3), "another architecture"),
        (lambda config: config["settings"]["tower_settings"].update(width=8), "do not describe"),
        (lambda config: config["settings"].update(tower="conv"), "do not describe"),
    ],
)
def test_damaged_architecture(clip_folder, tmp_path, change, match):
    save_model(build_model(settings_of(clip_folder)), tmp_path)
    config = json.loads((tmp_path / "model.json").read_text())
    change(config)
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=match):
        load_model(tmp_path)


def test_no_network_is_asked_for_a_saved_model(clip_folder, tmp_path, monkeypatch):
    save_model(build_model(settings_of(clip_folder)), tmp_path)
    config = json.loads((tmp_path / "model.json").read_text())
    config["settings"]["tower_settings"]["name"] = "somebody/some-clip"
    (tmp_path / "model.json").write_text(json.dumps(config))
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("a connection was opened"))
    assert load_model(tmp_path).settings.tower_settings.name == "somebody/some-clip"


def test_other_sizes(clip_folder):
    model = build_model(settings_of(clip_folder)).eval()
    assert model.encode_features(pictures(height=24, width=40)).shape == (2, 3, TINY_CLIP_DIM)
    with pytest.raises(SettingsError, match=r"patch size 8.*36 x 32"):
        model.encode_features(pictures(height=36))


def test_more_blocks_than_there_are(clip_folder):
    with pytest.raises(SettingsError, match=r"num_blocks is 3.* has 2"):
        build_model(settings_of(clip_folder, tuning="last_blocks", num_blocks=3))


def test_peft_that_is_not_installed(clip_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"smilevlm\[towers\]"):
        build_model(settings_of(clip_folder, tuning="lora"))


def test_no_torchvision_comes_along():
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize(
    "bad",
    [
        {"name": ""},
        {"features": "hidden"},
        {"tuning": "some"},
        {"num_blocks": 0},
        {"lora_rank": 0},
        {"lora_alpha": 0.0},
        {"lora_dropout": 1.0},
    ],
)
def test_refuses_settings(bad):
    with pytest.raises(REFUSED):
        ClipTowerSettings(**bad)


@pytest.mark.parametrize("tower", ["clip", "timm"])
def test_settings_of_another_tower_are_refused(tower):
    with pytest.raises(SettingsError, match=f"'{tower}' takes .*got ConvTowerSettings"):
        ModelSettings(tower=tower, tower_settings=ConvTowerSettings())


def test_a_transformer_does_not_mix_samples(clip_folder):
    assert not uses_batch_statistics(build_model(settings_of(clip_folder)).tower)
