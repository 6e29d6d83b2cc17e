"""Relevance: it adds up, it names the view that decides, and it works with every kind of tower."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders_clip import TINY_CLIP_DIM, TINY_CLIP_IMAGE_SIZE, build_tiny_clip
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation import PixelRelevance, overlay_scale, pixel_relevance, relevance_overlay
from smilevlm.geometry import NormaliseSettings
from smilevlm.models import (
    ClipTowerSettings,
    ConvTowerSettings,
    FusionSettings,
    ModelBundle,
    ModelSettings,
    ProjectorSettings,
    build_model,
    class_prototypes,
    zero_shot_scores,
)
from smilevlm.prompts import PromptEmbeddings
from smilevlm.store import PrepareSettings
from smilevlm.views import ViewSettings

CLASSES = ("happy", "sad", "fear")
DIM, SIZE = TINY_CLIP_DIM, TINY_CLIP_IMAGE_SIZE


def bundle_with(**model) -> ModelBundle:
    torch.manual_seed(0)
    fusion = model.pop("fusion", FusionSettings(hidden_dim=5))
    built = build_model(
        ModelSettings(embedding_dim=DIM, projector=ProjectorSettings(hidden_dim=16), fusion=fusion, **model)
    )
    built.train()
    built(torch.rand(4, 3, 3, SIZE, SIZE), text=torch.randn(2, DIM))  # moves the running statistics
    raw = np.random.default_rng(0).normal(size=(6, DIM)).astype(np.float32)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    return ModelBundle(
        model=built.eval(),
        prompts=PromptEmbeddings(
            texts=tuple("abcdef"), classes=tuple(name for name in CLASSES for _ in "ab"), raw=raw, mean=raw.mean(axis=0)
        ),
        text_digest="abc",
        text_tower="minilm",
        classes=CLASSES,
        prepare=PrepareSettings(views=ViewSettings(size=SIZE), normalise=NormaliseSettings()),
        temperature=0.05,
        synthetic=True,
    )


@pytest.fixture(scope="module")
def conv() -> ModelBundle:
    return bundle_with(tower_settings=ConvTowerSettings(width=8))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> ModelBundle:
    folder = build_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")
    return bundle_with(tower="clip", tower_settings=ClipTowerSettings(name=str(folder)))


def random_views(seed: int = 1) -> np.ndarray:
    views = np.random.default_rng(seed).integers(1, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    views[:, :6] = 0  # no surface
    return views


def score_of(bundle: ModelBundle, views: np.ndarray, target: str) -> float:
    """The explained score by way of evaluation's own arithmetic."""
    scores = zero_shot_scores(bundle.embed(views[None]).z_fused, bundle.prototypes)[0]
    index = CLASSES.index(target)
    return float(scores[index] - np.delete(scores, index).mean())


@pytest.mark.parametrize("tower", ["conv", "clip"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_it_adds_up_to_the_score(tower, dynamic, request):
    bundle, views = request.getfixturevalue(tower), random_views()
    found = pixel_relevance(bundle, views, "sad", dynamic=dynamic)
    baseline = np.full_like(views, 128 if dynamic else 0)
    assert found.score == pytest.approx(score_of(bundle, views, "sad"), abs=1e-5)
    assert found.baseline_score == pytest.approx(score_of(bundle, baseline, "sad"), abs=1e-5)
    difference = found.score - found.baseline_score
    assert abs(difference) > 0.02, "otherwise zeros would add up too"
    assert abs(float(found.pixels.sum()) - difference) <= 0.02 * abs(difference) + 0.002
    assert found.adds_up
    assert found.view_share.sum() == pytest.approx(1)


def test_what_equals_the_baseline_has_no_relevance(conv):
    found = pixel_relevance(conv, random_views(), "happy")
    assert not found.pixels[:, :6].any()
    assert found.pixels[:, 6:].any(axis=(1, 2)).all()


@pytest.mark.parametrize("deciding", [0, 2])
def test_a_fusion_that_looks_at_one_view_gives_relevance_there_alone(conv, deciding, monkeypatch):
    def one_view(z, mask=None, text=None):
        weights = torch.zeros(z.shape[:2])
        weights[:, deciding] = 1
        return z[:, deciding], weights

    monkeypatch.setattr(conv.model.fusion, "forward", one_view)
    found = pixel_relevance(conv, random_views(), "happy")
    assert found.adds_up
    expected = np.zeros(3)
    expected[deciding] = 1
    np.testing.assert_array_equal(found.view_share, expected)


def test_a_fusion_that_reads_prompts_gets_them():
    guided = bundle_with(
        tower_settings=ConvTowerSettings(width=8),
        fusion=FusionSettings(kind="text_guided", hidden_dim=5, num_heads=2),
    )
    views = random_views()
    found = pixel_relevance(guided, views, "fear")
    assert found.score == pytest.approx(score_of(guided, views, "fear"), abs=1e-5)
    others = -guided.prompts.centred
    moved = pixel_relevance(guided, views, "fear", candidates=others)
    assert moved.score != found.score


def test_the_same_bytes_whatever_the_mode_and_the_threads(conv):
    first = pixel_relevance(conv, random_views(), "happy")
    conv.model.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second = pixel_relevance(conv, random_views(), "happy")
    finally:
        torch.set_num_threads(threads)
    assert not conv.model.training
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert all(weight.grad is None for weight in conv.model.parameters())


def test_a_direction_and_classes_of_its_own(conv):
    views, own = random_views(), conv.prototypes
    named = pixel_relevance(conv, views, "happy")
    # A direction is compared with all classes, itself included: cosine - mean of three, two thirds of the named score.
    direct = pixel_relevance(conv, views, 3.0 * own.vectors[0])
    assert direct.score == pytest.approx(2 / 3 * named.score, abs=1e-5)
    typed = class_prototypes(conv.prompts.centred[:3], ("calm", "calm", "pain"), ("calm", "pain"), "max")
    scores = zero_shot_scores(conv.embed(views[None]).z_fused, typed)[0]
    found = pixel_relevance(conv, views, "pain", prototypes=typed)
    assert found.score == pytest.approx(scores[1] - scores[0], abs=1e-5)
    with pytest.raises(SettingsError, match="'happy' is none of the classes calm, pain"):
        pixel_relevance(conv, views, "happy", prototypes=typed)
    with pytest.raises(SettingsError, match=r"\(5,\) wide, the prototypes \(12,\)"):
        pixel_relevance(conv, views, np.ones(5))
    with pytest.raises(CheckpointError, match="1 target embeddings are zero"):
        pixel_relevance(conv, views, np.zeros(DIM))


def test_no_relevance_at_all_has_no_shares():
    found = PixelRelevance(pixels=np.zeros((3, 4, 4), np.float32), score=0.0, baseline_score=0.0, num_steps=32)
    with pytest.raises(CheckpointError, match="no pixel"):
        _ = found.view_share
    missed = replace(found, score=0.5)
    assert missed.completeness_error == pytest.approx(-0.5)
    assert not missed.adds_up


def test_the_overlay_shows_sign_face_and_background():
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 8:56] = (90, 160, 120)
    pixels = np.zeros((64, 64), np.float32)
    pixels[20:44, 12:28] = 2.0
    pixels[20:44, 36:52] = -2.0
    drawn = relevance_overlay(image, pixels, scale=overlay_scale(pixels[None])).astype(int)
    assert drawn.shape == (224, 224, 3)
    background, orange, blue, face = drawn[10, 10], drawn[112, 70], drawn[112, 154], drawn[112, 112]
    assert len(set(background)) == 1
    assert orange[0] > orange[1] > orange[2]
    assert blue[2] > blue[1] > blue[0]
    plain = relevance_overlay(image, pixels, scale=0.0)
    assert (plain[..., 0] == plain[..., 2]).all()
    assert np.ptp(face) < np.ptp(orange)
