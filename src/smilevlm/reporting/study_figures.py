"""Figures 2 and 3, and all views against each one, over the settings of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill, shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smilevlm.reporting.figure_theme import (
    FigureImage,
    NoFigure,
    Theme,
    finish,
    heat_map,
    new_axes,
    render_figure,
    rows_from_top,
)
from smilevlm.reporting.study_comparisons import Comparison, compare
from smilevlm.reporting.study_source import LoadedStudy
from smilevlm.reporting.study_statistics import FUSED, MEAN_FUSION, Pooled, Reading, chance, pooled, unit_scores
from smilevlm.reporting.table import Missing, angle_text, cell_text

_BARS = ("full", "without_multi_view", "without_alignment", "without_redundancy", "alignment_alone")
_HATCHES = ("", "///", "...", "xxx", "---")
_PAIRS = (
    ("full", "without_multi_view"),
    ("full", "without_alignment"),
    ("full", "without_redundancy"),
    ("full", "alignment_alone"),
    ("without_multi_view", "alignment_alone"),
    ("without_redundancy", "alignment_alone"),
)
_VIEW_MARKERS = ("<", "s", ">", "^", "v", "D")
_CAPTION = "Thin line: 95 % interval, Student t over units (seeds and folds), or over people where units give none."


def ablation_bars(study: LoadedStudy) -> FigureImage | NoFigure:
    """Fig. 2: accuracy with each loss removed, over the benchmark settings."""
    title = f"Fig. 2: ablation{_on(study)}"
    settings = study.benchmarks()
    if not any(study.group(setting, method).runs for setting in settings for method in _BARS):
        return NoFigure(title=title, reason="The study has no run of these settings and methods.")
    full = {
        name: pooled(u) for name in settings if isinstance(u := unit_scores(study.group(name, "full"), FUSED), list)
    }
    accuracies = ", ".join(f"{study.title(name)} {100 * score.mean:.1f}" for name, score in full.items())
    return render_figure(
        "fig2_ablation",
        title,
        f"Accuracy with prompts on unseen people, mean over units; dots: the units. {_CAPTION} Dashed: chance.",
        f"Bars of accuracy by setting and method{_on(study)}. Full method in per cent: {accuracies or 'no run'}. "
        "The numbers are in the table of the ablation.",
        lambda theme: _draw_ablation(study, settings, theme),
    )


def _draw_ablation(study: LoadedStudy, settings: Sequence[str], theme: Theme) -> Figure:
    figure, axes = new_axes(10.2, 4.4)
    colours = (theme.blue, theme.orange, theme.green, theme.sky, theme.pink)
    width = 0.84 / len(_BARS)
    for number, (method, hatch, colour) in enumerate(zip(_BARS, _HATCHES, colours, strict=True)):
        style = {"color": colour, "hatch": hatch, "edgecolor": theme.background, "linewidth": 0.0}
        # An empty bar carries the legend, whether or not any setting has the method.
        axes.bar([0.0], [0.0], width=width, label=study.method(method).title, **style)
        for place, setting in enumerate(settings):
            x = place + (number - (len(_BARS) - 1) / 2) * width
            units = unit_scores(study.group(setting, method), FUSED)
            if isinstance(units, Missing):
                text = shorten(units.reason, 44, placeholder=" …")
                axes.text(x, 2.0, text, rotation=90, ha="center", va="bottom", color=theme.muted, fontsize=6.5)
                continue
            score = pooled(units)
            axes.bar([x], [100 * score.mean], width=0.92 * width, **style)
            _mark_units(axes, x, score, [unit.accuracy for unit in units], theme)
    for place, setting in enumerate(settings):
        level = chance(study.results(setting))
        if isinstance(level, float):
            axes.plot([place - 0.45, place + 0.45], [100 * level] * 2, "--", color=theme.text, linewidth=1.0)
    axes.set_xticks(range(len(settings)), [fill(study.title(name), 18) for name in settings])
    axes.set_xlim(-0.5, len(settings) - 0.5)
    axes.set_ylim(0, 105)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("Accuracy with prompts (%)" + _faces(study))
    finish(axes, "bottom", "y")
    figure.legend(loc="outside upper center", ncols=3, handlelength=2.6)
    return figure


def _mark_units(axes: Axes, x: float, score: Pooled, values: Sequence[float], theme: Theme) -> None:
    interval = score.interval or score.subject_interval
    if interval is not None:
        axes.plot([x, x], 100 * np.array(interval), color=theme.text, linewidth=1.1)
    if len(values) > 1:
        axes.plot(
            [x] * len(values), 100 * np.array(values), "o", markersize=3.0, markerfacecolor=theme.background,
            markeredgecolor=theme.text, markeredgewidth=0.7,
        )  # fmt: skip


def gains_heat_map(study: LoadedStudy) -> FigureImage | NoFigure:
    """Fig. 3: accuracy gained between configurations."""
    title = f"Fig. 3: accuracy gained between configurations{_on(study)}"
    settings = study.benchmarks()
    pairs = [(name, (first, FUSED), (second, FUSED)) for first, second in _PAIRS for name in settings]
    comparisons: dict[tuple[str, str, str], Comparison] = {
        (each.first[0], each.second[0], each.setting): each for each in compare(study, pairs)
    }
    gains = [each.gain for each in comparisons.values() if not isinstance(each.gain, Missing)]
    if not gains:
        return NoFigure(title=title, reason="The study has no two of these configurations in any setting.")
    means = [gain.mean for gain in gains]
    return render_figure(
        "fig3_gains",
        title,
        "Percentage points of accuracy with prompts, first minus second, paired by unit; below, their standard "
        "deviation over units. Blue is a gain, red a loss; * is told from zero (corrected resampled t-test, Holm over "
        "the figure, 5 %).",
        f"Gains between configurations{_on(study)} from {cell_text(min(means), 'points')} to "
        f"{cell_text(max(means), 'points')} points; {sum(mean > 0 for mean in means)} of {len(means)} are positive.",
        lambda theme: _draw_gains(study, settings, comparisons, theme),
    )


def _draw_gains(
    study: LoadedStudy,
    settings: Sequence[str],
    comparisons: Mapping[tuple[str, str, str], Comparison],
    theme: Theme,
) -> Figure:
    values = np.full((len(_PAIRS), len(settings)), np.nan)
    cells: list[list[tuple[str, str]]] = []
    for row, pair in enumerate(_PAIRS):
        cells.append([])
        for column, setting in enumerate(settings):
            each = comparisons[*pair, setting]
            if isinstance(each.gain, Missing):
                cells[-1].append((fill(shorten(each.gain.reason, 44, placeholder=" …"), 16), ""))
                continue
            values[row, column] = 100 * each.gain.mean
            star = " *" if each.is_significant else ""
            spread = "one unit" if each.gain.std is None else f"± {100 * each.gain.std:.1f}"
            cells[-1].append((cell_text(each.gain.mean, "points") + star, spread))
    figure, axes = new_axes(10.2, 4.6)
    # At least one point wide, so that rounding does not fill the scale.
    highest = max(1.0, float(np.nanmax(np.abs(values))))
    label = "Percentage points" + _faces(study)
    heat_map(axes, values, cells, label, highest, theme, around_zero=True)
    axes.set_xticks(range(len(settings)), [fill(study.title(name), 12) for name in settings])
    names = [f"{study.method(first).title}\nminus {study.method(second).title}" for first, second in _PAIRS]
    axes.set_yticks(range(len(_PAIRS)), names)
    return figure


def views_dots(study: LoadedStudy) -> FigureImage | NoFigure:
    """All views fused, their plain mean, and each view alone, in every setting."""
    title = f"All views together and each one alone{_on(study)}"
    settings = [each.name for each in study.study.settings if study.group(each.name, "full").runs]
    if not settings:
        return NoFigure(title=title, reason="The study has no run of the full method.")
    return render_figure(
        "single_views",
        title,
        f"Accuracy of the full method with prompts, mean over units. {_CAPTION}",
        f"Accuracy of all views and of each view alone{_on(study)}; the numbers are in the table of single views.",
        lambda theme: _draw_views(study, settings, theme),
    )


def _draw_views(study: LoadedStudy, settings: Sequence[str], theme: Theme) -> Figure:
    angles = sorted({angle for name in settings for angle in study.results(name)[0].view_angles_deg})
    marks: list[tuple[Reading, str, str, str]] = [(FUSED, "All views, learned fusion", "o", theme.blue)]
    marks.append((MEAN_FUSION, "All views, plain mean", "d", theme.green))
    for number, angle in enumerate(angles):
        marks.append((angle, f"View {angle_text(angle)}", _VIEW_MARKERS[number % len(_VIEW_MARKERS)], theme.orange))
    figure, axes = new_axes(8.4, 1.4 + 0.52 * len(settings))
    for reading, label, marker, colour in marks:
        drawn_label: str | None = label
        for height, setting in enumerate(settings):
            units = unit_scores(study.group(setting, "full"), reading)
            if isinstance(units, Missing):
                continue
            score = pooled(units)
            fused = reading == FUSED
            if fused and (interval := score.interval or score.subject_interval) is not None:
                axes.plot(100 * np.array(interval), [height, height], color=colour, linewidth=1.6, zorder=1)
            axes.plot(
                [100 * score.mean], [height], marker, color=colour, label=drawn_label, linestyle="none",
                markersize=8.5 if fused else 7.0, markerfacecolor=colour if fused else "none", markeredgewidth=1.3,
            )  # fmt: skip
            drawn_label = None
    rows_from_top(axes, [study.title(name) for name in settings])
    axes.set_xlim(0, 102)
    axes.set_xlabel("Accuracy with prompts (%)" + _faces(study))
    finish(axes, "left", "both")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def study_figures(study: LoadedStudy) -> list[FigureImage | NoFigure]:
    """The figures over all settings that the study was asked for."""
    asked: Sequence[tuple[str, Callable[[LoadedStudy], FigureImage | NoFigure]]] = (
        ("fig2", ablation_bars),
        ("fig3", gains_heat_map),
    )
    return [draw(study) for target, draw in asked if target in study.study.targets] + [views_dots(study)]


def _on(study: LoadedStudy) -> str:
    return ", synthetic faces" if study.study.synthetic else ""


def _faces(study: LoadedStudy) -> str:
    return ",\nsynthetic faces" if study.study.synthetic else ""
