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
from smilevlm.evaluation import fit_temperature, zero_shot_scores
from smilevlm.evaluation.recogniser import Recogniser, TrainedOn, save_recogniser
from smilevlm.files import write_atomically
from smilevlm.prompts import NO_TEXT_TOWER
from smilevlm.results import EpochChoice
from smilevlm.store import PreparedSet
from smilevlm.store.manifest import differing_settings
from smilevlm.threads import torch_threads
from smilevlm.training.earlier import working_on
from smilevlm.training.material import Material, load_material
from smilevlm.training.names import FOLD_NAME, PROPOSALS_NAME, STATE_NAME
from smilevlm.training.parallel import Machine, as_the_first_sees, process_rank, wait_for_all
from smilevlm.training.pseudo import read_proposals
from smilevlm.training.settings import ExperimentConfig
from smilevlm.training.splits import FoldSplit, refuse_split_leaks, split_fold

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
    machine: Machine | None = None,
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
        machine: Where to train.
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
    refuse_split_leaks(split, prepared)
    running = folder.with_name(f"{folder.name}.running")
    if as_the_first_sees((running / FOLD_NAME).is_file()):
        # Killed between the last file and the new name.
        if process_rank() == 0:
            _put_in_place(running, folder)
        wait_for_all()
        return
    running.mkdir(parents=True, exist_ok=True)
    clock = _Clock(running)
    machine = machine or Machine()
    material = load_material(config, prepared, split, shuffled=shuffled or config.shuffle_prompts, machine=machine)
    if process_rank() == 0:
        _keep_proposals(material, running / PROPOSALS_NAME)
    stream = fold_stream(config, fold)
    with torch_threads(config.optimiser.threads):
        fitted = fit(config, material, running, stream=stream, machine=machine, report=clock.before(report))
    if process_rank() == 0:
        _complete(config, prepared, split, material, fitted, running, clock.seconds(), machine)
        _put_in_place(running, folder)
    wait_for_all()


def fold_stream(config: ExperimentConfig, fold: int) -> int:
    """Seed of everything that is drawn while a fold is trained."""
    return int(np.random.SeedSequence([config.seed, fold]).generate_state(1)[0])


def _keep_proposals(material: Material, path: Path) -> None:
    """Write what the teacher proposed, or check that it still proposes what the interrupted training began with.

    Raises:
        CheckpointError: It proposes other classes.
    """
    if material.proposals is None:
        return
    if not path.is_file():
        write_atomically(path, json.dumps(asdict(material.proposals), indent=1) + "\n")
        return
    begun = read_proposals(path)
    if (begun.teacher, begun.classes) != (material.proposals.teacher, material.proposals.classes):
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
    material: Material,
    fitted: Fitted,
    running: Path,
    seconds: float,
    machine: Machine,
) -> None:
    """Everything that a trained fold has beside its logs."""
    manifest, model = prepared.manifest, fitted.model
    recogniser = Recogniser(
        model=model,
        prompts=material.prompts.embeddings,
        text_digest=material.prompts.text_digest,
        text_tower=NO_TEXT_TOWER if config.pairing == "labels" else config.text_tower,
        classes=find_protocol(config.protocol).training.classes_of(prepared.samples),
        prepare=config.prepare,
        temperature=config.score_temperature,
        unsure_below=config.unsure_below,
        synthetic=manifest.synthetic or material.taught_by_synthetic,
        started_from=material.started_from,
        trained_on=TrainedOn(
            manifest_hash=manifest.content_hash,
            subjects=(*split.train_subjects, *split.validation_subjects),
            layout=manifest.layout,
            digests=(
                *(prepared.samples[i].digest for i in (*split.train, *split.validation)),
                *material.known_digests,
            ),
        ),
    )
    if config.validation.calibrate:
        with working_on(recogniser, machine.torch_device, config.optimiser.threads) as working:
            temperature = _fitted_temperature(working, material)
        recogniser = replace(recogniser, temperature=temperature, calibrated=True)
    if not all(bool(p.isfinite().all()) for p in model.state_dict().values()):
        raise CheckpointError(f"fold {split.fold}: the weights are no longer finite; lower optimiser.learning_rate")
    save_recogniser(recogniser, running)
    choice = None if fitted.epoch_choice is None else asdict(fitted.epoch_choice)
    described = {**asdict(split), _CHOICE: choice, "seconds": seconds}
    write_atomically(running / FOLD_NAME, json.dumps(described, indent=1) + "\n")


def _fitted_temperature(recogniser: Recogniser, material: Material) -> float:
    """The temperature that suits the held-back people."""
    held_back = material.validation
    assert held_back is not None, "the settings ask for held-back subjects"
    embedded = recogniser.embed(np.ascontiguousarray(held_back.images.permute(0, 1, 3, 4, 2).numpy()))
    scores = zero_shot_scores(embedded.z_fused, recogniser.prototypes)
    truth = np.array([recogniser.classes.index(name) for name in held_back.classes if name is not None])
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
