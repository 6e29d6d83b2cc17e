"""CLIP from folder or hub: every way in which it can be missing or something else is one clear error."""

from __future__ import annotations

import json
import shutil

import pytest

from builders_clip import build_tiny_clip
from smilevlm.errors import CheckpointError
from smilevlm.pretrained import load_clip_text, load_clip_tokenizer, load_clip_vision


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "clip")


def change_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


@pytest.mark.parametrize("name", ["/no/such/folder", "./folder", "~/clip", "folder", "a/b/c", ""])
def test_a_name_that_is_neither_folder_nor_hub_id(name):
    with pytest.raises(CheckpointError, match=r"no such folder, and not a hub id"):
        load_clip_vision(name)


def test_a_hub_id_that_is_not_cached(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="somebody/some-clip: CLIP cannot be loaded"):
        load_clip_vision("somebody/some-clip")


@pytest.mark.parametrize(
    ("name", "repository", "revision"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32", "refs/pr/15"),
        ("openai/clip-vit-base-patch32@main", "openai/clip-vit-base-patch32", "main"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "main"),
        ("somebody/some-clip@refs/pr/3", "somebody/some-clip", "refs/pr/3"),
    ],
)
def test_a_hub_id_may_name_a_revision_and_the_default_has_one_with_safetensors(
    monkeypatch, name, repository, revision, original
):
    asked = []

    def fetch(path_or_repo_id, filename, **options):
        asked.append((path_or_repo_id, options["revision"], filename))
        return str(original / filename)

    for module in ("configuration_utils", "modeling_utils"):
        monkeypatch.setattr(f"transformers.{module}.cached_file", fetch)
    # An adapter is looked for as well, and there is none; the hub itself is not asked, which takes long where it is out
    # of reach.
    monkeypatch.setattr("transformers.utils.peft_utils.cached_file", lambda *_, **__: None)
    assert load_clip_vision(name).visual_projection.out_features > 0
    # No other file: nothing was converted, no pickle read.
    assert set(asked) == {(repository, revision, "config.json"), (repository, revision, "model.safetensors")}


@pytest.mark.parametrize("load", [load_clip_vision, load_clip_text])
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda folder: (folder / "config.json").unlink(), "of type None"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON"),
        (lambda folder: change_config(folder, model_type="bert"), "type 'bert'"),
        (lambda folder: change_config(folder, model_type="siglip"), "type 'siglip'"),
        (lambda folder: change_config(folder, vision_config={"hidden_size": "wide"}), "hidden_size"),
        (lambda folder: change_config(folder, projection_dim=13), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no file named"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"nonsense"), "cannot be loaded"),
    ],
)
def test_a_damaged_folder(folder, damage, match, load):
    damage(folder)
    with pytest.raises(CheckpointError, match=match) as caught:
        load(str(folder))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_named(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    load_clip_vision(str(folder), projected=False)
    with pytest.raises(CheckpointError, match=r"lack visual_projection\.weight"):
        load_clip_vision(str(folder))
    del tensors["vision_model.post_layernorm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack .*post_layernorm"):
        load_clip_vision(str(folder), projected=False)


def test_halves_that_forget_the_width_of_the_joint_space(folder):
    """Some published files name it for the whole alone, and transformers would take 512 for the halves."""
    config = json.loads((folder / "config.json").read_text())
    for half in ("vision_config", "text_config"):
        del config[half]["projection_dim"]
    change_config(folder, **config)
    assert load_clip_vision(str(folder)).visual_projection.out_features == config["projection_dim"]
    assert load_clip_text(str(folder)).text_projection.out_features == config["projection_dim"]


def test_one_half_saved_alone(original, tmp_path):
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        load_clip_vision(str(original)).save_pretrained(tmp_path)
    finally:
        logging.enable_progress_bar()
    assert load_clip_vision(str(tmp_path)).visual_projection.out_features == 12
    with pytest.raises(CheckpointError, match="its text model, got a model of type 'clip_vision_model'"):
        load_clip_text(str(tmp_path))


def test_a_folder_without_tokenizer(folder):
    vocabulary_size = load_clip_text(str(folder)).config.vocab_size
    assert len(load_clip_tokenizer(str(folder), vocabulary_size)) == vocabulary_size
    with pytest.raises(CheckpointError, match="no tokenizer"):
        load_clip_tokenizer(str(folder), vocabulary_size - 1)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="no tokenizer"):
        load_clip_tokenizer(str(folder), vocabulary_size)
