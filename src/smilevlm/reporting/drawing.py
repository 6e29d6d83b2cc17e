"""What every figure shares: drawn twice, for light and dark pages, with the same bytes for the same data."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from smilevlm.reporting.theme import DARK, LIGHT, Theme, settings


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
    """A figure as SVG for light and dark pages, and as PNG.

    Args:
        name: File name without the ending.
        title: Above it on the page.
        caption: How to read it.
        alt: What a reader who cannot see it should know.
        draw: Called once per theme and format, under matplotlib settings of the theme.
    """

    def save(theme: Theme, file_format: str) -> bytes:
        with matplotlib.rc_context(settings(theme)):
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


def heat_map(
    axes: Axes,
    figure: Figure,
    values: np.ndarray,
    cells: Sequence[Sequence[tuple[str, str]]],
    label: str,
    highest: float | None,
    theme: Theme,
    *,
    around_zero: bool = False,
) -> None:
    """Draw values as colours, with one or two lines of text per cell; NaN stays empty.

    Args:
        axes: Where.
        figure: Gets the colour bar.
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
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03, label=label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]  # a Spine, typed as a plain artist
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
