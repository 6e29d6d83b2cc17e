"""What could be known: classes told from the true movement of the surface, without scanner, pose and rendering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from smilevlm.datasets import subject_folds
from smilevlm.errors import SettingsError
from smilevlm.evaluation.metrics import Metrics, class_indices, classification_metrics

_MOST_COMPONENTS = 40
_LEAST_LENGTH_MM = 1e-6


def displacement_oracle(
    displacements_mm: Float[np.ndarray, "n vert 3"],
    truth: Sequence[str],
    subjects: Sequence[str],
    classes: Sequence[str],
) -> Metrics:
    """Score a simple classifier of true displacements, leaving out one subject at a time.

    Displacements are brought to unit length, so that weak movements count as strong ones do, and to their main
    components on the training subjects; then a linear discriminant with shrunk covariance tells the classes. It says
    how much of the classes is in the movement itself; what a model lacks to it is lost on the way to the model, or in
    it. Another classifier of the same displacements may do a little better.

    Args:
        displacements_mm: Apex minus onset of each sample, vertices in correspondence, in the head's own frame.
        truth: Class of each sample.
        subjects: Subject of each sample.
        classes: All of them.

    Returns:
        Scores of all samples together, each predicted by the classifier that never met its subject.

    Raises:
        SettingsError: The counts differ, fewer than two subjects, an unknown class, or one class in a training part.
    """
    sizes = {"displacements": len(displacements_mm), "truth": len(truth), "subjects": len(subjects)}
    if len(set(sizes.values())) != 1:
        raise SettingsError(f"expected the same number of samples: {sizes}")
    index = class_indices(truth, classes)
    rows = displacements_mm.reshape(len(displacements_mm), -1).astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _LEAST_LENGTH_MM)
    predicted = np.zeros(len(rows), dtype=np.int64)
    for train, test in subject_folds(subjects, len(set(subjects)), seed=0):
        if len(np.unique(index[train])) < 2:
            raise SettingsError(f"without {subjects[test[0]]} all samples are of one class; expected at least two")
        predicted[test] = _discriminate(rows[train], index[train], rows[test])
    return classification_metrics(index, predicted, classes)


def _discriminate(
    train_rows: Float[np.ndarray, "train column"],
    known: Int[np.ndarray, " train"],
    rows: Float[np.ndarray, "n column"],
) -> Int[np.ndarray, " n"]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        mean = train_rows.mean(axis=0)
        centred = train_rows - mean
        # Far more columns than rows: the components come from the rows' inner products.
        values, vectors = np.linalg.eigh(centred @ centred.T)
        kept = slice(-min(_MOST_COMPONENTS, len(values) - 1), None)
        components = centred.T @ vectors[:, kept] / np.sqrt(np.maximum(values[kept], _LEAST_LENGTH_MM))
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(centred @ components, known)
        return np.asarray(model.predict((rows - mean) @ components), dtype=np.int64)
