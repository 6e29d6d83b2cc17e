"""Varied synthetic faces straight to a prepared store; a person's mesh files are there only while it is worked on.

The parts, the table of actions and the manifest are those that `synthesize_varied` and `prepare` give one after the
other. The store has a marker of its own, which says how its faces were made.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from smilevlm.datasets.folder import index_folder
from smilevlm.files import remove_leftovers, scratch_folder
from smilevlm.parallel import ProgressCallback
from smilevlm.readers import ACTIONS_NAME, read_action_table
from smilevlm.store import MANIFEST_NAME, PrepareOutcome, PrepareSettings
from smilevlm.store.engine import run_everywhere
from smilevlm.store.prepare import PARTS_NAME, finish_store, open_parts, present_parts
from smilevlm.store.work import part_jobs, prepare_part
from smilevlm.synthesis.data_set import SubjectFolder, claim_folder, settings_record
from smilevlm.synthesis.face_model import build_head_cache
from smilevlm.synthesis.recording import gather_actions, pending_tables, record_part
from smilevlm.synthesis.varied import LAYOUT, VariedSettings

_SCRATCH = ".people"


def synthesize_store(
    store: Path,
    faces: VariedSettings,
    settings: PrepareSettings,
    *,
    jobs: int = 1,
    progress: ProgressCallback | None = None,
) -> PrepareOutcome:
    """Make faces and prepare them, person by person; people already there are left alone, so a run may be interrupted.

    Args:
        store: Folder to write; made if missing.
        faces: What to make.
        settings: How the views are made.
        jobs: Processes.
        progress: Called with (people done, people in all).

    Returns:
        The manifest, and the number of people made now.

    Raises:
        LayoutError: The folder holds something else, or a store of faces made or prepared with other settings.
        StoreError: A part is damaged, or no face could be prepared.
    """
    people = LAYOUT.plan(faces)
    claim_folder(store, LAYOUT.name, {**settings_record(faces), "prepared": settings.digest})
    assert LAYOUT.write_shared is not None
    LAYOUT.write_shared(store, faces, people)
    open_parts(store)
    (store / _SCRATCH).mkdir(exist_ok=True)
    remove_leftovers(store / _SCRATCH)
    complete = _complete_people(store, settings)
    missing = [person for person in people if person.path not in complete]
    num_done = len(people) - len(missing)
    if progress:
        progress(num_done, len(people))
    if missing:
        (store / MANIFEST_NAME).unlink(missing_ok=True)
        build_head_cache()
    calls = [(store, person, faces, settings) for person in missing]
    for done, _ in enumerate(run_everywhere(_make_person, calls, jobs=jobs, scheduler=None), num_done + 1):
        if progress:
            progress(done, len(people))
    gather_actions(store)
    with contextlib.suppress(OSError):  # another run is working there
        (store / _SCRATCH).rmdir()
    manifest = finish_store(store, settings, layout=LAYOUT.name, synthetic=True)
    return PrepareOutcome(manifest=manifest, num_new=len(missing))


def _make_person(store: Path, person: SubjectFolder, faces: VariedSettings, settings: PrepareSettings) -> None:
    with scratch_folder(store / _SCRATCH / person.path) as root:
        LAYOUT.write_part(root, person, faces)
        gather_actions(root)
        index = index_folder(root)
        assert not index.problems, index.problems
        for job in part_jobs(index.recordings):
            if not job.folder(store / PARTS_NAME).is_dir():
                prepare_part(store / PARTS_NAME, job, settings)
        record_part(store, person.path, read_action_table(root / ACTIONS_NAME))


def _complete_people(store: Path, settings: PrepareSettings) -> set[str]:
    """Those whose actions are recorded and whose recordings all stand in a part."""
    infos = present_parts(store, settings)
    prepared = {sample_id for info in infos.values() for sample_id, _ in info.sources}
    tables = [*pending_tables(store), store / ACTIONS_NAME]
    recorded: dict[str, set[str]] = {}
    for table in tables:
        for sample_id in read_action_table(table) if table.exists() else ():
            recorded.setdefault(sample_id.partition("_")[0], set()).add(sample_id)
    return {person for person, sample_ids in recorded.items() if sample_ids <= prepared}
