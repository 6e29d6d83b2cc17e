"""What the faces of a synthetic data set do, kept beside them: `actions.csv` at its root.

Each part's actions are written into a hidden folder before the part is complete, and moved into the table at the end,
so that a run may be interrupted at any moment, and several may write one data set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import quote

from smilevlm.files import locked, write_atomically
from smilevlm.labels import FACIAL_ACTIONS, NOT_IN_ARKIT, ActionIntensities
from smilevlm.readers import ACTIONS_NAME, RecordedActions, action_table, read_action_table

_PENDING = ".actions"


def record_part(
    root: Path,
    part_path: str,
    actions: Mapping[str, ActionIntensities | RecordedActions],
    *,
    judged: Collection[str] = (),
) -> None:
    """Keep the actions of one part until `gather_actions`.

    Args:
        root: Of the data set.
        part_path: Of the part below it.
        actions: By sample id, as the layout's index names the scans and sequences; with actions that the file does not
            show as unjudged.
        judged: Those of `NOT_IN_ARKIT` that the layout records itself; the others are unjudged.
    """
    unknown = [code for code in NOT_IN_ARKIT if code not in judged]
    recorded = {sample: _with_unjudged(each, unknown) for sample, each in actions.items()}
    write_atomically(root / _PENDING / f"{quote(part_path, safe='')}.csv", action_table(recorded))


def _with_unjudged(actions: ActionIntensities | RecordedActions, unknown: Collection[str]) -> RecordedActions:
    if not isinstance(actions, RecordedActions):
        actions = RecordedActions(intensities=actions)
    intensities = {code: sides for code, sides in actions.intensities.items() if code not in actions.unjudged}
    unjudged = {*actions.unjudged, *unknown} - intensities.keys()
    return RecordedActions(intensities=intensities, unjudged=tuple(code for code in FACIAL_ACTIONS if code in unjudged))


def pending_tables(root: Path) -> list[Path]:
    """The tables of parts that `gather_actions` has not moved yet."""
    return sorted((root / _PENDING).glob("[!.]*.csv"))


def gather_actions(root: Path) -> None:
    """Move what `record_part` kept into the data set's table of actions."""
    pending = root / _PENDING
    if not pending.is_dir():
        return
    table = root / ACTIONS_NAME
    with locked(table):
        found = pending_tables(root)
        recorded = read_action_table(table) if table.exists() else {}
        for path in found:
            recorded |= read_action_table(path)
        if found:
            write_atomically(table, action_table(recorded))
        for path in found:
            path.unlink()
    with contextlib.suppress(OSError):  # another run has written a part meanwhile
        pending.rmdir()
