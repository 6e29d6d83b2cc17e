"""What a result file holds. Angles are degrees; accuracies and F1 are fractions in [0, 1], never per cent.

Nothing here depends on the clock or the machine: the same run writes the same bytes. Durations live in `timing.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from smilevlm.errors import SettingsError, first_few
from smilevlm.results.fields import (
    ByAngle,
    ByClass,
    Classes,
    OneClass,
    PositiveSize,
    Probabilities,
    Record,
    RelativePath,
    ResultFile,
    Share,
    Size,
    Text,
    ViewAngles,
    Weights,
    fail,
)
from smilevlm.results.fold import FoldResult
from smilevlm.results.pooled import PooledScore, SubjectConfusion, pooled_score
from smilevlm.results.summary import FoldsSummary, check_same, check_summary

SCHEMA_VERSION = 3
MAX_EXAMPLES = 24

Level = Literal["scan", "sequence", "window"]
"""What one test sample is."""
PairingMode = Literal["class", "pseudo", "generic", "labels", "actions", "mixed"]
"""Where a training sample's prompt comes from. `class`: drawn from the sample's own class, the paper's practice.
`pseudo`: from the class that a frozen teacher proposes. `generic`: one class-free prompt for all. `labels`: there are
no prompts, the class itself is in the loss; the supervised baseline. `actions`: a caption of what the face does, made
from its facial actions. `mixed`: that for a share of the draws, and else as `class`."""
ReportedPairing = Literal["class", "pseudo", "generic", "labels", "actions", "mixed", "none", "shuffled"]
"""What a result says of its prompts: the pairing, or `none` where no loss saw any, or `shuffled` in the control."""

LEVELS: tuple[Level, ...] = ("scan", "sequence", "window")
PAIRING_MODES: tuple[PairingMode, ...] = get_args(PairingMode)
REPORTED_PAIRINGS: tuple[ReportedPairing, ...] = get_args(ReportedPairing)
_HONEST_NAMES = {
    "class": "weakly supervised",
    "generic": "label-free",
    "labels": "supervised",
    "none": "label-free: no prompts",
    "shuffled": "control: prompts of other samples",
}


ActionDescriptions = Literal["synthetic by construction", "coded by people"]
"""Where the facial actions behind captions come from: synthetic faces were made to do them, real ones were coded."""


@dataclass(frozen=True, kw_only=True)
class PairingCaptions(Record):
    """The captions of pairings `actions` and `mixed`.

    Args:
        source: Where the actions come from.
        share: Of the draws of a sample with a class that gave a caption; 1 in pairing `actions`.
    """

    source: ActionDescriptions
    share: Annotated[float, Field(ge=0, le=1)]


def honest_pairing_name(mode: str, teacher: str | None = None, captions: PairingCaptions | None = None) -> str:
    """How much supervision a pairing mode really uses; printed beside every result.

    Args:
        mode: One of `REPORTED_PAIRINGS`.
        teacher: Description of the frozen model that proposed the prompts; asked for by `pseudo` only.
        captions: Asked for by `actions` and `mixed` only.

    Raises:
        SettingsError: An unknown mode, `pseudo` without a teacher, or a teacher with another mode; the same of
            captions.
    """
    if mode not in REPORTED_PAIRINGS:
        raise SettingsError(f"pairing mode {mode!r} is unknown; known are {', '.join(REPORTED_PAIRINGS)}")
    if mode == "pseudo":
        if not teacher:
            raise SettingsError("pairing mode 'pseudo' must name the teacher that proposed the prompts")
        return f"label-free, teacher {teacher}"
    if teacher is not None:
        raise SettingsError(f"pairing mode {mode!r} has no teacher, {teacher!r} was given")
    if (captions is None) == (mode in ("actions", "mixed")):
        given = "none" if captions is None else captions.source
        raise SettingsError(f"pairings 'actions' and 'mixed' alone have captions; mode {mode!r}, captions {given}")
    if captions is None:
        return _HONEST_NAMES[mode]
    described = f"action descriptions, {captions.source}"
    return described if mode == "actions" else f"weakly supervised, and {described} (share {captions.share:g})"


@dataclass(frozen=True, kw_only=True)
class OtherTrainingData(Record):
    """A data set that was trained on and is not the one that is tested on."""

    layout: Text
    manifest_hash: Text
    synthetic: bool


def _check_folds(folds: tuple[FoldResult, ...]) -> tuple[FoldResult, ...]:
    if not folds:
        fail("", "expected at least one fold")
    for index, fold in enumerate(folds):
        here = f"[{index}]"
        if fold.num_folds != folds[0].num_folds:
            fail(f"{here}.num_folds", f"{fold.num_folds}, but {folds[0].num_folds} in the first fold")
        if fold.fold >= fold.num_folds:
            fail(f"{here}.fold", f"{fold.fold} is not below num_folds {fold.num_folds}")
        for other in folds[:index]:
            if fold.fold == other.fold:
                fail(f"{here}.fold", f"fold {fold.fold} is there twice")
            if shared := set(fold.test_subjects) & set(other.test_subjects):
                fail(f"{here}.test_subjects", f"{first_few(sorted(shared))} also tested in fold {other.fold}")
    return folds


Folds = Annotated[tuple[FoldResult, ...], AfterValidator(_check_folds)]
"""At least one; no fold and no test subject twice."""


@dataclass(frozen=True, kw_only=True)
class ControlResult(Record):
    """The same evaluation with one thing broken on purpose, for example the prompts' classes shuffled.

    Its folds are folds of the main result, with the same test subjects.
    """

    name: Text
    description: Text
    folds: Folds
    summary: FoldsSummary

    @model_validator(mode="after")
    def _check(self) -> ControlResult:
        check_summary(self.summary, self.folds)
        return self


@dataclass(frozen=True, kw_only=True)
class Example(Record):
    """One test sample to look at.

    Attributes:
        predicted: The class of the highest probability.
        probabilities: Class to probability; sums to one.
        view_weights: View angle to fusion weight; sums to one.
        images: View angle to a PNG, a POSIX path relative to the result file.
        actions: What the face does: FACS code to the intensities of the person's left and right, in [0, 1]; None where
            that is not recorded.
    """

    sample_id: Text
    subject: Text
    fold: Size
    truth: OneClass
    predicted: OneClass
    probabilities: Probabilities
    view_weights: Weights
    images: ByAngle[RelativePath]
    actions: Mapping[Text, tuple[Share, Share]] | None = None

    @model_validator(mode="after")
    def _check(self) -> Example:
        if self.probabilities.get(self.predicted, 0.0) < max(self.probabilities.values(), default=0.0) - 1e-6:
            fail("predicted", f"{self.predicted!r} does not have the highest probability")
        return self


@dataclass(frozen=True, kw_only=True)
class FoldProposals(Record):
    """What a teacher made of one fold's training samples, whose labels it did not see.

    Attributes:
        fold: Index from zero; one of the result's folds.
        num_samples: All training samples of the fold.
        proposed: Class to how often it was proposed; sums to `num_samples`.
        kept: Class to how many of these became prompts, the others being too uncertain or too many of their class.
    """

    fold: Size
    num_samples: PositiveSize
    proposed: ByClass[Size]
    kept: ByClass[Size]

    def check_against(self, fold: FoldResult, place: str) -> None:
        """Its samples are the fold's training samples, each proposed one class."""
        if self.num_samples != fold.num_train_samples:
            fail(f"{place}.num_samples", f"{self.num_samples}, but the fold trained on {fold.num_train_samples}")
        if (total := sum(self.proposed.values())) != self.num_samples:
            fail(f"{place}.proposed", f"sums to {total}, expected {self.num_samples}")
        for name, count in self.kept.items():
            if count > self.proposed[name]:
                fail(f"{place}.kept.{name}", f"{count} kept of {self.proposed[name]} proposed")


@dataclass(frozen=True, kw_only=True)
class PairingTeacher(Record):
    """The frozen model that proposed the prompts.

    Attributes:
        name: Its folder.
        digest: sha256 over its weights, prompts and description.
        manifest_hash: Of the prepared set that it was trained on.
        synthetic: Whether it was trained on synthetic faces, whose classes are known by construction.
        proposals: One entry per fold of the result.
    """

    name: Text
    digest: Text
    manifest_hash: Text
    synthetic: bool
    proposals: tuple[FoldProposals, ...]

    @property
    def description(self) -> str:
        """What `honest_pairing_name` says of it."""
        faces = "synthetic faces" if self.synthetic else "labelled scans of people"
        return f"{self.name} ({self.digest[:8]}, trained on {faces})"


@dataclass(frozen=True, kw_only=True)
class OracleResult(Record):
    """What a simple classifier tells from the true movement of synthetic faces, on the test samples of the folds.

    Attributes:
        subject_confusion: Subject to the confusion matrix of its test samples; the classifier was fitted on all others.
        pooled: Of these matrices.
    """

    subject_confusion: SubjectConfusion
    pooled: PooledScore

    def check_against(self, summary: FoldsSummary, place: str) -> None:
        """Its samples are the folds' test samples."""
        total = np.sum(list(self.subject_confusion.values()), axis=0)
        if not np.array_equal(np.sum(total, axis=1), np.sum(summary.confusion_matrix, axis=1)):
            fail(f"{place}.subject_confusion", "its rows do not sum to the folds' samples per class")
        check_same(self.pooled, pooled_score(self.subject_confusion), f"{place}.pooled")


@dataclass(frozen=True, kw_only=True)
class ExperimentResult(ResultFile):
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
        pairing_name: What `honest_pairing_name` gives, and nothing else.
        pairing_teacher: In pairing `pseudo` only.
        pairing_captions: In pairings `actions` and `mixed` only.
        seeds: What the seed is for to the seed, for example `{"folds": 0, "training": 0}`.
        git_commit: None outside a checkout.
        unseen_prompt_set: The prompt set of the folds' `unseen_wordings`; None where they have none.
        oracle: Of synthetic faces whose true movement was given to the evaluation; None for all others.
    """

    WRITTEN_BY: ClassVar[str] = "smilevlm evaluate"

    # First, because the checks of other fields ask for them.
    classes: Classes
    view_angles_deg: ViewAngles
    recipe: Text
    method: Text
    aligned_with_text: bool
    settings: Mapping[str, object]
    layout: Text
    manifest_hash: Text
    trained_on: OtherTrainingData | None
    started_from: OtherTrainingData | None
    synthetic: bool
    pairing_mode: ReportedPairing
    pairing_name: Text
    pairing_teacher: PairingTeacher | None
    pairing_captions: PairingCaptions | None = None
    protocol: Text
    level: Level
    seeds: Mapping[str, Size]
    package_version: Text
    git_commit: Text | None
    folds: Folds
    summary: FoldsSummary
    controls: tuple[ControlResult, ...]
    examples: Annotated[tuple[Example, ...], Field(max_length=MAX_EXAMPLES)]
    unseen_prompt_set: Text | None = None
    oracle: OracleResult | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def trained_wordings(self) -> bool:
        """Whether the main scores compare with texts that training had: unseen people then, but not zero-shot."""
        return self.pairing_mode in ("class", "pseudo", "mixed", "labels", "shuffled")

    @property
    def unseen_classes(self) -> tuple[str, ...]:
        """Classes that a fold tests and never trained."""
        return tuple(name for name in self.classes if any(name in fold.unseen_classes for fold in self.folds))

    @model_validator(mode="after")
    def _check(self) -> ExperimentResult:
        self._check_pairing()
        check_summary(self.summary, self.folds)
        if self.oracle is not None:
            self.oracle.check_against(self.summary, "oracle")
        for index, fold in enumerate(self.folds):
            if (fold.unseen_wordings is None) != (self.unseen_prompt_set is None):
                fail(f"folds[{index}].unseen_wordings", "it is there if unseen_prompt_set is, and only then")
        tested = {fold.fold: set(fold.test_subjects) for fold in self.folds}
        for index, control in enumerate(self.controls):
            place = f"controls[{index}]"
            if control.name in [other.name for other in self.controls[:index]]:
                fail(f"{place}.name", f"two controls are called {control.name!r}")
            for number, fold in enumerate(control.folds):
                if set(fold.test_subjects) != tested.get(fold.fold):
                    here = f"{place}.folds[{number}].test_subjects"
                    fail(here, "a control is tested on the same folds' subjects")
        for index, example in enumerate(self.examples):
            if example.subject not in tested.get(example.fold, ()):
                message = f"{example.subject!r} is no test subject of fold {example.fold}"
                fail(f"examples[{index}].subject", message)
        return self

    @property
    def label_budget(self) -> str | None:
        """How many of the training subjects had labels, for people; None where all had and no sample was without."""
        parts = []
        if any(fold.labelled_subjects is not None for fold in self.folds):
            pairs = [
                (fold.train_subjects if fold.labelled_subjects is None else fold.labelled_subjects, fold.train_subjects)
                for fold in self.folds
            ]
            counts = dict.fromkeys(f"{len(labelled)} of {len(known)}" for labelled, known in pairs)
            parts.append(f"labels of {' or '.join(counts)} training subjects")
            if any(fold.validation_subjects for fold in self.folds):
                parts.append("and of the validation subjects")
        numbers = dict.fromkeys(fold.num_unlabelled_samples for fold in self.folds)
        if any(numbers):
            parts.append(f"with {' or '.join(map(str, numbers))} samples without a label")
        return " ".join(parts) or None

    def _check_pairing(self) -> None:
        teacher = self.pairing_teacher
        try:
            expected = honest_pairing_name(
                self.pairing_mode, teacher.description if teacher else None, self.pairing_captions
            )
        except SettingsError as error:
            fail("pairing_captions" if "captions" in str(error) else "pairing_teacher", str(error))
        if self.pairing_name != expected:
            fail("pairing_name", f"expected {expected!r}, found {self.pairing_name!r}")
        if teacher:
            found, folds = [each.fold for each in teacher.proposals], [fold.fold for fold in self.folds]
            if found != folds:
                fail("pairing_teacher.proposals", f"expected one entry per fold, {folds}, found {found}")
            for index, (each, fold) in enumerate(zip(teacher.proposals, self.folds, strict=True)):
                each.check_against(fold, f"pairing_teacher.proposals[{index}]")
