"""Analysis of one trained fold, `RUN/analysis.json`: embeddings before and after training, yaw, pixel relevance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from smilevlm.errors import CheckpointError
from smilevlm.evaluation.embedding_analysis import (
    MIN_MAP_SAMPLES,
    cross_modal_correlation,
    describe_correlation,
    effective_rank,
    embedding_map,
    multi_view_correlation,
)
from smilevlm.evaluation.fold_score import predict
from smilevlm.evaluation.saliency import draw_explained, explain_sample
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.trained_fold import StepCounter, TrainedFold, open_trained_fold, untrained_model
from smilevlm.evaluation.yaw_robustness import open_yaw_set, yaw_accuracies
from smilevlm.models import Embedded, ModelBundle
from smilevlm.parallel import ProgressCallback
from smilevlm.results import (
    AnalysisResult,
    CorrelationMatrix,
    EffectiveRank,
    EmbeddingMap,
    MapPoint,
    Relevance,
    Stage,
    YawPoint,
    write_record,
)
from smilevlm.threads import one_thread
from smilevlm.training import ANALYSIS_NAME, PICTURES_NAME

_DISTORTION = 11
"""Keeps the draw of the two distortions apart from other draws with the same seed."""
_SAMPLES_AT_A_TIME = 64


def analyse_run(
    run: Path,
    store: Path,
    *,
    fold: int | None = None,
    yaw_store: Path | None = None,
    num_relevance: int = 6,
    progress: ProgressCallback | None = None,
) -> AnalysisResult:
    """Analyse one trained fold on its test subjects; write `analysis.json` and the pictures that it names.

    The same run gives the same bytes.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which; None for the first that is trained.
        yaw_store: The same data set prepared alike with more angles, for the accuracy of turned heads.
        num_relevance: Test samples to explain, drawn blind to the prediction.
        progress: Called after every step.

    Raises:
        StoreError: The yaw store was prepared otherwise or from other scans, or the store is not the run's.
    """
    from threadpoolctl import threadpool_limits

    trained = open_trained_fold(run, store, fold)
    notes = []
    if trained.num_left_out:
        notes.append(f"{trained.num_left_out} test samples with several classes were left out.")
    yaw_set = None if yaw_store is None else open_yaw_set(trained, yaw_store)
    drawn = draw_explained(trained, num_relevance)
    steps = StepCounter(5 + len(drawn), progress)
    # Libraries of linear algebra round differently with another number of threads.
    with threadpool_limits(1):
        untrained = replace(trained.bundle, model=untrained_model(trained))
        stages = [
            _analyse_stage(trained, "before", untrained, steps, notes),
            _analyse_stage(trained, "after", trained.bundle, steps, notes),
        ]
        yaw: tuple[YawPoint, ...] = ()
        if yaw_set is None:
            notes.append("Accuracy against yaw was left out: no store with more angles was given (--yaw-store).")
        else:
            yaw = yaw_accuracies(trained, yaw_set, notes)
        steps.step()
        relevance: list[Relevance] = []
        for row in drawn:
            relevance += explain_sample(trained, row, run, PICTURES_NAME, notes)
            steps.step()
    result = _result(trained, stages, yaw, relevance, notes)
    write_record(run / ANALYSIS_NAME, result)
    return result


@dataclass(frozen=True, kw_only=True)
class _StageAnalysis:
    """What is analysed both before and after training."""

    map: EmbeddingMap | None
    correlations: list[CorrelationMatrix]
    effective_ranks: list[EffectiveRank]


def _analyse_stage(
    fold: TrainedFold, stage: Stage, bundle: ModelBundle, steps: StepCounter, notes: list[str]
) -> _StageAnalysis:
    embedded = embed(bundle, fold.prepared, fold.indices)
    ranks = _effective_ranks(stage, embedded)
    steps.step()
    places = _map(fold, stage, embedded, notes)
    correlations = _correlations(fold, stage, bundle, embedded)
    steps.step()
    return _StageAnalysis(map=places, correlations=correlations, effective_ranks=ranks)


def _result(
    fold: TrainedFold,
    stages: list[_StageAnalysis],
    yaw: tuple[YawPoint, ...],
    relevance: list[Relevance],
    notes: list[str],
) -> AnalysisResult:
    config = fold.config
    return AnalysisResult(
        **fold.identity,
        fold=fold.split.fold,
        synthetic=fold.prepared.manifest.synthetic,
        protocol=config.protocol,
        classes=fold.prototypes.classes,
        view_angles_deg=config.prepare.views.angles_deg,
        test_subjects=fold.split.test_subjects,
        seed=config.seed,
        maps=tuple(stage.map for stage in stages if stage.map is not None),
        correlations=tuple(matrix for stage in stages for matrix in stage.correlations),
        effective_ranks=tuple(rank for stage in stages for rank in stage.effective_ranks),
        yaw=yaw,
        relevance=tuple(relevance),
        notes=tuple(notes),
    )


def _map(fold: TrainedFold, stage: Stage, embedded: Embedded, notes: list[str]) -> EmbeddingMap | None:
    if len(fold.indices) < MIN_MAP_SAMPLES:
        notes.append(f"The map {stage} training was left out: it needs {MIN_MAP_SAMPLES} test samples or more.")
        return None
    try:
        places, perplexity = embedding_map(embedded.z_fused, seed=fold.config.seed)
    except CheckpointError as error:
        # A collapsed model is a result, which the effective ranks show; there is only nothing to map.
        notes.append(f"The map {stage} training was left out: {error}.")
        return None
    predicted = predict(embedded.z_fused, fold.prototypes)
    points = tuple(
        MapPoint(
            x=float(x),
            y=float(y),
            truth=sample.expression,
            predicted=fold.prototypes.classes[number],
            subject=sample.subject,
            level=sample.level,
        )
        for (x, y), number, sample in zip(places, predicted, fold.samples, strict=True)
    )
    return EmbeddingMap(stage=stage, perplexity=perplexity, points=points)


def _correlations(fold: TrainedFold, stage: Stage, bundle: ModelBundle, embedded: Embedded) -> list[CorrelationMatrix]:
    z_a, z_b = _distorted_pair(fold, bundle)
    text = fold.prototypes.vectors[fold.truth]
    return [
        describe_correlation(multi_view_correlation(z_a, z_b), cross_modal=False, stage=stage),
        describe_correlation(cross_modal_correlation(embedded.z_fused, text), cross_modal=True, stage=stage),
    ]


def _distorted_pair(
    fold: TrainedFold, bundle: ModelBundle
) -> tuple[Float[np.ndarray, "n view dim"], Float[np.ndarray, "n view dim"]]:
    """View embeddings of the test samples under two distortions, the same ones before and after training."""
    import torch

    from smilevlm.augment import Distortions
    from smilevlm.training import to_channels_first, which_are_dynamic

    config, views, indices = fold.config, fold.config.prepare.views, fold.indices
    distortions = Distortions.for_views(config.distortions, views)
    state = np.random.SeedSequence([config.seed, fold.split.fold, _DISTORTION]).generate_state(1)
    generator = torch.Generator().manual_seed(int(state[0]))
    model = bundle.model.eval()
    pairs = []
    with torch.inference_mode(), one_thread():
        for start in range(0, len(indices), _SAMPLES_AT_A_TIME):
            chosen = indices[start : start + _SAMPLES_AT_A_TIME]
            images = to_channels_first(fold.prepared.load_images(chosen))
            is_dynamic = which_are_dynamic([fold.prepared.samples[index] for index in chosen])
            copies, _ = distortions.views_and_pairs(images, generator, is_dynamic=is_dynamic)
            distorted = copies[len(images) : 3 * len(images)]
            pairs.append(model.encode_views(distorted).unflatten(0, (2, len(images))))
        z_a, z_b = torch.cat(pairs, dim=1).numpy()
    return z_a, z_b


def _effective_ranks(stage: Stage, embedded: Embedded) -> list[EffectiveRank]:
    vectors: tuple[tuple[Literal["tower", "views", "fused"], np.ndarray], ...] = (
        ("tower", embedded.features),
        ("views", embedded.z_views),
        ("fused", embedded.z_fused),
    )
    ranks = []
    for what, values in vectors:
        rows = values.reshape(-1, values.shape[-1])
        rank = effective_rank(rows)
        ranks.append(
            EffectiveRank(what=what, stage=stage, width=rows.shape[1], num_samples=len(rows), effective_rank=rank)
        )
    return ranks
