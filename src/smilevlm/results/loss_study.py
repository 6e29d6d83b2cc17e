"""What belongs to a study of the losses: `STUDY/losses.json`, written by `smilevlm reproduce losses`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from smilevlm.results.fields import PositiveSize, Record, RelativePath, ResultFile, Share, Size
from smilevlm.results.study import StudyMethod

LOSS_STUDY_VERSION = 1
LOSS_STUDY_NAME = "losses.json"
Reading = Literal["prompts", "linear_probe"]
"""How classes are read from a model: by comparing with prompts, or by a probe fitted on frozen features."""


@dataclass(frozen=True, kw_only=True)
class LossContrast(Record):
    """The effect of a loss: the method with it minus the one without it.

    Attributes:
        title: Of the loss.
        method: Without it.
        first: With it.
        reading: How classes are read; without alignment there is nothing that prompts could be compared with.
    """

    title: str
    method: str
    reading: Reading
    first: str = "full"


@dataclass(frozen=True, kw_only=True)
class PrimaryTest(Record):
    """A test of the primary family: a contrast in one setting, on clean scans."""

    contrast: str
    setting: str


@dataclass(frozen=True, kw_only=True)
class LossSetting(Record):
    """One language with labels of so many training people.

    Attributes:
        name: Such as `class_6`.
        title: For people.
        recipe: Name, after the profile's prefix.
        num_labelled: Training people whose samples have prompts; None for all.
        methods: What is trained.
        has_captions: Whether sentences about single facial actions are scored as well.
    """

    name: str
    title: str
    recipe: str
    num_labelled: PositiveSize | None
    methods: tuple[str, ...]
    has_captions: bool = False


@dataclass(frozen=True, kw_only=True)
class LossRun(Record):
    """One training.

    Attributes:
        setting: Name of a setting, such as `class_6`.
        method: Such as `full` or `without_multi_view`.
        unit: Population, or fold.
        num_steps: Of the optimiser, in all.
        folder: Run folder, a POSIX path relative to the study file, with `robustness.json` and, where captions were
            trained, `language.json`; None where it is missing.
        reason: Why it is missing; None where it is there.
    """

    setting: str
    method: str
    unit: Size
    num_steps: Size
    folder: RelativePath | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class LossStudy(ResultFile):
    """One study of the losses.

    Attributes:
        profile: `tiny` or `paper`.
        synthetic: Whether the faces are.
        data: The faces that are trained and tested on, in words.
        other_faces: What the column of this name was measured on, in words; None where there was nothing.
        overlap: Test people over training people of a unit where units are folds of one set, whose training people
            overlap; 0 where no person is in two units.
        num_steps: Of every training, to the rounding of whole epochs.
        batch_size: Samples of a step.
        margin: Smaller differences count as equal, named beforehand as the contrasts were.
        contrasts: Each a difference of two methods.
        primary: Contrasts (by title), settings and the condition that are tested first, as a family of their own.
        command: That makes the study, or what is missing of it.
    """

    WRITTEN_BY: ClassVar[str] = "smilevlm reproduce losses"

    profile: str
    synthetic: bool
    data: str
    other_faces: str | None
    overlap: float
    num_steps: PositiveSize
    batch_size: PositiveSize
    margin: Share
    contrasts: tuple[LossContrast, ...]
    primary: tuple[PrimaryTest, ...]
    settings: tuple[LossSetting, ...]
    methods: tuple[StudyMethod, ...]
    command: str
    runs: tuple[LossRun, ...]
    package_version: str
    git_commit: str | None
    schema_version: int = LOSS_STUDY_VERSION
