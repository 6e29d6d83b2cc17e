"""Differences between methods, paired by unit: the numbers of Figs. 2 and 3, and all views against each one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from smilevlm.reporting.study_source import ABLATIONS, LoadedStudy
from smilevlm.reporting.study_statistics import (
    FUSED,
    MEAN_FUSION,
    ONE_PERSON,
    PairedDifference,
    Reading,
    difference,
    holm,
    paired_subject_interval,
    pooled_or_missing,
    reading_title,
    unit_scores,
)
from smilevlm.reporting.study_tables import pooled_cells
from smilevlm.reporting.table import Cell, Column, Missing, Table

SIGNIFICANCE_LEVEL = 0.05
_ITSELF = Missing(reason="itself")
_TEST_NOTE = (
    "p: two-sided corrected resampled t-test over units (Nadeau and Bengio 2003), and its 95 % interval; a second "
    "interval redraws the test people. Holm: corrected for all tests of this table. Few units make a weak test: a "
    "large p does not say that there is no difference."
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method, read one way, against another in one setting.

    Attributes:
        gain: First minus second; or why there is none.
        subject_interval: Of the pooled difference, over people.
        holm_p: The p-value corrected within its family; None where there is no p-value.
    """

    setting: str
    first: tuple[str, Reading]
    second: tuple[str, Reading]
    gain: PairedDifference | Missing
    subject_interval: tuple[float, float] | None
    holm_p: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the corrected test tells the difference from zero."""
        return self.holm_p is not None and self.holm_p < SIGNIFICANCE_LEVEL


def ablation_comparisons(study: LoadedStudy, reading: Reading) -> list[Comparison]:
    """The full method minus each ablation in every setting that has ablations; one family of tests."""
    pairs = [(setting, ("full", reading), (method, reading)) for setting in _ablated(study) for method in ABLATIONS]
    return compare(study, pairs)


def _ablated(study: LoadedStudy) -> list[str]:
    return [setting.name for setting in study.study.settings if study.planned(setting.name, ABLATIONS)]


def view_comparisons(study: LoadedStudy) -> list[Comparison]:
    """All views fused minus each view alone, and minus their plain mean, in every setting; one family of tests."""
    pairs = []
    for setting in study.study.settings:
        results = study.group(setting.name, "full").results
        readings: list[Reading] = [*results[0].view_angles_deg, MEAN_FUSION] if results else [MEAN_FUSION]
        pairs += [(setting.name, ("full", FUSED), ("full", reading)) for reading in readings]
    return compare(study, pairs)


def compare(
    study: LoadedStudy, pairs: Sequence[tuple[str, tuple[str, Reading], tuple[str, Reading]]]
) -> list[Comparison]:
    """Test pairs as one family.

    Args:
        study: The study.
        pairs: Setting, and two of method and reading: first minus second.
    """
    found = []
    for setting, first, second in pairs:
        groups = study.group(setting, first[0]), study.group(setting, second[0])
        gain = difference(groups[0], first[1], groups[1], second[1])
        ours, theirs = unit_scores(groups[0], first[1]), unit_scores(groups[1], second[1])
        interval = None
        if not isinstance(gain, Missing) and isinstance(ours, list) and isinstance(theirs, list):
            interval = paired_subject_interval(ours, theirs)
        found.append(Comparison(setting=setting, first=first, second=second, gain=gain, subject_interval=interval))
    corrected = holm([None if isinstance(each.gain, Missing) else each.gain.p_value for each in found])
    return [replace(each, holm_p=p) for each, p in zip(found, corrected, strict=True)]


def ablation_table(study: LoadedStudy, comparisons: Sequence[Comparison], reading: Reading, name: str) -> Table:
    """The numbers of Fig. 2: every ablation in every setting, and the full method minus it.

    Args:
        study: The study.
        comparisons: `ablation_comparisons` of the same reading.
        reading: How classes are read.
        name: Of the table.
    """
    rows: list[tuple[Cell, ...]] = []
    for setting in _ablated(study):
        rows.append(_ablation_row(study, setting, "full", reading, (_ITSELF,) * 6))
        for each in comparisons:
            if each.setting == setting:
                rows.append(_ablation_row(study, setting, each.second[0], reading, difference_cells(each)))
    return Table(
        name=name,
        title=f"Ablation, {reading_title(reading)}",
        note=f"Accuracy in per cent, mean over units; full minus the row in percentage points. {_TEST_NOTE}",
        columns=(
            Column("setting", "Setting"),
            Column("method", "Method"),
            Column("data", "Data"),
            Column("accuracy", "Accuracy", "percent"),
            Column("std", "Std over units", "percent"),
            Column("interval", "95 % interval, units", "percent_interval"),
            Column("subject_interval", "95 % interval, people", "percent_interval"),
            *_difference_columns("Full minus this"),
        ),
        rows=tuple(rows),
    )


def _ablation_row(
    study: LoadedStudy, setting: str, method: str, reading: Reading, more: tuple[Cell, ...]
) -> tuple[Cell, ...]:
    scores = pooled_or_missing(study.group(setting, method), reading)
    cells = (scores,) * 4 if isinstance(scores, Missing) else pooled_cells(scores)
    return (study.title(setting), study.method(method).title, study.data(setting), *cells, *more)


def views_table(study: LoadedStudy, comparisons: Sequence[Comparison]) -> Table:
    """All views against each single view.

    Args:
        study: The study.
        comparisons: `view_comparisons`.
    """
    rows: list[tuple[Cell, ...]] = []
    for each in comparisons:
        group = study.group(each.setting, "full")
        scores = [pooled_or_missing(group, reading) for reading in (FUSED, each.second[1])]
        means = [score if isinstance(score, Missing) else score.mean for score in scores]
        head = (study.title(each.setting), reading_title(each.second[1]), study.data(each.setting))
        rows.append((*head, *means, *difference_cells(each)))
    return Table(
        name="single_views",
        title="All views together against each one alone",
        note=f"Accuracy in per cent, mean over units; differences in percentage points. {_TEST_NOTE}",
        columns=(
            Column("setting", "Setting"),
            Column("reading", "Against"),
            Column("data", "Data"),
            Column("fused", "All views fused", "percent"),
            Column("accuracy", "This", "percent"),
            *_difference_columns("Fused minus this"),
        ),
        rows=tuple(rows),
    )


def _difference_columns(title: str) -> tuple[Column, ...]:
    return (
        Column("difference", title, "points"),
        Column("difference_interval", "95 % interval, units", "points_interval"),
        Column("difference_subject_interval", "95 % interval, people", "points_interval"),
        Column("p_value", "p", "p_value"),
        Column("holm_p_value", "p, Holm", "p_value"),
        Column("units", "Units", "count"),
    )


def difference_cells(comparison: Comparison) -> tuple[Cell, ...]:
    """The cells of `_difference_columns`; each that is empty says why."""
    gain = comparison.gain
    if isinstance(gain, Missing):
        return (gain,) * 6
    return (
        gain.mean,
        gain.interval or gain.no_interval,
        comparison.subject_interval or ONE_PERSON,
        gain.no_interval if gain.p_value is None else gain.p_value,
        gain.no_interval if comparison.holm_p is None else comparison.holm_p,
        gain.num_units,
    )
