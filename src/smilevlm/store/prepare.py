"""Scans to views, in parallel and resumable: one job per subject, each part renamed into place when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import SmileVlmError, StoreError
from smilevlm.geometry import Mesh, normalise
from smilevlm.store.manifest import (
    MANIFEST_NAME,
    Manifest,
    PrepareSettings,
    SkippedScan,
    content_hash,
    write_manifest,
)
from smilevlm.store.parts import PreparedScan, file_digest, read_part_info, write_part
from smilevlm.store.records import ScanRecord
from smilevlm.views import render_normalised

PARTS_NAME = "parts"
ReadScan = Callable[[ScanRecord], Mesh]


@dataclass(frozen=True, kw_only=True)
class PrepareOutcome:
    """What a run of `prepare` did.

    Args:
        manifest: Of the finished store.
        num_new: Subjects prepared now; the others were there already.
    """

    manifest: Manifest
    num_new: int


def prepare(
    records: Sequence[ScanRecord],
    store: Path,
    settings: PrepareSettings,
    *,
    layout: str,
    synthetic: bool,
    read_scan: ReadScan,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareOutcome:
    """Render every scan and write the store.

    A scan that cannot be read is skipped, listed with its reason and counted; it never ends the run. After a crash the
    same call goes on with the subjects that are missing.

    Args:
        records: What to prepare.
        store: Folder to write.
        settings: How the views are made.
        layout: Name of the data set's layout, kept in the manifest.
        synthetic: Whether the faces are synthetic, kept in the manifest.
        read_scan: Reads a record's mesh; must be importable, since it crosses processes.
        jobs: Processes.
        progress: Called with (subjects done, subjects in all).

    Raises:
        StoreError: The folder holds a store made with other settings or from other files, or no scan could be read.
    """
    from joblib import Parallel, delayed

    by_subject: dict[str, list[ScanRecord]] = {}
    for record in records:
        by_subject.setdefault(record.subject, []).append(record)
    if not by_subject:
        raise StoreError("there is no scan to prepare")
    parts = store / PARTS_NAME
    parts.mkdir(parents=True, exist_ok=True)
    for leftover in parts.glob(".*.part"):
        shutil.rmtree(leftover)
    present = {folder.name for folder in parts.iterdir()}
    _check_present(parts, present, by_subject, settings)
    missing = [subject for subject in sorted(by_subject) if subject not in present]
    done = len(by_subject) - len(missing)
    if progress:
        progress(done, len(by_subject))
    if missing:
        (store / MANIFEST_NAME).unlink(missing_ok=True)
    calls = (
        delayed(_prepare_subject)(parts / subject, subject, by_subject[subject], settings, read_scan)
        for subject in missing
    )
    for _ in Parallel(n_jobs=jobs, return_as="generator_unordered")(calls):
        done += 1
        if progress:
            progress(done, len(by_subject))
    manifest = _manifest(parts, sorted(by_subject), settings, layout, synthetic)
    write_manifest(store, manifest)
    return PrepareOutcome(manifest=manifest, num_new=len(missing))


def _check_present(
    parts: Path, present: set[str], by_subject: dict[str, list[ScanRecord]], settings: PrepareSettings
) -> None:
    """Parts from an earlier run must belong to the same settings and the same files."""
    for subject in sorted(present):
        info = read_part_info(parts / subject)
        if info.settings_digest != settings.digest:
            raise StoreError(f"{parts.parent} was prepared with other settings; choose another folder or delete it")
        if subject not in by_subject:
            raise StoreError(f"{parts.parent} holds subject {subject}, which is not in the data set given")
        expected = {r.sample_id: (r.path.name, r.path.stat().st_size) for r in by_subject[subject]}
        found = {sample: (name, size) for sample, name, size, _ in info.sources}
        found |= {scan.sample_id: (scan.path, scan.size) for scan in info.skipped}
        if found != expected:
            raise StoreError(
                f"the scans of {subject} changed since {parts / subject} was prepared; delete that folder and try again"
            )


def _prepare_subject(
    folder: Path, subject: str, records: Sequence[ScanRecord], settings: PrepareSettings, read_scan: ReadScan
) -> None:
    scans: list[PreparedScan] = []
    skipped: list[SkippedScan] = []
    for record in records:
        try:
            face = normalise(read_scan(record), settings.normalise)
            images = render_normalised(face.mesh, settings.views)
            scans.append(PreparedScan(record=record, digest=file_digest(record.path), images=images))
        except (SmileVlmError, OSError) as error:
            # A store must not depend on where the data set lies, so file names stand without their folder.
            reason = str(error).replace(f"{record.path.parent}{os.sep}", "")
            skipped.append(
                SkippedScan(
                    sample_id=record.sample_id,
                    path=record.path.name,
                    size=record.path.stat().st_size,
                    reason=reason,
                )
            )
    write_part(folder, subject=subject, settings_digest=settings.digest, scans=scans, skipped=skipped)


def _manifest(
    parts: Path, subjects: Sequence[str], settings: PrepareSettings, layout: str, synthetic: bool
) -> Manifest:
    infos = [read_part_info(parts / subject) for subject in subjects]
    digests = {source[0]: source[3] for info in infos for source in info.sources}
    skipped = tuple(scan for info in infos for scan in info.skipped)
    if not digests:
        first = f"; the first reason: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise StoreError(f"none of the {len(skipped)} scans could be prepared{first}")
    return Manifest(
        layout=layout,
        synthetic=synthetic,
        settings=settings,
        subjects=tuple(info.subject for info in infos if info.sources),
        num_samples=len(digests),
        content_hash=content_hash(settings, digests),
        skipped=skipped,
    )
