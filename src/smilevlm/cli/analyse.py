"""`smilevlm analyse`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from smilevlm.results import AnalysisResult

HELP = "what a model's embeddings look like, and what decides"
DESCRIPTION = (
    "Look at one trained fold on its test subjects: map of the embeddings, correlation matrices and effective ranks "
    "before and after training, accuracy of turned heads, and which pixels speak for a class. Writes RUN/analysis.json "
    "and the pictures in RUN/analysis."
)
EXAMPLE = "smilevlm analyse run --store store --yaw-store yaw-store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder that `smilevlm train` wrote")
    parser.add_argument("--store", type=Path, required=True, help="store that the run was trained on")
    parser.add_argument(
        "--yaw-store",
        type=Path,
        help="the same data set prepared alike with more --angles, for the accuracy of turned heads",
    )
    parser.add_argument("--fold", type=int, help="which fold (default: the first that is trained)")
    parser.add_argument("--num-relevance", type=int, default=6, help="test samples to explain (default: 6)")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import counting, table_console
    from smilevlm.evaluation.analysis import analyse_run
    from smilevlm.training.names import ANALYSIS_NAME

    with counting("analysing") as progress:
        analysis = analyse_run(
            arguments.run_folder,
            arguments.store,
            fold=arguments.fold,
            yaw_store=arguments.yaw_store,
            num_relevance=arguments.num_relevance,
            progress=progress,
        )
    console = table_console()
    for table in _tables(analysis):
        console.print(table)
    for note in analysis.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    print(arguments.run_folder / ANALYSIS_NAME)


def _tables(analysis: AnalysisResult) -> list[Table]:
    from rich.table import Table

    faces = "synthetic" if analysis.synthetic else "real"
    ranks = Table(title=f"effective rank, {faces} faces, fold {analysis.fold}")
    for name in ("of", "before training", "after", "at most"):
        ranks.add_column(name, justify="left" if name == "of" else "right")
    for what in ("tower", "views", "fused"):
        found = {rank.stage: rank for rank in analysis.effective_ranks if rank.what == what}
        most = min(found["after"].width, found["after"].num_samples)
        values = [f"{found[stage].effective_rank:.1f}" for stage in ("before", "after")]
        ranks.add_row(what, *values, str(most))
    if not analysis.yaw:
        return [ranks]
    turned = Table(title=f"accuracy of turned heads, {faces} faces, fold {analysis.fold}")
    for name in ("yaw", "fused", "mean", *(f"view {angle:+g}" for angle in analysis.view_angles_deg)):
        turned.add_column(name, justify="right")
    for point in analysis.yaw:
        views = [point.single_view_accuracy[angle] for angle in analysis.view_angles_deg]
        shares = (point.accuracy, point.mean_fusion_accuracy, *views)
        turned.add_row(f"{point.yaw_deg:+g}", *(f"{share:.1%}" for share in shares))
    return [ranks, turned]
