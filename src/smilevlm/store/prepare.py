"""Recordings to views, in parallel and resumable: one job per part, each part renamed into place when complete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smilevlm.errors import StoreError, first_few
from smilevlm.files import remove_in_one_piece, remove_leftovers
from smilevlm.store.actions import actions_digest, write_actions
from smilevlm.store.engine import run_everywhere
from smilevlm.store.manifest import MANIFEST_NAME, Manifest, PrepareSettings, content_hash, write_manifest
from smilevlm.store.parts import PartInfo, read_part_info
from smilevlm.store.records import Recording
from smilevlm.store.work import PartJob, part_jobs, prepare_part

PARTS_NAME = "parts"


@dataclass(frozen=True, kw_only=True)
class PrepareOutcome:
    """What a run of `prepare` did.

    Args:
        manifest: Of the finished store.
        num_new: Recordings prepared now, skipped ones included; the others were there already.
    """

    manifest: Manifest
    num_new: int


def prepare(
    recordings: Sequence[Recording],
    store: Path,
    settings: PrepareSettings,
    *,
    layout: str,
    synthetic: bool,
    jobs: int = 1,
    scheduler: str | None = None,
    retry_skipped: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareOutcome:
    """Render every recording and write the store.

    A scan that cannot be read is skipped, listed with its reason and counted; so is a frame of a sequence, whose place
    its neighbour takes. Neither ends the run. After a crash the same call goes on with the parts that are missing, and
    the finished store has the same bytes, whatever the number of processes, machines and crashes.

    Args:
        recordings: What to prepare.
        store: Folder to write.
        settings: How the views are made.
        layout: Name of the data set's layout, kept in the manifest.
        synthetic: Whether the faces are synthetic, kept in the manifest.
        jobs: Processes on this machine.
        scheduler: Address of a dask scheduler (`tcp://host:8786`); its workers are used instead, and must see data set
            and store under the same paths.
        retry_skipped: Try parts again in which something was skipped.
        progress: Called with (recordings done, recordings in all).

    Raises:
        StoreError: The folder holds a store made with other settings or from other files, or nothing could be read.
        MissingExtraError: `scheduler` is given without the extra `distributed`.
    """
    wanted = part_jobs(recordings)
    if not wanted:
        raise StoreError("there is no scan to prepare")
    parts = open_parts(store)
    missing = _missing(parts, wanted, settings, retry_skipped=retry_skipped)
    total = sum(len(job.recordings) for job in wanted)
    num_new = sum(len(job.recordings) for job in missing)
    done = total - num_new
    if progress:
        progress(done, total)
    if missing:
        (store / MANIFEST_NAME).unlink(missing_ok=True)
    calls = [(parts, job, settings) for job in missing]
    for finished in run_everywhere(prepare_part, calls, jobs=jobs, scheduler=scheduler):
        done += len(missing[finished].recordings)
        if progress:
            progress(done, total)
    remove_leftovers(parts)
    infos = {job.folder(parts).name: read_part_info(job.folder(parts)) for job in wanted}
    manifest = _manifest(infos, settings, layout, synthetic)
    manifest = replace(manifest, actions_digest=write_actions(store, recordings))
    write_manifest(store, manifest)
    return PrepareOutcome(manifest=manifest, num_new=num_new)


def open_parts(store: Path) -> Path:
    """The folder of a store's parts, made if missing; what killed runs left behind is removed."""
    parts = store / PARTS_NAME
    parts.mkdir(parents=True, exist_ok=True)
    remove_leftovers(parts)
    for unfinished in store.glob(".*.part"):  # of the manifest and of the overview picture
        unfinished.unlink(missing_ok=True)
    return parts


def finish_store(store: Path, settings: PrepareSettings, *, layout: str, synthetic: bool) -> Manifest:
    """Write the manifest of a store whose parts and table of actions are all there.

    Raises:
        StoreError: A part was made with other settings or is damaged, or none holds a sample.
    """
    infos = present_parts(store, settings)
    manifest = _manifest(infos, settings, layout, synthetic)
    manifest = replace(manifest, actions_digest=actions_digest(store))
    write_manifest(store, manifest)
    return manifest


def present_parts(store: Path, settings: PrepareSettings) -> dict[str, PartInfo]:
    """The parts of a store by folder name, sorted by the names of the parts; empty where there is no store yet.

    Raises:
        StoreError: A part was made with other settings, or is damaged.
    """
    parts = store / PARTS_NAME
    folders = list(parts.iterdir()) if parts.is_dir() else []
    infos = {each.name: read_part_info(each) for each in folders if each.is_dir() and not each.name.startswith(".")}
    if any(info.settings_digest != settings.digest for info in infos.values()):
        raise StoreError(f"{store} was prepared with other settings; choose another folder or delete it")
    return dict(sorted(infos.items(), key=lambda item: item[1].name))


def _missing(
    parts: Path, wanted: Sequence[PartJob], settings: PrepareSettings, *, retry_skipped: bool
) -> list[PartJob]:
    """The parts still to make; those from an earlier run must belong to the same settings and the same files."""
    by_folder = {job.folder(parts).name: job for job in wanted}
    present = present_parts(parts.parent, settings)
    changed: list[PartJob] = []
    changes: dict[str, list[str]] = {}
    for name, info in list(present.items()):
        if name not in by_folder:
            raise StoreError(
                f"{parts.parent} holds {info.name}, which is not in the data set given, or not in its protocol, or was "
                "read with another of --scans and --sequence; choose another folder"
            )
        if retry_skipped and (info.skipped or info.bad_frames):
            remove_in_one_piece(parts / name)
            del present[name]
        elif found := _changes(info, by_folder[name], settings):
            changed.append(by_folder[name])
            for what, sample_ids in found.items():
                changes.setdefault(what, []).extend(sample_ids)
    if changed:
        raise StoreError(_changed_since(parts, changed, changes))
    return [job for name, job in by_folder.items() if name not in present]


def _changes(info: PartInfo, job: PartJob, settings: PrepareSettings) -> dict[str, list[str]]:
    """What is no longer as it was when a part was made: kind of change to sample ids."""
    before, now = dict(info.sources), dict(job.sources(settings))
    labels_before, labels_now = dict(info.labels), dict(job.labels())
    both = [name for name in now if name in before]
    found = {
        "other labels": [name for name in both if labels_before.get(name) != labels_now[name]],
        "other files": [name for name in both if before[name] != now[name]],
        "not there before": [name for name in now if name not in before],
        "no longer in the data set or its protocol": [name for name in before if name not in now],
    }
    if not any(found.values()) and info.sources != tuple(now.items()):
        found["in another order"] = both
    return {what: sample_ids for what, sample_ids in found.items() if sample_ids}


def _changed_since(parts: Path, changed: Sequence[PartJob], changes: Mapping[str, Sequence[str]]) -> str:
    """The message that names the changed scans and says what to do."""
    folders = [job.folder(parts) for job in changed]
    where = f"{folders[0]} was" if len(folders) == 1 else f"{first_few([f.name for f in folders])} in {parts} were"
    these = "it" if len(folders) == 1 else "them"
    details = "; ".join(f"{what}: {first_few(sample_ids)}" for what, sample_ids in changes.items())
    return (
        f"the scans of {first_few([job.name for job in changed])} changed since {where} prepared ({details}); delete "
        f"{these} and try again, or choose another store"
    )


def _manifest(infos: Mapping[str, PartInfo], settings: PrepareSettings, layout: str, synthetic: bool) -> Manifest:
    """Of the parts by folder name, in their order."""
    skipped = tuple(bad for info in infos.values() for bad in info.skipped)
    samples = [sample for info in infos.values() for sample in info.samples]
    if not samples:
        first = f"; the first reason: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise StoreError(f"none of the {len(skipped)} scans could be prepared{first}")
    return Manifest(
        layout=layout,
        synthetic=synthetic,
        settings=settings,
        parts=tuple(name for name, info in infos.items() if info.samples),
        subjects=tuple(sorted({subject for _, subject, _ in samples})),
        num_samples=len(samples),
        content_hash=content_hash(settings, {sample_id: digest for sample_id, _, digest in samples}),
        skipped=skipped,
        bad_frames=tuple(bad for info in infos.values() for bad in info.bad_frames),
        remarks=tuple(remark for info in infos.values() for remark in info.remarks),
    )
