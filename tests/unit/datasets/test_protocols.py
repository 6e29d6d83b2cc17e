"""Protocols: what they select, how they split, and what they say about themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from smilevlm.datasets import (
    LAYOUTS,
    PROTOCOLS,
    EvaluationProtocol,
    find_protocol,
    index_data_set,
    protocol_folds,
    train_elsewhere_split,
)
from smilevlm.errors import LayoutError, LeakError, SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS, NEUTRAL, SPONTANEOUS_EXPRESSIONS, UNLABELLED
from smilevlm.store import Sample


def face(subject: str, expression: str, level: int = 0, **more) -> Sample:
    sample_id = more.pop("sample_id", f"{subject}_{expression}{level}")
    return Sample(sample_id=sample_id, subject=subject, expression=expression, level=level, **more)


def bu3dfe(subjects: Sequence[str] = ("F0001", "M0001")) -> list[Sample]:
    poses = [(NEUTRAL, 0), *((name, level) for name in BASIC_EXPRESSIONS for level in (1, 2, 3, 4))]
    return [face(subject, name, level) for subject in subjects for name, level in poses]


def six_each(num_subjects: int, prefix: str = "F") -> list[Sample]:
    return [face(f"{prefix}{n:03d}", name) for n in range(num_subjects) for name in BASIC_EXPRESSIONS]


def subjects_of(samples: Sequence[Sample], indices) -> set[str]:
    return {samples[i].subject for i in indices}


def as_lists(folds) -> list[tuple[list[int], list[int]]]:
    return [(train.tolist(), test.tolist()) for train, test in folds]


# What is selected.


@pytest.mark.parametrize(("name", "levels"), [("bu3dfe_subset1", (3, 4)), ("bu3dfe_subset2", (1, 2, 3, 4))])
def test_a_protocol_selects_its_levels_and_never_neutral(name, levels):
    faces = bu3dfe()
    chosen = find_protocol(name).select(faces)
    assert chosen == [i for i, s in enumerate(faces) if s.level in levels and s.expression != NEUTRAL]
    assert len(chosen) == 2 * 6 * len(levels)
    assert {faces[i].level for i in chosen} == set(levels)
    assert {faces[i].expression for i in chosen} == set(BASIC_EXPRESSIONS)


def test_a_missing_class_is_named():
    faces = [s for s in bu3dfe() if s.expression not in ("happy", "fear")]
    with pytest.raises(LayoutError, match="bu3dfe_subset1: the store has no sample of happy, fear"):
        find_protocol("bu3dfe_subset1").select(faces)
    low = [s for s in bu3dfe() if s.expression != "sad" or s.level < 3]
    with pytest.raises(LayoutError, match="no sample of sad"):
        find_protocol("bu3dfe_subset1").select(low)
    assert find_protocol("bu3dfe_subset2").select(low)


def test_bosphorus_takes_the_lowest_repeat_of_subjects_with_all_six():
    def scan(subject: str, expression: str, repeat: int) -> Sample:
        word = expression.upper()
        return face(subject, expression, sample_id=f"{subject}_E_{word}_{repeat}", condition=f"E_{word}")

    faces = [
        *(scan("bs000", name, 10) for name in BASIC_EXPRESSIONS),
        scan("bs000", "happy", 2),
        scan("bs000", "happy", 11),
        *(scan("bs001", name, 0) for name in BASIC_EXPRESSIONS[:5]),
        face("bs000", UNLABELLED, sample_id="bs000_YR_R90_0", condition="YR_R90"),
        face("bs000", NEUTRAL, sample_id="bs000_N_N_0", condition="N_N"),
    ]
    chosen = find_protocol("bosphorus").select(faces)
    assert [faces[i].sample_id for i in chosen] == [
        *(f"bs000_E_{name.upper()}_10" for name in BASIC_EXPRESSIONS[1:]),
        "bs000_E_HAPPY_2",
    ]
    nobody = [s for s in faces if (s.subject, s.expression) != ("bs000", "fear")]
    nobody.append(scan("bs002", "fear", 0))
    with pytest.raises(LayoutError, match="no subject has a sample of every class"):
        find_protocol("bosphorus").select(nobody)


def test_bp4d_takes_eight_classes_and_its_cross_test_two_tasks():
    faces = [
        face("F001", name, sample_id=f"F001_T{task}", condition=f"T{task}")
        for task, name in enumerate(
            ("happy", "sad", "surprise", "embarrassment", "fear", "pain", "angry", "disgust"), start=1
        )
    ]
    extra = face("F001", "happy", sample_id="F001_T9", condition="T9")
    assert find_protocol("bp4d").select([*faces, extra]) == list(range(9))
    assert find_protocol("bp4d_cross").select([*faces, extra]) == [0, 7]


def clip(number: int, *labels: str, subject: str = "S01") -> Sample:
    return face(subject, "+".join(labels) or UNLABELLED, sample_id=f"{subject}_{number}", labels=labels)


def test_clips_with_several_classes_take_part_only_when_asked_for():
    clips = [*(clip(n, name) for n, name in enumerate(MICRO_EXPRESSIONS)), clip(7, "positive", "surprise"), clip(8)]
    protocol = find_protocol("fourdme")
    assert protocol.select(clips) == [0, 1, 2, 3, 4]
    assert replace(protocol, multi_label=True).select(clips) == [0, 1, 2, 3, 4, 5]


def test_a_folder_has_the_classes_that_are_there():
    faces = [face("anna", "wink"), face("anna", "happy"), face("ben", "wink"), face("ben", UNLABELLED)]
    protocol = find_protocol("folder")
    assert protocol.select(faces) == [0, 1, 2]
    assert protocol.classes_of(faces) == ("happy", "wink")
    assert find_protocol("bu4dfe").classes_of(faces) == BASIC_EXPRESSIONS
    with pytest.raises(LayoutError, match="no sample of any class"):
        protocol.select(faces[3:])


# How it is split.


def test_the_folds_of_known_seeds_stay_what_they_were():
    # Written down when the splits were `subject_folds` alone; runs refer to them by seed.
    faces = bu3dfe([f"F{n:04d}" for n in range(1, 31)])
    folds = protocol_folds(find_protocol("bu3dfe_subset2"), faces, 10, seed=7)
    assert [sorted(subjects_of(faces, test)) for _, test in folds[:2]] == [
        ["F0005", "F0013", "F0015"],
        ["F0023", "F0025", "F0029"],
    ]


@pytest.mark.parametrize(
    ("name", "num_folds"),
    [(name, 5) for name in PROTOCOLS if PROTOCOLS[name].scheme == "kfold"] + [("fourdme_loso", 1)],
)
def test_subjects_are_disjoint_and_every_chosen_sample_is_tested_once(name, num_folds):
    protocol = PROTOCOLS[name]
    num_subjects = 65 if protocol.num_subjects else 7
    classes = protocol.classes or ("wink", "happy")
    levels = protocol.levels or (0,)
    faces = [face(f"S{n:02d}", label, level) for n in range(num_subjects) for label in classes for level in levels]
    folds = protocol_folds(protocol, faces, num_folds, seed=3)
    tested = sorted(i for _, test in folds for i in test.tolist())
    for train, test in folds:
        assert not subjects_of(faces, train) & subjects_of(faces, test)
        assert sorted([*train.tolist(), *test.tolist()]) == tested
    if protocol.num_subjects is None:
        assert tested == protocol.select(faces)
    else:
        assert len(subjects_of(faces, tested)) == protocol.num_subjects
        assert len(tested) == protocol.num_subjects * len(classes) * len(levels)


def test_leaving_one_subject_out_has_a_fold_per_subject_in_order():
    clips = [clip(n, name, subject=s) for s in ("S03", "S01", "S02") for n, name in enumerate(MICRO_EXPRESSIONS)]
    folds = protocol_folds(find_protocol("fourdme_loso"), clips, num_folds=10, seed=1)
    assert [subjects_of(clips, test) for _, test in folds] == [{"S01"}, {"S02"}, {"S03"}]
    with pytest.raises(SettingsError, match="there is only S03"):
        protocol_folds(find_protocol("fourdme_loso"), clips[:5], num_folds=10, seed=1)


def test_sixty_subjects_are_drawn_anew_for_each_repeat():
    faces, protocol = six_each(101), find_protocol("bu4dfe_60")
    draws = []
    for repeat in (0, 1, 99):
        folds = protocol_folds(protocol, faces, 10, seed=5, repeat=repeat)
        again = protocol_folds(protocol, faces[::-1], 10, seed=5, repeat=repeat)
        assert [subjects_of(faces, test) for _, test in folds] == [subjects_of(faces[::-1], test) for _, test in again]
        assert [len(subjects_of(faces, test)) for _, test in folds] == [6] * 10
        draws.append(frozenset().union(*(subjects_of(faces, test) for _, test in folds)))
    assert len(set(draws)) == 3
    assert draws[0] != frozenset(subjects_of(faces, range(360)))


def test_too_few_subjects_and_repeats_out_of_range_are_refused():
    with pytest.raises(LayoutError, match="draws 60 subjects; the store has 59"):
        protocol_folds(find_protocol("bu4dfe_60"), six_each(59), 10, seed=0)
    with pytest.raises(SettingsError, match="repeat 1 is outside 0 to 0 of protocol bu4dfe"):
        protocol_folds(find_protocol("bu4dfe"), six_each(20), 10, seed=0, repeat=1)
    with pytest.raises(SettingsError, match="repeat 100 is outside 0 to 99"):
        protocol_folds(find_protocol("bu4dfe_60"), six_each(60), 10, seed=0, repeat=100)


# Trained elsewhere.


def bp4d_tasks() -> list[Sample]:
    return [
        face("F001", "happy", sample_id="F001_T1", condition="T1", recording="F001_T1", last_frame=99, digest="a"),
        face("F001", "disgust", sample_id="F001_T8", condition="T8", recording="F001_T8", last_frame=99, digest="b"),
        face("F001", "pain", sample_id="F001_T6", condition="T6", recording="F001_T6", last_frame=99, digest="c"),
    ]


def test_training_elsewhere_takes_all_of_one_set_and_two_tasks_of_the_other():
    faces = six_each(3)
    assert faces[6].subject == bp4d_tasks()[0].subject == "F001", "two people with one name"
    train, test = train_elsewhere_split(find_protocol("bp4d_cross"), faces, bp4d_tasks())
    assert (train.tolist(), test.tolist()) == (list(range(18)), [0, 1])


def test_training_elsewhere_on_the_same_files_is_a_leak():
    faces = six_each(2)
    faces[4] = replace(faces[4], digest="b")
    with pytest.raises(LeakError, match="F001_T8 is F000_disgust0"):
        train_elsewhere_split(find_protocol("bp4d_cross"), faces, bp4d_tasks())


def test_training_elsewhere_has_no_folds():
    protocol = find_protocol("bp4d_cross")
    assert (protocol.train_layout, protocol.layout) == ("bu4dfe", "bp4d")
    with pytest.raises(SettingsError, match="trains on a store of bu4dfe and tests on one of bp4d"):
        protocol_folds(protocol, bp4d_tasks(), 2, seed=0)


# What protocols say of themselves.


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_know_their_name_layout_and_origin(name):
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.layout in LAYOUTS
    assert protocol.train_layout in LAYOUTS
    assert protocol.source
    assert protocol.status
    known = {*SPONTANEOUS_EXPRESSIONS, *MICRO_EXPRESSIONS}
    assert set(protocol.classes) <= known
    assert (protocol.scheme == "train_elsewhere") == (protocol.train_on is not None)
    assert (protocol.num_repeats > 1) == (protocol.num_subjects is not None)


def test_the_classes_of_each_data_set():
    def classes(layout: str) -> set[tuple[str, ...]]:
        return {p.classes for p in PROTOCOLS.values() if p.layout == layout and p.train_on is None}

    assert classes("bu3dfe") == classes("bosphorus") == classes("bu4dfe") == {BASIC_EXPRESSIONS}
    assert classes("bp4d") == {SPONTANEOUS_EXPRESSIONS}
    assert classes("4dme") == {MICRO_EXPRESSIONS}
    assert classes("folder") == {()}


def test_titles_tell_protocols_apart():
    assert len({protocol.title for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)
    assert all(isinstance(protocol, EvaluationProtocol) for protocol in PROTOCOLS.values())


def test_unknown_names(tmp_path):
    with pytest.raises(SettingsError, match="no protocol 'bu5dfe'; there are bu3dfe_subset1"):
        find_protocol("bu5dfe")
    with pytest.raises(SettingsError, match="no layout 'bu5dfe'; there are bu3dfe"):
        index_data_set("bu5dfe", tmp_path)
