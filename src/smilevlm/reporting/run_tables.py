"""The tables of a report on runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from smilevlm.reporting.pooled import MAJORITY, ORACLE, POOLED_COLUMNS, pooled_cells
from smilevlm.reporting.source import Run
from smilevlm.reporting.table import (
    Cell,
    Column,
    Kind,
    Missing,
    Table,
    angle_columns,
    angle_text,
    constant_column,
    table_of,
)
from smilevlm.results import (
    EpochChoice,
    ExperimentResult,
    FoldResult,
    FoldsSummary,
    Spread,
    class_f1,
    counts_from_confusion,
)

_ONE_FOLD = Missing(reason="one fold")
_ONE_SUBJECT = Missing(reason="one subject")


def best_view(summary: FoldsSummary) -> float:
    """The angle of the highest mean accuracy; among equals the first."""
    return max(summary.single_view_accuracy, key=lambda angle: summary.single_view_accuracy[angle].mean)


def interval_method(run: Run) -> str:
    """Where the run's `fused_interval` comes from."""
    if len(run.result.folds) > 1:
        return f"Student t over {len(run.result.folds)} folds"
    if run.fused_interval is not None:
        return "bootstrap over the subjects of one fold"
    return "none: one fold with one subject"


def overview_table(runs: Sequence[Run]) -> Table:
    """One row per run."""
    angles = sorted({angle for run in runs for angle in run.result.view_angles_deg})
    controls = list(dict.fromkeys(control.name for run in runs for control in run.result.controls))

    def view(run: Run, angle: float) -> float | None:
        found = run.summary.single_view_accuracy.get(angle)
        return None if found is None else found.mean

    def control_column(name: str) -> Column:
        def get(run: Run) -> float | None:
            return next((each.summary.accuracy.mean for each in run.result.controls if each.name == name), None)

        return Column(f"control_{name}", f"Control: {name}", "percent", get, "not run")

    columns = (
        Column("run", "Run", "text", "label"),
        Column("data", "Data"),
        Column("pairing", "Pairing", "text", "result.pairing_name"),
        Column("protocol", "Protocol", "text", "result.protocol"),
        Column("folds_run", "Folds", "count", "summary.num_folds_run"),
        Column("accuracy", "Fused", "percent", "summary.accuracy.mean"),
        Column("accuracy_interval", "95 % interval", "percent_interval", "fused_interval", "one subject"),
        Column("macro_f1", "Macro F1", "percent", "summary.macro_f1.mean"),
        Column("unweighted_average_recall", "UAR", "percent", "summary.unweighted_average_recall.mean"),
        Column("mean_fusion", "Mean fusion", "percent", "summary.mean_fusion_accuracy.mean"),
        Column("unseen_wordings", "Unseen wordings", "percent", _unseen_wordings, "not scored"),
        Column("best_single_view", "Best view", "percent", lambda run: view(run, best_view(run.summary))),
        *angle_columns(angles, view, missing="no such view"),
        *(control_column(name) for name in controls),
        Column("chance", "Chance", "percent", lambda run: 1.0 / len(run.result.classes)),
    )
    note = (
        "Accuracy in per cent, mean over folds, on unseen people. Unseen wordings: the fused embedding compared with a "
        "prompt set that the run never trained with (zero-shot). The best view is picked after seeing the test scores."
    )
    return table_of("overview", "All runs", note, columns, runs)


def _unseen_wordings(run: Run) -> float | None:
    found = run.summary.unseen_wordings_accuracy
    return None if found is None else found.mean


def methods_table(run: Run) -> Table:
    """What decides, and how well: the fusion, what it must beat, and what it must not be confused with."""
    return Table(
        name=f"{run.slug}_methods",
        title="Accuracy by what decides",
        note=f"Per cent; differences in percentage points. Interval of the fused accuracy: "
        f"{interval_method(run)}. Differences are paired by fold.",
        columns=(
            Column("decides", "What decides"),
            Column("data", "Data"),
            Column("pairing", "Pairing"),
            Column("accuracy", "Accuracy", "percent"),
            Column("std", "Std over folds", "percent"),
            Column("interval", "95 % interval", "percent_interval"),
            Column("gain", "Fused minus this", "points"),
            Column("gain_interval", "95 % interval, paired", "points_interval"),
        ),
        rows=tuple((name, run.data, run.result.pairing_name, *cells) for name, *cells in _method_rows(run)),
    )


def _method_rows(run: Run) -> Iterator[tuple[Cell, ...]]:
    result, summary, itself = run.result, run.summary, Missing(reason="itself")
    std = _ONE_FOLD if summary.accuracy.std is None else summary.accuracy.std
    yield (
        "All views, learned fusion",
        summary.accuracy.mean,
        std,
        run.fused_interval or _ONE_SUBJECT,
        itself,
        itself,
    )
    if summary.unseen_wordings_accuracy is not None:
        cells = _spread_cells(summary.unseen_wordings_accuracy)
        gain = summary.accuracy.mean - summary.unseen_wordings_accuracy.mean
        name = f"All views, unseen wordings (zero-shot): {result.unseen_prompt_set}"
        yield name, *cells, gain, Missing(reason="not computed")
    if summary.unseen_classes_accuracy is not None:
        name = f"Classes never trained (zero-shot): {', '.join(result.unseen_classes)}"
        yield name, summary.unseen_classes_accuracy, *[Missing(reason="other samples")] * 4
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
    chance, exact, fused = 1.0 / len(result.classes), Missing(reason="exact"), run.fused_interval
    yield (
        f"Chance, one of {len(result.classes)}",
        chance,
        exact,
        exact,
        summary.accuracy.mean - chance,
        _ONE_SUBJECT if fused is None else (fused[0] - chance, fused[1] - chance),
    )


def _spread_cells(spread: Spread) -> tuple[Cell, Cell, Cell]:
    return spread.mean, _ONE_FOLD if spread.std is None else spread.std, spread.interval or _ONE_FOLD


def _gain_cells(spread: Spread) -> tuple[Cell, Cell]:
    return spread.mean, spread.interval or _ONE_FOLD


def readouts_table(run: Run) -> Table:
    """Other ways to read classes from the same embeddings, and how well the probabilities are calibrated."""
    folds = run.result.folds
    readouts = {
        name: [fold.readouts[name] for fold in folds if name in fold.readouts]
        for name in dict.fromkeys(name for fold in folds for name in fold.readouts)
    }

    def score(key: str, title: str) -> Column:
        return Column(key, title, "percent", lambda name: float(np.mean([getattr(r, key) for r in readouts[name]])))

    def fitted_on(name: str) -> str:
        whose = "training" if run.result.folds[0].labelled_subjects is None else "labelled"
        return f"labels of the {whose} subjects" if readouts[name][0].supervision == "labels" else "nothing"

    error = float(np.mean([fold.calibration.expected_calibration_error for fold in folds]))
    return table_of(
        f"{run.slug}_readouts",
        "Other readouts",
        "Per cent, mean over folds, on the same test samples. Expected calibration error of the fused embedding's "
        f"probabilities: {100 * error:.1f} points.",
        (
            Column("readout", "Readout", "text", lambda name: name.replace("_", " ")),
            constant_column("data", "Data", run.data),
            Column("fitted_on", "Fitted on", "text", fitted_on),
            score("accuracy", "Accuracy"),
            score("macro_f1", "Macro F1"),
            score("unweighted_average_recall", "UAR"),
        ),
        readouts,
    )


def folds_table(run: Run) -> Table:
    """One row per fold, and their mean."""
    result, summary = run.result, run.result.summary
    columns = (
        Column("fold", f"Fold of {result.folds[0].num_folds}", "text", lambda fold: str(fold.fold + 1)),
        constant_column("data", "Data", run.data),
        Column("train_subjects", "Train subjects", "count", lambda fold: len(fold.train_subjects)),
        Column("validation_subjects", "Validation subjects", "count", lambda fold: len(fold.validation_subjects)),
        Column("test_subjects", "Test subjects", "count", lambda fold: len(fold.test_subjects)),
        Column("test_samples", "Test samples", "count", "num_test_samples"),
        Column("accuracy", "Accuracy", "percent"),
        Column("accuracy_interval", "95 % interval", "percent_interval", missing="one subject"),
        Column("macro_f1", "Macro F1", "percent"),
        Column("unweighted_average_recall", "UAR", "percent"),
        Column("mean_fusion", "Mean fusion", "percent", "mean_fusion_accuracy"),
        *angle_columns(result.view_angles_deg, lambda fold, angle: fold.single_view_accuracy[angle]),
        *(kept_columns := _kept_epoch_columns(result)),
    )
    kept = " The kept epoch, counted from 1, did best on the validation subjects." if kept_columns else ""
    note = (
        "Per cent. A fold's interval redraws its test subjects (bootstrap); the last row counts all test "
        f"subjects and samples, its interval: {interval_method(run)}.{kept}"
    )
    by_fold = table_of(f"{run.slug}_folds", "Folds", note, columns, result.folds)
    varies = Missing(reason="by fold")
    mean_row: tuple[Cell, ...] = (
        "Mean",
        run.data,
        varies,
        varies,
        sum(len(fold.test_subjects) for fold in result.folds),
        sum(fold.num_test_samples for fold in result.folds),
        summary.accuracy.mean,
        run.fused_interval or _ONE_SUBJECT,
        summary.macro_f1.mean,
        summary.unweighted_average_recall.mean,
        summary.mean_fusion_accuracy.mean,
        *(summary.single_view_accuracy[angle].mean for angle in result.view_angles_deg),
        *(varies for _ in kept_columns),
    )
    return replace(by_fold, rows=(*by_fold.rows, mean_row))


def _kept_epoch_columns(result: ExperimentResult) -> tuple[Column, ...]:
    """None where every fold kept its last epoch."""
    monitors = [fold.epoch_choice.monitor for fold in result.folds if fold.epoch_choice is not None]
    if not monitors:
        return ()

    def column(key: str, title: str, kind: Kind, get: Callable[[EpochChoice], Cell]) -> Column:
        def cell(fold: FoldResult) -> Cell | None:
            return None if fold.epoch_choice is None else get(fold.epoch_choice)

        return Column(key, title, kind, cell, "the last")

    if monitors[0] == "accuracy":
        value = column("validation_accuracy", "Validation accuracy", "percent", lambda choice: choice.value)
    else:
        value = column("validation_loss", "Validation loss", "text", lambda choice: f"{choice.value:.4g}")
    return (
        column("kept_epoch", "Kept epoch", "count", lambda choice: choice.epoch + 1),
        column("epochs", "Epochs", "count", lambda choice: choice.num_epochs),
        value,
    )


def classes_table(run: Run) -> Table:
    """One row per class; precision and recall from the pooled confusion matrix."""
    result, f1 = run.result, run.result.summary.per_class_f1
    counts = {
        name: counts_from_confusion(result.summary.confusion_matrix, index) for index, name in enumerate(result.classes)
    }
    view_f1 = {
        angle: np.mean([class_f1(fold.single_view_confusion[angle]) for fold in result.folds], axis=0).tolist()
        for angle in result.view_angles_deg
    }

    def share(name: str, others: str) -> float | None:
        hits = counts[name].true_positive
        return hits / total if (total := hits + getattr(counts[name], others)) else None

    def present(name: str) -> int:
        return counts[name].true_positive + counts[name].false_negative

    def f1_of_view(name: str, angle: float) -> float:
        return view_f1[angle][result.classes.index(name)]

    columns = (
        Column("class", "Class", "text", str),
        constant_column("data", "Data", run.data),
        Column("test_samples", "Test samples", "count", present),
        Column("precision", "Precision", "percent", lambda name: share(name, "false_positive"), "never predicted"),
        Column("recall", "Recall", "percent", lambda name: share(name, "false_negative"), "not tested"),
        Column("f1", "F1", "percent", lambda name: f1[name].mean),
        Column("f1_std", "Std over folds", "percent", lambda name: f1[name].std, "one fold"),
        *angle_columns(result.view_angles_deg, f1_of_view, key="f1_view", title="F1, view"),
    )
    note = "Per cent. Precision and recall from the pooled confusion matrix; F1 is the mean over folds."
    return table_of(f"{run.slug}_classes", "Classes", note, columns, result.classes)


def pooled_table(run: Run) -> Table:
    """UF1 and UAR of all folds' samples together: the model, what the true movement gives, and what costs nothing."""
    result, summary, not_scored = run.result, run.result.summary, Missing(reason="not scored")
    no_oracle = not_scored if result.synthetic else Missing(reason="true movement not known")
    scores = (
        ("All views, learned fusion", summary.pooled, not_scored),
        (ORACLE, None if result.oracle is None else result.oracle.pooled, no_oracle),
        (MAJORITY, summary.pooled_majority, not_scored),
    )
    return Table(
        name=f"{run.slug}_pooled",
        title="UF1 and UAR over all folds",
        note="Predictions of all folds together, then mean F1 and mean recall of the classes. Intervals: bootstrap "
        "over people.",
        columns=(Column("decides", "What decides"), Column("data", "Data"), *POOLED_COLUMNS),
        rows=tuple(
            (name, run.data, *(pooled_cells(score) if score else [missing] * len(POOLED_COLUMNS)))
            for name, score, missing in scores
        ),
    )


def settings_table(run: Run) -> Table:
    """The resolved settings, one row per leaf."""
    return Table(
        name=f"{run.slug}_settings",
        title="Settings",
        note="The resolved configuration of the run.",
        columns=(Column("setting", "Setting"), Column("value", "Value")),
        rows=tuple(setting_leaves(run.result.settings)),
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
