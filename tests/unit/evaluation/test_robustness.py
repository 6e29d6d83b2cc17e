"""Degraded and missing views, another set, probes with few labels: each against the way it is said to be computed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from smilevlm.errors import StoreError
from smilevlm.evaluation import evaluate_robustness
from smilevlm.evaluation.robustness import _matched_accuracy, _same_person_nearest, degrade
from smilevlm.evaluation.trained_fold import open_trained_fold
from smilevlm.models import predicted_classes, zero_shot_scores
from smilevlm.results import RobustnessResult, read_record, read_results
from smilevlm.store import PreparedSet
from smilevlm.training import ROBUSTNESS_NAME


@pytest.fixture(scope="module")
def run(trained_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness") / "run"
    shutil.copytree(trained_run, folder)
    return folder


@pytest.fixture(scope="module")
def result(run, prepared_store):
    return evaluate_robustness(run, prepared_store, few_labels=(2,), other_head_model=None)


def test_clean_views_score_as_evaluation_does(run, result):
    evaluated = read_results(run / "results.json").folds[0]
    clean = result.conditions["clean"]
    assert clean.fused == evaluated.accuracy
    assert clean.mean_fusion == evaluated.mean_fusion_accuracy
    assert clean.single_views == evaluated.single_view_accuracy
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
    assert result.conditions["one_view_missing"].fused == np.mean(right)
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
    weight = result.conditions["one_view_degraded"].changed_view_weight
    assert weight is not None
    assert 0 < weight < 1
    assert result.conditions["all_views_degraded"].changed_view_weight is None


def test_another_set_must_have_the_same_views(run, prepared_store, store_of_four):
    found = evaluate_robustness(run, prepared_store, other_head_model=store_of_four)
    # Everything with a class that is compared.
    samples = PreparedSet(store_of_four).samples
    assert found.conditions["other_head_model"].num_samples == sum(s.expression != "neutral" for s in samples)
    with pytest.raises(StoreError, match="no-such-store"):
        evaluate_robustness(run, prepared_store, other_head_model=run / "no-such-store")


def test_answers_are_renamed_as_suits_best():
    truth, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 2, 2, 0, 1])
    assert (truth == predicted).mean() == 0
    assert _matched_accuracy(truth, predicted, 3) == pytest.approx(5 / 6)


def test_the_nearest_scan_is_another_one():
    features = np.array([[[1.0, 0.0]], [[0.9, 0.1]], [[0.0, 1.0]], [[0.1, 1.0]]])
    assert _same_person_nearest(features, ["a", "a", "b", "b"]) == 1.0
    assert _same_person_nearest(features, ["a", "b", "a", "b"]) == 0.0
