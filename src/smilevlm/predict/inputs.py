"""From paths to scans and sequences: a mesh file, a folder of frames, a folder or archive of either."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilevlm.errors import MeshError, SettingsError
from smilevlm.geometry import Mesh
from smilevlm.predict.meshes import HasVertices
from smilevlm.readers import (
    ARCHIVE_SUFFIX,
    MESH_SUFFIXES,
    PassedOver,
    ScanFolder,
    archive_fault,
    is_folder,
    mesh_suffix,
    walk_scans,
)
from smilevlm.store import NUMBERED_AS, FrameFile, NumberedAs, read_numbering

Scan = str | os.PathLike[str] | Mesh | np.ndarray | tuple[object, object] | HasVertices
"""A path, or a scan in memory, see `smilevlm.predict.meshes.as_mesh`."""


@dataclass(frozen=True, kw_only=True)
class ScanFiles:
    """One thing to recognise.

    Args:
        path: The mesh file, or the folder of the frames.
        frames: One for a scan; in order for a sequence.
        is_sequence: Whether it becomes a dynamic image.
        remarks: What was decided when the folder was searched: files passed over, numbered files taken as a sequence.
    """

    path: Path
    frames: tuple[FrameFile, ...]
    is_sequence: bool
    remarks: tuple[str, ...] = ()


def scan_files(path: str | os.PathLike[str], *, numbered_as: NumberedAs = "auto") -> ScanFiles:
    """One scan or one sequence.

    Args:
        path: A mesh file; or a folder or zip archive that holds the frames of one sequence, numbered.
        numbered_as: See `find_scans`.

    Raises:
        MeshError: There is no such file, or the folder holds no frames, or more than one scan or sequence.
        SettingsError: `numbered_as` is none of its values.
    """
    place = Path(path)
    found = find_scans(place, numbered_as=numbered_as)
    if len(found) > 1:
        how = "; ".join(remark for remark in found[0].remarks if "numbered files" in remark)
        raise MeshError(
            f"holds {len(found)} scans or sequences, expected one; `smilevlm.find_scans` lists them, to give to "
            f"`predict` as a list{f'. {how}' if how else ''}",
            path=place,
        )
    return found[0]


def find_scans(path: str | os.PathLike[str], *, numbered_as: NumberedAs = "auto") -> list[ScanFiles]:
    """Everything to recognise below a path, sorted by name.

    The numbered mesh files of one folder are the frames of one sequence when `smilevlm.store.numbering`'s rule says
    so; any other mesh file is a scan of its own. A zip archive counts as a folder. Each real folder is visited once,
    whatever links lead to it, and so is each file.

    Args:
        path: A mesh file, a folder or an archive.
        numbered_as: What numbered files of one folder are: `auto` follows the rule, `scans` takes each for a scan of
            its own, `sequence` takes them for frames however few they are.

    Raises:
        MeshError: The archive is damaged, there is no mesh below the folder, or no sequence where one was asked for.
        SettingsError: `numbered_as` is none of its values.
    """
    if numbered_as not in NUMBERED_AS:
        raise SettingsError(f"numbered_as is {numbered_as!r}, expected one of {', '.join(NUMBERED_AS)}")
    place = Path(path)
    if not is_folder(place):
        if mesh_suffix(place) == ARCHIVE_SUFFIX and (fault := archive_fault(place)):
            raise MeshError(f"damaged archive: {fault}", path=place)
        return [ScanFiles(path=place, frames=(FrameFile(path=place),), is_sequence=False)]
    folders, passed_over = walk_scans(place)
    if not folders:
        raise MeshError(_nothing_below(passed_over), path=place)
    found = [scan for folder in folders for scan in _scans_in(folder, numbered_as, passed_over.remarks)]
    if numbered_as == "sequence" and not any(scan.is_sequence for scan in found):
        raise MeshError(
            "holds no sequence: expected a folder whose mesh files have one suffix and are named by one text and a "
            "number each, such as 000.ply 001.ply",
            path=place,
        )
    return found


def _nothing_below(passed_over: PassedOver) -> str:
    message = f"no mesh below this folder; expected files ending in {' '.join(MESH_SUFFIXES)}"
    return f"{message}; found {passed_over.summary}" if passed_over else message


def _scans_in(folder: ScanFolder, numbered_as: NumberedAs, remarks: tuple[str, ...]) -> list[ScanFiles]:
    numbering = read_numbering(folder.meshes, numbered_as)
    if numbering.remark:
        remarks = (numbering.remark, *remarks)
    if numbering.frames:
        return [ScanFiles(path=folder.path, frames=numbering.frames, is_sequence=True, remarks=remarks)]
    return [
        ScanFiles(path=mesh, frames=(FrameFile(path=mesh),), is_sequence=False, remarks=remarks)
        for mesh in folder.meshes
    ]
