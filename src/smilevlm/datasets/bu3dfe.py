"""Index of BU-3DFE as its owner stores it: `<root>/F0001/F0001_AN01WH_F3D.wrl` and its companions."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.index import DataIndex
from smilevlm.errors import LayoutError
from smilevlm.geometry import Mesh
from smilevlm.labels import NEUTRAL, canonical_expression
from smilevlm.readers import read_bnd, read_mesh
from smilevlm.store import ScanRecord
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
    records: list[ScanRecord] = []
    remarks: list[str] = []
    folders = [p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]
    seen: set[str] = set()
    for folder in sorted(folders, key=lambda p: (p.name.upper(), p.name)):
        if _SUBJECT.match(folder.name):
            for record in _scans_of(folder, remarks):
                if record.sample_id in seen:
                    remarks.append(f"{folder.name}/{record.path.name} is there twice in another case; it was left out")
                else:
                    seen.add(record.sample_id)
                    records.append(record)
        else:
            remarks.append(f"folder {folder.name} is no subject folder and was left out")
    if not records:
        raise LayoutError(
            f"{root} holds no BU-3DFE scan; expected files like F0001/F0001_AN01WH_F3D.wrl (does the path end one "
            "folder too high or too low?)"
        )
    synthetic = (root / MARKER_NAME).is_file()
    num_subjects = len({record.subject for record in records})
    if num_subjects != _OFFICIAL_SUBJECTS and not synthetic:
        remarks.append(f"{num_subjects} subjects found, the data set has {_OFFICIAL_SUBJECTS}")
    return DataIndex(layout="bu3dfe", root=root, records=tuple(records), remarks=tuple(remarks), synthetic=synthetic)


def _scans_of(folder: Path, remarks: list[str]) -> list[ScanRecord]:
    subject = folder.name.upper()
    records = []
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
        records.append(
            ScanRecord(
                sample_id=path.name[: -len("_F3D.wrl")].upper(),
                subject=subject,
                expression=expression,
                level=level,
                path=path,
                landmark_path=landmarks,
            )
        )
    return records


def read_bu3dfe_scan(record: ScanRecord, *, load_texture: bool = False, load_landmarks: bool = False) -> Mesh:
    """The mesh of one scan, in millimetres, the scanner's frame; on request with its 83 landmarks (`bnd_01` ...).

    Preparation asks for none: the face frame is found without them, as it must be for the scans of users.

    Raises:
        MeshError: The scan cannot be read.
        LandmarkError: Its landmark file is there but cannot be read.
    """
    mesh = read_mesh(record.path, load_texture=load_texture)
    if record.landmark_path is None or not load_landmarks:
        return mesh
    return replace(mesh, landmarks=read_bnd(record.landmark_path).named())
