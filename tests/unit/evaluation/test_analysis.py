"""A run is analysed: the same bytes twice, nothing that evaluation refuses, and heads that are turned."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from smilevlm.datasets import index_data_set
from smilevlm.errors import CheckpointError, LeakError, SettingsError, StoreError
from smilevlm.evaluation import analyse_run
from smilevlm.evaluation.trained_fold import open_trained_fold, untrained_model
from smilevlm.models import build_model, load_bundle, zero_shot_scores
from smilevlm.results import AnalysisResult, read_record, read_results
from smilevlm.store import PreparedSet, prepare
from smilevlm.training.run_folder import ANALYSIS_NAME
from smilevlm.training.splits import fold_seed

ANGLES = (-60.0, -30.0, 0.0, 30.0, 60.0)
pytestmark = pytest.mark.slow


def prepared_with(faces, store, settings, *, subjects=None, **views):
    recordings = index_data_set("bu3dfe", faces).recordings
    chosen = [each for each in recordings if subjects is None or each.subject in subjects]
    changed = replace(settings, views=replace(settings.views, **views))
    prepare(chosen, store, changed, layout="bu3dfe", synthetic=True)
    return store


@pytest.fixture(scope="module")
def yaw_store(synthetic_faces, small_store_settings, tmp_path_factory):
    """The same faces with two more angles: turns by -30, 0 and 30 degrees."""
    return prepared_with(
        synthetic_faces, tmp_path_factory.mktemp("yaw") / "store", small_store_settings, angles_deg=ANGLES
    )


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def analysed(trained_run, prepared_store, yaw_store, tmp_path_factory):
    run = tmp_path_factory.mktemp("analysed") / "run"
    shutil.copytree(trained_run, run)
    steps = []
    result = analyse_run(
        run,
        prepared_store,
        yaw_store=yaw_store,
        num_relevance=2,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(done, 7) for done in range(1, 8)]
    return run, result


def pictures_of(run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "analysis").iterdir()}


def test_it_holds_all_that_was_asked_for(analysed, prepared_store):
    run, result = analysed
    assert read_record(run / ANALYSIS_NAME, AnalysisResult) == result
    evaluated = read_results(run / "results.json")
    fold = evaluated.folds[0]
    assert result.test_subjects == fold.test_subjects
    assert result.synthetic
    assert result.fold == 0
    assert [each.stage for each in result.maps] == ["before", "after"]
    after = result.maps[1].points
    assert np.mean([point.truth == point.predicted for point in after]) == pytest.approx(fold.accuracy)
    assert {(each.name, each.stage) for each in result.correlations} == {
        (name, stage) for name in ("multi_view", "cross_modal") for stage in ("before", "after")
    }
    assert all(len(each.block) == 64 and each.width == 384 for each in result.correlations)
    ranks = {(each.what, each.stage): each for each in result.effective_ranks}
    assert len(ranks) == 6
    assert all(1 <= each.effective_rank <= min(each.width, each.num_samples) + 1e-6 for each in ranks.values())
    assert ranks["tower", "after"].num_samples == 3 * ranks["fused", "after"].num_samples == 3 * len(after)
    assert ranks["fused", "before"].effective_rank != ranks["fused", "after"].effective_rank


def test_without_a_turn_the_scores_are_those_of_the_evaluation(analysed):
    run, result = analysed
    fold = read_results(run / "results.json").folds[0]
    assert [point.yaw_deg for point in result.yaw] == [-30.0, 0.0, 30.0]
    straight = result.yaw[1]
    assert straight.accuracy == pytest.approx(fold.accuracy)
    assert straight.single_view_accuracy == pytest.approx(dict(fold.single_view_accuracy))
    assert straight.view_weights == pytest.approx(dict(fold.view_weights), abs=1e-4)
    assert result.notes == ()


def test_a_turned_head_is_scored_on_the_views_beside(analysed, yaw_store):
    run, result = analysed
    bundle, prepared = load_bundle(run / "fold_00"), PreparedSet(yaw_store)
    chosen = [i for i, sample in enumerate(prepared.samples) if sample.subject in result.test_subjects]
    chosen = [i for i in chosen if prepared.samples[i].expression in result.classes]
    chosen = [i for i in chosen if prepared.samples[i].level in (3, 4)]
    turned = bundle.embed(prepared.load_images(chosen)[:, [2, 3, 4]])
    scores = zero_shot_scores(turned.z_fused, bundle.prototypes)
    truth = [result.classes.index(prepared.samples[i].expression) for i in chosen]
    assert result.yaw[2].num_samples == len(chosen)
    assert result.yaw[2].accuracy == pytest.approx(np.mean(scores.argmax(axis=1) == truth))
    np.testing.assert_allclose(list(result.yaw[2].view_weights.values()), turned.view_weights.mean(axis=0), atol=1e-4)


def test_relevance_is_of_drawn_samples_for_truth_and_prediction(analysed):
    run, result = analysed
    assert 2 <= len(result.relevance) <= 4
    assert len({each.sample_id for each in result.relevance}) == 2
    for each in result.relevance:
        assert each.target in (each.truth, each.predicted)
        assert sum(each.view_share.values()) == pytest.approx(1)
        for name in each.images.values():
            with Image.open(run / name) as image:
                assert image.size == (224, 224)
    for sample in {each.sample_id: each for each in result.relevance}.values():
        targets = [each.target for each in result.relevance if each.sample_id == sample.sample_id]
        assert targets == list(dict.fromkeys((sample.truth, sample.predicted)))


def test_the_same_bytes_twice(analysed, prepared_store, yaw_store):
    run, _ = analysed
    first, pictures = (run / ANALYSIS_NAME).read_bytes(), pictures_of(run)
    torch.manual_seed(99)
    analyse_run(run, prepared_store, yaw_store=yaw_store, num_relevance=2)
    assert (run / ANALYSIS_NAME).read_bytes() == first
    assert pictures_of(run) == pictures


def test_before_training_are_the_weights_that_training_began_with(
    prepared_store, trained_run, make_tiny_config, tmp_path, monkeypatch
):
    from smilevlm.training import trainer
    from smilevlm.training.run import train_run

    begun = []

    def spied(settings):
        model = build_model(settings)
        begun.append({name: value.clone() for name, value in model.state_dict().items()})
        return model

    monkeypatch.setattr(trainer, "build_model", spied)
    train_run(make_tiny_config("num_control_folds=0"), prepared_store, tmp_path / "run", folds=[1])
    before = torch.get_rng_state()
    model = untrained_model(open_trained_fold(tmp_path / "run", prepared_store, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, begun[0][name]), name
    assert fold_seed(make_tiny_config(), 0) != fold_seed(make_tiny_config(), 1)


def test_without_a_yaw_store_a_note_says_so(run, prepared_store):
    result = analyse_run(run, prepared_store, fold=1, num_relevance=0)
    assert result.fold == 1
    assert result.yaw == result.relevance == ()
    assert not (run / "analysis").exists()
    assert "no store with more angles" in result.notes[0]


def test_a_store_of_too_few_angles_is_noted(run, prepared_store):
    result = analyse_run(run, prepared_store, yaw_store=prepared_store, num_relevance=0)
    assert result.yaw == ()
    assert "too few angles" in result.notes[0]


def test_samples_without_more_angles_are_counted(run, prepared_store, synthetic_faces, small_store_settings, tmp_path):
    fold = open_trained_fold(run, prepared_store, 0)
    missing = fold.samples[0].sample_id
    kept = [each for each in index_data_set("bu3dfe", synthetic_faces).recordings if each.sample_id != missing]
    settings = replace(small_store_settings, views=replace(small_store_settings.views, angles_deg=ANGLES))
    prepare(kept, tmp_path / "less", settings, layout="bu3dfe", synthetic=True)
    result = analyse_run(run, prepared_store, yaw_store=tmp_path / "less", num_relevance=0)
    assert {point.num_samples for point in result.yaw} == {len(fold.samples) - 1}
    assert f"1 of {len(fold.samples)} test samples" in result.notes[0]
    assert missing in result.notes[0]


def test_yaw_stores_that_are_refused(run, prepared_store, synthetic_faces, small_store_settings, tmp_path):
    smaller = prepared_with(
        synthetic_faces, tmp_path / "smaller", small_store_settings, angles_deg=ANGLES, size=32, subjects={"F0001"}
    )
    with pytest.raises(StoreError, match=r"views.size is 32, the run has 48"):
        analyse_run(run, prepared_store, yaw_store=smaller)
    fold = open_trained_fold(run, prepared_store, 0)
    test, trained = fold.split.test_subjects, fold.split.train_subjects
    others = prepared_with(
        synthetic_faces, tmp_path / "others", small_store_settings, angles_deg=ANGLES, subjects=set(trained)
    )
    with pytest.raises(StoreError, match="holds none of the"):
        analyse_run(run, prepared_store, yaw_store=others)
    shutil.copytree(synthetic_faces, tmp_path / "faces")
    for scan in [each.path for each in index_data_set("bu3dfe", tmp_path / "faces").recordings if each.subject in test]:
        scan.write_bytes(scan.read_bytes() + b"# the same face\n")
    changed = prepared_with(
        tmp_path / "faces", tmp_path / "changed", small_store_settings, angles_deg=ANGLES, subjects=set(test)
    )
    with pytest.raises(StoreError, match="made from other files"):
        analyse_run(run, prepared_store, yaw_store=changed)
    assert not (run / ANALYSIS_NAME).exists()


def test_runs_that_are_refused(run, prepared_store, store_of_four, tmp_path):
    with pytest.raises(StoreError, match="manifest hashes differ"):
        analyse_run(run, store_of_four)
    with pytest.raises(SettingsError, match="fold 5 is outside 0 to 1"):
        analyse_run(run, prepared_store, fold=5)
    with pytest.raises(SettingsError, match="num_examples=99"):
        analyse_run(run, prepared_store, num_relevance=99)
    with pytest.raises(CheckpointError, match="no run folder"):
        analyse_run(tmp_path, prepared_store)
    shutil.rmtree(run / "fold_01")
    with pytest.raises(CheckpointError, match="no trained fold 1"):
        analyse_run(run, prepared_store, fold=1)
    shutil.rmtree(run / "fold_00")
    with pytest.raises(CheckpointError, match="no trained fold"):
        analyse_run(run, prepared_store)


def test_a_model_that_knows_test_subjects_is_refused(run, prepared_store):
    path = run / "fold_00" / "bundle.json"
    described = json.loads(path.read_text())
    split = json.loads((run / "fold_00" / "fold.json").read_text())
    described["trained_on"]["subjects"] = split["test_subjects"]
    path.write_text(json.dumps(described))
    with pytest.raises(LeakError):
        analyse_run(run, prepared_store)


def test_runs_that_test_elsewhere_are_refused(run, prepared_store, monkeypatch):
    from smilevlm.evaluation import trained_fold

    elsewhere = trained_fold.find_protocol("bp4d_cross")
    monkeypatch.setattr(trained_fold, "find_protocol", lambda name: elsewhere)
    with pytest.raises(SettingsError, match="tests on another data set than it trains on"):
        analyse_run(run, prepared_store)
