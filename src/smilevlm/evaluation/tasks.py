"""The other tasks of one trained fold on its test subjects: face verification, identification, anti-spoofing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from smilevlm.datasets import check_leaks, index_data_set
from smilevlm.errors import StoreError
from smilevlm.evaluation.anti_spoofing import Presentation, PresentedFeatures, anti_spoofing_result, presentations
from smilevlm.evaluation.identity import identity_results
from smilevlm.evaluation.scoring import embed
from smilevlm.evaluation.trained_fold import StepCounter, TrainedFold, open_trained_fold
from smilevlm.labels import NEUTRAL
from smilevlm.models import ModelBundle
from smilevlm.parallel import ProgressCallback
from smilevlm.results import AntiSpoofingResult, TasksResult, write_record
from smilevlm.store import Recording, Sample, read_frame
from smilevlm.synthesis.spoofs import BONA_FIDE, SpoofSettings
from smilevlm.training import TASKS_NAME, check_known_test_people

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
    progress: ProgressCallback | None = None,
) -> TasksResult:
    """Face verification, identification and anti-spoofing with a trained fold's model; write `RUN/tasks.json`.

    Every scan in the store of the fold's test subjects is compared, also those that the recipe's protocol leaves out.

    Args:
        run: A run folder.
        store: The prepared set it was trained on.
        fold: Which trained fold; None for the first.
        faces: The scans that the store was prepared from; None leaves anti-spoofing out.
        num_spoof_subjects: Training subjects whose scans are attacked; the test subjects all are.
        progress: Called after each embedded sample set and each attacked scan.

    Raises:
        StoreError: The store is not the run's, or `faces` are not those it was prepared from.
        LayoutError: `faces` does not hold the store's layout.
    """
    trained = _open_fold(run, store, fold)
    split, samples = trained.split, trained.prepared.samples
    test, train = (_of_subjects(samples, names) for names in (split.test_subjects, split.train_subjects))
    attacked = [] if faces is None else _attacked(trained, num_spoof_subjects)
    steps = StepCounter(2 + len(attacked), progress)
    embedded = embed(trained.bundle, trained.prepared, test)
    steps.step()
    train_features = embed(trained.bundle, trained.prepared, train).features
    steps.step()
    identity = identity_results(
        test=embedded,
        test_samples=[samples[i] for i in test],
        train_features=train_features,
        train_samples=[samples[i] for i in train],
        known_subjects=(*split.train_subjects, *split.validation_subjects),
        view_angles_deg=trained.config.prepare.views.angles_deg,
        seed=trained.config.seed,
    )
    anti_spoofing, spoof_notes = _anti_spoofing(trained, faces, attacked, steps)
    result = TasksResult(
        **trained.identity,
        fold=split.fold,
        synthetic=trained.prepared.manifest.synthetic,
        train_subjects=split.train_subjects,
        test_subjects=split.test_subjects,
        seed=trained.config.seed,
        verification=identity.verification,
        identification=identity.identification,
        anti_spoofing=anti_spoofing,
        notes=(*identity.notes, *spoof_notes),
    )
    write_record(run / TASKS_NAME, result)
    return result


def _open_fold(run: Path, store: Path, fold: int | None) -> TrainedFold:
    """Open the fold; leaks are also checked on the scans that its protocol leaves out."""
    trained = open_trained_fold(run, store, fold)
    split, samples = trained.split, trained.prepared.samples
    known, test = (
        [samples[i] for i in _of_subjects(samples, names)]
        for names in ((*split.train_subjects, *split.validation_subjects), split.test_subjects)
    )
    check_leaks(known, test)
    check_known_test_people(trained.bundle, split, test, same_set=True, place=trained.folder)
    return trained


def _of_subjects(samples: Sequence[Sample], subjects: Iterable[str]) -> list[int]:
    wanted = set(subjects)
    return [i for i, sample in enumerate(samples) if sample.subject in wanted]


def _attacked(trained: TrainedFold, num_train_subjects: int) -> list[Sample]:
    """Scans to attack, of some training and all test subjects: a neutral one and another of each."""
    generator = np.random.default_rng([trained.config.seed, trained.split.fold, _SPOOFED])
    some = sorted(generator.permutation(sorted(trained.split.train_subjects))[:num_train_subjects].tolist())
    picked = []
    for subject in (*some, *trained.split.test_subjects):
        mine = [trained.prepared.samples[i] for i in _of_subjects(trained.prepared.samples, [subject])]
        scans = sorted((s for s in mine if s.first_frame == s.last_frame), key=lambda sample: sample.sample_id)
        shuffled = [scans[i] for i in generator.permutation(len(scans))]
        picked += sorted(shuffled, key=lambda sample: sample.expression != NEUTRAL)[:_SCANS_PER_SUBJECT]
    return picked


def _anti_spoofing(
    trained: TrainedFold, faces: Path | None, attacked: Sequence[Sample], steps: StepCounter
) -> tuple[tuple[AntiSpoofingResult, ...], list[str]]:
    if faces is None:
        return (), ["Anti-spoofing was left out: it needs the scans that the store was prepared from."]
    sides = {name: [s for s in attacked if s.subject in names] for name, names in (
        ("train", set(trained.split.train_subjects)), ("test", set(trained.split.test_subjects)))}  # fmt: skip
    if len({sample.subject for sample in sides["train"]}) < 2 or not sides["test"]:
        return (), ["Anti-spoofing was left out: it needs single scans of two training subjects and a test subject."]
    recordings = {r.sample_id: r for r in index_data_set(trained.prepared.manifest.layout, faces).recordings}
    presented = {side: _present(trained, recordings, of_side, faces, steps) for side, of_side in sides.items()}
    refused = _refused_counts([*presented["train"], *presented["test"]])
    results = tuple(
        anti_spoofing_result(
            views=kind,
            train=_features(trained.bundle, presented["train"], kind),
            test=_features(trained.bundle, presented["test"], kind),
            refused=refused,
            seed=trained.config.seed,
        )
        for kind in SPOOF_VIEWS
    )
    return results, _spoof_notes(trained, refused)


def _refused_counts(presented: Sequence[Presentation]) -> dict[str, tuple[int, int]]:
    """Kind to (refused presentations, presentations)."""
    by_kind = {each.kind: [other.refused for other in presented if other.kind == each.kind] for each in presented}
    return {kind: (sum(refused), len(refused)) for kind, refused in by_kind.items()}


def _features(bundle: ModelBundle, presented: Sequence[Presentation], view_kind: str) -> PresentedFeatures:
    return PresentedFeatures(
        features=bundle.embed(np.stack([each.images[view_kind] for each in presented])).features,
        kinds=tuple(each.kind for each in presented),
        subjects=tuple(each.subject for each in presented),
    )


def _spoof_notes(trained: TrainedFold, refused: dict[str, tuple[int, int]]) -> list[str]:
    attacks = [counts for kind, counts in refused.items() if kind != BONA_FIDE]
    stopped, total = (sum(counts[k] for counts in attacks) for k in range(2))
    notes = [
        f"Preparation finds no face in {stopped} of {total} attacks and would refuse them. For the classifier, sheets "
        "and faces alike were placed by the nose tip instead, in the pose in which they were scanned."
    ]
    own = trained.config.prepare.views.kind
    foreign = [kind for kind in SPOOF_VIEWS if kind != own]
    notes.append(f"The tower was trained on views of kind {own}; it has never seen any of kind {', '.join(foreign)}.")
    return notes


def _present(
    trained: TrainedFold, recordings: dict[str, Recording], samples: Sequence[Sample], faces: Path, steps: StepCounter
) -> list[Presentation]:
    """The samples' scans and the attacks on them, from the files that the store was prepared from."""
    settings = SpoofSettings(seed=trained.config.seed)
    presented = []
    for sample in samples:
        if sample.sample_id not in recordings:
            raise StoreError(f"{faces} has no scan {sample.sample_id}, which {trained.prepared.path} was made from")
        loaded = read_frame(recordings[sample.sample_id].frames[0], load_texture=True)
        if loaded.digest != sample.digest:
            raise StoreError(
                f"{faces}: scan {sample.sample_id} is not the one that {trained.prepared.path} was made from"
            )
        presented += presentations(
            loaded.mesh,
            subject=sample.subject,
            name=sample.sample_id,
            prepare=trained.config.prepare,
            view_kinds=SPOOF_VIEWS,
            settings=settings,
        )
        steps.step()
    return presented
