"""Tables of facial actions: what each scan or sequence shows, one row per action.

`sample,action,left,right` with intensities in [0, 1] of the person's sides. A row without an action says that nothing
moves; an action without intensities was not judged; a sample without a row is not recorded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smilevlm.errors import MeshError, TableError
from smilevlm.labels import FACIAL_ACTIONS, ActionIntensities
from smilevlm.readers.archives import read_file

ACTIONS_NAME = "actions.csv"
"""At the root of a data set or a store. No licensed data set has such a file."""
_COLUMNS = ("sample", "action", "left", "right")
_MAX_BYTES = 2**29
_ORDER = {code: place for place, code in enumerate(FACIAL_ACTIONS)}


@dataclass(frozen=True, kw_only=True)
class RecordedActions:
    """What is known of the actions of one face.

    Args:
        intensities: Of the actions that are there.
        unjudged: Codes of actions that nobody looked for: not listed among the intensities, and yet perhaps there.
    """

    intensities: ActionIntensities = field(default_factory=dict)
    unjudged: tuple[str, ...] = ()


def action_table(recorded: Mapping[str, RecordedActions]) -> str:
    """The text of a table, sorted by sample and, within one, in the order of `FACIAL_ACTIONS`.

    Args:
        recorded: By sample id. Intensities are rounded to thousandths.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for sample in sorted(recorded):
        actions = recorded[sample]
        codes = sorted({*actions.intensities, *actions.unjudged}, key=_ORDER.__getitem__)
        for code in codes:
            sides = actions.intensities.get(code)
            writer.writerow([sample, code, *(("", "") if sides is None else (f"{side:.3f}" for side in sides))])
        if not codes:
            writer.writerow([sample, "", "", ""])
    return file.getvalue()


def read_action_table(path: Path) -> dict[str, RecordedActions]:
    """Read a table of actions; the samples are in the order in which they first occur.

    Raises:
        TableError: The file cannot be read, or a line is none of a table of actions.
    """
    rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    found: dict[str, dict[str, tuple[float, float] | None]] = {}
    try:
        if (header := next(rows, [])) != list(_COLUMNS):
            raise TableError(f"columns are {','.join(header)[:80]!r}, expected {','.join(_COLUMNS)}", path=path, line=1)
        for row in rows:
            if row:
                _add(found, row)
    except (csv.Error, _RowError) as error:
        raise TableError(str(error), path=path, line=rows.line_num) from None
    return {sample: _recorded(actions) for sample, actions in found.items()}


class _RowError(Exception):
    """What is wrong with a row; the reader of the table knows its line."""


def _text(path: Path) -> str:
    try:
        data = read_file(path)
    except MeshError as error:
        raise TableError(error.message, path=path) from None
    if len(data) > _MAX_BYTES:
        raise TableError(f"{len(data)} bytes, expected {_MAX_BYTES} at most", path=path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"not UTF-8 at byte {error.start}", path=path, line=data[: error.start].count(b"\n") + 1
        ) from None


def _add(found: dict[str, dict[str, tuple[float, float] | None]], row: Sequence[str]) -> None:
    if len(row) != len(_COLUMNS):
        raise _RowError(f"{len(row)} fields, expected {len(_COLUMNS)}")
    sample, code, left, right = row
    actions = found.get(sample)
    if not sample:
        raise _RowError("no sample")
    if not code:
        if left or right:
            raise _RowError("intensities without an action")
        if actions is not None:
            raise _RowError(f"{sample} has a row without an action beside another row")
        found[sample] = {}
        return
    if code not in FACIAL_ACTIONS:
        raise _RowError(f"{code!r} is no facial action; known are {', '.join(FACIAL_ACTIONS)}")
    if actions is not None and (not actions or code in actions):
        what = f"{code} twice" if actions else "a row without an action beside another row"
        raise _RowError(f"{sample} has {what}")
    sides = None if not left and not right else (_intensity("left", left), _intensity("right", right))
    found.setdefault(sample, {})[code] = sides


def _intensity(side: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _RowError(f"{side} is {text[:24]!r}, expected a number from 0 to 1") from None
    if not 0 <= value <= 1:
        raise _RowError(f"{side} is {text[:24]}, expected 0 to 1")
    return value


def _recorded(actions: Mapping[str, tuple[float, float] | None]) -> RecordedActions:
    return RecordedActions(
        intensities={code: sides for code, sides in actions.items() if sides is not None and max(sides) > 0},
        unjudged=tuple(code for code, sides in actions.items() if sides is None),
    )
