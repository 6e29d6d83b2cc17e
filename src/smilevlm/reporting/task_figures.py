"""Figures of the other tasks: ROC curves, identification by rank, equal error rate by pair of views, attacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from smilevlm.reporting.figure_theme import (
    DASHED,
    FigureImage,
    NoFigure,
    Theme,
    finish,
    heat_map,
    new_grid,
    note_beside,
    reference_line,
    render_figure,
    slanted_names,
)
from smilevlm.reporting.table import angle_text, data_text
from smilevlm.reporting.task_tables import FEATURES_TEXT
from smilevlm.results import (
    AntiSpoofingResult,
    AttackResult,
    IdentificationResult,
    TasksResult,
    VerificationResult,
)

_VIEW_PAIR = re.compile(r"view ([-+.\de]+) with view ([-+.\de]+)")


def task_figures(tasks: TasksResult, slug: str) -> list[FigureImage | NoFigure]:
    """Every figure of a `tasks.json`, in the order of the page.

    Args:
        tasks: What is drawn.
        slug: Begins the names of the files.
    """
    whole = [result for result in tasks.verification if view_pair(result) is None]
    across = [result for result in tasks.verification if view_pair(result) is not None]
    return [
        _roc(tasks, slug, whole) if whole else _none("Verification", tasks, "no pair of test scans was compared"),
        _cmc(tasks, slug) if tasks.identification else _none("Identification", tasks, "there were no probes"),
        _views(tasks, slug, across) if across else _none("Verification across views", tasks, "no views were compared"),
        _attacks(tasks, slug) if tasks.anti_spoofing else _none("Anti-spoofing", tasks, "it was left out"),
    ]


def view_pair(result: VerificationResult) -> tuple[float, float] | None:
    """The angles of the two views that a result compares; None where it compares whole samples."""
    match = _VIEW_PAIR.fullmatch(result.name)
    return None if match is None else (float(match[1]), float(match[2]))


def _data(tasks: TasksResult) -> str:
    return data_text(tasks.synthetic, tasks.layout)


def _none(title: str, tasks: TasksResult, reason: str) -> NoFigure:
    notes = f" {' '.join(tasks.notes)}" if tasks.notes else ""
    return NoFigure(title=f"{title}, {_data(tasks)}", reason=f"Nothing to draw: {reason}.{notes}")


def _roc(tasks: TasksResult, slug: str, results: Sequence[VerificationResult]) -> FigureImage:
    names = list(dict.fromkeys(result.name for result in results))

    def draw(theme: Theme) -> Figure:
        figure, panels = new_grid(3.9 * len(names), 3.5, len(names), len(names), sharey=True)
        for axes, name in zip(panels, names, strict=True):
            here = [result for result in results if result.name == name]
            lowest = min(1 / result.num_impostor for result in here)
            for result, colour in zip(here, theme.lines, strict=False):
                false = np.array([point.false_accept_rate for point in result.roc])
                true = np.array([point.true_accept_rate for point in result.roc])
                # What is accepted before the first impostor has no place on a logarithmic axis; its end is the rim.
                first = int(np.flatnonzero(false == 0)[-1])
                false, true = false[first:], true[first:]
                label = f"{FEATURES_TEXT[result.features]}, EER {100 * result.equal_error_rate:.1f} %"
                axes.plot(np.maximum(false, lowest), 100 * true, color=colour, label=label, drawstyle="steps-post")
            chance = np.geomspace(lowest, 1, 100)
            axes.plot(chance, 100 * chance, color=theme.muted, linestyle=DASHED, linewidth=1, label="Chance")
            axes.set_xscale("log")
            axes.set_xlim(lowest, 1)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
            axes.set_ylim(0, 101)
            axes.set_title(f"{name[:1].upper()}{name[1:]}")
            axes.set_xlabel(f"False accept rate (%), {_data(tasks)}")
            axes.legend(
                fontsize=7.5,
                loc="upper left",
                frameon=True,
                framealpha=0.85,
                edgecolor="none",
                facecolor=theme.background,
            )
            finish(axes, "bottom", "both")
        panels[0].set_ylabel("True accept rate (%)")
        return figure

    best = min(results, key=lambda result: result.equal_error_rate)
    return render_figure(
        f"{slug}_verification",
        f"Verification, {_data(tasks)}",
        "ROC curves on pairs of scans of the fold's test subjects; the false accept rate is logarithmic, from one "
        f"impostor pair up. {_people(tasks)}",
        f"ROC curves on {_data(tasks)}; the lowest equal error rate is {100 * best.equal_error_rate:.1f} per cent, "
        f"{best.name}, {FEATURES_TEXT[best.features]}.",
        draw,
    )


def _cmc(tasks: TasksResult, slug: str) -> FigureImage:
    results = tasks.identification

    def draw(theme: Theme) -> Figure:
        figure, (left, right) = new_grid(7.6, 3.4, 2, 2, width_ratios=(1.0, 1.15))
        longest = max(len(result.rank_rates) for result in results)
        for result, colour in zip(results, theme.lines, strict=False):
            ranks = np.arange(1, len(result.rank_rates) + 1)
            label = FEATURES_TEXT[result.features]
            left.plot(ranks, 100 * np.array(result.rank_rates), "o-", markersize=3.5, color=colour, label=label)
        chance = 100 * np.arange(1, longest + 1) / results[0].num_gallery
        left.plot(np.arange(1, longest + 1), chance, color=theme.muted, linestyle=DASHED, linewidth=1, label="Chance")
        left.set_xticks(range(1, longest + 1))
        left.set_ylim(0, 102)
        left.set_xlabel(f"Rank among {results[0].num_gallery} people")
        left.set_ylabel(f"Probes recognised (%), {_data(tasks)}")
        left.legend(fontsize=8, loc="lower right")
        finish(left, "bottom", "both")
        _by_expression(right, results, theme)
        return figure

    rates = ", ".join(f"{FEATURES_TEXT[result.features]} {100 * result.rank_rates[0]:.1f}" for result in results)
    return render_figure(
        f"{slug}_identification",
        f"Identification, {_data(tasks)}",
        "Left: share of probes whose person is among the nearest of the gallery. Right: first rank by the probe's "
        f"expression. {_people(tasks)}",
        f"Identification on {_data(tasks)}; first rank in per cent: {rates}.",
        draw,
    )


def _by_expression(axes: Axes, results: Sequence[IdentificationResult], theme: Theme) -> None:
    expressions = sorted({name for result in results for name in result.rank1_by_expression})
    width = 0.8 / len(results)
    for number, (result, colour) in enumerate(zip(results, theme.lines, strict=False)):
        for place, name in enumerate(expressions):
            hits, probes = result.rank1_by_expression.get(name, (0, 0))
            if probes:
                offset = (number - (len(results) - 1) / 2) * width
                axes.bar(place + offset, 100 * hits / probes, width=0.9 * width, color=colour)
    reference_line(axes, theme, y=100 / results[0].num_gallery)
    slanted_names(axes, expressions)
    axes.set_ylim(0, 102)
    axes.set_ylabel("First rank (%)")
    finish(axes, "bottom", "y")


def _views(tasks: TasksResult, slug: str, results: Sequence[VerificationResult]) -> FigureImage:
    features = list(dict.fromkeys(result.features for result in results))
    pairs = {(result.features, view_pair(result)): result for result in results}
    angles = sorted({angle for _, pair in pairs if pair is not None for angle in pair})
    highest = 100 * max(result.equal_error_rate for result in results)

    def draw(theme: Theme) -> Figure:
        figure, panels = new_grid(3.7 * len(features), 3.1, len(features), len(features))
        for axes, name in zip(panels, features, strict=True):
            values = np.full((len(angles), len(angles)), np.nan)
            cells = [[("", "") for _ in angles] for _ in angles]
            for row, column in np.ndindex(values.shape):
                pair = (angles[row], angles[column])
                result = pairs.get((name, pair)) or pairs.get((name, pair[::-1]))
                if result is None:
                    continue
                values[row, column] = 100 * result.equal_error_rate
                interval = result.equal_error_rate_interval
                second = "" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"
                cells[row][column] = (f"{values[row, column]:.1f}", second)
            heat_map(axes, values, cells, "Equal error rate (%)", highest, theme)
            axes.set_xticks(range(len(angles)), [angle_text(angle) for angle in angles])
            axes.set_yticks(range(len(angles)), [angle_text(angle) for angle in angles])
            axes.set_title(FEATURES_TEXT[name])
            axes.set_xlabel(f"View of the other scan, {_data(tasks)}")
            axes.set_ylabel("View of one scan")
        return figure

    return render_figure(
        f"{slug}_views",
        f"Verification across views, {_data(tasks)}",
        "Equal error rate between one view of a scan and one view of another scan, with its 95 % interval over "
        f"subjects; lower is better, 50 is chance. {_people(tasks)}",
        f"Equal error rates by pair of views on {_data(tasks)}; the numbers are in the table of verification.",
        draw,
    )


def _attacks(tasks: TasksResult, slug: str) -> FigureImage:
    parts = tasks.anti_spoofing

    def draw(theme: Theme) -> Figure:
        rows = max(len(part.attacks) for part in parts)
        size = (3.8 * len(parts) + 0.6, 1.3 + 0.42 * rows)
        figure, panels = new_grid(*size, len(parts), len(parts), sharey=True, sharex=True)
        for axes, part in zip(panels, parts, strict=True):
            for height, attack in enumerate(_ordered(part)):
                for shift, rate, colour in ((-0.19, attack.apcer, theme.orange), (0.19, attack.bpcer, theme.blue)):
                    axes.barh(height + shift, 100 * rate, height=0.34, color=colour)
                    note_beside(axes, f"{100 * rate:.1f}", 100 * rate, height + shift, 4, fontsize=7.5)
            axes.set_yticks(range(len(part.attacks)), [_attack_text(attack) for attack in _ordered(part)])
            axes.set_title(f"Views: {part.views}")
            axes.set_xlabel(f"Errors (%), {_data(tasks)}")
            finish(axes, "left", "x")
        panels[0].set_ylim(rows - 0.4, -0.6)
        panels[0].set_xlim(0, 112)
        panels[0].set_xticks(range(0, 101, 20))
        handles: list[Any] = [panels[0].barh(0, 0, color=colour) for colour in (theme.orange, theme.blue)]
        names = ["Attacks taken for faces (APCER)", "Faces taken for attacks (BPCER)"]
        figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=8)
        return figure

    worst = max((attack for part in parts for attack in part.attacks), key=lambda attack: attack.acer)
    return render_figure(
        f"{slug}_attacks",
        f"Anti-spoofing, {_data(tasks)}",
        f"Errors of a linear classifier on frozen features, by kind of attack; “unseen” kinds were left out of "
        f"fitting. Threshold: {parts[0].threshold_from}. {_refused_text(tasks)}",
        f"Attack and bona fide errors on {_data(tasks)}; the highest mean of the two is {100 * worst.acer:.1f} per "
        f"cent, {_attack_text(worst)}.",
        draw,
    )


def _ordered(part: AntiSpoofingResult) -> list[AttackResult]:
    """Each kind known, then unseen."""
    return sorted(part.attacks, key=lambda attack: (attack.name, not attack.known))


def _attack_text(attack: AttackResult) -> str:
    return f"{attack.name.replace('_', ' ')}, {'known' if attack.known else 'unseen'}"


def _refused_text(tasks: TasksResult) -> str:
    """How many attacks never reach a classifier in practice."""
    refused = tasks.anti_spoofing[0].refused
    attacks = {attack.name for attack in tasks.anti_spoofing[0].attacks}
    stopped, shown = (sum(counts[k] for kind, counts in refused.items() if kind in attacks) for k in range(2))
    return f"Preparation finds no face in {stopped} of {shown} attacks and would refuse them beforehand."


def _people(tasks: TasksResult) -> str:
    return (
        f"{len(tasks.test_subjects)} {'synthetic people' if tasks.synthetic else 'people'}, none of them in training."
    )
