"""What happens around the steps: the log, the state that a stopped run goes on from, the best epoch, progress."""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from smilevlm.distributed import all_reduce_max, world_size
from smilevlm.errors import CheckpointError
from smilevlm.files import write_atomically
from smilevlm.results import EpochChoice, Monitor
from smilevlm.training.module import SmileVlmModule
from smilevlm.training.processes import broadcast_from_rank0, under_launcher
from smilevlm.training.run_folder import STATE_NAME

_ALWAYS = ("epoch", "step", "learning_rate", "loss_total", "loss_multi_view", "loss_alignment", "loss_redundancy")
_STEPS_BETWEEN_QUESTIONS = 16
"""After which processes that train together ask each other whether to stop."""


class StepLog(lightning.Callback):
    """One line per step in a CSV file, and the same to the loggers; written at the end of every epoch.

    A run that is gone on with drops the lines after the state it goes on from: the file of an interrupted run equals
    that of an uninterrupted one.

    Args:
        path: The CSV file.
        more: Columns beside those that every run has.
        best: Gives the value on the validation subjects, which the last row of each epoch holds in a column
            `validation_accuracy` or `validation_loss`.
    """

    def __init__(self, path: Path, more: tuple[str, ...] = (), best: BestEpoch | None = None) -> None:
        self._path = path
        self._best = best
        self._columns = (*_ALWAYS, *more, *(() if best is None else (f"validation_{best.monitor}",)))
        self._rate = math.nan
        self._steps: list[tuple[int, int, float, dict[str, torch.Tensor]]] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            kept = [row for row in self._read() if int(row["step"]) < trainer.global_step]
            write_atomically(self._path, self._as_text(kept, header=True))

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        # After the step the schedule has moved on to the next step's rate.
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups if group["name"].startswith("new")]
        self._rate = max(rates)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        self._steps.append((trainer.current_epoch, trainer.global_step - 1, self._rate, outputs))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Raises:
        CheckpointError: The loss became infinite or NaN.
        """
        self.write(trainer, epoch_done=True)

    def write(self, trainer: lightning.Trainer, *, epoch_done: bool) -> None:
        """Write the steps since the last time.

        Raises:
            CheckpointError: The loss became infinite or NaN.
        """
        rows = [self._row(*step) for step in self._steps]
        self._steps.clear()
        for row in rows:
            loss, step = row["loss_total"], row["step"]
            if not math.isfinite(loss):
                raise CheckpointError(
                    f"the loss is no longer finite at step {step}: {loss}; lower optimiser.learning_rate or set "
                    "optimiser.clip_norm"
                )
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                for row in rows:
                    logger.log_metrics({key: value for key, value in row.items() if key != "step"}, row["step"])
            if epoch_done and self._best is not None:
                # Validation comes before the end of the epoch.
                rows[-1][self._columns[-1]] = self._best.values[-1]
            with self._path.open("a", newline="") as file:
                file.write(self._as_text(rows, header=False))

    def _row(self, epoch: int, step: int, rate: float, shown: dict[str, torch.Tensor]) -> dict[str, Any]:
        return {"epoch": epoch, "step": step, "learning_rate": rate, **{k: float(v) for k, v in shown.items()}}

    def _read(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        with self._path.open(newline="") as file:
            # The last line of a killed run may be half a line.
            return [row for row in csv.DictReader(file) if None not in row.values() and None not in row]

    def _as_text(self, rows: list[dict[str, Any]], *, header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


class StopSignals:
    """Ctrl-C and SIGTERM as a request to stop after the step that runs; the second one stops at once.

    Not under torchrun, which repeats the terminal's signal, and ends processes itself that take longer than 30 s.
    Between `watch` and `release` the process's handlers are these. In a thread that is not the main one there are no
    handlers to set, and signals do what they did.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def watch(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def release(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received and not under_launcher():
            raise self.error(number)
        self.received = number

    @staticmethod
    def error(number: int) -> BaseException:
        """What ends the training."""
        return KeyboardInterrupt() if number == signal.SIGINT else SIGTERMException()


class ResumeCheckpoint(lightning.Callback):
    """Everything that a stopped run goes on from: weights, optimiser, schedule, counters.

    A state is written at the end of an epoch once both the epochs and the minutes since the one before are over, after
    the last epoch, and after the step in which Ctrl-C or SIGTERM came. What follows does not depend on when: a run that
    goes on from a state repeats the steps since, to the same bits.

    Args:
        folder: Where `state.ckpt` lies.
        every: Epochs between two states.
        minutes: Minutes between two states, from the beginning of training on; 0 for every epoch's end.
        log: Written before a state inside an epoch.
    """

    def __init__(self, folder: Path, *, every: int, minutes: float, log: StepLog) -> None:
        self._folder = folder
        self._every = every
        self._seconds = 60 * minutes
        self._log = log
        self._num_since = 0
        self._written_at = monotonic()
        self._signals = StopSignals()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # After Lightning has set its own handlers, which it takes back itself.
        self._signals.watch()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._signals.release()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._signals.release()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        # The last batch's state is that of the epoch's end. Processes ask each other, and wait for a GPU, but rarely.
        if trainer.is_last_batch or (trainer.world_size > 1 and batch_idx % _STEPS_BETWEEN_QUESTIONS):
            return
        if number := self._agreed(pl_module):
            self._log.write(trainer, epoch_done=False)
            self._write(trainer)
            raise self._signals.error(number)

    def _agreed(self, module: lightning.LightningModule) -> int:
        """The signal that came to any process, 0 for none."""
        if world_size() == 1:
            return self._signals.received
        return int(all_reduce_max(torch.tensor(self._signals.received, device=module.device)))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._num_since += 1
        is_due = self._num_since >= self._every and monotonic() - self._written_at >= self._seconds
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        stopped_by = self._agreed(pl_module)
        # The clocks of several processes differ, and all of them take part in writing.
        if broadcast_from_rank0(is_due or is_last or stopped_by > 0):
            self._write(trainer)
        if stopped_by:
            raise self._signals.error(stopped_by)

    def _write(self, trainer: lightning.Trainer) -> None:
        self._num_since, self._written_at = 0, monotonic()
        part = self._folder / f".{STATE_NAME}.part"
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(self._folder / STATE_NAME)


class BestEpoch(lightning.Callback):
    """Keeps the weights of the epoch that does best on the validation subjects, and ends training after a while.

    They are part of the state that a killed run goes on from.

    Args:
        monitor: What is measured on the validation subjects; an accuracy is better the larger, a loss the smaller.
        patience: Epochs without a better value after which training ends; None for never.
    """

    def __init__(self, *, monitor: Monitor, patience: int | None) -> None:
        self.monitor: Monitor = monitor
        self._sign = 1.0 if monitor == "accuracy" else -1.0
        self._patience = patience
        self._weights: dict[str, torch.Tensor] = {}
        self.values: list[float] = []

    @property
    def best_epoch(self) -> int:
        """Counted from zero; the first of equals. A value that is not a number is worse than any other."""

        def worth(epoch: int) -> float:
            value = self._sign * self.values[epoch]
            return -math.inf if math.isnan(value) else value

        return max(range(len(self.values)), key=worth)

    @property
    def choice(self) -> EpochChoice:
        """Which epoch is kept, and why.

        Raises:
            CheckpointError: No epoch has a finite value.
        """
        best = self.best_epoch
        if not math.isfinite(self.values[best]):
            raise CheckpointError(f"no epoch has a finite {self.monitor} on the validation subjects")
        return EpochChoice(epoch=best, num_epochs=len(self.values), monitor=self.monitor, value=self.values[best])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._end_if_stale(trainer)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, SmileVlmModule)
        # Sums of floats may differ in the last digit between machines, and all must stop at the same epoch.
        self.values.append(broadcast_from_rank0(pl_module.validation_value()))
        if self.best_epoch == len(self.values) - 1:
            weights = pl_module.kept_model().state_dict()
            self._weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        for logger in trainer.loggers:
            logger.log_metrics({"validation": self.values[-1]}, trainer.global_step - 1)
        self._end_if_stale(trainer)

    def _end_if_stale(self, trainer: lightning.Trainer) -> None:
        since = len(self.values) - 1 - self.best_epoch if self.values else 0
        if self._patience is not None and since >= self._patience:
            trainer.should_stop = True

    def restore(self, module: SmileVlmModule) -> None:
        """Give the kept model the weights of the best epoch."""
        module.kept_model().load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "weights": self._weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.values, self._weights = list(state_dict["values"]), dict(state_dict["weights"])


class EpochReporter(lightning.Callback):
    """Tells (epochs done, epochs in all, loss of the last step)."""

    def __init__(self, report: Callable[[int, int, float], None]) -> None:
        self._report = report
        self._loss = float("nan")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        if trainer.is_last_batch:
            self._loss = float(outputs["loss_total"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._report(trainer.current_epoch + 1, trainer.max_epochs or 0, self._loss)
