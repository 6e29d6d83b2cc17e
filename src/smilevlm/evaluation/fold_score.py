"""From the embeddings of one fold's test samples to its scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from smilevlm.datasets import refuse_shared_subjects
from smilevlm.errors import SettingsError
from smilevlm.evaluation.metrics import classification_metrics, subject_bootstrap_interval
from smilevlm.evaluation.zero_shot import Prototypes, predicted_classes, zero_shot_scores
from smilevlm.results import FoldResult

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
    validation_subjects: Sequence[str] = (),
    metrics_csv: str | None = None,
    bootstrap_seed: int = 0,
) -> FoldResult:
    """Score the fused embedding, each view alone, and the plain mean of the views, all against the same prototypes.

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
        validation_subjects: Everyone that a choice was made on.
        metrics_csv: The training log, relative to the result file.
        bootstrap_seed: Of the interval over subjects.

    Raises:
        LeakError: A subject is in two of training, validation and test. Nothing is scored.
        SettingsError: Numbers of samples or views differ, a class is unknown, or weights do not sum to one.
        CheckpointError: An embedding is zero or not finite.
    """
    refuse_shared_subjects(train=train_subjects, validation=validation_subjects, test=subjects)
    angles = _distinct_angles(view_angles_deg)
    _check_sizes(z_views, z_fused, view_weights, len(truth), len(subjects), len(angles))
    if unknown := sorted(set(truth) - set(prototypes.classes)):
        raise SettingsError(f"{', '.join(unknown)} are none of the classes {', '.join(prototypes.classes)}")
    weights = np.asarray(view_weights, dtype=np.float64)
    if not (weights >= 0).all() or np.abs(weights.sum(axis=1) - 1.0).max() > _WEIGHT_TOLERANCE:
        raise SettingsError("view weights must not be negative and must sum to one for each sample")
    # The mean weights then sum to one in double precision too.
    weights = weights / weights.sum(axis=1, keepdims=True)

    index = np.array([prototypes.classes.index(name) for name in truth], dtype=np.int64)
    predicted = predict(z_fused, prototypes)
    fused = classification_metrics(index, predicted, prototypes.classes)
    views = [
        classification_metrics(index, predict(z_views[:, number], prototypes), prototypes.classes)
        for number in range(len(angles))
    ]
    mean_fused = np.asarray(z_views, dtype=np.float64).mean(axis=1)
    mean_fusion = classification_metrics(index, predict(mean_fused, prototypes), prototypes.classes)
    return FoldResult(
        fold=fold,
        num_folds=num_folds,
        train_subjects=tuple(sorted(set(train_subjects))),
        validation_subjects=tuple(sorted(set(validation_subjects))),
        test_subjects=tuple(sorted(set(subjects))),
        num_train_samples=num_train_samples,
        num_test_samples=len(truth),
        accuracy=fused.accuracy,
        accuracy_interval=subject_bootstrap_interval(predicted == index, subjects, seed=bootstrap_seed),
        macro_f1=fused.macro_f1,
        per_class_f1=fused.per_class_f1,
        unweighted_average_recall=fused.unweighted_average_recall,
        confusion_matrix=fused.confusion_matrix,
        subject_counts=_subject_counts(predicted == index, subjects),
        view_weights=_mean_weights(weights, angles),
        view_weights_by_class={
            name: _mean_weights(weights[index == number], angles)
            for number, name in enumerate(prototypes.classes)
            if (index == number).any()
        },
        single_view_accuracy={angle: view.accuracy for angle, view in zip(angles, views, strict=True)},
        single_view_confusion={angle: view.confusion_matrix for angle, view in zip(angles, views, strict=True)},
        mean_fusion_accuracy=mean_fusion.accuracy,
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


def _check_sizes(
    z_views: np.ndarray, z_fused: np.ndarray, weights: np.ndarray, num_truth: int, num_subjects: int, num_views: int
) -> None:
    samples = {"z_views": len(z_views), "z_fused": len(z_fused), "view_weights": len(weights), "truth": num_truth}
    samples["subjects"] = num_subjects
    if len(set(samples.values())) != 1 or num_truth == 0:
        raise SettingsError(f"expected the same number of samples, at least one: {samples}")
    views = {"z_views": z_views.shape[1], "view_weights": weights.shape[1], "view_angles_deg": num_views}
    if len(set(views.values())) != 1:
        raise SettingsError(f"expected the same number of views: {views}")


def _subject_counts(correct: np.ndarray, subjects: Sequence[str]) -> dict[str, tuple[int, int]]:
    names = np.asarray(subjects)
    return {
        subject: (int(correct[names == subject].sum()), int((names == subject).sum()))
        for subject in sorted(set(subjects))
    }


def _mean_weights(weights: np.ndarray, angles: Sequence[float]) -> dict[float, float]:
    return {angle: float(weight) for angle, weight in zip(angles, weights.mean(axis=0), strict=True)}
