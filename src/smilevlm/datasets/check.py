"""A dry run over a copy of a data set: what is there against what should be, and every file that cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from smilevlm.compiled import choose_cache
from smilevlm.datasets.check_frames import FrameReport, check_recording
from smilevlm.datasets.index import DataIndex, Problem
from smilevlm.parallel import ProgressCallback, parallel_map
from smilevlm.store import Recording


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many there are and should be; `expected` is None where no source says it."""

    found: int
    expected: int | None


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a check found.

    Args:
        layout: Name of the layout.
        root: Where the copy lies.
        synthetic: Whether these are synthetic faces.
        subjects: People.
        recordings: Scans or sequences.
        classes: The same by class; those that a complete copy has come first.
        per_subject: Recordings by subject and class.
        num_frames: Frames that were read with their textures and landmarks; 0 when only names were looked at.
        bad_files: Files that cannot be read, with the place within them.
        problems: What is missing.
        remarks: What is unusual but no fault.
        source: Where the expected counts come from; empty when nobody can know them.
    """

    layout: str
    root: Path
    synthetic: bool
    subjects: Count
    recordings: Count
    classes: Mapping[str, Count]
    per_subject: Mapping[str, Mapping[str, int]]
    num_frames: int
    bad_files: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    source: str

    @property
    def is_clean(self) -> bool:
        return not self.bad_files and not self.problems


def check_data_set(
    index: DataIndex,
    *,
    read_files: bool = True,
    find_faces: bool = True,
    jobs: int = 1,
    progress: ProgressCallback | None = None,
) -> CheckReport:
    """Count what an index found, read every file of it and look for the face in every scan.

    Each process holds one frame at a time, and one bad file never ends the check.

    Args:
        index: Of the copy.
        read_files: Read every mesh, texture and landmark file; else names alone are counted.
        find_faces: Also look for the face in every mesh that is read, as `prepare` does; twice the time.
        jobs: Processes.
        progress: Called with (recordings done, recordings in all).
    """
    frames = _read_all(index, jobs, progress, find_faces=find_faces) if read_files else ()
    expected = index.expected
    return CheckReport(
        layout=index.layout,
        root=index.root,
        synthetic=index.synthetic,
        subjects=Count(found=len(index.subjects), expected=None if expected is None else expected.num_subjects),
        recordings=Count(found=len(index.recordings), expected=None if expected is None else expected.num_recordings),
        classes=_classes(index),
        per_subject=_per_subject(index.recordings),
        num_frames=sum(report.num_frames for report in frames),
        bad_files=tuple(problem for report in frames for problem in report.bad_files),
        problems=index.problems,
        remarks=(*index.remarks, *_remarks(frames)),
        source="" if expected is None else expected.source,
    )


def _read_all(
    index: DataIndex, jobs: int, progress: ProgressCallback | None, *, find_faces: bool
) -> Sequence[FrameReport]:
    if progress:
        progress(0, len(index.recordings))
    choose_cache()
    check = partial(check_recording, find_faces=find_faces)
    calls = [(index.layout, index.root, recording) for recording in index.recordings]
    return list(parallel_map(check, calls, jobs=jobs, progress=progress))


def _per_subject(recordings: Sequence[Recording]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for recording in recordings:
        counts.setdefault(recording.subject, Counter())[recording.expression] += 1
    return {subject: dict(sorted(count.items())) for subject, count in sorted(counts.items())}


def _classes(index: DataIndex) -> dict[str, Count]:
    found = Counter(recording.expression for recording in index.recordings)
    expected = index.expected
    each = {} if expected is None else expected.per_subject
    num_subjects = 0 if expected is None else expected.num_subjects
    # Recordings without a class are no class that a copy should have so many of.
    names = [*each, *sorted(set(found) - set(each))]
    return {
        name: Count(found=found[name], expected=each[name] * num_subjects if name in each else None) for name in names
    }


def _remarks(reports: Sequence[FrameReport]) -> list[str]:
    """One line per kind of observation, with how many frames of those looked at show it."""
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.observations)
        counts.update(report.mesh_remarks)
    return [f"{text}: {count} {'frame' if count == 1 else 'frames'}" for text, count in sorted(counts.items())]
