"""Tables II to IV with the paper's rows above the project's own, and the baselines over all settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smilevlm.reporting.published import PUBLISHED_DATA, Published, PublishedComparison
from smilevlm.reporting.study_rows import OwnRow, own_rows, score_cells, score_columns, supervision
from smilevlm.reporting.study_scores import FUSED, chance, pooled_or_missing
from smilevlm.reporting.study_source import LoadedStudy
from smilevlm.reporting.table import Cell, Column, Missing, Table
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
        Column(key="method", title="Method"),
        Column(key="supervision", title="Supervision"),
        Column(key="data", title="Data"),
        Column(key="setting", title="Experimental setting"),
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
    rows = []
    for row in own_rows(study, settings):
        cells: list[Cell] = []
        for setting in settings:
            if row.method is None:
                cells.append(chance(study.results(setting)))
                continue
            scores = pooled_or_missing(study.group(setting, row.method), row.reading)
            cells.append(scores if isinstance(scores, Missing) else scores.mean)
        told = supervision(study, row, settings)
        rows.append((row.title, row.part, told, "synthetic" if study.study.synthetic else "measured here", *cells))
    return Table(
        name="baselines",
        title="All methods and baselines in all settings",
        note="Accuracy in per cent, mean over units (seeds and folds). Readouts that are fitted learn from the labels "
        "of the training people only.",
        columns=(
            Column(key="method", title="Method"),
            Column(key="part", title="Part"),
            Column(key="supervision", title="Supervision"),
            Column(key="data", title="Data"),
            *(Column(key=name, title=study.title(name), kind="percent") for name in settings),
        ),
        rows=tuple(rows),
    )


def calibration_table(study: LoadedStudy) -> Table:
    """How far the full model's probabilities are to be believed."""
    rows: list[tuple[Cell, ...]] = []
    for setting in study.study.settings:
        group = study.group(setting.name, "full")
        scores = pooled_or_missing(group, FUSED)
        head = (setting.title, study.data(setting.name))
        if isinstance(scores, Missing):
            rows.append((*head, *[scores] * 4))
            continue
        found = [fold.calibration for fold in group.folds]
        bins = [each for calibration in found for each in calibration.bins]
        total = sum(each.count for each in bins)
        confidence: Cell = Missing(reason="no samples in the bins")
        if total:
            confidence = sum(each.count * each.confidence for each in bins) / total
        temperatures = sorted(each.temperature for each in found)
        ends = " to ".join(f"{t:.3g}" for t in dict.fromkeys((temperatures[0], temperatures[-1])))
        error = float(np.mean([each.expected_calibration_error for each in found]))
        rows.append((*head, error, confidence, scores.mean, ends))
    return Table(
        name="calibration",
        title="Calibration of the full model",
        note="In per cent. Expected calibration error: mean over units; confidence: mean highest probability over all "
        "test samples. A confidence above the accuracy is too sure.",
        columns=(
            Column(key="setting", title="Setting"),
            Column(key="data", title="Data"),
            Column(key="expected_calibration_error", title="Expected calibration error", kind="percent"),
            Column(key="confidence", title="Mean confidence", kind="percent"),
            Column(key="accuracy", title="Accuracy", kind="percent"),
            Column(key="temperature", title="Temperature"),
        ),
        rows=tuple(rows),
    )
