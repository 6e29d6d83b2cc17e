"""What the numbers of a result file must say of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NoReturn

import numpy as np

from smilevlm.errors import ResultError, SettingsError
from smilevlm.results.binary import class_f1, class_recall
from smilevlm.results.schema import (
    Calibration,
    EpochChoice,
    Example,
    ExperimentResult,
    FoldResult,
    FoldsSummary,
    MultiLabelScore,
    PairingTeacher,
    Readout,
    Spread,
    honest_pairing_name,
)

_TOLERANCE = 1e-9
_WEIGHT_TOLERANCE = 1e-6


def check_result(result: ExperimentResult, file: str) -> None:
    """Recompute everything that follows from the counts and compare.

    Args:
        result: Decoded, so types, sizes and ranges are right.
        file: Named in the error.

    Raises:
        ResultError: Subjects or samples are in two places, or a number contradicts the counts it is drawn from.
    """
    teacher = result.pairing_teacher
    try:
        expected_name = honest_pairing_name(result.pairing_mode, teacher.description if teacher else None)
    except SettingsError as error:
        raise ResultError(f"pairing_teacher: {error}", path=file) from None
    if result.pairing_name != expected_name:
        _fail(file, "pairing_name", f"expected {expected_name!r}, found {result.pairing_name!r}")
    if teacher:
        _check_teacher(teacher, result.folds, file)
    _check_folds(result.folds, result.classes, "folds", file)
    _check_summary(result.summary, result.folds, "summary", file)
    tested = {fold.fold: fold.test_subjects for fold in result.folds}
    for index, control in enumerate(result.controls):
        place = f"controls[{index}]"
        if control.name in [other.name for other in result.controls[:index]]:
            _fail(file, f"{place}.name", f"two controls are called {control.name!r}")
        _check_folds(control.folds, result.classes, f"{place}.folds", file)
        _check_summary(control.summary, control.folds, f"{place}.summary", file)
        for number, fold in enumerate(control.folds):
            if fold.fold not in tested or set(fold.test_subjects) != set(tested[fold.fold]):
                _fail(file, f"{place}.folds[{number}].test_subjects", "a control is tested on the same folds' subjects")
    for index, example in enumerate(result.examples):
        _check_example(example, tested, f"examples[{index}]", file)


def _check_teacher(teacher: PairingTeacher, folds: Sequence[FoldResult], file: str) -> None:
    place = "pairing_teacher.proposals"
    found, expected = [each.fold for each in teacher.proposals], [fold.fold for fold in folds]
    if found != expected:
        _fail(file, place, f"expected one entry per fold, {expected}, found {found}")
    for index, (each, fold) in enumerate(zip(teacher.proposals, folds, strict=True)):
        here = f"{place}[{index}]"
        if each.num_samples != fold.num_train_samples:
            _fail(file, f"{here}.num_samples", f"{each.num_samples}, but the fold trained on {fold.num_train_samples}")
        if sum(each.proposed.values()) != each.num_samples:
            _fail(file, f"{here}.proposed", f"sums to {sum(each.proposed.values())}, expected {each.num_samples}")
        for name, count in each.kept.items():
            if count > each.proposed[name]:
                _fail(file, f"{here}.kept.{name}", f"{count} kept of {each.proposed[name]} proposed")


def _check_folds(folds: Sequence[FoldResult], classes: tuple[str, ...], place: str, file: str) -> None:
    for index, fold in enumerate(folds):
        here = f"{place}[{index}]"
        if fold.num_folds != folds[0].num_folds:
            _fail(file, f"{here}.num_folds", f"{fold.num_folds}, but {folds[0].num_folds} in the first fold")
        if fold.fold >= fold.num_folds:
            _fail(file, f"{here}.fold", f"{fold.fold} is not below num_folds {fold.num_folds}")
        for other in folds[:index]:
            if fold.fold == other.fold:
                _fail(file, f"{here}.fold", f"fold {fold.fold} is there twice")
            if shared := set(fold.test_subjects) & set(other.test_subjects):
                _fail(file, f"{here}.test_subjects", f"{_some(shared)} also tested in fold {other.fold}")
        _check_fold(fold, classes, here, file)


def _check_fold(fold: FoldResult, classes: tuple[str, ...], here: str, file: str) -> None:
    groups = ("train_subjects", "validation_subjects", "test_subjects")
    for first, second in combinations(groups, 2):
        if shared := set(getattr(fold, first)) & set(getattr(fold, second)):
            _fail(file, f"{here}.{second}", f"{_some(shared)} also in {first}")
    if set(fold.subject_counts) != set(fold.test_subjects):
        _fail(file, f"{here}.subject_counts", "its subjects are not the test subjects")

    counts = np.asarray(fold.confusion_matrix, dtype=np.int64)
    total = int(counts.sum())
    if total != fold.num_test_samples:
        _fail(file, f"{here}.confusion_matrix", f"sums to {total}, but num_test_samples is {fold.num_test_samples}")
    correct = sum(hit for hit, _ in fold.subject_counts.values())
    tested = sum(tested for _, tested in fold.subject_counts.values())
    if (correct, tested) != (int(np.trace(counts)), total):
        expected = f"{int(np.trace(counts))} of {total}"
        _fail(file, f"{here}.subject_counts", f"{correct} of {tested} correct, the confusion matrix says {expected}")

    f1 = class_f1(fold.confusion_matrix)
    _same(fold.accuracy, np.trace(counts) / total, f"{here}.accuracy", file)
    for name, value in zip(classes, f1, strict=True):
        _same(fold.per_class_f1[name], value, f"{here}.per_class_f1.{name}", file)
    _same(fold.macro_f1, f1.mean(), f"{here}.macro_f1", file)
    recall = class_recall(fold.confusion_matrix).mean()
    _same(fold.unweighted_average_recall, recall, f"{here}.unweighted_average_recall", file)
    for angle, matrix in fold.single_view_confusion.items():
        view = np.asarray(matrix, dtype=np.int64)
        if not np.array_equal(view.sum(axis=1), counts.sum(axis=1)):
            place = f"{here}.single_view_confusion.{angle:g}"
            _fail(file, place, "its rows do not sum to the samples per class of the fused confusion matrix")
        _same(fold.single_view_accuracy[angle], np.trace(view) / total, f"{here}.single_view_accuracy.{angle:g}", file)
        by_subject = fold.single_view_subject_counts[angle]
        place = f"{here}.single_view_subject_counts.{angle:g}"
        _check_subject_counts(by_subject, fold, int(np.trace(view)), place, file)
    hits = round(fold.mean_fusion_accuracy * total)
    _same(fold.mean_fusion_accuracy, hits / total, f"{here}.mean_fusion_accuracy", file)
    _check_subject_counts(fold.mean_fusion_subject_counts, fold, hits, f"{here}.mean_fusion_subject_counts", file)

    if fold.epoch_choice:
        _check_epoch_choice(fold.epoch_choice, fold, f"{here}.epoch_choice", file)
    for name, readout in fold.readouts.items():
        _check_readout(readout, fold, f"{here}.readouts.{name}", file)
    _check_calibration(fold.calibration, total, int(np.trace(counts)), f"{here}.calibration", file)
    by_level = tuple(sum(pair) for pair in zip(*fold.by_level.values(), strict=True))
    if by_level != (correct, tested):
        _fail(file, f"{here}.by_level", f"sums to {list(by_level)}, expected {correct} of {tested} correct")
    if fold.multi_label:
        _check_multi_label(fold.multi_label, counts.sum(axis=1), classes, f"{here}.multi_label", file)

    present = {name for name, row in zip(classes, counts, strict=True) if row.sum()}
    if set(fold.view_weights_by_class) != present:
        _fail(file, f"{here}.view_weights_by_class", f"expected the classes tested: {_some(present)}")
    for angle, weight in fold.view_weights.items():
        weighted = sum(
            row.sum() * fold.view_weights_by_class[name][angle]
            for name, row in zip(classes, counts, strict=True)
            if name in present
        )
        place = f"{here}.view_weights.{angle:g}"
        _same(weight, weighted / total, place, file, _WEIGHT_TOLERANCE)


def _check_epoch_choice(choice: EpochChoice, fold: FoldResult, here: str, file: str) -> None:
    if choice.epoch >= choice.num_epochs:
        _fail(file, f"{here}.epoch", f"{choice.epoch} is not below num_epochs {choice.num_epochs}")
    if not fold.validation_subjects:
        _fail(file, here, "there are no validation subjects that could have chosen an epoch")


def _check_readout(readout: Readout, fold: FoldResult, here: str, file: str) -> None:
    counts = np.asarray(readout.confusion_matrix, dtype=np.int64)
    if not np.array_equal(counts.sum(axis=1), np.sum(fold.confusion_matrix, axis=1)):
        _fail(file, f"{here}.confusion_matrix", "its rows do not sum to the fold's samples per class")
    _same(readout.accuracy, np.trace(counts) / counts.sum(), f"{here}.accuracy", file)
    _same(readout.macro_f1, class_f1(readout.confusion_matrix).mean(), f"{here}.macro_f1", file)
    recall = class_recall(readout.confusion_matrix).mean()
    _same(readout.unweighted_average_recall, recall, f"{here}.unweighted_average_recall", file)
    _check_subject_counts(readout.subject_counts, fold, int(np.trace(counts)), f"{here}.subject_counts", file)


def _check_subject_counts(
    found: Mapping[str, tuple[int, int]], fold: FoldResult, hits: int, here: str, file: str
) -> None:
    tested = {subject: number for subject, (_, number) in fold.subject_counts.items()}
    if {subject: number for subject, (_, number) in found.items()} != tested:
        _fail(file, here, "is not over the fold's test subjects and their samples")
    if (correct := sum(hit for hit, _ in found.values())) != hits:
        _fail(file, here, f"{correct} correct, the accuracy says {hits}")


def _check_calibration(found: Calibration, total: int, correct: int, here: str, file: str) -> None:
    if found.temperature <= 0:
        _fail(file, f"{here}.temperature", f"expected more than 0, found {found.temperature!r}")
    lows = [each.low for each in found.bins]
    if not lows or lows[0] != 0 or any(low >= high for low, high in pairwise([*lows, 1.0])):
        _fail(file, f"{here}.bins", "expected bins that ascend from 0 and stay below 1")
    if (counted := sum(each.count for each in found.bins)) != total:
        _fail(file, f"{here}.bins", f"{counted} samples, but num_test_samples is {total}")
    for index, (each, high) in enumerate(zip(found.bins, [*lows[1:], 1.0], strict=True)):
        place = f"{here}.bins[{index}]"
        if each.count == 0 and (each.confidence or each.accuracy):
            _fail(file, place, "an empty bin has confidence and accuracy 0")
        if each.count and not each.low - _TOLERANCE <= each.confidence <= high + _TOLERANCE:
            _fail(file, f"{place}.confidence", f"{each.confidence!r} is not from {each.low!r} to {high!r}")
        hits = each.accuracy * each.count
        if abs(hits - round(hits)) > 1e-6:
            _fail(file, f"{place}.accuracy", f"{each.accuracy!r} is no share of {each.count} samples")
    hits = round(sum(each.accuracy * each.count for each in found.bins))
    if hits != correct:
        _fail(file, f"{here}.bins", f"{hits} samples correct, the confusion matrix says {correct}")
    error = sum(each.count * abs(each.accuracy - each.confidence) for each in found.bins) / total
    _same(found.expected_calibration_error, error, f"{here}.expected_calibration_error", file)


def _check_multi_label(
    found: MultiLabelScore, support: np.ndarray, classes: tuple[str, ...], here: str, file: str
) -> None:
    ways = {"fused": found.fused, "always_no": found.always_no}
    ways |= {f"by_view.{angle:g}": counts for angle, counts in found.by_view.items()}
    for way, by_class in ways.items():
        for name, single in zip(classes, support.tolist(), strict=True):
            counts, place = by_class[name], f"{here}.{way}.{name}"
            there, said = counts.true_positive + counts.false_negative, counts.true_positive + counts.false_positive
            absent = counts.false_positive + counts.true_negative
            if there + absent != found.num_samples:
                _fail(file, place, f"sums to {there + absent}, but num_samples is {found.num_samples}")
            if there != (expected := found.always_no[name].false_negative):
                _fail(file, place, f"{name} is there {there} times, but {expected} times in always_no")
            if way == "always_no" and said:
                _fail(file, place, f"says {name} {said} times, expected never")
            if there < single:
                _fail(file, place, f"{name} is there {there} times, but the only class of {single} test samples")
    right = min(found.fused[name].true_positive + found.fused[name].true_negative for name in classes)
    if found.num_exact > right:
        _fail(file, f"{here}.num_exact", f"{found.num_exact}, but one class is right in {right} samples only")


def _check_summary(summary: FoldsSummary, folds: Sequence[FoldResult], place: str, file: str) -> None:
    if summary.num_folds_run != len(folds):
        _fail(file, f"{place}.num_folds_run", f"{summary.num_folds_run}, but there are {len(folds)} folds")
    fused = [fold.accuracy for fold in folds]
    mean_fusion = [fold.mean_fusion_accuracy for fold in folds]

    def check(spread: Spread, values: Sequence[float], name: str) -> None:
        _check_spread(spread, values, f"{place}.{name}", file)

    check(summary.accuracy, fused, "accuracy")
    check(summary.macro_f1, [fold.macro_f1 for fold in folds], "macro_f1")
    recalls = [fold.unweighted_average_recall for fold in folds]
    check(summary.unweighted_average_recall, recalls, "unweighted_average_recall")
    check(summary.mean_fusion_accuracy, mean_fusion, "mean_fusion_accuracy")
    check(summary.gain_over_mean_fusion, _minus(fused, mean_fusion), "gain_over_mean_fusion")
    for name, spread in summary.per_class_f1.items():
        check(spread, [fold.per_class_f1[name] for fold in folds], f"per_class_f1.{name}")
    for angle, spread in summary.single_view_accuracy.items():
        view = [fold.single_view_accuracy[angle] for fold in folds]
        check(spread, view, f"single_view_accuracy.{angle:g}")
        check(summary.gain_over_single_view[angle], _minus(fused, view), f"gain_over_single_view.{angle:g}")
    for angle, weight in summary.view_weights.items():
        mean = float(np.mean([fold.view_weights[angle] for fold in folds]))
        _same(weight, mean, f"{place}.view_weights.{angle:g}", file, _WEIGHT_TOLERANCE)
    pooled = np.sum([fold.confusion_matrix for fold in folds], axis=0)
    if not np.array_equal(pooled, np.asarray(summary.confusion_matrix)):
        _fail(file, f"{place}.confusion_matrix", "is not the sum over the folds")


def _check_spread(spread: Spread, values: Sequence[float], place: str, file: str) -> None:
    _same(spread.mean, float(np.mean(values)), f"{place}.mean", file)
    if len(values) == 1:
        if spread.std is not None or spread.interval is not None:
            _fail(file, place, "one fold has neither a standard deviation nor an interval; expected null")
        return
    if spread.std is None or spread.interval is None:
        _fail(file, place, f"std and interval are asked for with {len(values)} folds")
    _same(spread.std, float(np.std(values, ddof=1)), f"{place}.std", file)
    low, high = spread.interval
    if not low - _TOLERANCE <= spread.mean <= high + _TOLERANCE:
        _fail(file, f"{place}.interval", f"[{low!r}, {high!r}] does not hold the mean {spread.mean!r}")


def _check_example(example: Example, tested: dict[int, tuple[str, ...]], place: str, file: str) -> None:
    if example.subject not in tested.get(example.fold, ()):
        _fail(file, f"{place}.subject", f"{example.subject!r} is no test subject of fold {example.fold}")
    if example.probabilities[example.predicted] < max(example.probabilities.values()) - 1e-6:
        _fail(file, f"{place}.predicted", f"{example.predicted!r} does not have the highest probability")


def _minus(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(first, second, strict=True)]


def _same(found: float, expected: float, place: str, file: str, tolerance: float = _TOLERANCE) -> None:
    if abs(found - float(expected)) > tolerance:
        _fail(file, place, f"{found!r}, but the counts give {float(expected)!r}")


def _fail(file: str, place: str, message: str) -> NoReturn:
    raise ResultError(f"{place}: {message}", path=file)


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
