"""A training that is interrupted and gone on with ends with the bits of one that was not."""

from __future__ import annotations

import csv
import itertools
import signal
from pathlib import Path

import pytest

from killing import run_counted
from smilevlm.errors import SettingsError
from smilevlm.training import callbacks, trainer
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.module import SmileVlmModule
from smilevlm.training.run import train_run
from smilevlm.training.run_folder import STATE_NAME, read_fold_record

EVERY_EPOCH = HardwareConfig(checkpoint_minutes=0)

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

# Batch normalisation of the head and the scale of the multi-view loss have a state too; with three steps an epoch the
# scale is fixed in the third.
MULTI_VIEW = (
    "loss.head=features",
    "loss.head_hidden_dim=16",
    "loss.head_dim=24",
    "loss.pairs=cross",
    "loss.centre=person",
    "loss.multi_view_share=0.3",
    "loss.share_steps=7",
    "distortions.num_distortions=3",
    "num_control_folds=0",
)


# Few labels: a phase without any, then batches of which half have prompts, against the bank.
FEW_LABELS = (
    "labelled_subjects=1",
    "unlabelled_samples=all",
    "sampler.name=stratified",
    "loss.negatives=prompt_bank",
    "loss.multi_positive=true",
    "loss.positives=class",
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


@pytest.mark.parametrize(
    "more",
    [(), WITH_STATE, MULTI_VIEW, FEW_LABELS],
    ids=["plain", "everything", "multi_view", "few labels"],
)
@pytest.mark.parametrize("last_epoch", [1, 3])
def test_interrupted_and_resumed_equals_uninterrupted(store_of_four, make_tiny_config, tmp_path, more, last_epoch):
    config = make_tiny_config("optimiser.epochs=4", *more)
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train_run(config, store_of_four, whole, folds=[1])

    def interrupt(name: str, done: int, total: int, loss: float) -> None:
        if done == last_epoch + 1:
            raise Killed

    with pytest.raises(Killed):
        train_run(config, store_of_four, halved, folds=[1], hardware=EVERY_EPOCH, progress=interrupt)
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
    records = [read_fold_record(run / "fold_01").multi_view_gradient for run in (whole, halved)]
    assert records[0] == records[1]
    assert (records[0] is not None) == (more == MULTI_VIEW)


@pytest.mark.parametrize("last_epoch", [0, 2, 3, 5])
def test_both_phases_are_gone_on_with(store_of_four, make_tiny_config, tmp_path, last_epoch):
    settings = ("optimiser.epochs=3", "pretraining_epochs=3", "optimiser.ema_decay=0.9", *FEW_LABELS)
    config, whole, halved = make_tiny_config(*settings), tmp_path / "whole", tmp_path / "halved"
    train_run(config, store_of_four, whole, folds=[1])

    def interrupt(name: str, done: int, total: int, loss: float) -> None:
        assert total == 6
        if done == last_epoch + 1:
            raise Killed

    with pytest.raises(Killed):
        train_run(config, store_of_four, halved, folds=[1], hardware=EVERY_EPOCH, progress=interrupt)
    # What there is to go on from stays, also where only the first phase has begun.
    assert halved.exists() == (last_epoch > 0)
    assert (halved / "fold_01.running" / "pretraining").is_dir() == (last_epoch > 2)
    epochs = []
    train_run(
        config, store_of_four, halved, folds=[1], resume=True, progress=lambda _n, done, _t, _l: epochs.append(done)
    )
    assert epochs == list(range(last_epoch + 1, 7))
    assert products(halved) == products(whole)
    assert not list(whole.rglob(STATE_NAME))


def test_a_state_is_kept_every_so_many_epochs(store_of_four, make_tiny_config, tmp_path):
    run, seen = tmp_path / "run", {}

    def look(name: str, done: int, total: int, loss: float) -> None:
        seen[done] = (run / "fold_01.running" / STATE_NAME).is_file()

    config = make_tiny_config("optimiser.epochs=4", "num_control_folds=0")
    train_run(
        config,
        store_of_four,
        run,
        folds=[1],
        hardware=HardwareConfig(checkpoint_every=2, checkpoint_minutes=0),
        progress=look,
    )
    # Progress is told before the state of the same epoch is written.
    assert seen == {1: False, 2: False, 3: True, 4: True}


class Clock:
    """Told to the callback in the place of the real one: each epoch takes so many minutes."""

    def __init__(self, monkeypatch) -> None:
        self.minutes = 0.0
        monkeypatch.setattr(callbacks, "monotonic", lambda: 60 * self.minutes)


@pytest.mark.parametrize(
    ("epoch_minutes", "hardware", "written"),
    [
        (1.0, HardwareConfig(), [5, 10, 12]),
        (10.0, HardwareConfig(), list(range(1, 13))),
        (0.0, HardwareConfig(), [12]),
        (1.0, HardwareConfig(checkpoint_minutes=0), list(range(1, 13))),
        (1.0, HardwareConfig(checkpoint_minutes=4), [4, 8, 12]),
        (1.0, HardwareConfig(checkpoint_minutes=3, checkpoint_every=5), [5, 10, 12]),
        (3.0, HardwareConfig(checkpoint_minutes=7, checkpoint_every=2), [3, 6, 9, 12]),
    ],
)
def test_states_are_some_minutes_and_epochs_apart_and_the_last_is_kept(
    store_of_four, make_tiny_config, tmp_path, monkeypatch, epoch_minutes, hardware, written
):
    run, clock, states = tmp_path / "run", Clock(monkeypatch), {}

    def look(name: str, done: int, total: int, loss: float) -> None:
        # Progress is told before the state of the same epoch is written.
        clock.minutes += epoch_minutes
        state = run / "fold_01.running" / STATE_NAME
        states[done - 1] = state.stat().st_ino if state.is_file() else None

    make_bundle = trainer._bundle

    def look_at_the_last(*arguments):
        states[12] = (run / "fold_01.running" / STATE_NAME).stat().st_ino
        return make_bundle(*arguments)

    monkeypatch.setattr(trainer, "_bundle", look_at_the_last)
    config = make_tiny_config("optimiser.epochs=12", "num_control_folds=0")
    train_run(config, store_of_four, run, folds=[1], hardware=hardware, progress=look)
    # Every state is a new file; the second of two at a time may have the number of one that is gone, not of the last.
    assert [done for done in range(1, 13) if states[done] != states[done - 1]] == written


@pytest.mark.parametrize("minutes", [0.0, 2.0, 3.0, 100.0])
def test_whenever_the_state_is_from_the_result_has_the_same_bits(
    store_of_four, make_tiny_config, tmp_path, monkeypatch, minutes
):
    config, clock = make_tiny_config("optimiser.epochs=4", *WITH_STATE), Clock(monkeypatch)
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train_run(config, store_of_four, whole, folds=[1])
    hardware = HardwareConfig(checkpoint_minutes=minutes)

    def interrupt(name: str, done: int, total: int, loss: float) -> None:
        clock.minutes += 1
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        train_run(config, store_of_four, halved, folds=[1], hardware=hardware, progress=interrupt)
    epochs = []
    train_run(
        config, store_of_four, halved, folds=[1], hardware=hardware, resume=True,
        progress=lambda _n, done, _t, _l: epochs.append(done),
    )  # fmt: skip
    assert epochs[0] == {0.0: 4, 2.0: 3, 3.0: 4, 100.0: 1}[minutes]
    # The best epoch is in the state, or is found again.
    assert products(halved) == products(whole)


@pytest.mark.parametrize("minutes", [-1.0, float("inf"), float("nan")])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(SettingsError, match="checkpoint_minutes"):
        HardwareConfig(checkpoint_minutes=minutes)


def test_a_resumed_log_has_each_step_once(store_of_four, make_tiny_config, tmp_path):
    def interrupt(name: str, done: int, total: int, loss: float) -> None:
        if done == 2:
            raise Killed

    config, run = make_tiny_config("optimiser.epochs=3", "num_control_folds=0"), tmp_path / "run"
    with pytest.raises(Killed):
        train_run(config, store_of_four, run, folds=[1], hardware=EVERY_EPOCH, progress=interrupt)
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
        arguments += ["--checkpoint-minutes", "0"]
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
        train_run(config, store_of_four, run, folds=[1], hardware=EVERY_EPOCH, progress=interrupt)
    train_run(config, store_of_four, run, folds=[1], resume=True)
    shown = EventAccumulator(str(run / "fold_01" / "tensorboard")).Reload()
    with (run / "fold_01" / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert [event.step for event in shown.Scalars("loss_total")] == steps
    assert len(shown.Scalars("validation")) == 3


@pytest.fixture
def _ctrl_c_as_in_a_program():
    """A worker of pytest ignores the signal."""
    of_tests = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, of_tests)


class Strikes:
    """Signals that come while certain steps are computed."""

    def __init__(self, monkeypatch, at: dict[int, list[int]]) -> None:
        self.steps = []
        step = SmileVlmModule.training_step

        def struck(module, batch, batch_index):
            self.steps.append(module.global_step)
            for number in at.pop(module.global_step, []):
                signal.raise_signal(number)
            return step(module, batch, batch_index)

        monkeypatch.setattr(SmileVlmModule, "training_step", struck)


@pytest.mark.usefixtures("_ctrl_c_as_in_a_program")
@pytest.mark.parametrize(
    ("more", "number", "raised"),
    [((), signal.SIGTERM, SystemExit), (WITH_STATE, signal.SIGINT, KeyboardInterrupt)],
    ids=["plain", "everything"],
)
def test_stopped_inside_an_epoch_goes_on_with_the_next_step(
    store_of_four, make_tiny_config, tmp_path, monkeypatch, more, number, raised
):
    """Struck at steps in the middle of an epoch, at its end, and at the last step of all, one run after another."""
    config = make_tiny_config(*more, "optimiser.epochs=2", "optimiser.batch_size=2", "num_control_folds=0")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    with monkeypatch.context() as patch:
        steps = Strikes(patch, {}).steps
        train_run(config, store_of_four, whole, folds=[1])
    each = len(steps) // 2
    assert steps == list(range(2 * each))
    assert each >= 3
    struck_at = [1, each - 1, each + 1, 2 * each - 1]
    strikes = Strikes(monkeypatch, {step: [number] for step in struck_at})
    for step in struck_at:
        with pytest.raises(raised):
            train_run(config, store_of_four, stopped, folds=[1], resume=step > 1)
        assert strikes.steps == steps[: step + 1], "each step once"
        assert (stopped / "fold_01.running" / STATE_NAME).is_file()
    train_run(config, store_of_four, stopped, folds=[1], resume=True)
    assert strikes.steps == steps
    assert products(stopped) == products(whole)


@pytest.mark.usefixtures("_ctrl_c_as_in_a_program")
def test_the_second_signal_stops_at_once(store_of_four, make_tiny_config, tmp_path, monkeypatch):
    config, run = make_tiny_config("optimiser.epochs=3", "num_control_folds=0"), tmp_path / "run"
    strikes = Strikes(monkeypatch, {0: [signal.SIGINT, signal.SIGINT]})
    with pytest.raises(KeyboardInterrupt):
        train_run(config, store_of_four, run, folds=[1])
    assert not (run / "fold_01.running" / STATE_NAME).exists()
    train_run(config, store_of_four, run, folds=[1], resume=True)
    assert strikes.steps[:2] == [0, 0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
            train_run(config, store_of_four, run, folds=[1], hardware=EVERY_EPOCH, progress=strike)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, of_tests)
    if raised is SystemExit:
        assert ended.value.code == 143
    train_run(config, store_of_four, run, folds=[1], resume=True)
    assert (run / "fold_01" / "fold.json").is_file()
