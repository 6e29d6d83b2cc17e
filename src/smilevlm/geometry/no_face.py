"""What a refused scan is told: which test it failed, and only advice that can help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smilevlm.geometry.locate import LEAST_MERIT, Place
from smilevlm.geometry.units import at_shares, some_columns, unit_name
from smilevlm.typing import Vertices

_FLAT_SHARE = 0.1
"""Of the largest extent; thinner things have no relief. Faces are four times as deep."""
_FEW_VERTICES = 400
"""Faces of fewer are found, but not all."""
_SMALLEST_MM, _LARGEST_MM = 60.0, 1000.0
"""Tight crops of small faces are larger, head and shoulders smaller."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """How a face was looked for.

    Args:
        min_fit_share: Share of the mean face that must be covered.
        min_relief_match: Relief match that must be reached.
        mm_per_unit: Of the scan's coordinates, as found or given.
        unit_is_given: Whether it was given.
        searched: Whether any pose was tried.
        pose_is_given: Whether the caller gave the pose, in which alone was looked.
    """

    min_fit_share: float
    min_relief_match: float
    mm_per_unit: float
    unit_is_given: bool
    searched: bool
    pose_is_given: bool


def no_face_message(vertices_mm: Vertices, place: Place, looked: Looked) -> str:
    """One sentence that names the tests that failed with their limits, and one with what can be done.

    Args:
        vertices_mm: Of the scan, in millimetres if the unit was found right.
        place: The likeliest place of a face, which was refused.
        looked: How it was looked for.
    """
    where = "in any pose" if looked.searched else "in the pose given" if looked.pose_is_given else "looking along +z"
    columns = some_columns(vertices_mm)
    low, high = at_shares(columns, 0.01, 0.99)
    size = " x ".join(f"{extent:.0f}" for extent in (high - low).tolist())
    unit = "as given" if looked.unit_is_given else f"if its unit is {unit_name(looked.mm_per_unit)}"
    return (
        f"no face found {where}: at the likeliest place {' and '.join(_failed(place, looked))}; the scan measures "
        f"{size} mm {unit} ({looked.mm_per_unit:g} mm). {_advice(vertices_mm, float((high - low).max()), looked)}"
    )


def _failed(place: Place, looked: Looked) -> list[str]:
    """The tests that the place failed, each with what was found and what is needed."""
    failed = []
    if place.fit_share < looked.min_fit_share:
        failed.append(f"{place.fit_share:.0%} of the mean face is covered (needed: {looked.min_fit_share:.0%})")
    if place.relief_match < looked.min_relief_match:
        failed.append(f"the relief match is {place.relief_match:.2f} (needed: {looked.min_relief_match:.2f})")
    if failed:
        return failed
    if not place.is_searched and place.merit < LEAST_MERIT:
        together = f"{place.relief_match:.2f} + {place.fit_share:.2f} = {place.merit:.2f}"
        return [f"relief match and covered share are too low together: {together} (needed: {LEAST_MERIT:.2f})"]
    return [f"the confidence is {place.confidence:.3g} (needed: {place.least_confidence:.3g})"]


def _advice(vertices_mm: Vertices, largest_mm: float, looked: Looked) -> str:
    if looked.unit_is_given and not _SMALLEST_MM <= largest_mm <= _LARGEST_MM:
        return (
            f"Faces and heads measure {_SMALLEST_MM:.0f} to {_LARGEST_MM:.0f} mm: correct mm_per_unit or leave it out"
        )
    if _thickness(vertices_mm) < _FLAT_SHARE * largest_mm:
        return "It is flat, and a face needs depth: look at what was scanned"
    if len(vertices_mm) < _FEW_VERTICES:
        return f"It has {len(vertices_mm)} vertices, too few to know most faces by: scan or export it more finely"
    if looked.pose_is_given:
        return "Check the axes given for up and front, or leave them out to look in any pose"
    if not looked.searched:
        return "Only this pose was tried: turn the scan so that the face looks along +z with +y up, or let it search"
    return (
        "Look at what was scanned; if it shows a face, cut away what is not the head, or name the scan's axes up and "
        "front (--up, --front)"
    )


def _thickness(vertices_mm: Vertices) -> float:
    """Extent along the direction in which the scan extends least."""
    columns = some_columns(vertices_mm).astype(np.float64)
    columns -= columns.mean(axis=1, keepdims=True)
    _, directions = np.linalg.eigh(columns @ columns.T)
    low, high = np.quantile(directions[:, 0] @ columns, [0.01, 0.99])
    return float(high - low)
