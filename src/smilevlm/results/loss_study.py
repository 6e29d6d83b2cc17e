"""What belongs to a study of the losses: `STUDY/losses.json`, written by `smilevlm reproduce losses`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smilevlm.results.fields import PositiveSize, Record, RelativePath, ResultFile, Size

LOSS_STUDY_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LossRun(Record):
    """One training.

    Attributes:
        setting: Name of a setting, such as `class_6`.
        method: Such as `full` or `without_multi_view`.
        unit: Population, or fold, and seed of everything else.
        folder: Run folder, a POSIX path relative to the study file, with `robustness.json` and, where captions were
            trained, `language.json`; None where it is missing.
        reason: Why it is missing; None where it is there.
    """

    setting: str
    method: str
    unit: Size
    folder: RelativePath | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class LossStudy(ResultFile):
    """One study of the losses.

    Attributes:
        profile: `tiny` or `paper`.
        synthetic: Whether the faces are.
        data: Name of the faces to how they were made or where they came from, in words.
        other_head_model: What the column of this name was measured on, in words; None where there was nothing.
        independent_units: Whether no person is in two units; if not, units are folds, whose training people overlap.
        num_steps: Of every training.
        batch_size: Samples of a step.
    """

    WRITTEN_BY: ClassVar[str] = "smilevlm reproduce losses"

    profile: str
    synthetic: bool
    data: dict[str, str]
    other_head_model: str | None
    independent_units: bool
    num_steps: PositiveSize
    batch_size: PositiveSize
    runs: tuple[LossRun, ...]
    package_version: str
    git_commit: str | None
    schema_version: int = LOSS_STUDY_VERSION
