"""A training that is interrupted and gone on with ends with the bits of one that was not."""

from __future__ import annotations

import csv
import itertools
import signal
from pathlib import Path

import pytest

from killing import run_counted
from smilevlm.training.names import STATE_NAME
from smilevlm.training.run import train_run

# Everything that has a state: dropout-free weights, moving average, best epoch, schedule, learned temperature.
WITH_STATE = (
    "optimiser.epochs=4",
    "optimiser.ema_decay=0.9",
    "optimiser.clip_norm=1.0",
    "loss.learned_temperature=true",
    "validation.share=0.5",
    "validation.patience=3",
    "num_control_folds=0",
)


class Killed(Exception):
    pass


def products(run: Path) -> dict[str, bytes]:
    """Every file of a run that is not a time or an event file of TensorBoard."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and "tensorboard" not in path.parts and path.name != "fold.json"
    }


@pytest.mark.parametrize("more", [(), WITH_STATE], ids=["plain", "everything"])
@pytest.mark.parametrize("last_epoch", [1, 3])
def test_interrupted_and_resumed_equals_uninterrupted(store_of_four, make_tiny_config, tmp_path, more, last_epoch):
    config = make_tiny_config("optimiser.epochs=4", *more)
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train_run(config, store_of_four, whole, folds=[1])

    def interrupt(name: str, done: int, total: int, loss: float) -> None:
        if done == last_epoch + 1:
            raise Killed

    with pytest.raises(Killed):
        train_run(config, store_of_four, halved, folds=[1], progress=interrupt)
    running = halved / "fold_01.running"
    assert (running / STATE_NAME).is_file() == (last_epoch > 0)
    epochs = []
    train_run(
        config, store_of_four, halved, folds=[1], resume=True, progress=lambda _n, done, _t, _l: epochs.append(done)
    )
    # The interrupted epoch was not yet in the kept state.
    assert epochs == list(range(last_epoch + 1, 5))[: len(epochs)]
    assert not running.exists()
    assert products(halved) == products(whole)
    assert len(products(whole)) > 4


def test_a_state_is_kept_every_so_many_epochs(store_of_four, make_tiny_config, tmp_path):
    from smilevlm.training.parallel import Machine

    run, seen = tmp_path / "run", {}

    def look(name: str, done: int, total: int, loss: float) -> None:
        seen[done] = (run / "fold_01.running" / STATE_NAME).is_file()

    config = make_tiny_config("optimiser.epochs=4", "num_control_folds=0")
    train_run(config, store_of_four, run, folds=[1], machine=Machine(checkpoint_every=2), progress=look)
    # Progress is told before the state of the same epoch is written.
    assert seen == {1: False, 2: False, 3: True, 4: True}


def test_a_resumed_log_has_each_step_once(store_of_four, make_tiny_config, tmp_path):
    def interrupt(name: str, done: int, total: int, loss: float) -> None:
        if done == 2:
            raise Killed

    config, run = make_tiny_config("optimiser.epochs=3", "num_control_folds=0"), tmp_path / "run"
    with pytest.raises(Killed):
        train_run(config, store_of_four, run, folds=[1], progress=interrupt)
    with (run / "fold_01.running" / "metrics.csv").open("a") as file:
        file.write("1,7,0.0")
    train_run(config, store_of_four, run, folds=[1], resume=True)
    with (run / "fold_01" / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == list(range(len(steps)))
    assert len(steps) % 3 == 0


@pytest.mark.slow
def test_kill_9_at_any_change_of_a_file(store_of_four, make_tiny_config, tiny_overrides, tmp_path):
    longer = (*WITH_STATE, "optimiser.epochs=12", "validation.patience=12")
    settings = [part for override in (*tiny_overrides, *longer) for part in ("--set", override)]
    runs = itertools.count()

    def train(name: str, kill_before: int = 0) -> int | None:
        arguments = ["train", "demo", "--store", store_of_four, "--out", name, "--fold", "1", "--resume", *settings]
        return run_counted(arguments, tmp_path / "runs", tmp_path / f"run{next(runs)}", kill_before=kill_before)

    num_changes = train("whole")
    for share in (0.3, 0.15, 0.25):  # of a whole training, from where the last one was killed
        assert train("killed", round(share * num_changes)) is None
    assert train("killed") < num_changes, "it goes on and does not begin anew"
    assert products(tmp_path / "runs/killed") == products(tmp_path / "runs/whole")


def test_tensorboard_shows_each_step_of_a_resumed_run_once(store_of_four, make_tiny_config, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def interrupt(name: str, done: int, total: int, loss: float) -> None:
        if done == 2:
            raise Killed

    config, run = (
        make_tiny_config("optimiser.epochs=3", "validation.share=0.5", "num_control_folds=0"),
        tmp_path / "run",
    )
    with pytest.raises(Killed):
        train_run(config, store_of_four, run, folds=[1], progress=interrupt)
    train_run(config, store_of_four, run, folds=[1], resume=True)
    shown = EventAccumulator(str(run / "fold_01" / "tensorboard")).Reload()
    with (run / "fold_01" / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert [event.step for event in shown.Scalars("loss_total")] == steps
    assert len(shown.Scalars("validation")) == 3


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_training_as_it_ends_other_programs(store_of_four, make_tiny_config, tmp_path, number, raised):
    # As in a program of its own; a worker of pytest ignores the signal.
    of_tests = signal.signal(signal.SIGINT, signal.default_int_handler)
    config, run = make_tiny_config("optimiser.epochs=4", "num_control_folds=0"), tmp_path / "run"

    def strike(name: str, done: int, total: int, loss: float) -> None:
        if done == 2:
            signal.raise_signal(number)

    try:
        with pytest.raises(raised) as ended:
            train_run(config, store_of_four, run, folds=[1], progress=strike)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, of_tests)
    if raised is SystemExit:
        assert ended.value.code == 143
    train_run(config, store_of_four, run, folds=[1], resume=True)
    assert (run / "fold_01" / "fold.json").is_file()
