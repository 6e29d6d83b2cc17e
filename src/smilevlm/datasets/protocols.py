"""Evaluation protocols as data: which samples of a data set are used, how they are split, and what is known of that."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Int64

from smilevlm.datasets.folds import subject_folds
from smilevlm.datasets.leaks import check_leaks
from smilevlm.errors import LayoutError, SettingsError
from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS, SPONTANEOUS_EXPRESSIONS, UNLABELLED
from smilevlm.store import Sample

Indices = Int64[np.ndarray, " sample"]
Scheme = Literal["kfold", "leave_one_subject_out", "train_elsewhere"]

STATED = "stated in the SMILE-VLM paper (arXiv 2506.01203)"
FROM_KNOWLEDGE = "from general knowledge, not checked against a source"
NOT_KNOWN = "not known; this is our choice"


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """One published protocol.

    Args:
        name: Short name, used in recipes and results.
        title: Name for people.
        layout: Data set that is tested on, and trained on unless `train_on` names another.
        classes: In the order of the tables; empty for whatever classes are there.
        level: What one test sample is as published, None where that is up to the data. A store of windows has
            several samples per sequence, and a result says so.
        source: Where the choice is published.
        status: How sure that is.
        levels: Intensities used; None for all.
        conditions: Values of `Sample.condition` used; None for all.
        scheme: `kfold` and `leave_one_subject_out` split by subject; `train_elsewhere` trains on all samples of the
            protocol `train_on` and tests on all of this one.
        train_on: Name of the protocol that gives the training samples of `train_elsewhere`.
        num_subjects: So many subjects are drawn at random, anew for each repeat; None for all.
        num_repeats: How often the published figure repeats draw and folds; a run is one repeat.
        require_all_classes: Leave out subjects without a sample of every class.
        one_per_class: Of several samples of a subject's class take the first in the order of their names, in which
            numbers count as numbers: the lowest repeat.
        multi_label: Whether samples with several classes take part; if not, only those with exactly one.
    """

    name: str
    title: str
    layout: str
    classes: tuple[str, ...]
    level: Literal["scan", "sequence"] | None
    source: str
    status: str
    levels: tuple[int, ...] | None = None
    conditions: tuple[str, ...] | None = None
    scheme: Scheme = "kfold"
    train_on: str | None = None
    num_subjects: int | None = None
    num_repeats: int = 1
    require_all_classes: bool = False
    one_per_class: bool = False
    multi_label: bool = False

    @property
    def train_layout(self) -> str:
        """The data set that is trained on."""
        return self.training.layout

    @property
    def training(self) -> EvaluationProtocol:
        """The protocol that gives the training samples and the classes that are learned: itself, or `train_on`."""
        return self if self.train_on is None else find_protocol(self.train_on)

    def select(self, samples: Sequence[Sample]) -> list[int]:
        """Indices of the samples that take part, before subjects are drawn.

        Raises:
            LayoutError: A class has no sample at all, or no subject has all of them where that is asked for.
        """
        chosen = [index for index, sample in enumerate(samples) if self._takes(sample)]
        present = {label for index in chosen for label in samples[index].classes}
        absent = [name for name in self.classes if name not in present]
        if absent or not chosen:
            raise LayoutError(f"protocol {self.name}: the store has no sample of {', '.join(absent) or 'any class'}")
        if self.one_per_class:
            chosen = _first_of_each_class(samples, chosen)
        if self.require_all_classes:
            chosen = _subjects_with_all(samples, chosen, self.classes)
            if not chosen:
                raise LayoutError(f"protocol {self.name}: no subject has a sample of every class")
        return chosen

    def classes_of(self, samples: Sequence[Sample]) -> tuple[str, ...]:
        """The protocol's classes; where it names none, those of the samples that take part, by name."""
        if self.classes:
            return self.classes
        return tuple(sorted({label for index in self.select(samples) for label in samples[index].classes}))

    def takes_without_class(self, sample: Sample) -> bool:
        """Whether only its class keeps a sample out: it has none, another one, or several."""
        return self._takes_recording(sample) and not self._takes_class(sample)

    def _takes(self, sample: Sample) -> bool:
        return self._takes_recording(sample) and self._takes_class(sample)

    def _takes_class(self, sample: Sample) -> bool:
        labels = sample.classes
        if len(labels) > 1 and not self.multi_label:
            return False
        return UNLABELLED not in labels and not (self.classes and set(labels).isdisjoint(self.classes))

    def _takes_recording(self, sample: Sample) -> bool:
        if self.conditions is not None and sample.condition not in self.conditions:
            return False
        return self.levels is None or sample.level in self.levels


def _first_of_each_class(samples: Sequence[Sample], chosen: Sequence[int]) -> list[int]:
    first: dict[tuple[str, str], int] = {}
    for index in sorted(chosen, key=lambda index: _natural_order(samples[index].sample_id)):
        first.setdefault((samples[index].subject, samples[index].expression), index)
    return sorted(first.values())


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Digits compare as a number, so that repeat 2 comes before repeat 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _subjects_with_all(samples: Sequence[Sample], chosen: Sequence[int], classes: Collection[str]) -> list[int]:
    shown: dict[str, set[str]] = defaultdict(set)
    for index in chosen:
        shown[samples[index].subject].update(samples[index].classes)
    return [index for index in chosen if shown[samples[index].subject] >= set(classes)]


def protocol_folds(
    protocol: EvaluationProtocol, samples: Sequence[Sample], num_folds: int, seed: int, repeat: int = 0
) -> list[tuple[Indices, Indices]]:
    """Split a store by subject as a protocol asks.

    Args:
        protocol: Any but `train_elsewhere`, which `train_elsewhere_split` serves.
        samples: Of the whole store.
        num_folds: Of `kfold`; leaving one subject out has a fold per subject, in the order of their names.
        seed: Decides which subjects are drawn and which share a fold.
        repeat: Index from zero below the protocol's `num_repeats`; draws both anew.

    Returns:
        (train, test) indices into `samples` per fold, ascending; every sample that takes part is tested once.

    Raises:
        LayoutError: A class has no sample, or there are fewer subjects than are to be drawn.
        SettingsError: The folds do not fit the subjects, the repeat is out of range, or the protocol trains elsewhere.
    """
    if protocol.train_on is not None:
        raise SettingsError(
            f"protocol {protocol.name} has no folds: it trains on a store of {protocol.train_layout} and tests on one "
            f"of {protocol.layout}"
        )
    if not 0 <= repeat < protocol.num_repeats:
        raise SettingsError(f"repeat {repeat} is outside 0 to {protocol.num_repeats - 1} of protocol {protocol.name}")
    if repeat:
        seed = int(np.random.SeedSequence([seed, repeat]).generate_state(1, np.uint64)[0])
    chosen = np.array(_draw_subjects(protocol, samples, seed), np.int64)
    subjects = [samples[index].subject for index in chosen]
    if protocol.scheme == "leave_one_subject_out":
        names = np.asarray(subjects)
        splits = [(np.flatnonzero(names != name), np.flatnonzero(names == name)) for name in sorted(set(subjects))]
        if len(splits) < 2:
            raise SettingsError(f"protocol {protocol.name} leaves one subject out; there is only {subjects[0]}")
    else:
        splits = subject_folds(subjects, num_folds, seed)
    return [(chosen[train], chosen[test]) for train, test in splits]


def _draw_subjects(protocol: EvaluationProtocol, samples: Sequence[Sample], seed: int) -> list[int]:
    chosen = protocol.select(samples)
    if protocol.num_subjects is None:
        return chosen
    subjects = sorted({samples[index].subject for index in chosen})
    if len(subjects) < protocol.num_subjects:
        raise LayoutError(
            f"protocol {protocol.name} draws {protocol.num_subjects} subjects; the store has {len(subjects)} of them"
        )
    # Not the stream that deals subjects out to folds.
    drawn = set(np.random.default_rng([seed, 2]).permutation(subjects)[: protocol.num_subjects].tolist())
    return [index for index in chosen if samples[index].subject in drawn]


def train_elsewhere_split(
    protocol: EvaluationProtocol, train_samples: Sequence[Sample], test_samples: Sequence[Sample]
) -> tuple[Indices, Indices]:
    """The one split of a protocol with `train_on`: indices into the samples of each store.

    Data sets give their subjects the same names (`F001`); these are different people. Equal files are refused.

    Raises:
        LayoutError: A class has no sample.
        LeakError: The stores share samples.
    """
    assert protocol.train_on is not None, f"{protocol.name} trains on its own data set"
    train = protocol.training.select(train_samples)
    test = protocol.select(test_samples)
    check_leaks(
        [_qualified(train_samples[index], protocol.train_layout) for index in train],
        [_qualified(test_samples[index], protocol.layout) for index in test],
    )
    return np.array(train, np.int64), np.array(test, np.int64)


def _qualified(sample: Sample, layout: str) -> Sample:
    return replace(sample, subject=f"{layout}/{sample.subject}", recording=f"{layout}/{sample.recording}")


_SUBSET1 = EvaluationProtocol(
    name="bu3dfe_subset1",
    title="BU-3DFE Subset I: two highest intensities, six expressions",
    layout="bu3dfe",
    classes=BASIC_EXPRESSIONS,
    levels=(3, 4),
    level="scan",
    source="SMILE-VLM: 10 folds by subject; Li et al., IEEE TMM 2017, has the name; the number of subjects is not said",
    status=STATED,
)
_SUBSET2 = replace(
    _SUBSET1,
    name="bu3dfe_subset2",
    title="BU-3DFE Subset II: all four intensities, six expressions, no neutral",
    levels=(1, 2, 3, 4),
)
_BOSPHORUS = EvaluationProtocol(
    name="bosphorus",
    title="Bosphorus: the subjects with all six expressions (65 in the full set), one scan of each",
    layout="bosphorus",
    classes=BASIC_EXPRESSIONS,
    level="scan",
    source="SMILE-VLM: the 65 subjects with all six, 10 folds; that the lowest repeat counts is our choice",
    status=STATED,
    require_all_classes=True,
    one_per_class=True,
)
_BU4DFE = EvaluationProtocol(
    name="bu4dfe",
    title="BU-4DFE: all subjects, whole sequences, six expressions",
    layout="bu4dfe",
    classes=BASIC_EXPRESSIONS,
    level="sequence",
    source="SMILE-VLM: 101 subjects, six full sequences each, 10 folds",
    status=STATED,
)
_4DME = EvaluationProtocol(
    name="fourdme",
    title="4DME: micro-expression clips with exactly one of five classes",
    layout="4dme",
    classes=MICRO_EXPRESSIONS,
    level="sequence",
    source="SMILE-VLM Table V has the five classes; the folds and what becomes of clips with several are not said",
    status=NOT_KNOWN,
)


def _drawing_sixty(protocol: EvaluationProtocol, source: str) -> EvaluationProtocol:
    return replace(
        protocol,
        name=f"{protocol.name}_60",
        title=f"{protocol.title}; 60 subjects drawn at random, 100 times",
        source=source,
        status=FROM_KNOWLEDGE,
        num_subjects=60,
        num_repeats=100,
    )


_ALL = (
    _SUBSET1,
    _drawing_sixty(_SUBSET1, "the classic setting: 60 of 100 subjects, 10 folds of 54 and 6, repeated 100 times"),
    _SUBSET2,
    _drawing_sixty(_SUBSET2, "the classic draw of Subset I, used on Subset II"),
    _BOSPHORUS,
    _drawing_sixty(_BOSPHORUS, "the classic setting: 60 of the 65 subjects, repeated 100 times"),
    _BU4DFE,
    _drawing_sixty(_BU4DFE, "Sun and Yin; Zhen et al.: 60 subjects, 10 folds; the repeats are ours"),
    EvaluationProtocol(
        name="bp4d",
        title="BP4D-Spontaneous: all subjects, eight tasks as eight classes",
        layout="bp4d",
        classes=SPONTANEOUS_EXPRESSIONS,
        level="sequence",
        source="SMILE-VLM: 41 subjects, nervousness and pain beside the six; that each task is one class is our choice",
        status=NOT_KNOWN,
    ),
    EvaluationProtocol(
        name="bp4d_cross",
        title="BU-4DFE to BP4D: trained on BU-4DFE, tested on tasks 1 (happy) and 8 (disgust)",
        layout="bp4d",
        classes=("happy", "disgust"),
        conditions=("T1", "T8"),
        level="sequence",
        source="SMILE-VLM; introduced by Zhang et al. 2014",
        status=STATED,
        scheme="train_elsewhere",
        train_on="bu4dfe",
    ),
    _4DME,
    replace(
        _4DME,
        name="fourdme_multi_label",
        title="4DME: all micro-expression clips, each with one or more of five classes",
        multi_label=True,
    ),
    replace(
        _4DME,
        name="fourdme_loso",
        title=f"{_4DME.title}; one subject left out at a time",
        scheme="leave_one_subject_out",
    ),
    EvaluationProtocol(
        name="folder",
        title="Your own folder: every class that is there",
        layout="folder",
        classes=(),
        level=None,
        source="none",
        status=NOT_KNOWN,
    ),
)
PROTOCOLS: dict[str, EvaluationProtocol] = {protocol.name: protocol for protocol in _ALL}


def find_protocol(name: str) -> EvaluationProtocol:
    """Raises:
    SettingsError: No protocol has this name.
    """
    if name not in PROTOCOLS:
        raise SettingsError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
