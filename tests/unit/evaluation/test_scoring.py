"""Evaluation scores a model's probabilities at the model's own temperature."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from smilevlm.evaluation import calibration, class_directions, embed, evaluate_run
from smilevlm.models import load_bundle, predicted_classes, probabilities, zero_shot_scores
from smilevlm.results import read_results
from smilevlm.store import PreparedSet
from smilevlm.training.run import train_run
from smilevlm.training.run_folder import read_fold_record

CALIBRATED = (
    "optimiser.epochs=3",
    "num_control_folds=0",
    "validation.share=0.5",
    "validation.monitor=accuracy",
    "validation.calibrate=true",
)


@pytest.fixture(scope="module")
def calibrated_run(store_of_four, make_tiny_config, tmp_path_factory) -> Path:
    """One fold whose temperature was fitted to held-back people, evaluated. Read only: copy it to change it."""
    run = tmp_path_factory.mktemp("calibrated") / "run"
    train_run(make_tiny_config(*CALIBRATED), store_of_four, run, folds=[0])
    evaluate_run(run, store_of_four, num_examples=3)
    return run


def test_a_fitted_temperature_is_the_one_that_is_scored(calibrated_run, make_tiny_config):
    fitted = load_bundle(calibrated_run / "fold_00")
    assert fitted.calibrated
    assert fitted.temperature != make_tiny_config(*CALIBRATED).score_temperature
    (fold,) = read_results(calibrated_run / "results.json").folds
    assert fold.calibration.temperature == fitted.temperature


@pytest.mark.parametrize("temperature", [0.004, 0.03, 0.0847, 0.4, 2.0, 5.0])
def test_calibration_late_fusion_and_examples_follow_the_model(calibrated_run, store_of_four, tmp_path, temperature):
    run = shutil.copytree(calibrated_run, tmp_path / "run")
    description = run / "fold_00" / "bundle.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"temperature": temperature}))
    result = evaluate_run(run, store_of_four, num_examples=3)
    (fold,) = result.folds
    model, prepared = load_bundle(run / "fold_00"), PreparedSet(store_of_four)
    test = read_fold_record(run / "fold_00").split.test
    embedded, prototypes = embed(model, prepared, test), class_directions(model, result.classes)
    truth = np.array([result.classes.index(prepared.samples[i].expression) for i in test])

    scores = zero_shot_scores(embedded.z_fused, prototypes)
    shares = probabilities(scores, temperature)
    expected = calibration(shares, predicted_classes(scores) == truth, temperature)
    assert fold.calibration.temperature == temperature
    assert fold.calibration.expected_calibration_error == pytest.approx(expected.expected_calibration_error)

    views = [probabilities(zero_shot_scores(embedded.z_views[:, view], prototypes), temperature) for view in range(3)]
    late = float((np.mean(views, axis=0).argmax(axis=1) == truth).mean())
    assert fold.readouts["late_fusion"].accuracy == pytest.approx(late)

    by_id = {prepared.samples[i].sample_id: row for row, i in enumerate(test)}
    assert len(result.examples) == 3
    for example in result.examples:
        found = [example.probabilities[name] for name in result.classes]
        np.testing.assert_allclose(found, shares[by_id[example.sample_id]], atol=1e-5)


def test_without_calibration_it_is_the_recipe_s(trained_run):
    result = read_results(trained_run / "results.json")
    assert {fold.calibration.temperature for fold in result.folds} == {0.07}


# The epoch that was chosen.


def test_the_chosen_epoch_is_in_the_result_and_in_the_log(calibrated_run):
    (fold,) = read_results(calibrated_run / "results.json").folds
    choice = fold.epoch_choice
    assert choice is not None
    lines = (calibrated_run / fold.metrics_csv).read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    last_of_epoch = {int(row["epoch"]): row["validation_accuracy"] for row in rows}
    values = [float(last_of_epoch[epoch]) for epoch in range(3)]
    assert sum(row["validation_accuracy"] != "" for row in rows) == 3
    assert (choice.monitor, choice.num_epochs) == ("accuracy", 3)
    assert (choice.epoch, choice.value) == (values.index(max(values)), max(values))


def test_a_loss_chooses_the_smallest(store_of_four, make_tiny_config, tmp_path):
    run = tmp_path / "run"
    config = make_tiny_config("optimiser.epochs=2", "num_control_folds=0", "validation.share=0.5")
    train_run(config, store_of_four, run, folds=[0])
    (fold,) = evaluate_run(run, store_of_four, num_examples=0).folds
    lines = (run / fold.metrics_csv).read_text().splitlines()
    column = lines[0].split(",").index("validation_loss")
    values = [float(cell) for line in lines[1:] if (cell := line.split(",")[column])]
    assert len(values) == 2
    assert (fold.epoch_choice.monitor, fold.epoch_choice.value) == ("loss", min(values))
    assert fold.epoch_choice.epoch == values.index(min(values))


def test_without_validation_subjects_no_epoch_is_chosen(trained_run):
    result = read_results(trained_run / "results.json")
    assert {fold.epoch_choice for fold in result.folds} == {None}
    assert "validation" not in (trained_run / "fold_00" / "metrics.csv").read_text()


def test_the_measured_share_of_the_gradient_is_in_log_and_result(store_of_four, make_tiny_config, tmp_path):
    run, steps = tmp_path / "run", ("loss.multi_view_share=0.3", "loss.share_steps=4", "num_control_folds=0")
    train_run(make_tiny_config(*steps), store_of_four, run, folds=[0])
    (fold,) = evaluate_run(run, store_of_four, num_examples=0).folds
    assert fold.multi_view_gradient == read_fold_record(run / "fold_00").multi_view_gradient
    with (run / fold.metrics_csv).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 4
    assert [bool(row["multi_view_share"]) for row in rows] == [True] * 4 + [False] * (len(rows) - 4)
    assert len({row["multi_view_scale"] for row in rows[:4]}) == 4
    assert {float(row["multi_view_scale"]) for row in rows[3:]} == {fold.multi_view_gradient.scale}
    assert fold.multi_view_gradient.num_steps == 4
    assert fold.multi_view_gradient.share == pytest.approx(0.3)
    # At each step's scale; brought to the last one their geometric mean is what was asked for.
    shares = [float(row["multi_view_share"]) / float(row["multi_view_scale"]) for row in rows[:4]]
    assert np.exp(np.mean(np.log(shares))) * fold.multi_view_gradient.scale == pytest.approx(0.3)


def test_a_fold_of_a_version_that_kept_no_choice_is_scored(calibrated_run, store_of_four, tmp_path):
    run = shutil.copytree(calibrated_run, tmp_path / "run")
    path = run / "fold_00" / "fold.json"
    values = json.loads(path.read_text())
    del values["epoch_choice"]
    path.write_text(json.dumps(values))
    assert evaluate_run(run, store_of_four, num_examples=0).folds[0].epoch_choice is None
