"""Run what a study lacks: train and score each of its runs, several at a time, going on where an earlier call ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from smilevlm.errors import ResultError, SmileVlmError
from smilevlm.reproduction.plan import PlannedRun
from smilevlm.results import read_results
from smilevlm.training.evaluate import evaluate_run
from smilevlm.training.names import RESULTS_NAME
from smilevlm.training.parallel import Machine
from smilevlm.training.run import train_run

Told = Callable[[str, int, int, float | None], None]
"""Called when a run ends with (name, runs done, runs in all, accuracy or None)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one run.

    Args:
        run: Which.
        reason: Why it has no result; None where it has one.
        accuracy: Zero-shot, fused, mean over folds.
    """

    run: PlannedRun
    reason: str | None = None
    accuracy: float | None = None


def execute(
    runs: Sequence[PlannedRun], stores: Mapping[str, Path], *, jobs: int, machine: Machine, told: Told
) -> list[Outcome]:
    """Train and score the runs; those that have their result stay as they are.

    Runs of one fold go side by side; the folds of a run that has several do so within it. A run that fails is told with
    its reason, and the others go on.

    Args:
        runs: In an order in which those come first that others begin with.
        stores: Prepared set by name; runs whose set is missing are left out with that reason.
        jobs: Trainings at the same time.
        machine: Where.
        told: Progress.
    """
    outcomes: dict[str, Outcome] = {}

    def note(outcome: Outcome) -> None:
        outcomes[outcome.run.name] = outcome
        told(outcome.run.name, len(outcomes), len(runs), outcome.accuracy)

    open_runs = []
    for run in runs:
        done = _already(run, stores)
        if done is None:
            open_runs.append(run)
        else:
            note(done)
    for wave in _waves(open_runs):
        for outcome in _side_by_side(wave, stores, jobs=jobs, machine=machine):
            note(outcome)
    return [outcomes[run.name] for run in runs]


def _already(run: PlannedRun, stores: Mapping[str, Path]) -> Outcome | None:
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
    same = result.settings == json.loads(json.dumps(asdict(run.config)))
    complete = {fold.fold for fold in result.folds} >= set(run.folds)
    return Outcome(run=run, accuracy=result.summary.accuracy.mean) if same and complete else None


def _waves(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """Those with fresh weights before those that begin with them; runs of many folds by themselves."""
    fresh = [run for run in runs if not _goes_on(run)]
    later = [run for run in runs if _goes_on(run)]
    waves: list[list[PlannedRun]] = []
    for group in (fresh, later):
        waves.append([run for run in group if len(run.folds) <= 1])
        waves += [[run] for run in group if len(run.folds) > 1]
    return [wave for wave in waves if wave]


def _goes_on(run: PlannedRun) -> bool:
    return run.config is not None and run.config.start_from is not None


def _side_by_side(
    wave: Sequence[PlannedRun], stores: Mapping[str, Path], *, jobs: int, machine: Machine
) -> Iterator[Outcome]:
    if jobs <= 1 or len(wave) == 1:
        yield from (_run_one(run, stores, machine, jobs) for run in wave)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    for outcome in parallel(delayed(_run_one)(run, stores, machine, 1) for run in wave):
        assert isinstance(outcome, Outcome)
        yield outcome


def _run_one(run: PlannedRun, stores: Mapping[str, Path], machine: Machine, jobs: int) -> Outcome:
    assert run.config is not None, run.name
    store = stores[run.values.data]
    test_store = None if run.values.test_data is None else stores[run.values.test_data]
    try:
        train_run(run.config, store, run.folder, folds=run.folds, jobs=jobs, resume=True, machine=machine)
        result = evaluate_run(run.folder, store, test_store=test_store)
    except SmileVlmError as error:
        return Outcome(run=run, reason=str(error))
    return Outcome(run=run, accuracy=result.summary.accuracy.mean)
