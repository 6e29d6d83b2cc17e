"""The training of one fold by Lightning's loop, from its material to the model that is kept."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException

from smilevlm.augment.distortions import Distortions
from smilevlm.errors import SettingsError
from smilevlm.losses import JointLoss, SupervisedLoss
from smilevlm.models import SmileVlm, build_model, class_prototypes, mixes_local_samples
from smilevlm.results import EpochChoice
from smilevlm.training.callbacks import BestEpoch, EpochReporter, ResumeCheckpoint, StepLog
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.data import PromptedBatches, ShardSpec, ValidationBatches, as_loader
from smilevlm.training.distributed import (
    HardwareConfig,
    broadcast_from_rank0,
    num_local_processes,
    num_nodes,
    num_processes,
    process_rank,
    under_launcher,
)
from smilevlm.training.fold_data import FoldData
from smilevlm.training.module import SmileVlmModule
from smilevlm.training.names import METRICS_NAME, STATE_NAME

Report = Callable[[int, int, float], None]
"""Called after each epoch with (epochs done, epochs in all, loss)."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What training gives.

    Args:
        model: In evaluation mode on the CPU; its moving average where the recipe has one.
        epoch_choice: Which epoch it is of, where validation subjects chose one; None for the last.
    """

    model: SmileVlm
    epoch_choice: EpochChoice | None = None


@contextmanager
def _torch_as_before() -> Iterator[None]:
    """What training sets for the whole process is the caller's again after it: random state, deterministic mode.

    The random state of GPUs is not among it: asking for that of all would start them all.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


@_torch_as_before()
def fit(
    config: ExperimentConfig,
    fold_data: FoldData,
    folder: Path,
    *,
    stream: int,
    hardware: HardwareConfig,
    report: Report | None,
) -> Fitted:
    """Train, going on from the state that the folder holds, if any.

    Args:
        config: The recipe.
        fold_data: What is trained on.
        folder: For logs and states.
        stream: Seed of everything that is drawn in this fold.
        hardware: Where to train.
        report: Progress; called on the first process alone.

    Returns:
        The model to keep, of the last epoch or the best one.

    Raises:
        CheckpointError: The loss became infinite or NaN.
        SettingsError: Settings do not fit each other or the machine.
    """
    task = _task(config, fold_data, stream)
    if config.optimiser.epochs == 0:
        return Fitted(model=task.kept_model().eval())
    share = ShardSpec(rank=process_rank(), num_processes=num_processes())
    batches = PromptedBatches(
        images=fold_data.training.images,
        classes=fold_data.training.classes,
        prompt_set=fold_data.prompts.prompt_set,
        pairing=config.pairing,
        batch_size=config.optimiser.batch_size,
        seed=stream,
        epoch=lambda: task.current_epoch,
        share=share,
        is_dynamic=fold_data.training.is_dynamic,
    )
    held_back = _validation_batches(config, fold_data, stream, share)
    best = None
    if held_back is not None:
        best = BestEpoch(monitor=config.validation.monitor, patience=config.validation.patience)
    callbacks: list[lightning.Callback] = [StepLog(folder / METRICS_NAME, _more_columns(config), best)]
    callbacks += [] if best is None else [best]
    if report is not None and process_rank() == 0:
        callbacks.append(EpochReporter(report))
    callbacks.append(ResumeCheckpoint(folder, every=hardware.checkpoint_every, minutes=hardware.checkpoint_minutes))
    state = folder / STATE_NAME
    state = state if broadcast_from_rank0(state.is_file()) else None
    with _quiet_lightning(), _usual_signals():
        trainer = _trainer(config, folder, callbacks, hardware, _steps_done(state))
        trainer.fit(
            task,
            as_loader(batches, pin_memory=hardware.on_gpu),
            None if held_back is None else as_loader(held_back),
            ckpt_path=state,
            weights_only=True,
        )
    _end_trackers(trainer)
    if best is not None:
        best.restore(task)
    return Fitted(model=task.kept_model().cpu().eval(), epoch_choice=None if best is None else best.choice)


def _task(config: ExperimentConfig, fold_data: FoldData, stream: int) -> SmileVlmModule:
    torch.manual_seed(stream)
    model = build_model(config.model)
    if fold_data.start is not None:
        model.load_state_dict(fold_data.start.state_dict())
    if num_processes() > 1 and mixes_local_samples(model):
        raise SettingsError(
            f"tower {config.model.tower} normalises over the samples of one process; train it with one, or choose a "
            "tower without batch normalisation"
        )
    if config.optimiser.compile:
        model.tower.compile()  # pyright: ignore[reportAttributeAccessIssue]
    views = config.prepare.views
    embeddings = fold_data.prompts.embeddings
    prototypes = class_prototypes(embeddings.centred, embeddings.classes, embeddings.class_names)
    return SmileVlmModule(
        model=model,
        loss=_loss(config, fold_data),
        distortions=Distortions(
            config.distortions, views.angles_deg, normal_x_channel=0 if views.kind == "normals" else None
        ),
        prompt_table=torch.from_numpy(fold_data.prompts.table),
        candidates=torch.from_numpy(embeddings.centred),
        prototypes=torch.from_numpy(prototypes.vectors).float(),
        optimiser=config.optimiser,
        validation=config.validation,
        seed=stream,
        all_paired=config.pairing != "pseudo",
    )


def _loss(config: ExperimentConfig, fold_data: FoldData) -> JointLoss | SupervisedLoss:
    if config.pairing == "labels":
        return SupervisedLoss(torch.from_numpy(fold_data.prompts.table), config.loss.temperature)
    return JointLoss(config.loss)


def _validation_batches(
    config: ExperimentConfig, fold_data: FoldData, stream: int, share: ShardSpec
) -> ValidationBatches | None:
    if fold_data.validation is None:
        return None
    return ValidationBatches(
        images=fold_data.validation.images,
        truth=fold_data.validation.truth,
        classes=fold_data.validation.classes,
        prompt_set=fold_data.prompts.prompt_set,
        pairing=config.pairing,
        batch_size=config.optimiser.batch_size,
        seed=stream,
        share=share,
        is_dynamic=fold_data.validation.is_dynamic,
    )


def _more_columns(config: ExperimentConfig) -> tuple[str, ...]:
    return ("temperature",) * config.loss.learned_temperature + ("gradient_norm",) * (
        config.optimiser.clip_norm is not None
    )


def _trainer(
    config: ExperimentConfig,
    folder: Path,
    callbacks: list[lightning.Callback],
    hardware: HardwareConfig,
    steps_done: int,
) -> lightning.Trainer:
    together = under_launcher()
    return lightning.Trainer(
        max_epochs=config.optimiser.epochs,
        accelerator="gpu" if hardware.on_gpu else "cpu",
        devices=_devices(hardware),
        num_nodes=num_nodes(),
        strategy=_GlobalBatchStrategy() if together else "auto",
        plugins=[TorchElasticEnvironment() if together else LightningEnvironment()],
        precision="bf16-mixed" if config.optimiser.precision == "bf16" else "32-true",
        # On a GPU some operations have no form that always gives the same bits; those only warn.
        deterministic="warn" if hardware.on_gpu else False,
        logger=_loggers(folder, hardware, steps_done) if process_rank() == 0 else False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )


def _devices(hardware: HardwareConfig) -> int | list[int]:
    if under_launcher():
        return num_local_processes()
    return [hardware.device] if hardware.on_gpu else 1


class _GlobalBatchStrategy(DDPStrategy):
    """Lightning's processes without the wrapper of DistributedDataParallel.

    The task averages the gradients itself after all backward passes of a step: cached gradients have several of them,
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


def _end_trackers(trainer: lightning.Trainer) -> None:
    """Weights & Biases would take the next fold for more of this one."""
    from pytorch_lightning.loggers import WandbLogger

    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


@contextmanager
def _usual_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end training as they end other Python programs.

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
def _quiet_lightning() -> Iterator[None]:
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
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
