"""Training of a run: its missing folds one after the other, or several at the same time."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from smilevlm.errors import SettingsError
from smilevlm.parallel import parallel_map
from smilevlm.training.config import ExperimentConfig
from smilevlm.training.config_checks import check_config
from smilevlm.training.fold_data import RunData, check_initial_models, load_run_data
from smilevlm.training.hardware import HardwareConfig
from smilevlm.training.leak_checks import check_chosen_prompts
from smilevlm.training.processes import (
    broadcast_from_rank0,
    joined_processes,
    num_processes,
    on_rank0,
    under_launcher,
)
from smilevlm.training.resolve import with_clip_width
from smilevlm.training.run_folder import CONFIG_NAME, FoldJob, claimed_run, fold_jobs
from smilevlm.training.splits import check_split_leaks
from smilevlm.training.trainer import RunProgress, train_fold

_EpochEnd = tuple[str, int, int, float]
"""(name of the fold, epochs done, epochs in all, loss), as `RunProgress` takes them."""


def train_run(
    config: ExperimentConfig,
    store: Path,
    run: Path,
    *,
    folds: Sequence[int] | None = None,
    jobs: int = 1,
    resume: bool = False,
    hardware: HardwareConfig | None = None,
    progress: RunProgress | None = None,
) -> list[FoldJob]:
    """Train folds that are not trained yet.

    Under torchrun every process calls this, and all of them train each fold together.

    Args:
        config: The recipe.
        store: Prepared views.
        run: Folder to write; holds the resolved recipe, versions, and one folder per fold.
        folds: Which; all by default.
        jobs: Folds trained at the same time, each in a process of its own. With GPUs each process has one of its own,
            as long as there are as many. Does not change any number.
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
    config = with_clip_width(config)
    hardware = hardware or HardwareConfig()
    hardware.check()
    _check_batch_size(config)
    with joined_processes(on_gpu=hardware.on_gpu, timeout_minutes=hardware.process_timeout_minutes):
        on_rank0(lambda: _refuse_existing(run, resume=resume))
        wanted = fold_jobs(config, folds)
        data = _checked_run_data(config, store, wanted)
        with claimed_run(config, data.prepared, run):
            missing = broadcast_from_rank0([job for job in wanted if not job.is_trained(run)])
            if under_launcher() or jobs <= 1 or len(missing) <= 1:
                for job in missing:
                    train_fold(data, run, job, hardware=hardware, progress=progress)
            else:
                _train_in_parallel(config, store, run, missing, jobs=jobs, hardware=hardware, progress=progress)
    return missing


def _refuse_existing(run: Path, *, resume: bool) -> None:
    if (run / CONFIG_NAME).exists() and not resume:
        raise SettingsError(f"{run} holds a run already; add --resume to go on with it, or choose another folder")


def _check_batch_size(config: ExperimentConfig) -> None:
    if config.optimiser.batch_size < num_processes():
        raise SettingsError(
            f"a batch of {config.optimiser.batch_size} leaves some of {num_processes()} processes without a sample; "
            "raise optimiser.batch_size or use fewer processes"
        )


def _checked_run_data(config: ExperimentConfig, store: Path, wanted: Sequence[FoldJob]) -> RunData:
    """Load what all folds share, and refuse what cannot be trained before a run folder exists."""
    data = load_run_data(config, store, lambda prepared: check_config(config, prepared, [job.fold for job in wanted]))
    for job in wanted:
        split = data.splits[job.fold]
        check_split_leaks(split, data.prepared)
        check_chosen_prompts(config, split.test_subjects, data.prepared.manifest.layout)
        check_initial_models(data, split)
    return data


def _train_in_parallel(
    config: ExperimentConfig,
    store: Path,
    run: Path,
    missing: Sequence[FoldJob],
    *,
    jobs: int,
    hardware: HardwareConfig,
    progress: RunProgress | None,
) -> None:
    with multiprocessing.get_context("spawn").Manager() as manager:
        messages = manager.Queue()
        # By worker, not by fold: folds take different times, and the one that comes next needs the GPU that is free.
        places = manager.Queue()
        for place in hardware.for_workers(min(jobs, len(missing))):
            places.put(place)
        calls = [(config, store, run, job, places, messages) for job in missing]
        with _forwarded(messages, progress):
            list(parallel_map(_train_in_process, calls, jobs=jobs))


@contextmanager
def _forwarded(messages: Queue[_EpochEnd | None], progress: RunProgress | None) -> Iterator[None]:
    """Tell `progress` what the training processes put into the queue, as long as the block lasts."""

    def listen() -> None:
        while (message := messages.get()) is not None:
            if progress is not None:
                progress(*message)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        messages.put(None)
        listener.join()


def _train_in_process(
    config: ExperimentConfig,
    store: Path,
    run: Path,
    job: FoldJob,
    places: Queue[HardwareConfig],
    messages: Queue[_EpochEnd | None],
) -> None:
    def report(name: str, done: int, total: int, loss: float) -> None:
        messages.put((name, done, total, loss))

    hardware = places.get()
    try:
        train_fold(load_run_data(config, store), run, job, hardware=hardware, progress=report)
    finally:
        places.put(hardware)
