"""Face verification and identification of unseen people with the embeddings of an expression model.

Verification: equal error rate, and true accept rate at a false accept rate. Identification: rank-1 and rank-k rates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from smilevlm.datasets import check_shared_subjects
from smilevlm.errors import SettingsError
from smilevlm.evaluation.metrics import subject_bootstrap_interval
from smilevlm.evaluation.probes import side_by_side
from smilevlm.evaluation.verification import (
    area_under_curve,
    equal_error_rate,
    equal_error_rate_interval,
    probe_ranks,
    rank_rates,
    roc_curve,
    roc_points,
    true_accept_rate_at,
)
from smilevlm.labels import NEUTRAL
from smilevlm.models import Embedded, unit_rows
from smilevlm.results import Features, IdentificationResult, TrueAcceptRate, VerificationResult
from smilevlm.store import Sample

FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001)
MAX_RANK = 10


@dataclass(frozen=True, kw_only=True)
class IdentityResults:
    """Verification and identification of one fold's test subjects, and what could not be computed."""

    verification: tuple[VerificationResult, ...] = ()
    identification: tuple[IdentificationResult, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Space:
    """Unit embeddings to compare by their cosine.

    Attributes:
        whole: All views of a sample together.
        views: Each view alone; None where it has no meaning.
    """

    name: Features
    whole: Float[np.ndarray, "sample dim"]
    views: Float[np.ndarray, "sample view dim_of_view"] | None = None


@dataclass(frozen=True, kw_only=True)
class _People:
    """The subjects of the test samples.

    Attributes:
        names: The test subjects, sorted.
        subject: Index of each sample's subject.
        recording: Number of the scan or sequence behind each sample; windows share one.
        expression: Of each sample.
        reference: Index of each subject's gallery sample.
        others: Samples that are compared with the references.
        all_neutral: Whether every reference is a neutral sample.
    """

    names: tuple[str, ...]
    subject: Int[np.ndarray, " sample"]
    recording: Int[np.ndarray, " sample"]
    expression: tuple[str, ...]
    reference: Int[np.ndarray, " subject"]
    others: Int[np.ndarray, " other"]
    all_neutral: bool


def identity_results(
    *,
    test: Embedded,
    test_samples: Sequence[Sample],
    train_features: Float[np.ndarray, "train view feature"],
    train_samples: Sequence[Sample],
    known_subjects: Sequence[str],
    view_angles_deg: Sequence[float],
    seed: int,
) -> IdentityResults:
    """Compare the test subjects with each other.

    Args:
        test: Embeddings of all scans of the fold's test subjects.
        test_samples: Their records.
        train_features: The tower's features of the fold's training subjects; the discriminant is fitted on them alone.
        train_samples: Their records.
        known_subjects: Everyone that the model was trained or chosen on.
        view_angles_deg: One per view.
        seed: Of the bootstrap.

    Raises:
        LeakError: A test subject is among the known ones or the training samples'. Nothing is compared.
    """
    check_shared_subjects(
        train=[*known_subjects, *(s.subject for s in train_samples)], test=[s.subject for s in test_samples]
    )
    _check_sizes(test, test_samples, train_features, train_samples, view_angles_deg)
    if len({sample.subject for sample in test_samples}) < 2:
        return IdentityResults(notes=("Verification and identification need two test subjects; the fold has one.",))
    people, notes = _people(test_samples)
    spaces = [_tower(test.features)]
    discriminant = fit_discriminants(train_features, [sample.subject for sample in train_samples])
    if discriminant is None:
        notes.append("tower_lda was left out: it needs two training subjects with two samples each.")
    else:
        spaces.append(discriminant(test.features))
    spaces.append(_Space(name="fused", whole=_unit(test.z_fused)))
    verification = [result for space in spaces for result in _verify(space, people, view_angles_deg, seed)]
    if not verification:
        notes.append("Verification was left out: no test subject has two recordings.")
    identification = [result for space in spaces for result in _identify(space, people, seed)]
    return IdentityResults(verification=tuple(verification), identification=tuple(identification), notes=tuple(notes))


def fit_discriminants(
    features: Float[np.ndarray, "sample view feature"], subjects: Sequence[str]
) -> Callable[[Float[np.ndarray, "other view feature"]], _Space] | None:
    """Fit linear discriminants of subjects on standardised features, with Ledoit-Wolf shrinkage.

    There are two: one takes a sample's views side by side, the other each view as a sample of its own, so that any two
    views can be compared in one space.

    Args:
        features: Of training subjects alone.
        subjects: Subject of each sample.

    Returns:
        A function from other people's features to the two spaces; None without two subjects of two samples each.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    names, index, counts = np.unique(np.asarray(subjects, dtype=str), return_inverse=True, return_counts=True)
    # The scatter within a person is unknown from a single sample.
    usable = counts[index] >= 2 if len(names) else np.zeros(0, bool)
    if (counts >= 2).sum() < 2:
        return None
    both = []
    for rows, labels in (
        (side_by_side(features[usable]), index[usable]),
        (_unit(features[usable]).reshape(-1, features.shape[2]), np.repeat(index[usable], features.shape[1])),
    ):
        discriminant = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
        # How sums are split over threads changes their last bits.
        with threadpool_limits(1):
            both.append(make_pipeline(StandardScaler(), discriminant).fit(rows, labels))

    def apply(others: Float[np.ndarray, "other view feature"]) -> _Space:
        samples, views, _ = others.shape
        by_view = both[1].transform(_unit(others).reshape(samples * views, -1))
        return _Space(
            name="tower_lda",
            whole=_unit(both[0].transform(side_by_side(others))),
            views=_unit(by_view).reshape(samples, views, -1),
        )

    return apply


def _tower(features: np.ndarray) -> _Space:
    return _Space(name="tower", whole=_unit(side_by_side(features)), views=_unit(features))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return unit_rows(vectors.reshape(-1, vectors.shape[-1]), "image").reshape(vectors.shape)


def _people(samples: Sequence[Sample]) -> tuple[_People, list[str]]:
    """Subjects and their gallery samples: the first neutral one by name, else the first of any."""
    names, subject = np.unique([sample.subject for sample in samples], return_inverse=True)
    _, recording = np.unique([sample.recording or sample.sample_id for sample in samples], return_inverse=True)
    reference, without = [], 0
    for number in range(len(names)):
        mine = sorted(np.flatnonzero(subject == number).tolist(), key=lambda i: samples[i].sample_id)
        neutral = [i for i in mine if samples[i].expression == NEUTRAL]
        without += not neutral
        reference.append((neutral or mine)[0])
    gallery = set(reference)
    others = [
        i for i, s in enumerate(samples) if i not in gallery and (without == len(names) or s.expression != NEUTRAL)
    ]
    notes = []
    if without:
        notes.append(
            f"{without} of {len(names)} test subjects have no neutral sample; the first by name stands in the gallery."
        )
    return _People(
        names=tuple(names.tolist()),
        subject=subject,
        recording=recording,
        expression=tuple(sample.expression for sample in samples),
        reference=np.array(reference),
        others=np.array(others, dtype=np.int64),
        all_neutral=not without,
    ), notes


def _verify(
    space: _Space, people: _People, view_angles_deg: Sequence[float], seed: int
) -> Iterator[VerificationResult]:
    """Every comparison that has genuine and impostor pairs."""
    everyone = np.arange(len(people.subject))
    cosines = space.whole @ space.whole.T
    across = np.repeat(people.reference, len(people.others)), np.tile(people.others, len(people.reference))
    compared = [
        ("neutral with expressions" if people.all_neutral else "one of each person with others", cosines, across),
        ("all pairs", cosines, np.triu_indices(len(everyone), 1)),
    ]
    if space.views is not None:
        ordered = np.repeat(everyone, len(everyone)), np.tile(everyone, len(everyone))
        for first, one in enumerate(view_angles_deg):
            for second in range(first, len(view_angles_deg)):
                pairs = ordered if first != second else np.triu_indices(len(everyone), 1)
                name = f"view {_angle(one)} with view {_angle(view_angles_deg[second])}"
                compared.append((name, space.views[:, first] @ space.views[:, second].T, pairs))
    for name, matrix, (left, right) in compared:
        result = _verification(name, space.name, matrix, left, right, people, seed)
        if result is not None:
            yield result


def _angle(degrees: float) -> str:
    return f"{degrees:+g}" if degrees else "0"


def _verification(
    name: str,
    features: Features,
    cosines: Float[np.ndarray, "sample sample"],
    left: Int[np.ndarray, " pair"],
    right: Int[np.ndarray, " pair"],
    people: _People,
    seed: int,
) -> VerificationResult | None:
    # Windows of one recording share frames: they are no evidence that a person is recognised.
    apart = people.recording[left] != people.recording[right]
    left, right = left[apart], right[apart]
    same: Bool[np.ndarray, " pair"] = people.subject[left] == people.subject[right]
    if not same.any() or same.all():
        return None
    scores = cosines[left, right]
    roc = roc_curve(scores[same], scores[~same])
    interval = equal_error_rate_interval(
        genuine=scores[same],
        genuine_subject=people.subject[left[same]],
        impostor=scores[~same],
        impostor_subjects=np.stack([people.subject[left[~same]], people.subject[right[~same]]], axis=1),
        num_subjects=len(people.names),
        seed=seed,
    )
    return VerificationResult(
        name=name,
        features=features,
        num_subjects=len(people.names),
        num_genuine=roc.num_genuine,
        num_impostor=roc.num_impostor,
        area_under_curve=area_under_curve(roc),
        equal_error_rate=equal_error_rate(roc),
        equal_error_rate_interval=interval,
        true_accept_rates=tuple(
            TrueAcceptRate(false_accept_rate=rate, true_accept_rate=true_accept_rate_at(roc, rate))
            for rate in FALSE_ACCEPT_RATES
        ),
        roc=roc_points(roc),
    )


def _identify(space: _Space, people: _People, seed: int) -> Iterator[IdentificationResult]:
    gallery = set(people.reference.tolist())
    own = people.recording[people.reference][people.subject]
    probes = np.array(
        [i for i in range(len(people.subject)) if i not in gallery and people.recording[i] != own[i]], dtype=np.int64
    )
    if len(probes) == 0:
        return
    scores = space.whole[probes] @ space.whole[people.reference].T
    truth = people.subject[probes]
    hits = probe_ranks(scores, truth) == 1
    shown = np.array([people.expression[i] for i in probes])
    yield IdentificationResult(
        name="others against one neutral each" if people.all_neutral else "others against one of each person",
        features=space.name,
        num_gallery=len(people.reference),
        num_probes=len(probes),
        rank_rates=tuple(rank_rates(scores, truth, max_rank=MAX_RANK).tolist()),
        rank1_interval=subject_bootstrap_interval(hits, [people.names[i] for i in truth], seed=seed),
        rank1_by_expression={
            name: (int(hits[shown == name].sum()), int((shown == name).sum())) for name in sorted(set(shown.tolist()))
        },
    )


def _check_sizes(
    test: Embedded,
    test_samples: Sequence[Sample],
    train_features: np.ndarray,
    train_samples: Sequence[Sample],
    view_angles_deg: Sequence[float],
) -> None:
    if len(test.features) != len(test_samples) or len(train_features) != len(train_samples):
        raise SettingsError(
            f"{len(test.features)} test and {len(train_features)} training embeddings for {len(test_samples)} and "
            f"{len(train_samples)} samples"
        )
    if {test.features.shape[1], train_features.shape[1]} != {len(view_angles_deg)}:
        raise SettingsError(f"the embeddings are not of {len(view_angles_deg)} views each")
