"""4DME's workbook of micro-expressions: who moved, when, in which of five classes, by which action units."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import TableError
from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.readers.workbooks import CellValue, SheetRow, read_workbook

FOURDME_COLUMNS: tuple[str, ...] = (
    "fold", "sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "Total", "AUs", "eye blink",
    "Positive", "Negative", "Surprise", "Repression", "Others",
)  # fmt: skip
"""Headers of the release, before its columns `AU1`, `AU2`, ...; those that this reader needs are `REQUIRED`."""
REQUIRED = tuple(name for name in FOURDME_COLUMNS if name not in ("fold", "Total", "eye blink"))

_ACTION_UNIT = re.compile(r"(?:AU)?\s*([LR])?\s*(?:AU)?(\d{1,2})\s*([LR])?\s*([(（]\s*k\s*[)）])?", re.IGNORECASE)
_AU_COLUMN = re.compile(r"au\s*(\d{1,2})")
_BETWEEN = re.compile(r"[+,;&/]")
_NOTHING = ("", "none", "nan", "n/a", "-", "0")
_LAST_FRAME = 10**7


@dataclass(frozen=True, kw_only=True)
class ActionUnit:
    """One action unit of a clip.

    Args:
        number: In FACS.
        side: `L` or `R` for one side of the face, as the person's own, else empty.
        static: Kept through the whole clip, `(k)` in the workbook.
    """

    number: int
    side: str = ""
    static: bool = False


@dataclass(frozen=True, kw_only=True)
class MicroClip:
    """One labelled clip.

    Args:
        subject: `sub_ID` as written, which is also the folder's name.
        clip_name: `fold_name`, the folder within the subject's.
        emotion_text: The `Emotion` column as written, such as `Surprise+Positive`.
        labels: Canonical classes, from the five columns of 0 and 1, in the order of `MICRO_EXPRESSIONS`.
        onset: Number of the first frame that shows the movement.
        apex: Where it is strongest; None when the workbook does not say.
        offset: Number of the last frame that shows it.
        action_units: From the `AUs` column.
    """

    subject: str
    clip_name: str
    emotion_text: str
    labels: tuple[str, ...]
    onset: int
    apex: int | None
    offset: int
    action_units: tuple[ActionUnit, ...]


@dataclass(frozen=True, kw_only=True)
class MicroLabels:
    """The clips in the order of the workbook, and remarks on odd rows and on those left out, with `path:row`."""

    clips: tuple[MicroClip, ...]
    remarks: tuple[str, ...]


def read_4dme_labels(path: str | os.PathLike[str], *, sheet: str | None = None) -> MicroLabels:
    """Read the workbook of micro-expressions. Headers count in any case, surrounding blanks do not.

    Rows that contradict themselves are kept and remarked on: classes unlike the text, no class, an action unit that
    cannot be understood, columns of action units unlike the text (the release has two rows that are swapped), phases
    out of order, a clip that occurs twice. A row without a name, or without a number where there must be one, is left
    out with a remark. Without `sheet` the first is read.
    """
    path = Path(path)
    rows = [_Row(path, row) for row in read_workbook(path, sheet=sheet)]
    if not rows:
        raise TableError("no rows below the headers", path=path)
    missing = [name for name in REQUIRED if name.lower() not in rows[0].cells]
    if missing:
        raise TableError(f"no column {', '.join(missing)}; there are {', '.join(rows[0].cells)[:400]}", path=path)
    rows, clips, remarks = _usable(rows)
    remarks += [remark for row, clip in zip(rows, clips, strict=True) for remark in _remarks(row, clip)]
    remarks += _remarks_on_action_units(rows, clips)
    remarks += _remarks_on_repeats(rows, clips)
    return MicroLabels(clips=tuple(clips), remarks=tuple(remarks))


def _usable(rows: Sequence[_Row]) -> tuple[list[_Row], list[MicroClip], list[str]]:
    """The rows that can be read, their clips, and a remark on each of the others."""
    good: list[_Row] = []
    clips: list[MicroClip] = []
    faults: list[TableError] = []
    for row in rows:
        try:
            clips.append(_clip(row))
            good.append(row)
        except TableError as error:
            faults.append(error)
    if not clips:
        raise faults[0]
    return good, clips, [f"{fault}; the row was left out" for fault in faults]


class _Row:
    """A row by lower-case header, whose errors say where it stands."""

    def __init__(self, path: Path, row: SheetRow) -> None:
        self.path = path
        self.number = row.number
        self.cells: Mapping[str, CellValue] = {header.lower(): value for header, value in row.cells.items()}

    def text(self, name: str) -> str:
        value = self.cells.get(name.lower())
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None else str(value).strip()

    def required_text(self, name: str) -> str:
        text = self.text(name)
        if not text:
            raise self.error(f"no {name}")
        return text

    def frame(self, name: str) -> int | None:
        text = self.text(name)
        if text.lower() in ("", "none", "nan", "n/a", "-"):
            return None
        if not (text.isascii() and text.isdecimal() and int(text[:9]) < _LAST_FRAME and len(text) < 9):
            raise self.error(f"{name} is {text[:24]!r}, expected a frame number")
        return int(text)

    def required_frame(self, name: str) -> int:
        frame = self.frame(name)
        if frame is None:
            raise self.error(f"no {name}")
        return frame

    def flag(self, name: str) -> bool:
        text = self.text(name).lower()
        if text not in ("", "0", "1", "true", "false"):
            raise self.error(f"{name} is {text[:24]!r}, expected 0 or 1")
        return text in ("1", "true")

    def error(self, message: str) -> TableError:
        return TableError(message, path=self.path, line=self.number)

    def remark(self, message: str) -> str:
        return f"{self.path}:{self.number}: {message}"


def _clip(row: _Row) -> MicroClip:
    return MicroClip(
        subject=row.required_text("sub_ID"),
        clip_name=row.required_text("fold_name"),
        emotion_text=row.text("Emotion"),
        labels=tuple(name for name in MICRO_EXPRESSIONS if row.flag(name)),
        onset=row.required_frame("Onset"),
        apex=row.frame("Apex"),
        offset=row.required_frame("Offset"),
        action_units=parse_action_units(row.text("AUs"))[0],
    )


def parse_action_units(text: str) -> tuple[tuple[ActionUnit, ...], tuple[str, ...]]:
    """Action units of a text such as `AU4(k)+L7` or `AUR2+12(k)+45`, and the pieces that are none."""
    units: list[ActionUnit] = []
    unknown: list[str] = []
    for piece in map(str.strip, _BETWEEN.split(text)):
        if piece.lower() in _NOTHING:
            continue
        match = _ACTION_UNIT.fullmatch(piece)
        if match:
            before, number, after, static = match.groups()
            units.append(ActionUnit(number=int(number), side=(before or after or "").upper(), static=bool(static)))
        else:
            unknown.append(piece)
    return tuple(units), tuple(unknown)


def _remarks(row: _Row, clip: MicroClip) -> list[str]:
    remarks: list[str] = []
    words = [word.strip().lower() for word in _BETWEEN.split(clip.emotion_text) if word.strip()]
    named = {"others" if word == "other" else word for word in words}
    if named != set(clip.labels):
        columns = "+".join(clip.labels) or "none"
        remarks.append(row.remark(f"Emotion says {clip.emotion_text!r}, the columns say {columns}; they are taken"))
    if not clip.labels:
        remarks.append(row.remark("none of the five classes is 1"))
    unknown = parse_action_units(row.text("AUs"))[1]
    blink = row.text("eye blink")
    if blink not in ("", "0", "1") and parse_action_units(blink)[0]:
        remarks.append(row.remark(f"eye blink is {blink[:80]!r}: swapped with AUs?"))
    if unknown:
        remarks.append(row.remark(f"AUs {row.text('AUs')[:80]!r}: {'+'.join(unknown)[:80]!r} is no action unit"))
    if clip.apex is None:
        remarks.append(row.remark("no Apex"))
    elif not clip.onset <= clip.apex <= clip.offset:
        remarks.append(row.remark(f"onset {clip.onset}, apex {clip.apex}, offset {clip.offset} are out of order"))
    if clip.apex is None and clip.onset > clip.offset:
        remarks.append(row.remark(f"onset {clip.onset}, offset {clip.offset} are out of order"))
    return remarks


def _remarks_on_action_units(rows: Sequence[_Row], clips: Sequence[MicroClip]) -> list[str]:
    """Rows whose columns `AU1`, `AU2`, ... say something else than `AUs`."""
    columns = {int(match.group(1)): name for name in rows[0].cells if (match := _AU_COLUMN.fullmatch(name))}
    if not columns:
        return []
    written = [{unit.number for unit in clip.action_units} & columns.keys() for clip in clips]
    marked = [{number for number, name in columns.items() if row.text(name).lower() not in _NOTHING} for row in rows]
    remarks: list[str] = []
    for here, row in enumerate(rows):
        if written[here] == marked[here]:
            continue
        neighbours = [there for there in (here - 1, here + 1) if 0 <= there < len(rows)]
        swapped = [there for there in neighbours if written[here] == marked[there] and written[there] == marked[here]]
        which = f"they look swapped with row {rows[swapped[0]].number}" if swapped else _numbers(marked[here])
        remarks.append(row.remark(f"AUs {row.text('AUs')!r}, but the columns of action units differ: {which}"))
    return remarks


def _numbers(units: set[int]) -> str:
    return "+".join(str(number) for number in sorted(units)) or "none"


def _remarks_on_repeats(rows: Sequence[_Row], clips: Sequence[MicroClip]) -> list[str]:
    first: dict[tuple[str, str, int], int] = {}
    remarks: list[str] = []
    for row, clip in zip(rows, clips, strict=True):
        key = (clip.subject, clip.clip_name, clip.onset)
        if key in first:
            remarks.append(row.remark(f"the clip {clip.subject}/{clip.clip_name} is also in row {first[key]}"))
        first.setdefault(key, row.number)
    return remarks
