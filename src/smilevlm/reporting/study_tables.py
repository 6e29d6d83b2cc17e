"""Tables II to IV with the paper's rows above the project's own, the baselines over all settings, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smilevlm.reporting.published import PUBLISHED_DATA, Published, PublishedComparison
from smilevlm.reporting.study_source import LoadedStudy, RunGroup
from smilevlm.reporting.study_statistics import (
    FUSED,
    MEAN_FUSION,
    ONE_PERSON,
    UNSEEN_WORDINGS,
    Pooled,
    Reading,
    chance,
    pooled_or_missing,
    reading_title,
)
from smilevlm.reporting.table import Cell, Column, Missing, Table, constant_column, table_of
from smilevlm.results import Target

_PARTS: dict[Target, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "table2": (("table2_subset1", ("bu3dfe_subset1",)), ("table2_subset2_bosphorus", ("bu3dfe_subset2", "bosphorus"))),
    "table3": (("table3", ("bu4dfe",)),),
    "table4": (("table4_recognition", ("bp4d",)), ("table4_cross_dataset", ("bp4d_cross",))),
}
"""Table of the paper to its parts: name and settings."""
UNITS_NOTE = (
    "A unit is one seed and fold. Interval over units: Student t, which takes units for independent although their "
    "training people overlap, and so is somewhat too narrow; over people: bootstrap of the distinct test people."
)


Part = Literal["the method", "views and fusion", "baseline", "control"]
_PROBES = ("linear_probe", "knn")
_NOT_TOLD_BY_PAIRING = ("untrained", "raw_clip", "shuffled_prompts")


@dataclass(frozen=True, kw_only=True)
class OwnRow:
    """One row.

    Attributes:
        method: Name of the method; None for chance, which nothing is trained for.
        reading: How classes are read.
        title: For people.
    """

    part: Part
    method: str | None
    reading: Reading
    title: str


def own_rows(study: LoadedStudy, settings: Sequence[str]) -> list[OwnRow]:
    """The rows of every table of comparisons, in order: SMILE-VLM, then what it must beat, then the controls."""
    angles = sorted({angle for name in settings for result in study.results(name) for angle in result.view_angles_deg})
    readings: list[tuple[Part, str, Reading]] = [
        ("the method", "full", FUSED),
        *(("the method", "full", reading) for reading in _unseen_wordings(study, settings)),
        *(("views and fusion", "full", reading) for reading in (*angles, MEAN_FUSION, "late_fusion")),
        *(("baseline", method, reading) for method in ("full", "multi_view_alone") for reading in _PROBES),
        *(("baseline", method, FUSED) for method in ("alignment_alone", "supervised", "raw_clip", "untrained")),
        ("baseline", "untrained", "linear_probe"),
    ]
    rows = [
        OwnRow(
            part=part,
            method=method,
            reading=reading,
            title=f"{study.method(method).title}: {_how(method, reading)}",
        )
        for part, method, reading in readings
    ]
    rows += [
        OwnRow(part="control", method="shuffled_prompts", reading=FUSED, title=study.method("shuffled_prompts").title),
        OwnRow(part="control", method="full", reading="majority", title="always the most frequent training class"),
        OwnRow(part="control", method=None, reading="chance", title="chance"),
    ]
    return rows


def _unseen_wordings(study: LoadedStudy, settings: Sequence[str]) -> tuple[Reading, ...]:
    """Its row stands there where a result has it: files from before have not."""
    results = [result for name in settings for result in study.group(name, "full").results]
    return (UNSEEN_WORDINGS,) if any(result.unseen_prompt_set for result in results) else ()


def _how(method: str, reading: Reading) -> str:
    """A supervised model has no prompts: it is read by the classes it learned."""
    return "all views fused" if (method, reading) == ("supervised", FUSED) else reading_title(reading)


def supervision(study: LoadedStudy, row: OwnRow, settings: Sequence[str]) -> str:
    """The results' own pairing names, and whether the readout was fitted.

    Where no prompt had a say, or none of the sample's own, the pairing's name would be wrong; the study's words stand.
    """
    if row.method is None:
        return "none"
    if row.reading == "majority":
        return "labels of the training subjects"
    results = [result for name in settings for result in study.group(name, row.method).results]
    text = study.method(row.method).supervision
    if results and row.method not in _NOT_TOLD_BY_PAIRING and all(result.aligned_with_text for result in results):
        text = ", ".join(dict.fromkeys(result.pairing_name for result in results))
    return f"{text}; readout fitted on labels" if row.reading in _PROBES else text


def score_columns(prefix: str = "", title: str = "") -> tuple[Column, ...]:
    """The columns that `score_cells` fills.

    Args:
        prefix: Of the keys, where a table has several settings.
        title: Put before the columns' titles then.
    """
    before = f"{title}: " if title else ""
    return (
        Column(f"{prefix}accuracy", f"{before}Accuracy", "percent_fine"),
        Column(f"{prefix}std", f"{before}Std over units", "percent"),
        Column(f"{prefix}interval", f"{before}95 % interval, units", "percent_interval"),
        Column(f"{prefix}subject_interval", f"{before}95 % interval, people", "percent_interval"),
        Column(f"{prefix}subjects", f"{before}People", "count"),
        Column(f"{prefix}seeds", f"{before}Seeds"),
    )


def score_cells(study: LoadedStudy, row: OwnRow, setting: str) -> tuple[Cell, ...]:
    """A row's cells for one setting; each that is empty says why."""
    if row.method is None:
        exact = Missing(reason="exact")
        return (chance(study.results(setting)), *[exact] * 5)
    group = study.group(setting, row.method)
    scores = pooled_or_missing(group, row.reading)
    if isinstance(scores, Missing):
        return (scores,) * 6
    return (*pooled_cells(scores), scores.num_subjects, group.seeds_text)


def pooled_cells(scores: Pooled) -> tuple[Cell, Cell, Cell, Cell]:
    """Mean, spread and both intervals."""
    std = scores.no_interval if scores.std is None else scores.std
    return scores.mean, std, scores.interval or scores.no_interval, scores.subject_interval or ONE_PERSON


def paper_tables(study: LoadedStudy, published: Published) -> list[Table]:
    """The parts of Tables II, III and IV that the study was asked for, in the paper's order."""
    return [
        comparison_table(study, published, name, settings)
        for target, parts in _PARTS.items()
        if target in study.study.targets
        for name, settings in parts
    ]


def comparison_table(study: LoadedStudy, published: Published, name: str, settings: tuple[str, ...]) -> Table:
    """One part of Tables II to IV: published rows first, then what this project measured."""
    comparison = published.comparison(*settings)
    several = len(settings) > 1
    columns = [
        Column("method", "Method"),
        Column("supervision", "Supervision"),
        Column("data", "Data"),
        Column("setting", "Experimental setting"),
    ]
    for setting in settings:
        columns += score_columns(f"{setting}_" if several else "", study.title(setting) if several else "")
    own = [
        (
            row.title,
            supervision(study, row, settings),
            study.data(*settings),
            _experimental_setting(study, row, settings),
            *(cell for setting in settings for cell in score_cells(study, row, setting)),
        )
        for row in own_rows(study, settings)
    ]
    faces = "synthetic faces" if any(study.synthetic(setting) for setting in settings) else "real faces"
    return Table(
        name=name,
        title=f"Table {comparison.table}: {comparison.title}",
        note=f"Accuracy in per cent. First the rows that the paper prints ({published.source}), measured on real "
        f"people; its citations were not checked. Then this project's rows, on {faces}"
        + (": the two do not compare. " if "synthetic" in faces else ". ")
        + UNITS_NOTE,
        columns=tuple(columns),
        rows=(*_published_rows(comparison), *own),
    )


def _published_rows(comparison: PublishedComparison) -> list[tuple[Cell, ...]]:
    not_printed = Missing(reason="not printed")
    return [
        (
            row.cited,
            row.supervision,
            PUBLISHED_DATA,
            row.experimental_setting or not_printed,
            *(
                cell
                for setting in comparison.settings
                # Rounded: a hundredth of 84.01 is not the nearest number to 0.8401.
                for cell in (round(row.accuracy[setting] / 100.0, 6), *[not_printed] * 5)
            ),
        )
        for row in comparison.rows
    ]


def _experimental_setting(study: LoadedStudy, row: OwnRow, settings: Sequence[str]) -> Cell:
    if row.method is None:
        return Missing(reason="nothing is trained")
    texts = dict.fromkeys(text for setting in settings if (text := fold_scheme(study, setting, row.method)))
    return ", ".join(texts) or Missing(reason="no run")


def fold_scheme(study: LoadedStudy, setting: str, method: str) -> str:
    """`1 of 5 folds per seed, by scan`; empty where there is no run."""
    results = study.group(setting, method).results
    if not results:
        return ""
    num_folds, level = results[0].folds[0].num_folds, results[0].level
    if (start := results[0].started_from) is not None:
        level += f", begun with {start.layout}{' (synthetic)' if start.synthetic else ''}"
    if results[0].trained_on is not None:
        return f"trained on {results[0].trained_on.layout}, by {level}"
    counts = sorted({len(result.folds) for result in results})
    run = " or ".join(str(count) for count in counts)
    return (
        f"{num_folds} folds, by {level}"
        if counts == [num_folds]
        else f"{run} of {num_folds} folds per seed, by {level}"
    )


def baselines_table(study: LoadedStudy) -> Table:
    """Every method and reading over every setting."""
    settings = [setting.name for setting in study.study.settings]

    def accuracy(setting: str) -> Column:
        return Column(setting, study.title(setting), "percent", lambda row: score_cells(study, row, setting)[0])

    return table_of(
        "baselines",
        "All methods and baselines in all settings",
        "Accuracy in per cent, mean over units (seeds and folds). Readouts that are fitted learn from the labels "
        "of the training people only.",
        (
            Column("method", "Method", "text", "title"),
            Column("part", "Part"),
            Column("supervision", "Supervision", "text", lambda row: supervision(study, row, settings)),
            constant_column("data", "Data", "synthetic" if study.study.synthetic else "measured here"),
            *(accuracy(setting) for setting in settings),
        ),
        own_rows(study, settings),
    )


def calibration_table(study: LoadedStudy) -> Table:
    """How far the full model's probabilities are to be believed."""
    return Table(
        name="calibration",
        title="Calibration of the full model",
        note="In per cent. Expected calibration error: mean over units; confidence: mean highest probability over all "
        "test samples. A confidence above the accuracy is too sure.",
        columns=(
            Column("setting", "Setting"),
            Column("data", "Data"),
            Column("expected_calibration_error", "Expected calibration error", "percent"),
            Column("confidence", "Mean confidence", "percent"),
            Column("accuracy", "Accuracy", "percent"),
            Column("temperature", "Temperature"),
        ),
        rows=tuple(
            (setting.title, study.data(setting.name), *_calibration_cells(study.group(setting.name, "full")))
            for setting in study.study.settings
        ),
    )


def _calibration_cells(group: RunGroup) -> tuple[Cell, ...]:
    scores = pooled_or_missing(group, FUSED)
    if isinstance(scores, Missing):
        return (scores,) * 4
    found = [fold.calibration for fold in group.folds]
    bins = [each for calibration in found for each in calibration.bins]
    total = sum(each.count for each in bins)
    confidence: Cell = Missing(reason="no samples in the bins")
    if total:
        confidence = sum(each.count * each.confidence for each in bins) / total
    temperatures = sorted(each.temperature for each in found)
    ends = " to ".join(f"{t:.3g}" for t in dict.fromkeys((temperatures[0], temperatures[-1])))
    return float(np.mean([each.expected_calibration_error for each in found])), confidence, scores.mean, ends
