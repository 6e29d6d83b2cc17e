"""The figures of a report. Each is drawn twice, for light and for dark pages; the files on disk are the light ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure

from smilevlm.reporting.curves import draw_losses
from smilevlm.reporting.drawing import FigureImage, NoFigure, heat_map, render_figure
from smilevlm.reporting.source import Run
from smilevlm.reporting.tables import angle_text, fused_interval
from smilevlm.reporting.theme import Theme, bare
from smilevlm.results import Interval


def run_figures(run: Run) -> list[FigureImage | NoFigure]:
    """Every figure of a run, in the order of the page."""
    result, summary = run.result, run.result.summary
    data = "synthetic faces" if result.synthetic else result.layout
    weakest = min(summary.per_class_f1, key=lambda name: summary.per_class_f1[name].mean)
    weights = ", ".join(f"{angle_text(angle)} {weight:.2f}" for angle, weight in summary.view_weights.items())
    figures: list[FigureImage | NoFigure] = [
        _render(
            run,
            "methods",
            "What decides, and how well",
            "Bold mark: mean over folds, with its 95 % interval. Small marks: the folds. Dashed: chance.",
            f"Accuracy on {data}: {100 * summary.accuracy.mean:.1f} per cent with learned fusion, "
            f"{100 * summary.mean_fusion_accuracy.mean:.1f} with the plain mean of the views.",
            draw_methods,
        ),
        _render(
            run,
            "confusion",
            "Confusion matrix",
            "All folds pooled. Colour and upper number: per cent of the row; lower number: samples.",
            f"Confusion matrix of {len(result.classes)} classes on {data}; the numbers are in the table of classes.",
            draw_confusion,
        ),
        _render(
            run,
            "class_f1",
            "F1 of each class",
            "Bar: mean over folds. Marks: the folds.",
            f"F1 of each class on {data}; lowest for {weakest}.",
            draw_class_f1,
        ),
        _render(
            run,
            "view_weights",
            "What the fusion looks at",
            "Mean fusion weight of each view; left over all test samples (marks: the folds), right by true class.",
            f"Mean fusion weights on {data}: {weights}.",
            draw_view_weights,
        ),
    ]
    if not run.logs:
        figures.append(NoFigure(title="Training", reason="The result file names no training log."))
        return figures
    silent = [str(fold.fold + 1) for fold in result.folds if fold.fold not in run.logs]
    figures.append(
        _render(
            run,
            "training",
            "Training",
            "One line per fold; each point is the mean of the steps around it, in at most 150 points."
            + (f" No log for fold {', '.join(silent)}." if silent else ""),
            f"Training losses of {len(run.logs)} folds over the optimisation steps.",
            draw_losses,
        )
    )
    return figures


def draw_methods(run: Run, theme: Theme) -> Figure:
    """Accuracy of the fusion, the plain mean, each view and each control."""
    result, summary = run.result, run.result.summary
    rows: list[tuple[str, float, Interval | None, list[float], str]] = [
        (
            "Learned fusion",
            summary.accuracy.mean,
            fused_interval(result),
            [fold.accuracy for fold in result.folds],
            theme.blue,
        ),
        (
            "Plain mean",
            summary.mean_fusion_accuracy.mean,
            summary.mean_fusion_accuracy.interval,
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
    figure = Figure(figsize=(7.2, 0.8 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for height, (_, mean, interval, folds, colour) in enumerate(rows):
        if len(folds) > 1:
            axes.plot(100 * np.array(folds), [height] * len(folds), "|", color=colour, alpha=0.55, markersize=9)
        if interval is not None:
            axes.plot(100 * np.array(interval), [height, height], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([100 * mean], [height], "o", color=colour, markersize=7.5)
        right = 100 * max(mean, *folds, *(interval or (0.0,)))
        axes.annotate(f"{100 * mean:.1f}", (right, height), (7, 0), textcoords="offset points", va="center")
    axes.axvline(100 / len(result.classes), color=theme.muted, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 106)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("Accuracy (%)" + (", synthetic faces" if result.synthetic else ""))
    axes.grid(axis="x", color=theme.grid)
    bare(axes, "left")
    return figure


def draw_confusion(run: Run, theme: Theme) -> Figure:
    """Row-normalised, with counts in the cells."""
    counts = np.asarray(run.result.summary.confusion_matrix)
    return confusion_drawing(run.result.classes, counts, synthetic=run.result.synthetic, theme=theme)


def confusion_drawing(
    classes: Sequence[str], confusion: Int[np.ndarray, "class class"], *, synthetic: bool, theme: Theme
) -> Figure:
    """A confusion matrix, row-normalised, with counts in the cells.

    Args:
        classes: In the order of the matrix.
        confusion: Counts; rows are the truth.
        synthetic: Whether the faces are.
        theme: Colours.
    """
    counts = confusion.astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    side = 2.0 + 0.68 * len(classes)
    figure = Figure(figsize=(side + 0.7, side - 0.3), layout="constrained")
    axes = figure.add_subplot()
    cells = [
        [(_percent(shares[i, j]), f"{int(counts[i, j])}") for j in range(len(classes))] for i in range(len(classes))
    ]
    heat_map(axes, figure, 100 * shares, cells, "% of the true class", 100.0, theme)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True" + (" (synthetic faces)" if synthetic else ""))
    return figure


def draw_class_f1(run: Run, theme: Theme) -> Figure:
    """One bar per class."""
    result = run.result
    figure = Figure(figsize=(5.6, 0.9 + 0.38 * len(result.classes)), layout="constrained")
    axes = figure.add_subplot()
    for height, name in enumerate(result.classes):
        mean = 100 * result.summary.per_class_f1[name].mean
        folds = [100 * fold.per_class_f1[name] for fold in result.folds]
        axes.barh(height, mean, height=0.62, color=theme.blue)
        if len(folds) > 1:
            axes.plot(folds, [height] * len(folds), "|", color=theme.text, alpha=0.7, markersize=8)
        axes.annotate(f"{mean:.1f}", (max(mean, *folds), height), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(result.classes)), result.classes)
    axes.set_ylim(len(result.classes) - 0.4, -0.6)
    axes.set_xlim(0, 110)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("F1 (%)" + (", synthetic faces" if result.synthetic else ""))
    axes.grid(axis="x", color=theme.grid)
    bare(axes, "left")
    return figure


def draw_view_weights(run: Run, theme: Theme) -> Figure:
    """Weights over all samples, and by true class."""
    result, angles = run.result, run.result.view_angles_deg
    names = [angle_text(angle) for angle in angles]
    figure = Figure(figsize=(7.2, max(2.6, 1.1 + 0.36 * len(result.classes))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
    for position, angle in enumerate(angles):
        weight, folds = result.summary.view_weights[angle], [fold.view_weights[angle] for fold in result.folds]
        left.bar(position, weight, width=0.62, color=theme.blue)
        if len(folds) > 1:
            left.plot([position] * len(folds), folds, "_", color=theme.text, alpha=0.7, markersize=9)
        top = (position, max(weight, *folds))
        left.annotate(f"{weight:.2f}", top, (0, 5), textcoords="offset points", ha="center")
    left.axhline(1 / len(angles), color=theme.muted, linestyle=(0, (4, 3)), linewidth=1)
    left.set_xticks(range(len(angles)), names)
    left.set_ylim(0, 1.25 * max(fold.view_weights[angle] for fold in result.folds for angle in angles))
    left.set_xlabel("View")
    left.set_ylabel("Mean weight (dashed: equal)")
    left.grid(axis="y", color=theme.grid)
    bare(left, "bottom")

    weights = np.full((len(result.classes), len(angles)), np.nan)
    for row, name in enumerate(result.classes):
        found = [fold.view_weights_by_class[name] for fold in result.folds if name in fold.view_weights_by_class]
        if found:
            weights[row] = [np.mean([by_angle[angle] for by_angle in found]) for angle in angles]
    cells = [[("not tested" if np.isnan(w) else f"{w:.2f}", "") for w in row] for row in weights]
    heat_map(right, figure, weights, cells, "Mean weight", None, theme)
    right.set_xticks(range(len(angles)), names)
    right.set_yticks(range(len(result.classes)), result.classes)
    right.set_xlabel("View")
    return figure


def _percent(share: float) -> str:
    return "not tested" if np.isnan(share) else f"{100 * share:.0f}"


def _render(
    run: Run, kind: str, title: str, caption: str, alt: str, draw: Callable[[Run, Theme], Figure]
) -> FigureImage:
    return render_figure(f"{run.slug}_{kind}", title, caption, alt, lambda theme: draw(run, theme))
