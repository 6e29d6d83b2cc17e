"""Training on one data set and testing on another, and clips with several classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smilevlm.dynamics import DynamicSettings
from smilevlm.errors import LeakError, SettingsError, StoreError
from smilevlm.evaluation import class_directions, embed, evaluate_run
from smilevlm.geometry import NormaliseSettings
from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS
from smilevlm.models import load_bundle, zero_shot_scores
from smilevlm.recipes import find_recipe
from smilevlm.store import FrameFile, Phases, PreparedSet, PrepareSettings, Recording, prepare
from smilevlm.training.fold_data import load_fold_data, load_run_data
from smilevlm.training.resolve import with_overrides
from smilevlm.training.run import train_run
from smilevlm.views import ViewSettings

OVERRIDES = (
    "prepare.views.size=32",
    "optimiser.epochs=1",
    "optimiser.batch_size=4",
    "model.tower_settings.width=8",
    "model.projector.hidden_dim=16",
    "model.fusion.hidden_dim=8",
)


def scans_by_person(faces: Path) -> list[list[Path]]:
    """Seven scans each: neutral and six expressions."""
    return [sorted(folder.glob("*_F3D.wrl")) for folder in sorted(faces.iterdir()) if folder.is_dir()]


def sequence(subject: str, name: str, scan: Path, **more) -> Recording:
    """One scan held for two frames; another scan for every recording."""
    frames = (FrameFile(path=scan, number=0), FrameFile(path=scan, number=1))
    return Recording(sample_id=f"{subject}_{name}", subject=subject, frames=frames, is_sequence=True, **more)


def prepared(layout: str, recordings: list[Recording], store: Path) -> Path:
    settings = PrepareSettings(views=ViewSettings(size=32), normalise=NormaliseSettings())
    prepare(recordings, store, settings, layout=layout, synthetic=True)
    return store


@pytest.fixture(scope="module")
def bu4dfe_store(synthetic_faces, tmp_path_factory) -> Path:
    recordings = [
        sequence(subject, expression, scan, expression=expression)
        for subject, scans in zip(("F001", "F002"), scans_by_person(synthetic_faces), strict=True)
        for expression, scan in zip(BASIC_EXPRESSIONS, scans, strict=False)
    ]
    return prepared("bu4dfe", recordings, tmp_path_factory.mktemp("bu4dfe") / "store")


@pytest.fixture(scope="module")
def bp4d_store(faces_of_four, tmp_path_factory) -> Path:
    tasks = {"T1": "happy", "T2": "sad", "T8": "disgust"}
    recordings = [
        sequence(subject, task, scan, expression=tasks[task], condition=task)
        for subject, scans in zip(("F001", "M001"), scans_by_person(faces_of_four), strict=False)
        for task, scan in zip(tasks, scans, strict=False)
    ]
    return prepared("bp4d", recordings, tmp_path_factory.mktemp("bp4d") / "store")


@pytest.fixture(scope="module")
def cross_run(bu4dfe_store, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("cross") / "run"
    train_run(with_overrides(find_recipe("tiny_bp4d_cross"), OVERRIDES), bu4dfe_store, run)
    return run


def test_trained_on_everybody_there_and_tested_here(cross_run, bu4dfe_store, bp4d_store):
    result = evaluate_run(cross_run, bu4dfe_store, test_store=bp4d_store, num_examples=2)
    assert (result.layout, result.protocol, result.classes) == ("bp4d", "bp4d_cross", ("happy", "disgust"))
    assert result.trained_on is not None
    assert result.trained_on.layout == "bu4dfe"
    assert result.manifest_hash == PreparedSet(bp4d_store).manifest.content_hash
    (fold,) = result.folds
    # The data sets call different people F001.
    assert fold.train_subjects == ("bu4dfe/F001", "bu4dfe/F002")
    assert fold.test_subjects == ("bp4d/F001", "bp4d/M001")
    assert (fold.num_train_samples, fold.num_test_samples) == (12, 4)


def test_the_bundle_keeps_all_six_classes(cross_run):
    kept = json.loads((cross_run / "fold_00/bundle.json").read_text())
    assert len(kept["classes"]) == 6


def test_the_test_store_is_asked_for(cross_run, bu4dfe_store):
    with pytest.raises(SettingsError, match="--test-store"):
        evaluate_run(cross_run, bu4dfe_store)


def test_a_test_store_of_another_data_set(cross_run, bu4dfe_store):
    with pytest.raises(StoreError, match="holds bu4dfe, protocol bp4d_cross tests on bp4d"):
        evaluate_run(cross_run, bu4dfe_store, test_store=bu4dfe_store)


def test_a_test_store_that_nobody_asked_for(trained_run, prepared_store):
    with pytest.raises(SettingsError, match="leave the test store out"):
        evaluate_run(trained_run, prepared_store, test_store=prepared_store)


def test_the_same_scans_in_both_sets(cross_run, bu4dfe_store, bp4d_store, monkeypatch):
    from smilevlm.store import reader

    known = PreparedSet(bu4dfe_store).samples[0].digest
    made = reader.sample_from_row
    monkeypatch.setattr(
        reader,
        "sample_from_row",
        lambda row: made(row | {"digest": known} if row["sample_id"].startswith("F001_T1") else row),
    )
    with pytest.raises(LeakError, match="files of training samples"):
        evaluate_run(cross_run, bu4dfe_store, test_store=bp4d_store)


def test_two_folds_make_no_sense_there():
    with pytest.raises(SettingsError, match="num_folds=1"):
        with_overrides(find_recipe("tiny_bp4d_cross"), ["num_folds=5"])


@pytest.fixture(scope="module")
def clips_store(faces_of_four, tmp_path_factory) -> Path:
    """Four people with six clips each: one of every class, and one of two classes."""
    shown = [*((name,) for name in MICRO_EXPRESSIONS), ("positive", "surprise")]
    recordings = [
        sequence(f"S{number:02d}", "+".join(labels), scan, expression="+".join(labels), labels=labels)
        for number, scans in enumerate(scans_by_person(faces_of_four), 1)
        for labels, scan in zip(shown, scans, strict=False)
    ]
    return prepared("4dme", recordings, tmp_path_factory.mktemp("4dme") / "store")


def test_clips_with_several_classes(clips_store, tmp_path):
    config = with_overrides(find_recipe("tiny_4dme_multi_label"), [*OVERRIDES, "num_folds=2", "num_control_folds=0"])
    run = tmp_path / "run"
    train_run(config, clips_store, run, folds=[0])
    (fold,) = evaluate_run(run, clips_store, num_examples=0).folds
    assert fold.num_train_samples == 12
    # The clips of two classes are scored among the yes-or-no questions alone.
    assert fold.num_test_samples == 10
    assert fold.multi_label is not None
    assert fold.multi_label.num_samples == 12
    counts = fold.multi_label.fused["positive"]
    assert counts.true_positive + counts.false_negative == 4
    assert set(fold.multi_label.by_view) == {-30.0, 0.0, 30.0}
    steps = (run / "fold_00/metrics.csv").read_text().splitlines()[1:]
    # Twelve clips, two of which stand there once for each of their classes: 14 in batches of four.
    assert len(steps) == 3


def test_clips_of_one_class_have_no_multi_label_score(clips_store, tmp_path):
    config = with_overrides(find_recipe("tiny_4dme"), [*OVERRIDES, "num_folds=2", "num_control_folds=0"])
    run = tmp_path / "run"
    train_run(config, clips_store, run, folds=[0])
    (fold,) = evaluate_run(run, clips_store, num_examples=0).folds
    assert fold.num_test_samples == 10
    assert fold.multi_label is None


@pytest.fixture(scope="module")
def phases_store(faces_of_four, tmp_path_factory) -> Path:
    """Clips of two people whose six scans stand for a movement with its apex in the middle, an image per phase."""
    recordings = []
    for number, scans in enumerate(scans_by_person(faces_of_four)[:2], 1):
        for place, name in enumerate(MICRO_EXPRESSIONS):
            order = [scans[0], *np.roll(scans[1:5], place), scans[0]]
            recordings.append(
                Recording(
                    sample_id=f"S{number:02d}_{name}",
                    subject=f"S{number:02d}",
                    expression=name,
                    frames=tuple(FrameFile(path=Path(scan), number=frame) for frame, scan in enumerate(order)),
                    is_sequence=True,
                    phases=Phases(onset=0, apex=3, offset=5),
                )
            )
    dynamics = DynamicSettings(span="both_phases")
    settings = PrepareSettings(views=ViewSettings(size=32), normalise=NormaliseSettings(), dynamics=dynamics)
    store = tmp_path_factory.mktemp("phases") / "store"
    prepare(recordings, store, settings, layout="4dme", synthetic=True)
    return store


def test_a_model_of_another_span_that_knows_the_test_people_is_refused(phases_store, clips_store, tmp_path):
    """Other images of the same clips have other digests; the people are known by their names."""
    more = [*OVERRIDES, "num_folds=2", "num_control_folds=0"]
    train_run(with_overrides(find_recipe("tiny_4dme"), more), clips_store, tmp_path / "whole", folds=[1])
    begun = [*more, "prepare.dynamics.span=both_phases", f"start_from={tmp_path / 'whole'}"]
    with pytest.raises(LeakError, match="was trained on test subjects"):
        train_run(with_overrides(find_recipe("tiny_4dme_loso"), begun), phases_store, tmp_path / "run", folds=[0])


def test_both_phases_of_a_clip_are_one_test_sample(phases_store, clips_store, tmp_path):
    """Trained as two samples, beginning with a model of whole sequences, and scored as one."""
    more = [*OVERRIDES, "num_folds=2", "num_control_folds=0"]
    train_run(with_overrides(find_recipe("tiny_4dme"), more), clips_store, tmp_path / "whole", folds=[0])
    begun = [*more, "prepare.dynamics.span=both_phases", f"start_from={tmp_path / 'whole'}"]
    run = tmp_path / "run"
    train_run(with_overrides(find_recipe("tiny_4dme_loso"), begun), phases_store, run, folds=[0])
    result = evaluate_run(run, phases_store, num_examples=0)
    (fold,) = result.folds
    assert (result.level, fold.num_train_samples, fold.num_test_samples) == ("sequence", 10, 5)
    prepared, model = PreparedSet(phases_store), load_bundle(run / "fold_00")
    prototypes, expected = class_directions(model, result.classes), []
    for name in MICRO_EXPRESSIONS:
        of_clip = [
            index
            for index, sample in enumerate(prepared.samples)
            if (sample.subject, sample.expression) == (fold.test_subjects[0], name)
        ]
        assert len(of_clip) == 2
        cosines = sum(zero_shot_scores(embed(model, prepared, [index]).z_fused, prototypes) for index in of_clip)
        expected.append(int(np.argmax(cosines)))
    matrix = np.asarray(fold.confusion_matrix)
    np.testing.assert_array_equal(matrix[range(5), expected], 1)
    assert fold.subject_confusion == {fold.test_subjects[0]: fold.confusion_matrix}


def test_the_true_movement_is_known_of_synthetic_clips_alone(trained_run, prepared_store, tmp_path):
    with pytest.raises(SettingsError, match="of layout 4dme, the store holds bu3dfe"):
        evaluate_run(trained_run, prepared_store, faces=tmp_path)


@pytest.fixture(scope="module")
def clips_teacher(clips_store, tmp_path_factory) -> Path:
    """Trained on the people of fold 0."""
    config = with_overrides(find_recipe("tiny_4dme_multi_label"), [*OVERRIDES, "num_folds=2", "num_control_folds=0"])
    run = tmp_path_factory.mktemp("teacher") / "run"
    train_run(config, clips_store, run, folds=[0])
    return run


@pytest.mark.parametrize(
    "more",
    [
        ("pseudo.balance=none",),
        ("pseudo.balance=cap",),
        ("pseudo.balance=sinkhorn", "validation.patience=1"),
        ("pseudo.mirror=false", "optimiser.ema_decay=0.5"),
        ("shuffle_prompts=true",),
        ("loss.beta=0", "loss.gamma=0"),
    ],
)
def test_a_teacher_of_clips_with_several_classes_and_people_held_back(clips_store, clips_teacher, tmp_path, more):
    config = with_overrides(
        find_recipe("tiny_4dme_multi_label"),
        [*OVERRIDES, "num_folds=2", "num_control_folds=0", "validation.share=0.5", "pairing=pseudo",
         f"pseudo.teacher={clips_teacher}", "pseudo.min_confidence=0", *more],
    )  # fmt: skip
    train_run(config, clips_store, tmp_path / "run", folds=[0])
    (fold,) = evaluate_run(tmp_path / "run", clips_store, num_examples=0).folds
    assert fold.num_train_samples == 6
    assert fold.multi_label is not None


def test_no_label_of_the_held_back_people_is_read_with_a_teacher(clips_store, clips_teacher):
    config = with_overrides(
        find_recipe("tiny_4dme_multi_label"),
        [*OVERRIDES, "num_folds=2", "validation.share=0.5", "pairing=pseudo", f"pseudo.teacher={clips_teacher}",
         "pseudo.min_confidence=0"],
    )  # fmt: skip
    data = load_run_data(config, clips_store)
    for shuffled in (False, True):
        held_back = load_fold_data(data, data.splits[0], shuffled=shuffled).validation
        assert held_back is not None
        assert held_back.truth == (-1,) * 6
        assert held_back.is_dynamic is not None
        assert held_back.is_dynamic.all()
