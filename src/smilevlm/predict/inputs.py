"""What a user points at: a mesh file, a folder of frames, a folder or archive of either."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers import MESH_SUFFIXES, POINT_SUFFIXES, is_folder, list_folder
from smilevlm.store import FrameFile

Scan = str | os.PathLike[str] | Mesh
_NUMBERED = re.compile(r"(.*?)(\d{1,15})", re.ASCII)
"""More digits are no frame number; the lazy text takes what is too many, and the texts differ then."""


@dataclass(frozen=True, kw_only=True)
class ScanFiles:
    """One thing to recognise.

    Args:
        path: The mesh file, or the folder of the frames.
        frames: One for a scan; in order for a sequence.
        is_sequence: Whether it becomes a dynamic image.
    """

    path: Path
    frames: tuple[FrameFile, ...]
    is_sequence: bool


def scan_files(path: str | os.PathLike[str]) -> ScanFiles:
    """One scan or one sequence.

    Args:
        path: A mesh file; or a folder or zip archive that holds the frames of one sequence, numbered.

    Raises:
        MeshError: There is no such file, or the folder holds no frames, or more than one scan or sequence.
    """
    place = Path(path)
    if not is_folder(place):
        return ScanFiles(path=place, frames=(FrameFile(path=place),), is_sequence=False)
    found = find_scans(place)
    if len(found) > 1:
        raise MeshError(
            f"holds {len(found)} scans or sequences, expected the numbered frames of one sequence; "
            "`smilevlm.find_scans` lists them",
            path=place,
        )
    return found[0]


def find_scans(path: str | os.PathLike[str]) -> list[ScanFiles]:
    """Everything to recognise below a path, sorted by name.

    Mesh files in one folder whose names are one text and then a number each are the frames of one sequence (`000.wrl
    001.wrl`, `happy_1.ply happy_2.ply`); any other mesh file is a scan of its own. A zip archive counts as a folder.

    Args:
        path: A mesh file, a folder or an archive.

    Raises:
        MeshError: There is no such file, or no mesh below the folder.
    """
    place = Path(path)
    if not is_folder(place):
        return [ScanFiles(path=place, frames=(FrameFile(path=place),), is_sequence=False)]
    found = list(_below(place))
    if not found:
        raise MeshError(f"no mesh below this folder; expected files ending in {' '.join(MESH_SUFFIXES)}", path=place)
    return found


def _below(folder: Path) -> Iterator[ScanFiles]:
    entries = [entry for entry in list_folder(folder) if not entry.name.startswith((".", "__MACOSX"))]
    entries.sort(key=lambda entry: (entry.name.lower(), entry.name))
    meshes = _meshes(entries)
    frames = _frames(meshes)
    if frames:
        yield ScanFiles(path=folder, frames=frames, is_sequence=True)
    else:
        for mesh in meshes:
            yield ScanFiles(path=mesh, frames=(FrameFile(path=mesh),), is_sequence=False)
    for entry in entries:
        if is_folder(entry):
            yield from _below(entry)


def _meshes(entries: Sequence[Path]) -> list[Path]:
    """The mesh files of a folder; text files only where there is nothing else."""
    files = [entry for entry in entries if entry.suffix.lower() in MESH_SUFFIXES]
    surfaces = [file for file in files if file.suffix.lower() not in POINT_SUFFIXES]
    return surfaces or files


def _frames(meshes: Sequence[Path]) -> tuple[FrameFile, ...]:
    """The meshes as the frames of one sequence; empty when they are none."""
    matches = [_NUMBERED.fullmatch(mesh.stem) for mesh in meshes]
    numbers = {int(match[2]): mesh for match, mesh in zip(matches, meshes, strict=True) if match}
    alike = {(match[1], mesh.suffix.lower()) for match, mesh in zip(matches, meshes, strict=True) if match}
    if len(meshes) < 2 or not all(matches) or len(alike) != 1 or len(numbers) != len(meshes):
        return ()
    return tuple(FrameFile(path=numbers[number], number=number) for number in sorted(numbers))
