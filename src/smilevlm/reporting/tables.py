"""The tables of a report as values; how they are written is in `table_files`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smilevlm.reporting.source import Run
from smilevlm.results import ExperimentResult, FoldResult, FoldsSummary, Interval, Spread, class_f1

Kind = Literal[
    "text", "count", "percent", "percent_fine", "points", "percent_interval", "points_interval", "fraction", "p_value"
]
"""How a column's numbers are written for people; `percent_fine` has two decimals, as the paper prints them."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """An empty cell says why it is empty."""

    reason: str


Cell = str | int | float | Interval | Missing
"""Shares as fractions of one; they become per cent when written for people, except in columns of kind `fraction`."""


@dataclass(frozen=True, kw_only=True)
class Column:
    key: str
    title: str
    kind: Kind = "text"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A named table.

    Attributes:
        name: File name without the ending.
        note: What a reader must know to read it right.
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name


_ONE_FOLD = Missing(reason="one fold")


def angle_text(angle_deg: float) -> str:
    """`−30°`, `0°`, `+30°`."""
    return f"{angle_deg:+g}°".replace("-", "−") if angle_deg else "0°"


def best_view(summary: FoldsSummary) -> float:
    """The angle of the highest mean accuracy; among equals the first."""
    return max(summary.single_view_accuracy, key=lambda angle: summary.single_view_accuracy[angle].mean)


def fused_interval(result: ExperimentResult) -> Interval | None:
    """Over folds, or over the subjects of the only fold; None when that fold has a single subject."""
    return result.summary.accuracy.interval or (result.folds[0].accuracy_interval if len(result.folds) == 1 else None)


def interval_method(result: ExperimentResult) -> str:
    """Where `fused_interval` comes from."""
    if len(result.folds) > 1:
        return f"Student t over {len(result.folds)} folds"
    if fused_interval(result) is not None:
        return "bootstrap over the subjects of one fold"
    return "none: one fold with one subject"


def overview_table(runs: Sequence[Run]) -> Table:
    """One row per run."""
    angles = sorted({angle for run in runs for angle in run.result.view_angles_deg})
    controls = list(dict.fromkeys(control.name for run in runs for control in run.result.controls))
    columns = (
        Column(key="run", title="Run"),
        Column(key="data", title="Data"),
        Column(key="pairing", title="Pairing"),
        Column(key="protocol", title="Protocol"),
        Column(key="folds_run", title="Folds", kind="count"),
        Column(key="accuracy", title="Fused", kind="percent"),
        Column(key="accuracy_interval", title="95 % interval", kind="percent_interval"),
        Column(key="macro_f1", title="Macro F1", kind="percent"),
        Column(key="unweighted_average_recall", title="UAR", kind="percent"),
        Column(key="mean_fusion", title="Mean fusion", kind="percent"),
        Column(key="best_single_view", title="Best view", kind="percent"),
        *(Column(key=f"view_{angle:g}", title=f"View {angle_text(angle)}", kind="percent") for angle in angles),
        *(Column(key=f"control_{name}", title=f"Control: {name}", kind="percent") for name in controls),
        Column(key="chance", title="Chance", kind="percent"),
    )
    return Table(
        name="overview",
        title="All runs",
        note="Accuracy in per cent, mean over folds. The best view is picked after seeing the test scores.",
        columns=columns,
        rows=tuple(_overview_row(run, angles, controls) for run in runs),
    )


def _overview_row(run: Run, angles: Sequence[float], controls: Sequence[str]) -> tuple[Cell, ...]:
    result, summary = run.result, run.result.summary
    views, by_name = summary.single_view_accuracy, {control.name: control.summary for control in result.controls}
    return (
        run.label,
        run.data,
        result.pairing_name,
        result.protocol,
        summary.num_folds_run,
        summary.accuracy.mean,
        fused_interval(result) or Missing(reason="one subject"),
        summary.macro_f1.mean,
        summary.unweighted_average_recall.mean,
        summary.mean_fusion_accuracy.mean,
        views[best_view(summary)].mean,
        *(views[angle].mean if angle in views else Missing(reason="no such view") for angle in angles),
        *(by_name[name].accuracy.mean if name in by_name else Missing(reason="not run") for name in controls),
        1.0 / len(result.classes),
    )


def methods_table(run: Run) -> Table:
    """What decides, and how well: the fusion, what it must beat, and what it must not be confused with."""
    columns = (
        Column(key="decides", title="What decides"),
        Column(key="data", title="Data"),
        Column(key="pairing", title="Pairing"),
        Column(key="accuracy", title="Accuracy", kind="percent"),
        Column(key="std", title="Std over folds", kind="percent"),
        Column(key="interval", title="95 % interval", kind="percent_interval"),
        Column(key="gain", title="Fused minus this", kind="points"),
        Column(key="gain_interval", title="95 % interval, paired", kind="points_interval"),
    )
    return Table(
        name=f"{run.slug}_methods",
        title="Accuracy by what decides",
        note=f"Per cent; differences in percentage points. Interval of the fused accuracy: "
        f"{interval_method(run.result)}. Differences are paired by fold.",
        columns=columns,
        rows=tuple((name, run.data, run.result.pairing_name, *cells) for name, *cells in _method_rows(run.result)),
    )


def _method_rows(result: ExperimentResult) -> Iterator[tuple[Cell, ...]]:
    summary, itself = result.summary, Missing(reason="itself")
    std = _ONE_FOLD if summary.accuracy.std is None else summary.accuracy.std
    yield (
        "All views, learned fusion",
        summary.accuracy.mean,
        std,
        fused_interval(result) or Missing(reason="one subject"),
        itself,
        itself,
    )
    yield (
        "All views, plain mean",
        *_spread_cells(summary.mean_fusion_accuracy),
        *_gain_cells(summary.gain_over_mean_fusion),
    )
    best = best_view(summary)
    for angle, spread in summary.single_view_accuracy.items():
        name = f"View {angle_text(angle)} alone" + (" (best single view)" if angle == best else "")
        yield name, *_spread_cells(spread), *_gain_cells(summary.gain_over_single_view[angle])
    for control in result.controls:
        same_folds = {fold.fold for fold in control.folds} == {fold.fold for fold in result.folds}
        gain = summary.accuracy.mean - control.summary.accuracy.mean if same_folds else Missing(reason="fewer folds")
        cells = (*_spread_cells(control.summary.accuracy), gain, Missing(reason="not computed"))
        yield f"Control: {control.name}", *cells
    if not result.controls:
        not_run = Missing(reason="not run")
        yield "Control: shuffled prompts", *([not_run] * 5)
    chance, exact, fused = 1.0 / len(result.classes), Missing(reason="exact"), fused_interval(result)
    yield (
        f"Chance, one of {len(result.classes)}",
        chance,
        exact,
        exact,
        summary.accuracy.mean - chance,
        Missing(reason="one subject") if fused is None else (fused[0] - chance, fused[1] - chance),
    )


def _spread_cells(spread: Spread) -> tuple[Cell, Cell, Cell]:
    return spread.mean, _ONE_FOLD if spread.std is None else spread.std, spread.interval or _ONE_FOLD


def _gain_cells(spread: Spread) -> tuple[Cell, Cell]:
    return spread.mean, spread.interval or _ONE_FOLD


def readouts_table(run: Run) -> Table:
    """Other ways to read classes from the same embeddings, and how well the probabilities are calibrated."""
    result = run.result
    columns = (
        Column(key="readout", title="Readout"),
        Column(key="data", title="Data"),
        Column(key="fitted_on", title="Fitted on"),
        Column(key="accuracy", title="Accuracy", kind="percent"),
        Column(key="macro_f1", title="Macro F1", kind="percent"),
        Column(key="unweighted_average_recall", title="UAR", kind="percent"),
    )
    rows: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys(name for fold in result.folds for name in fold.readouts):
        found = [fold.readouts[name] for fold in result.folds if name in fold.readouts]
        fitted = "labels of the training subjects" if found[0].supervision == "labels" else "nothing"
        scores = [[each.accuracy, each.macro_f1, each.unweighted_average_recall] for each in found]
        rows.append((name.replace("_", " "), run.data, fitted, *np.mean(scores, axis=0).tolist()))
    error = float(np.mean([fold.calibration.expected_calibration_error for fold in result.folds]))
    return Table(
        name=f"{run.slug}_readouts",
        title="Other readouts",
        note="Per cent, mean over folds, on the same test samples. Expected calibration error of the fused embedding's "
        f"probabilities: {100 * error:.1f} points.",
        columns=columns,
        rows=tuple(rows),
    )


def folds_table(run: Run) -> Table:
    """One row per fold, and their mean."""
    result, summary = run.result, run.result.summary
    angles = result.view_angles_deg
    columns = (
        Column(key="fold", title=f"Fold of {result.folds[0].num_folds}"),
        Column(key="data", title="Data"),
        Column(key="train_subjects", title="Train subjects", kind="count"),
        Column(key="validation_subjects", title="Validation subjects", kind="count"),
        Column(key="test_subjects", title="Test subjects", kind="count"),
        Column(key="test_samples", title="Test samples", kind="count"),
        Column(key="accuracy", title="Accuracy", kind="percent"),
        Column(key="accuracy_interval", title="95 % interval", kind="percent_interval"),
        Column(key="macro_f1", title="Macro F1", kind="percent"),
        Column(key="unweighted_average_recall", title="UAR", kind="percent"),
        Column(key="mean_fusion", title="Mean fusion", kind="percent"),
        *(Column(key=f"view_{angle:g}", title=f"View {angle_text(angle)}", kind="percent") for angle in angles),
        *(kept_columns := _kept_epoch_columns(result)),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            str(fold.fold + 1),
            run.data,
            len(fold.train_subjects),
            len(fold.validation_subjects),
            len(fold.test_subjects),
            fold.num_test_samples,
            fold.accuracy,
            fold.accuracy_interval or Missing(reason="one subject"),
            fold.macro_f1,
            fold.unweighted_average_recall,
            fold.mean_fusion_accuracy,
            *(fold.single_view_accuracy[angle] for angle in angles),
            *(_kept_epoch_cells(fold) if kept_columns else ()),
        )
        for fold in result.folds
    ]
    varies = Missing(reason="by fold")
    rows.append(
        (
            "Mean",
            run.data,
            varies,
            varies,
            sum(len(fold.test_subjects) for fold in result.folds),
            sum(fold.num_test_samples for fold in result.folds),
            summary.accuracy.mean,
            fused_interval(result) or Missing(reason="one subject"),
            summary.macro_f1.mean,
            summary.unweighted_average_recall.mean,
            summary.mean_fusion_accuracy.mean,
            *(summary.single_view_accuracy[angle].mean for angle in angles),
            *(varies for _ in kept_columns),
        )
    )
    kept = " The kept epoch, counted from 1, did best on the validation subjects." if kept_columns else ""
    return Table(
        name=f"{run.slug}_folds",
        title="Folds",
        note="Per cent. A fold's interval redraws its test subjects (bootstrap); the last row counts all test "
        f"subjects and samples, its interval: {interval_method(result)}.{kept}",
        columns=columns,
        rows=tuple(rows),
    )


def _kept_epoch_columns(result: ExperimentResult) -> tuple[Column, ...]:
    """None where every fold kept its last epoch."""
    monitors = [fold.epoch_choice.monitor for fold in result.folds if fold.epoch_choice is not None]
    if not monitors:
        return ()
    if monitors[0] == "accuracy":
        value = Column(key="validation_accuracy", title="Validation accuracy", kind="percent")
    else:
        value = Column(key="validation_loss", title="Validation loss")
    return (
        Column(key="kept_epoch", title="Kept epoch", kind="count"),
        Column(key="epochs", title="Epochs", kind="count"),
        value,
    )


def _kept_epoch_cells(fold: FoldResult) -> tuple[Cell, ...]:
    choice = fold.epoch_choice
    if choice is None:
        return (Missing(reason="the last"),) * 3
    value = choice.value if choice.monitor == "accuracy" else f"{choice.value:.4g}"
    return choice.epoch + 1, choice.num_epochs, value


def classes_table(run: Run) -> Table:
    """One row per class."""
    result, summary = run.result, run.result.summary
    counts = np.asarray(summary.confusion_matrix, dtype=np.int64)
    angles = result.view_angles_deg
    columns = (
        Column(key="class", title="Class"),
        Column(key="data", title="Data"),
        Column(key="test_samples", title="Test samples", kind="count"),
        Column(key="precision", title="Precision", kind="percent"),
        Column(key="recall", title="Recall", kind="percent"),
        Column(key="f1", title="F1", kind="percent"),
        Column(key="f1_std", title="Std over folds", kind="percent"),
        *(Column(key=f"f1_view_{a:g}", title=f"F1, view {angle_text(a)}", kind="percent") for a in angles),
    )
    view_f1 = {
        angle: np.mean([class_f1(fold.single_view_confusion[angle]) for fold in result.folds], axis=0)
        for angle in angles
    }
    rows: list[tuple[Cell, ...]] = []
    for index, name in enumerate(result.classes):
        hits, said, there = int(counts[index, index]), int(counts[:, index].sum()), int(counts[index].sum())
        f1 = summary.per_class_f1[name]
        rows.append(
            (
                name,
                run.data,
                there,
                hits / said if said else Missing(reason="never predicted"),
                hits / there if there else Missing(reason="not tested"),
                f1.mean,
                _ONE_FOLD if f1.std is None else f1.std,
                *(float(view_f1[angle][index]) for angle in angles),
            )
        )
    return Table(
        name=f"{run.slug}_classes",
        title="Classes",
        note="Per cent. Precision and recall from the pooled confusion matrix; F1 is the mean over folds.",
        columns=columns,
        rows=tuple(rows),
    )


def settings_table(run: Run) -> Table:
    """The resolved settings, one row per leaf."""
    rows = tuple(setting_leaves(run.result.settings))
    return Table(
        name=f"{run.slug}_settings",
        title="Settings",
        note="The resolved configuration of the run.",
        columns=(Column(key="setting", title="Setting"), Column(key="value", title="Value")),
        rows=rows,
    )


def setting_leaves(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """Dotted name and text of every leaf of a resolved configuration."""
    return list(_leaves(settings, ""))


def _leaves(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _leaves(value[key], f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and value and all(not isinstance(item, dict | list) for item in value):
        yield place, ", ".join(_scalar(item) for item in value)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{place}[{index}]")
    elif place:
        yield place, _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value in ({}, []):
        return "none"
    return '""' if value == "" else str(value)
