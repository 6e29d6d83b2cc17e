"""The error message for a scan without a face: which test failed, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smilevlm.geometry.locate import MIN_SCORE, PoseHypothesis
from smilevlm.geometry.units import column_quantiles, sample_columns, unit_name
from smilevlm.typing import Vertices

_FLAT_SHARE = 0.1
"""Of the largest extent; thinner things have no relief. Faces are four times as deep."""
_FEW_VERTICES = 400
"""Faces of fewer are found, but not all."""
_SMALLEST_MM, _LARGEST_MM = 60.0, 1000.0
"""Tight crops of small faces are larger, head and shoulders smaller."""


@dataclass(frozen=True, kw_only=True)
class SearchSummary:
    """How a face was looked for: thresholds, unit as found or given, whether all poses or a given one were tried."""

    min_fit_share: float
    min_relief_match: float
    mm_per_unit: float
    unit_is_given: bool
    searched: bool
    pose_is_given: bool


def no_face_message(vertices_mm: Vertices, pose: PoseHypothesis, summary: SearchSummary) -> str:
    """One sentence that names the tests failed by the likeliest pose, with their limits, and one of advice.

    The vertices are in millimetres if the unit was found right.
    """
    where = "in any pose" if summary.searched else "in the pose given" if summary.pose_is_given else "looking along +z"
    columns = sample_columns(vertices_mm)
    low, high = column_quantiles(columns, 0.01, 0.99)
    size = " x ".join(f"{extent:.0f}" for extent in (high - low).tolist())
    unit = "as given" if summary.unit_is_given else f"if its unit is {unit_name(summary.mm_per_unit)}"
    return (
        f"no face found {where}: at the likeliest place {' and '.join(_failed(pose, summary))}; the scan measures "
        f"{size} mm {unit} ({summary.mm_per_unit:g} mm). {_advice(vertices_mm, float((high - low).max()), summary)}"
    )


def _failed(pose: PoseHypothesis, summary: SearchSummary) -> list[str]:
    """The tests that the pose failed, each with what was found and what is needed."""
    failed = []
    if pose.fit_share < summary.min_fit_share:
        failed.append(f"{pose.fit_share:.0%} of the mean face is covered (needed: {summary.min_fit_share:.0%})")
    if pose.relief_match < summary.min_relief_match:
        failed.append(f"the relief match is {pose.relief_match:.2f} (needed: {summary.min_relief_match:.2f})")
    if failed:
        return failed
    if not pose.is_searched and pose.score < MIN_SCORE:
        together = f"{pose.relief_match:.2f} + {pose.fit_share:.2f} = {pose.score:.2f}"
        return [f"relief match and covered share are too low together: {together} (needed: {MIN_SCORE:.2f})"]
    return [f"the confidence is {pose.confidence:.3g} (needed: {pose.min_confidence:.3g})"]


def _advice(vertices_mm: Vertices, largest_mm: float, summary: SearchSummary) -> str:
    if summary.unit_is_given and not _SMALLEST_MM <= largest_mm <= _LARGEST_MM:
        return (
            f"Faces and heads measure {_SMALLEST_MM:.0f} to {_LARGEST_MM:.0f} mm: correct mm_per_unit or leave it out"
        )
    if _thickness(vertices_mm) < _FLAT_SHARE * largest_mm:
        return "It is flat, and a face needs depth: look at what was scanned"
    if len(vertices_mm) < _FEW_VERTICES:
        return f"It has {len(vertices_mm)} vertices, too few to know most faces by: scan or export it more finely"
    if summary.pose_is_given:
        return "Check the axes given for up and front, or leave them out to look in any pose"
    if not summary.searched:
        return "Only this pose was tried: turn the scan so that the face looks along +z with +y up, or let it search"
    return (
        "Look at what was scanned; if it shows a face, cut away what is not the head, or name the scan's axes up and "
        "front (--up, --front)"
    )


def _thickness(vertices_mm: Vertices) -> float:
    """Extent along the direction in which the scan extends least."""
    columns = sample_columns(vertices_mm).astype(np.float64)
    columns -= columns.mean(axis=1, keepdims=True)
    _, directions = np.linalg.eigh(columns @ columns.T)
    low, high = np.quantile(directions[:, 0] @ columns, [0.01, 0.99])
    return float(high - low)
