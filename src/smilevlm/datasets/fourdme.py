"""Index of the 4D part of 4DME: the labelling workbook and a folder of meshes per micro-expression clip.

No public reader of the 4D part exists, so each plausible place of the clips is accepted and a remark says which was
met: `<root>/4D_micro/<sub_ID>/<fold_name>/`, the same without `4D_micro`, and flat folders `<sub_ID>_<fold_name>`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.datasets.frames import numbered_frames
from smilevlm.datasets.index import DataIndex, Expected
from smilevlm.datasets.index_report import IndexReport
from smilevlm.errors import FileFormatError
from smilevlm.labels import (
    MICRO_EXPRESSIONS,
    PRESENT_INTENSITY,
    UNLABELLED,
    ActionIntensities,
    Side,
    action_intensities,
    facs_code,
    side_of_letter,
)
from smilevlm.readers import MicroClip, read_4dme_labels, some
from smilevlm.store import FrameFile, Phases, Recording

_WORKBOOK = re.compile(r"4DME_Labelling_Micro_release.*\.xlsx", re.IGNORECASE)
_BASE = re.compile(r"(DI)?4D.*", re.IGNORECASE)
_SUFFIXES = (".obj", ".ply", ".wrl")
_UNSAFE = re.compile(r"[^\w.+-]+")
COMPLETE = Expected(
    num_subjects=41,
    num_recordings=267,
    per_subject={},
    source="Li et al., IEEE TAFFC 2022: 41 subjects, 267 micro-expression clips",
)


@dataclass(frozen=True, kw_only=True)
class _ClipFolder:
    """A folder of frames.

    Args:
        subject: Name of the folder above it; empty for a flat clip folder.
        name: Its own name.
        where: Which of the known places it lies in.
    """

    subject: str
    name: str
    where: str
    files: tuple[Path, ...]

    @property
    def path(self) -> Path:
        return self.files[0].parent


def index_fourdme(root: Path) -> DataIndex:
    """Find the clips of a 4DME copy and give them the workbook's labels.

    Raises:
        LayoutError: The folder is missing or holds no clip.
    """
    report = IndexReport(root, name="4DME", example="4D_micro/<sub_ID>/<fold_name>/0000.obj")
    rows = _rows(report)
    clip_folders = _clip_folders(report)
    by_key = {_key(folder.subject, folder.name): folder for folder in reversed(clip_folders)}
    people: dict[str, str] = {}
    recordings: list[Recording] = []
    used: set[Path] = set()
    for row in rows:
        clip_folder = next((by_key[key] for key in _keys_of(row) if key in by_key), None)
        if clip_folder is None:
            report.problem(root / row.subject / row.clip_name, "the workbook's clip has no frames")
        elif clip_folder.path in used:
            report.problem(clip_folder.path, "the workbook lists this clip twice; its first row was read")
        else:
            used.add(clip_folder.path)
            recordings += _recording(report, clip_folder, row, people)
    for clip_folder in clip_folders:
        if clip_folder.path not in used:
            recordings += _without_row(report, clip_folder, people, recordings)
    for where, count in sorted(Counter(folder.where for folder in clip_folders).items()):
        report.warning(f"{count} clips lie as {where}")
    return report.data_index("4dme", recordings, COMPLETE)


def _rows(report: IndexReport) -> Sequence[MicroClip]:
    places = [report.root, *report.folders(report.root)]
    # Excel leaves `~$...xlsx` beside a workbook that is open.
    books = [e for place in places for e in report.entries(place) if _WORKBOOK.fullmatch(e.name)]
    if not books:
        report.problem(report.root, "no workbook 4DME_Labelling_Micro_release*.xlsx; the clips have no labels")
        return ()
    if len(books) > 1:
        left_out = some([report.relative(book) for book in books[:-1]])
        report.warning(f"of several workbooks {report.relative(books[-1])} was read, not {left_out}")
    try:
        labels = read_4dme_labels(books[-1])
    except FileFormatError as error:
        report.file_problem(books[-1], error, line_word="row", then="; the clips have no labels")
        return ()
    for remark in labels.remarks:
        report.warning(remark.replace(f"{books[-1].parent}{os.sep}", ""))
    return labels.clips


def _clip_folders(report: IndexReport) -> list[_ClipFolder]:
    bases = [folder for folder in report.folders(report.root) if _BASE.fullmatch(folder.name)]
    found: list[_ClipFolder] = []
    for base in (*bases, report.root):
        prefix = "" if base == report.root else f"{base.name}/"
        for outer in report.folders(base):
            if outer in bases:
                continue
            files = _meshes(report, outer)
            if files:
                where = f"{prefix}<sub_ID>_<fold_name>"
                found.append(_ClipFolder(subject="", name=outer.name, where=where, files=files))
                continue
            for inner in report.folders(outer):
                files = _meshes(report, inner)
                if files:
                    where = f"{prefix}<sub_ID>/<fold_name>"
                    found.append(_ClipFolder(subject=outer.name, name=inner.name, where=where, files=files))
    return found


def _meshes(report: IndexReport, folder: Path) -> tuple[Path, ...]:
    return tuple(file for file in report.entries(folder) if file.suffix.lower() in _SUFFIXES)


def _key(subject: str, clip: str) -> tuple[str, str]:
    return subject.strip().lower(), clip.strip().lower()


def _keys_of(row: MicroClip) -> list[tuple[str, str]]:
    """Where a row's clip may lie, best first: subjects are written `S13`, `s13` or `13`, with or without zeros."""
    person = _person(row.subject)
    padded = dict.fromkeys(person.zfill(width) for width in (1, 2, 3)) if person.isdecimal() else (person,)
    subjects = [row.subject, *(text for digits in padded for text in (digits, f"s{digits}"))]
    nested = [_key(subject, row.clip_name) for subject in subjects]
    flat = [_key("", f"{subject}_{row.clip_name}") for subject in subjects]
    whole = [_key("", row.clip_name)]
    return [*nested, *flat, *whole]


def _recording(
    report: IndexReport, clip: _ClipFolder, row: MicroClip | None, people: dict[str, str]
) -> list[Recording]:
    """The clip's recording, under the first spelling of its subject, which `people` keeps; none without frames."""
    frames = numbered_frames(report, clip.files, suffixes=_SUFFIXES, only_digits=False)
    if not frames:
        report.problem(clip.path, "no file name holds a frame number")
        return []
    written = (clip.subject or clip.name.split("_")[0]) if row is None else row.subject
    subject = people.setdefault(_person(written), written)
    name = clip.name if row is None else row.clip_name
    labels = () if row is None else tuple(label for label in MICRO_EXPRESSIONS if label in row.labels)
    if row is not None and not labels:
        report.problem(clip.path, f"the workbook gives no class (Emotion {row.emotion_text!r})")
    full_name = name if name.lower().startswith(f"{subject.lower()}_") else f"{subject}_{name}"
    return [
        Recording(
            sample_id=_UNSAFE.sub("-", full_name),
            subject=subject,
            expression="+".join(labels) or UNLABELLED,
            labels=labels,
            frames=frames,
            is_sequence=True,
            phases=None if row is None else _phases(report, clip.path, row, frames),
            actions=None if row is None else _actions(report, clip.path, row),
        )
    ]


def _actions(report: IndexReport, folder: Path, row: MicroClip) -> ActionIntensities | None:
    """The workbook's action units, those that are kept through the clip included; None where it names none."""
    entries: list[tuple[str, Side, float]] = []
    for unit in row.action_units:
        code = facs_code(unit.number)
        if code is None:
            report.warning(f"{report.relative(folder)}: action unit {unit.number} is not among those known here")
        else:
            entries.append((code, side_of_letter(unit.side), PRESENT_INTENSITY))
    return action_intensities(entries) if row.action_units else None


def _without_row(
    report: IndexReport, clip: _ClipFolder, people: dict[str, str], others: Sequence[Recording]
) -> list[Recording]:
    """A clip that no row names, unless it is another copy of one that is known already."""
    found = _recording(report, clip, None, people)
    known = {recording.sample_id: recording for recording in others}
    if found and found[0].sample_id in known:
        first = report.relative(known[found[0].sample_id].path.parent)
        report.warning(f"{report.relative(clip.path)} is there twice, as {first}; it was left out")
        return []
    report.problem(clip.path, "the workbook has no row for this clip; it has no label")
    return found


def _person(subject: str) -> str:
    """What all spellings of a subject have in common: folds must not take `S02` and `2` for two people."""
    bare = subject.strip().lower().removeprefix("s")
    return str(int(bare)) if bare.isdecimal() else bare


def _phases(report: IndexReport, folder: Path, row: MicroClip, frames: Sequence[FrameFile]) -> Phases | None:
    """Onset, apex and offset in the count of the file names."""
    where = report.relative(folder)
    if row.apex is None:
        report.warning(f"{where}: the workbook gives no apex")
        return None
    if not row.onset <= row.apex <= row.offset:
        report.problem(
            folder, f"onset {row.onset}, apex {row.apex} and offset {row.offset} are not in this order; left out"
        )
        return None
    first, last = frames[0].number, frames[-1].number
    if first <= row.onset and row.offset <= last:
        return Phases(onset=row.onset, apex=row.apex, offset=row.offset)
    # Files that count from 0 or 1 while the workbook counts in the whole recording: the clip begins at its onset.
    shift = first - row.onset
    if first in (0, 1) and row.offset + shift <= last:
        report.warning(f"{where}: files count from {first}, so the workbook's frames were shifted by {shift}")
        return Phases(onset=first, apex=row.apex + shift, offset=row.offset + shift)
    report.problem(
        folder, f"onset {row.onset} and offset {row.offset} lie outside the frames {first} to {last}; left out"
    )
    return None
