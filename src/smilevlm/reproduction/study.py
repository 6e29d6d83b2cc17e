"""A whole study: data, runs, the analyses of some of them, and the file that says what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from smilevlm.datasets import find_protocol
from smilevlm.errors import ResultError, SettingsError, SmileVlmError
from smilevlm.recipes import ANALYSED, METHODS, OTHER_TASKS, SETTINGS, find_recipe
from smilevlm.reproduction.data import REPLICAS, StudyData, given_data, make_replica, make_yaw_store
from smilevlm.reproduction.jobs import Outcome, execute, num_parallel_trainings
from smilevlm.reproduction.plan import PlannedRun, StudyRequest, needed_data, plan_runs
from smilevlm.results import (
    TARGETS,
    AnalysisResult,
    ExperimentResult,
    Study,
    StudyFile,
    StudyMethod,
    StudyRun,
    StudySetting,
    TasksResult,
    read_record,
    write_record,
)
from smilevlm.training import ANALYSIS_NAME, RESULTS_NAME, TASKS_NAME, HardwareConfig, git_commit
from smilevlm.version import __version__

STUDY_NAME = "study.json"
FileKind = Literal["tasks", "analysis"]
Record = TypeVar("Record", AnalysisResult, TasksResult)


ProgressBar = Callable[[str], AbstractContextManager[Callable[..., None]]]
"""Opens a bar with a description; what comes out is called with (done, total), and maybe a note on the last step."""


def run_study(
    request: StudyRequest, *, jobs: int, hardware: HardwareConfig, progress_bar: ProgressBar
) -> tuple[Path, list[str]]:
    """Make or resume a study.

    Args:
        request: What is asked for.
        jobs: Processes.
        hardware: Where training runs.
        progress_bar: Shows progress.

    Returns:
        The study file, and what is missing from it, one line each.

    Raises:
        SettingsError: A given set has an unknown name, an override does not fit, or there is no data at all.
        SmileVlmError: A given set is damaged, or faces cannot be written.
    """
    runs = plan_runs(request)
    data = _data(request, needed_data(runs), jobs, progress_bar)
    stores = {name: each.store for name, each in data.items()}
    with progress_bar("trainings") as update:

        def show(name: str, done: int, total: int, accuracy: float | None) -> None:
            update(done, total, f"{name}: {'no result' if accuracy is None else f'{accuracy:.1%}'}")

        num_parallel = num_parallel_trainings(jobs, hardware)
        faces = data["4dme"].faces if "4dme" in data else None
        outcomes = execute(runs, stores, jobs=num_parallel, hardware=hardware, progress=show, faces=faces)
    files = _study_files(request, outcomes, data, jobs, progress_bar)
    study = _study(request, outcomes, files, data)
    path = request.out / STUDY_NAME
    write_record(path, study)
    missing = [f"{outcome.run.name}: {outcome.reason}" for outcome in outcomes if outcome.reason is not None]
    missing += [f"{each.kind} of {each.setting}: {each.reason}" for each in files if each.reason is not None]
    return path, missing


def _data(request: StudyRequest, names: Sequence[str], jobs: int, progress_bar: ProgressBar) -> dict[str, StudyData]:
    if unknown := sorted(set(request.stores) - set(REPLICAS)):
        raise SettingsError(f"no prepared set is called {', '.join(unknown)}; a study knows {', '.join(REPLICAS)}")
    data: dict[str, StudyData] = {}
    for name in names:
        if name in request.stores:
            data[name] = given_data(request.stores[name])
        elif request.values.makes_data and not request.only_given:
            with progress_bar(f"synthetic {name}") as progress:
                data[name] = make_replica(name, request.out, jobs, progress)
    if not data:
        raise SettingsError(
            f"there is nothing to train on, and no faces are to be made: give prepared sets, such as --store "
            f"{names[0]}=STORE"
        )
    return data


def _study_files(
    request: StudyRequest,
    outcomes: Sequence[Outcome],
    data: Mapping[str, StudyData],
    jobs: int,
    progress_bar: ProgressBar,
) -> list[StudyFile]:
    """Analysis and other tasks of full models, in a complete study alone."""
    if set(request.targets) != set(TARGETS):
        return []
    seed = request.values.seeds[0]
    full = {o.run.setting: o for o in outcomes if o.run.method == "full" and o.run.seed == seed and o.result}
    files = []
    for setting in ANALYSED:
        with progress_bar(f"analysis of {setting}") as progress:
            analyse = partial(_analyse, request, data, jobs, progress)
            files.append(_study_file(request.out, "analysis", setting, full.get(setting), analyse))
    with progress_bar("other tasks") as progress:
        work = partial(_other_tasks, data, progress)
        files.append(_study_file(request.out, "tasks", OTHER_TASKS, full.get(OTHER_TASKS), work))
    return files


def _study_file(
    out: Path,
    kind: FileKind,
    setting: str,
    outcome: Outcome | None,
    make: Callable[[PlannedRun, ExperimentResult], Path],
) -> StudyFile:
    """The file that `make` leaves, or the reason why there is none."""
    if outcome is None or outcome.result is None:
        return StudyFile(kind=kind, setting=setting, path=None, reason="its full model was not trained")
    try:
        path = make(outcome.run, outcome.result)
    except SmileVlmError as error:
        return StudyFile(kind=kind, setting=setting, path=None, reason=str(error))
    return StudyFile(kind=kind, setting=setting, path=_inside(out, path))


def _analyse(
    request: StudyRequest,
    data: Mapping[str, StudyData],
    jobs: int,
    progress: Callable[[int, int], None],
    run: PlannedRun,
    result: ExperimentResult,
) -> Path:
    from smilevlm.evaluation import analyse_run

    source, path = data[run.values.data], run.folder / ANALYSIS_NAME
    yaw_store = make_yaw_store(source, request.out, jobs, progress) if run.setting == OTHER_TASKS else None
    known = _read_current(path, AnalysisResult, result)
    if known is None or (yaw_store is not None and not known.yaw):
        analyse_run(run.folder, source.store, yaw_store=yaw_store, progress=progress)
    return path


def _other_tasks(
    data: Mapping[str, StudyData], progress: Callable[[int, int], None], run: PlannedRun, result: ExperimentResult
) -> Path:
    from smilevlm.evaluation import run_tasks

    source, path = data[run.values.data], run.folder / TASKS_NAME
    known = _read_current(path, TasksResult, result)
    if known is None or (source.faces is not None and not known.anti_spoofing):
        run_tasks(run.folder, source.store, faces=source.faces, progress=progress)
    return path


def _read_current(path: Path, kind: type[Record], result: ExperimentResult) -> Record | None:
    """The record of the first fold of a result; None where it is to be made (again)."""
    try:
        found = read_record(path, kind)
    except ResultError:
        return None
    fold = result.folds[0]
    same = (found.recipe, found.fold, found.manifest_hash) == (result.recipe, fold.fold, result.manifest_hash)
    return found if same and set(found.test_subjects) == set(fold.test_subjects) else None


def _study(
    request: StudyRequest,
    outcomes: Sequence[Outcome],
    files: Sequence[StudyFile],
    data: Mapping[str, StudyData],
) -> Study:
    settings = dict.fromkeys(outcome.run.setting for outcome in outcomes)
    methods = dict.fromkeys(outcome.run.method for outcome in outcomes)
    return Study(
        profile=request.profile,
        targets=request.targets,
        synthetic=any(outcome.result.synthetic for outcome in outcomes if outcome.result is not None),
        data={name: each.description for name, each in data.items()},
        settings=tuple(
            StudySetting(name=name, title=SETTINGS[name].title, protocol=_protocol_title(request, name))
            for name in settings
        ),
        methods=tuple(
            StudyMethod(name=name, title=METHODS[name].title, supervision=METHODS[name].supervision) for name in methods
        ),
        runs=tuple(_study_run(request.out, outcome) for outcome in outcomes),
        files=tuple(files),
        package_version=__version__,
        git_commit=git_commit(),
    )


def _protocol_title(request: StudyRequest, setting: str) -> str:
    return find_protocol(find_recipe(request.values.prefix + setting).protocol).title


def _study_run(out: Path, outcome: Outcome) -> StudyRun:
    run = outcome.run
    results = None if outcome.reason is not None else _inside(out, run.folder / RESULTS_NAME)
    return StudyRun(setting=run.setting, method=run.method, seed=run.seed, results=results, reason=outcome.reason)


def _inside(out: Path, path: Path) -> str:
    return path.relative_to(out).as_posix()
