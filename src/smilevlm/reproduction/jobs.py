"""Run what a study lacks: train and score each of its runs, several at a time, going on where an earlier call ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from smilevlm.datasets import find_protocol, protocol_folds
from smilevlm.errors import CheckpointError, ResultError, SmileVlmError
from smilevlm.evaluation import evaluate_run
from smilevlm.files import locked
from smilevlm.parallel import parallel_map
from smilevlm.reproduction.plan import PlannedRun
from smilevlm.results import ExperimentResult, read_results
from smilevlm.store import PreparedSet, read_manifest
from smilevlm.training import RESULTS_NAME, ExperimentConfig, HardwareConfig, train_run, with_clip_width

ProgressCallback = Callable[[str, int, int, float | None], None]
"""Called when a run ends with (name, runs done, runs in all, accuracy or None)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one run.

    Args:
        run: Which.
        reason: Why it has no result; None where it has one.
        result: What it gave.
    """

    run: PlannedRun
    reason: str | None = None
    result: ExperimentResult | None = None


def execute(
    runs: Sequence[PlannedRun],
    stores: Mapping[str, Path],
    *,
    jobs: int,
    hardware: HardwareConfig,
    progress: ProgressCallback,
    faces: Path | None = None,
) -> list[Outcome]:
    """Train and score the runs; those that have their result stay as they are.

    Runs of one fold go side by side; the folds of a run that has several do so within it. A run that fails has its
    reason in its outcome, and the others go on.

    Args:
        runs: In an order in which those come first that others begin with.
        stores: Prepared set by name; runs whose set is missing are left out with that reason.
        jobs: Trainings at the same time.
        hardware: Where.
        progress: Called when a run ends.
        faces: Those that the study's synthetic 4DME was prepared from, for the oracle of its runs.
    """
    runs = [_with_folds_of_store(run, stores) for run in runs]
    outcomes: dict[str, Outcome] = {}

    def note(outcome: Outcome) -> None:
        outcomes[outcome.run.name] = outcome
        accuracy = None if outcome.result is None else outcome.result.summary.accuracy.mean
        progress(outcome.run.name, len(outcomes), len(runs), accuracy)

    pending = []
    for run in runs:
        outcome = _known_outcome(run, stores)
        if outcome is None:
            pending.append(run)
        else:
            note(outcome)
    for wave in _waves(pending):
        for outcome in _run_wave(wave, stores, faces, jobs=jobs, hardware=hardware):
            note(outcome)
    return [outcomes[run.name] for run in runs]


def _known_outcome(run: PlannedRun, stores: Mapping[str, Path]) -> Outcome | None:
    """The outcome of a run that needs no work."""
    if run.reason is not None or run.config is None:
        return Outcome(run=run, reason=run.reason)
    for name in (run.values.data, run.values.test_data):
        if name is not None and name not in stores:
            return Outcome(run=run, reason=f"no prepared set of {name} was given")
    path = run.folder / RESULTS_NAME
    if not path.is_file():
        return None
    try:
        result = read_results(path)
    except ResultError:
        # Of another version, or damaged: scored again.
        return None
    has_settings = is_of_config(result.settings, run.config)
    is_complete = {fold.fold for fold in result.folds} >= set(run.folds)
    # Of other data it is left to training, which refuses to go on with such a run and says why.
    return Outcome(run=run, result=result) if has_settings and is_complete and _has_data(result, run, stores) else None


def is_of_config(settings: Mapping[str, Any], config: ExperimentConfig) -> bool:
    """Whether a run's settings, as its files have them, are those of a recipe."""
    try:
        wanted = asdict(with_clip_width(config))
    except CheckpointError:
        # That a CLIP is gone is said by training.
        return False
    return settings == json.loads(json.dumps(wanted))


def _has_data(result: ExperimentResult, run: PlannedRun, stores: Mapping[str, Path]) -> bool:
    """Whether a result was trained and tested on the sets that there are now."""
    train_hash = result.manifest_hash if result.trained_on is None else result.trained_on.manifest_hash
    train_store = stores[run.values.data]
    test_store = train_store if run.values.test_data is None else stores[run.values.test_data]
    hashes = tuple(read_manifest(store).content_hash for store in (train_store, test_store))
    return (train_hash, result.manifest_hash) == hashes


def _with_folds_of_store(run: PlannedRun, stores: Mapping[str, Path]) -> PlannedRun:
    """The run with as many folds as its protocol gives on its set, where one subject is left out at a time."""
    if run.config is None or run.values.data not in stores:
        return run
    protocol = find_protocol(run.config.protocol)
    if protocol.scheme != "leave_one_subject_out":
        return run
    config, samples = run.config, PreparedSet(stores[run.values.data]).samples
    try:
        num_folds = len(protocol_folds(protocol, samples, config.num_folds, config.seed, repeat=config.repeat))
    except SmileVlmError as error:
        return replace(run, config=None, folds=(), reason=str(error))
    return replace(run, config=replace(config, num_folds=num_folds), folds=tuple(range(num_folds)))


def _waves(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """Those with fresh weights before those that begin with them; runs of many folds by themselves."""
    waves: list[list[PlannedRun]] = []
    for from_weights in (False, True):
        group = [run for run in runs if (run.config is not None and run.config.start_from is not None) == from_weights]
        waves.append([run for run in group if len(run.folds) <= 1])
        waves += [[run] for run in group if len(run.folds) > 1]
    return [wave for wave in waves if wave]


def _run_wave(
    wave: Sequence[PlannedRun], stores: Mapping[str, Path], faces: Path | None, *, jobs: int, hardware: HardwareConfig
) -> Iterator[Outcome]:
    if jobs <= 1 or len(wave) == 1:
        yield from (_run_one(run, stores, faces, hardware, jobs) for run in wave)
        return
    calls = [(run, stores, faces, place, 1) for run, place in zip(wave, hardware.for_workers(len(wave)), strict=True)]
    yield from parallel_map(_run_one, calls, jobs=jobs, ordered=False)


def _run_one(
    run: PlannedRun, stores: Mapping[str, Path], faces: Path | None, hardware: HardwareConfig, jobs: int
) -> Outcome:
    config = run.config
    assert config is not None, run.name
    store = stores[run.values.data]
    test_store = None if run.values.test_data is None else stores[run.values.test_data]
    results: list[ExperimentResult] = []

    def work() -> None:
        # Workers live on for a while when the command is killed: a run that is gone on with waits for them.
        with locked(run.folder):
            train_run(config, store, run.folder, folds=run.folds, jobs=jobs, resume=True, hardware=hardware)
            moved = faces if (run.values.test_data or run.values.data) == "4dme" else None
            results.append(evaluate_run(run.folder, store, test_store=test_store, hardware=hardware, faces=moved))

    reason = failure_reason(work)
    return Outcome(run=run, reason=reason, result=None if reason is not None else results[0])


def failure_reason(work: Callable[[], None]) -> str | None:
    """Call it; why it failed for a reason that the other runs of a study need not share, or None."""
    try:
        work()
    except (SmileVlmError, MemoryError) as error:
        return str(error) or "out of memory"
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        return f"out of memory: {str(error).splitlines()[0]}"
    return None


def num_parallel_trainings(jobs: int, hardware: HardwareConfig) -> int:
    """One per GPU at most."""
    if not hardware.on_gpu:
        return jobs
    import torch

    return min(jobs, torch.cuda.device_count())
