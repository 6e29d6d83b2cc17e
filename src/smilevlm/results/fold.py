"""The scores of one fold, and what its numbers must say of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from smilevlm.errors import first_few
from smilevlm.results.binary import BinaryCounts, class_f1, overall_scores
from smilevlm.results.fields import (
    ByAngle,
    ByClass,
    ByLevel,
    BySomeClasses,
    Confusion,
    ConfusionMatrix,
    Names,
    OneClass,
    PositiveSize,
    Record,
    RelativePath,
    Share,
    ShareInterval,
    Size,
    SubjectCounts,
    Text,
    ValidationInfo,
    Weights,
    context_of,
    fail,
)

ReadoutSupervision = Literal["none", "labels"]
"""What a readout itself learned from, beside the embeddings it reads."""
Monitor = Literal["loss", "accuracy"]
"""What an epoch is chosen by, on the validation subjects: the least loss or the highest accuracy with prompts."""
MONITORS: tuple[Monitor, ...] = get_args(Monitor)
TOLERANCE = 1e-9
WEIGHT_TOLERANCE = 1e-6


def check_equal(found: float, expected: float, place: str, tolerance: float = TOLERANCE) -> None:
    """A number must be what the counts give.

    Args:
        found: The number of the file.
        expected: The same number, computed.
        place: Its field path.
        tolerance: Largest difference.
    """
    if abs(found - float(expected)) > tolerance:
        fail(place, f"{found!r}, but the counts give {float(expected)!r}")


@dataclass(frozen=True, kw_only=True)
class Readout(Record):
    """Another way to get classes out of the same embeddings, on the same test samples.

    Attributes:
        supervision: `labels`: it was fitted on the labels of the fold's training subjects. `none`: it was not fitted.
        subject_counts: Subject to (correct, tested) samples.
    """

    supervision: ReadoutSupervision
    accuracy: Share
    macro_f1: Share
    unweighted_average_recall: Share
    confusion_matrix: Confusion
    subject_counts: SubjectCounts

    def check_against(self, fold: FoldResult, place: str) -> None:
        """Its numbers against its counts, and its counts against the fold's."""
        counts = np.asarray(self.confusion_matrix, dtype=np.int64)
        if not np.array_equal(counts.sum(axis=1), np.sum(fold.confusion_matrix, axis=1)):
            fail(f"{place}.confusion_matrix", "its rows do not sum to the fold's samples per class")
        for name, expected in overall_scores(self.confusion_matrix).items():
            check_equal(getattr(self, name), expected, f"{place}.{name}")
        fold.check_subject_counts(self.subject_counts, int(np.trace(counts)), f"{place}.subject_counts")


@dataclass(frozen=True, kw_only=True)
class CalibrationBin(Record):
    """Test samples whose highest probability falls into one interval.

    Attributes:
        low: Lower end of the interval; the upper one is the next bin's lower end, or 1.
        confidence: Mean highest probability; 0 where the bin is empty, as is `accuracy`.
    """

    low: Share
    count: Size
    confidence: Share
    accuracy: Share


@dataclass(frozen=True, kw_only=True)
class Calibration(Record):
    """How far probabilities are to be believed.

    Attributes:
        expected_calibration_error: Mean over the bins, weighted by their counts, of |accuracy - confidence|.
        temperature: Of the softmax that gave the probabilities.
    """

    expected_calibration_error: Share
    temperature: Annotated[float, Field(gt=0.0, le=1e6)]
    bins: tuple[CalibrationBin, ...]

    @model_validator(mode="after")
    def _check_bins(self) -> Calibration:
        lows = [each.low for each in self.bins]
        if not lows or lows[0] != 0 or any(low >= high for low, high in pairwise([*lows, 1.0])):
            fail("bins", "expected bins that ascend from 0 and stay below 1")
        for index, (each, high) in enumerate(zip(self.bins, [*lows[1:], 1.0], strict=True)):
            place = f"bins[{index}]"
            if each.count == 0 and (each.confidence or each.accuracy):
                fail(place, "an empty bin has confidence and accuracy 0")
            if each.count and not each.low - TOLERANCE <= each.confidence <= high + TOLERANCE:
                fail(f"{place}.confidence", f"{each.confidence!r} is not from {each.low!r} to {high!r}")
            hits = each.accuracy * each.count
            if abs(hits - round(hits)) > 1e-6:
                fail(f"{place}.accuracy", f"{each.accuracy!r} is no share of {each.count} samples")
        return self

    def check_against(self, total: int, correct: int, place: str) -> None:
        """The bins hold the fold's test samples, and its correct ones."""
        if (counted := sum(each.count for each in self.bins)) != total:
            fail(f"{place}.bins", f"{counted} samples, but num_test_samples is {total}")
        hits = round(sum(each.accuracy * each.count for each in self.bins))
        if hits != correct:
            fail(f"{place}.bins", f"{hits} samples correct, the confusion matrix says {correct}")
        error = sum(each.count * abs(each.accuracy - each.confidence) for each in self.bins) / total
        check_equal(self.expected_calibration_error, error, f"{place}.expected_calibration_error")


@dataclass(frozen=True, kw_only=True)
class MultiLabelScore(Record):
    """Scores where a sample may have several classes: each class is a yes-or-no question of its own.

    Attributes:
        subjects: Whose samples these are.
        num_samples: Test samples, those with several classes included.
        thresholds: Class to the cosine from which it is predicted; chosen on the fold's training subjects.
        fused: Class to its counts, from the fused embedding.
        by_view: View angle to the same from that view alone, with thresholds of its own.
        always_no: Class to its counts when nothing is ever predicted, the baseline.
        num_exact: Samples whose set of classes is found exactly.
    """

    subjects: Names
    num_samples: PositiveSize
    thresholds: ByClass[Annotated[float, Field(ge=-2.0, le=2.0)]]
    fused: ByClass[BinaryCounts]
    by_view: ByAngle[ByClass[BinaryCounts]]
    always_no: ByClass[BinaryCounts]
    num_exact: Size

    def check_against(self, num_single: Mapping[str, int], place: str) -> None:
        """All counts are over the same samples, among them the fold's of one class, whose numbers are given."""
        ways = {"fused": self.fused, "always_no": self.always_no}
        ways |= {f"by_view.{angle:g}": counts for angle, counts in self.by_view.items()}
        for way, by_class in ways.items():
            for name, single in num_single.items():
                counts, here = by_class[name], f"{place}.{way}.{name}"
                present = counts.true_positive + counts.false_negative
                predicted = counts.true_positive + counts.false_positive
                absent = counts.false_positive + counts.true_negative
                if present + absent != self.num_samples:
                    fail(here, f"sums to {present + absent}, but num_samples is {self.num_samples}")
                if present != (expected := self.always_no[name].false_negative):
                    fail(here, f"{name} is there {present} times, but {expected} times in always_no")
                if way == "always_no" and predicted:
                    fail(here, f"says {name} {predicted} times, expected never")
                if present < single:
                    fail(here, f"{name} is there {present} times, but the only class of {single} test samples")
        correct = min(self.fused[name].true_positive + self.fused[name].true_negative for name in num_single)
        if self.num_exact > correct:
            fail(f"{place}.num_exact", f"{self.num_exact}, but one class is right in {correct} samples only")


@dataclass(frozen=True, kw_only=True)
class EpochChoice(Record):
    """The epoch whose weights were kept.

    Attributes:
        epoch: Index from zero, as in the training log.
        num_epochs: How many were trained.
        monitor: What it was chosen by.
        value: Of that epoch, on the validation subjects.
    """

    epoch: Size
    num_epochs: PositiveSize
    monitor: Monitor
    value: Annotated[float, Field(ge=-1e12, le=1e12)]

    @model_validator(mode="after")
    def _check(self) -> EpochChoice:
        if self.epoch >= self.num_epochs:
            fail("epoch", f"{self.epoch} is not below num_epochs {self.num_epochs}")
        if self.monitor == "accuracy" and not 0.0 <= self.value <= 1.0:
            fail("value", f"expected a number from 0 to 1, found {self.value!r}")
        return self


@dataclass(frozen=True, kw_only=True)
class MultiViewGradient(Record):
    """The multi-view loss's part of the image tower's gradient, measured in the first steps of training.

    Attributes:
        scale: Of the multi-view loss, from the last of these steps on.
        share: Norm of the gradient by the multi-view loss over that by the alignment, with weights and this scale;
            geometric mean over the steps.
        num_steps: How many were measured.
    """

    scale: Annotated[float, Field(gt=0.0)]
    share: Annotated[float, Field(gt=0.0)]
    num_steps: PositiveSize


@dataclass(frozen=True, kw_only=True)
class FoldResult(Record):
    """The scores of one fold.

    Attributes:
        fold: Index from zero, below `num_folds`.
        num_folds: Folds of the protocol, whether or not all of them were run.
        train_subjects: Qualified where data sets mix (`bu4dfe/F001`): the three lists share no name.
        validation_subjects: Those that chose an epoch or a threshold; may be empty.
        labelled_subjects: The training subjects whose labels training, probes and thresholds read; None for all.
        num_train_samples: Images that training had; a clip of which several are made counts several times.
        num_test_samples: Scans or clips that were scored; a clip once.
        num_unlabelled_samples: Training samples of no class or another one, beside `num_train_samples`, which the
            multi-view loss alone saw.
        test_subjects: Exactly the keys of `subject_counts`.
        accuracy_interval: 95 % percentile bootstrap that redraws test subjects; None with fewer than two of them.
        macro_f1: Mean of `per_class_f1` over all classes; a class that never occurs counts as zero.
        unweighted_average_recall: Mean recall over all classes; a class that never occurs counts as zero.
        subject_counts: Subject to (correct, tested) samples.
        view_weights: View angle to mean fusion weight over the test samples; sums to one.
        view_weights_by_class: The same per true class; a class without test samples is absent.
        single_view_accuracy: View angle to the accuracy of that view's embedding alone.
        single_view_confusion: View angle to its confusion matrix.
        single_view_subject_counts: View angle to subject to (correct, tested) samples of that view alone.
        mean_fusion_accuracy: Accuracy of the plain mean of the views' embeddings.
        mean_fusion_subject_counts: Subject to (correct, tested) samples of that mean.
        readouts: Name to another way of reading the same embeddings, such as `linear_probe`.
        calibration: Of the probabilities of the fused embedding.
        by_level: Intensity to (correct, tested) samples of the fused embedding; a single level 0 where there are none.
        multi_label: In protocols with several classes per sample only; the other scores are then those of the test
            samples with exactly one class.
        epoch_choice: Which epoch the validation subjects chose; None where there were none and the last was kept.
        metrics_csv: The training log, a POSIX path relative to the result file; None when there is none.
        multi_view_gradient: Where it was measured.
        unseen_wordings: The fused embedding compared with prompts of the same classes that the run never trained with;
            None where there is no such prompt set.
        subject_confusion: Subject to the confusion matrix of its test samples; None in files from before there was one.
        unseen_classes: Tested classes of which no training sample is; with their own prompts they are zero-shot.
    """

    fold: Size
    num_folds: PositiveSize
    train_subjects: Names
    validation_subjects: Names
    test_subjects: Names
    num_train_samples: Size
    num_test_samples: PositiveSize
    accuracy: Share
    accuracy_interval: ShareInterval | None
    macro_f1: Share
    per_class_f1: ByClass[Share]
    unweighted_average_recall: Share
    confusion_matrix: Confusion
    subject_counts: SubjectCounts
    view_weights: Weights
    view_weights_by_class: BySomeClasses[Weights]
    single_view_accuracy: ByAngle[Share]
    single_view_confusion: ByAngle[Confusion]
    single_view_subject_counts: ByAngle[SubjectCounts]
    mean_fusion_accuracy: Share
    mean_fusion_subject_counts: SubjectCounts
    readouts: Mapping[str, Readout]
    calibration: Calibration
    by_level: ByLevel
    multi_label: MultiLabelScore | None
    epoch_choice: EpochChoice | None
    metrics_csv: RelativePath | None
    multi_view_gradient: MultiViewGradient | None = None
    labelled_subjects: Names | None = None
    num_unlabelled_samples: Size = 0
    unseen_wordings: Readout | None = None
    unseen_classes: tuple[OneClass, ...] = ()
    subject_confusion: Mapping[Text, Confusion] | None = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> FoldResult:
        classes = context_of(info, "classes")
        if classes is None or context_of(info, "view_angles_deg") is None:
            return self
        self._check_subjects()
        self._check_scores(classes)
        self._check_views()
        if self.epoch_choice and not self.validation_subjects:
            fail("epoch_choice", "there are no validation subjects that could have chosen an epoch")
        for name, readout in self.readouts.items():
            readout.check_against(self, f"readouts.{name}")
        if self.unseen_wordings:
            self.unseen_wordings.check_against(self, "unseen_wordings")
        counts = np.asarray(self.confusion_matrix, dtype=np.int64)
        tested = [name for name, row in zip(classes, counts, strict=True) if row.any()]
        if untested := set(self.unseen_classes) - set(tested):
            fail("unseen_classes", f"{first_few(sorted(untested))} without a test sample")
        correct, total = int(np.trace(counts)), self.num_test_samples
        self.calibration.check_against(total, correct, "calibration")
        by_level = [sum(pair) for pair in zip(*self.by_level.values(), strict=True)]
        if by_level != [correct, total]:
            fail("by_level", f"sums to {by_level}, expected {correct} of {total} correct")
        if self.multi_label:
            self.multi_label.check_against(dict(zip(classes, counts.sum(axis=1).tolist(), strict=True)), "multi_label")
        self._check_weights(classes)
        return self

    def _check_subjects(self) -> None:
        for first, second in combinations(("train_subjects", "validation_subjects", "test_subjects"), 2):
            if shared := set(getattr(self, first)) & set(getattr(self, second)):
                fail(second, f"{first_few(sorted(shared))} also in {first}")
        if strangers := sorted(set(self.labelled_subjects or ()) - set(self.train_subjects)):
            fail("labelled_subjects", f"{first_few(strangers)} not in train_subjects")
        if set(self.subject_counts) != set(self.test_subjects):
            fail("subject_counts", "its subjects are not the test subjects")

    def _check_scores(self, classes: tuple[str, ...]) -> None:
        counts = np.asarray(self.confusion_matrix, dtype=np.int64)
        hits, total = int(np.trace(counts)), int(counts.sum())
        if total != self.num_test_samples:
            fail("confusion_matrix", f"sums to {total}, but num_test_samples is {self.num_test_samples}")
        correct = sum(hit for hit, _ in self.subject_counts.values())
        tested = sum(number for _, number in self.subject_counts.values())
        if (correct, tested) != (hits, total):
            fail("subject_counts", f"{correct} of {tested} correct, the confusion matrix says {hits} of {total}")
        if self.subject_confusion is not None:
            self._check_subject_confusion(self.subject_confusion)
        for name, value in zip(classes, class_f1(self.confusion_matrix), strict=True):
            check_equal(self.per_class_f1[name], value, f"per_class_f1.{name}")
        for name, expected in overall_scores(self.confusion_matrix).items():
            check_equal(getattr(self, name), expected, name)

    def _check_subject_confusion(self, found: Mapping[str, ConfusionMatrix]) -> None:
        for subject, matrix in found.items():
            counts = np.asarray(matrix, dtype=np.int64)
            expected = self.subject_counts.get(subject)
            if (correct := (int(np.trace(counts)), int(counts.sum()))) != expected:
                fail(f"subject_confusion.{subject}", f"{correct} correct and tested, subject_counts has {expected}")
        if not np.array_equal(np.sum(list(found.values()), axis=0), self.confusion_matrix):
            fail("subject_confusion", "its matrices do not sum to the fold's confusion matrix")

    def _check_views(self) -> None:
        samples = np.sum(self.confusion_matrix, axis=1)
        for angle, matrix in self.single_view_confusion.items():
            view = np.asarray(matrix, dtype=np.int64)
            if not np.array_equal(view.sum(axis=1), samples):
                place = f"single_view_confusion.{angle:g}"
                fail(place, "its rows do not sum to the samples per class of the fused confusion matrix")
            hits = int(np.trace(view))
            place = f"single_view_accuracy.{angle:g}"
            check_equal(self.single_view_accuracy[angle], hits / self.num_test_samples, place)
            place = f"single_view_subject_counts.{angle:g}"
            self.check_subject_counts(self.single_view_subject_counts[angle], hits, place)
        hits = round(self.mean_fusion_accuracy * self.num_test_samples)
        check_equal(self.mean_fusion_accuracy, hits / self.num_test_samples, "mean_fusion_accuracy")
        self.check_subject_counts(self.mean_fusion_subject_counts, hits, "mean_fusion_subject_counts")

    def _check_weights(self, classes: tuple[str, ...]) -> None:
        samples = dict(zip(classes, np.sum(self.confusion_matrix, axis=1).tolist(), strict=True))
        present = {name: number for name, number in samples.items() if number}
        if set(self.view_weights_by_class) != set(present):
            fail("view_weights_by_class", f"expected the classes tested: {first_few(sorted(present))}")
        for angle, weight in self.view_weights.items():
            weighted = sum(number * self.view_weights_by_class[name][angle] for name, number in present.items())
            check_equal(weight, weighted / self.num_test_samples, f"view_weights.{angle:g}", WEIGHT_TOLERANCE)

    def check_subject_counts(self, found: SubjectCounts, hits: int, place: str) -> None:
        """Counts of another reading are over the same samples of the same subjects, and sum to its hits."""
        tested = {subject: number for subject, (_, number) in self.subject_counts.items()}
        if {subject: number for subject, (_, number) in found.items()} != tested:
            fail(place, "is not over the fold's test subjects and their samples")
        if (correct := sum(hit for hit, _ in found.values())) != hits:
            fail(place, f"{correct} correct, the accuracy says {hits}")
