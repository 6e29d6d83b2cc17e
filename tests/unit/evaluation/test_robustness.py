"""Degraded and missing views, another set, probes with few labels: each against the way it is said to be computed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from smilevlm.errors import StoreError
from smilevlm.evaluation import evaluate_robustness
from smilevlm.evaluation.robustness import _conditions, _same_person_nearest, degrade, matched_accuracy
from smilevlm.evaluation.trained_fold import open_trained_fold
from smilevlm.models import predicted_classes, zero_shot_scores
from smilevlm.results import ROBUSTNESS_NAME, RobustnessResult, read_record, read_results
from smilevlm.store import PreparedSet


@pytest.fixture(scope="module")
def run(trained_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness") / "run"
    shutil.copytree(trained_run, folder)
    return folder


@pytest.fixture(scope="module")
def result(run, prepared_store):
    return evaluate_robustness(run, prepared_store, few_labels=(2,), other_store=None)


def test_clean_views_score_as_evaluation_does(run, result):
    evaluated = read_results(run / "results.json").folds[0]
    clean = result.conditions["clean"]
    assert clean.prompts.fused == evaluated.accuracy
    assert clean.prompts.mean_fusion == evaluated.mean_fusion_accuracy
    assert clean.prompts.single_views == evaluated.single_view_accuracy
    assert set(clean.prompts.fused_with_view.values()) == {clean.prompts.fused}
    assert clean.linear_probe == evaluated.readouts["linear_probe"].accuracy
    assert result.probes[-1].accuracy == clean.linear_probe
    assert read_record(run / ROBUSTNESS_NAME, RobustnessResult) == result


def test_a_missing_view_is_left_out_of_the_fusion(run, prepared_store, result):
    trained = open_trained_fold(run, prepared_store, None)
    embedded = trained.bundle.embed(trained.prepared.load_images(trained.indices))
    missing = np.random.default_rng([0, 1]).integers(3, size=len(trained.indices))
    right = []
    for z, view, truth in zip(embedded.z_views, missing, trained.truth, strict=True):
        # The views that are there, given as if there had never been another.
        z_fused, _ = trained.bundle.fuse(np.delete(z, view, axis=0)[None])
        right.append(predicted_classes(zero_shot_scores(z_fused, trained.prototypes))[0] == truth)
    assert result.conditions["one_view_missing"].prompts.fused == np.mean(right)
    with_frontal = np.array(right)[missing != 1]
    assert result.conditions["one_view_missing"].prompts.fused_with_view[0.0] == np.mean(with_frontal)
    assert result.conditions["one_view_missing"].linear_probe is None


def test_degraded_views_differ_and_only_where_they_should(run, prepared_store, result):
    trained = open_trained_fold(run, prepared_store, None)
    images = trained.prepared.load_images(trained.indices)
    views = trained.config.prepare.views
    degraded = degrade(images, trained.samples, views, seed=3)
    assert degraded.shape == images.shape
    assert degraded.dtype == np.uint8
    assert (degraded != images).any(axis=(2, 3, 4)).all()
    np.testing.assert_array_equal(degraded, degrade(images, trained.samples, views, seed=3))
    assert (degraded != degrade(images, trained.samples, views, seed=4)).any()
    # Where there is nothing for a blur to smear, nothing appears.
    assert not images[..., :2, :2, :].any()
    assert not degraded[..., :2, :2, :].any()
    assert 0 < result.conditions["one_view_degraded"].prompts.degraded_view_weight < 1
    assert result.conditions["all_views_degraded"].prompts.degraded_view_weight is None


def test_one_view_of_each_sample_is_degraded(run, prepared_store):
    views = _conditions(open_trained_fold(run, prepared_store, None), None, seed=0)
    clean, all_degraded, one = (views[name] for name in ("clean", "all_views_degraded", "one_view_degraded"))
    chosen = one.degraded[:, None] == np.arange(3)
    np.testing.assert_array_equal(one.z[chosen], all_degraded.z[chosen])
    np.testing.assert_array_equal(one.features[~chosen], clean.features[~chosen])
    assert (one.features[chosen] != clean.features[chosen]).any()
    assert {0, 1, 2} == set(one.degraded.tolist())


def test_another_set_must_have_the_same_views(run, prepared_store, store_of_four):
    found = evaluate_robustness(run, prepared_store, other_store=store_of_four)
    # Everything with a class that is compared.
    samples = PreparedSet(store_of_four).samples
    assert found.conditions["other_faces"].num_samples == sum(s.expression != "neutral" for s in samples)
    assert found.other_manifest_hash == PreparedSet(store_of_four).manifest.content_hash
    with pytest.raises(StoreError, match="no-such-store"):
        evaluate_robustness(run, prepared_store, other_store=run / "no-such-store")


def test_answers_are_matched_to_classes_as_clusterings_are():
    truth, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 2, 2, 0, 1])
    assert (truth == predicted).mean() == 0
    matched, chance = matched_accuracy(truth, predicted, "abc", seed=0)
    assert matched == pytest.approx(5 / 6)
    assert 1 / 3 < chance < 5 / 6
    random = np.random.default_rng(0).integers(0, 3, (2, 300))
    matched, chance = matched_accuracy(*random, "abc", seed=0)
    assert matched == pytest.approx(chance, abs=0.05)
    assert chance > 1 / 3


def test_the_nearest_scan_is_another_one():
    features = np.array([[[1.0, 0.0]], [[0.9, 0.1]], [[0.0, 1.0]], [[0.1, 1.0]]])
    assert _same_person_nearest(features, ["a", "a", "b", "b"]) == 1.0
    assert _same_person_nearest(features, ["a", "b", "a", "b"]) == 0.0
