"""The scans below a folder: each real folder is visited once, and what is no scan is counted.

The one walk that prediction, `check`, `prepare` and the web page share.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.readers.archives import is_folder, list_folder, list_names, split_archive
from smilevlm.readers.file_kinds import mesh_stem, mesh_suffix, unreadable_scan_advice
from smilevlm.readers.files import MESH_SUFFIXES, POINT_SUFFIXES
from smilevlm.readers.tables import holds_coordinates

ARCHIVE_SUFFIX = ".zip"
_SYSTEM_NAMES = {"thumbs.db", "desktop.ini", "icon\r"}
_COMPANIONS = {
    ".mtl", ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".bnd", ".bndplus", ".landmark", ".lm2", ".lm3", ".pse",
}  # fmt: skip
"""Textures, materials and landmarks: beside a mesh of the same name they belong to it."""
_SHOWN_NAMES = 3


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown if len(names) <= _SHOWN_NAMES else f"{shown} and {len(names) - _SHOWN_NAMES} more"


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or put there by an operating system."""
    return name.startswith((".", "__MACOSX")) or name.lower() in _SYSTEM_NAMES


class FolderVisits:
    """The folders below a root that were visited, by what they really are: links neither lead in circles nor repeat."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._first: dict[tuple[int, int], Path] = {}
        self.is_new(root)

    def is_new(self, folder: Path) -> bool:
        """Whether a folder or archive adds something: always the same answer for the same path.

        A link adds nothing when it leads to a folder above the root, to one below it that is met without the link, or
        to one that another link led to before.
        """
        inside = split_archive(folder)
        if inside is not None and inside[1] != "":
            return True
        if os.path.islink(folder):  # noqa: PTH114  (a name too long is no link)
            target = Path(os.path.realpath(folder))
            if self._root.is_relative_to(target) or self._is_met(target):
                return False
        try:
            status = folder.stat()
        except OSError:
            return True
        return self._first.setdefault((status.st_dev, status.st_ino), folder) == folder

    def _is_met(self, target: Path) -> bool:
        """Whether the walk comes to a place without any link."""
        if not target.is_relative_to(self._root):
            return False
        return not any(is_hidden(part) for part in target.relative_to(self._root).parts)


class PassedOver:
    """Files below a root that were passed over, counted by reason; noting a file again changes nothing."""

    def __init__(self, root: Path) -> None:
        self._place = root.name or Path(os.path.realpath(root)).name
        self._plain: dict[Path, str] = {}
        self._named: dict[Path, tuple[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self._plain or self._named)

    def count(self, path: Path, reason: str) -> None:
        """Note a file that is plainly no scan."""
        self._plain[path] = reason

    def name(self, path: Path, kind: str, advice: str) -> None:
        """Note a file that may be a scan but cannot be read; those of a kind and advice are counted together."""
        self._named[path] = kind, advice

    @property
    def summary(self) -> str:
        """Such as `2 .jpg, 1 damaged archive (clip.zip: its table of contents is missing)`; empty without any."""
        parts = [
            f"{count} {reason.replace('link', 'links', 1) if count > 1 else reason}"
            for reason, count in sorted(Counter(self._plain.values()).items())
        ]
        kinds: dict[tuple[str, str], list[str]] = {}
        for path, kind in self._named.items():
            kinds.setdefault(kind, []).append(path.name)
        for (kind, advice), names in sorted(kinds.items()):
            parts.append(f"{len(names)} {kind} ({some(names)}: {advice})")
        return ", ".join(parts)

    @property
    def remarks(self) -> tuple[str, ...]:
        """One sentence, or none."""
        number = len(self._plain.keys() | self._named.keys())
        files = "file" if number == 1 else "files"
        return (f"{number} {files} in {self._place} passed over: {self.summary}",) if self else ()


@dataclass(frozen=True, kw_only=True)
class ScanFolder:
    """One folder with the mesh files that lie directly in it, sorted by name."""

    path: Path
    meshes: tuple[Path, ...]


def walk_scans(root: Path) -> tuple[list[ScanFolder], PassedOver]:
    """Every folder below a root that holds scans, sorted by name; a zip archive counts as a folder.

    Texts and tables are scans where no other mesh lies beside them and their head holds coordinates. Others are tried
    only where nothing else lies below the root.
    """
    visits, passed_over = FolderVisits(root), PassedOver(root)
    found: list[ScanFolder] = []
    other_tables: list[ScanFolder] = []
    list_names(root)
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = _sorted_entries(folder)
        except MeshError as error:
            passed_over.name(folder, "folder that cannot be listed", error.message)
            continue
        files, folders = [], []
        for entry in entries:
            if is_hidden(entry.name):
                passed_over.count(entry, "hidden")
            elif not is_folder(entry):
                files.append(entry)
            elif visits.is_new(entry):
                folders.append(entry)
            else:
                passed_over.count(entry, "link to a folder that is visited anyway")
        waiting += reversed(folders)
        meshes, tables = choose_meshes(files, passed_over)
        if meshes:
            found.append(ScanFolder(path=folder, meshes=tuple(meshes)))
        if tables:
            other_tables.append(ScanFolder(path=folder, meshes=tuple(tables)))
    if not found:
        return other_tables, passed_over
    for folder in other_tables:
        note_tables(folder.meshes, passed_over)
    return _without_links(found, passed_over), passed_over


def choose_meshes(files: Sequence[Path], passed_over: PassedOver) -> tuple[list[Path], list[Path]]:
    """Mesh files of one folder, and its texts and tables without coordinates where it holds no mesh.

    The files are without folders and hidden names. `passed_over` gets what is neither, but for the textures and
    landmarks of the meshes.
    """
    candidates = [file for file in files if mesh_suffix(file) in MESH_SUFFIXES]
    tables = [file for file in candidates if mesh_suffix(file) in POINT_SUFFIXES]
    meshes = [file for file in candidates if mesh_suffix(file) not in POINT_SUFFIXES]
    others: list[Path] = []
    if meshes:
        for table in tables:
            passed_over.count(table, f"{mesh_suffix(table)} beside meshes")
    else:
        meshes = [table for table in tables if holds_coordinates(table)]
        others = [table for table in tables if table not in set(meshes)]
    stems = {mesh_stem(mesh).lower() for mesh in meshes}
    has_obj = any(mesh_suffix(mesh) == ".obj" for mesh in meshes)
    for file in files:
        suffix = mesh_suffix(file)
        if suffix in MESH_SUFFIXES or (suffix == ".mtl" and has_obj):
            continue
        if suffix not in _COMPANIONS or mesh_stem(file).lower() not in stems:
            _note_other(file, suffix, passed_over)
    return meshes, others


def note_tables(tables: Iterable[Path], passed_over: PassedOver) -> None:
    """Count texts and tables without coordinates."""
    for table in tables:
        passed_over.count(table, f"{mesh_suffix(table)} without coordinates")


def _note_other(file: Path, suffix: str, passed_over: PassedOver) -> None:
    if suffix == ARCHIVE_SUFFIX:
        if fault := archive_fault(file):
            passed_over.name(file, "damaged archive", fault)
        else:
            passed_over.name(file, "archive", "unpack it; it is not opened in this place")
    elif advice := unreadable_scan_advice(file):
        passed_over.name(file, suffix, advice)
    else:
        passed_over.count(file, suffix or "without suffix")


def archive_fault(path: Path) -> str | None:
    """What is wrong with a zip file on disk; None for a sound one, and for one within another, which is not opened."""
    inside = split_archive(path)
    if inside is None or inside[1] != "":
        return None
    try:
        list_names(path)
    except MeshError as error:
        return error.message
    return None


def repeated_links(files: Iterable[Path]) -> set[Path]:
    """Symbolic links to a file that is among the files itself, or that a link before led to."""
    files = list(files)
    links = [file for file in files if os.path.islink(file)]  # noqa: PTH114  (a name too long is no link)
    if not links:
        return set()
    known = {os.path.realpath(file) for file in set(files) - set(links)}
    repeated: set[Path] = set()
    for link in links:
        target = os.path.realpath(link)
        if target in known:
            repeated.add(link)
        known.add(target)
    return repeated


def _without_links(folders: Sequence[ScanFolder], passed_over: PassedOver) -> list[ScanFolder]:
    repeated = repeated_links(mesh for folder in folders for mesh in folder.meshes)
    for link in repeated:
        passed_over.count(link, "link to a scan that is read anyway")
    kept = [
        ScanFolder(path=folder.path, meshes=tuple(mesh for mesh in folder.meshes if mesh not in repeated))
        for folder in folders
    ]
    return [folder for folder in kept if folder.meshes]


def _sorted_entries(folder: Path) -> list[Path]:
    return sorted(list_folder(folder), key=lambda entry: (entry.name.lower(), entry.name))
