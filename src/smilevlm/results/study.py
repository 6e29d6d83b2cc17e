"""What belongs to a study: `STUDY/study.json`, written by `smilevlm reproduce` and read by the study's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smilevlm.results.fields import Record, ResultFile

STUDY_VERSION = 1
Target = Literal["table2", "table3", "table4", "table5", "fig2", "fig3"]
TARGETS: tuple[Target, ...] = ("table2", "table3", "table4", "table5", "fig2", "fig3")


@dataclass(frozen=True, kw_only=True)
class StudySetting(Record):
    """One column of the study: a data set and protocol.

    Attributes:
        name: Such as `bu3dfe_subset1`.
        title: For people, such as `BU-3DFE Subset I`.
        protocol: Its protocol's title.
    """

    name: str
    title: str
    protocol: str


@dataclass(frozen=True, kw_only=True)
class StudyMethod(Record):
    """One way of training.

    Attributes:
        name: Such as `full` or `without_alignment`.
        title: For people.
        supervision: What it is told of classes while training, in words.
    """

    name: str
    title: str
    supervision: str


@dataclass(frozen=True, kw_only=True)
class StudyRun(Record):
    """One training of a study.

    Attributes:
        setting: Name of a `StudySetting`.
        method: Name of a `StudyMethod`.
        seed: Of folds, weights and everything else.
        results: `results.json`, a POSIX path relative to the study file; None where it is missing.
        reason: Why it is missing; None where it is there.
    """

    setting: str
    method: str
    seed: int
    results: str | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudyFile(Record):
    """A file of the other tasks or of the analysis, for one setting; `reason` where there is none."""

    kind: Literal["tasks", "analysis"]
    setting: str
    path: str | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Study(ResultFile):
    """One study.

    Attributes:
        profile: `tiny` or `paper`.
        targets: The tables and figures that were asked for.
        synthetic: Whether any of its data is.
        data: Name of a prepared set to how it was made or where it came from, in words.
    """

    profile: str
    targets: tuple[Target, ...]
    synthetic: bool
    data: dict[str, str]
    settings: tuple[StudySetting, ...]
    methods: tuple[StudyMethod, ...]
    runs: tuple[StudyRun, ...]
    files: tuple[StudyFile, ...]
    package_version: str
    git_commit: str | None
    schema_version: int = STUDY_VERSION
