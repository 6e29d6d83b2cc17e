"""Score a run: every trained fold on people it never saw, the controls, and examples to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smilevlm.datasets import find_protocol
from smilevlm.errors import CheckpointError, StoreError
from smilevlm.evaluation import draw_examples, make_example, score_fold, summarise_folds, zero_shot_scores
from smilevlm.evaluation.recogniser import load_recogniser
from smilevlm.results import (
    ControlResult,
    Example,
    ExperimentResult,
    FoldResult,
    honest_pairing_name,
    write_results,
    write_timing,
)
from smilevlm.results.schema import Level
from smilevlm.store import PreparedSet
from smilevlm.training.fold import check_store, read_split
from smilevlm.training.names import EXAMPLES_NAME, METRICS_NAME, PROPOSALS_NAME, RESULTS_NAME, TIMING_NAME
from smilevlm.training.pseudo import read_pairing_teacher
from smilevlm.training.resolve import config_from
from smilevlm.training.run import FoldJob, fold_jobs, read_run_config
from smilevlm.training.settings import ExperimentConfig
from smilevlm.training.splits import check_folds, refuse_split_leaks, split_fold


def evaluate_run(run: Path, store: Path, *, num_examples: int = 12) -> ExperimentResult:
    """Score the trained folds of a run and write `results.json`, `timing.json` and the examples' pictures.

    Args:
        run: A run folder; it holds the recipe it was trained with.
        store: The prepared set it was trained on.
        num_examples: Test samples to keep for the report, drawn blind to the prediction.

    Raises:
        CheckpointError: No fold is trained, or the fold file or a fold's split is not the recipe's.
        StoreError: The store is not the one that the run was trained on.
        LeakError: A test subject or test sample was in training.
    """
    described = read_run_config(run)
    config = config_from(described["settings"])
    prepared = PreparedSet(store)
    check_store(config, prepared)
    if described["manifest_hash"] != prepared.manifest.content_hash:
        raise StoreError(f"{run} was trained on other data than {store} holds (manifest hashes differ)")
    check_folds(config, prepared, run)
    jobs = [job for job in fold_jobs(config) if job.is_trained(run)]
    main = [job for job in jobs if not job.shuffled]
    if not main:
        raise CheckpointError(f"{run} has no trained fold; run `smilevlm train` first")
    folds = tuple(_score(config, prepared, run, job) for job in main)
    # A control's folds are compared with the same folds of the run.
    trained = {job.fold for job in main}
    control_folds = tuple(_score(config, prepared, run, job) for job in jobs if job.shuffled and job.fold in trained)
    protocol = find_protocol(config.protocol)
    teacher = None
    if config.pairing == "pseudo":
        teacher = read_pairing_teacher({job.fold: job.folder(run) / PROPOSALS_NAME for job in main})
    result = ExperimentResult(
        recipe=config.name,
        settings=described["settings"],
        layout=prepared.manifest.layout,
        manifest_hash=prepared.manifest.content_hash,
        synthetic=prepared.manifest.synthetic,
        pairing_mode=config.pairing,
        pairing_name=honest_pairing_name(config.pairing, None if teacher is None else teacher.description),
        pairing_teacher=teacher,
        protocol=protocol.name,
        level=sample_level(config, prepared),
        classes=protocol.classes_of(prepared.samples),
        view_angles_deg=config.prepare.views.angles_deg,
        seeds={"folds": config.seed, "training": config.seed},
        package_version=described["package_version"],
        git_commit=described["git_commit"],
        folds=folds,
        summary=summarise_folds(folds),
        controls=_controls(control_folds),
        examples=_examples(config, prepared, run, main[0], num_examples),
    )
    write_results(run / RESULTS_NAME, result)
    write_timing(run / TIMING_NAME, {f"train {job.name}": read_split(job.folder(run))[1] for job in jobs})
    return result


def sample_level(config: ExperimentConfig, prepared: PreparedSet) -> Level:
    """What one test sample is; whether sequences are cut into windows is up to the store, not to the protocol."""
    chosen = find_protocol(config.protocol).select(prepared.samples)
    if all(prepared.samples[i].first_frame == prepared.samples[i].last_frame for i in chosen):
        return "scan"
    return "window" if config.prepare.dynamics.span == "windows" else "sequence"


def _score(config: ExperimentConfig, prepared: PreparedSet, run: Path, job: FoldJob) -> FoldResult:
    folder = job.folder(run)
    split, _ = read_split(folder)
    if split != split_fold(config, prepared, job.fold):
        raise CheckpointError(f"{folder} was trained on another split than the recipe's; train it again")
    refuse_split_leaks(split, prepared)
    recogniser = load_recogniser(folder)
    embedded = recogniser.embed(prepared.load_images(split.test))
    return score_fold(
        fold=job.fold,
        num_folds=config.num_folds,
        z_views=embedded.z_views,
        z_fused=embedded.z_fused,
        view_weights=embedded.view_weights,
        truth=[prepared.samples[i].expression for i in split.test],
        subjects=[prepared.samples[i].subject for i in split.test],
        prototypes=recogniser.prototypes,
        view_angles_deg=config.prepare.views.angles_deg,
        train_subjects=split.train_subjects,
        validation_subjects=split.validation_subjects,
        num_train_samples=len(split.train),
        metrics_csv=(folder / METRICS_NAME).relative_to(run).as_posix(),
        bootstrap_seed=config.seed,
    )


def _controls(folds: Sequence[FoldResult]) -> tuple[ControlResult, ...]:
    if not folds:
        return ()
    control = ControlResult(
        name="shuffled prompts",
        description="Trained alike, but the prompts were dealt out anew at random: accuracy must fall to chance.",
        folds=tuple(folds),
        summary=summarise_folds(folds),
    )
    return (control,)


def _examples(
    config: ExperimentConfig, prepared: PreparedSet, run: Path, job: FoldJob, num_examples: int
) -> tuple[Example, ...]:
    split, _ = read_split(job.folder(run))
    recogniser = load_recogniser(job.folder(run))
    truth = [prepared.samples[i].expression for i in split.test]
    drawn = draw_examples(truth, recogniser.classes, num_examples=num_examples, seed=config.seed)
    if not drawn:
        return ()
    images = prepared.load_images([split.test[i] for i in drawn])
    embedded = recogniser.embed(images)
    scores = zero_shot_scores(embedded.z_fused, recogniser.prototypes)
    angles = config.prepare.views.angles_deg
    examples = []
    for row, index in enumerate(drawn):
        sample = prepared.samples[split.test[index]]
        paths = {}
        for view, angle in enumerate(angles):
            path = run / EXAMPLES_NAME / f"{sample.sample_id}_{angle:+g}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(images[row, view])).save(path)
            paths[angle] = path.relative_to(run).as_posix()
        examples.append(
            make_example(
                sample_id=sample.sample_id,
                subject=sample.subject,
                fold=job.fold,
                truth=sample.expression,
                scores=scores[row],
                temperature=config.score_temperature,
                classes=recogniser.classes,
                view_weights=dict(zip(angles, embedded.view_weights[row].tolist(), strict=True)),
                images=paths,
            )
        )
    return tuple(examples)
