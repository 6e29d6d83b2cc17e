"""How a model understands sentences about faces: `language.json`. Shares and areas are fractions in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from smilevlm.results.fields import Interval, Record, ResultFile

LANGUAGE_VERSION = 1
LANGUAGE_NAME = "language.json"


@dataclass(frozen=True, kw_only=True)
class Estimate(Record):
    """One number over the tested faces.

    Attributes:
        value: Of all tested faces.
        interval: 95 % percentile bootstrap over people; None with one person.
    """

    value: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class TellingApart(Record):
    """Faces of which something is true against those of which it is not.

    Attributes:
        name: Code of an action, or a class.
        num_present, num_absent: Faces; those in between are left out.
        area: Under the ROC curve of the similarity to the sentences; chance is 0.5.
    """

    name: str
    num_present: int
    num_absent: int
    area: Estimate


@dataclass(frozen=True, kw_only=True)
class FirstPlace(Record):
    """Faces of one clear action.

    Attributes:
        num_statements: That are compared.
        num_faces: Whose action is among theirs.
        share: How often the face's statement is the most similar of all; chance is 1 / `num_statements`.
        area: Mean of the statements' areas under the ROC curve, faces of one clear action against each other; None in
            older files.
    """

    num_statements: int
    num_faces: int
    share: Estimate
    area: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Recall(Record):
    """How often what belongs to a query is among the first `num_first`; chance is `num_first` / scans."""

    num_first: int
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class Retrieval(Record):
    """Finding the scan of a sentence among all scans, or the sentence of a scan among all sentences."""

    direction: Literal["text_to_scan", "scan_to_text"]
    num_scans: int
    recalls: tuple[Recall, ...]


@dataclass(frozen=True, kw_only=True)
class Opposites(Record):
    """Two sentences that contradict each other.

    Attributes:
        text: True of `num_text` faces.
        opposite: True of `num_opposite` faces.
        accuracy: Mean over the two kinds of faces of how often theirs is the more similar; chance is 0.5.
    """

    text: str
    opposite: str
    num_text: int
    num_opposite: int
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class IntensityOrder(Record):
    """Whether the sentence of a strong action fits better, against that of a slight one, the stronger the action is.

    Attributes:
        action: Its code.
        num_faces: That show it, however weakly.
        spearman: Rank correlation of intensity and similarity to the strong sentence minus that to the slight one.
        pair_accuracy: Of pairs of faces whose intensities differ by 0.2 or more, those in the right order; chance is
            0.5.
    """

    action: str
    num_faces: int
    spearman: float
    pair_accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class LanguageResult(ResultFile):
    """One `language.json`.

    Attributes:
        model: Name of its folder, `default` for the weights in the package.
        model_digest: sha256 of a bundle; None for a run, whose folds are scored each on its own held-out people.
        folds: Of a run; empty for a bundle.
        action_source: Where the actions come from: "by construction" or "coded by people".
        statements: Per action that enough faces have and lack.
        mean_area: Of these.
        mean_shape_area: Of these without the gaze, which no shape shows; None in older files.
        notes: What a reader must know, one sentence each.
    """

    WRITTEN_BY: ClassVar[str] = "smilevlm language"

    model: str
    model_digest: str | None
    folds: tuple[int, ...]
    layout: str
    manifest_hash: str
    actions_digest: str
    action_source: str
    synthetic: bool
    num_samples: int
    num_subjects: int
    seed: int
    package_version: str
    statements: tuple[TellingApart, ...]
    mean_area: Estimate | None
    first_place: tuple[FirstPlace, ...]
    retrieval: tuple[Retrieval, ...]
    unseen_classes: tuple[TellingApart, ...]
    opposites: tuple[Opposites, ...]
    mean_opposites: Estimate | None
    intensity: tuple[IntensityOrder, ...]
    mean_intensity: Estimate | None
    mean_shape_area: Estimate | None = None
    notes: tuple[str, ...] = ()
    schema_version: int = LANGUAGE_VERSION
