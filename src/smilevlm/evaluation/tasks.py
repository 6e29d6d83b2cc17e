"""The other tasks of one run: its first trained fold's model on the faces of people it never saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilevlm.datasets import check_leaks, index_data_set
from smilevlm.errors import StoreError
from smilevlm.evaluation.anti_spoofing import PresentedFeatures, anti_spoofing_result, presentations
from smilevlm.evaluation.identity import identity_results
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.trained_fold import OpenedFold, Progress, Steps, open_trained_fold
from smilevlm.labels import NEUTRAL
from smilevlm.models import ModelBundle
from smilevlm.results import AntiSpoofingResult, TasksResult, write_record
from smilevlm.store import Recording, Sample, read_frame
from smilevlm.synthesis.spoofs import BONA_FIDE, SpoofSettings
from smilevlm.training.leak_checks import check_known_test_people
from smilevlm.training.run_folder import TASKS_NAME
from smilevlm.typing import ViewImages

SPOOF_VIEWS = ("geometry", "texture")
_SCANS_PER_SUBJECT = 2
_SPOOFED = 13
"""Keeps the draw of attacked scans apart from other draws with the same seed."""


def run_tasks(
    run: Path,
    store: Path,
    *,
    fold: int | None = None,
    faces: Path | None = None,
    num_spoof_subjects: int = 20,
    progress: Progress | None = None,
) -> TasksResult:
    """Verify, identify and tell faces from pictures with a trained fold's model; write `RUN/tasks.json`.

    Every scan in the store of the fold's test subjects is compared, also those that the recipe's protocol leaves out.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which trained fold; None for the first.
        faces: The scans that the store was prepared from; None leaves anti-spoofing out.
        num_spoof_subjects: Training subjects whose scans are attacked; the test subjects all are.
        progress: Called after each embedded sample set and each attacked scan.

    Raises:
        CheckpointError: The fold is not trained, or its split or model is not the recipe's.
        StoreError: The store is not the one that the run was trained on, or `faces` are not those it was made from.
        SettingsError: The run's protocol tests on another data set, or the fold is out of range.
        LeakError: A test subject or test sample was in training, or had a part in a choice.
        PromptError: The prompts were changed since training.
        LayoutError: `faces` does not hold the store's layout.
    """
    chosen = _opened(run, store, fold)
    split, samples = chosen.split, chosen.tested.test.samples
    test, train = (_of_subjects(samples, names) for names in (split.test_subjects, split.train_subjects))
    attacked = [] if faces is None else _attacked(chosen, num_spoof_subjects)
    steps = Steps(2 + len(attacked), progress)
    embedded = embed(chosen.bundle, chosen.tested.test, test)
    steps.done()
    train_features = embed(chosen.bundle, chosen.tested.test, train).features
    steps.done()
    identity = identity_results(
        test=embedded,
        test_samples=[samples[i] for i in test],
        train_features=train_features,
        train_samples=[samples[i] for i in train],
        known_subjects=(*split.train_subjects, *split.validation_subjects),
        view_angles_deg=chosen.config.prepare.views.angles_deg,
        seed=chosen.config.seed,
    )
    anti_spoofing, spoof_notes = _anti_spoofing(chosen, faces, attacked, steps)
    manifest = chosen.tested.test.manifest
    result = TasksResult(
        recipe=chosen.config.name,
        fold=split.fold,
        layout=manifest.layout,
        manifest_hash=manifest.content_hash,
        synthetic=manifest.synthetic,
        train_subjects=split.train_subjects,
        test_subjects=split.test_subjects,
        seed=chosen.config.seed,
        package_version=chosen.described["package_version"],
        git_commit=chosen.described["git_commit"],
        verification=identity.verification,
        identification=identity.identification,
        anti_spoofing=anti_spoofing,
        notes=(*identity.notes, *spoof_notes),
    )
    write_record(run / TASKS_NAME, result)
    return result


def _opened(run: Path, store: Path, fold: int | None) -> OpenedFold:
    """The fold, after the scans that its protocol leaves out were looked at for leaks too."""
    opened = open_trained_fold(run, store, fold)
    split, samples = opened.split, opened.tested.test.samples
    known, test = (
        [samples[i] for i in _of_subjects(samples, names)]
        for names in ((*split.train_subjects, *split.validation_subjects), split.test_subjects)
    )
    check_leaks(known, test)
    check_known_test_people(opened.bundle, split, test, same_set=True, place=opened.folder)
    return opened


def _of_subjects(samples: Sequence[Sample], subjects: Iterable[str]) -> list[int]:
    wanted = set(subjects)
    return [i for i, sample in enumerate(samples) if sample.subject in wanted]


def _attacked(chosen: OpenedFold, num_train_subjects: int) -> list[Sample]:
    """Whose scans are attacked: some of the training subjects, all test subjects; a neutral scan and another."""
    generator = np.random.default_rng([chosen.config.seed, chosen.split.fold, _SPOOFED])
    some = sorted(generator.permutation(sorted(chosen.split.train_subjects))[:num_train_subjects].tolist())
    picked = []
    for subject in (*some, *chosen.split.test_subjects):
        mine = [chosen.tested.test.samples[i] for i in _of_subjects(chosen.tested.test.samples, [subject])]
        scans = sorted((s for s in mine if s.first_frame == s.last_frame), key=lambda sample: sample.sample_id)
        shuffled = [scans[i] for i in generator.permutation(len(scans))]
        picked += sorted(shuffled, key=lambda sample: sample.expression != NEUTRAL)[:_SCANS_PER_SUBJECT]
    return picked


def _anti_spoofing(
    chosen: OpenedFold, faces: Path | None, attacked: Sequence[Sample], steps: Steps
) -> tuple[tuple[AntiSpoofingResult, ...], list[str]]:
    if faces is None:
        return (), ["Anti-spoofing was left out: it needs the scans that the store was prepared from."]
    sides = {name: [s for s in attacked if s.subject in names] for name, names in (
        ("train", set(chosen.split.train_subjects)), ("test", set(chosen.split.test_subjects)))}  # fmt: skip
    if len({sample.subject for sample in sides["train"]}) < 2 or not sides["test"]:
        return (), ["Anti-spoofing was left out: it needs single scans of two training subjects and a test subject."]
    recordings = {r.sample_id: r for r in index_data_set(chosen.tested.test.manifest.layout, faces).recordings}
    presented = {side: _present(chosen, recordings, of_side, faces, steps) for side, of_side in sides.items()}
    refused = presented["train"].refused_with(presented["test"])
    results = tuple(
        anti_spoofing_result(
            views=kind,
            train=presented["train"].embedded(chosen.bundle, kind),
            test=presented["test"].embedded(chosen.bundle, kind),
            refused=refused,
            seed=chosen.config.seed,
        )
        for kind in SPOOF_VIEWS
    )
    return results, _spoof_notes(chosen, refused)


def _spoof_notes(chosen: OpenedFold, refused: dict[str, tuple[int, int]]) -> list[str]:
    attacks = [counts for kind, counts in refused.items() if kind != BONA_FIDE]
    stopped, total = (sum(counts[k] for counts in attacks) for k in range(2))
    notes = [
        f"Preparation finds no face in {stopped} of {total} attacks and would refuse them. For the classifier, sheets "
        "and faces alike were placed by the nose tip instead, in the pose in which they were scanned."
    ]
    own = chosen.config.prepare.views.kind
    foreign = [kind for kind in SPOOF_VIEWS if kind != own]
    notes.append(f"The tower was trained on views of kind {own}; it has never seen any of kind {', '.join(foreign)}.")
    return notes


@dataclass(frozen=True, kw_only=True)
class _Presented:
    """Presentations of one side's subjects."""

    kinds: tuple[str, ...]
    subjects: tuple[str, ...]
    refused: tuple[bool, ...]
    images: dict[str, list[ViewImages]]

    def embedded(self, bundle: ModelBundle, view_kind: str) -> PresentedFeatures:
        features = bundle.embed(np.stack(self.images[view_kind])).features
        return PresentedFeatures(features=features, kinds=self.kinds, subjects=self.subjects)

    def refused_with(self, other: _Presented) -> dict[str, tuple[int, int]]:
        """Kind to (refused presentations, presentations) of both sides."""
        both = [*zip(self.kinds, self.refused, strict=True), *zip(other.kinds, other.refused, strict=True)]
        return {
            kind: (sum(refused for k, refused in both if k == kind), sum(k == kind for k, _ in both))
            for kind in dict.fromkeys(self.kinds)
        }


def _present(
    chosen: OpenedFold, recordings: dict[str, Recording], samples: Sequence[Sample], faces: Path, steps: Steps
) -> _Presented:
    kinds, subjects, refused = [], [], []
    images: dict[str, list[ViewImages]] = {kind: [] for kind in SPOOF_VIEWS}
    settings = SpoofSettings(seed=chosen.config.seed)
    for sample in samples:
        if sample.sample_id not in recordings:
            raise StoreError(f"{faces} has no scan {sample.sample_id}, which {chosen.tested.test.path} was made from")
        loaded = read_frame(recordings[sample.sample_id].frames[0], load_texture=True)
        if loaded.digest != sample.digest:
            raise StoreError(
                f"{faces}: scan {sample.sample_id} is not the one that {chosen.tested.test.path} was made from"
            )
        for presentation in presentations(
            loaded.mesh,
            subject=sample.subject,
            name=sample.sample_id,
            prepare=chosen.config.prepare,
            view_kinds=SPOOF_VIEWS,
            settings=settings,
        ):
            kinds.append(presentation.kind)
            subjects.append(sample.subject)
            refused.append(presentation.refused)
            for kind, views in presentation.images.items():
                images[kind].append(views)
        steps.done()
    return _Presented(kinds=tuple(kinds), subjects=tuple(subjects), refused=tuple(refused), images=images)
