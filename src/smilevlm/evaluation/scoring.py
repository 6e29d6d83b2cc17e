"""Score one trained fold: check for leaks, embed training and test samples, and compute the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32

from smilevlm.datasets import check_shared_subjects, find_protocol, train_elsewhere_split
from smilevlm.errors import CheckpointError
from smilevlm.evaluation.binary_scores import multi_label_score
from smilevlm.evaluation.fold_score import (
    FoldEmbeddings,
    FoldSamples,
    FoldTraining,
    ZeroShotClassifier,
    score_fold,
)
from smilevlm.evaluation.probes import ProbeTrainingSet, fitted_probes
from smilevlm.models import Embedded, ModelBundle, Prototypes, class_prototypes, load_bundle, zero_shot_scores
from smilevlm.results import FoldResult, MultiLabelScore, Readout
from smilevlm.store import PreparedSet, Sample
from smilevlm.training import (
    METRICS_NAME,
    PRETRAINING_NAME,
    ExperimentConfig,
    FoldJob,
    FoldSplit,
    HardwareConfig,
    check_chosen_prompts,
    check_known_test_people,
    check_same_prompts,
    check_split_leaks,
    read_fold_record,
    split_fold,
)
from smilevlm.training.splits import trained_sides

if TYPE_CHECKING:
    from smilevlm.evaluation.unseen_wordings import UnseenPrompts

_SAMPLES_AT_A_TIME = 256


class EvaluationData:
    """What a run is scored on.

    Args:
        config: The run's recipe.
        train: The prepared set that it was trained on.
        test: The one that it is tested on; the same one unless the protocol tests elsewhere.
    """

    def __init__(self, config: ExperimentConfig, train: PreparedSet, test: PreparedSet) -> None:
        self.protocol = find_protocol(config.protocol)
        self.train = train
        self.test = test

    @property
    def elsewhere(self) -> bool:
        """Whether another data set is tested on than was trained on."""
        return self.protocol.train_on is not None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes that are compared."""
        return self.protocol.classes_of(self.test.samples)

    @cached_property
    def elsewhere_indices(self) -> tuple[int, ...]:
        """Samples of the test store where the protocol tests elsewhere.

        Raises:
            LeakError: The two stores share samples.
        """
        _, test = train_elsewhere_split(self.protocol, self.train.samples, self.test.samples)
        return tuple(test.tolist())

    def subject_name(self, sample: Sample) -> str:
        """A test subject as results call it; data sets give different people the same names."""
        return f"{self.protocol.layout}/{sample.subject}" if self.elsewhere else sample.subject

    def train_subject_name(self, subject: str) -> str:
        """The same of a subject of the training side."""
        return f"{self.protocol.train_layout}/{subject}" if self.elsewhere else subject


def score_job(
    config: ExperimentConfig,
    tested: EvaluationData,
    run: Path,
    job: FoldJob,
    device: str,
    unseen_prompts: UnseenPrompts | None = None,
) -> FoldResult:
    """Score one trained fold on its test subjects.

    Args:
        config: The run's recipe.
        tested: What it is scored on.
        run: Its folder.
        job: Which fold.
        device: Where embeddings are computed, as torch names it.
        unseen_prompts: Other prompts to compare with as well.
    """
    folder = job.folder(run)
    split, bundle = checked_fold(config, tested, folder, job.fold)
    bundle.model.to(device)
    test = tested_indices(tested, split)
    embedded, samples = embed_recordings(bundle, tested.test, test)
    learned_from, train_samples = embed_recordings(bundle, tested.train, split.labelled_samples(tested.train.samples))
    prototypes = class_directions(bundle, tested.classes)
    multi_label = None
    if tested.protocol.multi_label:
        multi_label = _multi_label(config, prototypes, learned_from, train_samples, embedded, samples)
    single = [row for row, sample in enumerate(samples) if len(sample.classes) == 1]
    chosen = [samples[row] for row in single]
    log, record = folder / METRICS_NAME, read_fold_record(folder)
    angles = config.prepare.views.angles_deg
    names = split.labelled_subjects
    scored = score_fold(
        FoldEmbeddings(
            z_views=embedded.z_views[single],
            z_fused=embedded.z_fused[single],
            view_weights=embedded.view_weights[single],
            features=embedded.features[single],
            view_angles_deg=angles,
        ),
        FoldSamples(
            truth=[sample.expression for sample in chosen],
            subjects=[tested.subject_name(sample) for sample in chosen],
            levels=[sample.level for sample in chosen],
        ),
        ZeroShotClassifier(
            prototypes=prototypes,
            temperature=bundle.temperature,
            nearest=class_directions(bundle, tested.classes, combine="max"),
            unseen_wordings=None
            if unseen_prompts is None
            else unseen_prompts.of_fold(
                bundle,
                tested,
                [i for i in test if len(tested.test.samples[i].classes) == 1],
                embedded.z_fused[single],
            ),
        ),
        FoldTraining(
            fold=job.fold,
            num_folds=config.num_folds,
            subjects=[tested.train_subject_name(name) for name in split.train_subjects],
            num_samples=len(split.train) + len(split.captioned),
            validation_subjects=[tested.train_subject_name(name) for name in split.validation_subjects],
            epoch_choice=record.epoch_choice,
            multi_view_gradient=record.multi_view_gradient,
            # Weights that were not trained have no log.
            metrics_csv=log.relative_to(run).as_posix() if log.is_file() else None,
            labelled_subjects=None if names is None else [tested.train_subject_name(name) for name in names],
            num_unlabelled_samples=len(split.unlabelled),
            # What a model to begin with was trained on before is not known class by class.
            classes=None if config.start_from else _trained_classes(config, tested, split),
        ),
        probe_training=probe_training_set(tested, learned_from.features, train_samples),
        multi_label=multi_label,
        bootstrap_seed=config.seed,
    )
    if not config.pretraining_epochs:
        return scored
    earlier = _probe_after_pretraining(config, tested, folder, split, device)
    return replace(scored, readouts={**scored.readouts, "linear_probe_after_pretraining": earlier})


def _probe_after_pretraining(
    config: ExperimentConfig, tested: EvaluationData, folder: Path, split: FoldSplit, device: str
) -> Readout:
    """The linear probe of the model that the main phase of training began with."""
    place, samples = folder / PRETRAINING_NAME, tested.test.samples
    bundle, test = load_bundle(place), tested_indices(tested, split)
    same_set = not tested.elsewhere
    check_known_test_people(bundle, split, [samples[i] for i in test], same_set=same_set, place=place)
    bundle.model.to(device)
    learned_from, train_samples = embed_recordings(bundle, tested.train, split.labelled_samples(tested.train.samples))
    embedded, single = embed_recordings(bundle, tested.test, [i for i in test if len(samples[i].classes) == 1])
    return fitted_probes(
        probe_training_set(tested, learned_from.features, train_samples),
        embedded.features,
        [sample.expression for sample in single],
        [tested.subject_name(sample) for sample in single],
        tested.classes,
        config.seed,
    )["linear_probe"]


def _trained_classes(config: ExperimentConfig, tested: EvaluationData, split: FoldSplit) -> frozenset[str]:
    if config.optimiser.epochs == 0:
        return frozenset()
    return frozenset(
        name for side in trained_sides(split) for index in side for name in tested.train.samples[index].classes
    )


def checked_fold(
    config: ExperimentConfig, tested: EvaluationData, folder: Path, fold: int
) -> tuple[FoldSplit, ModelBundle]:
    """The split and the model of a trained fold, after all leak checks."""
    split = read_fold_record(folder).split
    if split != split_fold(config, tested.train, fold):
        raise CheckpointError(f"{folder} was trained on another split than the recipe's; train it again")
    check_shared_subjects(train=split.train_subjects, validation=split.validation_subjects, test=split.test_subjects)
    check_split_leaks(split, tested.train)
    bundle = load_bundle(folder)
    samples = [tested.test.samples[i] for i in tested_indices(tested, split)]
    check_known_test_people(bundle, split, samples, same_set=not tested.elsewhere, place=folder)
    check_chosen_prompts(config, {sample.subject for sample in samples}, tested.protocol.layout)
    check_same_prompts(config, bundle, folder)
    return split, bundle


def embedding_device(hardware: HardwareConfig | None) -> str:
    """Where a run's embeddings are computed, as torch names it; the CPU by default."""
    return f"cuda:{hardware.device}" if hardware is not None and hardware.on_gpu else "cpu"


def tested_indices(tested: EvaluationData, split: FoldSplit) -> tuple[int, ...]:
    """Samples of the test store that a fold is tested on."""
    return tested.elsewhere_indices if tested.elsewhere else split.test


def class_directions(bundle: ModelBundle, classes: Sequence[str], *, combine: str = "mean") -> Prototypes:
    """The prompts of these classes as directions; a model may know more classes than are compared."""
    prompts = bundle.prompts
    kept = [row for row, name in enumerate(prompts.classes) if name in classes]
    return class_prototypes(prompts.centred[kept], [prompts.classes[row] for row in kept], classes, combine)


def embed(
    bundle: ModelBundle,
    prepared: PreparedSet,
    indices: Sequence[int],
    *,
    candidates: Float32[np.ndarray, "prompt dim"] | None = None,
) -> Embedded:
    """Embed samples of a store, of which a few hundred are in memory at a time; see `ModelBundle.embed`."""
    parts = [
        bundle.embed(prepared.load_images(indices[start : start + _SAMPLES_AT_A_TIME]), candidates=candidates)
        for start in range(0, len(indices), _SAMPLES_AT_A_TIME)
    ]
    return replace(
        parts[0],
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Embedded.__dataclass_fields__},
    )


def embed_recordings(
    bundle: ModelBundle,
    prepared: PreparedSet,
    indices: Sequence[int],
    *,
    candidates: Float32[np.ndarray, "prompt dim"] | None = None,
) -> tuple[Embedded, list[Sample]]:
    """What is scored, and whose it is: of a store with an image of each phase the mean over a recording's images.

    The images' embeddings are brought to unit length first, so the nearest class is that of their mean cosines, as in
    prediction. All other stores give a row per sample, windows of a sequence too; see `embed`.

    Returns:
        The embeddings, and the sample of each; of averaged ones the recording's first.
    """
    embedded = embed(bundle, prepared, indices, candidates=candidates)
    samples = [prepared.samples[i] for i in indices]
    if prepared.manifest.settings.dynamics.span != "both_phases":
        return embedded, samples
    rows: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        rows.setdefault(sample.recording, []).append(row)
    unit = replace(embedded, z_views=_unit_length(embedded.z_views), z_fused=_unit_length(embedded.z_fused))
    averaged = {
        name: np.stack([getattr(unit, name)[of_one].mean(axis=0) for of_one in rows.values()])
        for name in Embedded.__dataclass_fields__
    }
    return replace(embedded, **averaged), [samples[of_one[0]] for of_one in rows.values()]


def _unit_length(vectors: Float32[np.ndarray, "*rows dim"]) -> Float32[np.ndarray, "*rows dim"]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def probe_training_set(
    tested: EvaluationData, features: Float32[np.ndarray, "train view feature"], samples: Sequence[Sample]
) -> ProbeTrainingSet:
    """What probes are fitted on: the training samples of exactly one class that is compared."""
    rows = [row for row, sample in enumerate(samples) if sample.expression in tested.classes]
    return ProbeTrainingSet(
        features=features[rows],
        truth=[samples[row].expression for row in rows],
        subjects=[tested.train_subject_name(samples[row].subject) for row in rows],
    )


def _multi_label(
    config: ExperimentConfig,
    prototypes: Prototypes,
    learned_from: Embedded,
    train_samples: Sequence[Sample],
    embedded: Embedded,
    samples: Sequence[Sample],
) -> MultiLabelScore:
    angles = config.prepare.views.angles_deg
    return multi_label_score(
        classes=prototypes.classes,
        subjects=[sample.subject for sample in samples],
        train_truth=_label_matrix(train_samples, prototypes.classes),
        train_scores=zero_shot_scores(learned_from.z_fused, prototypes),
        train_view_scores=_by_view(learned_from, prototypes, angles),
        truth=_label_matrix(samples, prototypes.classes),
        scores=zero_shot_scores(embedded.z_fused, prototypes),
        view_scores=_by_view(embedded, prototypes, angles),
    )


def _by_view(embedded: Embedded, prototypes: Prototypes, angles_deg: Sequence[float]) -> dict[float, np.ndarray]:
    return {angle: zero_shot_scores(embedded.z_views[:, view], prototypes) for view, angle in enumerate(angles_deg)}


def _label_matrix(samples: Sequence[Sample], classes: Sequence[str]) -> Bool[np.ndarray, "sample class"]:
    return np.array([[name in sample.classes for name in classes] for sample in samples])
