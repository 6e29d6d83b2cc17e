"""The facial actions of a store's recordings: a table beside the manifest.

They decide nothing about the images, so they stand apart from the parts: a store that was made before its data set had
any gets them when it is prepared again, and no face is rendered anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smilevlm.errors import StoreError
from smilevlm.files import write_atomically
from smilevlm.readers import ACTIONS_NAME, RecordedActions, action_table, read_action_table
from smilevlm.store.parts import Sample
from smilevlm.store.records import Recording


def write_actions(store: Path, recordings: Sequence[Recording]) -> str:
    """Write the table and return its sha256; without a recorded action there is no table, and the digest is empty."""
    recorded = {
        recording.sample_id: RecordedActions(intensities=recording.actions, unjudged=recording.unjudged_actions)
        for recording in recordings
        if recording.actions is not None
    }
    if not recorded:
        (store / ACTIONS_NAME).unlink(missing_ok=True)
        return ""
    text = action_table(recorded)
    write_atomically(store / ACTIONS_NAME, text)
    return _digest(text.encode())


def actions_digest(store: Path) -> str:
    """sha256 of the store's table, empty where there is none."""
    path = store / ACTIONS_NAME
    return _digest(path.read_bytes()) if path.exists() else ""


def read_actions(store: Path, digest: str) -> dict[str, RecordedActions]:
    """The actions by recording; empty for a store without any.

    Args:
        store: Folder of the store.
        digest: Of the table, as the manifest has it.

    Raises:
        StoreError: The table is missing, or not the one that belongs to the manifest.
    """
    if not digest:
        return {}
    path = store / ACTIONS_NAME
    try:
        found = _digest(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error}); run `smilevlm prepare` again to make it") from None
    if found != digest:
        raise StoreError(f"{path} is not the table that was prepared; run `smilevlm prepare` again to make it")
    return read_action_table(path)


def with_actions(sample: Sample, recorded: RecordedActions | None) -> Sample:
    """A sample with what is recorded of its recording, unless it is one of several windows of it."""
    if recorded is None or sample.sample_id != sample.recording:
        return sample
    return replace(sample, actions=recorded.intensities, unjudged_actions=recorded.unjudged)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
