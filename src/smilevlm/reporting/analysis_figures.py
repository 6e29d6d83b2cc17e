"""The figures of an analysis: maps, correlations, effective ranks, turned heads, relevance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image, UnidentifiedImageError

from smilevlm.errors import ResultError
from smilevlm.reporting.drawing import FigureImage, NoFigure, render_figure
from smilevlm.reporting.tables import angle_text
from smilevlm.reporting.theme import Theme, bare
from smilevlm.results import AnalysisResult, CorrelationMatrix, EmbeddingMap, Relevance, relative_file

STAGES = {"before": "Before training", "after": "After training"}
MATRICES = {"multi_view": "Between two distortions", "cross_modal": "Fused and text"}
RANKED = {"tower": "Tower features", "views": "View embeddings", "fused": "Fused embeddings"}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_DASHED = (0, (4, 3))


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


def data_words(analysis: AnalysisResult) -> str:
    """Whose faces they are: people must not take synthetic ones for real."""
    return "synthetic faces" if analysis.synthetic else analysis.layout


def _whose(analysis: AnalysisResult) -> str:
    return f"{data_words(analysis)}, test subjects of fold {analysis.fold + 1}"


# Maps.


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
        f"Two-dimensional maps of the fused embeddings of {data_words(analysis)} by true class, "
        f"{' and '.join(each.stage for each in analysis.maps)} training.",
        lambda theme: _draw_maps(analysis, theme),
    )


def _draw_maps(analysis: AnalysisResult, theme: Theme) -> Figure:
    figure = Figure(figsize=(7.2, 4.1), layout="constrained")
    panels = figure.subplots(1, len(analysis.maps), squeeze=False)[0]
    styles = {
        name: (theme.lines[number % len(theme.lines)], _MARKERS[number % len(_MARKERS)])
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
        frameon=False,
        labelcolor=theme.text,
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
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_color(theme.grid)


# Correlations.


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
        f"Correlation matrices before and after training on {data_words(analysis)}; the numbers are in the table.",
        lambda theme: _draw_correlations(analysis.correlations, theme),
    )


def _draw_correlations(matrices: Sequence[CorrelationMatrix], theme: Theme) -> Figure:
    names = [name for name in MATRICES if any(matrix.name == name for matrix in matrices)]
    # Placed by hand, as the faces of the relevance are.
    height = 3.55 * len(names)
    figure = Figure(figsize=(7.2, height))
    grid = figure.subplots(
        len(names),
        len(STAGES),
        squeeze=False,
        gridspec_kw={
            "left": 0.01,
            "right": 0.89,
            "top": 1 - 0.42 / height,
            "bottom": 0.25 / height,
            "wspace": 0.04,
            "hspace": 0.22,
        },
    )
    for row, name in zip(grid, names, strict=True):
        top = max(max(max(line) for line in matrix.block) for matrix in matrices if matrix.name == name)
        image = None
        for axes, (stage, title) in zip(row, STAGES.items(), strict=True):
            axes.tick_params(length=0)
            axes.set_xticks([])
            axes.set_yticks([])
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


# Effective ranks.


def _ranks(analysis: AnalysisResult, slug: str) -> FigureImage | NoFigure:
    title = "How many dimensions are used"
    if not analysis.effective_ranks:
        return NoFigure(title=title, reason="The analysis holds no effective rank.")
    return render_figure(
        f"{slug}_effective_rank",
        title,
        f"Effective rank (RankMe), {_whose(analysis)}: 1 is complete collapse; the number after the stroke is the most "
        "that the width and the number of embeddings allow.",
        f"Effective ranks before and after training on {data_words(analysis)}; the numbers are in the table.",
        lambda theme: _draw_ranks(analysis, theme),
    )


def _draw_ranks(analysis: AnalysisResult, theme: Theme) -> Figure:
    figure = Figure(figsize=(6.4, 3.1), layout="constrained")
    axes = figure.add_subplot()
    colours = {"before": theme.sky, "after": theme.blue}
    names = list(RANKED)
    for rank in analysis.effective_ranks:
        height = names.index(rank.what) + (-0.19 if rank.stage == "before" else 0.19)
        axes.barh(height, rank.effective_rank, height=0.34, color=colours[rank.stage])
        axes.annotate(
            f"{rank.effective_rank:.1f} / {min(rank.width, rank.num_samples)}",
            (rank.effective_rank, height),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(names)), list(RANKED.values()))
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlim(0, 1.2 * max(rank.effective_rank for rank in analysis.effective_ranks))
    axes.set_xlabel("Effective rank" + (", synthetic faces" if analysis.synthetic else ""))
    axes.grid(axis="x", color=theme.grid)
    bare(axes, "left")
    handles = [
        Line2D([], [], linestyle="", marker="s", markersize=8, color=colours[stage], label=title)
        for stage, title in STAGES.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, labelcolor=theme.text)
    return figure


# Turned heads.


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
            f"Accuracy against the yaw of the head on {data_words(analysis)}; the numbers are in the table.",
            lambda theme: _draw_yaw(analysis, theme, _draw_accuracies),
        ),
        render_figure(
            f"{slug}_yaw_weights",
            "What the fusion looks at when the head is turned",
            f"Mean fusion weight of each view, {_whose(analysis)}. {note} Grey dashed: equal weights.",
            f"Mean fusion weights against the yaw of the head on {data_words(analysis)}; the numbers are in the table.",
            lambda theme: _draw_yaw(analysis, theme, _draw_weights),
        ),
    ]


def _draw_yaw(
    analysis: AnalysisResult, theme: Theme, draw: Callable[[Axes, AnalysisResult, list[str], Theme], None]
) -> Figure:
    figure = Figure(figsize=(7.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    colours = [colour for colour in theme.lines if colour not in (theme.blue, theme.green, theme.muted)]
    draw(axes, analysis, colours, theme)
    turns = [point.yaw_deg for point in analysis.yaw]
    axes.set_xticks(turns, [angle_text(turn) for turn in turns])
    axes.set_xlabel("Yaw of the head" + (", synthetic faces" if analysis.synthetic else ""))
    axes.grid(axis="y", color=theme.grid)
    bare(axes, "bottom")
    figure.legend(loc="outside right upper", frameon=False, labelcolor=theme.text)
    return figure


def _draw_accuracies(axes: Axes, analysis: AnalysisResult, colours: list[str], theme: Theme) -> None:
    turns = [point.yaw_deg for point in analysis.yaw]
    for number, angle in enumerate(analysis.view_angles_deg):
        values = [100 * point.single_view_accuracy[angle] for point in analysis.yaw]
        style = {"marker": _MARKERS[(number + 2) % len(_MARKERS)], "markersize": 4, "linewidth": 1.0}
        axes.plot(turns, values, color=colours[number % len(colours)], label=f"View {angle_text(angle)}", **style)
    mean = [100 * point.mean_fusion_accuracy for point in analysis.yaw]
    axes.plot(turns, mean, color=theme.green, marker="s", markersize=5, linestyle=_DASHED, label="Plain mean")
    fused = [100 * point.accuracy for point in analysis.yaw]
    axes.plot(turns, fused, color=theme.blue, marker="o", markersize=5.5, linewidth=2.2, label="Learned fusion")
    axes.axhline(100 / len(analysis.classes), color=theme.muted, linestyle=_DASHED, linewidth=1)
    axes.set_ylim(0, 102)
    axes.set_ylabel("Accuracy (%)")


def _draw_weights(axes: Axes, analysis: AnalysisResult, colours: list[str], theme: Theme) -> None:
    turns = [point.yaw_deg for point in analysis.yaw]
    for number, angle in enumerate(analysis.view_angles_deg):
        values = [point.view_weights[angle] for point in analysis.yaw]
        style = {"marker": _MARKERS[(number + 2) % len(_MARKERS)], "markersize": 5, "linewidth": 1.6}
        axes.plot(turns, values, color=colours[number % len(colours)], label=f"View {angle_text(angle)}", **style)
    equal = 1 / len(analysis.view_angles_deg)
    axes.axhline(equal, color=theme.muted, linestyle=_DASHED, linewidth=1)
    axes.set_ylim(0, 1.2 * max(equal, *(max(point.view_weights.values()) for point in analysis.yaw)))
    axes.set_ylabel("Mean weight")


# Relevance.


def _relevance(analysis: AnalysisResult, folder: Path, slug: str) -> FigureImage | NoFigure:
    title = "What speaks for the class"
    if not analysis.relevance:
        return NoFigure(title=title, reason="No sample was explained.")
    pictures = {
        name: _picture(relative_file(folder / "analysis.json", name))
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
        f"Faces ({data_words(analysis)}) with relevant pixels coloured: {targets} for the true class, "
        f"{len(analysis.relevance) - targets} for a wrong one.",
        lambda theme: _draw_relevance(analysis, pictures, theme),
    )


def _draw_relevance(analysis: AnalysisResult, pictures: dict[str, np.ndarray], theme: Theme) -> Figure:
    angles, rows = analysis.view_angles_deg, analysis.relevance
    # Placed by hand: the solver of the constrained layout rounds large grids anew each time, and bytes would differ.
    side, between, head = 1.5, 0.26, 0.3
    width, height = (side + 0.08) * (len(angles) + 1), head + (side + between) * len(rows)
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(
        len(rows),
        1 + len(angles),
        squeeze=False,
        gridspec_kw={
            "left": 0.02,
            "right": 1.0,
            "top": 1 - head / height,
            "bottom": between / height,
            "wspace": 0.05,
            "hspace": between / side,
        },
    )
    for number, (line, each) in enumerate(zip(grid, rows, strict=True)):
        line[0].set_axis_off()
        line[0].text(0.0, 0.5, _label(each), va="center", ha="left", fontsize=8, transform=line[0].transAxes)
        for axes, angle in zip(line[1:], angles, strict=True):
            axes.imshow(pictures[each.images[angle]])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(f"{100 * each.view_share[angle]:.0f} %", fontsize=8, labelpad=2)
            for spine in axes.spines.values():
                spine.set_visible(False)
            if number == 0:
                axes.set_title(angle_text(angle), color=theme.text)
    return figure


def _label(each: Relevance) -> str:
    said = "right" if each.predicted == each.truth else f"taken for {each.predicted}"
    return (
        f"{each.subject}\n{each.truth},\n{said}\n\nfor: {each.target}\nscore {_signed(each.score)}\n"
        f"baseline {_signed(each.baseline_score)}"
    )


def _signed(score: float) -> str:
    # Adding zero turns a rounded −0 into 0.
    return f"{round(score, 2) + 0.0:+.2f}".replace("-", "−")


def _picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ResultError(f"the picture of the relevance cannot be read: {error}", path=path) from None
