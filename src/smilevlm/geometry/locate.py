"""Locate the face in a scan and estimate its pose: first as the scan stands, then in any pose and at any size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from smilevlm.geometry.nose import nose_candidates
from smilevlm.geometry.pose_search import SCALE_PULL, PoseCandidate, distinct, search, turn_between_deg, visible_points
from smilevlm.geometry.template import RigidFit, register, register_similarity, relief_match
from smilevlm.typing import Vertices

_FEW_NOSES, _MANY_NOSES = 4, 8
"""Nose-tip candidates tried at first, and where the fit found with them is not confident."""
_CONFIDENT_RELIEF = 0.7
"""Faces mostly reach 0.85; a cheek taken for the nose stays below."""
NOSE_TIP_NAMES = ("Nose tip", "nose_tip")

_LIKELY_RELIEF, _LIKELY_SCORE = 0.6, 1.36
"""A face is likely from this relief match and this score, and confident from `_CONFIDENT_RELIEF` besides.

Of 672 synthetic scans in random poses, those with the best relief match where no face was reached 1.33 at most.
"""
_LIKELY_SCALES = (0.78, 1.18)
"""Scales of faces of natural size, fitted with `SCALE_PULL`; those of other things mostly lie outside."""
METRIC_SCALES = (0.8, 1.25)
"""Within these a face is as large as faces are, and its unit stands."""
_LARGEST_FACES_MM = (110.0, 150.0, 205.0, 280.0, 380.0, 520.0, 710.0)
"""Extents tried for a scan of unknown unit: from a tight crop to head and shoulders."""
MIN_CONFIDENCE = 0.4
"""Of a face found in the wide search; one found as the scan stands needs it to end the search."""
CLEAR_CONFIDENCE = 0.9
"""From here no check for a better rival is made."""
MIN_SCORE, _LEAST_IF_PLAIN, _LEAST_IF_DOUBTFUL = 1.25, 0.005, 0.012
"""Thresholds where the search found nothing better: of the score, and of the confidence by relief and score.

Over tight crops of 56 faces the doubtful ones kept 0.058 and the plain ones 0.011; most terrains and blobs fall below,
for they have a rival elsewhere. See docs/pose.md.
"""
_GUESSED_SIZE = 0.1
"""Penalty of a guessed size: at seven sizes more things resemble a face than at one."""
_BETTER = 0.05
"""A later hypothesis replaces an earlier one when its score is this much higher."""
_FAR_BETTER, _OTHER_TURN_DEG = 0.15, 30.0
"""So much better, and turned so far: the earlier hypothesis was something else beside the face."""
_NEXT_SCALE = 1.3
"""From the scan's own size to the next one tried near the front; a fit reaches 1.4 times its first scale."""
_CLEAR_SCALES, _CLEAR_FRONT = (0.8, 1.7), 0.9
"""Scales, and least confidence, of a face near the front that ends the search.

At 0.7 one of 198 scans in any pose, which looks backward, was taken for a face in front at 0.84; at 0.85 none was.
"""
_SAME_MM, _SAME_DEG = 12.0, 10.0
_AGREED_RELIEF, _AGREED_CONFIDENCE = 0.5, 0.2
"""A pose from here on that the search near the front finds again, independently and so closely, stands."""


@dataclass(frozen=True, kw_only=True)
class PoseHypothesis(RigidFit):
    """A registered pose of the face, and how well it fits.

    Args:
        relief_match: See `template.relief_match`.
        rival_score: Score of the next best pose; zero where none was looked for.
        free_scale_score: Score of the fit with the scale free, where there was one.
        is_searched: It was found among all poses, not as the scan stands.
        is_rescaled: No common unit gave the face a natural size, so the mean face did.
    """

    relief_match: float
    rival_score: float = 0.0
    free_scale_score: float = 0.0
    is_searched: bool = False
    is_rescaled: bool = False

    @property
    def score(self) -> float:
        """By which hypotheses are compared, about [-1, 2]."""
        return self.relief_match + self.fit_share

    @property
    def confidence(self) -> float:
        """Confidence that this is a face in this pose, in [0, 1].

        A logistic function, one half at 1.62, of the score: raised where every rival is clearly worse, lowered where
        the size had to be guessed.
        """
        score = max(self.score, self.free_scale_score)
        margin = min(max(score - self.rival_score, 0.0), 0.4)
        evidence = score + 0.3 * margin - (_GUESSED_SIZE if self.is_rescaled else 0.0)
        return 1 / (1 + math.exp(-20 * (evidence - 1.62)))

    @property
    def is_face(self) -> bool:
        """Whether it is accepted as a face; the best of many must be better than the only one."""
        return (self.is_searched or self.score >= MIN_SCORE) and self.confidence >= self.min_confidence

    @property
    def min_confidence(self) -> float:
        """The confidence needed for a face found in this way."""
        if self.is_searched:
            return MIN_CONFIDENCE
        return _LEAST_IF_PLAIN if self.is_plain else _LEAST_IF_DOUBTFUL

    @property
    def is_plain(self) -> bool:
        """Whether relief and score are those of a face in the right pose."""
        return self.relief_match >= _LIKELY_RELIEF and self.score >= _LIKELY_SCORE


def initial_pose(
    points: Vertices, landmarks: Mapping[str, np.ndarray], start: Float[np.ndarray, "3 3"] | None
) -> PoseHypothesis:
    """The face in a scan that is upright and looks along +z within about 30 degrees, after the turn `start`."""
    named = [landmarks[name] for name in NOSE_TIP_NAMES if name in landmarks]
    guesses = np.array(named, np.float32).reshape(-1, 3) if named else None
    if start is None:
        return _best_fit(points, guesses)
    turn = start.astype(np.float32)
    return _turned_back(_best_fit(points @ turn.T, None if guesses is None else guesses @ turn.T), start)


def _hypothesis(points: Vertices, fit: RigidFit) -> PoseHypothesis:
    return PoseHypothesis(
        rotation=fit.rotation,
        nose_mm=fit.nose_mm,
        fit_share=fit.fit_share,
        residual_mm=fit.residual_mm,
        relief_match=relief_match(points, fit),
    )


def _turned_back(pose: PoseHypothesis, turn: Float[np.ndarray, "3 3"]) -> PoseHypothesis:
    """A pose found in turned points, in the points' own axes."""
    return replace(pose, rotation=pose.rotation @ turn, nose_mm=turn.T.astype(np.float64) @ pose.nose_mm)


def _best_fit(points: Vertices, guesses: Float32[np.ndarray, "guess 3"] | None) -> PoseHypothesis:
    """The registration to the mean face from the best of the nose-tip candidates."""
    if guesses is None:
        guesses = nose_candidates(points, count=_MANY_NOSES)
    if len(guesses) == 0:
        guesses = points[[np.argmax(points[:, 2])]]
    few = points[:: max(1, len(points) // 1500)]
    fits = _short_fits(few, guesses[:_FEW_NOSES])
    first = _likeliest(fits)
    pose = _hypothesis(points, register(points, guesses[first]))
    if len(guesses) > _FEW_NOSES and pose.relief_match < _CONFIDENT_RELIEF:
        # A turned head, a hand or hair: the nose may be among the less prominent candidates.
        second = _likeliest([*fits, *_short_fits(few, guesses[_FEW_NOSES:])])
        if second != first:
            pose = _hypothesis(points, register(points, guesses[second]))
    return pose


def _short_fits(points: Vertices, guesses: Float32[np.ndarray, "guess 3"]) -> list[RigidFit]:
    return [register(points, guess, iterations=6) for guess in guesses]


def _likeliest(fits: Sequence[RigidFit]) -> int:
    """The short registration that covers most of the mean face."""
    return max(range(len(fits)), key=lambda k: fits[k].fit_share - 0.02 * min(fits[k].residual_mm, 25.0))


def is_confident(points: Vertices, pose: PoseHypothesis) -> bool:
    """Whether a pose is clearly a face, and as large as faces are, so that nothing else need be tried."""
    return pose.relief_match >= _CONFIDENT_RELIEF and is_likely(points, pose)


def is_likely(points: Vertices, pose: PoseHypothesis) -> bool:
    """Whether a pose is a face that a search in other poses and sizes would hardly replace."""
    if not pose.is_plain:
        return False
    few = points[:: max(1, len(points) // 1500)]
    fit = register_similarity(few, pose.rotation, pose.nose_mm, 1.0, iterations=6, scale_pull=SCALE_PULL)
    return _LIKELY_SCALES[0] <= fit.mm_per_unit <= _LIKELY_SCALES[1]


def hypothesis_from(
    candidate: PoseCandidate, rescaled: float, rival_score: float, *, is_rescaled: bool
) -> PoseHypothesis:
    """A candidate in a scan that was made `rescaled` times larger since; it is to be `refined`."""
    return PoseHypothesis(
        rotation=candidate.fit.rotation,
        nose_mm=candidate.fit.nose * rescaled,
        fit_share=candidate.fit.fit_share,
        residual_mm=math.inf,
        relief_match=candidate.relief_match,
        rival_score=rival_score,
        free_scale_score=candidate.score,
        is_searched=True,
        is_rescaled=is_rescaled,
    )


def refined(points: Vertices, pose: PoseHypothesis) -> PoseHypothesis:
    """A pose registered again at full cost, rigidly, to the points visible from the front alone."""
    visible = visible_points(points, pose.rotation, pose.nose_mm, 1.0)
    if len(visible) == 0:
        return replace(pose, fit_share=0.0)
    turn = pose.rotation.astype(np.float32)
    turned = visible @ turn.T
    fit = register(turned, turn @ pose.nose_mm.astype(np.float32))
    found = _turned_back(_hypothesis(turned, fit), pose.rotation)
    return replace(
        pose,
        rotation=found.rotation,
        nose_mm=found.nose_mm,
        fit_share=found.fit_share,
        residual_mm=found.residual_mm,
        relief_match=found.relief_match,
    )


def confirmed(pose: PoseHypothesis, again: PoseHypothesis) -> PoseHypothesis:
    """The same pose, with its score when registered again to evenly spread points, if it holds there."""
    same = turn_between_deg(pose.rotation, again.rotation) < 10
    return replace(pose, free_scale_score=again.score) if same else pose


def is_better(one: PoseHypothesis, other: PoseHypothesis) -> bool:
    """Whether a later hypothesis should replace an earlier one."""
    return one.score > other.score + _BETTER


def with_rival(pose: PoseHypothesis, found: PoseHypothesis) -> PoseHypothesis:
    """A hypothesis that was kept though another was found: that one is its rival if its pose differs."""
    elsewhere = turn_between_deg(pose.rotation, found.rotation) > _OTHER_TURN_DEG
    return replace(pose, rival_score=found.score if elsewhere else found.rival_score)


def has_better_rival(points: Vertices, pose: PoseHypothesis) -> bool:
    """Whether the scan has a far better face in another pose at the same size, as where it is upside down."""
    candidates = search(points, [1.0])
    if not candidates or turn_between_deg(pose.rotation, candidates[0].fit.rotation) <= _OTHER_TURN_DEG:
        return False
    return candidates[0].score > max(pose.score, pose.free_scale_score) + _FAR_BETTER


def search_front(points: Vertices, front: Float[np.ndarray, "3 3"], *, unit_is_known: bool) -> list[PoseCandidate]:
    """The likeliest faces that look along +z within about 45 degrees after the turn `front`.

    At the scan's own size and, where that gives no face of natural size and the unit is a guess, at the next one to
    which the best candidate tends.
    """
    candidates = search(points, [1.0], front=front)
    if unit_is_known or not candidates or _is_confident_candidate(candidates[0], rival_score(candidates)):
        return candidates
    scale = _NEXT_SCALE if candidates[0].fit.mm_per_unit > 1 else 1 / _NEXT_SCALE
    return distinct([*candidates, *search(points, [scale], front=front)])


def agrees(pose: PoseHypothesis, candidates: Sequence[PoseCandidate]) -> bool:
    """Whether the best candidate of a search is this very pose."""
    if not candidates:
        return False
    fit = candidates[0].fit
    is_same_place = float(np.linalg.norm(fit.nose - pose.nose_mm)) < _SAME_MM
    return is_same_place and turn_between_deg(fit.rotation, pose.rotation) < _SAME_DEG


def is_agreed(pose: PoseHypothesis, candidates: Sequence[PoseCandidate]) -> bool:
    """Whether a doubtful pose was found a second time, which makes it the scan's face."""
    is_doubtful = pose.relief_match >= _AGREED_RELIEF and pose.confidence >= _AGREED_CONFIDENCE
    return is_doubtful and agrees(pose, candidates)


def is_clear(candidates: Sequence[PoseCandidate]) -> bool:
    """Whether the best candidate of a search near the front is so clearly a face that no other pose need be tried."""
    if not candidates:
        return False
    scale = candidates[0].fit.mm_per_unit
    is_rescaled = not METRIC_SCALES[0] <= scale <= METRIC_SCALES[1]
    pose = hypothesis_from(candidates[0], 1.0, rival_score(candidates), is_rescaled=is_rescaled)
    is_possible = _CLEAR_SCALES[0] <= scale <= _CLEAR_SCALES[1] and pose.relief_match >= _LIKELY_RELIEF
    return is_possible and pose.confidence >= _CLEAR_FRONT


def search_any_pose(points: Vertices, extent_mm: float, *, unit_is_known: bool) -> tuple[PoseCandidate | None, float]:
    """The likeliest face in any pose and, where the unit is a guess, at any size; and the next best one's score.

    The points are spread evenly over the surface, in millimetres if the unit was guessed right; `extent_mm` is the
    scan's largest extent.
    """
    candidates = search(points, [1.0])
    if not (unit_is_known or (candidates and _is_confident_candidate(candidates[0], rival_score(candidates)))):
        scales = [largest / extent_mm for largest in _LARGEST_FACES_MM]
        others = search(points, [scale for scale in scales if abs(math.log(scale)) > 0.14])
        candidates = distinct([*candidates, *others])
    return (candidates[0], rival_score(candidates)) if candidates else (None, 0.0)


def rival_score(candidates: Sequence[PoseCandidate]) -> float:
    """The second best candidate's score; zero where there is none."""
    return candidates[1].score if len(candidates) > 1 else 0.0


def _is_confident_candidate(candidate: PoseCandidate, rival_score: float) -> bool:
    """Whether a candidate is a face of natural size for which no other size need be tried."""
    pose = hypothesis_from(candidate, 1.0, rival_score, is_rescaled=False)
    is_natural = _LIKELY_SCALES[0] <= candidate.fit.mm_per_unit <= _LIKELY_SCALES[1]
    return is_natural and pose.is_face and pose.relief_match >= _CONFIDENT_RELIEF


def likely_factor(mm_per_unit: float) -> float:
    """The power of ten near a fitted factor, if that leaves the face a natural size; else the factor."""
    power = 10.0 ** round(math.log10(mm_per_unit))
    return power if METRIC_SCALES[0] <= mm_per_unit / power <= METRIC_SCALES[1] else mm_per_unit
