"""The work on one part: recordings in, one Arrow file out. Runs in any process, on any machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smilevlm.dynamics import DynamicPlan
from smilevlm.errors import SmileVlmError, StoreError
from smilevlm.store.frames import read_frame
from smilevlm.store.manifest import BadFile, PrepareSettings, Remark
from smilevlm.store.numbering import counted_remarks
from smilevlm.store.parts import (
    PartInfo,
    Sample,
    content_digest,
    labels_digest,
    pack,
    part_name,
    write_part,
)
from smilevlm.store.records import FrameFile, Recording
from smilevlm.store.rendering import FaceFinder, scan_views, sequence_views
from smilevlm.store.sources import listings
from smilevlm.typing import ViewImages

_PreparedSample = tuple[Sample, dict[str, Any], list[str]]


@dataclass(frozen=True, kw_only=True)
class PartJob:
    """What becomes one part: the scans of one subject, or one sequence."""

    name: str
    recordings: tuple[Recording, ...]

    def folder(self, parts: Path) -> Path:
        return parts / part_name(self.name)

    def sources(self, settings: PrepareSettings) -> tuple[tuple[str, str], ...]:
        return listings(self.recordings, with_textures=_needs_textures(settings))

    def labels(self) -> tuple[tuple[str, str], ...]:
        return tuple((recording.sample_id, labels_digest(recording)) for recording in self.recordings)


def part_jobs(recordings: Sequence[Recording]) -> list[PartJob]:
    """Recordings grouped into parts, sorted by name."""
    sample_ids: set[str] = set()
    by_part: dict[str, list[Recording]] = {}
    for recording in recordings:
        if recording.sample_id in sample_ids:
            raise StoreError(f"the data set holds {recording.sample_id} twice")
        sample_ids.add(recording.sample_id)
        name = recording.sample_id if recording.is_sequence else recording.subject
        by_part.setdefault(name, []).append(recording)
    return [PartJob(name=name, recordings=tuple(by_part[name])) for name in sorted(by_part)]


def prepare_part(parts: Path, job: PartJob, settings: PrepareSettings) -> None:
    """Prepare one part and leave it in its folder, unless another process has done so meanwhile."""
    rows: list[dict[str, Any]] = []
    samples: list[tuple[str, str, str]] = []
    skipped: list[BadFile] = []
    bad_frames: list[BadFile] = []
    remarks: list[Remark] = []
    sources = job.sources(settings)
    for recording in job.recordings:
        preparer = _RecordingPreparer(recording, settings)
        try:
            prepared = list(preparer.prepare())
        except (SmileVlmError, OSError) as error:
            skipped.append(_bad_file(recording, recording.path, error))
            continue
        for sample, row, textures in prepared:
            rows.append(row)
            samples.append((sample.sample_id, sample.subject, content_digest(sample, recording, textures)))
        bad_frames += preparer.bad_frames
        remarks += preparer.remarks()
    info = PartInfo(
        name=job.name,
        settings_digest=settings.digest,
        sources=sources,
        samples=tuple(samples),
        skipped=tuple(skipped),
        bad_frames=tuple(bad_frames),
        remarks=tuple(remarks),
        labels=job.labels(),
    )
    folder = job.folder(parts)
    try:
        write_part(folder, info, rows)
    except OSError:
        # Two runs on one store may reach the same part; its bytes follow from the files and the settings alone.
        if not folder.is_dir():
            raise


class _RecordingPreparer:
    """Prepares one recording and notes its bad frames, remarks and digests."""

    def __init__(self, recording: Recording, settings: PrepareSettings) -> None:
        self.bad_frames: list[BadFile] = []
        self._recording = recording
        self._settings = settings
        self._find = FaceFinder(settings)
        self._digests: dict[FrameFile, str] = {}
        self._textures: dict[FrameFile, str] = {}
        self._remarks: dict[str, tuple[str, ...]] = {}

    def prepare(self) -> Iterator[_PreparedSample]:
        """The samples, each with its row in the Arrow file and the digests of its textures."""
        return self._sequence() if self._recording.is_sequence else self._scan()

    def remarks(self) -> list[Remark]:
        """On the meshes that were used; those of a sequence's frames are counted."""
        if self._recording.is_sequence:
            texts = counted_remarks(self._remarks)
        else:
            texts = [text for texts in self._remarks.values() for text in texts]
        return [Remark(sample_id=self._recording.sample_id, text=text) for text in texts]

    def _scan(self) -> Iterator[_PreparedSample]:
        (frame,) = self._recording.frames
        images = self._render(frame)
        sample = sample_of(self._recording, digest=self._digests[frame])
        yield sample, pack(sample, images), [self._textures[frame]]

    def _sequence(self) -> Iterator[_PreparedSample]:
        """The dynamic images; frames stream by, one in memory."""
        recording = self._recording
        for dynamic in sequence_views(
            recording.frames,
            [frame.number for frame in recording.frames],
            self._settings,
            self._render,
            phases=recording.phases,
            on_bad=lambda frame, error: self.bad_frames.append(_bad_file(recording, frame.path, error)),
            on_lost=self._note_lost,
        ):
            plan = dynamic.plan
            frames = [recording.frames[index] for index in sorted(set(plan.frames))]
            used = "".join(self._digests.get(frame, "") for frame in frames)
            sample = sample_of(
                recording,
                name=plan.name,
                digest=hashlib.sha256(used.encode()).hexdigest(),
                span=(plan.first_number, plan.last_number),
            )
            yield sample, pack(sample, dynamic.images), [self._textures.get(frame, "") for frame in frames]

    def _render(self, frame: FrameFile) -> ViewImages:
        loaded = read_frame(frame, load_texture=_needs_textures(self._settings))
        images, face = scan_views(loaded.mesh, self._settings, self._find)
        self._remarks[frame.path.name] = face.remarks
        self._digests[frame], self._textures[frame] = loaded.digest, loaded.texture_digest
        return images

    def _note_lost(self, plan: DynamicPlan) -> None:
        reason = f"no frame of the window could be read: frames {plan.first_number} to {plan.last_number}"
        self.bad_frames.append(BadFile(sample_id=self._recording.sample_id, path="", reason=reason))


def _needs_textures(settings: PrepareSettings) -> bool:
    return settings.views.kind == "texture"


def sample_of(recording: Recording, *, digest: str = "", name: str = "", span: tuple[int, int] = (0, 0)) -> Sample:
    """The labels of what a recording becomes.

    Args:
        recording: A scan or sequence.
        digest: Of the files behind it; empty before it is prepared.
        name: Of one of several dynamic images.
        span: Its first and last frame number.
    """
    return Sample(
        sample_id=f"{recording.sample_id}_{name}" if name else recording.sample_id,
        subject=recording.subject,
        expression=recording.expression,
        level=recording.level,
        labels=recording.labels or (recording.expression,),
        condition=recording.condition,
        recording=recording.sample_id,
        first_frame=span[0],
        last_frame=span[1],
        digest=digest,
        # Which of them a window of a sequence shows is not known.
        actions=None if name else recording.actions,
        unjudged_actions=() if name else recording.unjudged_actions,
    )


def _bad_file(recording: Recording, path: Path, error: Exception) -> BadFile:
    # A store must not depend on where the data set lies, so file names stand without their folder.
    reason = str(error).replace(f"{path.parent}{os.sep}", "")
    return BadFile(sample_id=recording.sample_id, path=path.name, reason=reason)
