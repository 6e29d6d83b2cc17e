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
from smilevlm.store.parts import PackedSample, PartInfo, Sample, listing_digest, pack, part_name, write_part
from smilevlm.store.records import FrameFile, Recording
from smilevlm.store.rendering import FaceFinder, scan_views, sequence_views
from smilevlm.typing import ViewImages


@dataclass(frozen=True, kw_only=True)
class PartJob:
    """What becomes one part: the scans of one subject, or one sequence."""

    name: str
    recordings: tuple[Recording, ...]

    def folder(self, parts: Path) -> Path:
        return parts / part_name(self.name)

    def sources(self) -> tuple[tuple[str, str], ...]:
        return tuple((recording.sample_id, listing_digest(recording)) for recording in self.recordings)


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
    skipped: list[BadFile] = []
    bad_frames: list[BadFile] = []
    remarks: list[Remark] = []
    sources = job.sources()
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
            packed += prepared
            bad_frames += bad
            remarks += [Remark(sample_id=recording.sample_id, text=text) for text in _texts(recording, said)]
    info = PartInfo(
        name=job.name,
        settings_digest=settings.digest,
        sources=sources,
        samples=tuple((p.sample.sample_id, p.sample.subject, p.sample.digest) for p in packed),
        skipped=tuple(skipped),
        bad_frames=tuple(bad_frames),
        remarks=tuple(remarks),
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


def _scan(recording: Recording, settings: PrepareSettings, said: dict[str, tuple[str, ...]]) -> Iterator[PackedSample]:
    images, digest = _render(recording.frames[0], settings, FaceFinder(settings), said)
    yield pack(sample_of(recording, digest=digest), images)


def _sequence(
    recording: Recording, settings: PrepareSettings, bad: list[BadFile], said: dict[str, tuple[str, ...]]
) -> Iterator[PackedSample]:
    """The dynamic images of a sequence; frames stream by, one in memory at a time."""
    digests: dict[FrameFile, str] = {}
    find = FaceFinder(settings)

    def render(frame: FrameFile) -> ViewImages:
        images, digests[frame] = _render(frame, settings, find, said)
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
        used = "".join(digests.get(recording.frames[k], "") for k in sorted(set(plan.frames)))
        yield pack(
            sample_of(
                recording,
                name=plan.name,
                digest=hashlib.sha256(used.encode()).hexdigest(),
                span=(plan.first_number, plan.last_number),
            ),
            dynamic.images,
        )


def _render(
    frame: FrameFile, settings: PrepareSettings, find: FaceFinder, said: dict[str, tuple[str, ...]]
) -> tuple[ViewImages, str]:
    """The views of a frame and the digest of its file; `said` gets the remarks of its mesh under the file's name."""
    loaded = read_frame(frame, load_texture=settings.views.kind == "texture")
    images, _ = scan_views(loaded.mesh, settings, find)
    said[frame.path.name] = loaded.mesh.remarks
    return images, loaded.digest


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
