"""Figures and tables of an analysis: deterministic, honest about whose faces they are, and whole."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from smilevlm.errors import ResultError
from smilevlm.reporting.analysis_figures import analysis_figures
from smilevlm.reporting.analysis_tables import analysis_tables
from smilevlm.reporting.figure_theme import FigureImage, NoFigure
from smilevlm.reporting.table import to_csv, to_markdown
from smilevlm.results import (
    AnalysisResult,
    CorrelationMatrix,
    EffectiveRank,
    EmbeddingMap,
    MapPoint,
    Relevance,
    YawPoint,
)

CLASSES = ("happy", "sad", "fear")
ANGLES = (-30.0, 0.0, 30.0)
STAGES = ("before", "after")


def analysis(**changes) -> AnalysisResult:
    random = np.random.default_rng(0)

    def points(stage: str) -> tuple[MapPoint, ...]:
        return tuple(
            MapPoint(
                x=float(x),
                y=float(y),
                truth=CLASSES[k % 3],
                predicted=CLASSES[k % (2 if stage == "before" else 3)],
                subject=f"F{k:04d}",
                level=4,
            )
            for k, (x, y) in enumerate(random.normal(size=(12, 2)))
        )

    def matrix(name: str, stage: str) -> CorrelationMatrix:
        block = np.abs(random.normal(size=(4, 4)))
        return CorrelationMatrix(
            name=name,
            stage=stage,
            width=16,
            diagonal_mean=0.25,
            off_diagonal_rms=0.125,
            block=tuple(map(tuple, block.tolist())),
        )

    values = {
        "recipe": "demo",
        "fold": 1,
        "layout": "bu3dfe",
        "manifest_hash": "a" * 64,
        "synthetic": True,
        "protocol": "bu3dfe_subset1",
        "classes": CLASSES,
        "view_angles_deg": ANGLES,
        "test_subjects": ("F0001",),
        "seed": 0,
        "package_version": "0",
        "git_commit": None,
        "maps": tuple(EmbeddingMap(stage=stage, perplexity=3.0, points=points(stage)) for stage in STAGES),
        "correlations": tuple(matrix(name, stage) for name in ("multi_view", "cross_modal") for stage in STAGES),
        "effective_ranks": tuple(
            EffectiveRank(what=what, stage=stage, width=16, num_samples=12, effective_rank=3.5)
            for stage in STAGES
            for what in ("tower", "views", "fused")
        ),
        "yaw": tuple(
            YawPoint(
                yaw_deg=yaw,
                num_samples=12,
                accuracy=0.75,
                mean_fusion_accuracy=0.5,
                single_view_accuracy=dict.fromkeys(ANGLES, 0.25),
                view_weights={-30.0: 0.5, 0.0: 0.3, 30.0: 0.2},
            )
            for yaw in (-15.0, 0.0, 15.0)
        ),
        "relevance": (
            Relevance(
                sample_id="F0001_1",
                subject="F-0001",
                truth="happy",
                predicted="sad",
                target="sad",
                method="integrated gradients",
                score=0.4,
                baseline_score=-0.001,
                view_share={-30.0: 0.2, 0.0: 0.5, 30.0: 0.3},
                images={angle: f"analysis/{angle:g}.png" for angle in ANGLES},
            ),
        ),
    }
    return AnalysisResult(**(values | changes))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "analysis").mkdir()
    for number, angle in enumerate(ANGLES):
        Image.new("RGB", (224, 224), (80 * number, 100, 200)).save(tmp_path / "analysis" / f"{angle:g}.png")
    return tmp_path


def texts(figure: FigureImage) -> str:
    return f"{figure.caption} {figure.alt}"


def test_every_figure_is_drawn_and_says_whose_faces_it_is_of(folder):
    figures = analysis_figures(analysis(), folder, "run")
    assert [figure.name for figure in figures if isinstance(figure, FigureImage)] == [
        "run_embedding_map",
        "run_correlations",
        "run_effective_rank",
        "run_yaw_accuracy",
        "run_yaw_weights",
        "run_relevance",
    ]
    for figure in figures:
        assert "synthetic faces" in figure.caption.lower()
        assert "fold 2" in figure.caption
        assert figure.png.startswith(b"\x89PNG")
        for svg in (figure.svg_light, figure.svg_dark):
            assert ElementTree.fromstring(svg).tag.endswith("svg")
    real = analysis_figures(analysis(synthetic=False, relevance=()), folder, "run")
    assert not any("synthetic" in texts(figure).lower() for figure in real if isinstance(figure, FigureImage))


def test_the_same_analysis_gives_the_same_bytes(folder):
    small = analysis(maps=(), yaw=(), effective_ranks=())
    assert analysis_figures(small, folder, "run") == analysis_figures(small, folder, "run")


def test_what_is_missing_is_told(folder):
    empty = analysis(maps=(), correlations=(), effective_ranks=(), yaw=(), relevance=())
    figures = analysis_figures(empty, folder, "run")
    assert len(figures) == 5
    assert all(isinstance(figure, NoFigure) and figure.reason for figure in figures)
    assert [len(table.rows) for table in analysis_tables(empty, "run")] == [0, 0]


def test_pictures_must_lie_in_the_run(folder):
    def draw(**changes):
        nothing = dict.fromkeys(("maps", "correlations", "effective_ranks", "yaw"), ())
        return analysis_figures(analysis(**nothing, **changes), folder, "run")

    (folder / "analysis" / "0.png").write_bytes(b"no picture")
    with pytest.raises(ResultError, match="cannot be read"):
        draw()
    (folder / "analysis" / "0.png").unlink()
    with pytest.raises(ResultError, match=r"0\.png"):
        draw()
    outside = replace(analysis().relevance[0], images=dict.fromkeys(ANGLES, "../elsewhere.png"))
    with pytest.raises(ResultError, match="elsewhere"):
        draw(relevance=(outside,))


def test_labels_keep_hyphens_and_show_real_minus_signs():
    from smilevlm.reporting.analysis_figures import _label

    label = _label(analysis().relevance[0])
    assert label == "F-0001\nhappy,\ntaken for sad\n\nfor: sad\nscore +0.40\nbaseline +0.00"
    below = replace(analysis().relevance[0], baseline_score=-0.25, predicted="happy")
    assert _label(below).endswith("baseline −0.25")
    assert "\nright\n" in _label(below)


def test_tables():
    ranks, correlations, yaw = analysis_tables(analysis(), "run")
    assert [table.name for table in (ranks, correlations, yaw)] == ["run_effective_rank", "run_correlations", "run_yaw"]
    assert "| Tower features | synthetic faces | Before training | 3.5 | 16 | 12 |" in to_markdown(ranks)
    assert "| Between two distortions | synthetic faces | Before training | 16 | 0.250 | 0.125 |" in to_markdown(
        correlations
    )
    assert to_csv(yaw).splitlines()[1] == "−15°,synthetic faces,12,0.75,0.5,0.25,0.25,0.25,0.50,0.30,0.20"
    real = analysis_tables(analysis(synthetic=False), "run")
    assert all("synthetic" not in to_csv(table) for table in real)
