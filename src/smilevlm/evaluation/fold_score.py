"""From the embeddings of one fold's test samples to its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from smilevlm.datasets import check_shared_subjects
from smilevlm.datasets.folds import first_few
from smilevlm.errors import LeakError, SettingsError
from smilevlm.evaluation.calibration import calibration
from smilevlm.evaluation.metrics import (
    class_indices,
    classification_metrics,
    subject_bootstrap_interval,
    subject_counts,
)
from smilevlm.evaluation.probes import ProbeTrainingSet, fitted_probes, score_probes
from smilevlm.models import Prototypes, predicted_classes, probabilities, zero_shot_scores
from smilevlm.results import EpochChoice, FoldResult, MultiLabelScore

_WEIGHT_TOLERANCE = 5e-3
"""Half precision, as in mixed-precision inference, leaves the sum of some weights off by about 1e-3."""


def score_fold(
    *,
    fold: int,
    num_folds: int,
    z_views: Float[np.ndarray, "n view dim"],
    z_fused: Float[np.ndarray, "n dim"],
    view_weights: Float[np.ndarray, "n view"],
    truth: Sequence[str],
    subjects: Sequence[str],
    prototypes: Prototypes,
    view_angles_deg: Sequence[float | int],
    train_subjects: Sequence[str],
    num_train_samples: int,
    test_features: Float[np.ndarray, "n view feature"],
    train: ProbeTrainingSet | None,
    temperature: float,
    levels: Sequence[int],
    nearest: Prototypes | None = None,
    multi_label: MultiLabelScore | None = None,
    validation_subjects: Sequence[str] = (),
    epoch_choice: EpochChoice | None = None,
    metrics_csv: str | None = None,
    bootstrap_seed: int = 0,
) -> FoldResult:
    """Score the fused embedding, each view alone, and the plain mean of the views, all against the same prototypes.

    Beside them, readouts of the same samples, the calibration of the fused embedding's probabilities, and its hits by
    intensity.

    Args:
        fold: Index from zero.
        num_folds: Folds of the protocol.
        z_views: Each view's embedding, as it entered the fusion.
        z_fused: The fusion's embedding.
        view_weights: The fusion's weights; each row sums to one.
        truth: True class of each sample.
        subjects: Subject of each sample; together they are the test subjects.
        prototypes: Of every class, whether or not it occurs among the samples.
        view_angles_deg: One per view.
        train_subjects: Everyone that training saw. May repeat, as a list over samples does.
        num_train_samples: How many samples training saw.
        test_features: The tower's, before the projector; read by the fitted readouts.
        train: What readouts are fitted on, of training subjects only; None: they are left out.
        temperature: Of the softmax over cosines that gives probabilities.
        levels: Intensity of each sample, 0 where there is none.
        nearest: Every prompt for itself, for the readout `nearest_prompt`; None: it is left out.
        multi_label: The score of all test samples where some have several classes; noted in the result.
        validation_subjects: Everyone that a choice was made on.
        epoch_choice: Which epoch they chose, noted in the result.
        metrics_csv: The training log, relative to the result file.
        bootstrap_seed: Of the interval over subjects, and of the inner split of the linear probe.

    Raises:
        LeakError: A subject is in two of training, validation and test, or a readout would be fitted on somebody else
            than the training subjects. Nothing is scored.
        SettingsError: Numbers of samples or views differ, a class is unknown, a level is negative, or weights do not
            sum to one.
        CheckpointError: An embedding is zero or not finite.
    """
    check_shared_subjects(train=train_subjects, validation=validation_subjects, test=subjects)
    _refuse_fitting_on_others(train, train_subjects, subjects)
    angles = _distinct_angles(view_angles_deg)
    numbers = {"truth": len(truth), "subjects": len(subjects), "levels": len(levels)}
    _check_sizes(z_views, z_fused, view_weights, test_features, numbers, len(angles))
    index = class_indices(truth, prototypes.classes)
    weights = _sound_weights(view_weights)

    scores = zero_shot_scores(z_fused, prototypes)
    predicted = predicted_classes(scores)
    correct = predicted == index
    fused = classification_metrics(index, predicted, prototypes.classes)
    said_by_view = [predict(z_views[:, number], prototypes) for number in range(len(angles))]
    views = [classification_metrics(index, said, prototypes.classes) for said in said_by_view]
    said_by_mean = predict(np.asarray(z_views, dtype=np.float64).mean(axis=1), prototypes)
    readouts = score_probes(
        z_views=z_views,
        z_fused=z_fused,
        prototypes=prototypes,
        truth=truth,
        subjects=subjects,
        temperature=temperature,
        nearest=nearest,
    )
    if train is not None:
        readouts |= fitted_probes(train, test_features, truth, subjects, prototypes.classes, bootstrap_seed)
    return FoldResult(
        fold=fold,
        num_folds=num_folds,
        train_subjects=tuple(sorted(set(train_subjects))),
        validation_subjects=tuple(sorted(set(validation_subjects))),
        test_subjects=tuple(sorted(set(subjects))),
        num_train_samples=num_train_samples,
        num_test_samples=len(truth),
        accuracy=fused.accuracy,
        accuracy_interval=subject_bootstrap_interval(correct, subjects, seed=bootstrap_seed),
        macro_f1=fused.macro_f1,
        per_class_f1=fused.per_class_f1,
        unweighted_average_recall=fused.unweighted_average_recall,
        confusion_matrix=fused.confusion_matrix,
        subject_counts=subject_counts(correct, subjects),
        view_weights=_mean_weights(weights, angles),
        view_weights_by_class={
            name: _mean_weights(weights[index == number], angles)
            for number, name in enumerate(prototypes.classes)
            if (index == number).any()
        },
        single_view_accuracy={angle: view.accuracy for angle, view in zip(angles, views, strict=True)},
        single_view_confusion={angle: view.confusion_matrix for angle, view in zip(angles, views, strict=True)},
        single_view_subject_counts={
            angle: subject_counts(said == index, subjects) for angle, said in zip(angles, said_by_view, strict=True)
        },
        mean_fusion_accuracy=float((said_by_mean == index).mean()),
        mean_fusion_subject_counts=subject_counts(said_by_mean == index, subjects),
        readouts=readouts,
        calibration=calibration(probabilities(scores, temperature), correct, temperature),
        by_level=_level_counts(correct, levels),
        multi_label=multi_label,
        epoch_choice=epoch_choice,
        metrics_csv=metrics_csv,
    )


def predict(embeddings: Float[np.ndarray, "n dim"], prototypes: Prototypes) -> Int[np.ndarray, " n"]:
    """Index of the nearest class of each embedding; among equals the first."""
    return predicted_classes(zero_shot_scores(embeddings, prototypes))


def _distinct_angles(view_angles_deg: Sequence[float | int]) -> list[float]:
    angles = [float(angle) for angle in view_angles_deg]
    if len(set(angles)) != len(angles):
        raise SettingsError(f"a view angle is there twice: {angles}")
    return angles


def _refuse_fitting_on_others(train: ProbeTrainingSet | None, trained: Sequence[str], tested: Sequence[str]) -> None:
    if train is None:
        return
    check_shared_subjects(**{"the readouts' training": train.subjects, "test": tested})
    if strangers := sorted(set(train.subjects) - set(trained)):
        raise LeakError(f"readouts would be fitted on {first_few(strangers)}, no training subjects of the fold")


def _check_sizes(
    z_views: np.ndarray,
    z_fused: np.ndarray,
    weights: np.ndarray,
    features: np.ndarray,
    numbers: Mapping[str, int],
    num_views: int,
) -> None:
    arrays = {"z_views": z_views, "z_fused": z_fused, "view_weights": weights, "test_features": features}
    samples = {name: len(array) for name, array in arrays.items()} | dict(numbers)
    if len(set(samples.values())) != 1 or len(z_fused) == 0:
        raise SettingsError(f"expected the same number of samples, at least one: {samples}")
    del arrays["z_fused"]
    views = {name: array.shape[1] for name, array in arrays.items()} | {"view_angles_deg": num_views}
    if len(set(views.values())) != 1:
        raise SettingsError(f"expected the same number of views: {views}")


def _sound_weights(view_weights: np.ndarray) -> np.ndarray:
    weights = np.asarray(view_weights, dtype=np.float64)
    if not (weights >= 0).all() or np.abs(weights.sum(axis=1) - 1.0).max() > _WEIGHT_TOLERANCE:
        raise SettingsError("view weights must not be negative and must sum to one for each sample")
    # The mean weights then sum to one in double precision too.
    return weights / weights.sum(axis=1, keepdims=True)


def _level_counts(correct: np.ndarray, levels: Sequence[int]) -> dict[int, tuple[int, int]]:
    values = np.asarray(levels)
    if values.min() < 0:
        raise SettingsError(f"level {int(values.min())} is negative; 0 stands for a sample without intensity")
    return {
        int(level): (int(correct[values == level].sum()), int((values == level).sum())) for level in np.unique(values)
    }


def _mean_weights(weights: np.ndarray, angles: Sequence[float]) -> dict[float, float]:
    return {angle: float(weight) for angle, weight in zip(angles, weights.mean(axis=0), strict=True)}
