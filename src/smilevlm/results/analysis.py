"""What a model's embeddings look like: `RUN/analysis.json`, and the pictures that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smilevlm.results.fields import Record, ResultFile

ANALYSIS_VERSION = 1
Stage = Literal["before", "after"]
"""Before training (the same seed's fresh weights, or the pretrained tower's) and after."""


@dataclass(frozen=True, kw_only=True)
class MapPoint(Record):
    """One test sample on the map of embeddings."""

    x: float
    y: float
    truth: str
    predicted: str
    subject: str
    level: int


@dataclass(frozen=True, kw_only=True)
class EmbeddingMap(Record):
    """Fused embeddings of the test samples in two dimensions (t-SNE on cosine distances)."""

    stage: Stage
    perplexity: float
    points: tuple[MapPoint, ...]


@dataclass(frozen=True, kw_only=True)
class CorrelationMatrix(Record):
    """A correlation matrix of test samples, made small for drawing.

    Attributes:
        name: `multi_view`: C of Eq. 2 between two distortions, mean over views. `cross_modal`: C_vt of Eq. 8.
        width: Of the whole matrix.
        diagonal_mean: Of the whole matrix.
        off_diagonal_rms: Root mean square of all off-diagonal entries of the whole matrix.
        block: Root mean square of square blocks of the matrix, at most 64 x 64; rows from the top.
    """

    name: Literal["multi_view", "cross_modal"]
    stage: Stage
    width: int
    diagonal_mean: float
    off_diagonal_rms: float
    block: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class EffectiveRank(Record):
    """Collapse meter: exp of the entropy of the normalised singular values (RankMe, arXiv 2210.02885).

    Attributes:
        num_samples: Rows that it is of: samples, or samples times views.
    """

    what: Literal["tower", "views", "fused"]
    stage: Stage
    width: int
    num_samples: int
    effective_rank: float


@dataclass(frozen=True, kw_only=True)
class YawPoint(Record):
    """Test heads turned by one angle before the views are taken.

    Attributes:
        accuracy: Of the fused embedding.
        single_view_accuracy: Nominal view angle to the accuracy of that view alone.
        view_weights: Nominal view angle to the mean fusion weight.
    """

    yaw_deg: float
    num_samples: int
    accuracy: float
    mean_fusion_accuracy: float
    single_view_accuracy: dict[float, float]
    view_weights: dict[float, float]


@dataclass(frozen=True, kw_only=True)
class Relevance(Record):
    """Which part of which view speaks for one class, for one test sample.

    Attributes:
        target: The class whose prompt the relevance is for.
        score: The explained score: the class's cosine minus the mean cosine of the other classes.
        baseline_score: The same for the baseline image.
        view_share: View angle to the share of the absolute relevance in that view; sums to one.
        images: View angle to a PNG of the relevance over the view, relative to the file.
    """

    sample_id: str
    subject: str
    truth: str
    predicted: str
    target: str
    method: str
    score: float
    baseline_score: float
    view_share: dict[float, float]
    images: dict[float, str]


@dataclass(frozen=True, kw_only=True)
class AnalysisResult(ResultFile):
    """One `analysis.json`, of one fold's model on that fold's test subjects.

    Attributes:
        yaw: Empty where the store holds too few angles; `notes` says so.
        notes: What a reader must know, one sentence each, such as a figure that was left out and why.
    """

    recipe: str
    fold: int
    layout: str
    manifest_hash: str
    synthetic: bool
    protocol: str
    classes: tuple[str, ...]
    view_angles_deg: tuple[float, ...]
    test_subjects: tuple[str, ...]
    seed: int
    package_version: str
    git_commit: str | None
    maps: tuple[EmbeddingMap, ...]
    correlations: tuple[CorrelationMatrix, ...]
    effective_ranks: tuple[EffectiveRank, ...]
    yaw: tuple[YawPoint, ...]
    relevance: tuple[Relevance, ...]
    notes: tuple[str, ...] = ()
    schema_version: int = ANALYSIS_VERSION
