"""Index of Bosphorus as its owner stores it: `<root>/bs000/bs000_E_HAPPY_0.bnt` with its `.png`, `.lm2` and `.lm3`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from smilevlm.datasets.index import DataIndex, Expected
from smilevlm.datasets.index_report import IndexReport, subject_folders
from smilevlm.errors import LayoutError
from smilevlm.labels import (
    BASIC_EXPRESSIONS,
    FACIAL_ACTIONS,
    FACS_INTENSITY,
    NEUTRAL,
    PRESENT_INTENSITY,
    UNLABELLED,
    ActionIntensities,
    Side,
    action_intensities,
    canonical_expression,
    facs_code,
    side_of_letter,
)
from smilevlm.readers import is_folder, some
from smilevlm.store import FrameFile, Recording

_SUBJECT = re.compile(r"bs\d{3}", re.IGNORECASE)
_PART = re.compile(r"Bosphorus.*", re.IGNORECASE)
_SUFFIXES = (".bnt", ".png", ".lm2", ".lm3")
# Only some of the codes are known for sure, so any spelling passes; those outside the known alphabet are remarked on.
_SCAN = re.compile(r"(bs\d{3})_(N|LFAU|UFAU|CAU|E|YR|PR|CR|O|IGN)_([^_].*)_(\d+)", re.IGNORECASE)
_KNOWN_CODE = re.compile(r"[A-Za-z0-9]+")
_ACTION_KINDS = ("LFAU", "UFAU", "CAU")
_LOW = "LW"
_UNIT = re.compile(r"[\s+_-]*(?:AU|A)?[\s_]*(\d{1,2})[\s_]*(LW|L|R)?", re.IGNORECASE)
"""One unit of a code: `12LW`, `A12A15`, `AU12+AU15`; a side is the person's, LW is taken for a low intensity."""
_SUBJECTS_WITH_ALL_SIX = 65
COMPLETE = Expected(
    num_subjects=105,
    num_recordings=4666,
    per_subject={},
    source="bosphorus.ee.boun.edu.tr: 105 subjects, 4666 scans",
)


def index_bosphorus(root: Path) -> DataIndex:
    """Find the scans of a Bosphorus copy: in subject folders, in its parts (`BosphorusDB_p1`), or all in one folder.

    Raises:
        LayoutError: The folder is missing or holds no scan.
    """
    report = IndexReport(root, name="Bosphorus", example="bs000/bs000_N_N_0.bnt")
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for place in _places(report):
        subjects = subject_folders(report, place, _SUBJECT, ignore=_PART)
        for subject, folder in subjects.items():
            _collect(report, report.entries(folder), files, subject)
        _collect(report, report.entries(place), files, None)
    recordings = [r for stem, parts in sorted(files.items()) if (r := _recording(report, stem, parts))]
    _warn_about_expressions(report, recordings)
    return report.data_index("bosphorus", recordings, COMPLETE)


def _places(report: IndexReport) -> list[Path]:
    """The root and the parts in which the data set is distributed."""
    places = [report.root]
    for place in places:
        parts = [e for e in report.entries(place) if _PART.fullmatch(e.name) and is_folder(e) and report.is_new(e)]
        for part in parts:
            report.warning(f"part {report.relative(part)} was read")
        places += parts
    return places


def _collect(
    report: IndexReport, entries: Sequence[Path], files: dict[str, dict[str, Path]], subject: str | None
) -> None:
    """Sort a folder's files by scan, whose name gets its usual case: `bs000_E_HAPPY_0`."""
    for path in entries:
        suffix = path.suffix.lower()
        match = _SCAN.fullmatch(path.stem)
        where = report.relative(path)
        if suffix not in _SUFFIXES:
            continue
        if match is None:
            report.warning(f"{where} does not follow the data set's naming and was left out")
        elif subject is not None and match[1].upper() != subject:
            report.warning(f"{where} names subject {match[1].lower()}; it was left out")
        else:
            scan = files[f"{match[1].lower()}_{match[2].upper()}_{match[3].upper()}_{match[4]}"]
            if suffix in scan:
                report.warning(f"{where} is there twice, as {report.relative(scan[suffix])}; it was left out")
            else:
                scan[suffix] = path


def _recording(report: IndexReport, name: str, parts: Mapping[str, Path]) -> Recording | None:
    missing = [suffix for suffix in _SUFFIXES if suffix not in parts]
    if missing:
        folder = next(iter(parts.values())).parent
        report.problem(folder / name, f"{' '.join(missing)} is missing")
    if ".bnt" not in parts:
        return None
    match = _SCAN.fullmatch(name)
    assert match is not None, name
    subject, kind, code, _ = match.groups()
    if not _KNOWN_CODE.fullmatch(code):
        report.warning(f"{name} has an unusual code, {code}; it was kept")
    actions = _actions(report, name, kind, code)
    # A code of actions says what the person was asked for, and nothing of what else the face does.
    unjudged = tuple(code for code in FACIAL_ACTIONS if code not in actions) if actions else ()
    return Recording(
        sample_id=re.sub(r"[^\w.+-]", "-", name),
        subject=subject,
        expression=_expression(report, name, kind, code),
        condition=f"{kind}_{code}",
        frames=(FrameFile(path=parts[".bnt"], landmark_path=parts.get(".lm3")),),
        actions=actions,
        unjudged_actions=unjudged,
    )


def _expression(report: IndexReport, name: str, kind: str, code: str) -> str:
    if kind == "N":
        return NEUTRAL
    if kind != "E":
        return UNLABELLED
    try:
        return canonical_expression(code)
    except LayoutError:
        report.warning(f"{name} shows {code}, which is no known expression; it has no label")
        return UNLABELLED


def _actions(report: IndexReport, name: str, kind: str, code: str) -> ActionIntensities | None:
    """What the code of a scan says that the face does; None for scans whose code says nothing of it."""
    if kind == "N":
        return {}
    if kind not in _ACTION_KINDS:
        return None
    entries: list[tuple[str, Side, float]] = []
    for number, mark in _UNIT.findall(code):
        action, low = facs_code(number), mark.upper() == _LOW
        if action is None:
            break
        intensity = FACS_INTENSITY["B"] if low else PRESENT_INTENSITY
        entries.append((action, "both" if low else side_of_letter(mark), intensity))
    else:
        if _UNIT.sub("", code) == "" and entries:
            return action_intensities(entries)
    report.warning(f"{name} shows {code}, which names no known action; its actions are not recorded")
    return None


def _warn_about_expressions(report: IndexReport, recordings: Sequence[Recording]) -> None:
    shown: dict[str, set[str]] = defaultdict(set)
    repeated: set[str] = set()
    for recording in recordings:
        if recording.expression in BASIC_EXPRESSIONS:
            if recording.expression in shown[recording.subject]:
                repeated.add(f"{recording.subject} {recording.expression}")
            shown[recording.subject].add(recording.expression)
    complete = sum(len(expressions) == len(BASIC_EXPRESSIONS) for expressions in shown.values())
    report.warning(f"{complete} subjects have all six expressions; the literature uses {_SUBJECTS_WITH_ALL_SIX}")
    if repeated:
        report.warning(f"an expression was scanned more than once for {some(sorted(repeated))}")
