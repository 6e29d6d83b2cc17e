"""Probes of the embeddings: linear probe, k-NN and majority from training labels, late fusion, nearest prompt."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smilevlm.datasets import check_shared_subjects, subject_folds
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.evaluation.metrics import class_indices, confusion_matrix, subject_counts
from smilevlm.models import (
    Prototypes,
    predicted_classes,
    probabilities,
    unit_rows,
    zero_shot_scores,
)
from smilevlm.results import Readout, ReadoutSupervision, overall_scores

_INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0)
_DEFAULT_PENALTY = 0.1
_NUM_INNER_FOLDS = 3
_MAX_ITERATIONS = 300
_PROBE_TOLERANCE = 1e-3
_NUM_NEIGHBOURS = 20
_LEAST_VOTE = 1e-6
"""Of a neighbour at a right angle or beyond: it votes, but any that points the same way outvotes it."""


@dataclass(frozen=True, kw_only=True)
class ProbeTrainingSet:
    """Training samples of one fold, for probes that are fitted; never of a test subject.

    Attributes:
        features: The tower's, before the projector.
        truth: Class of each sample.
        subjects: Subject of each sample, named as the test subjects are.
    """

    features: Float[np.ndarray, "train view feature"]
    truth: Sequence[str]
    subjects: Sequence[str]

    def __post_init__(self) -> None:
        sizes = {"features": len(self.features), "truth": len(self.truth), "subjects": len(self.subjects)}
        if len(set(sizes.values())) != 1 or not len(self.truth):
            raise SettingsError(f"expected the same number of training samples, at least one: {sizes}")


def fitted_probes(
    train: ProbeTrainingSet,
    test_features: Float[np.ndarray, "n view feature"],
    truth: Sequence[str],
    subjects: Sequence[str],
    classes: Sequence[str],
    seed: int,
) -> dict[str, Readout]:
    """Probes fitted on the labels of training subjects: `linear_probe`, `knn` and `majority`.

    Args:
        train: The fold's training samples.
        test_features: The tower's, before the projector, as those of `train`.
        truth: True class of each test sample.
        subjects: Subject of each test sample.
        classes: All of them, in the order of the results.
        seed: Of the split of the training subjects on which the probe's penalty is chosen.

    Raises:
        LeakError: A training subject is a test subject.
    """
    check_shared_subjects(train=train.subjects, test=subjects)
    if test_features.shape[1:] != train.features.shape[1:]:
        shapes = f"{test_features.shape[1:]} of a test sample, {train.features.shape[1:]} of a training sample"
        raise SettingsError(f"the features differ in views or width: {shapes}")
    for features in (train.features, test_features):
        if not np.isfinite(features).all():
            raise CheckpointError("the tower's features are not finite; the model has diverged")
    known = class_indices(train.truth, classes)
    index = class_indices(truth, classes)
    predictions = {
        "linear_probe": linear_probe_predictions(train, test_features, classes, seed),
        "knn": nearest_neighbours(train.features, known, test_features, len(classes)),
        "majority": np.full(len(truth), np.bincount(known, minlength=len(classes)).argmax(), dtype=np.int64),
    }
    return {
        name: scored_readout(index, predicted, subjects, classes, "labels") for name, predicted in predictions.items()
    }


def score_probes(
    *,
    z_views: Float[np.ndarray, "n view dim"],
    z_fused: Float[np.ndarray, "n dim"],
    prototypes: Prototypes,
    truth: Sequence[str],
    subjects: Sequence[str],
    temperature: float,
    nearest: Prototypes | None = None,
) -> dict[str, Readout]:
    """Probes that are not fitted: `late_fusion`, and `nearest_prompt` where every prompt is given.

    Args:
        z_views: Each view's embedding.
        z_fused: The fusion's embedding.
        prototypes: One per class. Late fusion is the mean over views of each view's probabilities.
        truth: True class of each sample.
        subjects: Subject of each sample.
        temperature: Of the softmax over each view's cosines.
        nearest: Every prompt, as `class_prototypes(..., combine="max")` keeps them: the class of the prompt that is
            nearest to the fused embedding.
    """
    index = class_indices(truth, prototypes.classes)
    views = [
        probabilities(zero_shot_scores(z_views[:, number], prototypes), temperature)
        for number in range(z_views.shape[1])
    ]
    predictions = {"late_fusion": predicted_classes(np.mean(views, axis=0))}
    if nearest is not None:
        if nearest.classes != prototypes.classes:
            raise SettingsError(f"the prompts are of {list(nearest.classes)}, expected {list(prototypes.classes)}")
        predictions["nearest_prompt"] = predicted_classes(zero_shot_scores(z_fused, nearest))
    return {
        name: scored_readout(index, predicted, subjects, prototypes.classes, "none")
        for name, predicted in predictions.items()
    }


def nearest_neighbours(
    train_features: Float[np.ndarray, "train view feature"],
    known: Int[np.ndarray, " train"],
    features: Float[np.ndarray, "n view feature"],
    num_classes: int,
    num_neighbours: int = _NUM_NEIGHBOURS,
) -> Int[np.ndarray, " n"]:
    """The class with the most votes among the nearest training samples by cosine, each vote weighted by its cosine.

    The views' features are made unit length and put side by side, so the cosine is the mean over the views.

    Args:
        train_features: Of the samples that vote.
        known: Their classes' indices.
        features: Of the samples to classify.
        num_classes: How many classes there are.
        num_neighbours: How many vote; all of them where there are fewer. Of equally near samples the first ones.
    """
    cosines = side_by_side(features) @ side_by_side(train_features).T / features.shape[1]
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :num_neighbours]
    weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), _LEAST_VOTE)
    votes = np.zeros((len(features), num_classes))
    for number in range(num_classes):
        votes[:, number] = np.where(known[nearest] == number, weights, 0.0).sum(axis=1)
    return predicted_classes(votes)


def linear_probe(
    train_rows: Float[np.ndarray, "train column"],
    known: Int[np.ndarray, " train"],
    rows: Float[np.ndarray, "n column"],
    inverse_penalties: Sequence[float],
) -> list[Int[np.ndarray, " n"]]:
    """Logistic regression on columns standardised by the training rows; the predictions for each inverse penalty C.

    L-BFGS, at most 300 steps, on one thread: the same input gives the same bits.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    mean, std = train_rows.mean(axis=0), train_rows.std(axis=0)
    # A column that never changes says nothing; it stays zero.
    std = np.where(std > 1e-12 * np.maximum(1.0, np.abs(mean)), std, np.inf)
    scaled, wanted = (train_rows - mean) / std, (rows - mean) / std
    # Weaker and weaker penalties, each starting from the solution before it.
    model = LogisticRegression(max_iter=_MAX_ITERATIONS, tol=_PROBE_TOLERANCE, warm_start=True)
    predictions = []
    with threadpool_limits(1), warnings.catch_warnings():
        # A weak penalty on few samples may want more steps; what 300 of them reach is the probe, by definition.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for inverse_penalty in sorted(inverse_penalties):
            model.set_params(C=inverse_penalty).fit(scaled, known)
            predictions.append(np.asarray(model.predict(wanted), dtype=np.int64))
    return predictions


def linear_probe_predictions(
    train: ProbeTrainingSet, test_features: Float[np.ndarray, "n view feature"], classes: Sequence[str], seed: int
) -> Int[np.ndarray, " n"]:
    """Classes of test samples by a linear probe whose penalty is chosen on held-out training subjects."""
    known = class_indices(train.truth, classes)
    if len(np.unique(known)) < 2:
        raise SettingsError("all training samples are of one class; a linear probe needs at least two classes")
    rows, wanted = _rows(train.features), _rows(test_features)
    penalty = _choose_penalty(rows, known, train.subjects, seed)
    return linear_probe(rows, known, wanted, [penalty])[0]


def _choose_penalty(
    rows: Float[np.ndarray, "train column"], known: Int[np.ndarray, " train"], subjects: Sequence[str], seed: int
) -> float:
    """C with the most hits on held-out training subjects, among equals the smallest; 0.1 where none can be held out."""
    num_folds = min(_NUM_INNER_FOLDS, len(set(subjects)))
    hits = np.zeros(len(_INVERSE_PENALTIES), dtype=np.int64)
    tried = False
    for fitting, held_out in subject_folds(subjects, num_folds, seed) if num_folds >= 2 else ():
        if len(np.unique(known[fitting])) < 2:
            continue
        tried = True
        found = linear_probe(rows[fitting], known[fitting], rows[held_out], _INVERSE_PENALTIES)
        hits += [int((predicted == known[held_out]).sum()) for predicted in found]
    return _INVERSE_PENALTIES[int(hits.argmax())] if tried else _DEFAULT_PENALTY


def _rows(features: Float[np.ndarray, "n view feature"]) -> Float[np.ndarray, "n column"]:
    return features.reshape(len(features), -1).astype(np.float64)


def side_by_side(features: Float[np.ndarray, "n view feature"]) -> Float[np.ndarray, "n column"]:
    """The views' features at unit length, so that none outweighs the others, in one row for each sample."""
    views = [unit_rows(features[:, number], "tower") for number in range(features.shape[1])]
    return np.concatenate(views, axis=1)


def scored_readout(
    index: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    subjects: Sequence[str],
    classes: Sequence[str],
    supervision: ReadoutSupervision,
) -> Readout:
    """The scores of predicted classes.

    Args:
        index: True class of each sample.
        predicted: Predicted class of each sample.
        subjects: Of the samples.
        classes: What the numbers stand for.
        supervision: What the reading was fitted on.
    """
    matrix = confusion_matrix(index, predicted, classes)
    return Readout(
        supervision=supervision,
        **overall_scores(matrix),
        confusion_matrix=matrix,
        subject_counts=subject_counts(predicted == index, subjects),
    )
