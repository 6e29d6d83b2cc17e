"""Colours of the figures: the Okabe-Ito palette, which colour-blind readers and grey printers keep apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes


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

    @property
    def lines(self) -> tuple[str, ...]:
        """For lines that need no name of their own."""
        return (self.blue, self.orange, self.green, "#CC79A7", self.sky, "#E69F00", self.muted)


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


def settings(theme: Theme) -> dict[Any, Any]:
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
        "grid.linewidth": 0.7,
        "lines.linewidth": 1.2,
        "text.color": theme.text,
        "xtick.color": theme.text,
        "ytick.color": theme.text,
    }


def bare(axes: Axes, kept_spine: str) -> None:
    """Leave one spine and no tick marks."""
    for name, spine in axes.spines.items():
        spine.set_visible(name == kept_spine)
    axes.tick_params(length=0)
