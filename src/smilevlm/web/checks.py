"""What an upload says of its own size, before anything large is made of it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.predict import ScanFiles, find_scans
from smilevlm.readers import (
    ARCHIVE_SUFFIX,
    MESH_SUFFIXES,
    announced_vertices,
    archive_fault,
    decode_file,
    file_size,
    mesh_suffix,
    parse_mesh,
    read_file,
)
from smilevlm.store import MIN_FRAMES
from smilevlm.web.settings import MEGABYTE, WebSettings

SUFFIXES = (*MESH_SUFFIXES, ARCHIVE_SUFFIX)
_LEAST_VERTEX_BYTES = 3
"""No format writes a vertex in fewer: one byte per coordinate, in PLY."""
_VRML = (".wrl", ".vrml", ".wrz", ".x3dv", ".x3d", ".iv")
_REPEATS = re.compile(rb"\b(?:USE|PROTO|ElevationGrid)\b", re.IGNORECASE)
"""By which short VRML may hold more vertices than it has numbers for."""


def check_upload(path: Path, settings: WebSettings) -> ScanFiles:
    """Refuse what is too large, of an unknown kind, or not one scan or sequence.

    Args:
        path: The file, under a name that we chose, with the suffix that the user gave.
        settings: The bounds.

    Raises:
        MeshError: It is refused.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MeshError(f"the page reads {' '.join(SUFFIXES)}; this file ends otherwise", path=path)
    size = file_size(path)
    if size > settings.max_upload_mb * MEGABYTE:
        raise MeshError(f"the file has {size / MEGABYTE:.0f} MB; at most {settings.max_upload_mb} MB", path=path)
    if size == 0:
        raise MeshError("the file is empty", path=path)
    if suffix == ARCHIVE_SUFFIX:
        _check_archive(path, size, settings)
    found = find_scans(path)
    if len(found) > 1:
        raise MeshError(
            f"the archive holds {len(found)} scans or sequences; expected one scan, or in one folder the frames of one "
            f"sequence, {MIN_FRAMES} or more files such as 000.ply 001.ply",
            path=path,
        )
    (scan,) = found
    if len(scan.frames) > settings.max_frames:
        raise MeshError(f"the sequence has {len(scan.frames)} frames; at most {settings.max_frames}", path=path)
    if scan.is_sequence:
        for frame in scan.frames:
            _check_frame(frame.path, settings)
    else:
        (frame,) = scan.frames
        decoded = decode_file(read_file(frame.path), frame.path)
        check_vertices(announced_vertices(decoded.data, decoded.suffix), frame.path, settings)
    return scan


def _check_frame(path: Path, settings: WebSettings) -> None:
    """Refuse a frame of too many vertices; its other faults are left to be counted when it is read."""
    suffix = mesh_suffix(path)
    # A compressed file may be small and hold much.
    is_small = suffix == path.suffix.lower() and file_size(path) < _LEAST_VERTEX_BYTES * settings.max_vertices
    if is_small and suffix not in _VRML:
        return  # unpacking it twice would tell nothing new
    try:
        data = read_file(path)
        decoded = decode_file(data, path)
        if decoded.suffix not in _VRML:
            count = announced_vertices(decoded.data, decoded.suffix)
        elif is_small and not _REPEATS.search(decoded.data):
            return
        else:
            count = parse_mesh(data, path, load_texture=False).num_vertices
    except MeshError:
        return
    check_vertices(count, path, settings)


def check_vertices(count: int, path: Path, settings: WebSettings) -> None:
    """Refuse a mesh of too many vertices, with a `MeshError`."""
    if count > settings.max_vertices:
        raise MeshError(f"the mesh has {count:,} vertices; at most {settings.max_vertices:,}", path=path)


def _check_archive(path: Path, size: int, settings: WebSettings) -> None:
    """Refuse an archive that is damaged or unpacks to too much; an archive within it is a file."""
    if fault := archive_fault(path):
        raise MeshError(f"damaged archive: {fault}", path=path)
    with zipfile.ZipFile(path) as archive:
        sizes = [member.file_size for member in archive.infolist() if not member.is_dir()]
    if len(sizes) > settings.max_members:
        raise MeshError(f"the archive holds more than {settings.max_members} files", path=path)
    # Small archives of text that repeats itself are no bombs.
    most = min(settings.max_unpacked_mb * MEGABYTE, settings.max_ratio * max(size, MEGABYTE // 10))
    if sum(sizes) > most:
        raise MeshError(f"the archive unpacks to more than {most / MEGABYTE:.0f} MB", path=path)
