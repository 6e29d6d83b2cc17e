"""A study of the losses with all its scores, by setting, method and unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smilevlm.errors import ResultError
from smilevlm.reporting.equivalence import EquivalenceTest, equivalence_test
from smilevlm.reporting.study_comparisons import SIGNIFICANCE_LEVEL
from smilevlm.reporting.study_statistics import holm
from smilevlm.results import (
    CONDITIONS,
    LANGUAGE_NAME,
    ROBUSTNESS_NAME,
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

Verdict = Literal["higher", "lower", "equal", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("higher", "lower", "equal", "inconclusive")


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
    "all_views_degraded": "degraded scans",
    "one_view_degraded": "one view degraded",
    "one_view_missing": "one view missing",
    "other_faces": "other faces",
}


def _condition(name: Condition, reading: Reading) -> Outcome:
    def get(scores: Scores) -> float | None:
        found = scores.robustness.conditions.get(name)
        if found is None:
            return None
        if reading == "linear_probe":
            return found.linear_probe
        return None if found.prompts is None else found.prompts.fused

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
    """The effect of a loss on one outcome in one setting: the method with it minus the one without it.

    Attributes:
        is_primary: Whether it is one of the tests that were named to be tested first.
        p_value, equivalence_p: Corrected (Holm) over its family: the primary tests, or all others.
        detectable: What the first step of that correction finds in 4 of 5 studies.
    """

    contrast: LossContrast
    setting: str
    outcome: Outcome
    test: EquivalenceTest
    is_primary: bool
    p_value: float
    equivalence_p: float
    detectable: float

    @property
    def is_significant(self) -> bool:
        """Whether it differs from zero."""
        return self.p_value < SIGNIFICANCE_LEVEL

    @property
    def is_equal(self) -> bool:
        """Whether a difference of the margin or more is ruled out."""
        return self.equivalence_p < SIGNIFICANCE_LEVEL

    @property
    def verdict(self) -> Verdict:
        """`higher` or `lower` with the loss, `equal` within the margin, or `inconclusive`; equality comes first."""
        if self.is_equal:
            return "equal"
        if not self.is_significant:
            return "inconclusive"
        return "higher" if self.test.mean > 0 else "lower"


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
        """Those that were asked for, by name."""
        asked = {run.setting for run in self.study.runs}
        return {each.name: each for each in self.study.settings if each.name in asked}

    @property
    def methods(self) -> dict[str, StudyMethod]:
        """By name."""
        return {each.name: each for each in self.study.methods}

    @property
    def faces(self) -> str:
        """For titles: synthetic faces must not be taken for real ones."""
        return ", synthetic faces" if self.study.synthetic else ""

    @property
    def units(self) -> list[int]:
        return sorted({run.unit for run in self.study.runs})

    def values(self, setting: str, method: str, outcome: Outcome) -> dict[int, float]:
        """Unit to number, of the units that have it."""
        found = {unit: outcome.get(each) for unit, each in self.scores.get((setting, method), {}).items()}
        return {unit: value for unit, value in found.items() if value is not None}

    def difference(self, first: Mapping[int, float], second: Mapping[int, float]) -> EquivalenceTest | None:
        """First minus second over the units that both have."""
        both = sorted(first.keys() & second.keys())
        return equivalence_test(
            [first[u] - second[u] for u in both], margin=self.study.margin, overlap=self.study.overlap
        )


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
            language = read_record(folder / LANGUAGE_NAME, LanguageResult)
        scores.setdefault((run.setting, run.method), {})[run.unit] = Scores(
            robustness=read_record(folder / ROBUSTNESS_NAME, RobustnessResult), language=language
        )
    return LoadedLossStudy(path=path, study=study, scores=scores)


def loss_effects(study: LoadedLossStudy) -> list[Effect]:
    """Every contrast in every setting and outcome that was measured, primary tests first."""
    families: dict[bool, list[tuple[LossContrast, str, Outcome, EquivalenceTest]]] = {True: [], False: []}
    primary = {(each.contrast, each.setting) for each in study.study.primary}
    for contrast in study.study.contrasts:
        for setting, values in study.settings.items():
            for outcome in (*ACCURACIES[contrast.reading], *(LANGUAGE if values.has_captions else ()), LEAKAGE):
                first, second = (study.values(setting, name, outcome) for name in (contrast.first, contrast.method))
                if (test := study.difference(first, second)) is not None:
                    is_primary = (contrast.title, setting) in primary and outcome.key == "clean"
                    families[is_primary].append((contrast, setting, outcome, test))
    return [effect for is_primary, family in families.items() for effect in _corrected(family, is_primary)]


def _corrected(family: Sequence[tuple[LossContrast, str, Outcome, EquivalenceTest]], is_primary: bool) -> list[Effect]:
    tests = [test for *_, test in family]
    p_values, equivalence_p = holm([t.p_value for t in tests]), holm([t.equivalence_p for t in tests])
    return [
        Effect(
            contrast=contrast,
            setting=setting,
            outcome=outcome,
            test=test,
            is_primary=is_primary,
            p_value=p,
            equivalence_p=equal,
            detectable=test.detectable(SIGNIFICANCE_LEVEL / len(family)),
        )
        for (contrast, setting, outcome, test), p, equal in zip(family, p_values, equivalence_p, strict=True)
        if p is not None and equal is not None
    ]
