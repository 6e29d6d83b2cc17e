import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from smilevlm.errors import CheckpointError, LeakError, SettingsError
from smilevlm.evaluation import ProbeTrainingSet, fitted_probes, score_probes
from smilevlm.evaluation.probes import linear_probe, nearest_neighbours
from smilevlm.models import class_prototypes

CLASSES = ("happy", "sad", "fear")


def samples(count, *, seed, prefix, spread=1.0, width=5, num_subjects=6):
    """Clouds around one centre per class, the same centres for every seed."""
    rng = np.random.default_rng(seed)
    centres = 2.0 + 3.0 * np.random.default_rng(99).normal(size=(3, 2, width))
    index = np.arange(count) % 3
    features = (centres[index] + spread * rng.normal(size=(count, 2, width))).astype(np.float32)
    subjects = [f"{prefix}{number // 3 % num_subjects}" for number in range(count)]
    return features, [CLASSES[i] for i in index], subjects


def training_side(count=60, **changes):
    features, truth, subjects = samples(count, **({"seed": 1, "prefix": "train"} | changes))
    return ProbeTrainingSet(features=features, truth=truth, subjects=subjects)


def test_a_separable_set_is_read_without_a_mistake():
    found = fitted_probes(training_side(spread=0.2), *samples(30, seed=2, prefix="test", spread=0.2), CLASSES, 0)
    for name in ("linear_probe", "knn"):
        assert found[name].confusion_matrix == ((10, 0, 0), (0, 10, 0), (0, 0, 10))
        assert (found[name].accuracy, found[name].macro_f1, found[name].unweighted_average_recall) == (1.0, 1.0, 1.0)
        assert found[name].subject_counts == {f"test{i}": (6 if i < 4 else 3, 6 if i < 4 else 3) for i in range(6)}
    assert found["majority"].accuracy == pytest.approx(1 / 3)


def test_the_probe_is_scikit_learns_on_standardised_columns():
    train = training_side(spread=4.0)
    features, truth, _ = samples(90, seed=2, prefix="test", spread=4.0)
    rows, wanted = train.features.reshape(60, -1).astype(float), features.reshape(90, -1).astype(float)
    known = np.array([CLASSES.index(name) for name in train.truth])
    scaler = StandardScaler().fit(rows)
    for penalty, found in zip((0.001, 0.1), linear_probe(rows, known, wanted, (0.1, 0.001)), strict=True):
        model = LogisticRegression(C=penalty, tol=1e-8, max_iter=5000).fit(scaler.transform(rows), known)
        np.testing.assert_array_equal(found, model.predict(scaler.transform(wanted)))
        assert 0.4 < (found == [CLASSES.index(name) for name in truth]).mean() < 1.0


def test_scores_of_a_readout_are_scikit_learns():
    features, truth, subjects = samples(90, seed=2, prefix="test", spread=6.0)
    found = fitted_probes(training_side(spread=6.0), features, truth, subjects, CLASSES, 0)
    for readout in found.values():
        counts = np.array(readout.confusion_matrix)
        true, said = (np.repeat(grid.ravel(), counts.ravel()) for grid in np.indices((3, 3)))
        assert readout.macro_f1 == pytest.approx(f1_score(true, said, average="macro", zero_division=0.0))
        assert readout.unweighted_average_recall == pytest.approx(balanced_accuracy_score(true, said))
        assert 0 < readout.accuracy < 1


@pytest.mark.parametrize("num_neighbours", [1, 7, 20, 500])
def test_neighbours_vote_as_scikit_learns_do(num_neighbours):
    train = training_side(spread=2.0)
    features, _, _ = samples(90, seed=2, prefix="test", spread=2.0)
    known = np.array([CLASSES.index(name) for name in train.truth])

    def side_by_side(each):
        return (each / np.linalg.norm(each, axis=2, keepdims=True)).reshape(len(each), -1)

    model = KNeighborsClassifier(
        n_neighbors=min(num_neighbours, 60), metric="cosine", weights=lambda distance: np.maximum(1 - distance, 1e-6)
    ).fit(side_by_side(train.features), known)
    found = nearest_neighbours(train.features, known, features, 3, num_neighbours)
    np.testing.assert_array_equal(found, model.predict(side_by_side(features)))


def test_neighbours_on_the_far_side_outvote_nobody():
    """Nineteen that point away count less than one at 60 degrees."""
    away = np.tile([[[-1.0, 0.1]]], (19, 1, 1))
    features = np.concatenate([away, [[[0.5, np.sqrt(0.75)]]]]).astype(np.float32)
    known = np.array([0] * 19 + [1])
    assert nearest_neighbours(features, known, np.array([[[1.0, 0.0]]], dtype=np.float32), 2).tolist() == [1]


def test_the_penalty_is_chosen_on_people_who_were_held_out():
    """Features that tell who it is, and nothing of the class: the strongest penalty forgets them best."""
    rng = np.random.default_rng(0)
    person = rng.normal(size=(12, 40))
    subjects = [f"s{i:02d}" for i in range(12) for _ in range(4)]
    # Each person shows mostly one class, so that a probe can learn people by heart.
    truth = [CLASSES[i % 3] if shot else CLASSES[rng.integers(3)] for i in range(12) for shot in range(4)]
    features = (np.repeat(person, 4, axis=0) + 0.1 * rng.normal(size=(48, 40)))[:, None].astype(np.float32)
    from smilevlm.evaluation.probes import _choose_penalty

    known = np.array([CLASSES.index(name) for name in truth])
    rows = features.reshape(48, -1).astype(float)
    by_person = _choose_penalty(rows, known, subjects, 0)
    by_sample = _choose_penalty(rows, known, [f"{s}_{i}" for i, s in enumerate(subjects)], 0)
    assert by_person < by_sample


def test_same_input_same_readouts_and_no_warning_leaks_out():
    train, test = training_side(spread=0.01, count=12), samples(6, seed=2, prefix="test", spread=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted_probes(train, *test, CLASSES, 3) == fitted_probes(train, *test, CLASSES, 3)


def test_one_training_subject_leaves_nobody_to_choose_on():
    train = training_side(spread=0.2, num_subjects=1)
    found = fitted_probes(train, *samples(30, seed=2, prefix="test", spread=0.2), CLASSES, 0)
    assert found["linear_probe"].accuracy == 1.0


def test_the_majority_is_the_training_sides():
    features, truth, subjects = samples(4, seed=1, prefix="train")
    kept = [1, 2]
    train = ProbeTrainingSet(
        features=features[kept], truth=[truth[i] for i in kept], subjects=[subjects[i] for i in kept]
    )
    found = fitted_probes(train, *samples(9, seed=2, prefix="test"), CLASSES, 0)
    assert found["majority"].confusion_matrix == ((0, 3, 0), (0, 3, 0), (0, 3, 0))


def test_what_fitted_readouts_refuse():
    features, truth, subjects = samples(9, seed=2, prefix="test")
    with pytest.raises(LeakError, match="both in train and in test: train0"):
        fitted_probes(training_side(), features, truth, ["train0", *subjects[1:]], CLASSES, 0)
    with pytest.raises(SettingsError, match="differ in views or width"):
        fitted_probes(training_side(width=4), features, truth, subjects, CLASSES, 0)
    with pytest.raises(SettingsError, match="fear are none of the classes"):
        fitted_probes(training_side(), features, truth, subjects, CLASSES[:2], 0)
    alone = training_side(count=1)
    with pytest.raises(SettingsError, match="all training samples are of one class"):
        fitted_probes(alone, features, truth, subjects, CLASSES, 0)
    with pytest.raises(CheckpointError, match="not finite"):
        fitted_probes(training_side(), features * np.float32(np.nan), truth, subjects, CLASSES, 0)
    with pytest.raises(SettingsError, match="same number of training samples"):
        ProbeTrainingSet(features=features, truth=truth[1:], subjects=subjects)
    with pytest.raises(SettingsError, match="at least one"):
        ProbeTrainingSet(features=features[:0], truth=[], subjects=[])


def test_late_fusion_by_hand():
    """Two views are unsure and agree, one is sure of another class: the mean of probabilities decides."""
    prototypes = class_prototypes(np.eye(3), CLASSES, CLASSES)
    z_views = np.array([[[1.0, 0.9, 0.0], [1.0, 0.9, 0.0], [0.0, 1.0, 0.0]]])
    arguments = {"z_views": z_views, "z_fused": z_views[:, 0], "prototypes": prototypes, "truth": ["sad"]}
    sure = score_probes(**arguments, subjects=["a"], temperature=0.1)["late_fusion"]
    assert sure.confusion_matrix == ((0, 0, 0), (0, 1, 0), (0, 0, 0))
    assert (sure.supervision, sure.accuracy, sure.macro_f1) == ("none", 1.0, pytest.approx(1 / 3))
    # At a temperature near zero each view has one vote, however narrow its choice was.
    cold = score_probes(**arguments, subjects=["a"], temperature=1e-3)["late_fusion"]
    assert cold.confusion_matrix == ((0, 0, 0), (1, 0, 0), (0, 0, 0))


def test_late_fusion_is_a_mean_and_no_maximum():
    """One view gives happy 0.68, two give sad 0.66."""
    prototypes = class_prototypes(np.eye(3), CLASSES, CLASSES)
    z_views = np.array([[[1.0, 0.9, 0.0], [0.91, 1.0, 0.0], [0.91, 1.0, 0.0]]])
    found = score_probes(
        z_views=z_views, z_fused=z_views[:, 0], prototypes=prototypes, truth=["sad"], subjects=["a"], temperature=0.1
    )
    assert found["late_fusion"].accuracy == 1.0


def test_nearest_prompt_beside_the_mean_of_prompts():
    """Sad has one prompt far from its other: its mean is away from the sample, that one prompt is not."""
    prompts = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    names = ("happy", "sad", "sad", "fear")
    sample = np.array([[0.8, 0.6, 0.0]])
    found = score_probes(
        z_views=sample[:, None],
        z_fused=sample,
        prototypes=class_prototypes(prompts, names, CLASSES),
        truth=["sad"],
        subjects=["a"],
        temperature=0.1,
        nearest=class_prototypes(prompts, names, CLASSES, combine="max"),
    )
    assert (found["late_fusion"].accuracy, found["nearest_prompt"].accuracy) == (0.0, 1.0)
    with pytest.raises(SettingsError, match="the prompts are of"):
        score_probes(
            z_views=sample[:, None],
            z_fused=sample,
            prototypes=class_prototypes(prompts, names, CLASSES),
            truth=["sad"],
            subjects=["a"],
            temperature=0.1,
            nearest=class_prototypes(prompts, names, CLASSES[::-1], combine="max"),
        )
