"""What an upload says of its own size, before anything large is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.predict import ScanFiles, find_scans
from smilevlm.readers import MESH_SUFFIXES, file_size, is_file, list_folder, list_names, parse_mesh, read_file
from smilevlm.web.settings import MEGABYTE, WebSettings

ARCHIVE_SUFFIX = ".zip"
SUFFIXES = (*MESH_SUFFIXES, ARCHIVE_SUFFIX)
_PLY_VERTICES = re.compile(rb"^element[ \t]+vertex[ \t]+(\d{1,18})", re.MULTILINE)
_REMARK = re.compile(rb"#[^\r\n]*")
_OFF_COUNTS = re.compile(rb"OFF\s*(\d{1,18})[ \t]+\d")
"""After remarks were taken out; a pattern that skips them itself takes exponential time on hostile ones."""
_HEADER_BYTES = 2**16
_LEAST_VERTEX_BYTES = 3
"""No format writes a vertex in fewer: one byte per coordinate, in PLY."""
_VRML = (".wrl", ".vrml")
_STL_HEADER_BYTES, _STL_TRIANGLE_BYTES = 84, 50


def check_upload(path: Path, settings: WebSettings) -> ScanFiles:
    """Refuse what is too large, of an unknown kind, or not one scan or sequence.

    Args:
        path: The file, under a name that we chose, with the suffix that the user gave.
        settings: The bounds.

    Returns:
        The scan, or the frames of the sequence.

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
            f"the archive holds {len(found)} scans or sequences; expected the numbered frames of one sequence, such as "
            "000.ply 001.ply, in one folder",
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
        check_vertices(announced_vertices(read_file(frame.path), frame.path.suffix.lower()), frame.path, settings)
    return scan


def _check_frame(path: Path, settings: WebSettings) -> None:
    """Refuse a frame of too many vertices; its other faults are left to be counted when it is read."""
    suffix = path.suffix.lower()
    is_small = file_size(path) < _LEAST_VERTEX_BYTES * settings.max_vertices
    if is_small and suffix not in _VRML:
        return  # unpacking it twice would tell nothing new
    try:
        data = read_file(path)
        if suffix not in _VRML:
            count = announced_vertices(data, suffix)
        elif is_small and b"USE" not in data:  # by which a short file may repeat a list
            return
        else:
            count = parse_mesh(data, path, load_texture=False).num_vertices
    except MeshError:
        return
    check_vertices(count, path, settings)


def check_vertices(count: int, path: Path, settings: WebSettings) -> None:
    """Refuse a mesh of too many vertices.

    Raises:
        MeshError: It is refused.
    """
    if count > settings.max_vertices:
        raise MeshError(f"the mesh has {count:,} vertices; at most {settings.max_vertices:,}", path=path)


def _check_archive(path: Path, size: int, settings: WebSettings) -> None:
    # Small archives of text that repeats itself are no bombs.
    most = min(settings.max_unpacked_mb * MEGABYTE, settings.max_ratio * max(size, MEGABYTE // 10))
    unpacked = 0
    for count, member in enumerate(_members(path), 1):
        if count > settings.max_members:
            raise MeshError(f"the archive holds more than {settings.max_members} files", path=path)
        unpacked += file_size(member)
        if unpacked > most:
            raise MeshError(f"the archive unpacks to more than {most / MEGABYTE:.0f} MB", path=path)


def _members(folder: Path) -> Iterator[Path]:
    """Every file in an archive; an archive within it is a file."""
    list_names(folder)  # says what is wrong with a damaged one, where the questions below only say no
    waiting = [folder]
    while waiting:
        for entry in list_folder(waiting.pop()):
            if is_file(entry):
                yield entry
            else:
                waiting.append(entry)


def announced_vertices(data: bytes, suffix: str) -> int:
    """How many vertices a file says or seems to have, counted without making anything of them.

    Args:
        data: The whole file.
        suffix: In lower case.

    Returns:
        0 where the format does not say; VRML, whose numbers stand in any order, is counted once it is read.
    """
    count = _COUNTERS.get(suffix)
    return 0 if count is None else count(data)


def _of_ply(data: bytes) -> int:
    return sum(int(count) for count in _PLY_VERTICES.findall(data[:_HEADER_BYTES].partition(b"end_header")[0]))


def _of_off(data: bytes) -> int:
    found = _OFF_COUNTS.search(_REMARK.sub(b" ", data[:_HEADER_BYTES]))
    return int(found[1]) if found else 0


def _of_obj(data: bytes) -> int:
    return data.count(b"\nv ") + data.count(b"\nv\t") + data.startswith((b"v ", b"v\t"))


def _of_stl(data: bytes) -> int:
    """A closed surface has half as many vertices as triangles."""
    triangles = int.from_bytes(data[80:_STL_HEADER_BYTES], "little")
    if len(data) >= _STL_HEADER_BYTES and len(data) == _STL_HEADER_BYTES + _STL_TRIANGLE_BYTES * triangles:
        return triangles // 2
    return data.count(b"vertex") // 6


def _of_bnt(data: bytes) -> int:
    return int.from_bytes(data[:2], "little") * int.from_bytes(data[2:4], "little")


def _of_points(data: bytes) -> int:
    return data.count(b"\n")


_COUNTERS: dict[str, Callable[[bytes], int]] = {
    ".ply": _of_ply,
    ".off": _of_off,
    ".obj": _of_obj,
    ".stl": _of_stl,
    ".bnt": _of_bnt,
    ".xyz": _of_points,
    ".txt": _of_points,
    ".pts": _of_points,
    ".csv": _of_points,
}
