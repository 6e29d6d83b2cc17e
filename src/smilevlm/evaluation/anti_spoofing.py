"""Anti-spoofing (presentation attack detection): a linear classifier on the tower's frozen features."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from smilevlm.datasets import check_shared_subjects
from smilevlm.errors import MeshError, SettingsError
from smilevlm.evaluation.probes import side_by_side
from smilevlm.evaluation.verification import equal_error_rate, equal_error_threshold, roc_curve, roc_points
from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.results import AntiSpoofingResult, AttackResult
from smilevlm.store import PrepareSettings
from smilevlm.synthesis.spoofs import (
    ATTACKS,
    BONA_FIDE,
    SpoofSettings,
    attack_generator,
    crop_at_nose,
    locate_face,
    make_attack,
)
from smilevlm.typing import ViewImages
from smilevlm.views import ViewSettings, render_normalised

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_HELD_BACK = 11
"""Keeps the draw of the threshold's subjects apart from other draws with the same seed."""
THRESHOLD_FROM = "equal error rate over a third of the training subjects, who are held back from fitting"


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """One thing shown to the scanner.

    Attributes:
        kind: `bona_fide`, or a kind of attack.
        subject: Whose face it shows.
        refused: Whether preparation finds no face in it.
        images: Its views by their kind.
    """

    kind: str
    subject: str
    refused: bool
    images: Mapping[str, ViewImages]


@dataclass(frozen=True, kw_only=True)
class PresentedFeatures:
    """The tower's features of presentations, with the kind and subject of each."""

    features: Float[np.ndarray, "sample view feature"]
    kinds: tuple[str, ...]
    subjects: tuple[str, ...]

    def of(self, subjects: Collection[str], kinds: Collection[str]) -> tuple[np.ndarray, Bool[np.ndarray, " n"]]:
        """Rows for the classifier, and which of them are bona fide."""
        rows = [
            i for i, (s, k) in enumerate(zip(self.subjects, self.kinds, strict=True)) if s in subjects and k in kinds
        ]
        return side_by_side(self.features[rows]), np.array([self.kinds[i] == BONA_FIDE for i in rows])


def presentations(
    scan: Mesh,
    *,
    subject: str,
    name: str,
    prepare: PrepareSettings,
    view_kinds: Sequence[str],
    settings: SpoofSettings,
) -> Iterator[Presentation]:
    """A scan itself and every kind of attack on it, as views.

    All are placed by the nose tip and keep the pose in which they were scanned. Their relief is not checked, or there
    would be no images of sheets at all; `refused` records whether preparation would refuse them.

    Args:
        scan: Textured.
        subject: Whose face it is.
        name: Of the scan.
        prepare: How the run's views were made.
        view_kinds: Kinds of views wanted instead of the run's own.
        settings: How attacks are made.

    Raises:
        MeshError: The scan shows no face, or has no texture.
    """
    face = locate_face(scan, prepare.normalise)
    yield Presentation(
        kind=BONA_FIDE,
        subject=subject,
        refused=is_refused(scan, prepare.normalise),
        images=_views(crop_at_nose(face.scan, face.mm_per_unit, prepare.normalise), prepare.views, view_kinds),
    )
    for kind in ATTACKS:
        attack = make_attack(kind, face, attack_generator(settings.seed, subject, name, kind), settings)
        yield Presentation(
            kind=kind,
            subject=subject,
            refused=is_refused(attack, prepare.normalise),
            images=_views(crop_at_nose(attack, 1.0, prepare.normalise), prepare.views, view_kinds),
        )


def is_refused(scan: Mesh, settings: NormaliseSettings) -> bool:
    """Whether preparation, which knows no landmarks, finds no face in a scan."""
    try:
        normalise(replace(scan, landmarks={}), settings)
    except MeshError:
        return True
    return False


def _views(mesh: Mesh, settings: ViewSettings, kinds: Sequence[str]) -> dict[str, ViewImages]:
    return {kind: render_normalised(mesh, replace(settings, kind=kind)) for kind in kinds}


def anti_spoofing_result(
    *,
    views: str,
    train: PresentedFeatures,
    test: PresentedFeatures,
    refused: Mapping[str, tuple[int, int]],
    seed: int,
) -> AntiSpoofingResult:
    """Fit on training subjects, score test subjects; once with every kind of attack known, once with each left out.

    Args:
        views: Kind of the views.
        train: Presentations of the fold's training subjects.
        test: Of its test subjects.
        refused: Kind to (presentations that preparation refuses, presentations).
        seed: Of the draw of the subjects that the threshold is chosen on.

    Raises:
        LeakError: A subject is on both sides.
    """
    check_shared_subjects(train=train.subjects, test=test.subjects)
    kinds = sorted(set(train.kinds) - {BONA_FIDE})
    if len(kinds) < 2 or any({BONA_FIDE, *kinds} != set(side.kinds) for side in (train, test)):
        raise SettingsError("both sides need bona fide presentations and the same kinds of attacks, at least two")
    fitted_on, held_back = _split(sorted(set(train.subjects)), seed)
    attacks: list[AttackResult] = []
    for left_out in (None, *kinds):
        known = {BONA_FIDE, *kinds} - {left_out}
        classifier = _fit(*train.of(fitted_on, known))
        threshold = equal_error_threshold(roc_curve(*_scores(classifier, *train.of(held_back, known))))
        for kind in kinds if left_out is None else [left_out]:
            scores = _scores(classifier, *test.of(set(test.subjects), {BONA_FIDE, kind}))
            attacks.append(_attack_result(kind, *scores, threshold, known=left_out is None))
    return AntiSpoofingResult(
        views=views,
        features="tower",
        num_train_subjects=len(fitted_on) + len(held_back),
        num_test_subjects=len(set(test.subjects)),
        threshold_from=THRESHOLD_FROM,
        refused=dict(refused),
        attacks=tuple(attacks),
    )


def _split(subjects: Sequence[str], seed: int) -> tuple[frozenset[str], frozenset[str]]:
    """The subjects to fit on, and a third, at least one, to choose the threshold on."""
    if len(subjects) < 2:
        raise SettingsError(
            f"anti-spoofing needs two training subjects, one for the threshold; there are {len(subjects)}"
        )
    count = max(1, round(len(subjects) / 3))
    drawn = np.random.default_rng([seed, _HELD_BACK]).permutation(len(subjects))[:count]
    held_back = frozenset(subjects[int(i)] for i in drawn)
    return frozenset(subjects) - held_back, held_back


def _fit(rows: Float[np.ndarray, "n column"], is_bona_fide: Bool[np.ndarray, " n"]) -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    # Attacks are several times as many; balanced weights keep them from moving the threshold.
    classifier = LogisticRegression(class_weight="balanced", max_iter=5000)
    # How sums are split over threads changes their last bits.
    with threadpool_limits(1):
        return make_pipeline(StandardScaler(), classifier).fit(rows, is_bona_fide)


def _scores(
    classifier: Pipeline, rows: Float[np.ndarray, "n column"], is_bona_fide: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " bona_fide"], Float[np.ndarray, " attack"]]:
    """Scores of bona fide presentations and of attacks; higher is more likely a face."""
    scores = np.asarray(classifier.decision_function(rows), dtype=np.float64)
    return scores[is_bona_fide], scores[~is_bona_fide]


def _attack_result(
    kind: str,
    bona_fide: Float[np.ndarray, " bona_fide"],
    attack: Float[np.ndarray, " attack"],
    threshold: float,
    *,
    known: bool,
) -> AttackResult:
    apcer, bpcer = error_rates(bona_fide, attack, threshold)
    roc = roc_curve(bona_fide, attack)
    return AttackResult(
        name=kind,
        known=known,
        num_attacks=len(attack),
        num_bona_fide=len(bona_fide),
        apcer=apcer,
        bpcer=bpcer,
        acer=(apcer + bpcer) / 2,
        equal_error_rate=equal_error_rate(roc),
        roc=roc_points(roc),
    )


def error_rates(
    bona_fide: Float[np.ndarray, " bona_fide"], attack: Float[np.ndarray, " attack"], threshold: float
) -> tuple[float, float]:
    """APCER: share of attacks at or above the threshold. BPCER: share of bona fide presentations below it.

    Source: ISO/IEC 30107-3, for one kind of attack at a time.
    """
    return float((attack >= threshold).mean()), float((bona_fide < threshold).mean())
