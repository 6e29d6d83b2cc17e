"""Runs of tiny folds: same seed, same bits; resuming; nothing done on the wrong data; what a run leaves."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smilevlm.errors import CheckpointError, LeakError, SettingsError, SmileVlmError, StoreError
from smilevlm.evaluation import evaluate_run
from smilevlm.files import locked
from smilevlm.models import fit_temperature, load_bundle, zero_shot_scores
from smilevlm.store import PreparedSet
from smilevlm.training.fold_data import load_fold_data, load_run_data
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.run import train_run
from smilevlm.training.run_folder import FoldJob, fold_jobs, git_commit, read_fold_record, read_run_config
from smilevlm.training.splits import split_fold, split_folds
from smilevlm.training.trainer import train_fold

COLUMNS = {
    "step", "epoch", "loss_total", "loss_multi_view", "loss_alignment", "loss_redundancy", "learning_rate",
}  # fmt: skip


@pytest.fixture
def run(trained_run, tmp_path) -> Path:
    """A trained run to change."""
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.fixture
def store(prepared_store, tmp_path) -> Path:
    """A store to change."""
    return shutil.copytree(prepared_store, tmp_path / "store")


def weights(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("model.safetensors"))}


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def edit_json(path: Path, change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


# Same seed, same bits.


def test_the_same_seed_gives_the_same_bits(trained_run, prepared_store, make_tiny_config, tmp_path):
    again = tmp_path / "again"
    trained = train_run(make_tiny_config(), prepared_store, again)
    evaluate_run(again, prepared_store, num_examples=2)
    assert [job.name for job in trained] == ["fold 0", "fold 1", "control, fold 0"]
    assert weights(again) == weights(trained_run)
    assert len(weights(again)) == 3
    assert (again / "results.json").read_bytes() == (trained_run / "results.json").read_bytes()
    for name in ("fold_00", "fold_01", "control_shuffled_prompts/fold_00"):
        assert (again / name / "metrics.csv").read_bytes() == (trained_run / name / "metrics.csv").read_bytes()
    pictures = sorted(path.name for path in (trained_run / "examples").iterdir())
    assert pictures == sorted(path.name for path in (again / "examples").iterdir())


def test_another_seed_gives_other_weights(trained_run, prepared_store, make_tiny_config, tmp_path):
    other = tmp_path / "other"
    train_run(make_tiny_config("seed=1"), prepared_store, other, folds=[0])
    assert weights(other)["fold_00/model.safetensors"] != weights(trained_run)["fold_00/model.safetensors"]


def test_a_fold_alone_has_the_bits_it_has_among_others(trained_run, prepared_store, make_tiny_config, tmp_path):
    alone = tmp_path / "alone"
    assert train_run(make_tiny_config(), prepared_store, alone, folds=[1]) == [FoldJob(fold=1)]
    assert weights(alone) == {"fold_01/model.safetensors": weights(trained_run)["fold_01/model.safetensors"]}


@pytest.mark.slow
def test_folds_at_the_same_time_have_the_same_bits(trained_run, prepared_store, make_tiny_config, tmp_path):
    parallel, told = tmp_path / "parallel", []
    train_run(make_tiny_config(), prepared_store, parallel, jobs=2, progress=lambda *seen: told.append(seen))
    evaluate_run(parallel, prepared_store, num_examples=2)
    assert weights(parallel) == weights(trained_run)
    assert (parallel / "results.json").read_bytes() == (trained_run / "results.json").read_bytes()
    assert {(name, done, total) for name, done, total, _ in told} == {
        (name, done, 2) for name in ("fold 0", "fold 1", "control, fold 0") for done in (1, 2)
    }


# Resuming.


def test_a_run_that_is_there_is_not_touched_without_resume(run, prepared_store, make_tiny_config):
    before = weights(run)
    with pytest.raises(SettingsError, match="--resume"):
        train_run(make_tiny_config(), prepared_store, run)
    assert weights(run) == before


def test_resuming_trains_what_is_missing_to_the_same_bits(run, trained_run, prepared_store, make_tiny_config):
    shutil.rmtree(run / "fold_01")
    leftover = run / "fold_01.running"
    leftover.mkdir()
    (leftover / "metrics.csv").write_text("half a line")
    untouched = (run / "fold_00" / "model.safetensors").stat().st_mtime_ns
    assert train_run(make_tiny_config(), prepared_store, run, resume=True) == [FoldJob(fold=1)]
    assert not leftover.exists()
    assert weights(run) == weights(trained_run)
    assert (run / "fold_01" / "metrics.csv").read_bytes() == (trained_run / "fold_01" / "metrics.csv").read_bytes()
    assert (run / "fold_00" / "model.safetensors").stat().st_mtime_ns == untouched
    assert train_run(make_tiny_config(), prepared_store, run, resume=True) == []


def test_resuming_another_recipe_is_refused(run, prepared_store, make_tiny_config):
    with pytest.raises(SettingsError, match="other settings or data"):
        train_run(make_tiny_config("optimiser.epochs=3"), prepared_store, run, resume=True)


def test_resuming_on_other_data_is_refused(run, store, make_tiny_config):
    edit_json(store / "manifest.json", lambda values: values.update(content_hash="0" * 64))
    with pytest.raises(SettingsError, match="other settings or data"):
        train_run(make_tiny_config(), store, run, resume=True)


@pytest.mark.parametrize("override", ["prepare.views.size=64", "optimiser.batch_size=4000", "num_folds=3"])
def test_a_training_that_never_began_leaves_no_run(prepared_store, make_tiny_config, tmp_path, override):
    with pytest.raises(SmileVlmError):
        train_run(make_tiny_config(override), prepared_store, tmp_path / "run")
    assert train_run(make_tiny_config(), prepared_store, tmp_path / "run", folds=[1]) == [FoldJob(fold=1)]


@pytest.mark.parametrize("fold", [-1, 2, 99])
def test_a_fold_out_of_range_is_refused(prepared_store, make_tiny_config, tmp_path, fold):
    with pytest.raises(SettingsError, match=f"fold {fold} is outside 0 to 1"):
        train_run(make_tiny_config(), prepared_store, tmp_path / "run", folds=[fold])
    assert not (tmp_path / "run").exists()


def test_jobs_of_a_run(make_tiny_config):
    config = make_tiny_config("num_folds=4", "num_control_folds=2")
    names = [job.name for job in fold_jobs(config, [3, 1, 1])]
    assert names == ["fold 1", "fold 3", "control, fold 1"]
    assert [job.name for job in fold_jobs(config)][-2:] == ["control, fold 0", "control, fold 1"]


# The right data, and no one on both sides.


def test_no_subject_is_on_both_sides_and_every_sample_is_tested_once(trained_run, prepared_store, make_tiny_config):
    prepared, tested = PreparedSet(prepared_store), []
    for fold in range(2):
        record = read_fold_record(trained_run / f"fold_{fold:02d}")
        split = record.split
        assert record.seconds > 0
        assert split == split_fold(make_tiny_config(), prepared, fold)
        assert {prepared.samples[i].subject for i in split.train} == set(split.train_subjects)
        assert {prepared.samples[i].subject for i in split.test} == set(split.test_subjects)
        assert not set(split.train_subjects) & set(split.test_subjects)
        tested += split.test
    assert len(tested) == len(set(tested)) == 12
    assert {prepared.samples[i].expression for i in tested}.isdisjoint({"neutral"})


def test_a_split_that_is_not_the_recipe_s_is_refused(run, prepared_store):
    def let_a_test_subject_in(values):
        values["train_subjects"] += values["test_subjects"]
        values["train"] += values["test"]

    before = (run / "results.json").read_bytes()
    edit_json(run / "fold_00" / "fold.json", let_a_test_subject_in)
    with pytest.raises((CheckpointError, LeakError), match="another split"):
        evaluate_run(run, prepared_store)
    assert (run / "results.json").read_bytes() == before


def test_a_fold_in_another_s_place_is_refused(run, prepared_store):
    shutil.rmtree(run / "fold_01")
    shutil.copytree(run / "fold_00", run / "fold_01")
    with pytest.raises(CheckpointError, match="another split"):
        evaluate_run(run, prepared_store)


def test_a_split_that_shares_a_subject_is_refused_though_the_recipe_says_so(run, prepared_store, monkeypatch):
    # Even were the folds themselves at fault, nothing may be scored.
    from smilevlm.evaluation import scoring

    edit_json(
        run / "fold_00" / "fold.json", lambda v: v.update(train_subjects=[*v["train_subjects"], *v["test_subjects"]])
    )
    monkeypatch.setattr(
        scoring, "split_fold", lambda config, prepared, fold: read_fold_record(run / f"fold_{fold:02d}").split
    )
    with pytest.raises(LeakError, match="both in train and in test"):
        evaluate_run(run, prepared_store)


def test_a_store_with_other_settings_is_refused(prepared_store, make_tiny_config, tmp_path):
    config = make_tiny_config("prepare.views.size=64", "prepare.normalise.crop_radius_mm=99")
    with pytest.raises(StoreError, match=r"views\.size is 48, the recipe has 64; normalise\.crop_radius_mm"):
        train_fold(load_run_data(config, prepared_store), tmp_path, FoldJob(fold=0))
    assert not list(tmp_path.iterdir())


def test_a_store_of_another_layout_is_refused(store, make_tiny_config, tmp_path):
    edit_json(store / "manifest.json", lambda values: values.update(layout="bosphorus"))
    with pytest.raises(StoreError, match="bosphorus"):
        train_fold(load_run_data(make_tiny_config(), store), tmp_path, FoldJob(fold=0))


def test_evaluating_on_other_data_is_refused(run, store):
    edit_json(store / "manifest.json", lambda values: values.update(content_hash="0" * 64))
    with pytest.raises(StoreError, match="hashes differ"):
        evaluate_run(run, store)


def test_more_folds_than_people_are_refused(prepared_store, make_tiny_config, tmp_path):
    with pytest.raises(SettingsError, match="3 folds for 2 subjects"):
        train_fold(load_run_data(make_tiny_config("num_folds=3"), prepared_store), tmp_path, FoldJob(fold=0))


def test_a_batch_larger_than_the_training_set_is_refused(prepared_store, make_tiny_config, tmp_path):
    with pytest.raises(SettingsError, match="6 training samples do not fill one batch of 7"):
        train_fold(load_run_data(make_tiny_config("optimiser.batch_size=7"), prepared_store), tmp_path, FoldJob(fold=0))
    assert not (tmp_path / "fold_00").exists()


# The control.


def test_the_control_is_trained_with_other_prompts_and_reported_apart(trained_run):
    main, control = trained_run / "fold_00", trained_run / "control_shuffled_prompts" / "fold_00"
    assert read_fold_record(main).split == read_fold_record(control).split
    first, shuffled = metrics(main), metrics(control)
    assert [row["loss_alignment"] for row in first] != [row["loss_alignment"] for row in shuffled]
    # The pair of distortions of the first step knows nothing of prompts.
    assert first[0]["loss_multi_view"] == shuffled[0]["loss_multi_view"]
    results = json.loads((trained_run / "results.json").read_text())
    (entry,) = results["controls"]
    assert entry["name"] == "shuffled prompts"
    assert [fold["fold"] for fold in entry["folds"]] == [0]
    assert [fold["fold"] for fold in results["folds"]] == [0, 1]


def test_no_control_when_none_is_asked_for(prepared_store, make_tiny_config, tmp_path):
    run = tmp_path / "run"
    train_run(make_tiny_config("num_control_folds=0", "optimiser.epochs=1"), prepared_store, run, folds=[0])
    result = evaluate_run(run, prepared_store, num_examples=0)
    assert result.controls == ()
    assert result.examples == ()
    assert not (run / "control_shuffled_prompts").exists()


# What a run leaves.


def test_results_say_what_they_are(trained_run, prepared_store, make_tiny_config):
    results = json.loads((trained_run / "results.json").read_text())
    assert results["synthetic"] is True
    assert results["recipe"] == "demo"
    assert results["pairing_name"] == "weakly supervised"
    assert results["seeds"] == {"folds": 0, "training": 0}
    assert results["manifest_hash"] == PreparedSet(prepared_store).manifest.content_hash
    assert results["settings"]["optimiser"]["epochs"] == make_tiny_config().optimiser.epochs == 2
    assert len(results["examples"]) == 2
    for example in results["examples"]:
        assert all((trained_run / path).is_file() for path in example["images"].values())
    timing = json.loads((trained_run / "timing.json").read_text())
    assert "train fold 0" in json.dumps(timing)


def test_metrics_have_a_row_per_step(trained_run):
    rows = metrics(trained_run / "fold_00")
    assert set(rows[0]) == COLUMNS
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "0"), ("1", "1")]
    assert all(float(row[name]) == float(row[name]) for row in rows for name in COLUMNS)
    assert float(rows[0]["learning_rate"]) == pytest.approx(make_rate(trained_run))


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0.0), (3, 0.0), (4, 0.5), (5, 0.2), (6, 0.9)])
def test_the_logged_rate_is_that_of_the_step_itself(prepared_store, make_tiny_config, tmp_path, epochs, warmup):
    overrides = (f"optimiser.epochs={epochs}", f"optimiser.warmup_share={warmup}", "loss.alpha=0")
    train_fold(load_run_data(make_tiny_config(*overrides), prepared_store), tmp_path, FoldJob(fold=0))
    found = [float(row["learning_rate"]) for row in metrics(tmp_path / "fold_00")]
    # One step per epoch.
    rise = max(1, round(warmup * epochs))
    factors = [
        (step + 1) / rise if step < rise else 0.5 * (1 + np.cos(np.pi * (step - rise) / max(1, epochs - rise)))
        for step in range(epochs)
    ]
    np.testing.assert_allclose(found, np.array(factors) * make_tiny_config().optimiser.learning_rate)


# Two processes.


BUSY = r"run: fold 0 is being trained by another process; wait until .* --resume, or choose another folder"


def test_a_fold_that_another_process_trains_is_refused(prepared_store, make_tiny_config, tmp_path):
    config, run = make_tiny_config("optimiser.epochs=1", "num_control_folds=0"), tmp_path / "run"
    with locked(run / "fold_00"), pytest.raises(SettingsError, match=BUSY):
        train_run(config, prepared_store, run)
    assert not (run / "fold_00").exists()
    assert not (run / "fold_00.running").exists()
    # Another fold of the same run is free, and so is this one afterwards.
    with locked(run / "fold_00"):
        assert train_run(config, prepared_store, run, folds=[1], resume=True) == [FoldJob(fold=1)]
    assert train_run(config, prepared_store, run, resume=True) == [FoldJob(fold=0)]
    assert not list(run.rglob("*.lock"))


def test_a_control_has_a_lock_of_its_own(prepared_store, make_tiny_config, tmp_path):
    config, run = make_tiny_config("optimiser.epochs=1"), tmp_path / "run"
    with (
        locked(run / "control_shuffled_prompts" / "fold_00"),
        pytest.raises(SettingsError, match="control, fold 0 is being trained by another process"),
    ):
        train_run(config, prepared_store, run, folds=[0])
    assert FoldJob(fold=0).is_trained(run)


@pytest.mark.slow
def test_folds_trained_side_by_side_are_locked_too(prepared_store, make_tiny_config, tmp_path):
    config, run = make_tiny_config("optimiser.epochs=1", "num_control_folds=0"), tmp_path / "run"
    with locked(run / "fold_01"), pytest.raises(SettingsError, match="fold 1 is being trained by another process"):
        train_run(config, prepared_store, run, jobs=2)


def test_a_fold_that_was_trained_meanwhile_is_left_alone(run, prepared_store, make_tiny_config, monkeypatch):
    before = weights(run)
    # As if both folds had been missing when this process looked.
    monkeypatch.setattr("smilevlm.training.trainer.fit", lambda *given, **more: pytest.fail("trained again"))
    data = load_run_data(make_tiny_config(), prepared_store)
    for job in fold_jobs(make_tiny_config()):
        train_fold(data, run, job)
    assert weights(run) == before


HOLD = """
import sys, time
from pathlib import Path
from smilevlm.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_leaves_no_stale_lock(prepared_store, make_tiny_config, tmp_path):
    config, run = make_tiny_config("optimiser.epochs=1", "num_control_folds=0"), tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(run / "fold_00")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(SettingsError, match=BUSY):
                train_run(config, prepared_store, run, folds=[0])
        finally:
            holder.kill()
        holder.wait()
    assert (run / ".fold_00.lock").is_file()
    assert train_run(config, prepared_store, run, folds=[0], resume=True) == [FoldJob(fold=0)]
    assert not (run / ".fold_00.lock").exists()


def make_rate(run: Path) -> float:
    return read_run_config(run)["settings"]["optimiser"]["learning_rate"]


def test_logs_for_tensorboard_and_no_pickles(trained_run):
    files = [path for path in trained_run.rglob("*") if path.is_file()]
    assert any(path.name.startswith("events.out.tfevents") for path in files)
    assert not [path for path in files if path.suffix in {".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".bin", ".joblib"}]
    assert not [path for path in files if path.read_bytes()[:2] == b"PK"], "torch.save writes zip files"
    assert not list(trained_run.rglob("*.running"))


def test_the_run_keeps_recipe_data_and_versions(trained_run, prepared_store):
    described = read_run_config(trained_run)
    assert described["manifest_hash"] == PreparedSet(prepared_store).manifest.content_hash
    assert described["settings"]["name"] == "demo"
    assert described["package_version"]
    assert described["git_commit"] == git_commit()


def test_progress_is_told_after_each_epoch(prepared_store, make_tiny_config, tmp_path):
    told = []
    train_run(make_tiny_config(), prepared_store, tmp_path / "run", folds=[1], progress=lambda *seen: told.append(seen))
    assert [seen[:3] for seen in told] == [("fold 1", 1, 2), ("fold 1", 2, 2)]
    assert all(loss > 0 for *_, loss in told)


def test_half_precision_trains(prepared_store, make_tiny_config, tmp_path):
    config = make_tiny_config("optimiser.precision=bf16", "optimiser.epochs=1", "num_control_folds=0")
    train_run(config, prepared_store, tmp_path / "run", folds=[0])
    assert evaluate_run(tmp_path / "run", prepared_store, num_examples=0).summary.num_folds_run == 1


@pytest.mark.parametrize("pairing", ["generic"])
def test_other_pairings_train_under_their_honest_name(prepared_store, make_tiny_config, tmp_path, pairing):
    config = make_tiny_config(f"pairing={pairing}", "optimiser.epochs=1", "num_control_folds=0")
    train_run(config, prepared_store, tmp_path / "run", folds=[0])
    assert evaluate_run(tmp_path / "run", prepared_store, num_examples=0).pairing_name == "label-free"


def test_weights_that_blow_up_are_not_kept(prepared_store, make_tiny_config, tmp_path):
    config = make_tiny_config("optimiser.learning_rate=1e30", "num_control_folds=0")
    with pytest.raises(SmileVlmError, match="finite"):
        train_fold(load_run_data(config, prepared_store), tmp_path, FoldJob(fold=0))
    assert not (tmp_path / "fold_00").exists()


# Damage.


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_damaged_run_file_is_refused_by_evaluate(run, prepared_store, text):
    (run / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="config"):
        evaluate_run(run, prepared_store)


@pytest.mark.parametrize("text", ["{}", "", "{", "[]", "null"])
def test_a_damaged_run_file_is_refused_by_resume(run, prepared_store, make_tiny_config, text):
    (run / "config.json").write_text(text)
    with pytest.raises(SmileVlmError):
        train_run(make_tiny_config(), prepared_store, run, resume=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"seconds": 1}'])
def test_a_damaged_split_is_refused(run, prepared_store, text):
    (run / "fold_00" / "fold.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        evaluate_run(run, prepared_store)


def test_a_folder_that_is_no_run_is_refused(prepared_store, tmp_path):
    with pytest.raises(CheckpointError, match="no run folder"):
        evaluate_run(tmp_path, prepared_store)


def test_a_run_without_a_trained_fold_is_refused(run, prepared_store):
    shutil.rmtree(run / "fold_00")
    shutil.rmtree(run / "fold_01")
    with pytest.raises(CheckpointError, match="no trained fold"):
        evaluate_run(run, prepared_store)


def test_a_part_of_the_folds_is_scored_as_such(run, prepared_store):
    shutil.rmtree(run / "fold_00")
    result = evaluate_run(run, prepared_store, num_examples=0)
    assert [fold.fold for fold in result.folds] == [1]
    assert result.summary.num_folds_run == 1
    assert result.controls == (), "its own fold is not there to compare it with"


# The fold file.


def test_the_fold_file_names_every_fold_s_subjects_and_samples(trained_run, prepared_store):
    described = json.loads((trained_run / "folds.json").read_text())
    samples = {sample.sample_id: sample for sample in PreparedSet(prepared_store).samples}
    assert (described["protocol"], described["scheme"]) == ("bu3dfe_subset1", "kfold")
    assert (described["seed"], described["repeat"]) == (0, 0)
    # Two people with six expressions and a neutral face each.
    assert (described["num_samples_used"], described["num_samples_left_out"]) == (12, 2)
    assert len(described["folds"]) == 2
    for number, fold in enumerate(described["folds"]):
        split = read_fold_record(trained_run / f"fold_{number:02d}").split
        assert fold["fold"] == number
        assert tuple(fold["test_subjects"]) == split.test_subjects
        assert {samples[name].subject for name in fold["train"]} == set(fold["train_subjects"])
        assert {samples[name].subject for name in fold["test"]} == set(fold["test_subjects"])
        assert not set(fold["train"]) & set(fold["test"])


def swap_two_test_samples(values):
    first, second = values["folds"]
    first["test"][0], second["test"][0] = second["test"][0], first["test"][0]


@pytest.mark.parametrize(
    "change", [swap_two_test_samples, lambda values: values.update(seed=1), lambda values: values["folds"].pop()]
)
def test_a_fold_file_that_is_not_the_recipe_s_is_refused(run, prepared_store, make_tiny_config, change):
    edit_json(run / "folds.json", change)
    with pytest.raises(CheckpointError, match=r"folds\.json is not what the run's recipe gives"):
        evaluate_run(run, prepared_store)
    with pytest.raises(CheckpointError, match=r"folds\.json is not what the run's recipe gives"):
        train_run(make_tiny_config(), prepared_store, run, resume=True)


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_a_missing_or_damaged_fold_file_is_refused(run, prepared_store, text):
    if text is None:
        (run / "folds.json").unlink()
    else:
        (run / "folds.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"folds\.json"):
        evaluate_run(run, prepared_store)


def leak_a_scan(monkeypatch) -> None:
    """Let the store say that one person's scan is another's, byte for byte."""
    original = PreparedSet.__init__

    def with_a_copy(self, path):
        original(self, path)
        copied = replace(self.samples[-1], digest=self.samples[1].digest)
        self.samples = (*self.samples[:-1], copied)
        assert self.samples[1].subject != copied.subject
        assert copied.expression != "neutral"
        assert self.samples[1].expression != "neutral"

    monkeypatch.setattr(PreparedSet, "__init__", with_a_copy)


def test_a_scan_under_two_names_stops_training_and_evaluation(
    run, prepared_store, make_tiny_config, tmp_path, monkeypatch
):
    leak_a_scan(monkeypatch)
    with pytest.raises(LeakError, match="files of training samples"):
        train_run(make_tiny_config(), prepared_store, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(LeakError, match="files of training samples"):
        train_fold(load_run_data(make_tiny_config(), prepared_store), tmp_path, FoldJob(fold=0))
    with pytest.raises(LeakError, match="files of training samples"):
        evaluate_run(run, prepared_store)


def test_leaving_one_subject_out_needs_a_fold_per_subject(prepared_store, make_tiny_config, monkeypatch, tmp_path):
    from smilevlm.datasets import PROTOCOLS

    protocol = replace(PROTOCOLS["bu3dfe_subset1"], name="loso", scheme="leave_one_subject_out")
    monkeypatch.setitem(PROTOCOLS, "loso", protocol)
    prepared = PreparedSet(prepared_store)
    splits = split_folds(make_tiny_config("protocol=loso"), prepared)
    assert [split.test_subjects for split in splits] == [(name,) for name in prepared.manifest.subjects]
    with pytest.raises(SettingsError, match=r"loso has 2 folds on .*set num_folds=2"):
        train_run(make_tiny_config("protocol=loso", "num_folds=3"), prepared_store, tmp_path / "run")


def test_a_protocol_that_trains_elsewhere_has_no_folds(make_tiny_config):
    with pytest.raises(SettingsError, match="bp4d_cross tests on another data set: it has one fold"):
        make_tiny_config("protocol=bp4d_cross")


def test_a_store_with_other_dynamics_is_refused(prepared_store, make_tiny_config, tmp_path):
    with pytest.raises(StoreError, match=r"dynamics\.num_frames is 32, the recipe has 16"):
        train_run(make_tiny_config("prepare.dynamics.num_frames=16"), prepared_store, tmp_path / "run")


@pytest.mark.parametrize(
    ("last_frame", "overrides", "level"),
    [(0, (), "scan"), (60, (), "sequence"), (60, ("prepare.dynamics.span=windows",), "window")],
)
def test_what_a_test_sample_is(last_frame, overrides, level, prepared_store, make_tiny_config):
    from smilevlm.evaluation.run import sample_level
    from smilevlm.evaluation.scoring import EvaluationData

    config = make_tiny_config(*overrides)
    prepared = PreparedSet(prepared_store)
    prepared.samples = tuple(replace(sample, last_frame=last_frame) for sample in prepared.samples)
    assert sample_level(config, EvaluationData(config, prepared, prepared)) == level


# Who is held back.


def test_the_epoch_is_chosen_by_accuracy_where_that_is_asked_for(store_of_four, make_tiny_config, tmp_path):
    chosen = ("validation.share=0.5", "validation.monitor=accuracy", "num_control_folds=0")
    train_run(make_tiny_config(*chosen), store_of_four, tmp_path / "run", folds=[1])
    assert FoldJob(fold=1).is_trained(tmp_path / "run")


def test_the_temperature_is_fitted_to_the_held_back_people(store_of_four, make_tiny_config, tmp_path):
    chosen = ("validation.share=0.5", "num_control_folds=0", "abstain_threshold=0.3")
    for name, more in (("plain", ()), ("fitted", ("validation.calibrate=true",))):
        train_run(make_tiny_config(*chosen, *more), store_of_four, tmp_path / name, folds=[1])
    plain, fitted = (load_bundle(tmp_path / name / "fold_01") for name in ("plain", "fitted"))
    assert (plain.calibrated, plain.temperature, plain.abstain_threshold) == (False, 0.07, 0.3)
    assert fitted.calibrated
    assert fitted.temperature != 0.07
    for one, other in zip(plain.model.state_dict().values(), fitted.model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one, other)
    prepared = PreparedSet(store_of_four)
    held_back = split_fold(make_tiny_config(*chosen), prepared, 1).validation
    scores = zero_shot_scores(fitted.embed(prepared.load_images(held_back)).z_fused, fitted.prototypes)
    truth = np.array([fitted.classes.index(prepared.samples[i].expression) for i in held_back])
    assert fitted.temperature == pytest.approx(fit_temperature(scores, truth))


def test_what_is_fitted_to_labels_is_not_called_label_free(make_tiny_config):
    with pytest.raises(SettingsError, match="held-back subjects"):
        make_tiny_config("validation.calibrate=true")
    with pytest.raises(SettingsError, match="calibrate reads labels"):
        make_tiny_config("pairing=generic", "validation.share=0.5", "validation.calibrate=true")


def test_the_control_s_epoch_is_not_chosen_by_true_classes(store_of_four, make_tiny_config):
    data = load_run_data(make_tiny_config("validation.share=0.5"), store_of_four)
    prepared, split = data.prepared, data.splits[1]
    true, control = (load_fold_data(data, split, shuffled=shuffled).validation for shuffled in (False, True))
    assert true is not None
    assert control is not None
    assert true.classes == tuple(prepared.samples[i].expression for i in split.validation)
    assert control.truth != true.truth
    assert sorted(control.truth) == sorted(true.truth)
    number = dict(zip(true.classes, true.truth, strict=True))
    assert control.truth == tuple(number[name] for name in control.classes)


@pytest.mark.parametrize("pairing", ["pseudo", "generic"])
def test_a_label_free_run_is_not_chosen_by_labels(make_tiny_config, pairing):
    with pytest.raises(SettingsError, match="monitor=accuracy reads labels"):
        make_tiny_config(f"pairing={pairing}", "validation.share=0.5", "validation.monitor=accuracy")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("text_tower=/nowhere/clip",), "/nowhere/clip"),
        (("model.embedding_dim=100",), "model.embedding_dim is 100"),
        (("model.tower=clip", "model.tower_settings.name=/nowhere/clip"), "/nowhere/clip"),
        (("pairing=pseudo",), "pseudo.teacher"),
        (("optimiser.micro_batch_size=2",), "norm=group"),
        (("start_from=/nowhere/run",), "start_from"),
        (("prompt_set=/nowhere/set.yaml",), "/nowhere/set.yaml"),
    ],
)
def test_what_is_missing_is_told_before_a_run_folder_stands_in_the_way(
    prepared_store, make_tiny_config, tmp_path, overrides, said
):
    with pytest.raises(SmileVlmError, match=said):
        train_run(make_tiny_config(*overrides), prepared_store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed_is_named():
    from smilevlm.errors import MissingExtraError

    with pytest.raises(MissingExtraError, match="comet_ml"):
        HardwareConfig(tracker="comet")


def test_a_gpu_that_is_not_there_is_told_first(prepared_store, make_tiny_config, tmp_path, monkeypatch):

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SettingsError, match="no GPU"):
        train_run(make_tiny_config(), prepared_store, tmp_path / "run", hardware=HardwareConfig(accelerator="gpu"))
    assert not (tmp_path / "run").exists()


# A run in which nothing could be trained.


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    "where", ["fold_data.load_fold_data", "trainer.build_trainer", "module.SmileVlmModule.training_step"]
)
def test_a_run_that_trained_nothing_is_taken_back(prepared_store, make_tiny_config, tmp_path, monkeypatch, where):
    def stop(*given, **more):
        raise StoppedError

    module = "trainer" if where.startswith("fold_data") else where.partition(".")[0]
    monkeypatch.setattr(f"smilevlm.training.{module}.{where.partition('.')[2]}", stop)
    with pytest.raises(StoppedError):
        train_run(make_tiny_config(), prepared_store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_another_process_works_on_stays(prepared_store, make_tiny_config, tmp_path):
    config, run = make_tiny_config("num_control_folds=0"), tmp_path / "run"
    with locked(run / "fold_00"), pytest.raises(SettingsError, match=BUSY):
        train_run(config, prepared_store, run)
    with locked(run / "fold_01"), pytest.raises(SettingsError, match=BUSY), locked(run / "fold_00"):
        train_run(config, prepared_store, run, folds=[0], resume=True)
    assert (run / "config.json").is_file()


def test_a_run_with_something_to_go_on_from_stays(prepared_store, make_tiny_config, tmp_path):
    def stop(name, done, total, loss):
        if done == 2:
            raise StoppedError

    config = make_tiny_config("optimiser.epochs=3", "num_control_folds=0")
    with pytest.raises(StoppedError):
        train_run(
            config, prepared_store, tmp_path / "run", hardware=HardwareConfig(checkpoint_minutes=0), progress=stop
        )
    assert train_run(config, prepared_store, tmp_path / "run", resume=True) == fold_jobs(config)


def test_a_store_of_a_layout_without_protocol_is_one_sentence(store, make_tiny_config, tmp_path):
    edit_json(store / "manifest.json", lambda values: values.update(layout="mylab"))
    with pytest.raises(StoreError, match="holds mylab, the recipe's protocol needs bu3dfe"):
        train_run(make_tiny_config(), store, tmp_path / "run")
