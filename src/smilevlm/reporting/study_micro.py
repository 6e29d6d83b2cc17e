"""Table V: micro-expressions, one class against the others, each view alone and all views together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.reporting.pooled import MAJORITY, ORACLE, pooled_cells
from smilevlm.reporting.published import PUBLISHED_DATA, Published, PublishedProfile
from smilevlm.reporting.study_source import MICRO_SETTINGS, LoadedStudy
from smilevlm.reporting.study_tables import fold_scheme
from smilevlm.reporting.table import Cell, Column, Missing, Table, angle_text
from smilevlm.results import (
    BinaryCounts,
    ConfusionMatrix,
    ExperimentResult,
    FoldResult,
    add_counts,
    binary_accuracy,
    binary_f1,
    counts_from_confusion,
    majority_confusion,
    pooled_confusion,
    pooled_score,
)

PROFILES: Mapping[str, float] = {"Left": -30.0, "Right": 30.0, "Front": 0.0}
"""The paper lists `0°, -30° and +30°` as frontal, left and right."""
_SINGLE = "single label"
_MULTI = "multi-label"
_VIEWS = {f"{name}, {angle_text(angle)}": angle for name, angle in PROFILES.items()}
_ALL_VIEWS = "SMILE-VLM, multi-views"
_BASELINES = {
    _SINGLE: MAJORITY,
    _MULTI: "Baseline: nothing is ever said",
}
ClassCounts = Mapping[str, BinaryCounts]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of both tables: the cells that they share, and counts pooled over units or why there are none.

    Attributes:
        intervals: Of UF1 and of UAR, over people.
    """

    head: tuple[Cell, ...]
    counts: ClassCounts | Missing
    intervals: tuple[Cell, Cell]


def micro_expression_tables(study: LoadedStudy, published: Published) -> list[Table]:
    """Table V as two tables, of F1 and of accuracy; empty where the study was not asked for it."""
    if "table5" not in study.study.targets:
        return []
    rows = [row for setting in MICRO_SETTINGS for row in _setting_rows(study, setting)]
    profiles = published.micro_expressions.rows
    note = (
        "One class against the others, from counts summed over all units (seeds and folds); left, right and front are "
        f"the views at {', '.join(angle_text(angle) for angle in PROFILES.values())}. First the rows that the paper "
        f"prints ({published.source}, Table V), measured on real people, whose folds and scoring it does not say. "
        "Single label: clips of exactly one class, of which the nearest is said; multi-label: all clips, each class is "
        "said or not. UF1 and UAR: mean F1 and mean recall of the classes; 95 % intervals: bootstrap over people, of "
        "rows that are scored by person. Oracle: of synthetic faces alone."
    )
    return [
        Table(
            name="table5_f1",
            title="Table V: micro-expressions, F1",
            note=f"F1 as a fraction of one. {note}",
            columns=(
                *_HEAD,
                *(Column(name, name.capitalize(), "fraction") for name in MICRO_EXPRESSIONS),
                Column("average", "Average (UF1)", "fraction"),
                Column("average_interval", "UF1, 95 % interval", "fraction_interval"),
                Column("unweighted_average_recall", "UAR", "fraction"),
                Column("unweighted_average_recall_interval", "UAR, 95 % interval", "fraction_interval"),
            ),
            rows=(
                *(_published(p, p.f1, p.average_f1, 1.0, *[Missing(reason="not printed")] * 3) for p in profiles),
                *(
                    (*row.head, *_scores(row, binary_f1), row.intervals[0], _scores(row, _recall)[-1], row.intervals[1])
                    for row in rows
                ),
            ),
        ),
        Table(
            name="table5_accuracy",
            title="Table V: micro-expressions, accuracy",
            note=f"In per cent. Never to say a rare class is mostly right: compare with the baselines. {note}",
            columns=(
                *_HEAD,
                *(Column(name, name.capitalize(), "percent_fine") for name in MICRO_EXPRESSIONS),
                Column("average", "Average", "percent_fine"),
            ),
            rows=(
                *(_published(p, p.accuracy, p.average_accuracy, 100.0) for p in profiles),
                *((*row.head, *_scores(row, binary_accuracy)) for row in rows),
            ),
        ),
    ]


_HEAD = (
    Column("profile", "Model and profile"),
    Column("data", "Data"),
    Column("setting", "Setting"),
    Column("scoring", "Scoring"),
    Column("folds", "Folds"),
    Column("subjects", "People", "count"),
)


def _published(
    row: PublishedProfile, values: Mapping[str, float], average: float, whole: float, *more: Cell
) -> tuple[Cell, ...]:
    not_printed = Missing(reason="not printed")
    numbers = [round(value / whole, 6) for value in (*(values[name] for name in MICRO_EXPRESSIONS), average)]
    return (row.cited, PUBLISHED_DATA, "4DME", not_printed, not_printed, not_printed, *numbers, *more)


def _scores(row: _Row, score: Callable[[BinaryCounts], float]) -> tuple[Cell, ...]:
    """Of each class, and their mean."""
    if isinstance(row.counts, Missing):
        return (row.counts,) * (len(MICRO_EXPRESSIONS) + 1)
    values = [score(row.counts[name]) for name in MICRO_EXPRESSIONS]
    return (*values, float(np.mean(values)))


def _recall(counts: BinaryCounts) -> float:
    present = counts.true_positive + counts.false_negative
    return counts.true_positive / present if present else 0.0


def _setting_rows(study: LoadedStudy, setting: str) -> Iterator[_Row]:
    group = study.group(setting, "full")
    folds, reason = group.folds, Missing(reason=group.reason)
    has_multi_label = setting == "4dme_multi_label" or any(fold.multi_label for fold in folds)
    for scoring in (_SINGLE, _MULTI) if has_multi_label else (_SINGLE,):
        read = _single_label if scoring == _SINGLE else _multi_label
        found = [read(fold, group.results[0].classes) for fold in folds]
        head = (
            study.title(setting),
            scoring,
            fold_scheme(study, setting, "full") or reason,
            len(_tested(folds, scoring)) if folds else reason,
        )
        for profile in (*_VIEWS, _ALL_VIEWS, _BASELINES[scoring]):
            counts = _pool([each.get(profile) for each in found], profile) if folds else reason
            known = _by_person(group.results, profile) if scoring == _SINGLE else None
            yield _Row(head=(profile, study.data(setting), *head), counts=counts, intervals=_intervals(known))
        if scoring == _SINGLE and study.synthetic(setting):
            known = _by_person(group.results, ORACLE)
            matrices = [_single_counts(matrix, group.results[0].classes) for matrix in (known or {}).values()]
            counts = _pool(matrices, ORACLE) if matrices else Missing(reason="the result has no oracle")
            yield _Row(head=(ORACLE, study.data(setting), *head), counts=counts, intervals=_intervals(known))


def _by_person(results: Sequence[ExperimentResult], profile: str) -> dict[str, ConfusionMatrix] | None:
    """Person to confusion matrix, summed over seeds; None where not every result has it by person."""
    read: dict[str, Callable[[ExperimentResult], Mapping[str, ConfusionMatrix] | None]] = {
        _ALL_VIEWS: lambda result: pooled_confusion(result.folds),
        MAJORITY: lambda result: majority_confusion(result.folds),
        ORACLE: lambda result: result.oracle.subject_confusion if result.oracle else None,
    }
    found = [read[profile](result) if profile in read else None for result in results]
    total: dict[str, np.ndarray] = {}
    for of_one in found:
        if of_one is None:
            return None
        for person, matrix in of_one.items():
            total[person] = np.asarray(matrix) + total.get(person, 0)
    return {person: tuple(map(tuple, matrix.tolist())) for person, matrix in total.items()} or None


def _intervals(by_person: Mapping[str, ConfusionMatrix] | None) -> tuple[Cell, Cell]:
    if by_person is None:
        not_known = Missing(reason="not scored by person")
        return not_known, not_known
    cells = pooled_cells(pooled_score(by_person))
    return cells[1], cells[3]


def _tested(folds: Sequence[FoldResult], scoring: str) -> set[str]:
    """People whose clips are counted; those with clips of several classes alone are among the yes-or-no questions."""
    if scoring == _MULTI:
        return {name for fold in folds if fold.multi_label for name in fold.multi_label.subjects}
    return {name for fold in folds for name in fold.test_subjects}


def _pool(found: Sequence[ClassCounts | None], profile: str) -> ClassCounts | Missing:
    by_fold = [counts for counts in found if counts is not None]
    if len(by_fold) < len(found):
        return Missing(reason=f"the result does not score: {profile.split(',')[0].lower()}")
    if set(by_fold[0]) != set(MICRO_EXPRESSIONS):
        return Missing(reason="other classes than the paper's")
    return {name: add_counts(counts[name] for counts in by_fold) for name in MICRO_EXPRESSIONS}


def _single_label(fold: FoldResult, classes: Sequence[str]) -> dict[str, ClassCounts]:
    """Row of the table to its counts, from confusion matrices."""
    views = fold.single_view_confusion
    matrices = {title: views[angle] for title, angle in _VIEWS.items() if angle in views}
    matrices[_ALL_VIEWS] = fold.confusion_matrix
    if "majority" in fold.readouts:
        matrices[_BASELINES[_SINGLE]] = fold.readouts["majority"].confusion_matrix
    return {title: _single_counts(matrix, classes) for title, matrix in matrices.items()}


def _single_counts(matrix: ConfusionMatrix, classes: Sequence[str]) -> dict[str, BinaryCounts]:
    return {name: counts_from_confusion(matrix, index) for index, name in enumerate(classes)}


def _multi_label(fold: FoldResult, _: Sequence[str]) -> dict[str, ClassCounts]:
    """The same from the counts of yes-or-no questions."""
    if (score := fold.multi_label) is None:
        return {}
    views = {title: score.by_view[angle] for title, angle in _VIEWS.items() if angle in score.by_view}
    return {**views, _ALL_VIEWS: score.fused, _BASELINES[_MULTI]: score.always_no}
