"""`smilevlm analyse`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_run_folder, add_store

if TYPE_CHECKING:
    from smilevlm.results import AnalysisResult

HELP = "what a model's embeddings look like, and what decides"
DESCRIPTION = (
    "Look at one trained fold on its test subjects: map of the embeddings, correlation matrices and effective ranks "
    "before and after training, accuracy of turned heads, and which pixels speak for a class. Writes RUN/analysis.json "
    "and the pictures in RUN/analysis."
)
EXAMPLE = "smilevlm analyse run --store store --yaw-store yaw-store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_run_folder(parser)
    add_store(parser, "store that the run was trained on")
    yaw_help = "the same data set prepared alike with more --angles, for the accuracy of turned heads"
    add("--yaw-store", type=Path, help=yaw_help)
    add("--fold", type=int, help="which fold (default: the first that is trained)")
    add("--num-relevance", type=int, default=6, help="test samples to explain (default: 6)")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.cli.tables import print_note
    from smilevlm.evaluation import analyse_run
    from smilevlm.training import ANALYSIS_NAME

    with progress_bar("analysing") as progress:
        analysis = analyse_run(
            arguments.run_folder,
            arguments.store,
            fold=arguments.fold,
            yaw_store=arguments.yaw_store,
            num_relevance=arguments.num_relevance,
            progress=progress,
        )
    _print_tables(analysis)
    for note in analysis.notes:
        print_note(f"note: {note}")
    print(arguments.run_folder / ANALYSIS_NAME)


def _print_tables(analysis: AnalysisResult) -> None:
    from smilevlm.cli.tables import print_table

    scope = f"{'synthetic' if analysis.synthetic else 'real'} faces, fold {analysis.fold}"
    rows = []
    for what in ("tower", "views", "fused"):
        before, after = (
            next(rank for rank in analysis.effective_ranks if (rank.what, rank.stage) == (what, stage))
            for stage in ("before", "after")
        )
        most = min(after.width, after.num_samples)
        rows.append((what, f"{before.effective_rank:.1f}", f"{after.effective_rank:.1f}", most))
    print_table(["of"], ["before training", "after", "at most"], rows, title=f"effective rank, {scope}")
    if not analysis.yaw:
        return
    rows = []
    for point in analysis.yaw:
        views = [point.single_view_accuracy[angle] for angle in analysis.view_angles_deg]
        shares = (point.accuracy, point.mean_fusion_accuracy, *views)
        rows.append((f"{point.yaw_deg:+g}", *(f"{share:.1%}" for share in shares)))
    columns = ["yaw", "fused", "mean", *(f"view {angle:+g}" for angle in analysis.view_angles_deg)]
    print_table([], columns, rows, title=f"accuracy of turned heads, {scope}")
