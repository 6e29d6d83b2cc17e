"""Accuracy of a trained fold on degraded, missing and unfamiliar views: `RUN/robustness.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from smilevlm.results.fields import ByAngle, PositiveSize, Record, ResultFile, Share, ViewAngles

ROBUSTNESS_VERSION = 1
Condition = Literal["clean", "all_views_degraded", "one_view_degraded", "one_view_missing", "other_head_model"]
CONDITIONS: tuple[Condition, ...] = (
    "clean", "all_views_degraded", "one_view_degraded", "one_view_missing", "other_head_model",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ConditionScores(Record):
    """Accuracies under one condition; those with prompts are None where the model is not aligned with text.

    Attributes:
        num_samples: Tested.
        fused: With prompts, of the fused embedding.
        mean_fusion: With prompts, of the plain mean of the views that are there.
        single_views: With prompts, of each view alone, on the samples that have it.
        matched: Of the fused embedding when the answers are renamed, one class for one, as suits them best: what a
            control whose prompts mean nothing is to be compared with, since it may tell faces apart by other names.
        linear_probe: On frozen features, fitted on clean views of the labelled training people; None where a view is
            missing, since the probe is over all.
        changed_view_weight: Mean fusion weight of the view that was degraded; None where none or all are.
    """

    num_samples: PositiveSize
    fused: Share | None
    mean_fusion: Share | None
    single_views: ByAngle[Share] | None
    matched: Share | None
    linear_probe: Share | None
    changed_view_weight: Share | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeScore(Record):
    """A linear probe on clean views, fitted with the labels of so many training people."""

    num_subjects: PositiveSize
    accuracy: Share


@dataclass(frozen=True, kw_only=True)
class RobustnessResult(ResultFile):
    """One `robustness.json`.

    Attributes:
        recipe: Name of the run's recipe.
        manifest_hash: Of the run's prepared set.
        fold: Which was tested, on its test people.
        conditions: What was changed to what came of it; `other_head_model` where another set was given.
        probes: Rising in the number of people; the last one of all training people.
        same_person_nearest: How often the nearest other test scan, by the tower's features, is of the same person.
            High: the features tell people apart.
        chance_same_person: The same for a scan drawn at random.
    """

    WRITTEN_BY: ClassVar[str] = "smilevlm reproduce losses"

    recipe: str
    layout: str
    manifest_hash: str
    package_version: str
    git_commit: str | None
    fold: int
    view_angles_deg: ViewAngles
    conditions: Mapping[Condition, ConditionScores]
    probes: tuple[ProbeScore, ...]
    same_person_nearest: Share
    chance_same_person: Share
    schema_version: int = ROBUSTNESS_VERSION
