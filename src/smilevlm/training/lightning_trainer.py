"""Lightning's loop as training needs it: devices, strategy, loggers, signals, and torch's state put back after it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException

from smilevlm.training.config import ExperimentConfig
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.processes import num_local_processes, num_nodes, process_rank, under_launcher

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def torch_state_restored() -> Iterator[None]:
    """What training sets for the whole process is the caller's again after it: random state, deterministic mode with
    the workspace of cuBLAS that it needs.

    The random state of GPUs is not among it: asking for that of all would start them all.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_CUBLAS)
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            if workspace is None:
                os.environ.pop(_CUBLAS, None)
            else:
                os.environ[_CUBLAS] = workspace


def build_trainer(
    config: ExperimentConfig,
    folder: Path,
    callbacks: list[lightning.Callback],
    hardware: HardwareConfig,
    state: Path | None,
) -> lightning.Trainer:
    """Lightning's loop for one fold.

    Args:
        config: The recipe.
        folder: For logs.
        callbacks: Called by the loop.
        hardware: Where to train.
        state: What an interrupted training goes on from.
    """
    together = under_launcher()
    trainer = lightning.Trainer(
        max_epochs=config.optimiser.epochs,
        accelerator="gpu" if hardware.on_gpu else "cpu",
        devices=_devices(hardware),
        num_nodes=num_nodes(),
        strategy=_GlobalBatchStrategy() if together else "auto",
        plugins=[TorchElasticEnvironment() if together else LightningEnvironment()],
        precision="bf16-mixed" if config.optimiser.precision == "bf16" else "32-true",
        # On a GPU some operations have no form that always gives the same bits; those only warn under `auto`.
        deterministic={"auto": "warn" if hardware.on_gpu else False, "on": True, "off": False}[hardware.deterministic],
        logger=_loggers(folder, hardware, _steps_done(state)) if process_rank() == 0 else False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    # Before every step it would ask the first process for its signal, and wait for a GPU; `ResumeCheckpoint` does so
    # every few steps.
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _no_broadcast
    return trainer


def _no_broadcast() -> None:
    """In the place of Lightning's."""


def _devices(hardware: HardwareConfig) -> int | list[int]:
    if under_launcher():
        return num_local_processes()
    return [hardware.device] if hardware.on_gpu else 1


class _GlobalBatchStrategy(DDPStrategy):
    """Lightning's processes without the wrapper of DistributedDataParallel.

    The module averages the gradients itself after all backward passes of a step: cached gradients have several of them,
    and those of the projector and of the tower's pieces end at different times.
    """

    def configure_ddp(self) -> None:
        module = self.model
        assert module is not None
        with torch.no_grad():
            for tensor in [*module.parameters(), *module.buffers()]:
                torch.distributed.broadcast(tensor, src=0)


def _steps_done(state: Path | None) -> int:
    if state is None:
        return 0
    return int(torch.load(state, map_location="cpu", mmap=True, weights_only=True)["global_step"])


def _loggers(folder: Path, hardware: HardwareConfig, steps_done: int) -> list[Logger]:
    # TensorBoard drops what an interrupted run wrote of the steps that are done again.
    loggers: list[Logger] = [TensorBoardLogger(folder, name="", version="tensorboard", purge_step=steps_done)]
    if hardware.tracker != "none":
        loggers.append(_tracker(hardware.tracker, folder))
    return loggers


def _tracker(name: str, folder: Path) -> Logger:
    from pytorch_lightning import loggers

    run = f"{folder.parent.name}/{folder.name.removesuffix('.running')}"
    settings: dict[str, tuple[type[Logger], dict[str, Any]]] = {
        "wandb": (loggers.WandbLogger, {"project": "smilevlm", "name": run, "save_dir": folder.parent}),
        "mlflow": (loggers.MLFlowLogger, {"experiment_name": "smilevlm", "run_name": run}),
        "comet": (loggers.CometLogger, {"project": "smilevlm", "name": run}),
    }
    kind, options = settings[name]
    return kind(**options)


def end_trackers(trainer: lightning.Trainer) -> None:
    """Finish the run of Weights & Biases, which would take the next fold for more of this one."""
    from pytorch_lightning.loggers import WandbLogger

    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


@contextmanager
def default_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end training as they end other Python programs; see `StopSignals` for when.

    Lightning ends the process with code 1 and ignores SIGINT from then on, or with code 0 as if all had been trained.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence the advice that does not apply to batches in memory and epochs of one's own."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Batches lie in memory: loader workers would only copy them. Lightning advises them all the same.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*`validation_step` but have no `val_dataloader`.*")
        # Frozen parts of a tower are in evaluation mode on purpose.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
        warnings.filterwarnings("ignore", message=".*Experiment logs directory.*")
        warnings.filterwarnings("ignore", message=".*IterableDataset.*has `__len__`.*")
        # An epoch goes on where it stood: its batches follow from the number of the step.
        warnings.filterwarnings("ignore", message=".*ended before the epoch ended.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
