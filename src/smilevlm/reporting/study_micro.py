"""Table V: micro-expressions, one class against the others, each view alone and all views together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.reporting.published import PUBLISHED_DATA, Published, PublishedProfile
from smilevlm.reporting.study_source import MICRO_SETTINGS, LoadedStudy
from smilevlm.reporting.study_tables import fold_scheme
from smilevlm.reporting.table import Cell, Column, Missing, Table, angle_text
from smilevlm.results import (
    BinaryCounts,
    FoldResult,
    MultiLabelScore,
    add_counts,
    binary_accuracy,
    binary_f1,
    counts_from_confusion,
)

PROFILES: Mapping[str, float] = {"Left": -30.0, "Right": 30.0, "Front": 0.0}
"""The paper lists `0°, -30° and +30°` as frontal, left and right."""
_SINGLE = "single label"
_MULTI = "multi-label"
ClassCounts = Mapping[str, BinaryCounts]
_Reader = Callable[[FoldResult], ClassCounts | None]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of both tables; `counts` are pooled over units, or say why there are none."""

    profile: str
    setting: str
    scoring: str
    data: str
    scheme: Cell
    num_subjects: Cell
    counts: ClassCounts | Missing


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
        "said or not. UF1 and UAR: mean F1 and mean recall of the classes."
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
                Column("unweighted_average_recall", "UAR", "fraction"),
            ),
            rows=(
                *(_published(p, p.f1, p.average_f1, 1.0, Missing(reason="not printed")) for p in profiles),
                *((*_head(row), *_scores(row, binary_f1), _recall(row)) for row in rows),
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
                *((*_head(row), *_scores(row, binary_accuracy)) for row in rows),
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


def _head(row: _Row) -> tuple[Cell, ...]:
    return (row.profile, row.data, row.setting, row.scoring, row.scheme, row.num_subjects)


def _scores(row: _Row, score: Callable[[BinaryCounts], float]) -> tuple[Cell, ...]:
    if isinstance(row.counts, Missing):
        return (row.counts,) * (len(MICRO_EXPRESSIONS) + 1)
    values = [score(row.counts[name]) for name in MICRO_EXPRESSIONS]
    return (*values, float(np.mean(values)))


def _recall(row: _Row) -> Cell:
    if isinstance(row.counts, Missing):
        return row.counts
    recalls = []
    for name in MICRO_EXPRESSIONS:
        counts = row.counts[name]
        there = counts.true_positive + counts.false_negative
        recalls.append(counts.true_positive / there if there else 0.0)
    return float(np.mean(recalls))


def _setting_rows(study: LoadedStudy, setting: str) -> list[_Row]:
    group = study.group(setting, "full")
    folds = group.folds
    reason = Missing(reason=group.reason)
    classes = group.results[0].classes if folds else MICRO_EXPRESSIONS
    readers = [(name, _SINGLE, read) for name, read in _single_label(classes).items()]
    if setting == "4dme_multi_label" or any(fold.multi_label for fold in folds):
        readers += [(name, _MULTI, read) for name, read in _multi_label().items()]
    return [
        _Row(
            profile=profile,
            setting=study.title(setting),
            scoring=scoring,
            data=study.data(setting),
            scheme=fold_scheme(study, setting, "full") or reason,
            num_subjects=len(_tested(folds, scoring)) if folds else reason,
            counts=_pool(folds, read, profile) if folds else reason,
        )
        for profile, scoring, read in readers
    ]


def _tested(folds: Sequence[FoldResult], scoring: str) -> set[str]:
    """People whose clips are counted; those with clips of several classes alone are among the yes-or-no questions."""
    if scoring == _MULTI:
        return {name for fold in folds if fold.multi_label for name in fold.multi_label.subjects}
    return {name for fold in folds for name in fold.test_subjects}


def _pool(folds: Sequence[FoldResult], read: _Reader, profile: str) -> ClassCounts | Missing:
    found = [counts for fold in folds if (counts := read(fold)) is not None]
    if len(found) < len(folds):
        return Missing(reason=f"the result does not score: {profile.split(',')[0].lower()}")
    if set(found[0]) != set(MICRO_EXPRESSIONS):
        return Missing(reason="other classes than the paper's")
    return {name: add_counts(counts[name] for counts in found) for name in MICRO_EXPRESSIONS}


def _single_label(classes: Sequence[str]) -> dict[str, _Reader]:
    def counts(matrix: tuple[tuple[int, ...], ...]) -> ClassCounts:
        return {name: counts_from_confusion(matrix, index) for index, name in enumerate(classes)}

    def view(angle: float) -> _Reader:
        return lambda fold: counts(fold.single_view_confusion[angle]) if angle in fold.single_view_confusion else None

    def majority(fold: FoldResult) -> ClassCounts | None:
        return counts(fold.readouts["majority"].confusion_matrix) if "majority" in fold.readouts else None

    readers: dict[str, _Reader] = {f"{name}, {angle_text(a)}": view(a) for name, a in PROFILES.items()}
    readers["SMILE-VLM, multi-views"] = lambda fold: counts(fold.confusion_matrix)
    readers["Baseline: always the most frequent training class"] = majority
    return readers


def _multi_label() -> dict[str, _Reader]:
    def of(read: Callable[[MultiLabelScore], ClassCounts | None]) -> _Reader:
        return lambda fold: None if fold.multi_label is None else read(fold.multi_label)

    def view(angle: float) -> _Reader:
        return of(lambda score: score.by_view.get(angle))

    readers: dict[str, _Reader] = {f"{name}, {angle_text(a)}": view(a) for name, a in PROFILES.items()}
    readers["SMILE-VLM, multi-views"] = of(lambda score: score.fused)
    readers["Baseline: nothing is ever said"] = of(lambda score: score.always_no)
    return readers
