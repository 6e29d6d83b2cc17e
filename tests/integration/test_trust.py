"""Canaries: each leak is planted, and scoring must refuse it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from smilevlm.errors import CheckpointError, LeakError, PromptError, ResultError, SmileVlmError, StoreError
from smilevlm.evaluation import evaluate_run
from smilevlm.prompts import find_prompt_file
from smilevlm.reporting import write_report
from smilevlm.store import PreparedSet
from smilevlm.training.run import train_run


@pytest.fixture
def run(trained_run, tmp_path) -> Path:
    """A trained run to tamper with, without its results."""
    copy = shutil.copytree(trained_run, tmp_path / "run")
    (copy / "results.json").unlink()
    return copy


def edit_json(path: Path, change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refused(run: Path, store: Path, error: type[SmileVlmError], words: str) -> None:
    with pytest.raises(error, match=words):
        evaluate_run(run, store, num_examples=0)
    assert not (run / "results.json").exists()


def test_the_untouched_run_is_scored(run, prepared_store):
    evaluate_run(run, prepared_store, num_examples=0)
    assert (run / "results.json").is_file()


def test_a_test_subject_moved_into_training(run, prepared_store):
    def move(fold):
        subject = fold["test_subjects"].pop()
        fold["train_subjects"].append(subject)
        fold["train"] += fold["test"]

    edit_json(run / "fold_00/fold.json", move)
    refused(run, prepared_store, CheckpointError, "another split")


def test_a_model_that_was_trained_on_a_test_subject(run, prepared_store):
    test = json.loads((run / "fold_00/fold.json").read_text())["test_subjects"]
    edit_json(run / "fold_00/bundle.json", lambda values: values["trained_on"]["subjects"].extend(test))
    refused(run, prepared_store, LeakError, rf"trained on test subjects.*{test[0]}")


def test_an_epoch_that_was_chosen_on_test_subjects(store_of_four, make_tiny_config, tmp_path):
    # The model keeps who chose its epoch among those it knows, so that swapping folds afterwards is seen.
    run = tmp_path / "run"
    config = make_tiny_config("validation.share=0.4", "num_control_folds=0")
    train_run(config, store_of_four, run, folds=[0, 1])
    first, second = run / "fold_00", run / "fold_01"
    chosen_on = json.loads((second / "fold.json").read_text())["validation_subjects"]
    assert set(chosen_on) <= set(json.loads((first / "fold.json").read_text())["test_subjects"])
    for name in ("model.safetensors", "model.json", "bundle.json", "prompts.safetensors"):
        shutil.copy(second / name, first / name)
    refused(run, store_of_four, LeakError, f"its epoch chosen on them.*{chosen_on[0]}")


def test_a_model_that_saw_a_test_scan_under_another_name(run, prepared_store):
    fold = json.loads((run / "fold_00/fold.json").read_text())
    digest = PreparedSet(prepared_store).samples[fold["test"][0]].digest[:16]
    edit_json(run / "fold_00/bundle.json", lambda values: values["trained_on"]["digests"].append(digest))
    refused(run, prepared_store, LeakError, "the scans of 1 test samples")


def test_a_model_that_does_not_say_whom_it_knows(run, prepared_store):
    edit_json(run / "fold_00/bundle.json", lambda values: values.update(trained_on=None))
    refused(run, prepared_store, CheckpointError, "does not say whom")


def test_a_model_that_hides_a_training_subject(run, prepared_store):
    edit_json(run / "fold_00/bundle.json", lambda values: values["trained_on"]["subjects"].pop())
    refused(run, prepared_store, CheckpointError, "other subjects than its fold file says")


@pytest.fixture
def chosen_prompts(prepared_store, tmp_path) -> Path:
    """Table I's prompts, said to have been chosen on everybody in the store."""
    text = find_prompt_file("basic_expressions").read_text()
    subjects = ", ".join(f"bu3dfe/{name}" for name in PreparedSet(prepared_store).manifest.subjects)
    path = tmp_path / "chosen.yaml"
    path.write_text(text.replace("provenance:\n", f"provenance:\n  chosen_on: [{subjects}]\n"))
    return path


def test_prompts_that_were_chosen_on_test_subjects_cannot_be_trained_with(
    chosen_prompts, prepared_store, make_tiny_config, tmp_path
):
    config = make_tiny_config(f"prompt_set={chosen_prompts}")
    with pytest.raises(LeakError, match="was chosen on test subjects: bu3dfe/"):
        train_run(config, prepared_store, tmp_path / "run", folds=[0])
    assert not (tmp_path / "run").exists()


def test_prompts_that_are_said_later_to_be_chosen_on_test_subjects(
    chosen_prompts, prepared_store, make_tiny_config, tmp_path
):
    honest = chosen_prompts.read_text()
    chosen_prompts.write_text(find_prompt_file("basic_expressions").read_text())
    run = tmp_path / "run"
    train_run(make_tiny_config(f"prompt_set={chosen_prompts}"), prepared_store, run, folds=[0])
    chosen_prompts.write_text(honest)
    refused(run, prepared_store, LeakError, "was chosen on test subjects: bu3dfe/")


def test_prompts_that_were_changed_after_training(prepared_store, make_tiny_config, tmp_path):
    prompts = tmp_path / "mine.yaml"
    prompts.write_text(find_prompt_file("basic_expressions").read_text())
    run = tmp_path / "run"
    train_run(make_tiny_config(f"prompt_set={prompts}"), prepared_store, run, folds=[0])
    prompts.write_text(prompts.read_text().replace("a sad expression", "a rather sad expression"))
    refused(run, prepared_store, PromptError, "changed since training")


def test_a_store_that_is_not_the_one_that_was_trained_on(run, store_of_four):
    refused(run, store_of_four, StoreError, "manifest hashes differ")


def test_a_fold_file_with_a_subject_on_both_sides(run, prepared_store):
    def share(folds):
        folds["folds"][0]["train_subjects"] += folds["folds"][0]["test_subjects"]

    edit_json(run / "folds.json", share)
    refused(run, prepared_store, CheckpointError, "not what the run's recipe gives")


def test_a_result_whose_accuracy_was_touched_up(trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")

    def touch_up(values):
        values["folds"][0]["accuracy"] = 1.0

    edit_json(run / "results.json", touch_up)
    with pytest.raises(ResultError, match="folds"):
        write_report([run / "results.json"], tmp_path / "report")


def test_a_result_with_a_subject_on_both_sides(trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")

    def share(values):
        values["folds"][0]["train_subjects"] += values["folds"][0]["test_subjects"]

    edit_json(run / "results.json", share)
    with pytest.raises(ResultError, match="also in train_subjects"):
        write_report([run / "results.json"], tmp_path / "report")
