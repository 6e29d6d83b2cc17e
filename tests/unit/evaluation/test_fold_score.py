from dataclasses import replace

import numpy as np
import pytest

from fake_results import CLASSES, FakeFold, fake_result, fold_result
from smilevlm.errors import LeakError, SettingsError
from smilevlm.evaluation import (
    ExampleSample,
    FoldEmbeddings,
    FoldSamples,
    FoldTraining,
    ProbeTrainingSet,
    ZeroShotClassifier,
    draw_examples,
    make_example,
    score_fold,
    summarise_folds,
)
from smilevlm.models import class_prototypes
from smilevlm.results import write_results

ANGLES = (-30.0, 0.0)


def arguments(**changes):
    axes = np.eye(3, dtype=np.float32)
    front, side = axes[[0, 1, 2, 0]], axes[[0, 0, 2, 1]]
    return {
        "z_views": np.stack([side, front], axis=1),
        "z_fused": axes[[0, 1, 2, 1]],
        "view_weights": np.array([[0.2, 0.8], [0.2, 0.8], [0.5, 0.5], [0.1, 0.9]], dtype=np.float32),
        "truth": ["happy", "sad", "fear", "happy"],
        "subjects": ["b", "b", "a", "a"],
        "prototypes": class_prototypes(np.eye(3), ("happy", "sad", "fear"), ("happy", "sad", "fear")),
        "view_angles_deg": ANGLES,
        "train_subjects": ["d", "c", "c"],
        "features": np.stack([side, front], axis=1),
        "temperature": 0.1,
        "levels": [3, 4, 4, 4],
        "validation_subjects": ["v"],
        "probe_training": None,
    } | changes


def scored(**changes):
    given = arguments(**changes)

    def part(kind, *names):
        return kind(**{name: given[name] for name in names})

    return score_fold(
        part(FoldEmbeddings, "z_views", "z_fused", "view_weights", "features", "view_angles_deg"),
        part(FoldSamples, "truth", "subjects", "levels"),
        part(ZeroShotClassifier, "prototypes", "temperature"),
        FoldTraining(
            fold=0,
            num_folds=2,
            subjects=given["train_subjects"],
            num_samples=3,
            validation_subjects=given["validation_subjects"],
        ),
        probe_training=given["probe_training"],
    )


def test_by_hand():
    found = scored()
    assert found.accuracy == 0.75
    assert found.single_view_accuracy == {-30.0: 0.5, 0.0: 1.0}
    # Views that disagree evenly tie, and a tie goes to the first class: sample 1 is wrong, sample 3 right.
    assert found.mean_fusion_accuracy == 0.75
    assert found.confusion_matrix == ((1, 1, 0), (0, 1, 0), (0, 0, 1))
    assert found.subject_counts == {"a": (1, 2), "b": (2, 2)}
    assert (found.train_subjects, found.validation_subjects, found.test_subjects) == (("c", "d"), ("v",), ("a", "b"))
    assert found.view_weights == pytest.approx({-30.0: 0.25, 0.0: 0.75})
    assert found.view_weights_by_class["happy"] == pytest.approx({-30.0: 0.15, 0.0: 0.85})


def probe_training(*subjects):
    """The first sample of each is happy, the second sad, the third afraid, along an axis each."""
    count = len(subjects)
    features = np.repeat(np.eye(3, dtype=np.float32)[np.arange(count) % 3, None], 2, axis=1)
    truth = [("happy", "sad", "fear")[number % 3] for number in range(count)]
    return ProbeTrainingSet(features=features, truth=truth, subjects=list(subjects))


def test_the_rest_by_hand():
    found = scored()
    assert found.by_level == {3: (1, 1), 4: (2, 3)}
    # Every fused embedding has cosine 1 with one class and 0 with the two others.
    confidence = 1 / (1 + 2 * np.exp(-10))
    assert found.calibration.expected_calibration_error == pytest.approx(confidence - 0.75)
    assert found.calibration.temperature == 0.1
    assert [each.count for each in found.calibration.bins] == [0] * 14 + [4]
    assert set(found.readouts) == {"late_fusion"}
    assert found.multi_label is None


def test_fitted_probes_come_with_a_training_set():
    found = scored(probe_training=probe_training(*"cccddd"))
    assert set(found.readouts) == {"late_fusion", "linear_probe", "knn", "majority"}
    # Happy comes first among equally frequent classes.
    assert found.readouts["majority"].confusion_matrix == ((2, 0, 0), (1, 0, 0), (1, 0, 0))
    assert found.readouts["majority"].subject_counts == {"a": (1, 2), "b": (1, 2)}
    assert {name: each.supervision for name, each in found.readouts.items()} == {
        "late_fusion": "none", "linear_probe": "labels", "knn": "labels", "majority": "labels"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        ("cda", "both in the probes' training and in test: a"),
        ("cdv", "fitted on v, no labelled training subjects"),
        ("cde", "fitted on e, no labelled training subjects"),
    ],
)
def test_probes_learn_from_training_subjects_only(subjects, message):
    with pytest.raises(LeakError, match=message):
        scored(probe_training=probe_training(*subjects))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_subjects": ["a"]}, "both in train and in test: a"),
        ({"validation_subjects": ["b"]}, "both in validation and in test: b"),
        ({"validation_subjects": ["c"]}, "both in train and in validation: c"),
    ],
)
def test_shared_subjects_are_a_leak(changes, message):
    with pytest.raises(LeakError, match=message):
        scored(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truth": ["happy"] * 3}, "same number of samples"),
        ({"subjects": ["a"] * 5}, "same number of samples"),
        ({"levels": [0] * 5}, "same number of samples"),
        ({"levels": [0, 0, 0, -1]}, "level -1 is negative"),
        ({"temperature": 0.0}, "temperature"),
        ({"view_angles_deg": (0.0,)}, "same number of views"),
        ({"view_angles_deg": (0.0, 0.0)}, "there twice"),
        ({"truth": ["happy", "sad", "pain", "happy"]}, "pain are none of the classes"),
        ({"view_weights": np.full((4, 2), 0.4)}, "sum to one"),
        ({"view_weights": np.tile([1.5, -0.5], (4, 1))}, "negative"),
        ({"view_weights": np.full((4, 2), np.nan)}, "sum to one"),
    ],
)
def test_unsound_input(changes, message):
    with pytest.raises(SettingsError, match=message):
        scored(**changes)


def test_order_of_samples_does_not_matter():
    order = [2, 0, 3, 1]
    given = arguments()
    moved = {name: given[name][order] for name in ("z_views", "z_fused", "view_weights", "features")}
    moved |= {name: [given[name][i] for i in order] for name in ("truth", "subjects", "levels")}
    first, second = scored(), scored(**moved)
    assert first.view_weights == pytest.approx(second.view_weights)
    assert first.confusion_matrix == second.confusion_matrix
    assert first.accuracy_interval == second.accuracy_interval
    assert (first.readouts, first.by_level) == (second.readouts, second.by_level)


def test_half_precision_weights_and_a_missing_class_pass_the_schema(tmp_path):
    data = FakeFold(0, subjects_per_fold=3, samples_per_class=1, noise=0.5, seed=0)
    kept = [i for i, name in enumerate(data.truth) if name != "fear"]
    data.weights = (data.weights[kept]).astype(np.float16)
    data.z_views, data.z_fused = data.z_views[kept], data.z_fused[kept]
    data.truth, data.subjects = [data.truth[i] for i in kept], [data.subjects[i] for i in kept]
    data.weights[:, 0] = 1 - data.weights[:, 1] - data.weights[:, 2]
    fold = fold_result(data, 0, 3)
    result = fake_result(control=False, num_examples=0)
    write_results(tmp_path / "r.json", replace(result, folds=(fold,), summary=summarise_folds([fold])))
    assert "fear" not in fold.view_weights_by_class


def test_summary_pools_and_pairs():
    folds = fake_result().folds
    summary = summarise_folds(folds)
    assert np.sum(summary.confusion_matrix) == sum(fold.num_test_samples for fold in folds)
    gains = [fold.accuracy - fold.mean_fusion_accuracy for fold in folds]
    assert summary.gain_over_mean_fusion.mean == pytest.approx(np.mean(gains))
    with pytest.raises(SettingsError):
        summarise_folds([])


def test_examples_take_turns_and_are_blind_to_the_prediction():
    truth = ["happy"] * 10 + ["sad"] * 2 + ["fear"] * 5
    drawn = draw_examples(truth, ("happy", "sad", "fear"), num_examples=9, seed=4)
    assert drawn == draw_examples(truth, ("happy", "sad", "fear"), num_examples=9, seed=4)
    assert [truth[i] for i in drawn] == ["happy"] * 4 + ["sad"] * 2 + ["fear"] * 3
    assert len(draw_examples(truth[:3], CLASSES, num_examples=9)) == 3
    with pytest.raises(SettingsError):
        draw_examples(truth, CLASSES, num_examples=99)
    with pytest.raises(SettingsError, match="pain"):
        draw_examples(["pain"], CLASSES)


def test_example_from_scores():
    example = make_example(
        ExampleSample(
            sample_id="a_1", subject="a", fold=0, truth="sad", images={0.0: "a.png"}, actions={"AU15": (0.5, 1.0)}
        ),
        scores=np.array([0.2, 0.9, 0.1]),
        temperature=0.1,
        classes=("happy", "sad", "fear"),
        view_weights={0.0: 1.0},
    )
    assert example.predicted == "sad"
    assert sum(example.probabilities.values()) == pytest.approx(1.0)
    assert example.images == {0.0: "a.png"}
    assert example.actions == {"AU15": (0.5, 1.0)}
