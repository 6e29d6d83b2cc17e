"""A study of the losses with all its scores, by setting, method and unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilevlm.errors import ResultError
from smilevlm.reporting.equivalence import EquivalenceTest, equivalence_test
from smilevlm.reporting.study_statistics import holm
from smilevlm.results import (
    CONDITIONS,
    Condition,
    LanguageResult,
    LossContrast,
    LossSetting,
    LossStudy,
    Reading,
    RobustnessResult,
    StudyMethod,
    read_record,
    relative_file,
)

LOSS_STUDY_NAME = "losses.json"
_ROBUSTNESS_NAME, _LANGUAGE_NAME = "robustness.json", "language.json"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one training gave."""

    robustness: RobustnessResult
    language: LanguageResult | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One number of a training.

    Attributes:
        key: In CSV.
        title: For people.
        get: The number; None where there is none.
    """

    key: str
    title: str
    get: Callable[[Scores], float | None]


CONDITION_TITLES: Mapping[Condition, str] = {
    "clean": "clean scans",
    "all_views_degraded": "damaged scans",
    "one_view_degraded": "one view damaged",
    "one_view_missing": "one view missing",
    "other_head_model": "another head model",
}


def _condition(name: Condition, reading: Reading) -> Outcome:
    def get(scores: Scores) -> float | None:
        found = scores.robustness.conditions.get(name)
        if found is None:
            return None
        return found.fused if reading == "prompts" else found.linear_probe

    return Outcome(key=name, title=CONDITION_TITLES[name], get=get)


def _recall(scores: Scores) -> float | None:
    if scores.language is None:
        return None
    found = [r for r in scores.language.retrieval if r.direction == "text_to_scan"]
    return next((each.share.value for r in found for each in r.recalls if each.num_first == 10), None)


def _mean_area(scores: Scores) -> float | None:
    area = None if scores.language is None else scores.language.mean_area
    return None if area is None else area.value


ACCURACIES: Mapping[Reading, tuple[Outcome, ...]] = {
    reading: tuple(_condition(name, reading) for name in CONDITIONS) for reading in ("prompts", "linear_probe")
}
LANGUAGE = (
    Outcome(key="statements", title="statements, area under the curve", get=_mean_area),
    Outcome(key="retrieval", title="text to scan, among the first 10", get=_recall),
)
LEAKAGE = Outcome(
    key="same_person",
    title="nearest scan is of the same person",
    get=lambda scores: scores.robustness.same_person_nearest,
)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a loss is worth for one outcome in one setting: the method with it minus the one without it."""

    contrast: LossContrast
    setting: str
    outcome: Outcome
    test: EquivalenceTest
    holm_p: float

    @property
    def is_told(self) -> bool:
        """Whether the corrected test tells it from zero."""
        return self.holm_p < 0.05

    @property
    def verdict(self) -> str:
        """In words."""
        direction = "more with it" if self.test.mean > 0 else "less with it"
        if self.test.is_equal:
            return "equal" + (f", {direction}" if self.is_told else "")
        return direction if self.is_told else "not told"


@dataclass(frozen=True, kw_only=True)
class LoadedLossStudy:
    """A study with its scores.

    Attributes:
        scores: (setting, method) to unit to what it gave.
    """

    path: Path
    study: LossStudy
    scores: Mapping[tuple[str, str], Mapping[int, Scores]]

    @property
    def settings(self) -> dict[str, LossSetting]:
        """By name, in the order of the study."""
        return {each.name: each for each in self.study.settings}

    @property
    def methods(self) -> dict[str, StudyMethod]:
        """By name."""
        return {each.name: each for each in self.study.methods}

    @property
    def units(self) -> list[int]:
        return sorted({run.unit for run in self.study.runs})

    @property
    def overlap(self) -> float:
        """Test people over training people of a unit, where units share people."""
        return 0.0 if self.study.independent_units else 1.0 / max(1, len(self.units) - 1)

    def values(self, setting: str, method: str, outcome: Outcome) -> dict[int, float]:
        """Unit to number, of the units that have it."""
        found = {unit: outcome.get(each) for unit, each in self.scores.get((setting, method), {}).items()}
        return {unit: value for unit, value in found.items() if value is not None}

    def difference(self, first: Mapping[int, float], second: Mapping[int, float]) -> EquivalenceTest | None:
        """First minus second over the units that both have."""
        both = sorted(first.keys() & second.keys())
        return equivalence_test([first[u] - second[u] for u in both], margin=self.study.margin, overlap=self.overlap)


def load_loss_study(path: Path) -> LoadedLossStudy:
    """Read a study and the scores that it names.

    Raises:
        ResultError: A file is missing or malformed, or a setting or method is unknown.
    """
    study = read_record(path, LossStudy)
    settings, methods = {each.name: each for each in study.settings}, {each.name for each in study.methods}
    scores: dict[tuple[str, str], dict[int, Scores]] = {}
    for index, run in enumerate(study.runs):
        if run.setting not in settings or run.method not in methods:
            raise ResultError(f"runs[{index}]: {run.setting}, {run.method} is none of the study's", path=path)
    for run in study.runs:
        if run.folder is None:
            continue
        folder = relative_file(path, run.folder)
        language = None
        if settings[run.setting].has_captions:
            language = read_record(folder / _LANGUAGE_NAME, LanguageResult)
        scores.setdefault((run.setting, run.method), {})[run.unit] = Scores(
            robustness=read_record(folder / _ROBUSTNESS_NAME, RobustnessResult), language=language
        )
    return LoadedLossStudy(path=path, study=study, scores=scores)


def loss_effects(study: LoadedLossStudy) -> list[Effect]:
    """Every contrast in every setting and outcome that was measured; Holm's correction is over all of them."""
    found: list[tuple[LossContrast, str, Outcome, EquivalenceTest]] = []
    for contrast in study.study.contrasts:
        for setting, values in study.settings.items():
            if not {contrast.first, contrast.method} <= set(values.methods):
                continue
            for outcome in (*ACCURACIES[contrast.reading], *(LANGUAGE if values.has_captions else ()), LEAKAGE):
                with_it = study.values(setting, contrast.first, outcome)
                without = study.values(setting, contrast.method, outcome)
                if (test := study.difference(with_it, without)) is not None:
                    found.append((contrast, setting, outcome, test))
    corrected = holm([test.p_value for *_, test in found])
    return [
        Effect(contrast=contrast, setting=setting, outcome=outcome, test=test, holm_p=p)
        for (contrast, setting, outcome, test), p in zip(found, corrected, strict=True)
        if p is not None
    ]


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None with one value."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None
