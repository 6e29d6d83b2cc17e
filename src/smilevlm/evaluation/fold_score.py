"""From the embeddings of one fold's test samples to its scores: accuracy with prompts, probes, calibration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilevlm.datasets import check_shared_subjects
from smilevlm.datasets.folds import first_few
from smilevlm.errors import LeakError, SettingsError
from smilevlm.evaluation.metrics import (
    calibration,
    class_indices,
    classification_metrics,
    subject_bootstrap_interval,
    subject_confusion,
    subject_counts,
)
from smilevlm.evaluation.probes import ProbeTrainingSet, fitted_probes, score_probes, scored_readout
from smilevlm.models import Prototypes, predicted_classes, probabilities, zero_shot_scores
from smilevlm.results import EpochChoice, FoldResult, MultiLabelScore, MultiViewGradient, Readout

_WEIGHT_TOLERANCE = 5e-3
"""Half precision, as in mixed-precision inference, leaves the sum of some weights off by about 1e-3."""


@dataclass(frozen=True, kw_only=True)
class FoldEmbeddings:
    """Embeddings of a fold's test samples.

    Attributes:
        z_views: Each view's embedding, as it entered the fusion.
        z_fused: The fusion's embedding.
        view_weights: The fusion's weights; each row sums to one.
        features: The tower's, before the projector; read by the fitted probes.
        view_angles_deg: One per view.
    """

    z_views: Float[np.ndarray, "n view dim"]
    z_fused: Float[np.ndarray, "n dim"]
    view_weights: Float[np.ndarray, "n view"]
    features: Float[np.ndarray, "n view feature"]
    view_angles_deg: Sequence[float | int]


@dataclass(frozen=True, kw_only=True)
class FoldSamples:
    """What is known of a fold's test samples.

    Attributes:
        truth: True class of each sample.
        subjects: Subject of each sample; together they are the test subjects.
        levels: Intensity of each sample, 0 where there is none.
    """

    truth: Sequence[str]
    subjects: Sequence[str]
    levels: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class UnseenWordings:
    """Prompts of the same classes that training never had.

    Attributes:
        prototypes: Of every class.
        z_fused: The fusion's embedding of the test samples, with these prompts where it looks at prompts.
    """

    prototypes: Prototypes
    z_fused: Float[np.ndarray, "n dim"]


@dataclass(frozen=True, kw_only=True)
class ZeroShotClassifier:
    """How embeddings become classes.

    Attributes:
        prototypes: Of every class, whether or not it occurs among the samples.
        temperature: Of the softmax over cosines that gives probabilities.
        nearest: Every prompt by itself, for the probe `nearest_prompt`; None: it is left out.
        unseen_wordings: Other prompts of the same classes; None: they are not scored.
    """

    prototypes: Prototypes
    temperature: float
    nearest: Prototypes | None = None
    unseen_wordings: UnseenWordings | None = None


@dataclass(frozen=True, kw_only=True)
class FoldTraining:
    """How the fold's model was trained; noted in the result.

    Attributes:
        fold: Index from zero.
        num_folds: Folds of the protocol.
        subjects: Every training subject. May repeat, as a list over samples does.
        num_samples: Training samples.
        validation_subjects: Subjects that a choice was made on.
        epoch_choice: Which epoch they chose.
        metrics_csv: The training log, relative to the result file.
        multi_view_gradient: The multi-view loss's part of the tower's gradient, where it was measured.
        labelled_subjects: Those of `subjects` whose labels were used; None for all.
        num_unlabelled_samples: Samples of no class or another one that training saw besides.
        classes: That training samples have; None where it is not known of all training.
    """

    fold: int
    num_folds: int
    subjects: Sequence[str]
    num_samples: int
    validation_subjects: Sequence[str] = ()
    epoch_choice: EpochChoice | None = None
    metrics_csv: str | None = None
    multi_view_gradient: MultiViewGradient | None = None
    labelled_subjects: Sequence[str] | None = None
    num_unlabelled_samples: int = 0
    classes: Collection[str] | None = None


def score_fold(
    embeddings: FoldEmbeddings,
    samples: FoldSamples,
    classifier: ZeroShotClassifier,
    training: FoldTraining,
    *,
    probe_training: ProbeTrainingSet | None = None,
    multi_label: MultiLabelScore | None = None,
    bootstrap_seed: int = 0,
) -> FoldResult:
    """Score the fused embedding, each view alone, and the plain mean of the views, all against the same prototypes.

    Beside them, probes of the same samples, the expected calibration error of the fused embedding's probabilities, and
    its accuracy by intensity.

    Args:
        embeddings: Of the test samples.
        samples: The test samples, in the same order.
        classifier: Prototypes and temperature.
        training: Of the fold's model.
        probe_training: What the linear probe and k-NN are fitted on, of training subjects only; None: they are left
            out.
        multi_label: The score of all test samples where some have several classes; noted in the result.
        bootstrap_seed: Of the interval over subjects, and of the inner split of the linear probe.

    Raises:
        LeakError: A subject is in two of training, validation and test, or a probe would be fitted on others than the
            training subjects. Nothing is scored.
    """
    _check_leaks(samples, training, probe_training)
    _check_sizes(embeddings, samples)
    angles = _distinct_angles(embeddings.view_angles_deg)
    prototypes, subjects = classifier.prototypes, samples.subjects
    truth = class_indices(samples.truth, prototypes.classes)
    weights = _normalised_weights(embeddings.view_weights)

    scores = zero_shot_scores(embeddings.z_fused, prototypes)
    predicted = predicted_classes(scores)
    correct = predicted == truth
    fused = classification_metrics(truth, predicted, prototypes.classes)
    by_view = {angle: predict(embeddings.z_views[:, view], prototypes) for view, angle in enumerate(angles)}
    single_view = {angle: classification_metrics(truth, each, prototypes.classes) for angle, each in by_view.items()}
    mean_of_views = np.asarray(embeddings.z_views, dtype=np.float64).mean(axis=1)
    correct_by_mean = predict(mean_of_views, prototypes) == truth
    return FoldResult(
        fold=training.fold,
        num_folds=training.num_folds,
        train_subjects=_distinct(training.subjects),
        validation_subjects=_distinct(training.validation_subjects),
        test_subjects=_distinct(subjects),
        num_train_samples=training.num_samples,
        num_test_samples=len(truth),
        accuracy=fused.accuracy,
        accuracy_interval=subject_bootstrap_interval(correct, subjects, seed=bootstrap_seed),
        macro_f1=fused.macro_f1,
        per_class_f1=fused.per_class_f1,
        unweighted_average_recall=fused.unweighted_average_recall,
        confusion_matrix=fused.confusion_matrix,
        subject_counts=subject_counts(correct, subjects),
        subject_confusion=subject_confusion(truth, predicted, subjects, prototypes.classes),
        view_weights=_mean_weights(weights, angles),
        view_weights_by_class={
            prototypes.classes[number]: _mean_weights(weights[truth == number], angles) for number in np.unique(truth)
        },
        single_view_accuracy={angle: view.accuracy for angle, view in single_view.items()},
        single_view_confusion={angle: view.confusion_matrix for angle, view in single_view.items()},
        single_view_subject_counts={angle: subject_counts(each == truth, subjects) for angle, each in by_view.items()},
        mean_fusion_accuracy=float(correct_by_mean.mean()),
        mean_fusion_subject_counts=subject_counts(correct_by_mean, subjects),
        readouts=_probes(embeddings, samples, classifier, probe_training, bootstrap_seed),
        calibration=calibration(probabilities(scores, classifier.temperature), correct, classifier.temperature),
        by_level=_level_counts(correct, samples.levels),
        multi_label=multi_label,
        epoch_choice=training.epoch_choice,
        metrics_csv=training.metrics_csv,
        multi_view_gradient=training.multi_view_gradient,
        labelled_subjects=None if training.labelled_subjects is None else _distinct(training.labelled_subjects),
        num_unlabelled_samples=training.num_unlabelled_samples,
        unseen_wordings=_score_unseen_wordings(classifier, truth, subjects),
        unseen_classes=_unseen_classes(samples.truth, prototypes.classes, training.classes),
    )


def predict(embeddings: Float[np.ndarray, "n dim"], prototypes: Prototypes) -> Int[np.ndarray, " n"]:
    """Index of the nearest class of each embedding; among equals the first."""
    return predicted_classes(zero_shot_scores(embeddings, prototypes))


def _check_leaks(samples: FoldSamples, training: FoldTraining, probe_training: ProbeTrainingSet | None) -> None:
    check_shared_subjects(train=training.subjects, validation=training.validation_subjects, test=samples.subjects)
    if probe_training is None:
        return
    check_shared_subjects(**{"the probes' training": probe_training.subjects, "test": samples.subjects})
    known = training.subjects if training.labelled_subjects is None else training.labelled_subjects
    if strangers := sorted(set(probe_training.subjects) - set(known)):
        raise LeakError(f"probes would be fitted on {first_few(strangers)}, no labelled training subjects of the fold")


def _check_sizes(embeddings: FoldEmbeddings, samples: FoldSamples) -> None:
    by_view = {
        "z_views": embeddings.z_views,
        "view_weights": embeddings.view_weights,
        "test_features": embeddings.features,
    }
    rows = {"z_fused": embeddings.z_fused, **by_view, **vars(samples)}
    num_samples = {name: len(values) for name, values in rows.items()}
    if len(set(num_samples.values())) != 1 or len(embeddings.z_fused) == 0:
        raise SettingsError(f"expected the same number of samples, at least one: {num_samples}")
    num_views = {name: array.shape[1] for name, array in by_view.items()}
    num_views["view_angles_deg"] = len(embeddings.view_angles_deg)
    if len(set(num_views.values())) != 1:
        raise SettingsError(f"expected the same number of views: {num_views}")


def _distinct_angles(view_angles_deg: Sequence[float | int]) -> list[float]:
    angles = [float(angle) for angle in view_angles_deg]
    if len(set(angles)) != len(angles):
        raise SettingsError(f"a view angle is there twice: {angles}")
    return angles


def _normalised_weights(view_weights: np.ndarray) -> np.ndarray:
    weights = np.asarray(view_weights, dtype=np.float64)
    if not (weights >= 0).all() or np.abs(weights.sum(axis=1) - 1.0).max() > _WEIGHT_TOLERANCE:
        raise SettingsError("view weights must not be negative and must sum to one for each sample")
    # The mean weights then sum to one in double precision too.
    return weights / weights.sum(axis=1, keepdims=True)


def _probes(
    embeddings: FoldEmbeddings,
    samples: FoldSamples,
    classifier: ZeroShotClassifier,
    probe_training: ProbeTrainingSet | None,
    seed: int,
) -> dict[str, Readout]:
    probes = score_probes(
        z_views=embeddings.z_views,
        z_fused=embeddings.z_fused,
        prototypes=classifier.prototypes,
        truth=samples.truth,
        subjects=samples.subjects,
        temperature=classifier.temperature,
        nearest=classifier.nearest,
    )
    if probe_training is not None:
        classes = classifier.prototypes.classes
        probes |= fitted_probes(probe_training, embeddings.features, samples.truth, samples.subjects, classes, seed)
    return probes


def _score_unseen_wordings(
    classifier: ZeroShotClassifier, truth: Int[np.ndarray, " n"], subjects: Sequence[str]
) -> Readout | None:
    unseen, classes = classifier.unseen_wordings, classifier.prototypes.classes
    if unseen is None:
        return None
    if unseen.prototypes.classes != classes or len(unseen.z_fused) != len(truth):
        raise SettingsError("unseen wordings are of the same classes and samples, in the same order")
    return scored_readout(truth, predict(unseen.z_fused, unseen.prototypes), subjects, classes, "none")


def _unseen_classes(truth: Sequence[str], classes: Sequence[str], trained: Collection[str] | None) -> tuple[str, ...]:
    if trained is None:
        return ()
    return tuple(name for name in classes if name in truth and name not in trained)


def _level_counts(correct: np.ndarray, levels: Sequence[int]) -> dict[int, tuple[int, int]]:
    values = np.asarray(levels)
    if values.min() < 0:
        raise SettingsError(f"level {int(values.min())} is negative; 0 stands for a sample without intensity")
    return {
        int(level): (int(correct[values == level].sum()), int((values == level).sum())) for level in np.unique(values)
    }


def _mean_weights(weights: np.ndarray, angles: Sequence[float]) -> dict[float, float]:
    return {angle: float(weight) for angle, weight in zip(angles, weights.mean(axis=0), strict=True)}


def _distinct(subjects: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(subjects)))
