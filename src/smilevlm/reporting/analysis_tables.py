"""The tables of an analysis."""

from __future__ import annotations

from smilevlm.reporting.analysis_figures import MATRICES, RANKED, STAGES, data_words
from smilevlm.reporting.tables import Column, Table, angle_text
from smilevlm.results import AnalysisResult


def analysis_tables(analysis: AnalysisResult, slug: str) -> list[Table]:
    """Effective ranks, correlations and, where there are any, turned heads.

    Args:
        analysis: What is told.
        slug: Beginning of the tables' file names.
    """
    tables = [_ranks(analysis, slug), _correlations(analysis, slug)]
    return [*tables, _yaw(analysis, slug)] if analysis.yaw else tables


def _ranks(analysis: AnalysisResult, slug: str) -> Table:
    return Table(
        name=f"{slug}_effective_rank",
        title="Effective ranks",
        note="Exp of the entropy of the normalised singular values (RankMe); at most the smaller one of width and "
        f"number of embeddings. Test subjects of fold {analysis.fold + 1}.",
        columns=(
            Column(key="what", title="What"),
            Column(key="data", title="Data"),
            Column(key="stage", title="When"),
            Column(key="effective_rank", title="Effective rank"),
            Column(key="width", title="Width", kind="count"),
            Column(key="num_embeddings", title="Embeddings", kind="count"),
        ),
        rows=tuple(
            (
                RANKED[rank.what],
                data_words(analysis),
                STAGES[rank.stage],
                f"{rank.effective_rank:.1f}",
                rank.width,
                rank.num_samples,
            )
            for rank in analysis.effective_ranks
        ),
    )


def _correlations(analysis: AnalysisResult, slug: str) -> Table:
    return Table(
        name=f"{slug}_correlations",
        title="Correlations",
        note="C of Eq. 2 between two distortions, mean over views; C_vt of Eq. 8 between the fused embedding and the "
        f"prompts of the true class. Test subjects of fold {analysis.fold + 1}.",
        columns=(
            Column(key="matrix", title="Matrix"),
            Column(key="data", title="Data"),
            Column(key="stage", title="When"),
            Column(key="width", title="Width", kind="count"),
            Column(key="diagonal_mean", title="Diagonal mean"),
            Column(key="off_diagonal_rms", title="Off-diagonal rms"),
        ),
        rows=tuple(
            (
                MATRICES[matrix.name],
                data_words(analysis),
                STAGES[matrix.stage],
                matrix.width,
                f"{matrix.diagonal_mean:.3f}",
                f"{matrix.off_diagonal_rms:.3f}",
            )
            for matrix in analysis.correlations
        ),
    )


def _yaw(analysis: AnalysisResult, slug: str) -> Table:
    angles = analysis.view_angles_deg
    return Table(
        name=f"{slug}_yaw",
        title="Turned heads",
        note="Accuracy in per cent and mean fusion weights of heads that are turned before the views are taken; a view "
        f"keeps its nominal angle as a name. Test subjects of fold {analysis.fold + 1}.",
        columns=(
            Column(key="yaw", title="Yaw"),
            Column(key="data", title="Data"),
            Column(key="test_samples", title="Test samples", kind="count"),
            Column(key="accuracy", title="Fused", kind="percent"),
            Column(key="mean_fusion", title="Mean fusion", kind="percent"),
            *(Column(key=f"view_{angle:g}", title=f"View {angle_text(angle)}", kind="percent") for angle in angles),
            *(Column(key=f"weight_{angle:g}", title=f"Weight {angle_text(angle)}") for angle in angles),
        ),
        rows=tuple(
            (
                angle_text(point.yaw_deg),
                data_words(analysis),
                point.num_samples,
                point.accuracy,
                point.mean_fusion_accuracy,
                *(point.single_view_accuracy[angle] for angle in angles),
                *(f"{point.view_weights[angle]:.2f}" for angle in angles),
            )
            for point in analysis.yaw
        ),
    )
