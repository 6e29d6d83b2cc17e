"""Folds trained by several processes together: the same weights as by one, up to rounding."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from processes import joined_by_gloo, run_python
from smilevlm.errors import SettingsError
from smilevlm.files import locked
from smilevlm.store import PreparedSet
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.data import ShardSpec
from smilevlm.training.fold_data import load_run_data
from smilevlm.training.processes import average_gradients, on_rank0, process_rank, under_launcher
from smilevlm.training.run import train_run
from smilevlm.training.run_folder import CONFIG_NAME, FOLD_NAME, FoldJob, claimed_run, locked_fold
from smilevlm.training.trainer import train_fold


@pytest.mark.parametrize("num_processes", [1, 2, 3, 5])
@pytest.mark.parametrize("total", [1, 4, 7, 8])
def test_shares_are_the_whole_in_order_and_of_about_one_size(num_processes, total):
    rows = [ShardSpec(rank=rank, num_processes=num_processes).of(total) for rank in range(num_processes)]
    assert [row for part in rows for row in range(total)[part]] == list(range(total))
    sizes = [part.stop - part.start for part in rows]
    assert max(sizes) - min(sizes) <= 1


def test_a_process_alone_is_the_first(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    # A number that another launcher set is not ours.
    monkeypatch.setenv("RANK", "3")
    assert not under_launcher()
    assert process_rank() == 0
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    average_gradients([weight])
    assert weight.grad.tolist() == [1.0, 2.0]


def train(store: Path, run: Path, overrides: tuple[str, ...], *options: str) -> subprocess.CompletedProcess[str]:
    settings = [part for override in overrides for part in ("--set", override)]
    words = ["train", "demo", "--store", store, "--out", run, "--fold", "0", *settings, *options]
    return run_python("-m", "smilevlm", *words, check=False, COLUMNS="200")


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_together_equal_one(store_of_four, tiny_overrides, tmp_path, num_processes):
    overrides = (*tiny_overrides, "optimiser.precision=float32", "optimiser.batch_size=6", "num_control_folds=0",
                 "validation.share=0.5", "optimiser.ema_decay=0.5", "optimiser.epochs=4")  # fmt: skip
    alone = train(store_of_four, tmp_path / "alone", overrides)
    assert alone.returncode == 0, alone.stderr
    together = train(store_of_four, tmp_path / "together", overrides, "--devices", str(num_processes))
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("trained now: fold 0") == 1
    expected = load_file(tmp_path / "alone/fold_00/model.safetensors")
    found = load_file(tmp_path / "together/fold_00/model.safetensors")
    assert found.keys() == expected.keys()
    # Adam makes a full step of the sign of a gradient that is all but zero: such a weight may go the other way.
    far = [int((~torch.isclose(found[n], t, rtol=2e-3, atol=2e-4)).sum()) for n, t in expected.items()]
    assert sum(far) <= 1e-4 * sum(tensor.numel() for tensor in expected.values())
    log, other = (read_log(tmp_path / run) for run in ("alone", "together"))
    assert len(log) == len(other) == 4
    # Standardised over six samples, the rounding of one step is much in the next: only the first ones can be compared.
    for step, step_together, relative in zip(log, other, (1e-5, 1e-3, 1e-2, 1e-2), strict=True):
        for name in ("loss_total", "loss_multi_view", "loss_alignment", "loss_redundancy"):
            assert float(step_together[name]) == pytest.approx(float(step[name]), rel=relative)


FEW_LABELS = (
    "num_folds=4", "optimiser.batch_size=9", "optimiser.epochs=1", "pretraining_epochs=1", "labelled_subjects=1",
    "sampler.name=stratified", "loss.negatives=prompt_bank", "loss.multi_positive=true", "loss.positives=class",
    "num_control_folds=0",
)  # fmt: skip


@pytest.mark.slow
def test_both_phases_are_trained_together(store_of_four, tiny_overrides, tmp_path):
    overrides = (*tiny_overrides, *FEW_LABELS)
    for name, options in (("alone", ()), ("together", ("--devices", "2"))):
        done = train(store_of_four, tmp_path / name, overrides, *options)
        assert done.returncode == 0, done.stderr
    # Standardised over nine samples, the rounding of one step is much in the next, as above.
    for log, name, relative in (
        ("fold_00/pretraining", "loss_multi_view", (1e-4, 1e-2)),
        ("fold_00", "loss_alignment", (1e-2, 1e-1)),
    ):
        alone, together = (read_log(tmp_path / run, log) for run in ("alone", "together"))
        assert len(alone) == len(together) == 2
        for step, step_together, tolerance in zip(alone, together, relative, strict=True):
            assert float(step_together[name]) == pytest.approx(float(step[name]), rel=tolerance)


def read_log(run: Path, fold: str = "fold_00") -> list[dict[str, str]]:
    with (run / fold / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_an_error_in_several_processes_is_one_line(store_of_four, tiny_overrides, tmp_path):
    overrides = (*tiny_overrides, "optimiser.learning_rate=1e30", "num_control_folds=0")
    failed = train(store_of_four, tmp_path / "run", overrides, "--devices", "2")
    assert failed.returncode == 1
    assert failed.stderr.count("no longer finite") == 1
    assert "Traceback" not in failed.stderr


def test_more_processes_than_samples_in_a_batch_are_refused(store_of_four, make_tiny_config, monkeypatch, tmp_path):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_WORLD_SIZE": "5", "WORLD_SIZE": "5"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="4 leaves some of 5 processes without a sample"):
        train_run(make_tiny_config(), store_of_four, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def finish(rank: int, config: ExperimentConfig, store: Path, run: Path) -> tuple[bool, bool]:
    train_fold(load_run_data(config, store), run, FoldJob(fold=0))
    return (run / "fold_00.running").is_dir(), (run / "fold_00" / FOLD_NAME).is_file()


def test_one_process_alone_puts_a_finished_fold_in_its_place(store_of_four, make_tiny_config, tmp_path):
    running = tmp_path / "run" / "fold_00.running"
    running.mkdir(parents=True)
    (running / FOLD_NAME).write_text("{}")
    found = joined_by_gloo(finish, 2, tmp_path, make_tiny_config(), store_of_four, tmp_path / "run")
    assert found == [(False, True)] * 2


def errors_of_the_first(rank: int, config: ExperimentConfig, store: Path, run: Path) -> list[str]:
    """What each process says of what the first alone looks at."""

    def full_disk() -> None:
        raise OSError(28, "No space left on device", "fold.json")

    said = []
    with pytest.raises(SettingsError) as error, claimed_run(config, PreparedSet(store), run):
        pytest.fail("claimed")
    said.append(str(error.value))
    with pytest.raises(SettingsError) as error, locked_fold(run, FoldJob(fold=0)):
        pytest.fail("locked")
    said.append(str(error.value))
    with pytest.raises(OSError, match="No space left") as error:
        on_rank0(full_disk)
    return [*said, f"{error.value.filename} {on_rank0(lambda: rank)}"]


def test_an_error_of_the_first_process_is_that_of_all(store_of_four, make_tiny_config, tmp_path):
    run = tmp_path / "run"
    with claimed_run(make_tiny_config(), PreparedSet(store_of_four), run), locked(run / "fold_00"):
        other = make_tiny_config("seed=5")
        first, second = joined_by_gloo(errors_of_the_first, 2, tmp_path, other, store_of_four, run)
    assert first == second
    claimed, busy, disk = first
    assert "begun with other settings" in claimed
    assert "is being trained by another process" in busy
    assert disk == "fold.json 0"


@pytest.mark.slow
def test_a_run_folder_that_is_taken_is_one_line_of_several_processes(store_of_four, tiny_overrides, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CONFIG_NAME).write_text("{}")
    failed = train(store_of_four, tmp_path / "run", tiny_overrides, "--devices", "2")
    assert failed.returncode == 1
    errors = [line for line in failed.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "holds a run already" in errors[0]
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
def test_a_fold_that_is_being_trained_is_one_line_of_several_processes(store_of_four, tiny_overrides, tmp_path):
    with locked(tmp_path / "run" / "fold_00"):
        failed = train(store_of_four, tmp_path / "run", tiny_overrides, "--devices", "2")
    assert failed.returncode == 1
    errors = [line for line in failed.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "is being trained by another process" in errors[0]
    assert "Traceback" not in failed.stderr
