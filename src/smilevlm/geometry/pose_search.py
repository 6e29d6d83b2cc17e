"""Find a face in any pose and at any size: a wide, cheap search, whose best results are registered at full cost.

From each of many directions the scan becomes a height map; its strongest peaks are nose-tip candidates, and the relief
around them is compared with the mean face's at every roll. The likeliest poses become starts of short
registrations with the scale free, and the best of those of long ones. Nothing is mirrored.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from smilevlm.geometry.nose import prominent_cells, spaced
from smilevlm.geometry.template import REACH_MM, SimilarityFit, face_template, register_similarity, relief_match
from smilevlm.typing import Vertices

_NUM_DIRECTIONS = 64
"""About 28 degrees apart."""
_NUM_ROLLS = 18
_ROLL_BEFORE, _ROLL_AFTER = np.arange(_NUM_ROLLS) - 1, np.arange(_NUM_ROLLS) - _NUM_ROLLS + 1
_CELL_MM = 7.5
_DISC_MM = 66.0
_DEEPEST_MM, _HIGHEST_MM = -95.0, 22.0
"""Cells outside these heights over a nose tip are no face."""
_NOSES_PER_DIRECTION = 6
_SHORT_FITS, _LONG_FITS = 40, 6
_FRONT_DEG = 45.0
_FRONT_SHORT_FITS, _FRONT_LONG_FITS = 12, 3
"""Directions so near to a given front are searched at a sixth of the cost of all."""
_START_POINTS, _SHORT_POINTS, _LONG_POINTS = 8000, 1500, 8000
SCALE_PULL = 30.0
"""How strongly a registration holds to its first scale, in mm^2: left free, a small template fits anywhere."""
_SIGHT_CELL_MM, _HIDDEN_MM = 6.0, 10.0
"""A point so far behind another in the same cell is not skin; steep skin spans less."""
_SAME_PLACE_MM, _SAME_TURN_DEG = 12.0, 15.0
_OTHER_PLACE_MM, _OTHER_TURN_DEG = 30.0, 30.0
"""Two candidates further apart than this are different hypotheses."""


@dataclass(frozen=True, kw_only=True)
class PoseCandidate:
    """A registration of the mean face that may be a face, and the scale at which it was looked for."""

    fit: SimilarityFit
    scale: float
    relief_match: float

    @property
    def score(self) -> float:
        """By which candidates are compared, about [-1, 2]."""
        return self.relief_match + self.fit.fit_share


@dataclass(kw_only=True)
class _Start:
    """A pose from the comparison of reliefs: the nose tip at a centre, in mm after the turn, at one of the rolls.

    There are many of them, and few are registered: only these are asked for rotation and nose.
    """

    score: float
    turn: Float64[np.ndarray, "3 3"]
    roll: int
    centre: Float32[np.ndarray, " 3"]
    scale: float

    @functools.cached_property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        return _roll(self.roll) @ self.turn

    @functools.cached_property
    def nose(self) -> Float64[np.ndarray, " 3"]:
        return self.turn.T @ self.centre.astype(np.float64) / self.scale


def search(
    points: Vertices, scales: Sequence[float], *, front: Float64[np.ndarray, "3 3"] | None = None
) -> list[PoseCandidate]:
    """The likeliest faces in a scan, best first, with any rotation.

    Args:
        points: Surface points spread evenly, any frame, in a unit that times one of `scales` is about a millimetre.
        scales: Tried one by one, within about 20 %; all candidates are compared in the end.
        front: Search only faces that look within about 45 degrees of +z after this turn, upright or not.

    Returns:
        Candidates that differ in position or rotation; none where nothing came near the mean face.
    """
    turns = _directions() if front is None else _front_directions() @ front
    num_short, num_long = (_SHORT_FITS, _LONG_FITS) if front is None else (_FRONT_SHORT_FITS, _FRONT_LONG_FITS)
    starts = [start for scale in scales for start in _starts(points, scale, turns)]
    starts = _distinct_starts(starts, num_short)
    shorts = [
        _register(points, start.rotation, start.nose, start.scale, num_points=_SHORT_POINTS, iterations=8)
        for start in starts
    ]
    longs: list[PoseCandidate | None] = []
    for candidate in _distinct([short for short in shorts if short], _SAME_PLACE_MM, _SAME_TURN_DEG)[:num_long]:
        fit = candidate.fit
        longs.append(_register(points, fit.rotation, fit.nose, candidate.scale, num_points=_LONG_POINTS, iterations=14))
    return distinct([long for long in longs if long])


def distinct(candidates: Sequence[PoseCandidate]) -> list[PoseCandidate]:
    """The candidates, best first, without those that repeat a better one."""
    return _distinct(candidates, _OTHER_PLACE_MM, _OTHER_TURN_DEG)


def _register(
    points: Vertices,
    rotation: Float64[np.ndarray, "3 3"],
    nose: Float64[np.ndarray, " 3"],
    scale: float,
    *,
    num_points: int,
    iterations: int,
) -> PoseCandidate | None:
    visible = visible_points(points, rotation, nose, scale)
    visible = visible[:: max(1, len(visible) // num_points)]
    fit = register_similarity(visible, rotation, nose, scale, iterations=iterations, scale_pull=SCALE_PULL)
    if fit.fit_share == 0:
        return None
    return PoseCandidate(fit=fit, scale=scale, relief_match=relief_match(visible, fit))


def visible_points(
    points: Vertices, rotation: Float64[np.ndarray, "3 3"], nose: Float64[np.ndarray, " 3"], scale: float
) -> Float32[np.ndarray, "visible 3"]:
    """The points within a face's reach of the nose that nothing hides from the front.

    Face models have a mouth cavity, teeth and the backs of the eyeballs, which would be taken for skin.
    """
    from smilevlm.geometry import search_kernels

    visible = np.empty(points.shape, np.float32)
    cell_mm, hidden_mm = np.float32(_SIGHT_CELL_MM), np.float32(_HIDDEN_MM)
    count = search_kernels.seen_from_front(
        points, scale * rotation, nose, REACH_MM / scale, cell_mm, hidden_mm, visible
    )
    return visible[:count]


def _starts(points: Vertices, scale: float, turns: Float64[np.ndarray, "direction 3 3"]) -> list[_Start]:
    """Poses at one scale, from the cheap comparison of reliefs alone; the turns bring directions to +z."""
    from smilevlm.geometry import kernels, search_kernels

    offsets, basis, relief = _disc()
    scaled = np.float32(scale) * points[:: max(1, len(points) // _START_POINTS)]
    turned = np.empty(scaled.shape, np.float32)
    scores = np.empty(_NUM_ROLLS)
    starts = []
    for rotation in turns:
        low_x, low_y, high_x, high_y = search_kernels.turn_points(scaled, rotation, turned)
        low = np.array([low_x, low_y]) - _CELL_MM
        shape = int((high_y - low[1]) / _CELL_MM) + 2, int((high_x - low[0]) / _CELL_MM) + 2
        empty = np.full(shape, np.nan, np.float32)
        grid = np.empty(shape, np.float32)
        kernels.highest_per_cell(turned, np.float32(low[0]), np.float32(low[1]), np.float32(_CELL_MM), empty)
        search_kernels.fill_gaps(empty, grid)
        row, column = prominent_cells(grid, _CELL_MM, most=20 * _NOSES_PER_DIRECTION)
        centres = np.stack(
            [low[0] + (column + 0.5) * _CELL_MM, low[1] + (row + 0.5) * _CELL_MM, grid[row, column]], axis=1
        ).astype(np.float32)
        for k in spaced(centres, _NOSES_PER_DIRECTION):
            search_kernels.score_rolls(
                grid, row[k], column[k], offsets, basis, relief, _DEEPEST_MM, _HIGHEST_MM, scores
            )
            # A roll worth a registration is better than the two neighbouring rolls.
            above = (scores >= scores[_ROLL_BEFORE]) & (scores > scores[_ROLL_AFTER]) & (scores > 0.1)
            starts += [
                _Start(score=float(scores[roll]), turn=rotation, roll=roll, centre=centres[k], scale=scale)
                for roll in np.flatnonzero(above).tolist()
            ]
    return starts


@functools.cache
def _roll(number: int) -> Float64[np.ndarray, "3 3"]:
    angle = 2 * np.pi * number / _NUM_ROLLS
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


@functools.cache
def _directions() -> Float64[np.ndarray, "direction 3 3"]:
    """Turns that bring directions spread evenly over the sphere (a Fibonacci lattice) to +z."""
    index = np.arange(_NUM_DIRECTIONS) + 0.5
    z = 1 - 2 * index / _NUM_DIRECTIONS
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - z**2)
    forward = np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)
    helper = np.where(np.abs(forward[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    right = np.cross(helper, forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


@functools.cache
def _front_directions() -> Float64[np.ndarray, "direction 3 3"]:
    """Those of `_directions` near +z, without their roll: up stays up."""
    turns = _directions()
    return turns[turns[:, 2, 2] >= np.cos(np.radians(_FRONT_DEG))]


def turns(*, num_rolls: int) -> list[Float64[np.ndarray, "3 3"]]:
    """Every direction at so many rolls, which must divide the search's own number."""
    return [_roll(number) @ turn for turn in _directions() for number in range(0, _NUM_ROLLS, _NUM_ROLLS // num_rolls)]


@functools.cache
def _disc() -> tuple[Int64[np.ndarray, "cell 2"], Float64[np.ndarray, "cell 6"], Float64[np.ndarray, "roll cell"]]:
    """Steps to the cells around a nose tip, a quadric's terms there, and the template's relief at each roll."""
    template = face_template()
    reach = int(_DISC_MM / _CELL_MM)
    steps = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    offsets = offsets[np.hypot(*offsets.T) * _CELL_MM <= _DISC_MM]
    x, y = offsets[:, 1] * _CELL_MM, offsets[:, 0] * _CELL_MM
    basis = _quadric(x, y)
    relief = np.full((_NUM_ROLLS, len(offsets)), np.nan)
    for number in range(_NUM_ROLLS):
        turn = _roll(number)
        column = np.rint((turn[0, 0] * x + turn[0, 1] * y - template.low_mm[0]) / template.cell_mm).astype(np.int64)
        row = np.rint((turn[1, 0] * x + turn[1, 1] * y - template.low_mm[1]) / template.cell_mm).astype(np.int64)
        rows, columns = template.height_mm.shape
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        height = np.full(len(x), np.nan)
        height[inside] = template.height_mm[row[inside], column[inside]]
        known = np.isfinite(height)
        best = np.linalg.lstsq(basis[known], height[known], rcond=None)[0]
        relief[number] = height - basis @ best
    return offsets, basis, relief


def _quadric(x: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, "cell 6"]:
    x, y = x / 50, y / 50
    return np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y], axis=1)


def _distinct_starts(starts: Sequence[_Start], count: int) -> list[_Start]:
    """The best starts, without those that repeat a better one."""
    ordered = sorted(starts, key=lambda start: -start.score)
    found: list[_Start] = []
    for start in ordered:
        if len(found) == count:
            break
        if not any(
            0.85 < start.scale / other.scale < 1.18
            and np.linalg.norm(start.nose - other.nose) * start.scale < _SAME_PLACE_MM
            and turn_between_deg(start.rotation, other.rotation) < _SAME_TURN_DEG
            for other in found
        ):
            found.append(start)
    return found


def _distinct(candidates: Sequence[PoseCandidate], place_mm: float, turn_deg: float) -> list[PoseCandidate]:
    """Candidates by score, without those that repeat a better one."""
    kept: list[PoseCandidate] = []
    for candidate in sorted(candidates, key=lambda candidate: -candidate.score):
        if not any(
            np.linalg.norm(candidate.fit.nose - other.fit.nose) * other.fit.mm_per_unit < place_mm
            and turn_between_deg(candidate.fit.rotation, other.fit.rotation) < turn_deg
            for other in kept
        ):
            kept.append(candidate)
    return kept


def turn_between_deg(first: Float64[np.ndarray, "3 3"], second: Float64[np.ndarray, "3 3"]) -> float:
    """The angle of the turn from one rotation to the other."""
    return float(np.degrees(np.arccos(np.clip((np.sum(first * second) - 1) / 2, -1, 1))))
