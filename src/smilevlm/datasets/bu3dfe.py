"""Index of BU-3DFE as its owner stores it: `<root>/F0001/F0001_AN01WH_F3D.wrl` and its companions."""

from __future__ import annotations

import re
from pathlib import Path

from smilevlm.datasets.index import DataIndex
from smilevlm.errors import LayoutError
from smilevlm.labels import NEUTRAL, canonical_expression
from smilevlm.store import FrameFile, Recording
from smilevlm.synthesis import MARKER_NAME

_SUBJECT = re.compile(r"^[FM]\d{4}$", re.IGNORECASE)
_SCAN = re.compile(r"^([FM]\d{4})_(AN|DI|FE|HA|NE|SA|SU)(\d{2})([A-Z]{2})_F3D\.wrl$", re.IGNORECASE)
_RACE_CODES = frozenset({"WH", "BL", "AE", "AM", "IN", "LA"})
_LEVELS = range(5)
_OFFICIAL_SUBJECTS = 100


def index_bu3dfe(root: Path) -> DataIndex:
    """Find the cropped scans (`*_F3D.wrl`) of a BU-3DFE copy, complete or not.

    Raises:
        LayoutError: The folder is missing or holds no subject folder with such scans.
    """
    if not root.is_dir():
        raise LayoutError(f"{root} is not a folder; expected BU-3DFE's root with F0001, F0002, ... below it")
    recordings: list[Recording] = []
    remarks: list[str] = []
    folders = [p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]
    seen: set[str] = set()
    for folder in sorted(folders, key=lambda p: (p.name.upper(), p.name)):
        if _SUBJECT.match(folder.name):
            for recording in _scans_of(folder, remarks):
                if recording.sample_id in seen:
                    remarks.append(
                        f"{folder.name}/{recording.path.name} is there twice in another case; it was left out"
                    )
                else:
                    seen.add(recording.sample_id)
                    recordings.append(recording)
        else:
            remarks.append(f"folder {folder.name} is no subject folder and was left out")
    if not recordings:
        raise LayoutError(
            f"{root} holds no BU-3DFE scan; expected files like F0001/F0001_AN01WH_F3D.wrl (does the path end one "
            "folder too high or too low?)"
        )
    synthetic = (root / MARKER_NAME).is_file()
    num_subjects = len({recording.subject for recording in recordings})
    if num_subjects != _OFFICIAL_SUBJECTS and not synthetic:
        remarks.append(f"{num_subjects} subjects found, the data set has {_OFFICIAL_SUBJECTS}")
    return DataIndex(
        layout="bu3dfe", root=root, recordings=tuple(recordings), remarks=tuple(remarks), synthetic=synthetic
    )


def _scans_of(folder: Path, remarks: list[str]) -> list[Recording]:
    subject = folder.name.upper()
    recordings = []
    for path in sorted(folder.iterdir(), key=lambda p: (p.name.upper(), p.name)):
        if not path.name.lower().endswith("_f3d.wrl"):
            continue
        match = _SCAN.match(path.name)
        if match is None:
            remarks.append(f"{folder.name}/{path.name} does not follow the data set's naming and was left out")
            continue
        owner, code, digits, race = (group.upper() for group in match.groups())
        expression, level = canonical_expression(code), int(digits)
        if owner != subject:
            remarks.append(f"{folder.name}/{path.name} names subject {owner}; it was left out")
            continue
        if level not in _LEVELS or (level == 0) != (expression == NEUTRAL):
            remarks.append(f"{folder.name}/{path.name} has level {digits}, which {code} does not have; it was left out")
            continue
        if race not in _RACE_CODES:
            remarks.append(f"{folder.name}/{path.name} has the unknown race code {race}; it was kept")
        landmarks = next((p for p in (path.with_suffix(".bnd"), path.with_suffix(".BND")) if p.is_file()), None)
        recordings.append(
            Recording(
                sample_id=path.name[: -len("_F3D.wrl")].upper(),
                subject=subject,
                expression=expression,
                level=level,
                frames=(FrameFile(path=path, landmark_path=landmarks),),
            )
        )
    return recordings
