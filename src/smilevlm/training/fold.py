"""One fold from the store to its folder: split, leak check, training, everything needed to use the model."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smilevlm.datasets import find_protocol
from smilevlm.errors import CheckpointError, StoreError
from smilevlm.files import write_atomically
from smilevlm.models import ModelBundle, TrainingProvenance, fit_temperature, save_bundle, zero_shot_scores
from smilevlm.prompts import NO_TEXT_TOWER
from smilevlm.results import EpochChoice
from smilevlm.store import PreparedSet, differing_settings
from smilevlm.threads import torch_threads
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.distributed import HardwareConfig, barrier, broadcast_from_rank0, process_rank
from smilevlm.training.fold_data import FoldData, load_fold_data
from smilevlm.training.initial_weights import working_on
from smilevlm.training.names import FOLD_NAME, PROPOSALS_NAME, STATE_NAME
from smilevlm.training.pseudo import read_proposals
from smilevlm.training.splits import FoldSplit, check_split_leaks, split_fold

if TYPE_CHECKING:
    from smilevlm.training.fitting import Fitted, Report

_CHOICE = "epoch_choice"


def check_store(config: ExperimentConfig, prepared: PreparedSet) -> None:
    """Raises:
    StoreError: The views were made otherwise than the recipe says, or from another data set.
    """
    if prepared.manifest.settings != config.prepare:
        differing = differing_settings(prepared.manifest.settings, config.prepare, "the recipe has")
        raise StoreError(f"{prepared.path} was prepared with other settings: {differing}")
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
    hardware: HardwareConfig | None = None,
    report: Report | None = None,
) -> None:
    """Train one fold and leave its weights, split and logs in `folder`, in one piece.

    Under torchrun every process calls this; the first one writes.

    Args:
        config: The recipe.
        store: Prepared views.
        folder: Made when the fold is complete; until then logs and the state to go on from are in `<folder>.running`.
        fold: Index from zero.
        shuffled: The control: samples get the prompts of other samples.
        hardware: Where to train.
        report: Progress.

    Raises:
        StoreError: The store does not fit the recipe.
        LeakError: A test sample is known from training.
        CheckpointError: The loss became infinite or NaN.
    """
    from smilevlm.training.fitting import fit

    prepared = PreparedSet(store)
    check_store(config, prepared)
    split = split_fold(config, prepared, fold)
    check_split_leaks(split, prepared)
    running = folder.with_name(f"{folder.name}.running")
    if broadcast_from_rank0((running / FOLD_NAME).is_file()):
        # Killed between the last file and the new name.
        if process_rank() == 0:
            _put_in_place(running, folder)
        barrier()
        return
    running.mkdir(parents=True, exist_ok=True)
    clock = _Clock(running)
    hardware = hardware or HardwareConfig()
    fold_data = load_fold_data(config, prepared, split, shuffled=shuffled or config.shuffle_prompts, hardware=hardware)
    if process_rank() == 0:
        _keep_proposals(fold_data, running / PROPOSALS_NAME)
    stream = fold_seed(config, fold)
    with torch_threads(config.optimiser.threads):
        fitted = fit(config, fold_data, running, stream=stream, hardware=hardware, report=clock.before(report))
    if process_rank() == 0:
        _complete(config, prepared, split, fold_data, fitted, running, clock.seconds(), hardware)
        _put_in_place(running, folder)
    barrier()


def fold_seed(config: ExperimentConfig, fold: int) -> int:
    """Seed of everything that is drawn while a fold is trained."""
    return int(np.random.SeedSequence([config.seed, fold]).generate_state(1)[0])


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


def _complete(
    config: ExperimentConfig,
    prepared: PreparedSet,
    split: FoldSplit,
    fold_data: FoldData,
    fitted: Fitted,
    running: Path,
    seconds: float,
    hardware: HardwareConfig,
) -> None:
    """Everything that a trained fold has beside its logs."""
    manifest, model = prepared.manifest, fitted.model
    bundle = ModelBundle(
        model=model,
        prompts=fold_data.prompts.embeddings,
        text_digest=fold_data.prompts.text_digest,
        text_tower=NO_TEXT_TOWER if config.pairing == "labels" else config.text_tower,
        classes=find_protocol(config.protocol).training.classes_of(prepared.samples),
        prepare=config.prepare,
        temperature=config.score_temperature,
        abstain_threshold=config.abstain_threshold,
        synthetic=manifest.synthetic or fold_data.taught_by_synthetic,
        started_from=fold_data.started_from,
        trained_on=TrainingProvenance(
            manifest_hash=manifest.content_hash,
            subjects=(*split.train_subjects, *split.validation_subjects),
            layout=manifest.layout,
            digests=(
                *(prepared.samples[i].digest for i in (*split.train, *split.validation)),
                *fold_data.known_digests,
            ),
        ),
    )
    if config.validation.calibrate:
        with working_on(bundle, hardware.torch_device, config.optimiser.threads) as working:
            temperature = _fitted_temperature(working, fold_data)
        bundle = replace(bundle, temperature=temperature, calibrated=True)
    if not all(bool(p.isfinite().all()) for p in model.state_dict().values()):
        raise CheckpointError(f"fold {split.fold}: the weights are no longer finite; lower optimiser.learning_rate")
    save_bundle(bundle, running)
    choice = None if fitted.epoch_choice is None else asdict(fitted.epoch_choice)
    described = {**asdict(split), _CHOICE: choice, "seconds": seconds}
    write_atomically(running / FOLD_NAME, json.dumps(described, indent=1) + "\n")


def _fitted_temperature(bundle: ModelBundle, fold_data: FoldData) -> float:
    """The temperature that suits the held-back people."""
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
        earlier = self._path.read_text() if self._path.is_file() else "0"
        self._earlier = float(earlier)
        self._started = time.perf_counter()

    def seconds(self) -> float:
        return self._earlier + time.perf_counter() - self._started

    def before(self, report: Report | None) -> Report:
        """A report that keeps the time as well."""

        def noted(done: int, total: int, loss: float) -> None:
            write_atomically(self._path, f"{self.seconds()}")
            if report is not None:
                report(done, total, loss)

        return noted


def read_split(folder: Path) -> tuple[FoldSplit, float]:
    """The split that a fold was trained with, and how many seconds that took.

    Raises:
        CheckpointError: The fold is not trained, or its file is damaged.
    """
    split, _, seconds = _read_fold(folder)
    return split, seconds


def read_epoch_choice(folder: Path) -> EpochChoice | None:
    """Which epoch a trained fold's weights are of; None where no validation subjects chose one.

    Raises:
        CheckpointError: The fold is not trained, or its file is damaged.
    """
    return _read_fold(folder)[1]


def _read_fold(folder: Path) -> tuple[FoldSplit, EpochChoice | None, float]:
    path = folder / FOLD_NAME
    try:
        values = json.loads(path.read_text())
        seconds = float(values.pop("seconds"))
        # Folds of versions that did not keep it do not have it.
        choice = values.pop(_CHOICE, None)
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return FoldSplit(**{**values, **lists}), None if choice is None else EpochChoice(**choice), seconds
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no trained fold; run `smilevlm train` (with --resume) first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
