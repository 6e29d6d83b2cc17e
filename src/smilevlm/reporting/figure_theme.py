"""How figures look, and how they are saved: colours, sizes, axes, and each figure for light and for dark pages.

The colours are the Okabe-Ito palette, which colour-blind readers and grey printers keep apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from smilevlm.reporting.table import angle_text
from smilevlm.results import FoldResult

Style = Any
"""Keyword arguments that matplotlib gets."""
DASHED = (0, (4, 3))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours on one kind of page."""

    name: str
    background: str
    text: str
    muted: str
    grid: str
    empty: str
    blue: str
    sky: str
    green: str
    orange: str
    pink: str = "#CC79A7"

    @property
    def lines(self) -> tuple[str, ...]:
        """For lines that need no name of their own."""
        return (self.blue, self.orange, self.green, self.pink, self.sky, "#E69F00", self.muted)


LIGHT = Theme(
    name="light",
    background="#ffffff",
    text="#1d2129",
    muted="#6b7280",
    grid="#e4e6ea",
    empty="#eceef1",
    blue="#0072B2",
    sky="#56B4E9",
    green="#009E73",
    orange="#D55E00",
)
DARK = Theme(
    name="dark",
    background="#16191f",
    text="#e6e8ec",
    muted="#9aa2ae",
    grid="#2c313a",
    empty="#262b33",
    blue="#4BA3DB",
    sky="#8CCBF0",
    green="#2FBF95",
    orange="#EE8A45",
)


@dataclass(frozen=True, kw_only=True)
class FigureImage:
    """A finished figure.

    Attributes:
        name: File name without the ending.
        alt: What a reader who cannot see it should know.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg_light: bytes
    svg_dark: bytes
    png: bytes


@dataclass(frozen=True, kw_only=True)
class NoFigure:
    """A figure that cannot be drawn, and why."""

    title: str
    reason: str


def render_figure(name: str, title: str, caption: str, alt: str, draw: Callable[[Theme], Figure]) -> FigureImage:
    """A figure as SVG for light and dark pages, and as PNG; the same bytes for the same data.

    Args:
        name: File name without the ending.
        title: Above it on the page.
        caption: How to read it.
        alt: What a reader who cannot see it should know.
        draw: Called once per theme and format, under matplotlib settings of the theme.
    """

    def save(theme: Theme, file_format: str) -> bytes:
        with matplotlib.rc_context(_settings(theme)):
            figure = draw(theme)
            FigureCanvasAgg(figure)
            buffer = io.BytesIO()
            metadata = {"Date": None, "Creator": None} if file_format == "svg" else {"Software": None}
            figure.savefig(buffer, format=file_format, dpi=200, transparent=theme is DARK, metadata=metadata)
        return buffer.getvalue()

    return FigureImage(
        name=name,
        title=title,
        caption=caption,
        alt=alt,
        svg_light=save(LIGHT, "svg"),
        svg_dark=save(DARK, "svg"),
        png=save(LIGHT, "png"),
    )


def _settings(theme: Theme) -> dict[Any, Any]:
    """Matplotlib's settings; the salt and the bundled font make the bytes of a figure a function of its data."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "svg.hashsalt": "smilevlm",
        "svg.fonttype": "path",
        "axes.axisbelow": True,
        "axes.edgecolor": theme.muted,
        "axes.facecolor": theme.background,
        "axes.labelcolor": theme.text,
        "axes.linewidth": 0.8,
        "axes.titlesize": 9.0,
        "figure.facecolor": theme.background,
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.labelcolor": theme.text,
        "lines.linewidth": 1.2,
        "text.color": theme.text,
        "xtick.color": theme.text,
        "ytick.color": theme.text,
    }


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches with one set of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def new_grid(
    width: float, height: float, num_panels: int, num_columns: int, **options: Style
) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches with panels, row by row; the rest of the last row stays empty."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(-(-num_panels // num_columns), num_columns, squeeze=False, **options)
    for axes in grid.flat[num_panels:]:
        axes.set_axis_off()
    return figure, list(grid.flat[:num_panels])


def finish(axes: Axes, spine: Literal["left", "bottom"], grid: Literal["x", "y", "both"]) -> None:
    """Grid lines, one spine and no tick marks."""
    axes.grid(axis=grid)
    bare(axes, spine)


def bare(axes: Axes, kept_spine: str = "") -> None:
    """At most one spine, and no tick marks."""
    for name, spine in axes.spines.items():
        spine.set_visible(name == kept_spine)
    axes.tick_params(length=0)


def rows_from_top(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a horizontal chart, the first one at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def slanted_names(axes: Axes, names: Sequence[str]) -> None:
    """Name the places of the x axis."""
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")


def reference_line(axes: Axes, theme: Theme, *, x: float | None = None, y: float | None = None) -> None:
    """A dashed line across the axes, such as chance."""
    style = {"color": theme.muted, "linestyle": DASHED, "linewidth": 1}
    if x is not None:
        axes.axvline(x, **style)
    if y is not None:
        axes.axhline(y, **style)


def note_beside(axes: Axes, text: str, x: float, y: float, distance: float, **options: Style) -> None:
    """A text some points to the right of a place."""
    axes.annotate(text, (x, y), (distance, 0), textcoords="offset points", va="center", **options)


def fold_marks(axes: Axes, x: Iterable[float], y: Iterable[float], marker: Literal["|", "_"], **style: Style) -> None:
    """Small marks, one per fold; a single fold needs none beside its mean."""
    if len(xs := list(x)) > 1:
        axes.plot(xs, list(y), marker, **style)


def heat_map(
    axes: Axes,
    values: Float[np.ndarray, "row column"],
    cells: Sequence[Sequence[tuple[str, str]]],
    label: str,
    highest: float | None,
    theme: Theme,
    *,
    around_zero: bool = False,
) -> None:
    """Draw values as colours, with one or two lines of text per cell; NaN stays empty.

    Args:
        axes: Where; its figure gets the colour bar.
        values: (row, column).
        cells: Texts per cell: the second is smaller and may be empty.
        label: Of the colour bar.
        highest: Value of the last colour; None for the largest one.
        theme: Colours.
        around_zero: Colours from -highest (red) over 0 (white) to highest (blue), instead of from 0 up.
    """
    top = float(np.nanmax(np.abs(values))) if highest is None else highest
    axes.set_facecolor(theme.empty)
    cmap, low = ("RdBu", -top) if around_zero else ("cividis", 0.0)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=cmap, vmin=low, vmax=top, aspect="auto")
    for row, column in np.ndindex(values.shape):
        first, second = cells[row][column]
        value = values[row, column]
        dark = abs(value) > 0.6 * top if around_zero else value < 0.55 * top
        colour = theme.text if np.isnan(value) else "#ffffff" if dark else "#101010"
        axes.text(column, row - (0.13 if second else 0), first, ha="center", va="center", color=colour, fontsize=9)
        if second:
            axes.text(column, row + 0.22, second, ha="center", va="center", color=colour, fontsize=7)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03, label=label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]  # a Spine, typed as a plain artist
    bare(axes)


def confusion_figure(
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
    figure, axes = new_axes(side + 0.7, side - 0.3)
    cells = [
        [(f"{100 * share:.0f}" if total else "not tested", f"{count:.0f}") for share, count in zip(*row, strict=True)]
        for *row, total in zip(shares, counts, totals, strict=True)
    ]
    heat_map(axes, 100 * shares, cells, "% of the true class", 100.0, theme)
    slanted_names(axes, classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True" + (" (synthetic faces)" if synthetic else ""))
    return figure


def weights_by_class(
    folds: Sequence[FoldResult], classes: Sequence[str], angles_deg: Sequence[float]
) -> Float[np.ndarray, "class view"]:
    """Mean fusion weight over folds of each view for each true class; NaN where a class was never tested."""
    weights = np.full((len(classes), len(angles_deg)), np.nan)
    for row, name in enumerate(classes):
        found = [fold.view_weights_by_class[name] for fold in folds if name in fold.view_weights_by_class]
        if found:
            weights[row] = [np.mean([by_angle[angle] for by_angle in found]) for angle in angles_deg]
    return weights


def weights_heat_map(
    axes: Axes,
    weights: Float[np.ndarray, "class view"],
    classes: Sequence[str],
    angles_deg: Sequence[float],
    theme: Theme,
    highest: float | None = None,
) -> None:
    """Draw `weights_by_class`."""
    cells = [[("not tested" if np.isnan(weight) else f"{weight:.2f}", "") for weight in row] for row in weights]
    heat_map(axes, weights, cells, "Mean weight", highest, theme)
    axes.set_xticks(range(len(angles_deg)), [angle_text(angle) for angle in angles_deg])
    axes.set_yticks(range(len(classes)), classes)
