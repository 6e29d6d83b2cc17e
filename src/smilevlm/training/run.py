"""Train the folds of a recipe, one by one or several at a time, and keep them in one run folder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import Timeout

from smilevlm.datasets import find_protocol
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.files import locked, write_atomically
from smilevlm.store import PreparedSet
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.config_checks import check_config
from smilevlm.training.distributed import (
    HardwareConfig,
    broadcast_from_rank0,
    joined_processes,
    num_processes,
    process_rank,
    under_launcher,
)
from smilevlm.training.fold import train_fold
from smilevlm.training.fold_data import load_initial_models, load_prompts
from smilevlm.training.leak_checks import check_chosen_prompts
from smilevlm.training.names import CONFIG_NAME, CONTROL_NAME, FOLD_NAME
from smilevlm.training.resolve import with_clip_width, with_current_names
from smilevlm.training.splits import check_folds, check_split_leaks, split_folds, write_folds
from smilevlm.version import __version__

_KEYS = frozenset({"settings", "manifest_hash", "package_version", "git_commit"})
Progress = Callable[[str, int, int, float], None]
"""Called with (name of the fold, epochs done, epochs in all, loss)."""


@dataclass(frozen=True, kw_only=True)
class FoldJob:
    """One training: a fold, or a fold of the shuffled-prompts control."""

    fold: int
    shuffled: bool = False

    @property
    def name(self) -> str:
        return f"control, fold {self.fold}" if self.shuffled else f"fold {self.fold}"

    def folder(self, run: Path) -> Path:
        base = run / CONTROL_NAME if self.shuffled else run
        return base / f"fold_{self.fold:02d}"

    def is_trained(self, run: Path) -> bool:
        return (self.folder(run) / FOLD_NAME).is_file()


def fold_jobs(config: ExperimentConfig, folds: Sequence[int] | None = None) -> list[FoldJob]:
    """What a run trains: the chosen folds, all by default, and those of them that are controls too.

    Raises:
        SettingsError: A fold is out of range.
    """
    chosen = list(range(config.num_folds)) if folds is None else sorted(set(folds))
    outside = [fold for fold in chosen if not 0 <= fold < config.num_folds]
    if outside:
        raise SettingsError(f"fold {outside[0]} is outside 0 to {config.num_folds - 1}")
    controls = [FoldJob(fold=fold, shuffled=True) for fold in chosen if fold < config.num_control_folds]
    return [*(FoldJob(fold=fold) for fold in chosen), *controls]


def train_run(
    config: ExperimentConfig,
    store: Path,
    run: Path,
    *,
    folds: Sequence[int] | None = None,
    jobs: int = 1,
    resume: bool = False,
    hardware: HardwareConfig | None = None,
    progress: Progress | None = None,
) -> list[FoldJob]:
    """Train folds that are not trained yet.

    Under torchrun every process calls this, and all of them train each fold together.

    Args:
        config: The recipe.
        store: Prepared views.
        run: Folder to write; holds the resolved recipe, versions, and one folder per fold.
        folds: Which; all by default.
        jobs: Folds trained at the same time, each in a process of its own, on GPUs in turn. Does not change any number.
        resume: Go on with a run folder that is there; folds that are complete stay, one that was interrupted goes on
            from its last state, to the same bits.
        hardware: Where to train.
        progress: Called after every epoch.

    Returns:
        What was trained now.

    Raises:
        SettingsError: A fold is out of range or too small, the run folder belongs to another recipe, or another process
            trains the same fold.
        StoreError: The store does not fit the recipe.
        LeakError: A test sample of a fold is known from its training samples.
        CheckpointError: The run to go on with is damaged, or its folds are not the recipe's.
    """
    if process_rank() == 0 and (run / CONFIG_NAME).exists() and not resume:
        raise SettingsError(f"{run} holds a run already; add --resume to go on with it, or choose another folder")
    config = with_clip_width(config)
    hardware, progress = hardware or HardwareConfig(), progress or _silent
    hardware.check()
    wanted = fold_jobs(config, folds)
    prepared = PreparedSet(store)
    _check_before_claiming(config, prepared, wanted)
    if process_rank() == 0:
        with locked(run / CONFIG_NAME):
            _claim(config, prepared, run)
    missing = [job for job in wanted if not job.is_trained(run)]
    if under_launcher() or jobs <= 1 or len(missing) <= 1:
        with joined_processes(hardware):
            missing = broadcast_from_rank0(missing)
            for job in missing:
                _train(config, store, run, job, hardware, progress)
    else:
        _train_in_parallel(config, store, run, missing, jobs, hardware, progress)
    return missing


def _check_before_claiming(config: ExperimentConfig, prepared: PreparedSet, wanted: Sequence[FoldJob]) -> None:
    """Refuse what cannot be trained before a run folder exists that would then stand in the way."""
    check_config(config, prepared, [job.fold for job in wanted])
    if config.optimiser.batch_size < num_processes():
        raise SettingsError(
            f"a batch of {config.optimiser.batch_size} leaves some of {num_processes()} processes without a sample; "
            "raise optimiser.batch_size or use fewer processes"
        )
    load_prompts(config, find_protocol(config.protocol).training.classes_of(prepared.samples))
    _build_once(config)
    splits = split_folds(config, prepared)
    for job in wanted:
        split = splits[job.fold]
        check_split_leaks(split, prepared)
        check_chosen_prompts(config, split.test_subjects, prepared.manifest.layout)
        load_initial_models(config, prepared, split)


def _build_once(config: ExperimentConfig) -> None:
    """Find out that a pretrained tower is missing, or the parts do not fit."""
    import torch

    from smilevlm.models import build_model
    from smilevlm.training.module import check_cached_gradients

    with torch.random.fork_rng(devices=[]):
        check_cached_gradients(config.optimiser, build_model(config.model))


def _silent(name: str, done: int, total: int, loss: float) -> None:
    del name, done, total, loss


def _train(
    config: ExperimentConfig, store: Path, run: Path, job: FoldJob, hardware: HardwareConfig, progress: Progress
) -> None:
    def report(done: int, total: int, loss: float) -> None:
        progress(job.name, done, total, loss)

    with _locked_fold(run, job):
        # Another process may have trained it since this one looked.
        if not broadcast_from_rank0(job.is_trained(run)):
            train_fold(
                config, store, job.folder(run), job.fold, shuffled=job.shuffled, hardware=hardware, report=report
            )


@contextmanager
def _locked_fold(run: Path, job: FoldJob) -> Iterator[None]:
    """Keep other processes out of a fold; of those that train it together the first holds the lock.

    Raises:
        SettingsError: Another process trains it.
    """
    with ExitStack() as held:
        if process_rank() == 0:
            try:
                held.enter_context(locked(job.folder(run), wait=False))
            except Timeout:
                raise SettingsError(
                    f"{run}: {job.name} is being trained by another process; wait until that has ended and go on with "
                    "--resume, or choose another folder"
                ) from None
        yield


def _train_in_parallel(
    config: ExperimentConfig,
    store: Path,
    run: Path,
    missing: Sequence[FoldJob],
    jobs: int,
    hardware: HardwareConfig,
    progress: Progress,
) -> None:
    import multiprocessing
    import threading

    from joblib import Parallel, delayed

    with multiprocessing.get_context("spawn").Manager() as manager:
        messages = manager.Queue()

        def listen() -> None:
            while (message := messages.get()) is not None:
                progress(*message)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            Parallel(n_jobs=jobs)(
                delayed(_train)(config, store, run, job, on_device(hardware, number), _Messenger(messages))
                for number, job in enumerate(missing)
            )
        finally:
            messages.put(None)
            listener.join()


def on_device(hardware: HardwareConfig, number: int) -> HardwareConfig:
    """The machine with the GPU whose turn it is, where there is any."""
    if not hardware.on_gpu:
        return hardware
    import torch

    return replace(hardware, device=number % torch.cuda.device_count())


class _Messenger:
    """Carries progress from a training process to the one that shows it."""

    def __init__(self, messages: Any) -> None:  # noqa: ANN401
        self._messages = messages

    def __call__(self, name: str, done: int, total: int, loss: float) -> None:
        self._messages.put((name, done, total, loss))


def _claim(config: ExperimentConfig, prepared: PreparedSet, run: Path) -> None:
    """Write recipe and folds to a new run folder, or check that a run to go on with has the same."""
    identity = {
        "settings": json.loads(json.dumps(asdict(config))),
        "manifest_hash": prepared.manifest.content_hash,
    }
    path = run / CONFIG_NAME
    if not path.exists():
        run.mkdir(parents=True, exist_ok=True)
        # The recipe comes last: a folder that has it is a run with all it needs.
        write_folds(config, prepared, run)
        versions = {"package_version": __version__, "git_commit": git_commit()}
        write_atomically(path, json.dumps({**identity, **versions}, indent=2, sort_keys=True) + "\n")
        return
    found = read_run_config(run)
    if {"settings": with_current_names(found["settings"]), "manifest_hash": found["manifest_hash"]} != identity:
        raise SettingsError(f"{run} was begun with other settings or data; it cannot be gone on with. Choose another")
    check_folds(config, prepared, run)


def read_run_config(run: Path) -> dict[str, Any]:
    """The resolved recipe of a run, as plain values.

    Raises:
        CheckpointError: The folder is no run, or its description is damaged.
    """
    path = run / CONFIG_NAME
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{run} is no run folder: {CONFIG_NAME} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict) or not values.keys() >= _KEYS:
        raise CheckpointError(f"{path} is damaged: one of {', '.join(sorted(_KEYS))} is missing")
    return values


def git_commit() -> str | None:
    """The commit of the source tree, with `-dirty` when it was changed; None outside a checkout."""
    here = Path(__file__).parent
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        inside = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=here, capture_output=True, check=False, env=environment,
        )  # fmt: skip
        if inside.returncode != 0:
            return None
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
