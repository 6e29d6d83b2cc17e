"""The project's own rows of the tables of a study: which methods, read how, and what each is told of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from smilevlm.reporting.study_scores import (
    FUSED,
    MEAN_FUSION,
    NO_DIFFERENCE,
    ONE_PERSON,
    ONE_UNIT,
    SAME_PEOPLE,
    Pooled,
    Reading,
    chance,
    pooled_or_missing,
    reading_title,
)
from smilevlm.reporting.study_source import LoadedStudy
from smilevlm.reporting.table import Cell, Column, Kind, Missing

Part = Literal["the method", "views and fusion", "baseline", "control"]
_PROBES = ("linear_probe", "knn")
_NOT_TOLD_BY_PAIRING = ("untrained", "raw_clip", "shuffled_prompts")


@dataclass(frozen=True, kw_only=True)
class OwnRow:
    """One row.

    Attributes:
        method: Name of the method; None for chance, which nothing is trained for.
        reading: How classes are read.
        title: For people.
    """

    part: Part
    method: str | None
    reading: Reading
    title: str


def own_rows(study: LoadedStudy, settings: Sequence[str]) -> list[OwnRow]:
    """The rows of every table of comparisons, in order: SMILE-VLM, then what it must beat, then the controls."""
    angles = sorted({angle for name in settings for result in study.results(name) for angle in result.view_angles_deg})
    full = study.method("full").title
    rows = [OwnRow(part="the method", method="full", reading=FUSED, title=f"{full}: {reading_title(FUSED)}")]
    for reading in (*angles, MEAN_FUSION, "late_fusion"):
        title = f"{full}: {reading_title(reading)}"
        rows.append(OwnRow(part="views and fusion", method="full", reading=reading, title=title))
    readings = [
        *(("full", reading) for reading in _PROBES),
        *(("multi_view_alone", reading) for reading in _PROBES),
        ("alignment_alone", FUSED),
        ("supervised", FUSED),
        ("raw_clip", FUSED),
        ("untrained", FUSED),
        ("untrained", "linear_probe"),
    ]
    for method, reading in readings:
        title = f"{study.method(method).title}: {_how(method, reading)}"
        rows.append(OwnRow(part="baseline", method=method, reading=reading, title=title))
    rows += [
        OwnRow(part="control", method="shuffled_prompts", reading=FUSED, title=study.method("shuffled_prompts").title),
        OwnRow(part="control", method="full", reading="majority", title="always the most frequent training class"),
        OwnRow(part="control", method=None, reading="chance", title="chance"),
    ]
    return rows


def _how(method: str, reading: Reading) -> str:
    """A supervised model has no prompts: it is read by the classes it learned."""
    return "all views fused" if (method, reading) == ("supervised", FUSED) else reading_title(reading)


def supervision(study: LoadedStudy, row: OwnRow, settings: Sequence[str]) -> str:
    """The results' own pairing names, and whether the readout was fitted.

    Where no prompt had a say, or none of the sample's own, the pairing's name would be wrong; the study's words stand.
    """
    if row.method is None:
        return "none"
    if row.reading == "majority":
        return "labels of the training subjects"
    results = [result for name in settings for result in study.group(name, row.method).results]
    told = study.method(row.method).supervision
    if results and row.method not in _NOT_TOLD_BY_PAIRING and all(result.aligned_with_text for result in results):
        told = ", ".join(dict.fromkeys(result.pairing_name for result in results))
    return f"{told}; readout fitted on labels" if row.reading in _PROBES else told


def score_columns(prefix: str = "", title: str = "") -> tuple[Column, ...]:
    """The columns that `score_cells` fills.

    Args:
        prefix: Of the keys, where a table has several settings.
        title: Put before the columns' titles then.
    """
    columns: tuple[tuple[str, str, Kind], ...] = (
        ("accuracy", "Accuracy", "percent_fine"),
        ("std", "Std over units", "percent"),
        ("interval", "95 % interval, units", "percent_interval"),
        ("subject_interval", "95 % interval, people", "percent_interval"),
        ("subjects", "People", "count"),
        ("seeds", "Seeds", "text"),
    )
    before = f"{title}: " if title else ""
    return tuple(Column(key=f"{prefix}{key}", title=f"{before}{name}", kind=kind) for key, name, kind in columns)


def score_cells(study: LoadedStudy, row: OwnRow, setting: str) -> tuple[Cell, ...]:
    """A row's cells for one setting; each that is empty says why."""
    if row.method is None:
        exact = Missing(reason="exact")
        return (chance(study.results(setting)), *[exact] * 5)
    group = study.group(setting, row.method)
    scores = pooled_or_missing(group, row.reading)
    if isinstance(scores, Missing):
        return (scores,) * 6
    return (*pooled_cells(scores), scores.num_subjects, group.seeds_text)


def pooled_cells(scores: Pooled) -> tuple[Cell, Cell, Cell, Cell]:
    """Mean, spread and both intervals."""
    none = ONE_UNIT if scores.num_units == 1 else SAME_PEOPLE if scores.same_people else NO_DIFFERENCE
    return (
        scores.mean,
        ONE_UNIT if scores.std is None else scores.std,
        scores.interval or none,
        scores.subject_interval or ONE_PERSON,
    )
