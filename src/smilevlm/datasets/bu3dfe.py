"""Index of BU-3DFE as its owner stores it: `<root>/F0001/F0001_AN01WH_F3D.wrl` and its companions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.index import DataIndex, Expected
from smilevlm.datasets.index_report import IndexReport, subject_folders
from smilevlm.errors import LayoutError
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL, canonical_expression
from smilevlm.readers import some
from smilevlm.store import FrameFile, Recording
from smilevlm.synthesis import MARKER_NAME

_SUBJECT = re.compile(r"[FM]\d{4}", re.IGNORECASE)
_SCAN = re.compile(r"([FM]\d{4})_(AN|DI|FE|HA|NE|SA|SU)(\d{2})([A-Z]{2})_F3D\.wrl", re.IGNORECASE)
_CODES = ("AN", "DI", "FE", "HA", "SA", "SU")
_RACE_CODES = frozenset({"WH", "BL", "AE", "AM", "IN", "LA"})
_LEVELS = (1, 2, 3, 4)
_POSE_LENGTH = len("AN01")
COMPLETE = Expected(
    num_subjects=100,
    num_recordings=2500,
    per_subject={NEUTRAL: 1} | dict.fromkeys(BASIC_EXPRESSIONS, len(_LEVELS)),
    source="the data set's own analysis page, Binghamton University: 100 subjects, 2500 models",
)


def index_bu3dfe(root: Path) -> DataIndex:
    """Find the cropped scans (`*_F3D.wrl`) of a BU-3DFE copy, complete or not.

    Raises:
        LayoutError: The folder is missing or holds no subject folder with such scans.
    """
    report = IndexReport(root, name="BU-3DFE", example="F0001/F0001_AN01WH_F3D.wrl")
    levels = _levels_written(report)
    recordings: list[Recording] = []
    for subject, folder in subject_folders(report, root, _SUBJECT).items():
        scans = _scans_of(report, subject, folder)
        present = {scan.sample_id[len(subject) + 1 :][:_POSE_LENGTH] for scan in scans}
        poses = ["NE00", *(f"{code}{level:02d}" for code in _CODES for level in levels)]
        if missing := [pose for pose in poses if pose not in present]:
            report.problem(folder, f"{len(missing)} of {len(poses)} scans are missing: {' '.join(missing)}")
        recordings += scans
    per_subject = {NEUTRAL: 1} | dict.fromkeys(BASIC_EXPRESSIONS, len(levels))
    return report.data_index("bu3dfe", recordings, replace(COMPLETE, per_subject=per_subject))


def _levels_written(report: IndexReport) -> Sequence[int]:
    """The intensities a copy has: all four, or those that a synthetic one was made with."""
    if report.marker is None:
        return _LEVELS
    levels = report.marker.get("levels", _LEVELS)
    if not isinstance(levels, list | tuple) or not set(levels) <= set(_LEVELS):
        raise LayoutError(f"{report.root / MARKER_NAME}: levels is {levels!r}, expected some of 1, 2, 3, 4")
    return levels


def _scans_of(report: IndexReport, subject: str, folder: Path) -> list[Recording]:
    files = report.entries(folder)
    names = {file.name.lower(): file for file in files}
    scans: list[Recording] = []
    without_landmarks, without_texture = [], []
    for path in files:
        if not path.name.lower().endswith("_f3d.wrl"):
            continue
        stem = path.stem.lower()
        scan = _scan(report, subject, path, names.get(f"{stem}.bnd"))
        if scan is None:
            continue
        if any(scan.sample_id == other.sample_id for other in scans):
            report.warning(f"{report.relative(path)} is there twice in another case; it was left out")
            continue
        scans.append(scan)
        if f"{stem}.bnd" not in names:
            without_landmarks.append(path.name)
        if f"{stem}.bmp" not in names:
            without_texture.append(path.name)
    if without_landmarks:
        report.problem(folder, f"no .bnd landmarks beside {some(without_landmarks)}")
    if without_texture:
        report.problem(folder, f"no .bmp texture beside {some(without_texture)}")
    return scans


def _scan(report: IndexReport, subject: str, path: Path, landmarks: Path | None) -> Recording | None:
    """The scan of a file; None for a name that is not this subject's or not the data set's."""
    where = report.relative(path)
    match = _SCAN.fullmatch(path.name)
    if match is None:
        report.warning(f"{where} does not follow the data set's naming and was left out")
        return None
    owner, code, digits, race = (group.upper() for group in match.groups())
    expression, level = canonical_expression(code), int(digits)
    if owner != subject:
        report.warning(f"{where} names subject {owner}; it was left out")
        return None
    if level not in (0, *_LEVELS) or (level == 0) != (expression == NEUTRAL):
        report.warning(f"{where} has level {digits}, which {code} does not have; it was left out")
        return None
    if race not in _RACE_CODES:
        report.warning(f"{where} has the unknown race code {race}; it was kept")
    return Recording(
        sample_id=path.name[: -len("_F3D.wrl")].upper(),
        subject=subject,
        expression=expression,
        level=level,
        frames=(FrameFile(path=path, landmark_path=landmarks),),
    )
