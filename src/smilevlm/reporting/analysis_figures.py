"""The figures of an analysis: maps, correlations, effective ranks, turned heads, relevance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from smilevlm.reporting.analysis_tables import MATRICES, RANKED, STAGES
from smilevlm.reporting.figure_theme import (
    DASHED,
    MARKERS,
    FigureImage,
    NoFigure,
    Style,
    Theme,
    bare,
    finish,
    new_axes,
    new_grid,
    note_beside,
    reference_line,
    render_figure,
)
from smilevlm.reporting.source import read_image
from smilevlm.reporting.table import angle_text, data_text
from smilevlm.results import AnalysisResult, CorrelationMatrix, EmbeddingMap, Relevance, relative_file


def analysis_figures(analysis: AnalysisResult, folder: Path, slug: str) -> list[FigureImage | NoFigure]:
    """Every figure of an analysis, in the order of the page.

    Args:
        analysis: What is drawn.
        folder: That its file lies in; the pictures of the relevance are looked for from there.
        slug: Beginning of the figures' file names.

    Raises:
        ResultError: A picture that it names is missing or damaged, or lies outside the folder.
    """
    return [
        _maps(analysis, slug),
        _correlations(analysis, slug),
        _ranks(analysis, slug),
        *_turned_heads(analysis, slug),
        _relevance(analysis, folder, slug),
    ]


def _data(analysis: AnalysisResult) -> str:
    return data_text(analysis.synthetic, analysis.layout)


def _whose(analysis: AnalysisResult) -> str:
    return f"{_data(analysis)}, test subjects of fold {analysis.fold + 1}"


def _maps(analysis: AnalysisResult, slug: str) -> FigureImage | NoFigure:
    title = "Map of the fused embeddings"
    if not analysis.maps:
        return NoFigure(title=title, reason="The analysis holds no map; its notes say why.")
    return render_figure(
        f"{slug}_embedding_map",
        title,
        f"t-SNE on cosine distances, {_whose(analysis)}; one mark per sample, coloured by its true class. Hollow: "
        "recognised wrongly. Only neighbourhoods mean something: distances between groups, their sizes and the axes "
        "do not.",
        f"Two-dimensional maps of the fused embeddings of {_data(analysis)} by true class, "
        f"{' and '.join(each.stage for each in analysis.maps)} training.",
        lambda theme: _draw_maps(analysis, theme),
    )


def _draw_maps(analysis: AnalysisResult, theme: Theme) -> Figure:
    figure, panels = new_grid(7.2, 4.1, len(analysis.maps), len(analysis.maps))
    styles = {
        name: (theme.lines[number % len(theme.lines)], MARKERS[number % len(MARKERS)])
        for number, name in enumerate(analysis.classes)
    }
    for axes, each in zip(panels, analysis.maps, strict=True):
        _draw_map(axes, each, styles, theme)
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=6, label=name)
        for name, (colour, marker) in styles.items()
    ]
    hollow = Line2D(
        [], [], linestyle="", marker="o", color=theme.muted, markerfacecolor="none", markersize=6, label="wrong"
    )
    figure.legend(
        handles=[*handles, hollow],
        loc="outside lower center",
        ncols=min(7, len(handles) + 1),
        handletextpad=0.1,
        columnspacing=1.2,
    )
    return figure


def _draw_map(axes: Axes, each: EmbeddingMap, styles: dict[str, tuple[str, str]], theme: Theme) -> None:
    for name, (colour, marker) in styles.items():
        for right in (True, False):
            points = [p for p in each.points if p.truth == name and (p.predicted == name) is right]
            axes.plot(
                [point.x for point in points],
                [point.y for point in points],
                linestyle="",
                marker=marker,
                markersize=4.5,
                markeredgewidth=0.9,
                color=colour,
                markerfacecolor=colour if right else "none",
            )
    share = np.mean([point.truth == point.predicted for point in each.points])
    axes.set_title(f"{STAGES[each.stage]}, {100 * share:.0f} % right", loc="left", color=theme.text)
    _no_ticks(axes)
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_color(theme.grid)


def _correlations(analysis: AnalysisResult, slug: str) -> FigureImage | NoFigure:
    title = "Correlation matrices"
    if not analysis.correlations:
        return NoFigure(title=title, reason="The analysis holds no correlation matrix.")
    return render_figure(
        f"{slug}_correlations",
        title,
        f"Above: C of Eq. 2, embeddings of two distortions of the same view. Below: C_vt of Eq. 8, fused embedding and "
        f"prompts of the true class. {_whose(analysis).capitalize()}. Colour: root mean square of blocks, one scale "
        "per row. The losses pull the diagonal to 1 and the rest to 0; C_vt cannot get there with few classes, whose "
        "prompts span few dimensions.",
        f"Correlation matrices before and after training on {_data(analysis)}; the numbers are in the table.",
        lambda theme: _draw_correlations(analysis.correlations, theme),
    )


def _draw_correlations(matrices: Sequence[CorrelationMatrix], theme: Theme) -> Figure:
    names = [name for name in MATRICES if any(matrix.name == name for matrix in matrices)]
    height = 3.55 * len(names)
    edges = {"left": 0.01, "right": 0.89, "top": 1 - 0.42 / height, "bottom": 0.25 / height}
    figure, grid = _fixed_grid(7.2, height, len(names), len(STAGES), **edges, wspace=0.04, hspace=0.22)
    for row, name in zip(grid, names, strict=True):
        top = max(max(max(line) for line in matrix.block) for matrix in matrices if matrix.name == name)
        image = None
        for axes, (stage, title) in zip(row, STAGES.items(), strict=True):
            axes.tick_params(length=0)
            _no_ticks(axes)
            found = [matrix for matrix in matrices if matrix.name == name and matrix.stage == stage]
            if not found:
                axes.text(0.5, 0.5, "not computed", ha="center", va="center", transform=axes.transAxes)
                continue
            matrix = found[0]
            image = axes.imshow(np.array(matrix.block), cmap="cividis", vmin=0.0, vmax=top, interpolation="nearest")
            axes.set_title(
                f"{MATRICES[name]}, {title.lower()}\n"
                f"diagonal mean {matrix.diagonal_mean:.2f}, off-diagonal rms {matrix.off_diagonal_rms:.2f}",
                loc="left",
                color=theme.text,
                fontsize=8.5,
            )
            axes.set_xlabel(f"{matrix.width} dimensions")
        if image is not None:
            place = row[-1].get_position()
            beside = figure.add_axes((0.905, place.y0, 0.02, place.height))
            bar = figure.colorbar(image, cax=beside, label="Correlation, rms of a block")
            bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]  # a Spine, typed as a plain artist
    return figure


def _ranks(analysis: AnalysisResult, slug: str) -> FigureImage | NoFigure:
    title = "How many dimensions are used"
    if not analysis.effective_ranks:
        return NoFigure(title=title, reason="The analysis holds no effective rank.")
    return render_figure(
        f"{slug}_effective_rank",
        title,
        f"Effective rank (RankMe), {_whose(analysis)}: 1 is complete collapse; the number after the stroke is the most "
        "that the width and the number of embeddings allow.",
        f"Effective ranks before and after training on {_data(analysis)}; the numbers are in the table.",
        lambda theme: _draw_ranks(analysis, theme),
    )


def _draw_ranks(analysis: AnalysisResult, theme: Theme) -> Figure:
    figure, axes = new_axes(6.4, 3.1)
    colours = {"before": theme.sky, "after": theme.blue}
    names = list(RANKED)
    for rank in analysis.effective_ranks:
        height = names.index(rank.what) + (-0.19 if rank.stage == "before" else 0.19)
        axes.barh(height, rank.effective_rank, height=0.34, color=colours[rank.stage])
        text = f"{rank.effective_rank:.1f} / {min(rank.width, rank.num_samples)}"
        note_beside(axes, text, rank.effective_rank, height, 5)
    axes.set_yticks(range(len(names)), list(RANKED.values()))
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlim(0, 1.2 * max(rank.effective_rank for rank in analysis.effective_ranks))
    axes.set_xlabel("Effective rank" + (", synthetic faces" if analysis.synthetic else ""))
    finish(axes, "left", "x")
    handles = [
        Line2D([], [], linestyle="", marker="s", markersize=8, color=colours[stage], label=title)
        for stage, title in STAGES.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure


def _turned_heads(analysis: AnalysisResult, slug: str) -> list[FigureImage | NoFigure]:
    if len(analysis.yaw) < 2:
        return [NoFigure(title="Turned heads", reason="No store with more angles was analysed (--yaw-store).")]
    note = "A view keeps the name of the angle it would have if the head were not turned."
    return [
        render_figure(
            f"{slug}_yaw_accuracy",
            "Accuracy of turned heads",
            f"{_whose(analysis).capitalize()}, turned by one angle before the views are taken. {note} Grey dashed: "
            "chance.",
            f"Accuracy against the yaw of the head on {_data(analysis)}; the numbers are in the table.",
            lambda theme: _draw_yaw(analysis, theme, _draw_accuracies),
        ),
        render_figure(
            f"{slug}_yaw_weights",
            "What the fusion looks at when the head is turned",
            f"Mean fusion weight of each view, {_whose(analysis)}. {note} Grey dashed: equal weights.",
            f"Mean fusion weights against the yaw of the head on {_data(analysis)}; the numbers are in the table.",
            lambda theme: _draw_yaw(analysis, theme, _draw_weights),
        ),
    ]


def _draw_yaw(
    analysis: AnalysisResult, theme: Theme, draw: Callable[[Axes, AnalysisResult, list[str], Theme], None]
) -> Figure:
    figure, axes = new_axes(7.2, 3.5)
    colours = [colour for colour in theme.lines if colour not in (theme.blue, theme.green, theme.muted)]
    draw(axes, analysis, colours, theme)
    turns = [point.yaw_deg for point in analysis.yaw]
    axes.set_xticks(turns, [angle_text(turn) for turn in turns])
    axes.set_xlabel("Yaw of the head" + (", synthetic faces" if analysis.synthetic else ""))
    finish(axes, "bottom", "y")
    figure.legend(loc="outside right upper")
    return figure


def _draw_accuracies(axes: Axes, analysis: AnalysisResult, colours: list[str], theme: Theme) -> None:
    turns = [point.yaw_deg for point in analysis.yaw]
    views = {
        angle: [100 * point.single_view_accuracy[angle] for point in analysis.yaw] for angle in analysis.view_angles_deg
    }
    _plot_views(axes, turns, views, colours, markersize=4, linewidth=1.0)
    mean = [100 * point.mean_fusion_accuracy for point in analysis.yaw]
    axes.plot(turns, mean, color=theme.green, marker="s", markersize=5, linestyle=DASHED, label="Plain mean")
    fused = [100 * point.accuracy for point in analysis.yaw]
    axes.plot(turns, fused, color=theme.blue, marker="o", markersize=5.5, linewidth=2.2, label="Learned fusion")
    reference_line(axes, theme, y=100 / len(analysis.classes))
    axes.set_ylim(0, 102)
    axes.set_ylabel("Accuracy (%)")


def _draw_weights(axes: Axes, analysis: AnalysisResult, colours: list[str], theme: Theme) -> None:
    turns = [point.yaw_deg for point in analysis.yaw]
    views = {angle: [point.view_weights[angle] for point in analysis.yaw] for angle in analysis.view_angles_deg}
    _plot_views(axes, turns, views, colours, markersize=5, linewidth=1.6)
    equal = 1 / len(analysis.view_angles_deg)
    reference_line(axes, theme, y=equal)
    axes.set_ylim(0, 1.2 * max(equal, *(max(point.view_weights.values()) for point in analysis.yaw)))
    axes.set_ylabel("Mean weight")


def _plot_views(
    axes: Axes, turns: Sequence[float], views: Mapping[float, Sequence[float]], colours: Sequence[str], **style: Style
) -> None:
    for number, (angle, values) in enumerate(views.items()):
        marker, colour = MARKERS[(number + 2) % len(MARKERS)], colours[number % len(colours)]
        axes.plot(turns, values, color=colour, label=f"View {angle_text(angle)}", marker=marker, **style)


def _relevance(analysis: AnalysisResult, folder: Path, slug: str) -> FigureImage | NoFigure:
    title = "What speaks for the class"
    if not analysis.relevance:
        return NoFigure(title=title, reason="No sample was explained.")
    pictures = {
        name: np.asarray(read_image(relative_file(folder / "analysis.json", name), "the picture of the relevance"))
        for each in analysis.relevance
        for name in each.images.values()
    }
    targets = sum(each.target == each.truth for each in analysis.relevance)
    return render_figure(
        f"{slug}_relevance",
        title,
        f"Relevance of pixels ({analysis.relevance[0].method}), {_whose(analysis)}, drawn by lot. Orange speaks for "
        "the class that is explained, blue against it; one colour scale per row. Under each view: its share of the "
        "absolute relevance. Score: the class's cosine minus the mean of the others, and the same for the baseline. "
        "A sample that is recognised wrongly is explained for both classes.",
        f"Faces ({_data(analysis)}) with relevant pixels coloured: {targets} for the true class, "
        f"{len(analysis.relevance) - targets} for a wrong one.",
        lambda theme: _draw_relevance(analysis, pictures, theme),
    )


def _draw_relevance(analysis: AnalysisResult, pictures: dict[str, np.ndarray], theme: Theme) -> Figure:
    angles, rows = analysis.view_angles_deg, analysis.relevance
    side, between, head = 1.5, 0.26, 0.3
    width, height = (side + 0.08) * (len(angles) + 1), head + (side + between) * len(rows)
    edges = {"left": 0.02, "right": 1.0, "top": 1 - head / height, "bottom": between / height}
    spaces = {"wspace": 0.05, "hspace": between / side}
    figure, grid = _fixed_grid(width, height, len(rows), 1 + len(angles), **edges, **spaces)
    for number, (line, each) in enumerate(zip(grid, rows, strict=True)):
        line[0].set_axis_off()
        line[0].text(0.0, 0.5, _label(each), va="center", ha="left", fontsize=8, transform=line[0].transAxes)
        for axes, angle in zip(line[1:], angles, strict=True):
            axes.imshow(pictures[each.images[angle]])
            _no_ticks(axes)
            axes.set_xlabel(f"{100 * each.view_share[angle]:.0f} %", fontsize=8, labelpad=2)
            bare(axes)
            if number == 0:
                axes.set_title(angle_text(angle), color=theme.text)
    return figure


def _label(each: Relevance) -> str:
    outcome = "right" if each.predicted == each.truth else f"taken for {each.predicted}"
    return (
        f"{each.subject}\n{each.truth},\n{outcome}\n\nfor: {each.target}\nscore {_signed(each.score)}\n"
        f"baseline {_signed(each.baseline_score)}"
    )


def _signed(score: float) -> str:
    # Adding zero turns a rounded −0 into 0.
    return f"{round(score, 2) + 0.0:+.2f}".replace("-", "−")


def _fixed_grid(
    width: float, height: float, num_rows: int, num_columns: int, **places: float
) -> tuple[Figure, np.ndarray]:
    """Panels placed by hand: the solver of the constrained layout rounds large grids anew each time."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(num_rows, num_columns, squeeze=False, gridspec_kw=places)


def _no_ticks(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
