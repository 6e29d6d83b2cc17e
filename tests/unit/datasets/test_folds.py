from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smilevlm.datasets import check_shared_subjects, subject_folds, validation_subjects
from smilevlm.errors import LeakError, SettingsError

SUBJECTS = st.lists(st.integers(0, 25).map("S{:02d}".format), min_size=2, max_size=80).filter(
    lambda s: len(set(s)) >= 2
)
SEEDS = st.integers(0, 2**32)


@given(subjects=SUBJECTS, seed=SEEDS, data=st.data())
def test_every_sample_is_tested_once_and_no_subject_is_on_both_sides(subjects, seed, data):
    num_folds = data.draw(st.integers(2, len(set(subjects))))
    folds = subject_folds(subjects, num_folds, seed)
    assert len(folds) == num_folds
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested.tolist()) == list(range(len(subjects)))
    sizes = []
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(subjects)))
        assert list(train) == sorted(train)
        assert list(test) == sorted(test)
        train_names, test_names = {subjects[i] for i in train}, {subjects[i] for i in test}
        assert train_names
        assert test_names
        assert not train_names & test_names
        sizes.append(len(test_names))
    assert max(sizes) - min(sizes) <= 1


@given(subjects=SUBJECTS, seed=SEEDS, order=st.randoms(use_true_random=False))
def test_the_order_of_the_samples_decides_nothing(subjects, seed, order):
    shuffled = list(subjects)
    order.shuffle(shuffled)
    held_out = [{subjects[i] for i in test} for _, test in subject_folds(subjects, 2, seed)]
    again = [{shuffled[i] for i in test} for _, test in subject_folds(shuffled, 2, seed)]
    assert held_out == again


def test_the_seed_decides():
    subjects = [f"F{n:04d}" for n in range(40)]
    first, same, other = (subject_folds(subjects, 10, seed) for seed in (1, 1, 2))
    assert all((a[1] == b[1]).all() for a, b in zip(first, same, strict=True))
    assert any((a[1] != b[1]).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("num_folds", [-1, 0, 1, 4])
def test_impossible_numbers_of_folds(num_folds):
    with pytest.raises(SettingsError, match=f"{num_folds} folds for 3 subjects; expected 2 to 3"):
        subject_folds(["a", "b", "c", "a"], num_folds, 0)


@given(subjects=SUBJECTS, seed=SEEDS, share=st.floats(0.01, 0.99))
def test_validation_subjects_are_some_of_the_training_subjects(subjects, seed, share):
    unique = set(subjects)
    count = round(share * len(unique))
    if not 1 <= count < len(unique):
        with pytest.raises(SettingsError, match="leaves one side empty"):
            validation_subjects(subjects, share, seed)
        return
    chosen = validation_subjects(subjects, share, seed)
    assert len(chosen) == len(set(chosen)) == count
    assert set(chosen) < unique
    assert chosen == tuple(sorted(chosen))
    assert chosen == validation_subjects(subjects[::-1], share, seed)


def test_validation_shares_that_leave_a_side_empty():
    assert validation_subjects(["a", "b"], 0, 5) == ()
    for share in (-0.2, 1.0, 1.5, 0.01, 0.99):
        with pytest.raises(SettingsError):
            validation_subjects(["a", "b", "c"], share, 0)


def test_validation_subjects_vary_with_the_seed():
    subjects = [f"F{n:04d}" for n in range(40)]
    assert validation_subjects(subjects, 0.2, 1) != validation_subjects(subjects, 0.2, 2)


def test_a_shared_subject_is_a_leak():
    check_shared_subjects(train=["a", "b"], test=["c", "c"])
    check_shared_subjects(train=[], test=[])
    with pytest.raises(LeakError, match=r"both in train and in test: b$"):
        check_shared_subjects(train=["a", "b", "b"], test=["b", "c"])
    with pytest.raises(LeakError, match=r"validation and in test: s0, s1, s2, s3, s4 and 2 more$"):
        check_shared_subjects(train=["a"], validation=[f"s{n}" for n in range(7)], test=[f"s{n}" for n in range(9)])
