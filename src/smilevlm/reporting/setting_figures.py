"""Figures of the full method, setting by setting: confusion, calibration, intensity, view weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from smilevlm.reporting.figure_theme import (
    MARKERS,
    FigureImage,
    NoFigure,
    Theme,
    confusion_figure,
    finish,
    new_axes,
    new_grid,
    render_figure,
    weights_by_class,
    weights_heat_map,
)
from smilevlm.reporting.study_source import LoadedStudy, RunGroup
from smilevlm.reporting.study_statistics import sum_counts
from smilevlm.results import CalibrationBin, FoldResult

_COLUMNS = 3


def setting_figures(study: LoadedStudy) -> list[FigureImage | NoFigure]:
    """Calibration, intensity and view weights over all settings, then a confusion matrix for each."""
    groups = [study.group(each.name, "full") for each in study.study.settings]
    groups = [group for group in groups if group.runs]
    if not groups:
        return [NoFigure(title="Figures by setting", reason="The study has no run of the full method.")]
    faces = ", synthetic faces" if study.study.synthetic else ""
    return [
        render_figure(
            "reliability",
            f"Confidence and accuracy{faces}",
            "Test samples of all units of the full method by their highest probability; the area of a mark is the "
            "number of samples. Dashed: as sure as right. Below it: too sure.",
            f"Reliability diagrams of {len(groups)} settings{faces}; the errors are in the table of calibration.",
            lambda theme: _draw_reliability(study, groups, faces, theme),
        ),
        _levels_figure(study, groups, faces),
        render_figure(
            "view_weights",
            f"What the fusion looks at{faces}",
            "Mean fusion weight of each view by true class, mean over units of the full method.",
            f"Fusion weights by class in {len(groups)} settings{faces}.",
            lambda theme: _draw_weights(study, groups, faces, theme),
        ),
        *(_confusion_figure(study, group) for group in groups),
    ]


def pooled_bins(folds: Sequence[FoldResult]) -> list[CalibrationBin]:
    """Bins of several units put together, weighted by their counts; empty ones are left out."""
    by_low: dict[float, list[CalibrationBin]] = defaultdict(list)
    for fold in folds:
        for each in fold.calibration.bins:
            by_low[each.low].append(each)
    pooled = []
    for low in sorted(by_low):
        count = sum(each.count for each in by_low[low])
        if count:
            confidence = sum(each.count * each.confidence for each in by_low[low]) / count
            accuracy = sum(each.count * each.accuracy for each in by_low[low]) / count
            pooled.append(CalibrationBin(low=low, count=count, confidence=confidence, accuracy=accuracy))
    return pooled


def pooled_levels(folds: Sequence[FoldResult]) -> dict[int, tuple[int, int]]:
    """Intensity to (correct, tested) over units, by intensity."""
    return sum_counts(fold.by_level for fold in folds)


def _draw_reliability(study: LoadedStudy, groups: Sequence[RunGroup], faces: str, theme: Theme) -> Figure:
    num_rows = -(-len(groups) // _COLUMNS)
    figure, grid = new_grid(9.0, 0.3 + 2.75 * num_rows, len(groups), _COLUMNS)
    for axes, group in zip(grid, groups, strict=True):
        bins = pooled_bins(group.folds)
        counts = np.array([each.count for each in bins], dtype=np.float64)
        x, y = ([100 * getattr(each, name) for each in bins] for name in ("confidence", "accuracy"))
        axes.plot([0, 100], [0, 100], "--", color=theme.muted, linewidth=1)
        axes.plot(x, y, color=theme.blue, linewidth=1.0)
        axes.scatter(x, y, s=8 + 130 * counts / max(1.0, counts.max(initial=0.0)), color=theme.blue, alpha=0.75)
        axes.set_title(study.title(group.setting), loc="left", color=theme.text)
        axes.set_xlim(0, 103)
        axes.set_ylim(-3, 105)
        axes.set_xticks(range(0, 101, 25))
        axes.set_yticks(range(0, 101, 25))
        finish(axes, "bottom", "both")
    figure.supxlabel("Highest probability (%)" + faces, color=theme.text, fontsize=9)
    figure.supylabel("Accuracy (%)", color=theme.text, fontsize=9)
    return figure


def _levels_figure(study: LoadedStudy, groups: Sequence[RunGroup], faces: str) -> FigureImage | NoFigure:
    title = f"Accuracy by intensity of the expression{faces}"
    levels = {group.setting: pooled_levels(group.folds) for group in groups}
    levels = {name: counts for name, counts in levels.items() if len(counts) > 1}
    if not levels:
        return NoFigure(title=title, reason="No setting of the study has more than one intensity.")
    texts = [
        f"{study.title(name)} "
        + ", ".join(f"level {level} {100 * hit / tested:.1f}" for level, (hit, tested) in counts.items())
        for name, counts in levels.items()
    ]
    return render_figure(
        "intensity",
        title,
        "Accuracy of the full method with prompts, over all test samples of an intensity, all units together; the "
        "numbers are test samples.",
        f"Accuracy in per cent by intensity{faces}: {'; '.join(texts)}.",
        lambda theme: _draw_levels(study, levels, theme),
    )


def _draw_levels(study: LoadedStudy, levels: dict[str, dict[int, tuple[int, int]]], theme: Theme) -> Figure:
    figure, axes = new_axes(6.4, 3.6)
    for number, (setting, counts) in enumerate(levels.items()):
        shares = [100 * hit / tested for hit, tested in counts.values()]
        marker, colour = MARKERS[number % 6], theme.lines[number % len(theme.lines)]
        label = f"{study.title(setting)} (n = {', '.join(str(tested) for _, tested in counts.values())})"
        axes.plot(list(counts), shares, marker=marker, color=colour, label=label)
    axes.set_xticks(sorted({level for counts in levels.values() for level in counts}))
    axes.margins(x=0.08)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("Intensity")
    axes.set_ylabel("Accuracy (%)" + (", synthetic faces" if study.study.synthetic else ""))
    finish(axes, "bottom", "y")
    axes.legend(loc="lower right")
    return figure


def _draw_weights(study: LoadedStudy, groups: Sequence[RunGroup], faces: str, theme: Theme) -> Figure:
    num_rows = -(-len(groups) // _COLUMNS)
    most = max(len(group.results[0].classes) for group in groups)
    figure, grid = new_grid(10.2, (0.9 + 0.3 * most) * num_rows, len(groups), _COLUMNS)
    results = [group.results[0] for group in groups]
    tables = [
        weights_by_class(group.folds, result.classes, result.view_angles_deg)
        for group, result in zip(groups, results, strict=True)
    ]
    highest = float(np.nanmax([np.nanmax(weights) for weights in tables]))
    for axes, group, result, weights in zip(grid, groups, results, tables, strict=True):
        weights_heat_map(axes, weights, result.classes, result.view_angles_deg, theme, highest)
        axes.set_title(fill(study.title(group.setting), 30), loc="left", color=theme.text)
    figure.supxlabel("View" + faces, color=theme.text, fontsize=9)
    return figure


def _confusion_figure(study: LoadedStudy, group: RunGroup) -> FigureImage:
    synthetic, classes = study.synthetic(group.setting), group.results[0].classes
    faces = ", synthetic faces" if synthetic else ""
    counts = np.sum([fold.confusion_matrix for fold in group.folds], axis=0)
    return render_figure(
        f"confusion_{group.setting}",
        f"Confusion matrix: {study.title(group.setting)}{faces}",
        "Full method with prompts, all units together. Colour and upper number: per cent of the row; lower: samples.",
        f"Confusion matrix of {len(classes)} classes{faces}.",
        lambda theme: confusion_figure(classes, counts, synthetic=synthetic, theme=theme),
    )
