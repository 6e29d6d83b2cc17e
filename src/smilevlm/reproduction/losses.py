"""The effect of each loss in one study: equal steps and batches, many populations, few and all labels, two languages.

Every unit of the synthetic profile has people of its own, a third of whom are tested, so that units are independent.
Of a prepared set that is given, units are its folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.errors import ResultError, SettingsError, SmileVlmError
from smilevlm.files import locked
from smilevlm.parallel import parallel_map
from smilevlm.recipes import METHODS, find_recipe, with_method
from smilevlm.recipes.loss_study import (
    CONTRASTS,
    FEW_LABELS,
    LOSS_PROFILES,
    LOSS_SETTINGS,
    MARGIN,
    PRETRAINING,
    PRIMARY,
    LossProfile,
)
from smilevlm.recipes.studies import ProfileName
from smilevlm.reproduction.jobs import failure_reason, is_of_config, num_parallel_trainings
from smilevlm.reproduction.study import ProgressBar
from smilevlm.results import (
    LANGUAGE_NAME,
    LOSS_STUDY_NAME,
    ROBUSTNESS_NAME,
    LanguageResult,
    LossRun,
    LossStudy,
    RobustnessResult,
    StudyMethod,
    read_record,
    write_record,
)
from smilevlm.store import PreparedSet, PrepareSettings, read_manifest
from smilevlm.training import (
    ExperimentConfig,
    HardwareConfig,
    check_store,
    fold_jobs,
    git_commit,
    read_run_config,
    split_fold,
    train_run,
    with_overrides,
)
from smilevlm.training.splits import num_batched_samples
from smilevlm.version import __version__

if TYPE_CHECKING:
    from smilevlm.synthesis.varied import VariedSettings

_PEOPLE_SEED, _OTHER_SEED = 100, 300
_DECIDED = ("seed", "labelled_subjects", "optimiser.epochs", "num_control_folds", "pretraining_epochs")
"""Settings that the study sets itself."""


@dataclass(frozen=True, kw_only=True)
class LossStudyRequest:
    """What was asked for.

    Args:
        profile: How much is run.
        out: The study's folder.
        store: A prepared set whose folds are the units; None for synthetic people.
        other_store: A prepared set of other faces to test on as well, such as of another scanner.
        other_rig: Head model of other synthetic people to test on, as `smilevlm synthesize folder --rig` takes it; None
            for the built-in one with face families as unlike as they get.
        units: Which; None for all.
        settings: Which of `LOSS_SETTINGS`; all by default.
        overrides: Changes of every recipe.
        command: That asks for this, for the report.

    Raises:
        SettingsError: The values do not go together.
    """

    profile: ProfileName
    out: Path
    store: Path | None = None
    other_store: Path | None = None
    other_rig: str | None = None
    units: tuple[int, ...] | None = None
    settings: tuple[str, ...] = tuple(LOSS_SETTINGS)
    overrides: tuple[str, ...] = ()
    command: str = "smilevlm reproduce losses"

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.settings) - set(LOSS_SETTINGS)):
            raise SettingsError(f"no setting {', '.join(unknown)}; there are {', '.join(LOSS_SETTINGS)}")
        if self.store is None and self.values.num_units is None:
            raise SettingsError(f"profile {self.profile} makes no faces: give a prepared set, --store NAME=STORE")
        if self.store is not None and self.other_rig is not None:
            raise SettingsError("--rig is for synthetic people; with a prepared set, --other-store names other faces")
        if self.store is None and self.other_store is not None:
            raise SettingsError("--other-store goes with --store; synthetic people are tested on those of --rig")
        for item in self.overrides:
            if item.partition("=")[0] in _DECIDED:
                raise SettingsError(f"--set {item}: the study decides {', '.join(_DECIDED)}")

    @property
    def values(self) -> LossProfile:
        return LOSS_PROFILES[self.profile]

    def recipe(self, setting: str) -> ExperimentConfig:
        """Of one of the settings, before anything is left out of it."""
        recipe = with_overrides(find_recipe(self.values.prefix + LOSS_SETTINGS[setting].recipe), self.overrides)
        return replace(recipe, num_control_folds=0, labelled_subjects=LOSS_SETTINGS[setting].num_labelled)


@dataclass(frozen=True, kw_only=True)
class LossUnit:
    """One population, or one fold of a given set.

    Args:
        number: From zero.
        store: The prepared set.
        fold: Of the set.
        seed: Of folds and training.
        other_store: Other faces to test on.
    """

    number: int
    store: Path
    fold: int
    seed: int
    other_store: Path | None


@dataclass(frozen=True, kw_only=True)
class PlannedTraining:
    """One training of the study.

    Args:
        setting: Name of its setting.
        method: Name of its method.
        unit: Whom it is trained and tested on.
        folder: Its run folder.
        config: The resolved recipe.
        num_steps: Of the optimiser.
        reason: Why it cannot be run.
    """

    setting: str
    method: str
    unit: LossUnit
    folder: Path
    config: ExperimentConfig
    num_steps: int
    reason: str | None = None

    @property
    def key(self) -> tuple[int, str, str]:
        return self.unit.number, self.setting, self.method

    @property
    def name(self) -> str:
        return f"{self.setting}, {self.method}, unit {self.unit.number}"


def run_loss_study(
    request: LossStudyRequest, *, jobs: int, hardware: HardwareConfig, progress_bar: ProgressBar
) -> tuple[Path, list[str]]:
    """Make or resume the study, unit by unit; after each the study file holds the units that are there.

    Units and settings that an earlier call made and this one was not asked for stay in the file.

    Args:
        request: What is asked for.
        jobs: Trainings at the same time, and processes that make faces.
        hardware: Where training runs.
        progress_bar: Shows progress.

    Returns:
        The study file, and what is missing from it, one line each.

    Raises:
        SettingsError: An override does not fit, or there is no such unit.
        SmileVlmError: A set is damaged or was prepared otherwise, or faces cannot be made.
    """
    path = request.out / LOSS_STUDY_NAME
    runs: dict[tuple[int, str, str], LossRun] = {}
    for number in _unit_numbers(request):
        unit = _unit(request, number, jobs, progress_bar)
        trainings = plan_trainings(request, unit)
        reasons = _run_unit(unit, trainings, jobs, hardware, progress_bar)
        for each in trainings:
            reason = reasons[each.key]
            runs[each.key] = LossRun(
                setting=each.setting,
                method=each.method,
                unit=number,
                num_steps=each.num_steps,
                folder=each.folder.relative_to(request.out).as_posix() if reason is None else None,
                reason=reason,
            )
        write_record(path, _study(request, unit, runs, path))
    missing = [f"{run.setting}, {run.method}, unit {run.unit}: {run.reason}" for run in runs.values() if run.reason]
    return path, missing


def _run_unit(
    unit: LossUnit,
    trainings: Sequence[PlannedTraining],
    jobs: int,
    hardware: HardwareConfig,
    progress_bar: ProgressBar,
) -> dict[tuple[int, str, str], str | None]:
    """Why each training has no scores; None where it has them."""
    reasons = {each.key: each.reason for each in trainings if each.reason is not None or _is_scored(each)}
    pending = [each for each in trainings if each.key not in reasons]
    with progress_bar(f"trainings of unit {unit.number}") as update:
        update(len(reasons), len(trainings))
        calls = [(each, place) for each, place in zip(pending, hardware.for_workers(len(pending)), strict=True)]
        parallel = num_parallel_trainings(jobs, hardware)
        for training, reason in parallel_map(_run_one, calls, jobs=parallel, ordered=False):
            reasons[training.key] = reason
            update(len(reasons), len(trainings), f"{training.name}{'' if reason is None else ': ' + reason}")
    return reasons


def plan_trainings(request: LossStudyRequest, unit: LossUnit) -> list[PlannedTraining]:
    """The trainings of one unit.

    Raises:
        StoreError: Its set was prepared with other settings than the recipe's.
    """
    prepared = PreparedSet(unit.store)
    no_actions = None
    if all(sample.actions is None for sample in prepared.samples):
        no_actions = f"{unit.store} has no facial actions to make captions of"
    planned = []
    for setting in dict.fromkeys(request.settings):
        recipe = request.recipe(setting)
        check_store(recipe, prepared)
        for method in LOSS_SETTINGS[setting].methods:
            config, num_steps = with_steps(recipe, method, request.values.num_steps, unit, prepared)
            planned.append(
                PlannedTraining(
                    setting=setting,
                    method=method,
                    unit=unit,
                    folder=request.out / "runs" / f"unit_{unit.number:02d}" / setting / method,
                    config=config,
                    num_steps=num_steps,
                    reason=no_actions if LOSS_SETTINGS[setting].has_captions else None,
                )
            )
    return planned


def with_steps(
    recipe: ExperimentConfig, method: str, num_steps: int, unit: LossUnit, prepared: PreparedSet
) -> tuple[ExperimentConfig, int]:
    """A recipe with one method and about so many steps in all, whatever the number of samples that it sees.

    Args:
        recipe: Of the setting.
        method: Name of one of `METHODS`.
        num_steps: To reach, as nearly as whole epochs can.
        unit: Fold and seed.
        prepared: The unit's set.

    Returns:
        The recipe, and its steps.
    """
    recipe = replace(recipe, seed=unit.seed)
    config = with_method(recipe, method)
    split = split_fold(config, prepared, unit.fold)
    per_epoch = max(1, num_batched_samples(config, split, prepared.samples) // config.optimiser.batch_size)
    optimiser = replace(recipe.optimiser, epochs=max(1, round(num_steps / per_epoch)))
    config = with_method(replace(recipe, optimiser=optimiser), method)
    return config, (config.pretraining_epochs + config.optimiser.epochs) * per_epoch


def synthetic_people(profile: LossProfile, seed: int) -> VariedSettings:
    """People of a unit: the core recipes of the classes, which so few people show often enough to be learned."""
    from smilevlm.synthesis.varied import VariedSettings

    return VariedSettings(
        num_subjects=profile.num_people,
        seed=seed,
        filmed_share=0.0,
        blend_scans=0,
        wide_share=0.0,
        incidental_share=0.0,
    )


def _unit_numbers(request: LossStudyRequest) -> tuple[int, ...]:
    most = request.values.num_units if request.store is None else request.recipe(request.settings[0]).num_folds
    assert most is not None
    numbers = tuple(range(most)) if request.units is None else tuple(dict.fromkeys(request.units))
    if wrong := [number for number in numbers if not 0 <= number < most]:
        raise SettingsError(f"no unit {', '.join(map(str, wrong))}; there are 0 to {most - 1}")
    return numbers


def _unit(request: LossStudyRequest, number: int, jobs: int, progress_bar: ProgressBar) -> LossUnit:
    if request.store is None:
        prepare = request.recipe(request.settings[0]).prepare
        store, other_store = make_people(request, number, prepare, jobs, progress_bar)
        return LossUnit(number=number, store=store, fold=0, seed=number, other_store=other_store)
    # One division into folds: the seed decides it, too.
    return LossUnit(number=number, store=request.store, fold=number, seed=0, other_store=request.other_store)


def make_people(
    request: LossStudyRequest, number: int, prepare: PrepareSettings, jobs: int, progress_bar: ProgressBar
) -> tuple[Path, Path]:
    """The prepared people of a unit and other people to test on, or what is missing of them."""
    from smilevlm.datasets.synthetic_store import synthesize_store
    from smilevlm.synthesis.rigs.loading import BUILT_IN

    people = synthetic_people(request.values, _PEOPLE_SEED + number)
    others = replace(
        people,
        num_subjects=request.values.num_other_people,
        seed=_OTHER_SEED + number,
        action_scans=0,
        strength=1.0 if request.other_rig is None else 0.0,
        rigs=(request.other_rig or BUILT_IN,),
    )
    folder = request.out / "data" / f"unit_{number:02d}"
    name = "families" if request.other_rig is None else request.other_rig.partition("=")[0]
    stores = {folder: people, folder.with_name(f"{folder.name}_{name}"): others}
    for store, faces in stores.items():
        with progress_bar(f"synthetic people, {store.name}") as progress:
            synthesize_store(store, faces, prepare, jobs=jobs, progress=progress)
    store, other_store = stores
    return store, other_store


def _is_scored(training: PlannedTraining) -> bool:
    """Whether it has the scores that are asked for, of the sets that there are now."""
    unit, folder = training.unit, training.folder
    try:
        found = read_record(folder / ROBUSTNESS_NAME, RobustnessResult)
        if LOSS_SETTINGS[training.setting].has_captions:
            read_record(folder / LANGUAGE_NAME, LanguageResult)
        settings = read_run_config(folder)["settings"]
    except SmileVlmError:
        return False
    other = None if unit.other_store is None else read_manifest(unit.other_store).content_hash
    return (
        (found.manifest_hash, found.other_manifest_hash, found.fold, found.seed)
        == (read_manifest(unit.store).content_hash, other, unit.fold, unit.number)
        and is_of_config(settings, training.config)
        and all(job.is_trained(folder) for job in fold_jobs(training.config, [unit.fold]))
    )


def _run_one(training: PlannedTraining, hardware: HardwareConfig) -> tuple[PlannedTraining, str | None]:
    """Train and score; the reason where that cannot be done."""
    from smilevlm.evaluation import evaluate_language, evaluate_robustness

    unit, folder = training.unit, training.folder

    def work() -> None:
        with locked(folder):
            train_run(training.config, unit.store, folder, folds=(unit.fold,), resume=True, hardware=hardware)
            if LOSS_SETTINGS[training.setting].has_captions:
                write_record(folder / LANGUAGE_NAME, evaluate_language(folder, unit.store, name=training.method))
            evaluate_robustness(
                folder,
                unit.store,
                fold=unit.fold,
                other_store=unit.other_store,
                few_labels=FEW_LABELS,
                seed=unit.number,
                hardware=hardware,
            )

    return training, failure_reason(work)


def _study(
    request: LossStudyRequest, unit: LossUnit, runs: Mapping[tuple[int, str, str], LossRun], path: Path
) -> LossStudy:
    """What there is now, with what earlier calls made of the same study."""
    manifest = read_manifest(unit.store)
    people = f"{len(manifest.subjects)} {'synthetic people' if manifest.synthetic else 'people'}"
    if request.store is None:
        data = f"{people} per unit, seeds from {_PEOPLE_SEED}"
        rig = "the built-in head model with unlike face families"
        others = rig if request.other_rig is None else f"head model {request.other_rig.partition('=')[0]}"
    else:
        data = f"{people} of {request.store}"
        others = None if request.other_store is None else str(request.other_store)
    recipe = request.recipe(request.settings[0])
    study = LossStudy(
        profile=request.profile,
        synthetic=manifest.synthetic,
        data=data,
        other_faces=others,
        overlap=0.0 if request.store is None else 1.0 / (recipe.num_folds - 1),
        num_steps=request.values.num_steps,
        batch_size=recipe.optimiser.batch_size,
        margin=MARGIN,
        contrasts=(*CONTRASTS, PRETRAINING),
        primary=PRIMARY,
        settings=tuple(LOSS_SETTINGS.values()),
        methods=tuple(
            StudyMethod(name=name, title=METHODS[name].title, supervision=METHODS[name].supervision)
            for name in dict.fromkeys(name for setting in LOSS_SETTINGS.values() for name in setting.methods)
        ),
        command=request.command,
        runs=(),
        package_version=__version__,
        git_commit=git_commit(),
    )
    try:
        earlier = read_record(path, LossStudy)
    except ResultError:
        earlier = study
    same = replace(earlier, runs=(), command="", package_version="", git_commit=None)
    kept = earlier.runs if same == replace(study, command="", package_version="", git_commit=None) else ()
    merged = {(run.unit, run.setting, run.method): run for run in kept} | dict(runs)
    return replace(study, runs=tuple(merged[key] for key in sorted(merged)))
