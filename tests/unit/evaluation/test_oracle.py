"""Classes told from true displacements: of directions that are known, by people who were never met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smilevlm.errors import SettingsError
from smilevlm.evaluation import displacement_oracle, oracle_of_faces
from smilevlm.store import Sample

CLASSES = ("positive", "negative", "surprise")
NUM_PEOPLE, NUM_VERTICES = 8, 60


def movements(noise: float, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """Two samples of each class per person, along the class's own direction with another length each."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(len(CLASSES), NUM_VERTICES, 3))
    truth = [name for _ in range(NUM_PEOPLE) for name in CLASSES for _ in range(2)]
    subjects = [f"S{person}" for person in range(NUM_PEOPLE) for _ in range(2 * len(CLASSES))]
    length = rng.uniform(0.1, 2.0, len(truth))
    clean = np.stack([length[i] * directions[CLASSES.index(name)] for i, name in enumerate(truth)])
    return clean + noise * length[:, None, None] * rng.normal(size=clean.shape), truth, subjects


def test_clear_movements_of_any_strength_are_told():
    found = displacement_oracle(*movements(noise=0.3), CLASSES)
    assert found.accuracy == 1.0
    assert (found.macro_f1, found.unweighted_average_recall) == (1.0, 1.0)
    assert sum(map(sum, found.confusion_matrix)) == NUM_PEOPLE * 2 * len(CLASSES)


def test_length_says_nothing():
    moved, truth, subjects = movements(noise=2.0)
    factors = np.random.default_rng(1).uniform(0.5, 5.0, (len(moved), 1, 1))
    first, scaled = (displacement_oracle(each, truth, subjects, CLASSES) for each in (moved, factors * moved))
    assert first.confusion_matrix == scaled.confusion_matrix


def test_movements_that_are_no_class_are_at_chance():
    accuracies = []
    for seed in range(6):
        moved, truth, subjects = movements(noise=0.3, seed=seed)
        accuracies.append(
            displacement_oracle(
                moved, np.random.default_rng(seed).permutation(truth).tolist(), subjects, CLASSES
            ).accuracy
        )
    assert np.mean(accuracies) == pytest.approx(1 / 3, abs=0.12)


def test_nobody_is_known_to_the_classifier_that_meets_them():
    """A person whose labels are exchanged is told wrongly: their own samples taught nothing."""
    moved, truth, subjects = movements(noise=0.1)
    exchanged = {"positive": "negative", "negative": "positive", "surprise": "surprise"}
    truth = [exchanged[name] if subject == "S0" else name for name, subject in zip(truth, subjects, strict=True)]
    found = displacement_oracle(moved, truth, subjects, CLASSES)
    assert found.accuracy == pytest.approx(1 - 4 / len(truth))


def test_what_does_not_fit_is_refused():
    moved, truth, subjects = movements(noise=0.1)
    with pytest.raises(SettingsError, match="same number"):
        displacement_oracle(moved[:-1], truth, subjects, CLASSES)
    with pytest.raises(SettingsError, match="expected 2"):
        displacement_oracle(moved, truth, ["S0"] * len(truth), CLASSES)
    with pytest.raises(SettingsError, match="without S0"):
        displacement_oracle(moved[:2], ["positive", "negative"], ["S0", "S1"], CLASSES)
    with pytest.raises(SettingsError, match="none of the classes"):
        displacement_oracle(moved, truth, subjects, CLASSES[:2])


def clip(recording: str, subject: str, *classes: str, name: str = "") -> Sample:
    return Sample(
        sample_id=recording + name,
        subject=subject,
        expression="+".join(classes),
        level=0,
        labels=classes,
        condition="",
        recording=recording,
        first_frame=0,
        last_frame=9,
        digest=recording + name,
    )


def test_the_oracle_of_a_run_is_scored_on_its_test_people(monkeypatch, tmp_path):
    """Fitted on all others of the set; a clip with two images counts once, one of two classes not at all."""
    moved, truth, subjects = movements(noise=0.3)
    clips = [clip(f"C{i:02d}", subject, name) for i, (subject, name) in enumerate(zip(subjects, truth, strict=True))]
    known = {each.recording: one for each, one in zip(clips, moved.astype(np.float32), strict=True)}
    asked = []

    def true_displacements_mm(faces, wanted):
        asked.append((faces, wanted))
        return known

    monkeypatch.setattr("smilevlm.synthesis.true_displacements_mm", true_displacements_mm, raising=False)
    twice = [replace(each, sample_id=each.sample_id + name) for each in clips for name in ("_rise", "_fall")]
    both = clip("C99", "S0", "positive", "surprise")
    found = oracle_of_faces(tmp_path, [*twice, both], {"S1", "S4"}, CLASSES)
    assert asked == [(tmp_path, set(known))]
    right = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
    assert found.subject_confusion == {"S1": right, "S4": right}
    assert found.pooled.unweighted_f1 == 1.0
    del known["C00"]
    with pytest.raises(SettingsError, match="has no C00"):
        oracle_of_faces(tmp_path, clips, {"S1"}, CLASSES)
