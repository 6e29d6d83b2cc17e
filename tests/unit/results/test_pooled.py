"""UF1 and UAR over all folds together: against loops, over people, and as a file must have them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fake_results import fake_result
from smilevlm.errors import ResultError
from smilevlm.results import (
    OracleResult,
    majority_confusion,
    pooled_confusion,
    pooled_score,
    read_results,
    summarise_folds,
    unweighted_average_recall,
    unweighted_f1,
    write_results,
)
from smilevlm.results.pooled import NUM_RESAMPLES


def random_people(num_people: int, num_classes: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, size=(num_people, num_classes, num_classes))
    return {f"S{person:02d}": tuple(map(tuple, each.tolist())) for person, each in enumerate(counts)}


def scores_in_loops(matrices):
    """UF1 and UAR from their definitions."""
    num_classes = len(matrices[0])
    f1, recall = [], []
    for k in range(num_classes):
        hits = sum(matrix[k][k] for matrix in matrices)
        present = sum(matrix[k][j] for matrix in matrices for j in range(num_classes))
        said = sum(matrix[i][k] for matrix in matrices for i in range(num_classes))
        f1.append(2 * hits / (present + said) if present + said else 0.0)
        recall.append(hits / present if present else 0.0)
    return sum(f1) / num_classes, sum(recall) / num_classes


def test_scores_and_intervals_are_those_of_loops():
    people = random_people(5)
    found = pooled_score(people, seed=3)
    names = sorted(people)
    draws = np.random.default_rng(3).integers(len(names), size=(NUM_RESAMPLES, len(names)))
    resampled = np.array([scores_in_loops([people[names[i]] for i in row]) for row in draws])
    assert (found.unweighted_f1, found.unweighted_average_recall) == pytest.approx(
        scores_in_loops(list(people.values()))
    )
    intervals = (found.unweighted_f1_interval, found.unweighted_average_recall_interval)
    np.testing.assert_allclose(intervals, np.quantile(resampled, [0.025, 0.975], axis=0).T)


def test_pooled_is_no_mean_over_people():
    """Two people of one class each: every own score counts two absent classes as zero, the pooled one does not."""
    people = {"A": ((2, 0, 0), (0, 0, 0), (0, 0, 0)), "B": ((0, 0, 0), (0, 2, 0), (0, 0, 0))}
    assert pooled_score(people).unweighted_f1 == pytest.approx(2 / 3)
    assert np.mean([unweighted_f1(matrix) for matrix in people.values()]) == pytest.approx(1 / 3)


def test_one_person_has_no_interval():
    found = pooled_score(random_people(1))
    assert (found.unweighted_f1_interval, found.unweighted_average_recall_interval) == (None, None)


def test_the_order_of_people_changes_nothing():
    people = random_people(6)
    assert pooled_score(people) == pooled_score(dict(reversed(people.items())))


def test_a_result_has_the_scores_of_its_folds():
    result = fake_result(num_folds=2, subjects_per_fold=3)
    found = pooled_confusion(result.folds)
    assert found is not None
    assert set(found) == {name for fold in result.folds for name in fold.test_subjects}
    assert result.summary.pooled == pooled_score(found)
    assert result.summary.pooled.unweighted_f1 == pytest.approx(unweighted_f1(result.summary.confusion_matrix))
    always = majority_confusion(result.folds)
    assert always is not None
    for fold in result.folds:
        total = np.sum([always[name] for name in fold.test_subjects], axis=0)
        np.testing.assert_array_equal(total, fold.readouts["majority"].confusion_matrix)
    recall = unweighted_average_recall(tuple(map(tuple, np.sum(list(always.values()), axis=0).tolist())))
    assert result.summary.pooled_majority.unweighted_average_recall == pytest.approx(recall)


def test_files_from_before_have_no_such_scores(tmp_path):
    result = fake_result(num_folds=2)
    folds = tuple(dataclasses.replace(fold, subject_confusion=None) for fold in result.folds)
    summary = summarise_folds(folds)
    assert (summary.pooled, summary.pooled_majority) == (None, None)
    old = dataclasses.replace(result, folds=folds, summary=summary, controls=())
    write_results(tmp_path / "results.json", old)
    assert read_results(tmp_path / "results.json").summary.pooled is None


def with_oracle(result, **changes):
    people = pooled_confusion(result.folds)
    perfect = {name: tuple(map(tuple, np.diag(np.sum(matrix, axis=1)).tolist())) for name, matrix in people.items()}
    oracle = OracleResult(subject_confusion=perfect, pooled=pooled_score(perfect))
    return dataclasses.replace(result, oracle=dataclasses.replace(oracle, **changes))


def test_an_oracle_is_written_and_read(tmp_path):
    result = with_oracle(fake_result(num_folds=2))
    write_results(tmp_path / "results.json", result)
    assert read_results(tmp_path / "results.json").oracle == result.oracle
    assert result.oracle.pooled.unweighted_f1 == 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda fold: {fold.test_subjects[0]: fold.subject_confusion[fold.test_subjects[0]]}, "do not sum"),
        (lambda fold: {**fold.subject_confusion, "stranger": fold.confusion_matrix}, "stranger"),
    ],
)
def test_matrices_of_people_that_are_not_the_fold_s(tmp_path, change, told):
    result = fake_result(num_folds=2)
    folds = tuple(dataclasses.replace(fold, subject_confusion=change(fold)) for fold in result.folds)
    with pytest.raises(ResultError, match=told):
        write_results(tmp_path / "results.json", dataclasses.replace(result, folds=folds))


def test_scores_that_are_not_those_of_the_matrices(tmp_path):
    result = fake_result(num_folds=2)
    other = dataclasses.replace(result.summary.pooled, unweighted_f1_interval=(0.0, 1.0))
    summary = dataclasses.replace(result.summary, pooled=other)
    with pytest.raises(ResultError, match=r"summary\.pooled\.unweighted_f1_interval"):
        write_results(tmp_path / "results.json", dataclasses.replace(result, summary=summary))
    wrong = with_oracle(result, pooled=result.summary.pooled)
    with pytest.raises(ResultError, match=r"oracle\.pooled\.unweighted_f1"):
        write_results(tmp_path / "results.json", wrong)
    people = dict(with_oracle(result).oracle.subject_confusion)
    people.popitem()
    fewer = with_oracle(result, subject_confusion=people)
    with pytest.raises(ResultError, match=r"oracle\.subject_confusion"):
        write_results(tmp_path / "results.json", fewer)
