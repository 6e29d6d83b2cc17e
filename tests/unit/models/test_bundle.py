"""A trained model with its prompts on disk: the same bits back, and damage is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smilevlm.errors import CheckpointError
from smilevlm.geometry import NormaliseSettings
from smilevlm.models import (
    ConvTowerSettings,
    FusionSettings,
    ModelBundle,
    ModelSettings,
    ProjectorSettings,
    TrainingProvenance,
    build_model,
    bundle_digest,
    load_bundle,
    save_bundle,
)
from smilevlm.prompts import PromptEmbeddings
from smilevlm.store import PrepareSettings
from smilevlm.views import ViewSettings

CLASSES = ("happy", "sad")
DIM, SIZE = 12, 32


def random_unit_rows(rows: int) -> np.ndarray:
    raw = np.random.default_rng(0).normal(size=(rows, DIM)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(0)
    model = build_model(
        ModelSettings(
            embedding_dim=DIM,
            tower_settings=ConvTowerSettings(width=8),
            projector=ProjectorSettings(hidden_dim=16),
            fusion=FusionSettings(hidden_dim=5),
        )
    )
    model.train()
    model(torch.rand(4, 3, 3, SIZE, SIZE))  # moves the running statistics
    raw = random_unit_rows(4)
    return ModelBundle(
        model=model.eval(),
        prompts=PromptEmbeddings(
            texts=("a smile", "a grin", "Tränen", "a frown"),
            classes=("happy", "happy", "sad", "sad"),
            raw=raw,
            mean=raw.mean(axis=0),
        ),
        text_digest="abc",
        text_tower="minilm",
        classes=CLASSES,
        prepare=PrepareSettings(views=ViewSettings(size=SIZE), normalise=NormaliseSettings(crop_radius_mm=99.5)),
        temperature=0.05,
        calibrated=True,
        abstain_threshold=0.4,
        synthetic=True,
        trained_on=TrainingProvenance(
            manifest_hash="5a11", subjects=("F0001", "M0002"), layout="bu3dfe", digests=("f" * 64, "")
        ),
    )


@pytest.fixture
def folder(bundle, tmp_path) -> Path:
    save_bundle(bundle, tmp_path / "fold_00")
    return tmp_path / "fold_00"


def random_views(samples: int = 5) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (samples, 3, SIZE, SIZE, 3), dtype=np.uint8)


def test_the_same_embeddings_come_back(bundle, folder):
    loaded = load_bundle(folder)
    before, after = bundle.embed(random_views()), load_bundle(folder).embed(random_views())
    for name in ("z_views", "z_fused", "view_weights"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert getattr(after, name).dtype == np.float32
    np.testing.assert_array_equal(loaded.prototypes.vectors, bundle.prototypes.vectors)
    for name in ("classes", "text_digest", "prepare", "temperature", "synthetic", "calibrated", "abstain_threshold"):
        assert getattr(loaded, name) == getattr(bundle, name), name
    assert loaded.prompts.texts == bundle.prompts.texts
    assert loaded.prompts.classes == bundle.prompts.classes


def test_shapes_and_weights(bundle):
    embedded = bundle.embed(random_views())
    assert embedded.z_views.shape == (5, 3, DIM)
    assert embedded.z_fused.shape == (5, DIM)
    np.testing.assert_allclose(embedded.view_weights.sum(axis=1), 1, atol=1e-6)
    fused = (embedded.view_weights[..., None] * embedded.z_views).sum(axis=1)
    np.testing.assert_allclose(embedded.z_fused, fused, atol=1e-5)


def test_batches_and_company_change_nothing(bundle):
    views = random_views(7)
    whole = bundle.embed(views).z_fused
    np.testing.assert_allclose(bundle.embed(views, batch_size=3).z_fused, whole, atol=1e-5)
    np.testing.assert_allclose(bundle.embed(views[4:5]).z_fused[0], whole[4], atol=1e-5)


def test_embedding_puts_the_model_in_evaluation_mode(bundle):
    whole = bundle.embed(random_views()).z_fused
    bundle.model.train()
    np.testing.assert_array_equal(bundle.embed(random_views()).z_fused, whole)
    assert not bundle.model.training


def test_prototypes_are_the_classes_mean_centred_prompts(bundle):
    raw = bundle.prompts.raw.astype(np.float64)
    centred = raw - raw.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for row, pair in enumerate((centred[:2], centred[2:])):
        mean = pair.mean(axis=0)
        np.testing.assert_allclose(bundle.prototypes.vectors[row], mean / np.linalg.norm(mean), atol=1e-5)


def test_nothing_to_embed_is_refused(bundle):
    with pytest.raises(CheckpointError, match="no images"):
        bundle.embed(random_views(0))


def test_saving_twice_gives_the_same_bytes(bundle, folder, tmp_path):
    save_bundle(bundle, tmp_path / "again")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["bundle.json", "model.json", "model.safetensors", "prompts.safetensors"]
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


NAMES = ("bundle.json", "prompts.safetensors", "model.json", "model.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_bundle(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["empty", "half", "noise", "folder"])
def test_a_damaged_file_is_refused(folder, name, damage):
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "noise": bytes(range(256)) * 8}[damage])
    with pytest.raises(CheckpointError):
        load_bundle(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("classes"),
        lambda v: v.pop("text_digest"),
        lambda v: v.update(temperature="warm"),
        lambda v: v.update(prepare=None),
        lambda v: v["prepare"]["views"].update(colour="red"),
        lambda v: v["prepare"]["views"].update(size=-1),
        lambda v: v["prompt_texts"].pop(),
    ],
    ids=["no classes", "no digest", "temperature", "no prepare", "unknown setting", "size", "a text fewer"],
)
def test_a_description_that_makes_no_sense_is_refused(folder, change):
    path = folder / "bundle.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="damaged"):
        load_bundle(folder)


def test_weights_of_another_fold_are_refused(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="sha256"):
        load_bundle(other)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="no trained model"):
        load_bundle(tmp_path / "nowhere")


def test_whom_it_knows_comes_back_with_short_digests(bundle, folder):
    assert load_bundle(folder).trained_on == replace(bundle.trained_on, digests=("f" * 16,))


def test_a_folder_of_an_older_version_knows_nobody(folder):
    path = folder / "bundle.json"
    values = json.loads(path.read_text())
    del values["trained_on"]
    path.write_text(json.dumps(values))
    assert load_bundle(folder).trained_on is None


@pytest.mark.parametrize(
    "damaged", ["people", {"manifest_hash": "5a11"}, {"manifest_hash": "5a11", "subjects": ["a"], "layout": "x"}, [1]]
)
def test_damage_in_whom_it_knows_is_refused(folder, damaged):
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trained_on": damaged}))
    with pytest.raises(CheckpointError, match="damaged"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["bundle.json", "prompts.safetensors", "model.json", "model.safetensors"])
def test_the_digest_depends_on_every_file(folder, name):
    before = bundle_digest(folder)
    assert bundle_digest(folder) == before
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert bundle_digest(folder) != before
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        bundle_digest(folder)
