"""Training of one fold: from its data to the folder that is kept, and the loop over epochs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader

from smilevlm.augment import Distortions
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.files import write_atomically
from smilevlm.losses import JointLoss, JointLossSettings, PromptBank, SupervisedLoss
from smilevlm.models import (
    ModelBundle,
    Projector,
    ProjectorSettings,
    SmileVlm,
    TrainingProvenance,
    build_model,
    class_prototypes,
    fit_temperature,
    load_bundle,
    mixes_local_samples,
    save_bundle,
    zero_shot_scores,
)
from smilevlm.prompts import NO_TEXT_TOWER
from smilevlm.results import EpochChoice, MultiViewGradient
from smilevlm.threads import torch_threads
from smilevlm.training.callbacks import BestEpoch, EpochReporter, ResumeCheckpoint, StepLog
from smilevlm.training.config import ExperimentConfig, ValidationSettings
from smilevlm.training.data import (
    Batch,
    PrefetchedBatches,
    ShardSpec,
    TrainingBatches,
    ValidationBatches,
    as_loader,
    pinned,
)
from smilevlm.training.fold_data import FoldData, RunData, bank_rows, load_fold_data, prompt_groups
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.heap import freed_memory_kept
from smilevlm.training.initial_weights import working_on
from smilevlm.training.lightning_trainer import (
    build_trainer,
    default_signals,
    end_trackers,
    quiet_lightning,
    torch_state_restored,
)
from smilevlm.training.module import PromptTensors, SmileVlmModule
from smilevlm.training.processes import broadcast_from_rank0, num_processes, on_rank0, process_rank
from smilevlm.training.pseudo import read_proposals
from smilevlm.training.run_folder import (
    FOLD_NAME,
    METRICS_NAME,
    PRETRAINING_NAME,
    PROPOSALS_NAME,
    STATE_NAME,
    FoldJob,
    FoldRecord,
    locked_fold,
    write_fold_record,
)
from smilevlm.training.sampling import SamplerSettings
from smilevlm.training.splits import FoldSplit, check_split_leaks, fold_seed, trained_sides

RunProgress = Callable[[str, int, int, float], None]
"""Called with (name of the fold, epochs done, epochs in all, loss)."""
FoldProgress = Callable[[int, int, float], None]
"""Called with (epochs done, epochs in all, loss)."""


def train_fold(
    data: RunData,
    run: Path,
    job: FoldJob,
    *,
    hardware: HardwareConfig | None = None,
    progress: RunProgress | None = None,
) -> None:
    """Train one fold and leave its weights, split and logs in its folder of the run, in one piece.

    The folder is made when the fold is complete; until then logs and the state to go on from are in `<folder>.running`.
    Under torchrun every process calls this; the first one writes.

    Args:
        data: What the folds of the run share.
        run: The run folder.
        job: Which fold, and whether it is the control.
        hardware: Where to train.
        progress: Called after every epoch.

    Raises:
        LeakError: A test sample is known from training.
        CheckpointError: The loss became infinite or NaN.
        SettingsError: Another process trains the fold, or settings do not fit each other or the machine.
    """
    hardware = hardware or HardwareConfig()
    folder = job.folder(run)
    running = folder.with_name(f"{folder.name}.running")
    with locked_fold(run, job):
        # Another process may have trained it since this one looked.
        if broadcast_from_rank0(job.is_trained(run)):
            return
        # A killed run may have ended between the last file and the new name of the folder.
        if not broadcast_from_rank0((running / FOLD_NAME).is_file()):
            split = data.splits[job.fold]
            check_split_leaks(split, data.prepared)
            clock = _Clock(running)
            shuffled = job.shuffled or data.config.shuffle_prompts
            fold_data = load_fold_data(data, split, shuffled=shuffled, hardware=hardware)

            config, num_before = data.config, data.config.pretraining_epochs

            def epoch_done(done: int, total: int, loss: float) -> None:
                clock.save()
                if progress is not None:
                    progress(job.name, done, num_before + config.optimiser.epochs, loss)

            def main_epoch_done(done: int, total: int, loss: float) -> None:
                epoch_done(num_before + done, total, loss)

            kept = nullcontext() if hardware is not None and hardware.on_gpu else freed_memory_kept()
            with torch_threads(config.optimiser.threads), kept:
                if num_before:
                    fold_data = _pretrained(data, fold_data, running, job.fold, hardware, epoch_done)
                trained = fit(config, fold_data, running, fold=job.fold, hardware=hardware, progress=main_epoch_done)

            def keep() -> None:
                save_bundle(_bundle(data, split, fold_data, trained.model, hardware), running)
                record = FoldRecord(
                    split=split,
                    epoch_choice=trained.epoch_choice,
                    seconds=clock.seconds(),
                    multi_view_gradient=trained.multi_view_gradient,
                )
                write_fold_record(running, record)

            on_rank0(keep)
        on_rank0(lambda: _put_in_place(running, folder))


def _pretrained(
    data: RunData, fold_data: FoldData, running: Path, fold: int, hardware: HardwareConfig, progress: FoldProgress
) -> FoldData:
    """The fold's data with a model to begin with that the multi-view loss alone has trained, without any label.

    It is kept in the fold's folder, and found there by a run that is gone on with.
    """
    folder = running / PRETRAINING_NAME
    if not broadcast_from_rank0(folder.is_dir()):
        config, training = data.config, fold_data.training
        phase = replace(
            config,
            pairing="generic",
            labelled_subjects=None,
            loss=replace(
                config.loss, alpha=1.0, beta=0.0, gamma=0.0, negatives="batch", multi_view_share=None, log_share=False
            ),
            optimiser=replace(config.optimiser, epochs=config.pretraining_epochs),
            sampler=SamplerSettings(),
            validation=ValidationSettings(),
            seed=fold_seed(config, fold),
        )
        unlabelled = replace(training, classes=(None,) * len(training.classes), captions=None)
        begun = folder.with_name(f"{folder.name}.running")
        trained = fit(
            phase,
            replace(fold_data, training=unlabelled, validation=None, proposals=None),
            begun,
            fold=fold,
            hardware=hardware,
            progress=progress,
        )
        split, uncalibrated = data.splits[fold], replace(data, config=replace(config, validation=ValidationSettings()))
        on_rank0(lambda: save_bundle(_bundle(uncalibrated, split, fold_data, trained.model, hardware), begun))
        on_rank0(lambda: _put_in_place(begun, folder))
    return replace(fold_data, start=load_bundle(folder).model)


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What `fit` gives.

    Args:
        model: In evaluation mode on the CPU; its moving average where the recipe has one.
        epoch_choice: Which epoch it is of, where validation subjects chose one; None for the last.
        multi_view_gradient: The multi-view loss's part of the tower's gradient, where it was measured.
    """

    model: SmileVlm
    epoch_choice: EpochChoice | None = None
    multi_view_gradient: MultiViewGradient | None = None


@torch_state_restored()
def fit(
    config: ExperimentConfig,
    fold_data: FoldData,
    folder: Path,
    *,
    fold: int,
    hardware: HardwareConfig,
    progress: FoldProgress | None = None,
) -> TrainedModel:
    """Train a model over all epochs, going on from the state that the folder holds, if any.

    Args:
        config: The recipe.
        fold_data: What is trained on.
        folder: For logs and states; made once the model is built.
        fold: Decides with the recipe's seed all that is drawn.
        hardware: Where to train.
        progress: Called on the first process alone.

    Raises:
        CheckpointError: The loss became infinite or NaN, or a pretrained tower is not there.
        SettingsError: Settings do not fit each other or the machine.
    """
    seed = fold_seed(config, fold)
    module = build_module(config, fold_data, seed)
    folder.mkdir(parents=True, exist_ok=True)
    on_rank0(lambda: _keep_proposals(fold_data, folder / PROPOSALS_NAME))
    if config.optimiser.epochs == 0:
        return TrainedModel(model=module.kept_model().eval())
    shard = ShardSpec(rank=process_rank(), num_processes=num_processes())
    batching: dict[str, Any] = {
        "pairing": config.pairing, "batch_size": config.optimiser.batch_size, "seed": seed, "shard": shard
    }  # fmt: skip
    prompt_set = fold_data.prompts.prompt_set
    held_back = best = None
    if fold_data.validation is not None:
        held_back = as_loader(ValidationBatches(fold_data.validation, prompt_set, **batching))
        best = BestEpoch(monitor=config.validation.monitor, patience=config.validation.patience)
    log = StepLog(folder / METRICS_NAME, _more_columns(config), best)
    callbacks: list[lightning.Callback] = [log]
    callbacks += [] if best is None else [best]
    if progress is not None and process_rank() == 0:
        callbacks.append(EpochReporter(progress))
    every, minutes = hardware.checkpoint_every, hardware.checkpoint_minutes
    callbacks.append(ResumeCheckpoint(folder, every=every, minutes=minutes, log=log))
    state = folder / STATE_NAME
    state = state if broadcast_from_rank0(state.is_file()) else None
    with quiet_lightning(), default_signals():
        trainer = build_trainer(config, folder, callbacks, hardware, state)
        trainer.fit(
            module,
            _training_loader(config, fold_data, module, batching, hardware),
            held_back,
            ckpt_path=state,
            weights_only=True,
        )
    end_trackers(trainer)
    if best is not None:
        best.restore(module)
    return TrainedModel(
        model=module.kept_model().cpu().eval(),
        epoch_choice=None if best is None else best.choice,
        multi_view_gradient=_multi_view_gradient(module),
    )


def _training_loader(
    config: ExperimentConfig,
    fold_data: FoldData,
    module: SmileVlmModule,
    batching: Mapping[str, Any],
    hardware: HardwareConfig,
) -> DataLoader[Batch]:
    """Batches from where the images are kept, see `HardwareConfig.images_on_device`."""
    samples = fold_data.training
    if not (config.all_paired or config.uses_unpaired):
        samples = samples.paired()
    on_device = hardware.keeps_on_device(samples.images.nbytes)
    if on_device:
        samples = samples.to(hardware.torch_device)
    batches = TrainingBatches(
        samples,
        fold_data.prompts.prompt_set,
        sampler=config.sampler,
        epoch=lambda: module.current_epoch,
        steps_done=lambda: module.global_step,
        **batching,
    )
    return as_loader(PrefetchedBatches(batches, pinned) if hardware.on_gpu and not on_device else batches)


def build_module(config: ExperimentConfig, fold_data: FoldData, seed: int) -> SmileVlmModule:
    """The model with fresh weights, or those it starts from, and all that a step needs.

    Raises:
        CheckpointError: A pretrained tower is not there.
        SettingsError: The tower normalises over the samples of one process, and there are several; the multi-view loss
            is to be centred on people who have one sample each; or see `SmileVlmModule`.
    """
    torch.manual_seed(seed)
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
    embeddings, table = fold_data.prompts.embeddings, torch.from_numpy(fold_data.prompts.table)
    prototypes = class_prototypes(embeddings.centred, embeddings.classes, embeddings.class_names)
    groups = torch.from_numpy(prompt_groups(config, fold_data.prompts))
    if config.pairing == "labels":
        loss: JointLoss | SupervisedLoss = SupervisedLoss(table, config.loss.temperature)
    else:
        bank = torch.from_numpy(bank_rows(config, fold_data))
        loss = build_joint_loss(config.loss, model, fold_data.training.subjects, PromptBank(table[bank], groups[bank]))
    return SmileVlmModule(
        model=model,
        loss=loss,
        distortions=Distortions.for_views(config.distortions, config.prepare.views),
        prompts=PromptTensors(
            table=table,
            candidates=torch.from_numpy(embeddings.centred),
            prototypes=torch.from_numpy(prototypes.vectors).float(),
            groups=groups,
        ),
        optimiser=config.optimiser,
        validation=config.validation,
        seed=seed,
        all_paired=config.all_paired,
    )


def build_joint_loss(
    settings: JointLossSettings, model: SmileVlm, subjects: torch.Tensor | None, bank: PromptBank | None
) -> JointLoss:
    """The joint loss with the head that it asks for, of fresh weights.

    Args:
        settings: Of the loss.
        model: What the head stands on.
        subjects: Whose the training samples are.
        bank: Prompts to compare with, where the settings ask for them.

    Raises:
        SettingsError: It is to be centred on people who have one sample each.
    """
    head = None
    if settings.alpha > 0:
        if settings.centre == "person" and subjects is not None and len(subjects.unique()) == len(subjects):
            raise SettingsError("loss.centre is person, but no person has two training samples: nothing would be left")
        if settings.head != "none":
            in_dim = model.projector.in_dim if settings.head == "features" else model.projector.out_dim
            layers = ProjectorSettings(hidden_dim=settings.head_hidden_dim, num_layers=settings.head_layers)
            head = Projector(in_dim, settings.head_dim, layers)
    return JointLoss(settings, head, bank)


def _multi_view_gradient(module: SmileVlmModule) -> MultiViewGradient | None:
    measured = module.loss.gradient_share
    if measured is None or measured.mean is None:
        return None
    return MultiViewGradient(scale=measured.scale, share=measured.mean, num_steps=measured.num_measured)


def _more_columns(config: ExperimentConfig) -> tuple[str, ...]:
    measured = config.loss.measures_share and config.pairing != "labels"
    return (
        *(("temperature",) if config.loss.learned_temperature else ()),
        *(("gradient_norm",) if config.optimiser.clip_norm is not None else ()),
        *(("multi_view_scale", "multi_view_share") if measured else ()),
    )


def _keep_proposals(fold_data: FoldData, path: Path) -> None:
    """Write what the teacher proposed, or check that it still proposes what the interrupted training began with.

    Raises:
        CheckpointError: It proposes other classes.
    """
    if fold_data.proposals is None:
        return
    if not path.is_file():
        write_atomically(path, json.dumps(asdict(fold_data.proposals), indent=1) + "\n")
        return
    begun = read_proposals(path)
    if (begun.teacher, begun.classes) != (fold_data.proposals.teacher, fold_data.proposals.classes):
        raise CheckpointError(f"{path}: the teacher has changed since this training began; remove {path.parent}")


def _put_in_place(running: Path, folder: Path) -> None:
    leftovers = [running / STATE_NAME, running / _Clock.NAME, *running.glob(".*.part")]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    running.replace(folder)


def _bundle(
    data: RunData, split: FoldSplit, fold_data: FoldData, model: SmileVlm, hardware: HardwareConfig
) -> ModelBundle:
    """The trained model with everything needed to use it.

    Raises:
        CheckpointError: The weights are no longer finite.
    """
    if not all(bool(p.isfinite().all()) for p in model.state_dict().values()):
        raise CheckpointError(f"fold {split.fold}: the weights are no longer finite; lower optimiser.learning_rate")
    config, manifest, samples = data.config, data.prepared.manifest, data.prepared.samples
    bundle = ModelBundle(
        model=model,
        prompts=fold_data.prompts.embeddings,
        text_digest=fold_data.prompts.text_digest,
        text_tower=NO_TEXT_TOWER if config.pairing == "labels" else config.text_tower,
        classes=data.class_names,
        prepare=config.prepare,
        temperature=config.score_temperature,
        abstain_threshold=config.abstain_threshold,
        synthetic=manifest.synthetic or fold_data.taught_by_synthetic,
        started_from=fold_data.started_from,
        trained_on=TrainingProvenance(
            manifest_hash=manifest.content_hash,
            subjects=(*split.train_subjects, *split.validation_subjects),
            layout=manifest.layout,
            digests=(*(samples[i].digest for side in trained_sides(split) for i in side), *fold_data.known_digests),
        ),
    )
    if not config.validation.calibrate:
        return bundle
    with working_on(bundle, hardware.torch_device, config.optimiser.threads) as working:
        temperature = _calibration_temperature(working, fold_data)
    return replace(bundle, temperature=temperature, calibrated=True)


def _calibration_temperature(bundle: ModelBundle, fold_data: FoldData) -> float:
    """Temperature scaling on the validation subjects."""
    held_back = fold_data.validation
    assert held_back is not None, "the settings ask for held-back subjects"
    embedded = bundle.embed(np.ascontiguousarray(held_back.images.permute(0, 1, 3, 4, 2).numpy()))
    scores = zero_shot_scores(embedded.z_fused, bundle.prototypes)
    truth = np.array([bundle.classes.index(name) for name in held_back.classes if name is not None])
    return fit_temperature(scores, truth)


class _Clock:
    """Seconds spent on a fold, also by runs that were interrupted."""

    NAME = "seconds.txt"

    def __init__(self, running: Path) -> None:
        self._path = running / self.NAME
        self._before = float(self._path.read_text()) if self._path.is_file() else 0.0
        self._started = time.perf_counter()

    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def save(self) -> None:
        write_atomically(self._path, f"{self.seconds()}")
