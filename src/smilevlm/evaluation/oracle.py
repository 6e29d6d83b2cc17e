"""What could be known: classes told from the true movement of the surface, without scanner, pose and rendering."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smilevlm.datasets import subject_folds
from smilevlm.errors import SettingsError, first_few
from smilevlm.evaluation.metrics import Metrics, class_indices, classification_metrics, subject_confusion
from smilevlm.results import OracleResult, pooled_score
from smilevlm.store import Sample

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
    index, predicted = _predict(displacements_mm, truth, subjects, classes)
    return classification_metrics(index, predicted, classes)


def oracle_of_faces(
    faces: Path, samples: Sequence[Sample], tested: Collection[str], classes: Sequence[str]
) -> OracleResult:
    """The same for a run's test samples, from the folder of the synthetic faces that they were prepared from.

    Args:
        faces: Written by `smilevlm synthesize 4dme`.
        samples: All that take part in the protocol; those of one class are used, each recording once.
        tested: Subjects whose samples are scored; the classifier is fitted on all subjects but one.
        classes: All of them.

    Raises:
        SettingsError: A recording is not among the faces, or see `displacement_oracle`.
        LayoutError: The folder holds no such faces.
    """
    from smilevlm.synthesis import true_displacements_mm

    single = list({sample.recording: sample for sample in samples if len(sample.classes) == 1}.values())
    found = true_displacements_mm(faces, {sample.recording for sample in single})
    if missing := sorted({sample.recording for sample in single} - found.keys()):
        raise SettingsError(f"{faces} has no {first_few(missing)}; expected the faces that the store was prepared from")
    subjects = [sample.subject for sample in single]
    displacements = np.stack([found[sample.recording] for sample in single])
    index, predicted = _predict(displacements, [sample.expression for sample in single], subjects, classes)
    matrices = subject_confusion(index, predicted, subjects, classes)
    kept = {subject: matrix for subject, matrix in matrices.items() if subject in tested}
    return OracleResult(subject_confusion=kept, pooled=pooled_score(kept))


def _predict(
    displacements_mm: Float[np.ndarray, "n vert 3"],
    truth: Sequence[str],
    subjects: Sequence[str],
    classes: Sequence[str],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Index into `classes` of the true and of the predicted class; see `displacement_oracle`."""
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
    return index, predicted


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
