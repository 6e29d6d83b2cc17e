"""The figure of a study of the losses: every effect with its interval, beside the band in which effects are equal."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from smilevlm.reporting.figure_theme import (
    MARKERS,
    FigureImage,
    NoFigure,
    Theme,
    finish,
    new_grid,
    reference_line,
    render_figure,
    rows_from_top,
)
from smilevlm.reporting.loss_study_source import ACCURACIES, Effect, LoadedLossStudy

_SPREAD = 0.62
"""Height that the marks of one setting share."""


def effects_figure(study: LoadedLossStudy, effects: Sequence[Effect]) -> FigureImage | NoFigure:
    """One panel per loss, one row per setting, one mark per condition."""
    faces = ", synthetic faces" if study.study.synthetic else ""
    title = f"What each loss adds to accuracy{faces}"
    drawn = [each for each in effects if each.outcome in ACCURACIES[each.contrast.reading]]
    if not drawn:
        return NoFigure(title=title, reason="Fewer than two units have both sides of a contrast.")
    return render_figure(
        "loss_effects",
        title,
        "The method with a loss minus the one without it, in percentage points, with 95 % intervals over units. "
        f"Filled: told from zero after Holm's correction. The band is ±{100 * study.study.margin:g} points, within "
        "which effects count as equal.",
        f"Effects of the three losses{faces}; the numbers are in the table of effects.",
        lambda theme: _draw(study, drawn, theme),
    )


def _draw(study: LoadedLossStudy, effects: Sequence[Effect], theme: Theme) -> Figure:
    contrasts = [c for c in study.study.contrasts if any(each.contrast == c for each in effects)]
    settings = list(study.settings)
    outcomes = list(dict.fromkeys(each.outcome.title for each in effects))
    figure, panels = new_grid(
        2.2 + 2.9 * len(contrasts), 1.5 + 0.72 * len(settings), len(contrasts), len(contrasts), sharex=True, sharey=True
    )
    labelled: set[str] = set()
    for axes, contrast in zip(panels, contrasts, strict=True):
        axes.axvspan(-100 * study.study.margin, 100 * study.study.margin, color=theme.grid, zorder=0)
        reference_line(axes, theme, x=0)
        for each in (effect for effect in effects if effect.contrast == contrast):
            place = outcomes.index(each.outcome.title)
            height = settings.index(each.setting) + _SPREAD * ((place + 0.5) / len(outcomes) - 0.5)
            colour = theme.lines[place % len(theme.lines)]
            axes.plot([100 * end for end in each.test.interval], [height, height], color=colour, linewidth=1.4)
            axes.plot(
                [100 * each.test.mean], [height], MARKERS[place % len(MARKERS)], color=colour, linestyle="none",
                markersize=5.5, markerfacecolor=colour if each.is_told else theme.background,
                label=None if each.outcome.title in labelled else each.outcome.title,
            )  # fmt: skip
            labelled.add(each.outcome.title)
        axes.set_title(f"{contrast.title},\nread by {contrast.reading.replace('_', ' ')}")
        finish(axes, "left", "x")
    rows_from_top(panels[0], [study.settings[name].title for name in settings])
    faces = ",\nsynthetic faces" if study.study.synthetic else ""
    figure.supxlabel(f"Percentage points{faces}", fontsize=9)
    figure.legend(loc="outside upper center", ncols=min(5, len(outcomes)))
    return figure
