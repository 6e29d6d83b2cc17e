"""Score a run, `RUN/results.json`: every trained fold on its test subjects, the controls, and examples to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from PIL import Image

from smilevlm.errors import CheckpointError, SettingsError, StoreError
from smilevlm.evaluation.examples import ExampleSample, draw_examples, make_example
from smilevlm.evaluation.oracle import oracle_of_faces
from smilevlm.evaluation.scoring import EvaluationData, class_directions, embedding_device, score_job, tested_indices
from smilevlm.evaluation.unseen_wordings import AUTOMATIC, UnseenPrompts, choose_unseen_prompts
from smilevlm.models import ModelBundle, load_bundle, zero_shot_scores
from smilevlm.prompts import CAPTION_MODES
from smilevlm.results import (
    ControlResult,
    Example,
    ExperimentResult,
    FoldResult,
    Level,
    OracleResult,
    OtherTrainingData,
    ReportedPairing,
    honest_pairing_name,
    summarise_folds,
    write_results,
    write_timing,
)
from smilevlm.store import Manifest, PreparedSet, differing_settings
from smilevlm.training import (
    EXAMPLES_NAME,
    PROPOSALS_NAME,
    RESULTS_NAME,
    TIMING_NAME,
    ExperimentConfig,
    FoldJob,
    HardwareConfig,
    check_folds,
    check_store,
    config_from,
    described_captions,
    fold_jobs,
    read_fold_record,
    read_pairing_teacher,
    read_run_config,
)


def evaluate_run(
    run: Path,
    store: Path,
    *,
    test_store: Path | None = None,
    num_examples: int = 12,
    hardware: HardwareConfig | None = None,
    unseen_prompts: str = AUTOMATIC,
    faces: Path | None = None,
) -> ExperimentResult:
    """Score the trained folds of a run and write `results.json`, `timing.json` and the examples' pictures.

    Args:
        run: A run folder; it holds the recipe it was trained with.
        store: The prepared set it was trained on.
        test_store: The prepared set to test on, where the protocol tests on another data set.
        num_examples: Test samples to keep for the report, drawn blind to the prediction.
        hardware: Where the embeddings are computed; the CPU by default.
        unseen_prompts: Prompt set for the score with wordings that the run never trained with: a name or a path, `auto`
            for the first bundled one that fits, `none` for no such score.
        faces: The synthetic faces of layout `4dme` that the test store was prepared from; with them the oracle is
            scored too, a classifier of their true movement.

    Raises:
        PromptError: The named set has texts that the run trained with, or lacks a class.
    """
    described = read_run_config(run)
    config = config_from(described["settings"])
    tested = open_evaluation_data(config, described["manifest_hash"], store, test_store, run)
    jobs = [job for job in fold_jobs(config) if job.is_trained(run)]
    main = [job for job in jobs if not job.shuffled]
    if not main:
        raise CheckpointError(f"{run} has no trained fold; run `smilevlm train` first")
    device = embedding_device(hardware)
    pairing, teacher = _reported_pairing(config), None
    prompt_set = choose_unseen_prompts(config, tested, pairing, unseen_prompts) if is_aligned(config) else None
    unseen = None if prompt_set is None else UnseenPrompts(prompt_set, config.text_tower)
    folds = tuple(score_job(config, tested, run, job, device, unseen) for job in main)
    # A control's folds are compared with the same folds of the run.
    trained = {job.fold for job in main}
    repeated = [job for job in jobs if job.shuffled and job.fold in trained]
    control_folds = tuple(score_job(config, tested, run, job, device, unseen) for job in repeated)
    # Without losses that use its proposals, or with those of other samples, there is none to report.
    if pairing == "pseudo":
        teacher = read_pairing_teacher({job.fold: job.folder(run) / PROPOSALS_NAME for job in main})
    oracle = None if faces is None else _oracle(faces, tested, folds)
    manifest, learned_from = tested.test.manifest, tested.train.manifest
    captions = described_captions(config, synthetic=learned_from.synthetic) if pairing in CAPTION_MODES else None
    first = load_bundle(main[0].folder(run))
    result = ExperimentResult(
        **run_identity(described, config, manifest),
        method=config.method,
        aligned_with_text=is_aligned(config),
        settings=described["settings"],
        trained_on=OtherTrainingData(
            layout=learned_from.layout, manifest_hash=learned_from.content_hash, synthetic=learned_from.synthetic
        )
        if tested.elsewhere
        else None,
        started_from=first.started_from,
        # The model records whether it, or one before it, was trained on synthetic faces.
        synthetic=manifest.synthetic or first.synthetic,
        pairing_mode=pairing,
        pairing_name=honest_pairing_name(pairing, None if teacher is None else teacher.description, captions),
        pairing_teacher=teacher,
        pairing_captions=captions,
        protocol=tested.protocol.name,
        level=sample_level(config, tested),
        classes=tested.classes,
        view_angles_deg=config.prepare.views.angles_deg,
        seeds={"folds": config.seed, "training": config.seed},
        folds=folds,
        summary=summarise_folds(folds),
        controls=_controls(control_folds),
        unseen_prompt_set=None if prompt_set is None else prompt_set.name,
        oracle=oracle,
        examples=_examples(config, tested, run, main[0], first, num_examples),
    )
    write_results(run / RESULTS_NAME, result)
    write_timing(run / TIMING_NAME, {f"train {job.name}": read_fold_record(job.folder(run)).seconds for job in jobs})
    return result


class RunIdentity(TypedDict):
    """What every result file of a run says of it: the fields of these names."""

    recipe: str
    layout: str
    manifest_hash: str
    package_version: str
    git_commit: str | None


def run_identity(described: Mapping[str, Any], config: ExperimentConfig, manifest: Manifest) -> RunIdentity:
    """Which run a result is of.

    Args:
        described: As `read_run_config` gives it.
        config: The run's recipe.
        manifest: Of the set that is tested on.
    """
    return RunIdentity(
        recipe=config.name,
        layout=manifest.layout,
        manifest_hash=manifest.content_hash,
        package_version=described["package_version"],
        git_commit=described["git_commit"],
    )


def _oracle(faces: Path, tested: EvaluationData, folds: Sequence[FoldResult]) -> OracleResult:
    layout, samples = tested.test.manifest.layout, tested.test.samples
    if layout != "4dme":
        raise SettingsError(f"the true movement is known of synthetic faces of layout 4dme, the store holds {layout}")
    if tested.test.manifest.settings.dynamics.span == "windows":
        raise SettingsError("the true movement is that of a whole clip, and the store has windows")
    subjects = {subject for fold in folds for subject in fold.test_subjects}
    return oracle_of_faces(faces, [samples[i] for i in tested.protocol.select(samples)], subjects, tested.classes)


def _reported_pairing(config: ExperimentConfig) -> ReportedPairing:
    """Which pairing the losses really used."""
    if config.optimiser.epochs == 0:
        return "none"
    if config.pairing != "labels" and config.loss.beta == config.loss.gamma == 0:
        return "none"
    return "shuffled" if config.shuffle_prompts else config.pairing


def is_aligned(config: ExperimentConfig) -> bool:
    """Whether the embedding and the prompts (or labels) share a space: by training, or as a CLIP comes."""
    if config.optimiser.epochs == 0:
        return config.model.projector.num_layers == 0
    return config.pairing == "labels" or config.loss.beta > 0 or config.loss.gamma > 0


def open_evaluation_data(
    config: ExperimentConfig, manifest_hash: str, store: Path, test_store: Path | None, run: Path
) -> EvaluationData:
    """Open the stores that a run is scored with, after checking that they are its own.

    Args:
        config: The run's recipe.
        manifest_hash: Of the set that it was trained on, as the run has it.
        store: The prepared set it was trained on.
        test_store: The one that is tested on, where that is another.
        run: For its fold file, and for messages.
    """
    prepared = PreparedSet(store)
    check_store(config, prepared)
    if manifest_hash != prepared.manifest.content_hash:
        raise StoreError(f"{run} was trained on other data than {store} holds (manifest hashes differ)")
    check_folds(config, prepared, run)
    tested = EvaluationData(config, prepared, prepared if test_store is None else PreparedSet(test_store))
    if tested.protocol.train_on is None:
        if test_store is not None:
            raise SettingsError(
                f"protocol {config.protocol} tests on the set that it trains on; leave the test store out"
            )
        return tested
    layout = tested.protocol.layout
    if test_store is None:
        raise SettingsError(f"protocol {config.protocol} tests on {layout}: name its prepared set with --test-store")
    manifest = tested.test.manifest
    if manifest.layout != layout:
        raise StoreError(f"{test_store} holds {manifest.layout}, protocol {config.protocol} tests on {layout}")
    if manifest.settings != config.prepare:
        differing = differing_settings(manifest.settings, config.prepare, "the recipe has")
        raise StoreError(f"{test_store} was prepared with other settings: {differing}")
    return tested


def sample_level(config: ExperimentConfig, tested: EvaluationData) -> Level:
    """What one test sample is; whether sequences are cut into windows is up to the store, not to the protocol."""
    samples = tested.test.samples
    if all(samples[i].first_frame == samples[i].last_frame for i in tested.protocol.select(samples)):
        return "scan"
    return "window" if config.prepare.dynamics.span == "windows" else "sequence"


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
    config: ExperimentConfig, tested: EvaluationData, run: Path, job: FoldJob, bundle: ModelBundle, num_examples: int
) -> tuple[Example, ...]:
    split = read_fold_record(job.folder(run)).split
    prototypes = class_directions(bundle, tested.classes)
    samples = tested.test.samples
    candidates = [i for i in tested_indices(tested, split) if len(samples[i].classes) == 1]
    truth = [samples[i].expression for i in candidates]
    drawn = draw_examples(truth, tested.classes, num_examples=num_examples, seed=config.seed)
    if not drawn:
        return ()
    images = tested.test.load_images([candidates[i] for i in drawn])
    embedded = bundle.embed(images)
    scores = zero_shot_scores(embedded.z_fused, prototypes)
    angles = config.prepare.views.angles_deg
    examples = []
    for row, index in enumerate(drawn):
        sample = samples[candidates[index]]
        paths = {}
        for view, angle in enumerate(angles):
            path = run / EXAMPLES_NAME / f"{sample.sample_id}_{angle:+g}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(images[row, view])).save(path)
            paths[angle] = path.relative_to(run).as_posix()
        examples.append(
            make_example(
                ExampleSample(
                    sample_id=sample.sample_id,
                    subject=tested.subject_name(sample),
                    fold=job.fold,
                    truth=sample.expression,
                    images=paths,
                    actions=sample.actions,
                ),
                scores=scores[row],
                temperature=bundle.temperature,
                classes=tested.classes,
                view_weights=dict(zip(angles, embedded.view_weights[row].tolist(), strict=True)),
            )
        )
    return tuple(examples)
