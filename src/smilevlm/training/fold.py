"""Train one fold: data, model, Lightning's loop, checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from smilevlm.datasets import find_protocol
from smilevlm.errors import CheckpointError, StoreError
from smilevlm.evaluation.recogniser import Recogniser, save_recogniser
from smilevlm.files import write_atomically
from smilevlm.prompts import (
    CachedTextTower,
    MiniLmTextTower,
    embed_prompts,
    load_prompt_set,
    pairing_texts,
    shuffle_classes,
)
from smilevlm.store import PreparedSet
from smilevlm.training.settings import ExperimentConfig
from smilevlm.training.splits import FoldSplit, refuse_split_leaks, split_fold

FOLD_NAME = "fold.json"
METRICS_NAME = "metrics.csv"
Report = Callable[[int, int, float], None]
"""Called after each epoch with (epochs done, epochs in all, loss)."""


def check_store(config: ExperimentConfig, prepared: PreparedSet) -> None:
    """Raises:
    StoreError: The views were made otherwise than the recipe says, or from another data set.
    """
    if prepared.manifest.settings != config.prepare:
        differing = [
            f"{room.name}.{setting.name} is {getattr(got, setting.name)!r}, "
            f"the recipe has {getattr(want, setting.name)!r}"
            for room in fields(config.prepare)
            for got, want in [(getattr(prepared.manifest.settings, room.name), getattr(config.prepare, room.name))]
            for setting in fields(want)
            if getattr(got, setting.name) != getattr(want, setting.name)
        ]
        raise StoreError(f"{prepared.path} was prepared with other settings: {'; '.join(differing)}")
    layout = find_protocol(config.protocol).train_layout
    if prepared.manifest.layout != layout:
        raise StoreError(f"{prepared.path} holds {prepared.manifest.layout}, the recipe's protocol needs {layout}")


def train_fold(
    config: ExperimentConfig,
    store: Path,
    folder: Path,
    fold: int,
    *,
    shuffled: bool = False,
    report: Report | None = None,
) -> None:
    """Train one fold and leave its weights, split and logs in `folder`, in one piece.

    Args:
        config: The recipe.
        store: Prepared views.
        folder: Made when the fold is complete; logs grow in `<folder>.running` until then.
        fold: Index from zero.
        shuffled: The control: samples get the prompts of other samples.
        report: Progress.

    Raises:
        StoreError: The store does not fit the recipe.
        LeakError: A test sample is known from training.
        CheckpointError: The loss became infinite or NaN.
    """
    import torch

    torch.set_num_threads(config.optimiser.threads)
    prepared = PreparedSet(store)
    check_store(config, prepared)
    split = split_fold(config, prepared, fold)
    refuse_split_leaks(split, prepared)
    running = folder.with_name(f"{folder.name}.running")
    shutil.rmtree(running, ignore_errors=True)
    running.mkdir(parents=True)
    started = time.perf_counter()
    recogniser = _fit(config, prepared, split, running, shuffled=shuffled, report=report)
    if not all(bool(p.isfinite().all()) for p in recogniser.model.state_dict().values()):
        raise CheckpointError(f"fold {fold}: the weights are no longer finite; lower optimiser.learning_rate")
    save_recogniser(recogniser, running)
    seconds = time.perf_counter() - started
    write_atomically(running / FOLD_NAME, json.dumps({**asdict(split), "seconds": seconds}, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    running.replace(folder)


def read_split(folder: Path) -> tuple[FoldSplit, float]:
    """The split that a fold was trained with, and how many seconds that took.

    Raises:
        CheckpointError: The fold is not trained, or its file is damaged.
    """
    path = folder / FOLD_NAME
    try:
        values = json.loads(path.read_text())
        seconds = float(values.pop("seconds"))
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return FoldSplit(**{**values, **lists}), seconds
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no trained fold; run `smilevlm train` (with --resume) first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def _fit(
    config: ExperimentConfig,
    prepared: PreparedSet,
    split: FoldSplit,
    folder: Path,
    *,
    shuffled: bool,
    report: Report | None,
) -> Recogniser:
    import pytorch_lightning as lightning
    import torch
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    from smilevlm.losses import JointLoss
    from smilevlm.models import build_model
    from smilevlm.training.data import PromptedBatches, as_loader, to_channels_first
    from smilevlm.training.distortions import Distortions
    from smilevlm.training.task import SmileVlmTask

    class_names = find_protocol(config.protocol).classes_of(prepared.samples)
    prompt_set = load_prompt_set(config.prompt_set, classes=class_names)
    tower = CachedTextTower(MiniLmTextTower())
    embeddings = embed_prompts(prompt_set, tower)
    table = embeddings.embed(pairing_texts(prompt_set, config.pairing), tower)
    classes: Sequence[str] = [prepared.samples[i].expression for i in split.train]
    if shuffled:
        classes = shuffle_classes(classes, seed=config.seed)
    stream = int(np.random.SeedSequence([config.seed, split.fold]).generate_state(1)[0])
    torch.manual_seed(stream)
    model = build_model(config.model)
    views = config.prepare.views
    task = SmileVlmTask(
        model=model,
        loss=JointLoss(config.loss),
        distortions=Distortions(
            config.distortions, views.angles_deg, normal_x_channel=0 if views.kind == "normals" else None
        ),
        prompt_table=torch.from_numpy(table),
        optimiser=config.optimiser,
        seed=stream,
    )
    batches = PromptedBatches(
        images=to_channels_first(prepared.load_images(split.train)),
        classes=classes,
        prompt_set=prompt_set,
        pairing=config.pairing,
        batch_size=config.optimiser.batch_size,
        seed=stream,
        epoch=lambda: task.current_epoch,
    )
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_epochs=config.optimiser.epochs,
        accelerator="cpu",
        devices=1,
        precision="bf16-mixed" if config.optimiser.precision == "bf16" else "32-true",
        logger=[
            CSVLogger(folder, name="", version="", flush_logs_every_n_steps=50),
            TensorBoardLogger(folder, name="", version="tensorboard"),
        ],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[_epoch_reporter(report)] if report else [],
    )
    with warnings.catch_warnings():
        # Batches lie in memory: loader workers would only copy them. Lightning advises them all the same.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
        warnings.filterwarnings("ignore", message=".*Experiment logs directory.*")
        warnings.filterwarnings("ignore", message=".*IterableDataset.*has `__len__`.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        trainer.fit(task, as_loader(batches))
    return Recogniser(
        model=model.eval(),
        prompts=embeddings,
        text_digest=tower.digest,
        classes=class_names,
        prepare=config.prepare,
        temperature=config.score_temperature,
        synthetic=prepared.manifest.synthetic,
    )


def _epoch_reporter(report: Report):  # noqa: ANN202
    import pytorch_lightning as lightning

    class EpochReporter(lightning.Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            del pl_module
            loss = trainer.callback_metrics.get("loss")
            value = float("nan") if loss is None else float(loss)
            report(trainer.current_epoch + 1, trainer.max_epochs or 0, value)

    return EpochReporter()
