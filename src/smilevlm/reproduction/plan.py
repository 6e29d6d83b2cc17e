"""Which trainings a study consists of, and in which order they can be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from smilevlm.errors import SettingsError
from smilevlm.recipes import (
    METHODS,
    NEEDED,
    PROFILES,
    SETTINGS,
    Profile,
    ProfileName,
    Setting,
    find_recipe,
    with_method,
)
from smilevlm.results import Target
from smilevlm.training import ExperimentConfig, with_overrides

RUNS_NAME = "runs"


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What was asked for.

    Args:
        targets: Tables and figures.
        profile: How much of each is run.
        out: The study's folder.
        stores: Prepared sets that are at hand, by name.
        only_given: Make no faces, whatever the profile.
        clip: Hub id or folder of the CLIP for the raw zero-shot baseline; None leaves it out, unless the recipe names
            one itself.
        seeds: In the place of the profile's.
        overrides: Changes of every recipe, as `smilevlm train --set` takes them.
    """

    targets: tuple[Target, ...]
    profile: ProfileName
    out: Path
    stores: Mapping[str, Path] = field(default_factory=dict)
    only_given: bool = False
    clip: str | None = None
    seeds: tuple[int, ...] | None = None
    overrides: tuple[str, ...] = ()

    @property
    def values(self) -> Profile:
        """The profile, with the seeds that were asked for."""
        profile = PROFILES[self.profile]
        return profile if self.seeds is None else replace(profile, seeds=self.seeds)


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One training of the study.

    Args:
        setting: Name of the setting.
        method: Name of the method.
        seed: Of everything.
        folder: Its run folder.
        config: The resolved recipe; None where it cannot be run.
        folds: Those that are trained.
        reason: Why it cannot be run.
    """

    setting: str
    method: str
    seed: int
    folder: Path
    config: ExperimentConfig | None
    folds: tuple[int, ...]
    reason: str | None = None

    @property
    def name(self) -> str:
        return f"{self.setting}, {self.method}, seed {self.seed}"

    @property
    def values(self) -> Setting:
        return SETTINGS[self.setting]


def plan_runs(request: StudyRequest) -> list[PlannedRun]:
    """Every training that the asked tables and figures show, each once.

    Trainings that begin with another one's weights come after it. Recipes are built here, so a mistake in an override
    is said before anything runs.

    Raises:
        SettingsError: An override does not fit.
    """
    return [
        _planned(request, setting, method, seed)
        for setting in SETTINGS
        for method in dict.fromkeys(each for target in request.targets for each in NEEDED[target].get(setting, ()))
        for seed in _seeds(request.values, SETTINGS[setting], method)
    ]


def needed_data(runs: Sequence[PlannedRun]) -> tuple[str, ...]:
    """The prepared sets that the trainings read."""
    pairs = [(run.values.data, run.values.test_data) for run in runs]
    return tuple(dict.fromkeys(name for pair in pairs for name in pair if name is not None))


def run_folder(out: Path, setting: str, method: str, seed: int) -> Path:
    """Where a training of a study lies."""
    return out / RUNS_NAME / setting / method / f"seed_{seed}"


def _seeds(profile: Profile, setting: Setting, method: str) -> tuple[int, ...]:
    # Leaving one subject out is a training per subject already.
    return profile.seeds[:1] if method in profile.one_seed or setting.all_folds else profile.seeds


def _planned(request: StudyRequest, setting: str, method: str, seed: int) -> PlannedRun:
    values, profile = SETTINGS[setting], request.values
    folder = run_folder(request.out, setting, method, seed)
    config, reason = _config(request, setting, method, seed)
    folds: tuple[int, ...] = ()
    if config is not None:
        every, some = tuple(range(config.num_folds)), profile.folds
        folds = every if some is None or values.all_folds else tuple(fold for fold in every if fold in some)
    return PlannedRun(
        setting=setting, method=method, seed=seed, folder=folder, config=config, folds=folds, reason=reason
    )


def _config(request: StudyRequest, setting: str, method: str, seed: int) -> tuple[ExperimentConfig | None, str | None]:
    values = SETTINGS[setting]
    recipe = find_recipe(request.values.prefix + setting)
    # Where another data set is tested on there is nothing to divide, and the setting for the others would not fit.
    overrides = [item for item in request.overrides if values.test_data is None or not item.startswith("num_folds=")]
    try:
        # Before the method: more epochs for everybody must not train what is there to be untrained.
        recipe = with_overrides(recipe, overrides)
    except SettingsError as error:
        raise SettingsError(f"{setting}, {method}: {error}") from None
    if METHODS[method].needs_clip:
        name = request.clip or (recipe.text_tower if recipe.model.tower == "clip" else None)
        if name is None:
            return None, "no CLIP was given (--clip)"
        recipe = replace(recipe, text_tower=name)
    config = replace(with_method(recipe, method), seed=seed, num_control_folds=0)
    if values.start_from is not None:
        # The same method there: neither labels nor prompts reach a baseline or control through its first weights.
        config = replace(config, start_from=str(run_folder(request.out, values.start_from, method, seed)))
    return config, None
