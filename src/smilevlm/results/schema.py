"""What a result file holds. Angles are degrees; accuracies and F1 are fractions in [0, 1], never per cent.

Nothing here depends on the clock or the machine: the same run writes the same bytes. Durations live in `timing.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from smilevlm.errors import SettingsError

SCHEMA_VERSION = 3
MAX_EXAMPLES = 24

Level = Literal["scan", "sequence", "window"]
"""What one test sample is."""
PairingMode = Literal["class", "pseudo", "generic", "labels"]
"""Where a training sample's prompt comes from. `class`: drawn from the sample's own class, the paper's practice.
`pseudo`: from the class that a frozen teacher proposes. `generic`: one class-free prompt for all. `labels`: there are
no prompts, the class itself is in the loss; the supervised baseline."""
ReportedPairing = Literal["class", "pseudo", "generic", "labels", "none", "shuffled"]
"""What a result says of its prompts: the pairing, or `none` where no loss saw any, or `shuffled` in the control."""
ReadoutSupervision = Literal["none", "labels"]
"""What a readout itself learned from, beside the embeddings it reads."""
Monitor = Literal["loss", "accuracy"]
"""What an epoch is chosen by, on the validation subjects: the least loss or the highest zero-shot accuracy."""
Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""
ConfusionMatrix = tuple[tuple[int, ...], ...]
"""Counts; rows are the truth, columns the prediction, both in the order of `ExperimentResult.classes`."""

LEVELS: tuple[Level, ...] = ("scan", "sequence", "window")
MONITORS: tuple[Monitor, ...] = get_args(Monitor)
PAIRING_MODES: tuple[PairingMode, ...] = get_args(PairingMode)
REPORTED_PAIRINGS: tuple[ReportedPairing, ...] = get_args(ReportedPairing)
_HONEST_NAMES = {
    "class": "weakly supervised",
    "generic": "label-free",
    "labels": "supervised",
    "none": "label-free: no prompts",
    "shuffled": "control: prompts of other samples",
}
READOUT_SUPERVISIONS: tuple[ReadoutSupervision, ...] = get_args(ReadoutSupervision)


def honest_pairing_name(mode: str, teacher: str | None = None) -> str:
    """How much supervision a pairing mode really uses; printed beside every result.

    Args:
        mode: One of `REPORTED_PAIRINGS`.
        teacher: Description of the frozen zero-shot model that proposed the prompts; asked for by `pseudo` only.

    Raises:
        SettingsError: An unknown mode, `pseudo` without a teacher, or a teacher with another mode.
    """
    if mode not in REPORTED_PAIRINGS:
        raise SettingsError(f"pairing mode {mode!r} is unknown; known are {', '.join(REPORTED_PAIRINGS)}")
    if mode == "pseudo":
        if not teacher:
            raise SettingsError("pairing mode 'pseudo' must name the teacher that proposed the prompts")
        return f"label-free, teacher {teacher}"
    if teacher is not None:
        raise SettingsError(f"pairing mode {mode!r} has no teacher, {teacher!r} was given")
    return _HONEST_NAMES[mode]


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Another way to get classes out of the same embeddings, on the same test samples.

    Attributes:
        supervision: `labels`: it was fitted on the labels of the fold's training subjects. `none`: it was not fitted.
        subject_counts: Subject to (correct, tested) samples.
    """

    supervision: ReadoutSupervision
    accuracy: float
    macro_f1: float
    unweighted_average_recall: float
    confusion_matrix: ConfusionMatrix
    subject_counts: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Test samples whose highest probability falls into one interval.

    Attributes:
        low: Lower end of the interval; the upper one is the next bin's lower end, or 1.
        confidence: Mean highest probability; 0 where the bin is empty, as is `accuracy`.
    """

    low: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far probabilities are to be believed.

    Attributes:
        expected_calibration_error: Mean over the bins, weighted by their counts, of |accuracy - confidence|.
        temperature: Of the softmax that gave the probabilities.
    """

    expected_calibration_error: float
    temperature: float
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, kw_only=True)
class BinaryCounts:
    """One class against all others: how often it was there or not, and said or not."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


@dataclass(frozen=True, kw_only=True)
class MultiLabelScore:
    """Scores where a sample may have several classes: each class is a yes-or-no question of its own.

    Attributes:
        subjects: Whose samples these are.
        num_samples: Test samples, those with several classes included.
        thresholds: Class to the cosine from which it is said; chosen on the fold's training subjects.
        fused: Class to its counts, from the fused embedding.
        by_view: View angle to the same from that view alone, with thresholds of its own.
        always_no: Class to its counts when nothing is ever said, the baseline.
        num_exact: Samples whose set of classes is found exactly.
    """

    subjects: tuple[str, ...]
    num_samples: int
    thresholds: Mapping[str, float]
    fused: Mapping[str, BinaryCounts]
    by_view: Mapping[float, Mapping[str, BinaryCounts]]
    always_no: Mapping[str, BinaryCounts]
    num_exact: int


@dataclass(frozen=True, kw_only=True)
class OtherTrainingData:
    """A data set that was trained on and is not the one that is tested on."""

    layout: str
    manifest_hash: str
    synthetic: bool


@dataclass(frozen=True, kw_only=True)
class EpochChoice:
    """The epoch whose weights were kept.

    Attributes:
        epoch: Index from zero, as in the training log.
        num_epochs: How many were trained.
        monitor: What it was chosen by.
        value: Of that epoch, on the validation subjects.
    """

    epoch: int
    num_epochs: int
    monitor: Monitor
    value: float


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """The scores of one fold.

    Attributes:
        fold: Index from zero, below `num_folds`.
        num_folds: Folds of the protocol, whether or not all of them were run.
        train_subjects: Qualified where data sets mix (`bu4dfe/F001`): the three lists share no name.
        validation_subjects: Those that chose an epoch or a threshold; may be empty.
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
    """

    fold: int
    num_folds: int
    train_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    test_subjects: tuple[str, ...]
    num_train_samples: int
    num_test_samples: int
    accuracy: float
    accuracy_interval: Interval | None
    macro_f1: float
    per_class_f1: Mapping[str, float]
    unweighted_average_recall: float
    confusion_matrix: ConfusionMatrix
    subject_counts: Mapping[str, tuple[int, int]]
    view_weights: Mapping[float, float]
    view_weights_by_class: Mapping[str, Mapping[float, float]]
    single_view_accuracy: Mapping[float, float]
    single_view_confusion: Mapping[float, ConfusionMatrix]
    single_view_subject_counts: Mapping[float, Mapping[str, tuple[int, int]]]
    mean_fusion_accuracy: float
    mean_fusion_subject_counts: Mapping[str, tuple[int, int]]
    readouts: Mapping[str, Readout]
    calibration: Calibration
    by_level: Mapping[int, tuple[int, int]]
    multi_label: MultiLabelScore | None = None
    epoch_choice: EpochChoice | None = None
    metrics_csv: str | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One number over folds.

    Attributes:
        mean: Unweighted mean over folds.
        std: Sample standard deviation (divisor n - 1); None with one fold.
        interval: 95 % Student t interval of the mean, cut to the range the number can have; None with one fold.
    """

    mean: float
    std: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class FoldsSummary:
    """What the folds say together.

    Attributes:
        gain_over_mean_fusion: Fused minus mean-fusion accuracy, paired by fold.
        gain_over_single_view: View angle to fused minus that view's accuracy, paired by fold.
        view_weights: View angle to the mean over folds of the mean weight.
        confusion_matrix: Sum over folds: every test sample once.
    """

    num_folds_run: int
    accuracy: Spread
    macro_f1: Spread
    unweighted_average_recall: Spread
    per_class_f1: Mapping[str, Spread]
    mean_fusion_accuracy: Spread
    gain_over_mean_fusion: Spread
    single_view_accuracy: Mapping[float, Spread]
    gain_over_single_view: Mapping[float, Spread]
    view_weights: Mapping[float, float]
    confusion_matrix: ConfusionMatrix


@dataclass(frozen=True, kw_only=True)
class ControlResult:
    """The same evaluation with one thing broken on purpose, for example the prompts' classes shuffled.

    Its folds are folds of the main result, with the same test subjects.
    """

    name: str
    description: str
    folds: tuple[FoldResult, ...]
    summary: FoldsSummary


@dataclass(frozen=True, kw_only=True)
class Example:
    """One test sample to look at.

    Attributes:
        predicted: The class of the highest probability.
        probabilities: Class to probability; sums to one.
        view_weights: View angle to fusion weight; sums to one.
        images: View angle to a PNG, a POSIX path relative to the result file.
    """

    sample_id: str
    subject: str
    fold: int
    truth: str
    predicted: str
    probabilities: Mapping[str, float]
    view_weights: Mapping[float, float]
    images: Mapping[float, str]


@dataclass(frozen=True, kw_only=True)
class FoldProposals:
    """What a teacher made of one fold's training samples, whose labels it did not see.

    Attributes:
        fold: Index from zero; one of the result's folds.
        num_samples: All training samples of the fold.
        proposed: Class to how often it was proposed; sums to `num_samples`.
        kept: Class to how many of these became prompts, the others being too uncertain or too many of their class.
    """

    fold: int
    num_samples: int
    proposed: Mapping[str, int]
    kept: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PairingTeacher:
    """The frozen model that proposed the prompts.

    Attributes:
        name: Its folder.
        digest: sha256 over its weights, prompts and description.
        manifest_hash: Of the prepared set that it was trained on.
        synthetic: Whether it was trained on synthetic faces, whose classes are known by construction.
        proposals: One entry per fold of the result.
    """

    name: str
    digest: str
    manifest_hash: str
    synthetic: bool
    proposals: tuple[FoldProposals, ...]

    @property
    def description(self) -> str:
        """What `honest_pairing_name` says of it."""
        faces = "synthetic faces" if self.synthetic else "labelled scans of people"
        return f"{self.name} ({self.digest[:8]}, trained on {faces})"


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """One `results.json`.

    Attributes:
        method: What was trained: `full`, one of its ablations, or a baseline.
        aligned_with_text: Whether a loss saw prompts or labels; if not, comparing with prompts says nothing, and only
            readouts that are fitted do.
        settings: The resolved configuration as plain nested values.
        layout: Name of the data layout that was tested on.
        manifest_hash: Digest of the manifest of the prepared set that was tested on.
        trained_on: The data set that was trained on, where it is another one.
        started_from: The data set of the model whose weights training began with, where it began with one.
        synthetic: Whether any of the faces were made by a program, those of an earlier model included. Decides what may
            be said about the numbers.
        pairing_name: `honest_pairing_name(pairing_mode, pairing_teacher.description)`, and nothing else.
        pairing_teacher: In pairing `pseudo` only.
        seeds: What the seed is for to the seed, for example `{"folds": 0, "training": 0}`.
        git_commit: None outside a checkout.
    """

    recipe: str
    method: str
    aligned_with_text: bool
    settings: Mapping[str, object]
    layout: str
    manifest_hash: str
    trained_on: OtherTrainingData | None = None
    started_from: OtherTrainingData | None = None
    synthetic: bool
    pairing_mode: ReportedPairing
    pairing_name: str
    pairing_teacher: PairingTeacher | None = None
    protocol: str
    level: str
    classes: tuple[str, ...]
    view_angles_deg: tuple[float, ...]
    seeds: Mapping[str, int]
    package_version: str
    git_commit: str | None
    folds: tuple[FoldResult, ...]
    summary: FoldsSummary
    controls: tuple[ControlResult, ...] = ()
    examples: tuple[Example, ...] = ()
    schema_version: int = SCHEMA_VERSION
