"""Index of any scans sorted into folders: `<root>/<subject>/<expression>/...`.

Which mesh files of a folder are the frames of one sequence is `smilevlm.store.numbering`'s rule; every other file is a
scan of its own. Folders below an expression hold further recordings by the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.frames import numbered_frames
from smilevlm.datasets.index import DataIndex
from smilevlm.datasets.tree import Findings
from smilevlm.errors import LayoutError
from smilevlm.labels import canonical_expression
from smilevlm.readers import (
    MESH_SUFFIXES,
    POINT_SUFFIXES,
    PassedOver,
    choose_meshes,
    is_folder,
    mesh_stem,
    mesh_suffix,
    note_tables,
    repeated_links,
    some,
)
from smilevlm.store import FrameFile, NumberedAs, Recording, read_numbering
from smilevlm.synthesis import MARKER_NAME

_UNSAFE = re.compile(r"[^\w.+-]+")


def index_folder(root: Path, *, numbered_as: NumberedAs = "auto") -> DataIndex:
    """Find the scans and sequences of `<root>/<subject>/<expression>/...` in any mesh format.

    An expression's folder that no data set names so is a class by its own name, in lower case.

    Args:
        root: The folder of the subjects' folders.
        numbered_as: What numbered files of one folder are: `auto` follows the rule, `scans` takes each for a scan,
            `sequence` takes them for frames however few they are.

    Raises:
        LayoutError: The folder is missing or holds no mesh in that place.
    """
    findings = Findings(root, name="folder layout", example="anna/happy/scan.obj")
    search = _Search(findings, numbered_as)
    recordings: list[Recording] = []
    for subject in findings.folders(root):
        search.pass_over_loose(subject)
        for expression in findings.folders(subject):
            found = search.recordings(expression, subject.name, expression)
            for further in findings.folders(expression):
                for deeper in findings.folders(further):
                    findings.remark(f"folder {findings.relative(deeper)} lies too deep and was left out")
                found += search.recordings(further, subject.name, expression)
            if not found:
                findings.problem(expression, search.why_nothing(expression))
            recordings += found
    search.pass_over_loose(root)
    recordings = search.without_links(recordings)
    num_sequences = sum(recording.is_sequence for recording in recordings)
    findings.remark(f"taken for {num_sequences} sequences and {len(recordings) - num_sequences} single scans")
    for remark in search.passed_over.remarks:
        findings.remark(remark)
    return findings.data_index("folder", _with_unique_names(findings, recordings), None)


class _Search:
    """Looks for recordings folder by folder, and counts the files that are none.

    Args:
        findings: Gets what is unusual.
        numbered_as: See `index_folder`.
    """

    def __init__(self, findings: Findings, numbered_as: NumberedAs) -> None:
        self.passed_over = PassedOver(findings.root)
        self._findings = findings
        self._numbered_as: NumberedAs = numbered_as

    def recordings(self, folder: Path, subject: str, expression: Path) -> list[Recording]:
        """The recordings whose files lie directly in a folder."""
        meshes = self._meshes(folder)
        base = "_".join((subject, *folder.relative_to(expression.parent).parts))
        numbering = read_numbering(meshes, self._numbered_as)
        if numbering.remark:
            self._findings.remark(f"{self._findings.relative(folder)}: {numbering.remark}")
        if numbering.frames:
            suffixes = (mesh_suffix(meshes[0]),)
            frames = numbered_frames(self._findings, meshes, suffixes=suffixes, only_digits=False)
            return [_recording(base, subject, expression.name, frames, is_sequence=True)]
        names = [base] if len(meshes) == 1 else [f"{base}_{mesh_stem(mesh)}" for mesh in meshes]
        return [
            _recording(name, subject, expression.name, (FrameFile(path=mesh),), is_sequence=False)
            for name, mesh in zip(names, meshes, strict=True)
        ]

    def _meshes(self, folder: Path) -> list[Path]:
        """The mesh files of one format, the first of several; texts and tables only if they hold coordinates."""
        found, tables = choose_meshes(self._files(folder), self.passed_over)
        note_tables(tables, self.passed_over)
        there = [suffix for suffix in MESH_SUFFIXES if any(mesh_suffix(mesh) == suffix for mesh in found)]
        if len(there) > 1:
            place = self._findings.relative(folder)
            self._findings.remark(f"{place} holds meshes as {', '.join(there)}; {there[0]} was read")
        return [mesh for mesh in found if mesh_suffix(mesh) == there[0]]

    def _files(self, folder: Path) -> list[Path]:
        entries = self._findings.entries(folder)
        return [entry for entry in entries if entry.name.lower().endswith(".zip") or not is_folder(entry)]

    def why_nothing(self, expression: Path) -> str:
        """What a folder without a recording holds."""
        here = PassedOver(expression)
        note_tables(choose_meshes(self._files(expression), here)[1], here)
        return f"no mesh in this folder; found {here.summary}" if here else "no mesh in this folder"

    def pass_over_loose(self, folder: Path) -> None:
        """Meshes that lie beside the folders of expressions, and all other files there."""
        files = [file for file in self._files(folder) if file.name != MARKER_NAME]
        loose, tables = choose_meshes(files, self.passed_over)
        note_tables(tables, self.passed_over)
        names = [file.name for file in loose if mesh_suffix(file) not in POINT_SUFFIXES]
        for file in loose:
            if mesh_suffix(file) in POINT_SUFFIXES:
                self.passed_over.count(file, f"{mesh_suffix(file)} beside folders")
        if names:
            place = "the root" if folder == self._findings.root else self._findings.relative(folder)
            self._findings.remark(f"{some(names)} in {place} lie beside the folders of expressions and were left out")

    def without_links(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Single scans that are links to a file of another recording are left out."""
        links = repeated_links(frame.path for recording in recordings for frame in recording.frames)
        kept = [recording for recording in recordings if recording.is_sequence or recording.path not in links]
        for recording in recordings:
            if recording.path in links and not recording.is_sequence:
                self.passed_over.count(recording.path, "link to a scan that is read anyway")
        return kept


def _recording(name: str, subject: str, word: str, frames: tuple[FrameFile, ...], *, is_sequence: bool) -> Recording:
    return Recording(
        sample_id=_UNSAFE.sub("-", name),
        subject=subject,
        expression=_expression(word),
        frames=frames,
        is_sequence=is_sequence,
    )


def _expression(word: str) -> str:
    try:
        return canonical_expression(word)
    except LayoutError:
        return word.lower()


def _with_unique_names(findings: Findings, recordings: Sequence[Recording]) -> list[Recording]:
    """Names that became equal, because some signs cannot stand in a file name, get a number."""

    taken: set[str] = set()
    result = []
    for recording in recordings:
        name, count = recording.sample_id, 1
        while name in taken:
            count += 1
            name = f"{recording.sample_id}-{count}"
        if count > 1:
            findings.remark(f"{findings.relative(recording.path)} is called {name}; its name was taken")
        taken.add(name)
        result.append(replace(recording, sample_id=name))
    return result
