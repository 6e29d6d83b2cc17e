"""The figures of a report on runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from smilevlm.reporting.figure_theme import (
    FigureImage,
    NoFigure,
    Theme,
    confusion_figure,
    finish,
    fold_marks,
    new_axes,
    new_grid,
    note_beside,
    reference_line,
    render_figure,
    rows_from_top,
    weights_by_class,
    weights_heat_map,
)
from smilevlm.reporting.source import LOSSES, VALIDATION_COLUMNS, Run
from smilevlm.reporting.table import angle_text
from smilevlm.results import Interval

MAX_POINTS = 150
_LINE_STYLES = ("-", "--", ":")


def run_figures(run: Run) -> list[FigureImage | NoFigure]:
    """Every figure of a run, in the order of the page."""
    result, summary = run.result, run.summary
    data = "synthetic faces" if result.synthetic else result.layout
    weakest = min(summary.per_class_f1, key=lambda name: summary.per_class_f1[name].mean)
    weights = ", ".join(f"{angle_text(angle)} {weight:.2f}" for angle, weight in summary.view_weights.items())

    def render(kind: str, title: str, caption: str, alt: str, draw: Callable[[Run, Theme], Figure]) -> FigureImage:
        return render_figure(f"{run.slug}_{kind}", title, caption, alt, lambda theme: draw(run, theme))

    figures: list[FigureImage | NoFigure] = [
        render(
            "methods",
            "What decides, and how well",
            "Bold mark: mean over folds, with its 95 % interval. Small marks: the folds. Dashed: chance.",
            f"Accuracy on {data}: {100 * summary.accuracy.mean:.1f} per cent with learned fusion, "
            f"{100 * summary.mean_fusion_accuracy.mean:.1f} with the plain mean of the views.",
            draw_methods,
        ),
        render(
            "confusion",
            "Confusion matrix",
            "All folds pooled. Colour and upper number: per cent of the row; lower number: samples.",
            f"Confusion matrix of {len(result.classes)} classes on {data}; the numbers are in the table of classes.",
            draw_confusion,
        ),
        render(
            "class_f1",
            "F1 of each class",
            "Bar: mean over folds. Marks: the folds.",
            f"F1 of each class on {data}; lowest for {weakest}.",
            draw_class_f1,
        ),
        render(
            "view_weights",
            "What the fusion looks at",
            "Mean fusion weight of each view; left over all test samples (marks: the folds), right by true class.",
            f"Mean fusion weights on {data}: {weights}.",
            draw_view_weights,
        ),
    ]
    if not run.logs:
        return [*figures, NoFigure(title="Training", reason="The result file names no training log.")]
    without_log = [str(fold.fold + 1) for fold in result.folds if fold.fold not in run.logs]
    training = render(
        "training",
        "Training",
        "One line per fold; each point is the mean of the steps around it, in at most 150 points."
        + (f" No log for fold {', '.join(without_log)}." if without_log else ""),
        f"Training losses of {len(run.logs)} folds over the optimisation steps.",
        draw_losses,
    )
    return [*figures, training]


def draw_methods(run: Run, theme: Theme) -> Figure:
    """Accuracy of the fusion, the plain mean, each view and each control."""
    result, summary = run.result, run.summary
    mean_fusion = summary.mean_fusion_accuracy
    rows: list[tuple[str, float, Interval | None, list[float], str]] = [
        ("Learned fusion", summary.accuracy.mean, run.fused_interval, [f.accuracy for f in result.folds], theme.blue),
        (
            "Plain mean",
            mean_fusion.mean,
            mean_fusion.interval,
            [fold.mean_fusion_accuracy for fold in result.folds],
            theme.green,
        ),
    ]
    for angle, spread in summary.single_view_accuracy.items():
        folds = [fold.single_view_accuracy[angle] for fold in result.folds]
        rows.append((f"View {angle_text(angle)}", spread.mean, spread.interval, folds, theme.sky))
    for control in result.controls:
        spread, folds = control.summary.accuracy, [fold.accuracy for fold in control.folds]
        rows.append((f"Control: {control.name}", spread.mean, spread.interval, folds, theme.orange))
    figure, axes = new_axes(7.2, 0.8 + 0.42 * len(rows))
    for height, (_, mean, interval, folds, colour) in enumerate(rows):
        fold_marks(axes, 100 * np.array(folds), [height] * len(folds), "|", color=colour, alpha=0.55, markersize=9)
        if interval is not None:
            axes.plot(100 * np.array(interval), [height, height], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([100 * mean], [height], "o", color=colour, markersize=7.5)
        note_beside(axes, f"{100 * mean:.1f}", 100 * max(mean, *folds, *(interval or (0.0,))), height, 7)
    reference_line(axes, theme, x=100 / len(result.classes))
    rows_from_top(axes, [row[0] for row in rows])
    axes.set_xlim(0, 106)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("Accuracy (%)" + (", synthetic faces" if result.synthetic else ""))
    finish(axes, "left", "x")
    return figure


def draw_confusion(run: Run, theme: Theme) -> Figure:
    """Row-normalised, with counts in the cells."""
    counts = np.asarray(run.summary.confusion_matrix)
    return confusion_figure(run.result.classes, counts, synthetic=run.result.synthetic, theme=theme)


def draw_class_f1(run: Run, theme: Theme) -> Figure:
    """One bar per class."""
    result = run.result
    figure, axes = new_axes(5.6, 0.9 + 0.38 * len(result.classes))
    for height, name in enumerate(result.classes):
        mean = 100 * run.summary.per_class_f1[name].mean
        folds = [100 * fold.per_class_f1[name] for fold in result.folds]
        axes.barh(height, mean, height=0.62, color=theme.blue)
        fold_marks(axes, folds, [height] * len(folds), "|", color=theme.text, alpha=0.7, markersize=8)
        note_beside(axes, f"{mean:.1f}", max(mean, *folds), height, 6)
    rows_from_top(axes, result.classes)
    axes.set_xlim(0, 110)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("F1 (%)" + (", synthetic faces" if result.synthetic else ""))
    finish(axes, "left", "x")
    return figure


def draw_view_weights(run: Run, theme: Theme) -> Figure:
    """Weights over all samples, and by true class."""
    result, angles = run.result, run.result.view_angles_deg
    height = max(2.6, 1.1 + 0.36 * len(result.classes))
    figure, (left, right) = new_grid(7.2, height, 2, 2, width_ratios=(1.0, 1.15))
    for position, angle in enumerate(angles):
        weight, folds = run.summary.view_weights[angle], [fold.view_weights[angle] for fold in result.folds]
        left.bar(position, weight, width=0.62, color=theme.blue)
        fold_marks(left, [position] * len(folds), folds, "_", color=theme.text, alpha=0.7, markersize=9)
        top = (position, max(weight, *folds))
        left.annotate(f"{weight:.2f}", top, (0, 5), textcoords="offset points", ha="center")
    reference_line(left, theme, y=1 / len(angles))
    left.set_xticks(range(len(angles)), [angle_text(angle) for angle in angles])
    left.set_ylim(0, 1.25 * max(fold.view_weights[angle] for fold in result.folds for angle in angles))
    left.set_xlabel("View")
    left.set_ylabel("Mean weight (dashed: equal)")
    finish(left, "bottom", "y")
    weights_heat_map(right, weights_by_class(result.folds, result.classes, angles), result.classes, angles, theme)
    right.set_xlabel("View")
    return figure


def draw_losses(run: Run, theme: Theme) -> Figure:
    """One panel per loss, and one for what the validation subjects are measured by where a log has it."""
    panels = dict(LOSSES)
    for column, title in VALIDATION_COLUMNS.items():
        if any(column in log.columns for log in run.logs.values()):
            panels[column] = title
    figure, grid = new_grid(7.2, 0.4 + 1.95 * ((len(panels) + 1) // 2), len(panels), 2)
    for axes, (column, title) in zip(grid, panels.items(), strict=True):
        drawn = []
        for number, (fold, log) in enumerate(sorted(run.logs.items())):
            values = log.columns.get(column)
            if values is None or not np.isfinite(values).any():
                continue
            steps, means = binned(log.steps, values, MAX_POINTS)
            scale = 100.0 if column == "validation_accuracy" else 1.0
            style: dict[str, Any] = {"marker": "o", "markersize": 2.5} if len(steps) < 25 else {}
            turn, colour = divmod(number, len(theme.lines))
            style["linestyle"] = _LINE_STYLES[turn % len(_LINE_STYLES)]
            axes.plot(steps, scale * means, color=theme.lines[colour], label=f"{fold + 1}", **style)
            drawn.append(means)
        if not drawn:
            axes.text(0.5, 0.5, "no values in the log", ha="center", va="center", transform=axes.transAxes)
            axes.set_yticks([])
        elif column not in VALIDATION_COLUMNS and _wide(np.concatenate(drawn)):
            # Barlow Twins starts orders of magnitude above where it ends.
            axes.set_yscale("log")
        axes.set_title(title, loc="left", color=theme.text)
        finish(axes, "bottom", "y")
    for axes in grid[-2 + len(grid) % 2 :]:
        axes.set_xlabel("Step")
    handles, labels = grid[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, title="Fold", loc="outside right upper", fontsize=8)
    return figure


def binned(
    steps: Float[np.ndarray, " row"], values: Float[np.ndarray, " row"], max_points: int
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Means of neighbouring rows, so that a million steps make a small picture; empty cells are left out."""
    kept = np.isfinite(values)
    count = min(max_points, int(kept.sum()))
    step_bins, value_bins = np.array_split(steps[kept], count), np.array_split(values[kept], count)
    return np.array([bin_.mean() for bin_ in step_bins]), np.array([bin_.mean() for bin_ in value_bins])


def _wide(values: np.ndarray) -> bool:
    return bool(values.min() > 0 and values.max() > 30 * values.min())
