"""What a fold's embeddings look like before and after training, and which pixels decide: `RUN/analysis.json`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from smilevlm.errors import CheckpointError
from smilevlm.evaluation import effective_rank, predict
from smilevlm.evaluation.embedding_analysis import (
    MIN_MAP_SAMPLES,
    cross_modal_correlation,
    describe_correlation,
    embedding_map,
    multi_view_correlation,
)
from smilevlm.evaluation.fold_analysis import AnalysedFold, open_fold, untrained_model
from smilevlm.evaluation.saliency import draw_explained, explain_sample
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.trained_fold import Progress, Steps
from smilevlm.evaluation.yaw_robustness import open_yaw_set, score_turned_heads
from smilevlm.models import Embedded, ModelBundle
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
from smilevlm.training.run_folder import ANALYSIS_NAME, PICTURES_NAME

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
    progress: Progress | None = None,
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
        CheckpointError: The fold is not trained, or the fold file, its split or its model is not the recipe's.
        StoreError: The store is not the one of the run, or the yaw store was made otherwise or from other scans.
        SettingsError: The run tests on another data set than it trained on, or a number is out of range.
        LeakError: A test subject or test sample was in training or had a part in a choice.
        PromptError: The prompts were changed since training.
    """
    from threadpoolctl import threadpool_limits

    analysed = open_fold(run, store, fold)
    yaw_set = None if yaw_store is None else open_yaw_set(analysed, yaw_store)
    drawn = draw_explained(analysed, num_relevance)
    steps = Steps(5 + len(drawn), progress)
    notes = []
    if analysed.num_left_out:
        notes.append(f"{analysed.num_left_out} test samples with several classes were left out.")
    # Libraries of linear algebra round differently with another number of threads.
    with threadpool_limits(1):
        before = _stage(analysed, "before", replace(analysed.bundle, model=untrained_model(analysed)), steps, notes)
        after = _stage(analysed, "after", analysed.bundle, steps, notes)
        yaw: tuple[YawPoint, ...] = ()
        if yaw_set is None:
            notes.append("Accuracy against yaw was left out: no store with more angles was given (--yaw-store).")
        else:
            yaw = score_turned_heads(analysed, yaw_set, notes)
        steps.done()
        relevance: list[Relevance] = []
        for row in drawn:
            relevance += explain_sample(analysed, row, run, PICTURES_NAME, notes)
            steps.done()
    result = _result(analysed, before, after, yaw, relevance, notes)
    write_record(run / ANALYSIS_NAME, result)
    return result


_StageParts = tuple[EmbeddingMap | None, list[CorrelationMatrix], list[EffectiveRank]]


def _stage(analysed: AnalysedFold, stage: Stage, bundle: ModelBundle, steps: Steps, notes: list[str]) -> _StageParts:
    """Everything that is looked at both before and after training."""
    embedded = embed(bundle, analysed.prepared, analysed.indices)
    ranks = _effective_ranks(stage, embedded)
    steps.done()
    places = _map(analysed, stage, embedded, notes)
    correlations = _correlations(analysed, stage, bundle, embedded)
    steps.done()
    return places, correlations, ranks


def _result(
    analysed: AnalysedFold,
    before: _StageParts,
    after: _StageParts,
    yaw: tuple[YawPoint, ...],
    relevance: list[Relevance],
    notes: list[str],
) -> AnalysisResult:
    config, manifest, stages = analysed.config, analysed.prepared.manifest, (before, after)
    return AnalysisResult(
        recipe=config.name,
        fold=analysed.split.fold,
        layout=manifest.layout,
        manifest_hash=manifest.content_hash,
        synthetic=manifest.synthetic,
        protocol=config.protocol,
        classes=analysed.prototypes.classes,
        view_angles_deg=config.prepare.views.angles_deg,
        test_subjects=analysed.split.test_subjects,
        seed=config.seed,
        package_version=analysed.described["package_version"],
        git_commit=analysed.described["git_commit"],
        maps=tuple(places for places, _, _ in stages if places is not None),
        correlations=tuple(matrix for _, matrices, _ in stages for matrix in matrices),
        effective_ranks=tuple(rank for _, _, ranks in stages for rank in ranks),
        yaw=yaw,
        relevance=tuple(relevance),
        notes=tuple(notes),
    )


def _map(analysed: AnalysedFold, stage: Stage, embedded: Embedded, notes: list[str]) -> EmbeddingMap | None:
    if len(analysed.indices) < MIN_MAP_SAMPLES:
        notes.append(f"The map {stage} training was left out: it needs {MIN_MAP_SAMPLES} test samples or more.")
        return None
    try:
        places, perplexity = embedding_map(embedded.z_fused, seed=analysed.config.seed)
    except CheckpointError as error:
        # A model that has collapsed is a finding, which the effective ranks tell; there is only nothing to map.
        notes.append(f"The map {stage} training was left out: {error}.")
        return None
    predicted = predict(embedded.z_fused, analysed.prototypes)
    points = tuple(
        MapPoint(
            x=float(x),
            y=float(y),
            truth=sample.expression,
            predicted=analysed.prototypes.classes[said],
            subject=sample.subject,
            level=sample.level,
        )
        for (x, y), said, sample in zip(places, predicted, analysed.samples, strict=True)
    )
    return EmbeddingMap(stage=stage, perplexity=perplexity, points=points)


def _correlations(
    analysed: AnalysedFold, stage: Stage, bundle: ModelBundle, embedded: Embedded
) -> list[CorrelationMatrix]:
    z_a, z_b = _distorted_pair(analysed, bundle)
    text = analysed.prototypes.vectors[analysed.truth]
    return [
        describe_correlation(multi_view_correlation(z_a, z_b), cross_modal=False, stage=stage),
        describe_correlation(cross_modal_correlation(embedded.z_fused, text), cross_modal=True, stage=stage),
    ]


def _distorted_pair(
    analysed: AnalysedFold, bundle: ModelBundle
) -> tuple[Float[np.ndarray, "n view dim"], Float[np.ndarray, "n view dim"]]:
    """View embeddings of the test samples under two distortions, the same ones before and after training."""
    import torch

    from smilevlm.augment.distortions import Distortions
    from smilevlm.training.data import to_channels_first, which_are_dynamic

    config, views, indices = analysed.config, analysed.config.prepare.views, analysed.indices
    distortions = Distortions(
        config.distortions, views.angles_deg, normal_x_channel=0 if views.kind == "normals" else None
    )
    state = np.random.SeedSequence([config.seed, analysed.split.fold, _DISTORTION]).generate_state(1)
    generator = torch.Generator().manual_seed(int(state[0]))
    model = bundle.model.eval()
    pairs = []
    with torch.inference_mode(), one_thread():
        for start in range(0, len(indices), _SAMPLES_AT_A_TIME):
            chosen = indices[start : start + _SAMPLES_AT_A_TIME]
            images = to_channels_first(analysed.prepared.load_images(chosen))
            is_dynamic = which_are_dynamic([analysed.prepared.samples[index] for index in chosen])
            copies, _ = distortions.views_and_pairs(images, generator, is_dynamic=is_dynamic)
            pairs.append(model.encode_views(copies[len(images) :]).unflatten(0, (2, len(images))))
        z_a, z_b = torch.cat(pairs, dim=1).numpy()
    return z_a, z_b


def _effective_ranks(stage: Stage, embedded: Embedded) -> list[EffectiveRank]:
    return [
        _effective_rank("tower", stage, embedded.features.reshape(-1, embedded.features.shape[-1])),
        _effective_rank("views", stage, embedded.z_views.reshape(-1, embedded.z_views.shape[-1])),
        _effective_rank("fused", stage, embedded.z_fused),
    ]


def _effective_rank(
    what: Literal["tower", "views", "fused"], stage: Stage, rows: Float[np.ndarray, "row dim"]
) -> EffectiveRank:
    return EffectiveRank(
        what=what, stage=stage, width=rows.shape[1], num_samples=len(rows), effective_rank=effective_rank(rows)
    )
