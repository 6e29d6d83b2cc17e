"""Files on disk and members of zip archives under one kind of path: an archive stands in the path like a folder.

BP4D+ comes as one zip per subject, and nobody wants to unpack terabytes: `2D+3D/F001.zip/F001/T1/0000.obj` names a
member that is read in place.
"""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from smilevlm.errors import MeshError

MAX_MEMBER_BYTES = 2**30
"""What one member may unpack to; the largest scans have 100 MB."""
MAX_MEMBER_RATIO = 400
"""How many times its packed size; text of repeated numbers reaches 20, zip bombs a thousand."""
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, kw_only=True)
class _Archive:
    """An open zip file and its tree.

    Args:
        file: Kept open; reading from it is locked by `zipfile` itself.
        members: Path within the archive to its entry.
        children: Folder within the archive to the names in it; the root is the empty string.
    """

    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]
    children: dict[str, set[str]]


def split_archive(path: Path) -> tuple[Path, str] | None:
    """The zip file that a path goes through, and the place within it; None for a path that goes through none."""
    parts = path.parts
    for count in range(1, len(parts) + 1):
        if parts[count - 1].lower().endswith(".zip"):
            archive = Path(*parts[:count])
            if archive.is_file():
                return archive, PurePosixPath(*parts[count:]).as_posix() if count < len(parts) else ""
    return None


def read_file(path: Path) -> bytes:
    """The bytes of a file or a zip member.

    Raises:
        MeshError: It is missing, a folder, empty, or the archive is damaged.
    """
    try:
        inside = split_archive(path)
        if inside is None or inside[1] == "":
            data = _read_plain(path)
        else:
            data = _read_member(path, *inside)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise MeshError(f"cannot be read: {error}", path=path) from error
    if not data:
        raise MeshError("empty file", path=path)
    return data


def _read_plain(path: Path) -> bytes:
    if path.is_dir():
        raise MeshError("a folder, expected one file", path=path)
    if not path.exists():
        raise MeshError("no such file", path=path)
    if not path.is_file():
        raise MeshError("not a regular file", path=path)
    return path.read_bytes()


def _read_member(path: Path, archive: Path, member: str) -> bytes:
    opened = _open(archive)
    if member in opened.children:
        raise MeshError("a folder within an archive, expected one file", path=path)
    if member not in opened.members:
        raise MeshError("no such member of the archive", path=path)
    info = opened.members[member]
    if info.file_size > MAX_MEMBER_BYTES or info.file_size > MAX_MEMBER_RATIO * max(info.compress_size, 1024):
        raise MeshError(f"the member unpacks to {info.file_size} bytes from {info.compress_size}; refused", path=path)
    try:
        return opened.file.read(info)
    except _BROKEN as error:
        raise MeshError(f"the archive member is damaged: {error}", path=path) from error


def is_file(path: Path) -> bool:
    """Whether there is a file or a zip member of this name."""
    try:
        inside = split_archive(path)
        if inside is None or inside[1] == "":
            return path.is_file()
        return inside[1] in _open(inside[0]).members
    except (OSError, ValueError, MeshError):  # a name too long or with a null byte; a damaged archive
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name, on disk or in an archive; a readable archive counts as one."""
    try:
        inside = split_archive(path)
        return path.is_dir() if inside is None else inside[1] in _open(inside[0]).children
    except (OSError, ValueError, MeshError):
        return False


def list_folder(path: Path) -> list[Path]:
    """What lies in a folder or an archive, sorted by name.

    Raises:
        MeshError: It is no folder, or the archive is damaged.
    """
    try:
        inside = split_archive(path)
        if inside is None:
            return sorted(Path(entry.path) for entry in os.scandir(path))
    except (OSError, ValueError) as error:
        raise MeshError(f"the folder cannot be listed: {error}", path=path) from error
    children = _open(inside[0]).children
    if inside[1] not in children:
        raise MeshError("no such folder in the archive", path=path)
    return sorted(path / name for name in children[inside[1]])


def file_size(path: Path) -> int:
    """Size of a file in bytes, unpacked for a zip member.

    Raises:
        MeshError: There is none.
    """
    inside = split_archive(path)
    if inside is None or inside[1] == "":
        try:
            return path.stat().st_size
        except OSError as error:
            raise MeshError(f"cannot be read: {error.strerror}", path=path) from error
    members = _open(inside[0]).members
    if inside[1] not in members:
        raise MeshError("no such member of the archive", path=path)
    return members[inside[1]].file_size


def _open(archive: Path) -> _Archive:
    status = archive.stat()
    return _open_cached(archive, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=8)
def _open_cached(archive: Path, modified_ns: int, size: int) -> _Archive:
    del modified_ns, size  # part of the key: an archive that was replaced is opened anew
    try:
        file = zipfile.ZipFile(archive)
    except _BROKEN as error:
        raise MeshError(f"not a readable zip archive: {error}", path=archive) from error
    members: dict[str, zipfile.ZipInfo] = {}
    children: dict[str, set[str]] = {"": set()}
    for info in file.infolist():
        name = info.filename.replace("\\", "/").strip("/")
        parts = name.split("/")
        if not name or any(part in ("", ".", "..") for part in parts):
            continue  # names that leave the archive, or stand for its root
        for depth in range(len(parts)):
            parent = "/".join(parts[:depth])
            children.setdefault(parent, set()).add(parts[depth])
        if info.is_dir():
            children.setdefault(name, set())
        else:
            members[name] = info
    return _Archive(file=file, members=members, children=children)
