"""How well similarities of faces and sentences follow what the faces do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from smilevlm.evaluation.resampled import (
    People,
    Score,
    area_under_curve,
    balanced,
    mean_of,
    of_rows,
    ordered_pairs,
    share_of,
)
from smilevlm.labels import GAZE, LEAST_INTENSITY, PRESENT_INTENSITY, side_of
from smilevlm.prompts import LanguageStatements, UnseenClass
from smilevlm.results import Estimate, FirstPlace, IntensityOrder, Opposites, Recall, Retrieval, TellingApart
from smilevlm.store import Sample

PRESENT_FROM = 0.3
"""An action this strong is there."""
_CLEAR_FROM, _OTHERS_BELOW = 0.5, 0.25
_FOLLOWS = {"AU26": ("AU25", "AU27"), "AU27": ("AU25", "AU26"), "AU10": ("AU25",), "AU16": ("AU25",)}
"""What an action brings about itself is no second action of a face."""
_LEAST_FACES = 5
"""On either side of a comparison; fewer say nothing."""
_LEAST_DIFFERENCE = 0.2
_FIRST = (1, 5, 10)
_MOST_MENTIONED = 3


@dataclass(frozen=True, kw_only=True)
class ComparedFaces:
    """Faces whose actions are recorded, and how similar a model finds them to sentences.

    Args:
        samples: The faces.
        texts: Column of `similarity` of each sentence.
        similarity: Cosines.
        people: Whose faces they are.
    """

    samples: tuple[Sample, ...]
    texts: Mapping[str, int]
    similarity: Float[np.ndarray, "sample text"]
    people: People

    def to(self, *texts: str) -> Float[np.ndarray, " sample"]:
        """Mean similarity to some sentences."""
        return self.similarity[:, [self.texts[text] for text in texts]].mean(axis=1)

    def strength(self, code: str) -> Float[np.ndarray, " sample"]:
        """Intensity of an action on its stronger side; NaN where it was not judged."""
        return self._strengths.get(code, self._nowhere(code))

    @cached_property
    def _strengths(self) -> Mapping[str, Float[np.ndarray, " sample"]]:
        codes = dict.fromkeys(code for sample in self.samples for code in sample.actions or {})
        found = {code: self._nowhere(code) for code in codes}
        for row, sample in enumerate(self.samples):
            for code, sides in (sample.actions or {}).items():
                found[code][row] = max(sides)
        return found

    def _nowhere(self, code: str) -> Float[np.ndarray, " sample"]:
        return np.array([np.nan if code in sample.unjudged_actions else 0.0 for sample in self.samples])

    def estimate(self, score: Score) -> Estimate | None:
        return self.people.estimate(score)


def tell_statements_apart(
    faces: ComparedFaces, statements: LanguageStatements
) -> tuple[tuple[TellingApart, ...], Estimate | None, Estimate | None]:
    """Per action, faces that have it against faces that lack it; the mean area of all actions, and without the gaze."""
    rows, scores = _statement_areas(faces, statements, tuple(statements.actions), np.ones(len(faces.samples), bool))
    shown = [score for row, score in zip(rows, scores, strict=True) if row.name not in GAZE]
    return tuple(rows), _mean(faces, scores), _mean(faces, shown)


def _mean(faces: ComparedFaces, scores: Sequence[Score]) -> Estimate | None:
    return faces.estimate(mean_of(scores)) if scores else None


def tell_classes_apart(faces: ComparedFaces, classes: Mapping[str, UnseenClass]) -> tuple[TellingApart, ...]:
    """Faces of classes that training never named against all others, by descriptions."""
    rows: list[TellingApart] = []
    for name, rule in classes.items():
        needed = {code for codes in (*rule.all_of, rule.none_of) for code in codes}
        judged = np.array([not needed & set(sample.unjudged_actions) for sample in faces.samples])
        fits = [
            np.array([rule.fits(sample.actions or {}, least=least) for sample in faces.samples])
            for least in (PRESENT_INTENSITY, PRESENT_FROM)
        ]
        # A face that has the actions weakly is neither.
        _add_row(faces, name, faces.to(*rule.descriptions), fits[0] & judged, ~fits[0] & ~fits[1] & judged, rows, [])
    return tuple(rows)


def _add_row(
    faces: ComparedFaces,
    name: str,
    values: Float[np.ndarray, " sample"],
    present: Bool[np.ndarray, " sample"],
    absent: Bool[np.ndarray, " sample"],
    rows: list[TellingApart],
    scores: list[Score],
) -> None:
    """Add what is told apart, where enough faces are on both sides."""
    num_present, num_absent = int(present.sum()), int(absent.sum())
    if min(num_present, num_absent) < _LEAST_FACES:
        return
    score = area_under_curve(values, present, absent)
    area = faces.estimate(score)
    assert area is not None
    rows.append(TellingApart(name=name, num_present=num_present, num_absent=num_absent, area=area))
    scores.append(score)


def first_places(faces: ComparedFaces, statements: LanguageStatements) -> tuple[FirstPlace, ...]:
    """Among faces of one clear action, how often its statement is nearest of all, and the mean area of all."""
    found = []
    is_clear = np.array([_is_clear(sample) for sample in faces.samples])
    for codes in statements.choices.values():
        strength = np.nan_to_num(np.stack([faces.strength(code) for code in codes], axis=1))
        best = np.stack([faces.to(statements.actions[code][0]) for code in codes], axis=1).argmax(axis=1)
        clear = is_clear & (strength.max(axis=1) >= _CLEAR_FROM)
        hits = best == strength.argmax(axis=1)
        if share := faces.estimate(share_of(hits.astype(np.float64), clear)):
            area = _mean(faces, _statement_areas(faces, statements, codes, clear)[1])
            found.append(FirstPlace(num_statements=len(codes), num_faces=int(clear.sum()), share=share, area=area))
    return tuple(found)


def _statement_areas(
    faces: ComparedFaces, statements: LanguageStatements, codes: Sequence[str], among: Bool[np.ndarray, " sample"]
) -> tuple[list[TellingApart], list[Score]]:
    """Of each action that enough of some faces have and lack."""
    rows: list[TellingApart] = []
    scores: list[Score] = []
    for code in codes:
        strength, values = faces.strength(code), faces.to(*statements.actions[code])
        present, absent = (strength >= PRESENT_FROM) & among, (strength < LEAST_INTENSITY) & among
        _add_row(faces, code, values, present, absent, rows, scores)
    return rows, scores


def _is_clear(sample: Sample) -> bool:
    """Whether a face has one action and next to nothing else."""
    strength = {code: max(sides) for code, sides in (sample.actions or {}).items()}
    if not strength:
        return False
    strongest = max(strength, key=lambda code: (strength[code], code in _FOLLOWS))
    if strongest in ("AU25", "AU27") and "AU26" in strength:
        strongest = "AU26"
    others = [value for code, value in strength.items() if code not in (strongest, *_FOLLOWS.get(strongest, ()))]
    return strength[strongest] >= _CLEAR_FROM and max(others, default=0.0) < _OTHERS_BELOW


def retrieve(faces: ComparedFaces, captions: Mapping[int, str]) -> tuple[Retrieval, ...]:
    """Find scans by their captions, and captions by their scans; equal similarities share their places.

    Args:
        faces: The faces.
        captions: Of each row that takes part.
    """
    rows = np.array(list(captions))
    if len(rows) < _LEAST_FACES:
        return ()
    square = faces.similarity[rows][:, [faces.texts[text] for text in captions.values()]].astype(np.float64)
    directions: tuple[tuple[Literal["text_to_scan", "scan_to_text"], np.ndarray], ...] = (
        ("text_to_scan", square.T),
        ("scan_to_text", square),
    )
    found = []
    for direction, values in directions:
        own = np.diag(values)[:, None]
        before = (values > own).sum(axis=1) + ((values == own).sum(axis=1) - 1) / 2
        recalls = []
        for number in _FIRST:
            share = faces.estimate(
                of_rows(share_of((before < number).astype(np.float64), np.ones(len(rows), bool)), rows)
            )
            assert share is not None
            recalls.append(Recall(num_first=number, share=share))
        found.append(Retrieval(direction=direction, num_scans=len(rows), recalls=tuple(recalls)))
    return tuple(found)


def tell_opposites_apart(
    faces: ComparedFaces, statements: LanguageStatements
) -> tuple[tuple[Opposites, ...], Estimate | None]:
    """Which of two contrary sentences is nearer, and the mean accuracy over all such pairs."""
    rows, scores = [], []
    for pair in statements.opposites:
        strength = faces.strength(pair.action)
        if pair.opposite_action is None:
            first, second = strength >= PRESENT_FROM, strength < LEAST_INTENSITY
        else:
            other = faces.strength(pair.opposite_action)
            first = (strength >= PRESENT_FROM) & (other < LEAST_INTENSITY)
            second = (other >= PRESENT_FROM) & (strength < LEAST_INTENSITY)
        if min(first.sum(), second.sum()) < _LEAST_FACES:
            continue
        nearer = (np.sign(faces.to(pair.text) - faces.to(pair.opposite)) + 1) / 2
        score = balanced(share_of(nearer, first), share_of(1 - nearer, second))
        accuracy = faces.estimate(score)
        assert accuracy is not None
        scores.append(score)
        rows.append(
            Opposites(
                text=pair.text,
                opposite=pair.opposite,
                num_text=int(first.sum()),
                num_opposite=int(second.sum()),
                accuracy=accuracy,
            )
        )
    return tuple(rows), _mean(faces, scores)


def order_intensities(
    faces: ComparedFaces, statements: LanguageStatements
) -> tuple[tuple[IntensityOrder, ...], Estimate | None]:
    """Whether strong words fit strong actions better than slight words do, and the mean over actions."""
    rows, scores = [], []
    for code, (slight, _, strong) in statements.intensity.items():
        strength = faces.strength(code)
        shown = np.flatnonzero(strength >= LEAST_INTENSITY)
        levels, values = strength[shown], (faces.to(strong) - faces.to(slight))[shown]
        if len(shown) < _LEAST_FACES or np.ptp(levels) < _LEAST_DIFFERENCE or np.ptp(values) == 0:
            continue
        score = of_rows(ordered_pairs(values, levels, least_difference=_LEAST_DIFFERENCE), shown)
        accuracy = faces.estimate(score)
        assert accuracy is not None
        scores.append(score)
        rank = float(np.corrcoef(rankdata(levels), rankdata(values))[0, 1])
        rows.append(IntensityOrder(action=code, num_faces=len(shown), spearman=rank, pair_accuracy=accuracy))
    return tuple(rows), _mean(faces, scores)


def retrieval_captions(
    samples: Sequence[Sample], statements: LanguageStatements, *, num_scans: int, seed: int
) -> dict[int, str]:
    """Captions in held-out wordings for scans drawn at random, no two alike.

    A caption names up to three actions, the strongest first, each in one of its wordings and with its side.

    Returns:
        Row of the sample to its caption; fewer than asked for where there are not so many different ones.
    """
    generator = np.random.default_rng([seed, 3])
    found: dict[int, str] = {}
    taken: set[str] = set()
    for row in generator.permutation(len(samples)).tolist():
        text = _caption(samples[row], statements, generator)
        if text and text not in taken and len(found) < num_scans:
            found[row] = text
            taken.add(text)
    return found


def _caption(sample: Sample, statements: LanguageStatements, generator: np.random.Generator) -> str:
    shown = {code: sides for code, sides in (sample.actions or {}).items() if max(sides) >= PRESENT_FROM}
    pieces = []
    for code in sorted(shown, key=lambda code: -max(shown[code]))[:_MOST_MENTIONED]:
        side = side_of(*shown[code])
        if side != "both" and code in statements.one_sided:
            pieces.append(statements.one_sided[code][side == "right"])
        elif texts := statements.actions.get(code):
            pieces.append(texts[int(generator.integers(len(texts)))])
    return ", ".join(pieces)
