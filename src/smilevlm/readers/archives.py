"""Files on disk and members of zip archives under one kind of path: an archive stands in the path like a folder.

BP4D+ comes as one zip per subject, terabytes when unpacked: `2D+3D/F001.zip/F001/T1/0000.obj` names a
member that is read in place. Nothing is kept open between calls, so that threads, forks and spawned processes may read
the same archive at once; what is kept is the archive's table of contents.
"""

from __future__ import annotations

import functools
import os
import stat
import struct
import time
import zlib
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath

from smilevlm.errors import MeshError
from smilevlm.readers._zip_directory import Member, read_directory

MAX_MEMBER_BYTES = 2**30
"""What one member may unpack to; the largest scans have 100 MB."""
MAX_MEMBER_RATIO = 400
"""How many times its packed size; text of repeated numbers reaches 20, zip bombs a thousand."""
NUM_OPEN_TABLES = 8
CLOCK_NS = 5_000_000_000
"""Coarser than any file system's clock: FAT counts two seconds."""

_STORED, _DEFLATED = 0, 8
_LOCAL_HEADER = struct.Struct("<4s22x2H")
_PATH_ERRORS = (OSError, ValueError)
"""What the system says to a path: a name too long, a null byte in it, no permission."""


@dataclass(frozen=True, kw_only=True)
class _Archive:
    """What is in a zip file: members by path, the last of several with one name; and the names in each folder.

    The root folder is the empty string.
    """

    members: dict[str, Member]
    children: dict[str, set[str]]


def split_archive(path: Path) -> tuple[Path, str] | None:
    """The zip file that a path goes through, and the place within it; None for a path that goes through none."""
    if ".zip" not in str(path).lower():
        return None
    parts = path.parts
    for count in range(1, len(parts) + 1):
        if parts[count - 1].lower().endswith(".zip"):
            archive = Path(*parts[:count])
            if archive.is_file():
                return archive, PurePosixPath(*parts[count:]).as_posix() if count < len(parts) else ""
    return None


def read_file(path: Path) -> bytes:
    """The bytes of a file or a zip member."""
    try:
        inside = split_archive(path)
        data = _read_plain(path) if inside is None or inside[1] == "" else _read_member(path, *inside)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MeshError("no such file", path=path) from error
    except _PATH_ERRORS as error:
        raise MeshError(f"cannot be read: {error}", path=path) from error
    if not data:
        raise MeshError("empty file", path=path)
    return data


def _read_plain(path: Path) -> bytes:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise MeshError("a folder, expected one file", path=path)
    if not stat.S_ISREG(mode):
        raise MeshError("not a regular file", path=path)
    return path.read_bytes()


def _read_member(path: Path, archive: Path, name: str) -> bytes:
    table = _open(archive)
    if name in table.children:
        raise MeshError("a folder within an archive, expected one file", path=path)
    member = table.members.get(name)
    if member is None:
        raise MeshError("no such member of the archive", path=path)
    with archive.open("rb") as file:
        return unpacked_member(file, member, path)


def unpacked_member(file: BufferedIOBase, member: Member, path: Path) -> bytes:
    """The bytes of one member of an opened archive; the path is for messages."""
    if member.is_encrypted:
        raise MeshError("the archive member is encrypted; unpack the archive with its password", path=path)
    if member.method not in (_STORED, _DEFLATED):
        raise MeshError(f"the archive member is packed by method {member.method}, expected 0 or 8", path=path)
    if member.size > MAX_MEMBER_BYTES or member.size > MAX_MEMBER_RATIO * max(member.packed_size, 1024):
        raise MeshError(f"the member unpacks to {member.size} bytes from {member.packed_size}; refused", path=path)
    return _unpack(_packed_bytes(file, member, path), member, path)


def _packed_bytes(file: BufferedIOBase, member: Member, path: Path) -> bytes:
    archive_size = file.seek(0, os.SEEK_END)
    file.seek(member.offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
        raise MeshError(f"the archive is damaged: no member at byte {member.offset}", path=path)
    _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    file.seek(name_length + extra_length, os.SEEK_CUR)
    # A table that lies about the packed size cannot ask for more memory than the archive has bytes.
    packed = file.read(max(min(member.packed_size, archive_size - file.tell()), 0))
    if len(packed) < member.packed_size:
        raise MeshError(f"the archive is truncated: {len(packed)} of {member.packed_size} bytes", path=path)
    return packed


def _unpack(packed: bytes, member: Member, path: Path) -> bytes:
    data = packed
    if member.method == _DEFLATED:
        try:
            # One byte more than announced shows that the size is a lie, however much would follow.
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
        except zlib.error as error:
            raise MeshError(f"the archive member is damaged: {error}", path=path) from error
    if len(data) != member.size:
        raise MeshError(f"the archive member is damaged: not the {member.size} bytes announced", path=path)
    if zlib.crc32(data) != member.checksum:
        raise MeshError("the archive member is damaged: its checksum is another", path=path)
    return data


def is_file(path: Path) -> bool:
    """Whether there is a file or a zip member of this name."""
    try:
        inside = split_archive(path)
        if inside is None or inside[1] == "":
            return path.is_file()
        return inside[1] in _open(inside[0]).members
    except (*_PATH_ERRORS, MeshError):  # MeshError: a damaged archive
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name, on disk or in an archive; a readable archive counts as one."""
    try:
        inside = split_archive(path)
        return path.is_dir() if inside is None else inside[1] in _open(inside[0]).children
    except (*_PATH_ERRORS, MeshError):
        return False


def list_folder(path: Path) -> list[Path]:
    """What lies in a folder or an archive, sorted by name."""
    return [path / name for name in sorted(list_names(path))]


def list_names(path: Path) -> list[str]:
    """The names in a folder or an archive in no order: cheaper than `list_folder` in folders of thousands."""
    try:
        inside = split_archive(path)
        if inside is None:
            return os.listdir(path)  # noqa: PTH208  (names are wanted, not paths)
    except _PATH_ERRORS as error:
        raise MeshError(f"the folder cannot be listed: {error}", path=path) from error
    children = _open(inside[0]).children
    if inside[1] not in children:
        raise MeshError("no such folder in the archive", path=path)
    return list(children[inside[1]])


def folder_stamp(path: Path) -> tuple[int, ...] | None:
    """A value that changes when a name is added to a folder or taken from it.

    None when that cannot be told: there is no such folder, or it changed so lately that its clock may not show the next
    change.
    """
    try:
        inside = split_archive(path)
        status = (path if inside is None else inside[0]).stat()
    except _PATH_ERRORS:
        return None
    is_settled = time.time_ns() - status.st_mtime_ns > CLOCK_NS
    return (status.st_ino, status.st_mtime_ns, status.st_size) if is_settled else None


def file_size(path: Path) -> int:
    """Size of a file in bytes, unpacked for a zip member."""
    try:
        inside = split_archive(path)
        if inside is None or inside[1] == "":
            return path.stat().st_size
    except _PATH_ERRORS as error:
        raise MeshError(f"cannot be read: {error}", path=path) from error
    members = _open(inside[0]).members
    if inside[1] not in members:
        raise MeshError("no such member of the archive", path=path)
    return members[inside[1]].size


def _open(archive: Path) -> _Archive:
    try:
        status = archive.stat()
        return _open_cached(archive, status.st_ino, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise MeshError(f"cannot be read: {error}", path=archive) from error


@functools.lru_cache(maxsize=NUM_OPEN_TABLES)
def _open_cached(archive: Path, inode: int, modified_ns: int, size: int) -> _Archive:
    del inode, modified_ns, size  # part of the key: an archive that was replaced is read anew
    members: dict[str, Member] = {}
    children: dict[str, set[str]] = {"": set()}
    with archive.open("rb") as file:
        for written, member in read_directory(file, archive):
            parts = [part for part in written.split("/") if part not in ("", ".")]
            if ".." in parts:
                raise MeshError(f"the member {written[:80]!r} leads out of the archive; refused", path=archive)
            name = "/".join(parts)
            _add_to_parents(children, name)
            if written.endswith("/"):
                children.setdefault(name, set())
            elif name:
                members[name] = member
    for name in children.keys() & members.keys():  # both a file and a folder: no disk could hold it
        del members[name]
    return _Archive(members=members, children=children)


def _add_to_parents(children: dict[str, set[str]], name: str) -> None:
    while name:
        parent, _, last = name.rpartition("/")
        siblings = children.get(parent)
        if siblings is not None:  # then its own parents are known
            siblings.add(last)
            return
        children[parent] = {last}
        name = parent
