"""Where the face of a scan is and how it lies: first as the scan stands, then in any pose and at any size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Float64

from smilevlm.geometry.nose import nose_candidates
from smilevlm.geometry.pose_search import SCALE_PULL, Find, distinct, in_sight, search, turn_between_deg
from smilevlm.geometry.template import RigidFit, register, register_similarity, relief_match
from smilevlm.typing import Vertices

_FEW_NOSES, _MANY_NOSES = 4, 8
"""Places tried as the nose tip at first, and when the face found there is not sure."""
_SURE_RELIEF = 0.7
"""Faces mostly reach 0.85; a cheek taken for the nose stays below."""
NOSE_TIP_NAMES = ("Nose tip", "nose_tip")

_LIKELY_RELIEF, _LIKELY_MERIT = 0.6, 1.36
"""A face is likely from this relief match and this merit, and sure from `_SURE_RELIEF` besides.

Of 672 synthetic scans in random poses, those with the best relief match where no face was reached 1.33 at most.
"""
_LIKELY_SCALES = (0.78, 1.18)
"""What `SCALE_PULL` leaves of the size that a face asks for. Faces of natural size lie within; others mostly do not."""
METRIC_SCALES = (0.8, 1.25)
"""Within these a face is as large as faces are, and its unit stands."""
_LARGEST_FACES_MM = (110.0, 150.0, 205.0, 280.0, 380.0, 520.0, 710.0)
"""Extents tried for a scan of unknown unit: from a tight crop to head and shoulders."""
LEAST_CONFIDENCE = 0.4
"""A face found in the wide search needs this confidence. One found as the scan stands needs it to be searched no
further."""
CLEAR_CONFIDENCE = 0.9
"""From here nobody asks again."""
LEAST_MERIT, _LEAST_IF_PLAIN, _LEAST_IF_DOUBTFUL = 1.25, 0.005, 0.012
"""What a place needs where the search found nothing better: the merit, and a confidence by its relief and merit.

Over tight crops of 56 faces the doubtful ones kept 0.058 and the plain ones 0.011; most terrains and blobs fall below,
for they have a rival elsewhere. See docs/pose.md.
"""
_GUESSED_SIZE = 0.1
"""At seven sizes more things resemble a face than at one."""
_BETTER = 0.05
"""What is found later replaces what was found before when its merit is this much higher."""
_FAR_BETTER, _OTHER_TURN_DEG = 0.15, 30.0
"""So much better, and turned so far, is only a face beside which something else was taken for one."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """face = rotation @ (point - nose_mm).

    Args:
        rotation: Face frame from the scan's axes.
        nose_mm: The template's nose tip in the scan's axes.
        fit_share, residual_mm: See `RigidFit`.
        relief_match: See `template.relief_match`.
        rival_merit: Merit of the next best place or pose; zero where none was looked for.
        free_merit: Merit of the fit with the scale free, where there was one.
        is_searched: It was found among all poses, not where the scan as it stands should have its face.
        is_rescaled: No common unit gave the face a natural size, so the mean face did.
    """

    rotation: Float64[np.ndarray, "3 3"]
    nose_mm: Float64[np.ndarray, " 3"]
    fit_share: float
    residual_mm: float
    relief_match: float
    rival_merit: float = 0.0
    free_merit: float = 0.0
    is_searched: bool = False
    is_rescaled: bool = False

    @property
    def merit(self) -> float:
        """What places are compared by, about [-1, 2]."""
        return self.relief_match + self.fit_share

    @property
    def confidence(self) -> float:
        """How sure it is that this is a face in this pose, in [0, 1]; half at a score of 1.62.

        The score is the merit, more where every other place is clearly worse, less where the size had to be guessed.
        """
        merit = max(self.merit, self.free_merit)
        clearness = min(max(merit - self.rival_merit, 0.0), 0.4)
        score = merit + 0.3 * clearness - (_GUESSED_SIZE if self.is_rescaled else 0.0)
        return 1 / (1 + math.exp(-20 * (score - 1.62)))

    @property
    def is_face(self) -> bool:
        """Whether the place is good enough for how it was found: the best of many must be better than the only one."""
        return (self.is_searched or self.merit >= LEAST_MERIT) and self.confidence >= self.least_confidence

    @property
    def least_confidence(self) -> float:
        """The confidence that a face needs which was found in this way."""
        if self.is_searched:
            return LEAST_CONFIDENCE
        return _LEAST_IF_PLAIN if self.is_plain else _LEAST_IF_DOUBTFUL

    @property
    def is_plain(self) -> bool:
        """Whether relief and merit are those of a face in the right place."""
        return self.relief_match >= _LIKELY_RELIEF and self.merit >= _LIKELY_MERIT


def place_as_it_stands(
    points: Vertices, landmarks: Mapping[str, np.ndarray], start: Float[np.ndarray, "3 3"] | None
) -> Place:
    """The face in a scan that is upright and looks along +z within about 30 degrees, after the turn `start`."""
    named = [landmarks[name] for name in NOSE_TIP_NAMES if name in landmarks]
    guesses = np.array(named, np.float32).reshape(-1, 3) if named else None
    if start is None:
        return _place(*_best_fit(points, guesses))
    turn = start.astype(np.float32)
    fit, relief = _best_fit(points @ turn.T, None if guesses is None else guesses @ turn.T)
    return _turned_back(_place(fit, relief), start)


def _place(fit: RigidFit, relief: float) -> Place:
    return Place(
        rotation=fit.rotation,
        nose_mm=fit.nose_mm,
        fit_share=fit.fit_share,
        residual_mm=fit.residual_mm,
        relief_match=relief,
    )


def _turned_back(place: Place, turn: Float[np.ndarray, "3 3"]) -> Place:
    """A place found in turned points, in the points' own axes."""
    return replace(place, rotation=place.rotation @ turn, nose_mm=turn.T.astype(np.float64) @ place.nose_mm)


def _best_fit(points: Vertices, guesses: Float32[np.ndarray, "guess 3"] | None) -> tuple[RigidFit, float]:
    """The fit to the mean face, and how well the reliefs match."""
    if guesses is None:
        guesses = nose_candidates(points, count=_MANY_NOSES)
    if len(guesses) == 0:
        guesses = points[[np.argmax(points[:, 2])]]
    few = points[:: max(1, len(points) // 1500)]
    fit = register(points, _likeliest_nose(few, guesses[:_FEW_NOSES]))
    relief = relief_match(points, fit)
    if len(guesses) > _FEW_NOSES and relief < _SURE_RELIEF:
        # A turned head, a hand or hair: the nose may be among the places that stand out less.
        fit = register(points, _likeliest_nose(few, guesses))
        relief = relief_match(points, fit)
    return fit, relief


def _likeliest_nose(points: Vertices, guesses: Float32[np.ndarray, "guess 3"]) -> Float32[np.ndarray, " 3"]:
    """The guess from which a short registration covers most of the mean face."""
    if len(guesses) == 1:
        return guesses[0]
    fits = [register(points, guess, iterations=6) for guess in guesses]
    best = max(range(len(fits)), key=lambda k: fits[k].fit_share - 0.02 * min(fits[k].residual_mm, 25.0))
    return guesses[best]


def is_sure(points: Vertices, place: Place) -> bool:
    """Whether a place is a face beyond doubt, and as large as faces are, so that nothing else need be tried."""
    return place.relief_match >= _SURE_RELIEF and is_likely(points, place)


def is_likely(points: Vertices, place: Place) -> bool:
    """Whether a place is a face that a search in other poses and sizes would hardly replace."""
    if not place.is_plain:
        return False
    few = points[:: max(1, len(points) // 1500)]
    fit = register_similarity(few, place.rotation, place.nose_mm, 1.0, iterations=6, scale_pull=SCALE_PULL)
    return _LIKELY_SCALES[0] <= fit.mm_per_unit <= _LIKELY_SCALES[1]


def place_of(find: Find, rescaled: float, rival_merit: float, *, is_rescaled: bool) -> Place:
    """A find in a scan that was made `rescaled` times larger since; it is to be `refined`."""
    return Place(
        rotation=find.fit.rotation,
        nose_mm=find.fit.nose * rescaled,
        fit_share=find.fit.fit_share,
        residual_mm=math.inf,
        relief_match=find.relief_match,
        rival_merit=rival_merit,
        free_merit=find.merit,
        is_searched=True,
        is_rescaled=is_rescaled,
    )


def refined(points: Vertices, place: Place) -> Place:
    """A place registered again at full cost, rigidly, to what can be seen from in front of it alone."""
    seen = in_sight(points, place.rotation, place.nose_mm, 1.0)
    if len(seen) == 0:
        return replace(place, fit_share=0.0)
    turn = place.rotation.astype(np.float32)
    turned = seen @ turn.T
    fit = register(turned, turn @ place.nose_mm.astype(np.float32))
    found = _turned_back(_place(fit, relief_match(turned, fit)), place.rotation)
    return replace(
        place,
        rotation=found.rotation,
        nose_mm=found.nose_mm,
        fit_share=found.fit_share,
        residual_mm=found.residual_mm,
        relief_match=found.relief_match,
    )


def confirmed(place: Place, again: Place) -> Place:
    """The same place, with the merit that it has when registered again, to evenly spread points, if it holds there."""
    same = turn_between_deg(place.rotation, again.rotation) < 10
    return replace(place, free_merit=again.merit) if same else place


def is_better(one: Place, other: Place) -> bool:
    """Whether a place found later should stand for the one found before."""
    return one.merit > other.merit + _BETTER


def beside(place: Place, found: Place) -> Place:
    """A place that was kept though another was found: that one is its rival if it lies otherwise."""
    elsewhere = turn_between_deg(place.rotation, found.rotation) > _OTHER_TURN_DEG
    return replace(place, rival_merit=found.merit if elsewhere else found.rival_merit)


def is_beaten(points: Vertices, place: Place) -> bool:
    """Whether a far better face lies elsewhere or otherwise at the same size, as where one stands on its head."""
    finds = search(points, [1.0])
    if not finds or turn_between_deg(place.rotation, finds[0].fit.rotation) <= _OTHER_TURN_DEG:
        return False
    return finds[0].merit > max(place.merit, place.free_merit) + _FAR_BETTER


def find_anywhere(points: Vertices, extent_mm: float, *, unit_is_known: bool) -> tuple[Find | None, float]:
    """The likeliest face in any pose and, where the unit is a guess, at any size; and the next best place's merit.

    Args:
        points: Surface points spread evenly, in millimetres if the unit was guessed right.
        extent_mm: The scan's largest extent.
        unit_is_known: The points are in millimetres.
    """
    finds = search(points, [1.0])
    if not (unit_is_known or (finds and _find_is_sure(finds[0], _rival_merit(finds)))):
        scales = [largest / extent_mm for largest in _LARGEST_FACES_MM]
        others = search(points, [scale for scale in scales if abs(math.log(scale)) > 0.14])
        finds = distinct([*finds, *others])
    return (finds[0], _rival_merit(finds)) if finds else (None, 0.0)


def _rival_merit(finds: Sequence[Find]) -> float:
    return finds[1].merit if len(finds) > 1 else 0.0


def _find_is_sure(find: Find, rival_merit: float) -> bool:
    """Whether a find is a face of natural size for which no other size need be tried."""
    place = place_of(find, 1.0, rival_merit, is_rescaled=False)
    is_natural = _LIKELY_SCALES[0] <= find.fit.mm_per_unit <= _LIKELY_SCALES[1]
    return is_natural and place.is_face and place.relief_match >= _SURE_RELIEF


def likely_factor(mm_per_unit: float) -> float:
    """The power of ten near a factor that a face asked for, if that leaves the face a natural size; else the factor."""
    power = 10.0 ** round(math.log10(mm_per_unit))
    return power if METRIC_SCALES[0] <= mm_per_unit / power <= METRIC_SCALES[1] else mm_per_unit
