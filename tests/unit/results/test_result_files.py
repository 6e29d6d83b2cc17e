import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fake_results import fake_result, taught, with_several_classes
from smilevlm.errors import ResultError, SettingsError
from smilevlm.results import (
    EpochChoice,
    MultiViewGradient,
    PairingCaptions,
    honest_pairing_name,
    read_results,
    read_timing,
    write_results,
    write_timing,
)

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def result():
    return with_several_classes(fake_result(num_examples=2))


@pytest.fixture(scope="module")
def plain(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "results.json"
    write_results(path, result)
    return path.read_text()


def test_round_trip_keeps_every_bit(result, tmp_path):
    write_results(tmp_path / "results.json", result)
    assert read_results(tmp_path / "results.json") == result


def test_one_fold_without_controls_and_examples(tmp_path):
    result = fake_result(num_folds=10, folds_run=1, control=False, num_examples=0, log=False)
    write_results(tmp_path / "r.json", result)
    assert read_results(tmp_path / "r.json") == result
    assert result.summary.accuracy.interval is None


def test_a_teacher_is_kept(result, tmp_path):
    write_results(tmp_path / "r.json", taught(result))
    assert read_results(tmp_path / "r.json") == taught(result)
    found = json.loads((tmp_path / "r.json").read_text())["pairing_teacher"]
    assert found == json.loads((GOLDEN / "pairing_teacher.json").read_text())


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"synthetic": False}, "pairing_name"),
        ({"digest": ""}, "pairing_teacher.digest"),
        ({"proposals": []}, "pairing_teacher.proposals"),
        ({"proposals.0.fold": 1}, "pairing_teacher.proposals"),
        ({"proposals.0.num_samples": 899}, "pairing_teacher.proposals[0].num_samples"),
        ({"proposals.1.proposed.happy": 0}, "pairing_teacher.proposals[1].proposed"),
        ({"proposals.1.kept.happy": 151}, "pairing_teacher.proposals[1].kept.happy"),
        ({"proposals.1.kept.happy": -1}, "pairing_teacher.proposals[1].kept.happy"),
        ({"proposals.2.kept": {}}, "pairing_teacher.proposals[2].kept"),
    ],
)
def test_a_teacher_that_cannot_be_is_named(result, tmp_path, change, place):
    path = tmp_path / "r.json"
    write_results(path, taught(result))
    values = json.loads(path.read_text())
    for where, value in change.items():
        *way, last = [int(step) if step.isdigit() else step for step in where.split(".")]
        target = values["pairing_teacher"]
        for step in way:
            target = target[step]
        target[last] = value
    path.write_text(json.dumps(values))
    with pytest.raises(ResultError, match=rf"r\.json: {re.escape(place)}:"):
        read_results(path)


def test_same_result_same_bytes_and_nothing_left_behind(result, plain, tmp_path):
    path = tmp_path / "new" / "results.json"
    write_results(path, result)
    write_results(path, result)
    assert path.read_text() == plain
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert list(json.loads(plain)) == sorted(json.loads(plain))


def test_an_invalid_result_leaves_the_old_file(result, plain, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(plain)
    with pytest.raises(ResultError, match=r"results\.json: recipe: expected a non-empty string, found ''"):
        write_results(path, replace(result, recipe=""))
    with pytest.raises(ResultError, match=r"settings\.path: PosixPath has no place"):
        write_results(path, replace(result, settings={"path": tmp_path}))
    with pytest.raises(ResultError, match=r"settings\.rate: expected a finite number, found inf"):
        write_results(path, replace(result, settings={"rate": float("inf")}))
    assert path.read_text() == plain
    assert len(list(tmp_path.iterdir())) == 1


EPOCH = {"epoch": 1, "num_epochs": 3, "monitor": "accuracy", "value": 0.5}


def with_choice(result, **changes):
    """The same result, an epoch of its first fold chosen by the validation subjects."""
    first = replace(result.folds[0], epoch_choice=EpochChoice(**(EPOCH | changes)))
    return replace(result, folds=(first, *result.folds[1:]))


@pytest.mark.parametrize(
    "changes",
    [{}, {"epoch": 0}, {"epoch": 2}, {"value": 0.0}, {"value": 1.0}, {"monitor": "loss", "value": 17.25},
     {"monitor": "loss", "value": -0.5}],
)  # fmt: skip
def test_a_chosen_epoch_comes_back(result, tmp_path, changes):
    write_results(tmp_path / "r.json", with_choice(result, **changes))
    assert read_results(tmp_path / "r.json") == with_choice(result, **changes)


def test_the_multi_view_gradient_comes_back_and_may_be_missing(result, tmp_path):
    path = tmp_path / "r.json"
    measured = MultiViewGradient(scale=0.02, share=0.3, num_steps=20)
    write_results(path, replace(result, folds=tuple(replace(f, multi_view_gradient=measured) for f in result.folds)))
    assert {fold.multi_view_gradient for fold in read_results(path).folds} == {measured}
    values = json.loads(path.read_text())
    for fold in values["folds"]:
        del fold["multi_view_gradient"]
    path.write_text(json.dumps(values))
    assert read_results(path) == result


def test_an_epoch_is_chosen_by_validation_subjects_alone(result, tmp_path):
    chosen = with_choice(result)
    nobody = replace(chosen.folds[0], validation_subjects=())
    with pytest.raises(ResultError, match=r"folds\[0\]\.epoch_choice: there are no validation subjects"):
        write_results(tmp_path / "r.json", replace(chosen, folds=(nobody, *chosen.folds[1:])))


def test_an_older_file_says_how_to_write_it_again(plain, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(json.loads(plain) | {"schema_version": 2}))
    with pytest.raises(ResultError, match="reads version 3, found 2; run `smilevlm evaluate` again"):
        read_results(path)


TAMPERINGS = [
    ("schema_version", 1, "schema_version"),
    ("schema_version", "3", "schema_version"),
    ("schema_version", 2, "schema_version"),
    ("folds.0.epoch_choice", {"epoch": 1, "num_epochs": 3}, "folds[0].epoch_choice"),
    ("folds.0.epoch_choice", EPOCH | {"epoch": 3}, "folds[0].epoch_choice.epoch"),
    ("folds.0.epoch_choice", EPOCH | {"epoch": -1}, "folds[0].epoch_choice.epoch"),
    ("folds.0.epoch_choice", EPOCH | {"num_epochs": 0}, "folds[0].epoch_choice.num_epochs"),
    ("folds.0.epoch_choice", EPOCH | {"monitor": "f1"}, "folds[0].epoch_choice.monitor"),
    ("folds.0.epoch_choice", EPOCH | {"value": 1.5}, "folds[0].epoch_choice.value"),
    ("folds.0.epoch_choice", EPOCH | {"value": None}, "folds[0].epoch_choice.value"),
    ("recipe", "", "recipe"),
    ("recipe", None, "recipe"),
    ("settings", [], "settings"),
    ("synthetic", "yes", "synthetic"),
    ("synthetic", 1, "synthetic"),
    ("pairing_mode", "generic", "pairing_name"),
    ("pairing_mode", "nobody", "pairing_mode"),
    ("pairing_mode", "pseudo", "pairing_teacher"),
    ("pairing_name", "label-free", "pairing_name"),
    ("pairing_teacher", "clip", "pairing_teacher"),
    ("pairing_teacher", {"name": "demo/fold_00"}, "pairing_teacher"),
    ("level", "frame", "level"),
    ("classes", ["happy"], "classes"),
    ("classes.1", "happy", "classes"),
    ("classes.1", 3, "classes[1]"),
    ("view_angles_deg", [], "view_angles_deg"),
    ("view_angles_deg.0", 0.0, "view_angles_deg"),
    ("view_angles_deg.0", 200.0, "view_angles_deg[0]"),
    ("seeds.folds", -1, "seeds.folds"),
    ("seeds.folds", True, "seeds.folds"),
    ("git_commit", "", "git_commit"),
    ("folds", [], "folds"),
    ("folds", {}, "folds"),
    ("folds.2.fold", 0, "folds[2].fold"),
    ("folds.2.fold", 3, "folds[2].fold"),
    ("folds.1.num_folds", 4, "folds[1].num_folds"),
    ("folds.0.train_subjects.0", "F0000", "folds[0].test_subjects"),
    ("folds.0.validation_subjects.0", "F0000", "folds[0].test_subjects"),
    ("folds.0.validation_subjects.0", "F0101", "folds[0].validation_subjects"),
    ("folds.0.train_subjects.1", "F0101", "folds[0].train_subjects"),
    ("folds.0.test_subjects.0", "X", "folds[0].subject_counts"),
    ("folds.0.test_subjects.0", 7, "folds[0].test_subjects[0]"),
    ("folds.0.num_train_samples", 1.5, "folds[0].num_train_samples"),
    ("folds.0.num_test_samples", 47, "folds[0].confusion_matrix"),
    ("folds.0.num_test_samples", 0, "folds[0].num_test_samples"),
    ("folds.0.accuracy", 0.5, "folds[0].accuracy"),
    ("folds.0.accuracy", 1.5, "folds[0].accuracy"),
    ("folds.0.accuracy", 10**400, "folds[0].accuracy"),
    ("folds.0.accuracy_interval", [0.9, 0.1], "folds[0].accuracy_interval"),
    ("folds.0.accuracy_interval", [0.9], "folds[0].accuracy_interval"),
    ("folds.0.macro_f1", 0.1, "folds[0].macro_f1"),
    ("folds.0.per_class_f1.sad", 0.123, "folds[0].per_class_f1.sad"),
    ("folds.0.unweighted_average_recall", 0.1, "folds[0].unweighted_average_recall"),
    ("folds.2.confusion_matrix.0", [1, 2], "folds[2].confusion_matrix[0]"),
    ("folds.2.confusion_matrix", [[8]], "folds[2].confusion_matrix"),
    ("folds.2.confusion_matrix.0.0", 99, "folds[2].confusion_matrix"),
    ("folds.2.confusion_matrix.0.0", -1, "folds[2].confusion_matrix[0][0]"),
    ("folds.0.subject_counts.F0000", [1, 12], "folds[0].subject_counts"),
    ("folds.0.subject_counts.F0000", [13, 12], "folds[0].subject_counts.F0000"),
    ("folds.0.subject_counts.F0000", [13], "folds[0].subject_counts.F0000"),
    ("folds.0.view_weights.-30", 0.9, "folds[0].view_weights"),
    ("folds.0.view_weights", {"-30": 0.2, "0": 0.5, "30": 0.3}, "folds[0].view_weights.-30"),
    ("folds.0.view_weights_by_class.happy.0", 1.0, "folds[0].view_weights_by_class.happy"),
    ("folds.0.view_weights_by_class.pain", {}, "folds[0].view_weights_by_class.pain"),
    ("folds.0.single_view_accuracy.30", 0.99, "folds[0].single_view_accuracy.30"),
    ("folds.0.single_view_accuracy.15", 0.5, "folds[0].single_view_accuracy"),
    ("folds.0.single_view_confusion.0.0", [0, 0, 0, 0, 0, 0], "folds[0].single_view_confusion.0"),
    ("folds.0.mean_fusion_accuracy", 0.777, "folds[0].mean_fusion_accuracy"),
    ("folds.0.readouts.knn", None, "folds[0].readouts.knn"),
    ("folds.0.readouts.knn.supervision", "some", "folds[0].readouts.knn.supervision"),
    ("folds.0.readouts.knn.accuracy", 0.5, "folds[0].readouts.knn.accuracy"),
    ("folds.0.readouts.knn.macro_f1", 0.1, "folds[0].readouts.knn.macro_f1"),
    ("folds.0.readouts.knn.unweighted_average_recall", 0.1, "folds[0].readouts.knn.unweighted_average_recall"),
    ("folds.0.readouts.knn.confusion_matrix.0", [9, 0, 0, 0, 0, 0], "folds[0].readouts.knn.confusion_matrix"),
    ("folds.0.readouts.knn.subject_counts.F0000", [1, 11], "folds[0].readouts.knn.subject_counts"),
    ("folds.0.readouts.knn.subject_counts.F0000", [0, 12], "folds[0].readouts.knn.subject_counts"),
    ("folds.0.readouts.knn.subject_counts.F0101", [0, 1], "folds[0].readouts.knn.subject_counts"),
    ("folds.0.calibration.expected_calibration_error", 0.9, "folds[0].calibration.expected_calibration_error"),
    ("folds.0.calibration.temperature", 0, "folds[0].calibration.temperature"),
    ("folds.0.calibration.bins", [], "folds[0].calibration.bins"),
    ("folds.0.calibration.bins.0.low", 0.01, "folds[0].calibration.bins"),
    ("folds.0.calibration.bins.3.low", 0.1, "folds[0].calibration.bins"),
    ("folds.0.calibration.bins.14.low", 1.0, "folds[0].calibration.bins"),
    ("folds.0.calibration.bins.9.count", 47, "folds[0].calibration.bins"),
    ("folds.0.calibration.bins.14.accuracy", 0.5, "folds[0].calibration.bins[14]"),
    ("folds.0.calibration.bins.9.confidence", 0.1, "folds[0].calibration.bins[9].confidence"),
    ("folds.0.by_level", {}, "folds[0].by_level"),
    ("folds.0.by_level.3", [1, 24], "folds[0].by_level"),
    ("folds.0.by_level.5", [1, 1], "folds[0].by_level"),
    ("folds.0.by_level.-1", [1, 1], "folds[0].by_level.-1"),
    ("folds.0.multi_label.num_samples", 95, "folds[0].multi_label.fused.happy"),
    ("folds.0.multi_label.fused.happy.true_negative", 0, "folds[0].multi_label.fused.happy"),
    ("folds.0.multi_label.by_view.30.sad.true_positive", 96, "folds[0].multi_label.by_view.30.sad"),
    ("folds.0.multi_label.always_no.sad.true_positive", -1, "folds[0].multi_label.always_no.sad.true_positive"),
    ("folds.0.multi_label.num_exact", 96, "folds[0].multi_label.num_exact"),
    ("folds.0.multi_label.thresholds.fear", 2.5, "folds[0].multi_label.thresholds.fear"),
    ("folds.0.metrics_csv", "../metrics.csv", "folds[0].metrics_csv"),
    ("folds.0.metrics_csv", "/etc/passwd", "folds[0].metrics_csv"),
    ("summary.num_folds_run", 2, "summary.num_folds_run"),
    ("summary.accuracy.mean", 0.99, "summary.accuracy.mean"),
    ("summary.accuracy.std", None, "summary.accuracy.std"),
    ("summary.accuracy.std", 0.5, "summary.accuracy.std"),
    ("summary.accuracy.interval", [0.0, 0.01], "summary.accuracy.interval"),
    ("summary.macro_f1.mean", 0.1, "summary.macro_f1.mean"),
    ("summary.per_class_f1.fear.mean", 0.1, "summary.per_class_f1.fear.mean"),
    ("summary.gain_over_single_view.0.mean", 0.9, "summary.gain_over_single_view.0.mean"),
    ("summary.gain_over_mean_fusion.mean", -2, "summary.gain_over_mean_fusion.mean"),
    ("summary.view_weights", {"-30": 0.2, "0": 0.5, "30": 0.3}, "summary.view_weights.-30"),
    ("summary.confusion_matrix.0.0", 0, "summary.confusion_matrix"),
    ("controls.0.name", "", "controls[0].name"),
    ("controls.0.folds.0.accuracy", 0.9, "controls[0].folds[0].accuracy"),
    ("controls.0.summary.accuracy.mean", 0.9, "controls[0].summary.accuracy.mean"),
    ("examples.0.truth", "pain", "examples[0].truth"),
    ("examples.0.subject", "F0100", "examples[0].subject"),
    ("examples.0.fold", 9, "examples[0].subject"),
    ("examples.0.predicted", "fear", "examples[0].predicted"),
    ("examples.0.probabilities.happy", 0.0, "examples[0].probabilities"),
    ("examples.0.images.0", "a/../../b.png", "examples[0].images.0"),
    ("examples.0.images.0", "https://example.org/a.png", "examples[0].images.0"),
]


@pytest.mark.parametrize(("place", "value", "named"), TAMPERINGS)
def test_tampering_is_refused_with_file_and_field(plain, tmp_path, place, value, named):
    data = json.loads(plain)
    *parents, last = place.split(".")
    target = data
    for step in parents:
        target = target[int(step)] if isinstance(target, list) else target[step]
    target[int(last) if isinstance(target, list) else last] = value
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ResultError) as caught:
        read_results(path)
    assert str(caught.value).startswith(f"{path}: {named}: ")


def _objects(value, place=""):
    if isinstance(value, dict):
        yield place, value
        for key, item in value.items():
            yield from _objects(item, f"{place}.{key}" if place else key)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _objects(item, f"{place}[{index}]")


CONSTRUCTED = PairingCaptions(source="synthetic by construction", share=0.4)


def test_pairings_with_captions_say_where_the_actions_come_from():
    assert honest_pairing_name("actions", captions=CONSTRUCTED) == "action descriptions, synthetic by construction"
    coded = replace(CONSTRUCTED, source="coded by people")
    named = "weakly supervised, and action descriptions, coded by people (share 0.4)"
    assert honest_pairing_name("mixed", captions=coded) == named
    for mode, captions in (("actions", None), ("mixed", None), ("class", coded), ("shuffled", coded)):
        with pytest.raises(SettingsError, match="alone have captions"):
            honest_pairing_name(mode, captions=captions)


def test_a_result_with_captions_reads_back(tmp_path):
    name = honest_pairing_name("mixed", captions=CONSTRUCTED)
    result = replace(fake_result(), pairing_mode="mixed", pairing_name=name, pairing_captions=CONSTRUCTED)
    write_results(tmp_path / "r.json", result)
    assert read_results(tmp_path / "r.json") == result
    data = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps(data | {"pairing_captions": None}))
    with pytest.raises(ResultError, match="pairing_captions: pairings 'actions' and 'mixed' alone"):
        read_results(tmp_path / "r.json")


def test_result_files_from_before_captions_are_read(tmp_path):
    path = tmp_path / "results.json"
    result = fake_result(num_folds=2, folds_run=1)
    write_results(path, result)
    data = json.loads(path.read_text())
    assert data.pop("pairing_captions") is None
    path.write_text(json.dumps(data))
    assert read_results(path) == result


OPTIONAL = (
    "pairing_captions", "actions", "multi_view_gradient", "unseen_prompt_set", "unseen_wordings", "unseen_classes",
    "unseen_wordings_accuracy", "unseen_classes_accuracy", "labelled_subjects", "num_unlabelled_samples",
    "subject_confusion", "pooled", "pooled_majority", "oracle",
)  # fmt: skip
"""Files from before these are read."""


def test_every_field_must_be_there_and_none_beside_it(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, with_several_classes(fake_result(num_folds=2, folds_run=1, num_examples=1)))
    data = json.loads(path.read_text())
    free = ("settings", "seeds")
    checked = 0
    for place, found in list(_objects(data)):
        # The control repeats the structure of the fold, and so do parts of the fold each other's.
        if place.startswith((*free, "controls[0].")):
            continue
        if re.search(
            r"bins\[([1-9]|1\d)\]|readouts\.(knn|l|m|n)|multi_label\.(by_view|always_no)\.|fused\.[^h]", place
        ):
            continue
        # Which readouts and actions there are is up to the run; files from before captions lack what they brought.
        optional = found if place.endswith((".readouts", ".actions")) else OPTIONAL
        for key in [key for key in found if key not in optional]:
            value = found.pop(key)
            path.write_text(json.dumps(data))
            with pytest.raises(ResultError):
                read_results(path)
            found[key] = value
            checked += 1
        found["surprise me"] = 1
        path.write_text(json.dumps(data))
        with pytest.raises(ResultError, match="surprise me"):
            read_results(path)
        del found["surprise me"]
    assert checked > 100


def test_subjects_are_tested_in_one_fold_only(result, tmp_path):
    first = result.folds[0]
    twice = replace(result, folds=(first, replace(first, fold=1), result.folds[2]))
    with pytest.raises(ResultError, match=r"folds\[1\]\.test_subjects: F0000.*also tested in fold 0"):
        write_results(tmp_path / "r.json", twice)


def test_several_classes_are_counted_over_the_same_samples(result, tmp_path):
    """Counts that sum up, but tell of other samples."""
    fold, score = result.folds[0], result.folds[0].multi_label
    happy = score.fused["happy"]
    moved = replace(happy, true_positive=happy.true_positive - 1, true_negative=happy.true_negative + 1)
    sad = score.always_no["sad"]
    said = replace(sad, false_positive=1, true_negative=sad.true_negative - 1)
    few = {
        name: replace(counts, false_negative=1, true_negative=score.num_samples - 1)
        for name, counts in score.always_no.items()
    }
    none = {
        name: replace(counts, true_positive=0, false_positive=0, false_negative=1, true_negative=score.num_samples - 1)
        for name, counts in score.fused.items()
    }
    views = dict.fromkeys(score.by_view, none)
    for changed, message in [
        (
            replace(score, fused=score.fused | {"happy": moved}),
            r"fused\.happy: happy is there \d+ times, but \d+ times",
        ),
        (
            replace(score, always_no=score.always_no | {"sad": said}),
            r"always_no\.sad: says sad 1 times, expected never",
        ),
        (replace(score, fused=none, by_view=views, always_no=few), r"only class of 8 test samples"),
    ]:
        folds = (replace(fold, multi_label=changed), *result.folds[1:])
        with pytest.raises(ResultError, match=rf"folds\[0\]\.multi_label\..*{message}"):
            write_results(tmp_path / "r.json", replace(result, folds=folds))


def test_bins_must_hold_the_hits_of_the_confusion_matrix(result, tmp_path):
    fold = result.folds[0]
    number = next(i for i, each in enumerate(fold.calibration.bins) if each.accuracy)
    bins = list(fold.calibration.bins)
    bins[number] = replace(bins[number], accuracy=bins[number].accuracy - 1 / bins[number].count)
    folds = (replace(fold, calibration=replace(fold.calibration, bins=tuple(bins))), *result.folds[1:])
    with pytest.raises(ResultError, match=r"calibration\.bins: \d+ samples correct, the confusion matrix says"):
        write_results(tmp_path / "r.json", replace(result, folds=folds))


def test_methods_of_a_seed_are_tested_on_the_same_people(tmp_path):
    full, other = fake_result(seed=1), fake_result(method="multi_view_alone", seed=1)
    for result in (full, other):
        write_results(tmp_path / f"{result.method}.json", result)
        assert read_results(tmp_path / f"{result.method}.json") == result
    assert [fold.test_subjects for fold in full.folds] == [fold.test_subjects for fold in other.folds]
    assert full.summary.accuracy.mean > other.summary.accuracy.mean
    assert (full.seeds["training"], other.aligned_with_text) == (1, False)
    assert fake_result(method="supervised").pairing_name == "supervised"


def test_a_control_is_tested_on_the_same_subjects(result, tmp_path):
    control = result.controls[0]
    moved = replace(control.folds[0], fold=1), replace(control.folds[1], fold=0), control.folds[2]
    with pytest.raises(ResultError, match=r"controls\[0\]\.folds\[0\]\.test_subjects"):
        write_results(tmp_path / "r.json", replace(result, controls=(replace(control, folds=moved),)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r":1: not JSON"),
        ("{\n  broken", r":2: not JSON"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": 1, "a": 2}', "field 'a' is there twice"),
        ("[]", "expected an object"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_what_is_no_result_file(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=message):
        read_results(path)


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(ResultError, match="there is no such result file"):
        read_results(tmp_path / "nowhere.json")
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(ResultError, match="byte 7: expected UTF-8"):
        read_results(tmp_path / "latin.json")
    with pytest.raises(ResultError, match="cannot be read"):
        read_results(tmp_path)


def test_every_prefix_of_a_result_file_is_refused(plain, tmp_path):
    path = tmp_path / "results.json"
    for end in range(0, len(plain.rstrip()), 997):
        path.write_text(plain[:end])
        with pytest.raises(ResultError):
            read_results(path)


def test_timing_round_trip(tmp_path):
    write_timing(tmp_path / "timing.json", {"fold 0": 12.5, "evaluation": 1.0})
    assert read_timing(tmp_path / "timing.json") == {"fold 0": 12.5, "evaluation": 1.0}
    with pytest.raises(ResultError, match=r"seconds\.fold 0"):
        write_timing(tmp_path / "timing.json", {"fold 0": -1.0})


def test_honest_names():
    assert honest_pairing_name("class") == "weakly supervised"
    assert honest_pairing_name("pseudo", "clip-vit-b32") == "label-free, teacher clip-vit-b32"
    assert taught(fake_result()).pairing_name == (
        "label-free, teacher demo/fold_00 (01234567, trained on synthetic faces)"
    )
    of_people = replace(taught(fake_result()).pairing_teacher, synthetic=False)
    assert of_people.description == "demo/fold_00 (01234567, trained on labelled scans of people)"
    assert honest_pairing_name("generic") == "label-free"
    for mode, teacher in [("supervised", None), ("pseudo", None), ("class", "clip")]:
        with pytest.raises(SettingsError):
            honest_pairing_name(mode, teacher)
