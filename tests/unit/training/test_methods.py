"""Ablations, baselines and controls: each trains by its name, and its result says what it is."""

from __future__ import annotations

import pytest

from builders_clip import build_tiny_clip
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation import evaluate_run
from smilevlm.models import build_model, load_bundle
from smilevlm.predict import load
from smilevlm.recipes import RECIPES, find_recipe
from smilevlm.recipes.methods import METHODS, with_method
from smilevlm.training.resolve import with_clip_width, with_overrides
from smilevlm.training.run import train_run

LOSSES = {
    "full": (1, 1, 1),
    "without_multi_view": (0, 1, 1),
    "without_alignment": (1, 0, 1),
    "without_redundancy": (1, 1, 0),
    "multi_view_alone": (1, 0, 0),
    "alignment_alone": (0, 1, 0),
}


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_method_leaves_out_what_its_name_says(name):
    config = with_method(find_recipe("tiny_bu4dfe"), name)
    assert (config.loss.alpha, config.loss.beta, config.loss.gamma) == LOSSES[name]
    assert config.method == name


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match=r"'fill'.*full.*supervised"):
        with_method(find_recipe("demo"), "fill")


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name.startswith("paper_")])
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_fits_the_recipes_of_the_paper(recipe, method):
    config = with_method(find_recipe(recipe), method)
    assert config.name == recipe
    assert METHODS[method].title


@pytest.fixture
def trained(prepared_store, make_tiny_config, tmp_path):
    """Train one fold by a method and score it."""

    def train(method: str, *overrides: str):
        config = with_method(make_tiny_config("num_control_folds=0"), method)
        run = tmp_path / method
        train_run(with_overrides(config, overrides), prepared_store, run, folds=[0])
        return run, evaluate_run(run, prepared_store, num_examples=1)

    return train


def test_the_supervised_baseline(trained, synthetic_faces):
    run, result = trained("supervised", "optimiser.epochs=40", "optimiser.learning_rate=0.003")
    assert (result.method, result.pairing_mode, result.pairing_name) == ("supervised", "labels", "supervised")
    assert result.aligned_with_text
    # It learns: two people are too few to recognise others, but not to be above chance on its own log.
    lines = (run / "fold_00/metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss_total")
    losses = [float(line.split(",")[column]) for line in lines[1:]]
    assert losses[-1] < 0.7 * losses[0]
    scan = next(synthetic_faces.glob("*/*_F3D.wrl"))
    assert set(load(run).predict(scan).probabilities) == set(result.classes)
    with pytest.raises(CheckpointError, match="trained with class labels"):
        load(run).predict(scan, prompts={"pain": ["a face in pain"]})


def test_the_multi_view_loss_alone_is_not_aligned_with_text(trained):
    _, result = trained("multi_view_alone")
    assert not result.aligned_with_text
    assert {"linear_probe", "knn"} <= set(result.folds[0].readouts)


def test_fresh_weights_have_no_log(trained):
    run, result = trained("untrained")
    assert result.folds[0].metrics_csv is None
    assert not (run / "fold_00/metrics.csv").exists()


def test_the_control_learns_from_other_prompts(trained):
    run, result = trained("shuffled_prompts")
    other, _ = trained("full")
    assert result.method == "shuffled_prompts"
    assert (run / "fold_00/model.safetensors").read_bytes() != (other / "fold_00/model.safetensors").read_bytes()


def test_raw_clip_is_the_clip_as_it_comes(prepared_store, make_tiny_config, tmp_path):
    import numpy as np
    import torch

    from smilevlm.models import CLIP_IMAGE_MEAN, CLIP_IMAGE_STD
    from smilevlm.prompts import load_text_tower
    from smilevlm.store import PreparedSet

    clip = build_tiny_clip(tmp_path / "clip")
    config = with_method(make_tiny_config("num_control_folds=0", f"text_tower={clip}"), "raw_clip")
    dim = load_text_tower(str(clip)).dim
    assert config.model.embedding_dim == dim
    run = tmp_path / "run"
    train_run(config, prepared_store, run, folds=[0])
    result = evaluate_run(run, prepared_store, num_examples=0)
    assert (result.method, result.settings["optimiser"]["epochs"]) == ("raw_clip", 0)

    # The same by transformers alone.
    from transformers import CLIPModel

    images = PreparedSet(prepared_store).load_images([0, 1])
    pixels = torch.from_numpy(images).permute(0, 1, 4, 2, 3).flatten(0, 1).float() / 255
    pixels = (pixels - torch.tensor(CLIP_IMAGE_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_IMAGE_STD).view(3, 1, 1)
    model = CLIPModel.from_pretrained(clip).eval()
    with torch.inference_mode():
        expected = model.get_image_features(pixels, interpolate_pos_encoding=True).pooler_output
    bundle = load_bundle(run / "fold_00")
    found = bundle.embed(images)
    np.testing.assert_allclose(found.z_views.reshape(-1, dim), expected.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.z_fused, found.z_views.mean(1), rtol=1e-5, atol=1e-6)
    assert not bundle.prompts.mean.any()


@pytest.mark.parametrize("width", [8, 20, 64, 512, 768])
def test_raw_clip_is_as_wide_as_its_clip(make_tiny_config, tmp_path, width):
    clip = build_tiny_clip(tmp_path / "clip", width=width)
    config = with_method(make_tiny_config(f"text_tower={clip}"), "raw_clip")
    assert config.model.embedding_dim == width
    assert with_method(config, "raw_clip") == config
    model = build_model(config.model)
    assert model.tower.feature_dim == model.fusion.dim == width


def test_the_width_of_a_named_clip_is_looked_up_when_it_is_trained_with(make_tiny_config, tmp_path, monkeypatch):
    config = with_method(make_tiny_config("text_tower=somewhere/clip"), "raw_clip")
    monkeypatch.setattr("smilevlm.training.resolve.clip_width", {"somewhere/clip": 768}.__getitem__)
    assert with_clip_width(config).model.embedding_dim == 768
    # A projector brings any width to the text's.
    assert with_clip_width(make_tiny_config()) == make_tiny_config()


def test_raw_clip_in_the_command_line_follows_the_text_tower(prepared_store, tiny_overrides, tmp_path):
    from smilevlm.cli import main

    clip = build_tiny_clip(tmp_path / "clip", width=20)
    # What the method sets itself, and the settings of another tower.
    others = [item for item in tiny_overrides if not item.startswith(("optimiser.epochs", "model."))]
    settings = [part for item in (*others, f"text_tower={clip}", "num_control_folds=0") for part in ("--set", item)]
    command = ["train", "demo", "--method", "raw_clip", "--store", str(prepared_store), "--out", str(tmp_path / "run")]
    assert main([*command, "--fold", "0", *settings]) in (None, 0)
    assert load_bundle(tmp_path / "run" / "fold_00").model.settings.embedding_dim == 20


@pytest.mark.parametrize("values", ["{}", '{"model_type": "bert"}', '{"model_type": "clip", "projection_dim": "wide"}'])
def test_a_folder_without_a_clip_is_one_clear_error(make_tiny_config, tmp_path, values):
    (tmp_path / "config.json").write_text(values)
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        with_method(make_tiny_config(f"text_tower={tmp_path}"), "raw_clip")
