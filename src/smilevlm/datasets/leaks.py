"""The leak check: what is tested must be nothing that was trained on, whatever name it goes by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from smilevlm.datasets.folds import check_shared_subjects, first_few
from smilevlm.errors import LeakError
from smilevlm.store import Sample


def check_leaks(train: Sequence[Sample], test: Sequence[Sample]) -> None:
    """Stop when a test sample is known from training.

    Looked for are a subject on both sides, a scan or dynamic image made from the same bytes on both sides, also under
    another subject's name, and windows of one recording that share frames.

    Raises:
        LeakError: Lists everything of this that was found.
    """
    faults = [*_shared_subjects(train, test), *_same_bytes(train, test), *_shared_frames(train, test)]
    if faults:
        raise LeakError("; ".join(faults))


def _shared_subjects(train: Sequence[Sample], test: Sequence[Sample]) -> Iterator[str]:
    try:
        check_shared_subjects(train=[s.subject for s in train], test=[s.subject for s in test])
    except LeakError as error:
        yield str(error)


def _same_bytes(train: Sequence[Sample], test: Sequence[Sample]) -> Iterator[str]:
    trained = {sample.digest: sample for sample in train if sample.digest}
    pairs = [f"{s.sample_id} is {trained[s.digest].sample_id}" for s in test if s.digest in trained]
    if pairs:
        yield f"test samples with the files of training samples: {first_few(pairs)}"


def _shared_frames(train: Sequence[Sample], test: Sequence[Sample]) -> Iterator[str]:
    trained: dict[str, list[Sample]] = defaultdict(list)
    for sample in train:
        if sample.recording:
            trained[sample.recording].append(sample)
    pairs = [
        f"{sample.sample_id} and {other.sample_id}"
        for sample in test
        for other in trained.get(sample.recording, ())
        if sample.first_frame <= other.last_frame and other.first_frame <= sample.last_frame
    ]
    if pairs:
        yield f"test and training samples that share frames of one recording: {first_few(pairs)}"
