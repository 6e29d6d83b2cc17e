"""The work on one part: recordings in, one Arrow file out. Runs in any process, on any machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.dynamics.plan import DynamicPlan
from smilevlm.errors import SmileVlmError, StoreError
from smilevlm.store.frames import read_frame
from smilevlm.store.manifest import BadFile, PrepareSettings, Remark
from smilevlm.store.numbering import counted_remarks
from smilevlm.store.parts import (
    PackedSample,
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
    """Recordings grouped into parts, sorted by name.

    Raises:
        StoreError: A sample id occurs twice.
    """
    seen: set[str] = set()
    by_part: dict[str, list[Recording]] = {}
    for recording in recordings:
        if recording.sample_id in seen:
            raise StoreError(f"the data set holds {recording.sample_id} twice")
        seen.add(recording.sample_id)
        name = recording.sample_id if recording.is_sequence else recording.subject
        by_part.setdefault(name, []).append(recording)
    return [PartJob(name=name, recordings=tuple(by_part[name])) for name in sorted(by_part)]


def prepare_part(parts: Path, job: PartJob, settings: PrepareSettings) -> None:
    """Prepare one part and leave it in its folder, unless another process has done so meanwhile."""
    packed: list[PackedSample] = []
    samples: list[tuple[str, str, str]] = []
    skipped: list[BadFile] = []
    bad_frames: list[BadFile] = []
    remarks: list[Remark] = []
    sources = job.sources(settings)
    for recording in job.recordings:
        bad: list[BadFile] = []
        said: dict[str, tuple[str, ...]] = {}
        try:
            prepared = list(
                _sequence(recording, settings, bad, said) if recording.is_sequence else _scan(recording, settings, said)
            )
        except (SmileVlmError, OSError) as error:
            skipped.append(_bad_file(recording, recording.path, error))
        else:
            packed += [each for each, _ in prepared]
            samples += [
                (each.sample.sample_id, each.sample.subject, content_digest(each.sample, recording, textures))
                for each, textures in prepared
            ]
            bad_frames += bad
            remarks += [Remark(sample_id=recording.sample_id, text=text) for text in _texts(recording, said)]
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
        write_part(folder, info, packed)
    except OSError:
        # Two runs on one store may reach the same part; its bytes follow from the files and the settings alone.
        if not folder.is_dir():
            raise


def _texts(recording: Recording, said: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return counted_remarks(said) if recording.is_sequence else tuple(text for each in said.values() for text in each)


def _scan(
    recording: Recording, settings: PrepareSettings, said: dict[str, tuple[str, ...]]
) -> Iterator[tuple[PackedSample, list[str]]]:
    """The scan's sample, and the digest of its texture."""
    images, digest, texture = _render(recording.frames[0], settings, FaceFinder(settings), said)
    yield pack(sample_of(recording, digest=digest), images), [texture]


def _sequence(
    recording: Recording, settings: PrepareSettings, bad: list[BadFile], said: dict[str, tuple[str, ...]]
) -> Iterator[tuple[PackedSample, list[str]]]:
    """The dynamic images of a sequence, each with the digests of its textures; frames stream by, one in memory."""
    digests: dict[FrameFile, str] = {}
    textures: dict[FrameFile, str] = {}
    find = FaceFinder(settings)

    def render(frame: FrameFile) -> ViewImages:
        images, digests[frame], textures[frame] = _render(frame, settings, find, said)
        return images

    def lost(plan: DynamicPlan) -> None:
        where = f"frames {plan.first_number} to {plan.last_number}"
        reason = f"no frame of the window could be read: {where}"
        bad.append(BadFile(sample_id=recording.sample_id, path="", reason=reason))

    for dynamic in sequence_views(
        recording.frames,
        [frame.number for frame in recording.frames],
        settings,
        render,
        phases=recording.phases,
        on_bad=lambda frame, error: bad.append(_bad_file(recording, frame.path, error)),
        on_lost=lost,
    ):
        plan = dynamic.plan
        frames = [recording.frames[k] for k in sorted(set(plan.frames))]
        used = "".join(digests.get(frame, "") for frame in frames)
        sample = sample_of(
            recording,
            name=plan.name,
            digest=hashlib.sha256(used.encode()).hexdigest(),
            span=(plan.first_number, plan.last_number),
        )
        yield pack(sample, dynamic.images), [textures.get(frame, "") for frame in frames]


def _render(
    frame: FrameFile, settings: PrepareSettings, find: FaceFinder, said: dict[str, tuple[str, ...]]
) -> tuple[ViewImages, str, str]:
    """A frame's views, and the digests of its mesh file and its texture; `said` gets its remarks by file name."""
    loaded = read_frame(frame, load_texture=_needs_textures(settings))
    images, face = scan_views(loaded.mesh, settings, find)
    said[frame.path.name] = face.remarks
    return images, loaded.digest, loaded.texture_digest


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
    )


def _bad_file(recording: Recording, path: Path, error: Exception) -> BadFile:
    # A store must not depend on where the data set lies, so file names stand without their folder.
    reason = str(error).replace(f"{path.parent}{os.sep}", "")
    return BadFile(sample_id=recording.sample_id, path=path.name, reason=reason)
