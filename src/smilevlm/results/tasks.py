"""What the tasks beside expression recognition give: `RUN/tasks.json`. Rates are fractions in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smilevlm.results.fields import Interval, Record, ResultFile

TASKS_VERSION = 1
Features = Literal["tower", "tower_lda", "fused"]
"""`tower`: the views' features before the projector, unit length, side by side. `tower_lda`: these after a linear
discriminant that was fitted on the identities of the fold's training subjects. `fused`: the embedding that is compared
with prompts."""


@dataclass(frozen=True, kw_only=True)
class RocPoint(Record):
    """One point of a ROC curve."""

    false_accept_rate: float
    true_accept_rate: float


@dataclass(frozen=True, kw_only=True)
class TrueAcceptRate(Record):
    """True accept rate at one false accept rate; None where there are too few impostor pairs to tell."""

    false_accept_rate: float
    true_accept_rate: float | None


@dataclass(frozen=True, kw_only=True)
class VerificationResult(Record):
    """Same person or not, over pairs of test samples.

    Attributes:
        name: What is compared, such as `neutral with expressions` or `view 0 with view +30`.
        equal_error_rate_interval: 95 % percentile bootstrap over test subjects.
        roc: From (0, 0) to (1, 1), thinned for drawing.
    """

    name: str
    features: Features
    num_subjects: int
    num_genuine: int
    num_impostor: int
    area_under_curve: float
    equal_error_rate: float
    equal_error_rate_interval: Interval | None
    true_accept_rates: tuple[TrueAcceptRate, ...]
    roc: tuple[RocPoint, ...]


@dataclass(frozen=True, kw_only=True)
class IdentificationResult(Record):
    """Who is it: probes against a gallery of one neutral scan per test subject.

    Attributes:
        rank_rates: Share of probes whose subject is among the 1, 2, ... nearest of the gallery.
        rank1_by_expression: Expression of the probe to (hits, probes).
    """

    name: str
    features: Features
    num_gallery: int
    num_probes: int
    rank_rates: tuple[float, ...]
    rank1_interval: Interval | None
    rank1_by_expression: dict[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class AttackResult(Record):
    """One kind of presentation attack against bona fide scans (terms of ISO/IEC 30107-3).

    Attributes:
        name: Kind of attack.
        known: Whether the classifier was fitted on attacks of this kind; if not, the kind was left out.
        apcer: Attacks taken for bona fide at the threshold.
        bpcer: Bona fide scans taken for attacks at the threshold.
        acer: Mean of the two.
        equal_error_rate: Over the test scores themselves; no threshold is carried over.
    """

    name: str
    known: bool
    num_attacks: int
    num_bona_fide: int
    apcer: float
    bpcer: float
    acer: float
    equal_error_rate: float
    roc: tuple[RocPoint, ...]


@dataclass(frozen=True, kw_only=True)
class AntiSpoofingResult(Record):
    """Attacks of several kinds, one classifier on frozen features.

    Attributes:
        views: Kind of the views, such as `geometry` or `texture`.
        refused: Kind of attack to (scans that preparation refuses for want of a face, scans). The classifier gets all
            of them nevertheless, placed by the nose tip, so that its rates say what it adds.
        threshold_from: Where the threshold comes from, in words.
    """

    views: str
    features: Features
    num_train_subjects: int
    num_test_subjects: int
    threshold_from: str
    refused: dict[str, tuple[int, int]]
    attacks: tuple[AttackResult, ...]


@dataclass(frozen=True, kw_only=True)
class TasksResult(ResultFile):
    """One `tasks.json`: the other tasks on the embeddings of one fold's model.

    Attributes:
        recipe: Of the run whose model is used.
        fold: Whose test subjects are compared; none of them was in its training.
        notes: What a reader must know, one sentence each, such as a task that was left out and why.
    """

    recipe: str
    fold: int
    layout: str
    manifest_hash: str
    synthetic: bool
    train_subjects: tuple[str, ...]
    test_subjects: tuple[str, ...]
    seed: int
    package_version: str
    git_commit: str | None
    verification: tuple[VerificationResult, ...]
    identification: tuple[IdentificationResult, ...]
    anti_spoofing: tuple[AntiSpoofingResult, ...]
    notes: tuple[str, ...] = ()
    schema_version: int = TASKS_VERSION
