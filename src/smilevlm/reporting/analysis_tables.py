"""The tables of an analysis."""

from __future__ import annotations

from smilevlm.reporting.table import Column, Table, angle_columns, angle_text, constant_column, data_text, table_of
from smilevlm.results import AnalysisResult

STAGES = {"before": "Before training", "after": "After training"}
MATRICES = {"multi_view": "Between two distortions", "cross_modal": "Fused and text"}
RANKED = {"tower": "Tower features", "views": "View embeddings", "fused": "Fused embeddings"}
_STAGE = Column("stage", "When", "text", lambda each: STAGES[each.stage])


def analysis_tables(analysis: AnalysisResult, slug: str) -> list[Table]:
    """Effective ranks, correlations and, where there are any, turned heads.

    Args:
        analysis: What they hold.
        slug: Beginning of the tables' file names.
    """
    data = constant_column("data", "Data", data_text(analysis.synthetic, analysis.layout))
    subjects = f"Test subjects of fold {analysis.fold + 1}."
    angles = analysis.view_angles_deg
    ranks = table_of(
        f"{slug}_effective_rank",
        "Effective ranks",
        "Exp of the entropy of the normalised singular values (RankMe); at most the smaller one of width and "
        f"number of embeddings. {subjects}",
        (
            Column("what", "What", "text", lambda rank: RANKED[rank.what]),
            data,
            _STAGE,
            Column("effective_rank", "Effective rank", "text", lambda rank: f"{rank.effective_rank:.1f}"),
            Column("width", "Width", "count"),
            Column("num_embeddings", "Embeddings", "count", "num_samples"),
        ),
        analysis.effective_ranks,
    )
    correlations = table_of(
        f"{slug}_correlations",
        "Correlations",
        "C of Eq. 2 between two distortions, mean over views; C_vt of Eq. 8 between the fused embedding and the "
        f"prompts of the true class. {subjects}",
        (
            Column("matrix", "Matrix", "text", lambda matrix: MATRICES[matrix.name]),
            data,
            _STAGE,
            Column("width", "Width", "count"),
            Column("diagonal_mean", "Diagonal mean", "text", lambda matrix: f"{matrix.diagonal_mean:.3f}"),
            Column("off_diagonal_rms", "Off-diagonal rms", "text", lambda matrix: f"{matrix.off_diagonal_rms:.3f}"),
        ),
        analysis.correlations,
    )
    yaw = table_of(
        f"{slug}_yaw",
        "Turned heads",
        "Accuracy in per cent and mean fusion weights of heads that are turned before the views are taken; a view "
        f"keeps its nominal angle as a name. {subjects}",
        (
            Column("yaw", "Yaw", "text", lambda point: angle_text(point.yaw_deg)),
            data,
            Column("test_samples", "Test samples", "count", "num_samples"),
            Column("accuracy", "Fused", "percent"),
            Column("mean_fusion", "Mean fusion", "percent", "mean_fusion_accuracy"),
            *angle_columns(angles, lambda point, angle: point.single_view_accuracy[angle]),
            *angle_columns(
                angles, lambda point, a: f"{point.view_weights[a]:.2f}", key="weight", title="Weight", kind="text"
            ),
        ),
        analysis.yaw,
    )
    return [ranks, correlations, *([yaw] if analysis.yaw else [])]
