"""Accuracy of a trained fold on degraded, missing and unfamiliar views: `RUN/robustness.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from smilevlm.results.fields import ByAngle, PositiveSize, Record, ResultFile, Share, ViewAngles

ROBUSTNESS_VERSION = 1
ROBUSTNESS_NAME = "robustness.json"
Condition = Literal["clean", "all_views_degraded", "one_view_degraded", "one_view_missing", "other_faces"]
CONDITIONS: tuple[Condition, ...] = (
    "clean", "all_views_degraded", "one_view_degraded", "one_view_missing", "other_faces",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PromptScores(Record):
    """Accuracies with prompts under one condition.

    Attributes:
        fused: Of the fused embedding.
        mean_fusion: Of the plain mean of the views that are there.
        single_views: Of each view alone, on the samples that have it.
        fused_with_view: Of the fused embedding on the same samples.
        matched: Of the fused embedding under the best one-to-one matching of answers to classes (Hungarian algorithm),
            as clusterings are scored.
        matched_chance: The mean of the same over random orders of the true classes.
        degraded_view_weight: Mean fusion weight of the view that was degraded; None where none or all are.
    """

    fused: Share
    mean_fusion: Share
    single_views: ByAngle[Share]
    fused_with_view: ByAngle[Share]
    matched: Share
    matched_chance: Share
    degraded_view_weight: Share | None = None


@dataclass(frozen=True, kw_only=True)
class ConditionScores(Record):
    """Accuracies under one condition.

    Attributes:
        num_samples: Tested.
        prompts: None where the model is not aligned with text.
        linear_probe: On frozen features, fitted on clean views of the labelled training people; None where a view is
            missing, since the probe is over all.
    """

    num_samples: PositiveSize
    prompts: PromptScores | None
    linear_probe: Share | None


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
        seed: Of the degradation.
        other_manifest_hash: Of the other set, where one was given.
        conditions: What was changed to what came of it; `other_faces` where another set was given.
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
    seed: int
    other_manifest_hash: str | None
    view_angles_deg: ViewAngles
    conditions: Mapping[Condition, ConditionScores]
    probes: tuple[ProbeScore, ...]
    same_person_nearest: Share
    chance_same_person: Share
    schema_version: int = ROBUSTNESS_VERSION
