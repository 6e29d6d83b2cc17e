"""Training curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from smilevlm.reporting.source import LOSSES, VALIDATION_COLUMNS, Run
from smilevlm.reporting.theme import Theme, bare

MAX_POINTS = 150
_LINE_STYLES = ("-", "--", ":")


def draw_losses(run: Run, theme: Theme) -> Figure:
    """One panel per loss, and one for what the validation subjects are measured by where a log has it."""
    panels = dict(LOSSES)
    for column, title in VALIDATION_COLUMNS.items():
        if any(column in log.columns for log in run.logs.values()):
            panels[column] = title
    num_rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(7.2, 0.4 + 1.95 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, 2, squeeze=False)
    for axes, (column, title) in zip(grid.flat, panels.items(), strict=False):
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
        axes.grid(axis="y", color=theme.grid)
        bare(axes, "bottom")
    for axes in grid[-1]:
        axes.set_xlabel("Step")
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(
            handles, labels, title="Fold", loc="outside right upper", frameon=False, fontsize=8, labelcolor=theme.text
        )
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
