"""A CLIP from a local folder the whole way: a recipe of the paper's scale trains, is scored, saved and predicts."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from builders_clip import build_tiny_clip
from smilevlm.errors import CheckpointError
from smilevlm.evaluation import evaluate_run
from smilevlm.predict import load
from smilevlm.recipes import find_recipe
from smilevlm.training.resolve import with_overrides
from smilevlm.training.run import train_run

IMAGE_SIZE = 48


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


def small(folder, *more: str):
    width = json.loads((folder / "config.json").read_text())["projection_dim"]
    return with_overrides(
        find_recipe("paper_bu3dfe_subset1"),
        (
            f"text_tower={folder}", f"model.tower_settings.name={folder}", f"model.embedding_dim={width}",
            "model.projector.hidden_dim=16", "model.fusion.hidden_dim=8", f"prepare.views.size={IMAGE_SIZE}",
            "num_folds=2", "num_control_folds=0", "optimiser.batch_size=6", "optimiser.epochs=2", *more,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        ("optimiser.micro_batch_size=4",),
        ("model.tower_settings.tuning=lora", "model.fusion.kind=text_guided", "loss.learned_temperature=true"),
        ("model.tower_settings.tuning=frozen", "model.fusion.kind=cross_view"),
    ],
    ids=["full", "lora", "frozen"],
)
def test_the_whole_way(store_of_four, faces_of_four, clip_folder, tmp_path, more):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    run = tmp_path / "run"
    train_run(small(folder, *more), store_of_four, run, folds=[0])
    result = evaluate_run(run, store_of_four, num_examples=1)
    assert result.folds[0].num_test_samples == 12
    scan = min(faces_of_four.rglob("*HA04*F3D.wrl"))
    answer = load(run).predict(scan)
    own = load(run).predict(scan, prompts={"smile": ["a face with a smile"], "tears": ["a face with tears"]})
    assert sum(own.probabilities.values()) == pytest.approx(1)

    shutil.rmtree(folder)
    alone = load(run)
    # The saved model has all it needs; only words that are typed later ask for the text tower.
    assert alone.predict(scan).probabilities == answer.probabilities
    with pytest.raises(CheckpointError, match="clip"):
        alone.predict(scan, prompts={"smile": ["a face with a smile"], "pain": ["a face in pain"]})


def test_what_is_frozen_keeps_its_weights(store_of_four, clip_folder, tmp_path):
    run = tmp_path / "run"
    train_run(small(clip_folder, "model.tower_settings.tuning=frozen"), store_of_four, run, folds=[0])
    given = load_file(clip_folder / "model.safetensors")
    kept = load_file(run / "fold_00" / "model.safetensors")
    blocks = [name for name in kept if "encoder.layers" in name]
    assert len(blocks) > 10
    for name in blocks:
        source = "vision_model" + name[name.index(".encoder") :]
        assert torch.equal(kept[name], given[source]), name
