"""What each loss is worth, in one study: equal steps and batches, many populations, few and all labels, two languages.

Every unit of the synthetic profile has people of its own, a third of whom are tested, so that units are independent.
Of a prepared set that is given, units are its folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.errors import SettingsError, SmileVlmError
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
    LossProfile,
)
from smilevlm.recipes.studies import ProfileName
from smilevlm.reproduction.jobs import is_of_config, num_parallel_trainings
from smilevlm.reproduction.study import ProgressBar
from smilevlm.results import (
    LanguageResult,
    LossRun,
    LossStudy,
    RobustnessResult,
    StudyMethod,
    read_record,
    write_record,
)
from smilevlm.store import PreparedSet, PrepareSettings
from smilevlm.training import (
    ROBUSTNESS_NAME,
    ExperimentConfig,
    HardwareConfig,
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

LOSS_STUDY_NAME = "losses.json"
LANGUAGE_NAME = "language.json"
_PEOPLE_SEED, _OTHER_SEED = 100, 300


@dataclass(frozen=True, kw_only=True)
class LossStudyRequest:
    """What was asked for.

    Args:
        profile: How much is run.
        out: The study's folder.
        store: A prepared set whose folds are the units; None for synthetic people.
        other_store: A prepared set of another scanner or head model to test on as well.
        other_rig: Head model for that of the synthetic profile, as `smilevlm synthesize folder --rig` takes it; None
            for the built-in one with face families as unlike as they get.
        units: Which; None for all.
        settings: Which of `LOSS_SETTINGS`; all by default.
        overrides: Changes of every recipe.
    """

    profile: ProfileName
    out: Path
    store: Path | None = None
    other_store: Path | None = None
    other_rig: str | None = None
    units: tuple[int, ...] | None = None
    settings: tuple[str, ...] = tuple(LOSS_SETTINGS)
    overrides: tuple[str, ...] = field(default=())

    @property
    def values(self) -> LossProfile:
        return LOSS_PROFILES[self.profile]


@dataclass(frozen=True, kw_only=True)
class LossUnit:
    """One population, or one fold of a given set."""

    number: int
    store: Path
    fold: int
    other_store: Path | None


@dataclass(frozen=True, kw_only=True)
class PlannedTraining:
    """One training of the study."""

    setting: str
    method: str
    unit: LossUnit
    folder: Path
    config: ExperimentConfig

    @property
    def name(self) -> str:
        return f"{self.setting}, {self.method}, unit {self.unit.number}"


def run_loss_study(
    request: LossStudyRequest, *, jobs: int, hardware: HardwareConfig, progress_bar: ProgressBar
) -> tuple[Path, list[str]]:
    """Make or resume the study, unit by unit, so that an interrupted one has whole units.

    Args:
        request: What is asked for.
        jobs: Trainings at the same time, and processes that make faces.
        hardware: Where training runs.
        progress_bar: Shows progress.

    Returns:
        The study file, and what is missing from it, one line each.

    Raises:
        SettingsError: An override does not fit, there is no prepared set where one is needed, or no such unit.
        SmileVlmError: A set is damaged, or faces cannot be made.
    """
    _check(request)
    units = _units(request, jobs, progress_bar)
    trainings = [training for unit in units for training in plan_trainings(request, unit)]
    reasons: dict[str, str | None] = {each.name: None for each in trainings if _is_done(each)}
    with progress_bar("trainings") as update:
        update(len(reasons), len(trainings))
        pending = [each for each in trainings if each.name not in reasons]
        calls = [(each, place) for each, place in zip(pending, hardware.for_workers(len(pending)), strict=True)]
        for name, reason in parallel_map(_run_one, calls, jobs=num_parallel_trainings(jobs, hardware), ordered=False):
            reasons[name] = reason
            update(len(reasons), len(trainings), f"{name}{'' if reason is None else ': ' + reason}")
    path = request.out / LOSS_STUDY_NAME
    write_record(path, _study(request, units, trainings, reasons))
    return path, [f"{name}: {reason}" for name, reason in reasons.items() if reason is not None]


def plan_trainings(request: LossStudyRequest, unit: LossUnit) -> list[PlannedTraining]:
    """The trainings of one unit, every one with its settings."""
    prepared = PreparedSet(unit.store)
    return [
        PlannedTraining(
            setting=setting,
            method=method,
            unit=unit,
            folder=request.out / "runs" / f"unit_{unit.number:02d}" / setting / method,
            config=study_config(request, setting, method, unit, prepared),
        )
        for setting in request.settings
        for method in LOSS_SETTINGS[setting].methods
    ]


def study_config(
    request: LossStudyRequest, setting: str, method: str, unit: LossUnit, prepared: PreparedSet
) -> ExperimentConfig:
    """The recipe of one training: as many steps as all others have, whatever the number of samples that it sees."""
    values, profile = LOSS_SETTINGS[setting], request.values
    recipe = with_overrides(find_recipe(profile.prefix + values.recipe), request.overrides)
    recipe = replace(recipe, seed=unit.number, num_control_folds=0, labelled_subjects=values.num_labelled)
    config = with_method(recipe, method)
    split = split_fold(config, prepared, unit.fold)
    per_epoch = max(1, num_batched_samples(config, split, prepared.samples) // config.optimiser.batch_size)
    epochs = max(1, round(profile.num_steps / per_epoch))
    return with_method(replace(recipe, optimiser=replace(recipe.optimiser, epochs=epochs)), method)


def _check(request: LossStudyRequest) -> None:
    if unknown := sorted(set(request.settings) - set(LOSS_SETTINGS)):
        raise SettingsError(f"no setting {', '.join(unknown)}; there are {', '.join(LOSS_SETTINGS)}")
    if request.store is None and request.values.num_units is None:
        raise SettingsError(f"profile {request.profile} makes no faces: give a prepared set, --store NAME=STORE")
    if request.store is not None and request.other_rig is not None:
        raise SettingsError("a head model is for synthetic people; with a prepared set give another one to test on")


def _units(request: LossStudyRequest, jobs: int, progress_bar: ProgressBar) -> list[LossUnit]:
    recipe = with_overrides(find_recipe(request.values.prefix + "losses"), request.overrides)
    most = request.values.num_units if request.store is None else recipe.num_folds
    assert most is not None
    numbers = tuple(range(most)) if request.units is None else request.units
    if wrong := [number for number in numbers if not 0 <= number < most]:
        raise SettingsError(f"no unit {', '.join(map(str, wrong))}; there are 0 to {most - 1}")
    if request.store is not None:
        return [
            LossUnit(number=number, store=request.store, fold=number, other_store=request.other_store)
            for number in numbers
        ]
    return [_synthetic_unit(request, number, recipe.prepare, jobs, progress_bar) for number in numbers]


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


def _synthetic_unit(
    request: LossStudyRequest, number: int, prepare: PrepareSettings, jobs: int, progress_bar: ProgressBar
) -> LossUnit:
    """People of a unit of its own, and people of another head model to test on."""
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
    stores = {folder: people, folder.with_name(f"{folder.name}_other_head"): others}
    for store, faces in stores.items():
        with progress_bar(f"synthetic people, {store.name}") as progress:
            synthesize_store(store, faces, prepare, jobs=jobs, progress=progress)
    store, other_store = stores
    return LossUnit(number=number, store=store, fold=0, other_store=other_store)


def _is_done(training: PlannedTraining) -> bool:
    try:
        read_record(training.folder / ROBUSTNESS_NAME, RobustnessResult)
        if LOSS_SETTINGS[training.setting].has_captions:
            read_record(training.folder / LANGUAGE_NAME, LanguageResult)
        described = read_run_config(training.folder)
    except SmileVlmError:
        return False
    return is_of_config(described["settings"], training.config)


def _run_one(training: PlannedTraining, hardware: HardwareConfig) -> tuple[str, str | None]:
    """Train and score; the reason where that cannot be done."""
    from smilevlm.evaluation import evaluate_language, evaluate_robustness

    unit, folder = training.unit, training.folder
    try:
        with locked(folder):
            train_run(training.config, unit.store, folder, folds=(unit.fold,), resume=True, hardware=hardware)
            evaluate_robustness(
                folder,
                unit.store,
                fold=unit.fold,
                other_head_model=unit.other_store,
                few_labels=FEW_LABELS,
                seed=unit.number,
            )
            if LOSS_SETTINGS[training.setting].has_captions:
                write_record(folder / LANGUAGE_NAME, evaluate_language(folder, unit.store, name=training.method))
    except (SmileVlmError, MemoryError) as error:
        return training.name, str(error) or "out of memory"
    return training.name, None


def _study(
    request: LossStudyRequest,
    units: Sequence[LossUnit],
    trainings: Sequence[PlannedTraining],
    reasons: Mapping[str, str | None],
) -> LossStudy:
    manifest = PreparedSet(units[0].store).manifest
    faces = f"{len(manifest.subjects)} {'synthetic people' if manifest.synthetic else 'people'}"
    where = f"{request.store}: {faces}" if request.store is not None else f"{faces} per unit, seeds from {_PEOPLE_SEED}"
    others = None
    if request.store is None:
        others = request.other_rig.partition("=")[0] if request.other_rig else "other face families, same head model"
    elif request.other_store is not None:
        others = str(request.other_store)
    return LossStudy(
        profile=request.profile,
        synthetic=manifest.synthetic,
        data={"faces": where},
        other_head_model=others,
        independent_units=request.store is None,
        num_steps=request.values.num_steps,
        batch_size=trainings[0].config.optimiser.batch_size,
        margin=MARGIN,
        contrasts=(*CONTRASTS, PRETRAINING),
        settings=tuple(LOSS_SETTINGS[name] for name in request.settings),
        methods=tuple(
            StudyMethod(name=name, title=METHODS[name].title, supervision=METHODS[name].supervision)
            for name in dict.fromkeys(each.method for each in trainings)
        ),
        runs=tuple(
            LossRun(
                setting=each.setting,
                method=each.method,
                unit=each.unit.number,
                folder=None if reasons[each.name] is not None else each.folder.relative_to(request.out).as_posix(),
                reason=reasons[each.name],
            )
            for each in trainings
        ),
        package_version=__version__,
        git_commit=git_commit(),
    )
