"""A study and all its results, checked against each other and sorted by setting and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import ResultError
from smilevlm.results import (
    ExperimentResult,
    FoldResult,
    Study,
    StudyMethod,
    StudyRun,
    StudySetting,
    read_record,
    read_results,
    relative_file,
)

BENCHMARKS = ("bu3dfe_subset1", "bu3dfe_subset2", "bosphorus", "bu4dfe", "bp4d", "bp4d_cross")
"""The six settings of Figs. 2 and 3, in the paper's order."""
MICRO_SETTINGS = ("4dme", "4dme_multi_label", "4dme_loso")
ABLATIONS = (
    "without_multi_view",
    "without_alignment",
    "without_redundancy",
    "multi_view_alone",
    "alignment_alone",
)
_PROTOCOL_NAMES: Mapping[str, str] = {
    "4dme": "fourdme",
    "4dme_multi_label": "fourdme_multi_label",
    "4dme_loso": "fourdme_loso",
}
"""Protocols of settings of another name."""


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One training of a study that is there."""

    seed: int
    result: ExperimentResult


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """All seeds of one method in one setting.

    Attributes:
        setting: Name of the setting.
        method: Name of the method.
        runs: Those that are there, by seed; may be empty.
        missing: Those that were to be there, by seed.
    """

    setting: str
    method: str
    runs: tuple[SeedRun, ...]
    missing: tuple[StudyRun, ...] = ()

    @property
    def reason(self) -> str:
        """Why there is no run, or not every one."""
        reasons = dict.fromkeys(run.reason or "no reason is given" for run in self.missing)
        return "; ".join(reasons) or "not part of this study"

    @property
    def results(self) -> tuple[ExperimentResult, ...]:
        """The results, by seed."""
        return tuple(run.result for run in self.runs)

    @property
    def folds(self) -> tuple[FoldResult, ...]:
        """The folds of all results, by seed."""
        return tuple(fold for result in self.results for fold in result.folds)

    @property
    def seeds_text(self) -> str:
        """`3`, or `2 of 3` where some are missing."""
        planned = len(self.runs) + len(self.missing)
        return f"{len(self.runs)} of {planned}" if self.missing else f"{planned}"


@dataclass(frozen=True, kw_only=True)
class LoadedStudy:
    """A study with its results.

    Attributes:
        path: The study file.
        groups: (setting, method) to its runs.
    """

    path: Path
    study: Study
    groups: Mapping[tuple[str, str], RunGroup]

    def group(self, setting: str, method: str) -> RunGroup:
        """The runs of a method in a setting; an empty group that says why where there are none."""
        return self.groups.get((setting, method), RunGroup(setting=setting, method=method, runs=()))

    def has_setting(self, setting: str) -> bool:
        """Whether the study has this setting."""
        return any(each.name == setting for each in self.study.settings)

    def title(self, setting: str) -> str:
        """A setting's name for people."""
        return next((each.title for each in self.study.settings if each.name == setting), setting)

    def method(self, name: str) -> StudyMethod:
        """A method as the study describes it; one that is not in the study is called by its name."""
        fallback = StudyMethod(name=name, title=name.replace("_", " "), supervision="not part of this study")
        return next((each for each in self.study.methods if each.name == name), fallback)

    def planned(self, setting: str, methods: Sequence[str]) -> bool:
        """Whether any of these methods was to be run in a setting."""
        groups = [self.group(setting, method) for method in methods]
        return any(group.runs or group.missing for group in groups)

    def benchmarks(self) -> tuple[str, ...]:
        """The settings of Figs. 2 and 3 that the study has."""
        return tuple(name for name in BENCHMARKS if self.has_setting(name))

    def results(self, setting: str) -> tuple[ExperimentResult, ...]:
        """All results of one setting, whatever their method."""
        return tuple(result for (name, _), group in self.groups.items() if name == setting for result in group.results)

    def synthetic(self, setting: str) -> bool:
        """Whether a setting's data is synthetic; without any result, whether the study's is."""
        results = self.results(setting)
        return any(result.synthetic for result in results) if results else self.study.synthetic

    def data(self, *settings: str) -> str:
        """The data of settings as a table's cell, which says synthetic where it is."""
        layouts: dict[str, list[str]] = {}
        for setting in settings:
            results = self.results(setting)
            layout = results[0].layout if results else self.title(setting)
            if results and (other := results[0].trained_on):
                layout = f"{other.layout} to {layout}"
            layouts.setdefault("synthetic" if self.synthetic(setting) else "measured here", []).append(layout)
        return ", ".join(f"{' and '.join(dict.fromkeys(names))} ({kind})" for kind, names in layouts.items())


def load_study(path: Path) -> LoadedStudy:
    """Read a study and every result that it names.

    Raises:
        ResultError: A file is missing or malformed, the study contradicts itself, or a result is not of the setting,
            method or seed that the study has it under, or of other data than the setting's other results.
    """
    study = read_record(path, Study)
    _check_study(study, path)
    groups: dict[tuple[str, str], RunGroup] = {}
    for setting in study.settings:
        accepted: list[ExperimentResult] = []
        for method in study.methods:
            planned = sorted(
                (run for run in study.runs if (run.setting, run.method) == (setting.name, method.name)),
                key=lambda run: run.seed,
            )
            runs = []
            for run in planned:
                if run.results is not None:
                    file = relative_file(path, run.results)
                    result = read_results(file)
                    _check_run(result, run, setting, accepted, file)
                    accepted.append(result)
                    runs.append(SeedRun(seed=run.seed, result=result))
            groups[setting.name, method.name] = RunGroup(
                setting=setting.name,
                method=method.name,
                runs=tuple(runs),
                missing=tuple(run for run in planned if run.results is None),
            )
    return LoadedStudy(path=path, study=study, groups=groups)


def _check_study(study: Study, path: Path) -> None:
    settings, methods = [each.name for each in study.settings], [each.name for each in study.methods]
    for kind, names in (("setting", settings), ("method", methods)):
        if twice := [name for index, name in enumerate(names) if name in names[:index]]:
            raise ResultError(f"{kind} {twice[0]!r} is there twice", path=path)
    accepted = set()
    for index, run in enumerate(study.runs):
        place = f"runs[{index}]"
        if run.setting not in settings or run.method not in methods:
            raise ResultError(f"{place}: {run.setting}, {run.method} is none of the study's", path=path)
        if (run.results is None) == (run.reason is None):
            raise ResultError(f"{place}: expected either results or a reason why they are missing", path=path)
        if (key := (run.setting, run.method, run.seed)) in accepted:
            raise ResultError(f"{place}: {run.setting}, {run.method}, seed {run.seed} is there twice", path=path)
        accepted.add(key)
    for index, file in enumerate(study.files):
        # Its setting may be none of the study's: a study of one table says of the other tasks that it lacks them.
        if (file.path is None) == (file.reason is None):
            raise ResultError(f"files[{index}]: expected either a path or a reason why it is missing", path=path)


def _check_run(
    result: ExperimentResult, run: StudyRun, setting: StudySetting, accepted: Sequence[ExperimentResult], file: Path
) -> None:
    def expect(name: str, found: object, expected: object) -> None:
        if found != expected:
            raise ResultError(f"{name}: the study expects {expected!r}, found {found!r}", path=file)

    # A result names its protocol in short, a study by its title.
    if result.protocol not in (setting.protocol, _PROTOCOL_NAMES.get(setting.name, setting.name)):
        expect("protocol", result.protocol, setting.protocol)
    expect("method", result.method, run.method)
    expect("seeds", set(result.seeds.values()), {run.seed})
    if accepted:
        for name in ("protocol", "classes", "view_angles_deg", "layout", "manifest_hash", "trained_on", "synthetic"):
            expect(name, getattr(result, name), getattr(accepted[0], name))
