"""Folds trained by several processes together: the same weights as by one, up to rounding."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smilevlm.errors import SettingsError
from smilevlm.training.data import ShardSpec
from smilevlm.training.distributed import average_gradients, process_rank, under_launcher
from smilevlm.training.fold_data import load_run_data
from smilevlm.training.run_folder import FOLD_NAME, FoldJob
from smilevlm.training.trainer import train_fold, train_run


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
    command = [sys.executable, "-m", "smilevlm", "train", "demo", "--store", str(store), "--out", str(run), "--fold",
               "0", *settings, *options]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})


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


def read_log(run: Path) -> list[dict[str, str]]:
    with (run / "fold_00" / "metrics.csv").open() as file:
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


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_alone_puts_a_finished_fold_in_its_place(
    store_of_four, make_tiny_config, monkeypatch, tmp_path, rank
):
    running = tmp_path / "fold_00.running"
    running.mkdir()
    (running / FOLD_NAME).write_text("{}")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", str(rank))
    train_fold(load_run_data(make_tiny_config(), store_of_four), tmp_path, FoldJob(fold=0))
    assert running.is_dir() == (rank == 1)
    assert (tmp_path / "fold_00" / FOLD_NAME).is_file() == (rank == 0)
