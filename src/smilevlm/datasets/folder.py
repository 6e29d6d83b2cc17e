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
from smilevlm.datasets.index_report import IndexReport
from smilevlm.errors import LayoutError
from smilevlm.labels import canonical_expression
from smilevlm.readers import (
    ACTIONS_NAME,
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

    An expression's folder that no data set names so is a class by its own name, in lower case. Names joined by `+`
    (`fear+surprise`) are a scan of several classes.

    Args:
        root: The folder of the subjects' folders.
        numbered_as: What numbered files of one folder are: `auto` follows the rule, `scans` takes each for a scan,
            `sequence` takes them for frames however few they are.

    Raises:
        LayoutError: The folder is missing or holds no mesh in that place.
    """
    report = IndexReport(root, name="folder layout", example="anna/happy/scan.obj")
    search = _Search(report, numbered_as)
    recordings: list[Recording] = []
    for subject in report.folders(root):
        search.skip_loose_files(subject)
        for expression in report.folders(subject):
            found = search.recordings(expression, subject.name, expression)
            for further in report.folders(expression):
                for deeper in report.folders(further):
                    report.warning(f"folder {report.relative(deeper)} lies too deep and was left out")
                found += search.recordings(further, subject.name, expression)
            if not found:
                report.problem(expression, search.why_empty(expression))
            recordings += found
    search.skip_loose_files(root)
    recordings = search.without_links(recordings)
    num_sequences = sum(recording.is_sequence for recording in recordings)
    report.warning(f"taken for {num_sequences} sequences and {len(recordings) - num_sequences} single scans")
    for remark in search.skipped.remarks:
        report.warning(remark)
    return report.data_index("folder", _with_unique_names(report, recordings), None)


class _Search:
    """Looks for recordings folder by folder, and counts the files that are none; see `index_folder`."""

    def __init__(self, report: IndexReport, numbered_as: NumberedAs) -> None:
        self.skipped = PassedOver(report.root)
        self._report = report
        self._numbered_as: NumberedAs = numbered_as

    def recordings(self, folder: Path, subject: str, expression: Path) -> list[Recording]:
        """The recordings whose files lie directly in a folder."""
        meshes = self._meshes(folder)
        base = "_".join((subject, *folder.relative_to(expression.parent).parts))
        numbering = read_numbering(meshes, self._numbered_as)
        if numbering.remark:
            self._report.warning(f"{self._report.relative(folder)}: {numbering.remark}")
        if numbering.frames:
            suffixes = (mesh_suffix(meshes[0]),)
            frames = numbered_frames(self._report, meshes, suffixes=suffixes, only_digits=False)
            return [_recording(base, subject, expression.name, frames, is_sequence=True)]
        names = [base] if len(meshes) == 1 else [f"{base}_{mesh_stem(mesh)}" for mesh in meshes]
        return [
            _recording(name, subject, expression.name, (FrameFile(path=mesh),), is_sequence=False)
            for name, mesh in zip(names, meshes, strict=True)
        ]

    def _meshes(self, folder: Path) -> list[Path]:
        """The mesh files of one format, the first of several; texts and tables only if they hold coordinates."""
        found, tables = choose_meshes(self._files(folder), self.skipped)
        note_tables(tables, self.skipped)
        present = [suffix for suffix in MESH_SUFFIXES if any(mesh_suffix(mesh) == suffix for mesh in found)]
        if len(present) > 1:
            place = self._report.relative(folder)
            self._report.warning(f"{place} holds meshes as {', '.join(present)}; {present[0]} was read")
        return [mesh for mesh in found if mesh_suffix(mesh) == present[0]]

    def _files(self, folder: Path) -> list[Path]:
        entries = self._report.entries(folder)
        return [entry for entry in entries if entry.name.lower().endswith(".zip") or not is_folder(entry)]

    def why_empty(self, expression: Path) -> str:
        """What a folder without a recording holds."""
        here = PassedOver(expression)
        note_tables(choose_meshes(self._files(expression), here)[1], here)
        return f"no mesh in this folder; found {here.summary}" if here else "no mesh in this folder"

    def skip_loose_files(self, folder: Path) -> None:
        """Meshes that lie beside the folders of expressions, and all other files there."""
        files = [file for file in self._files(folder) if file.name not in (MARKER_NAME, ACTIONS_NAME)]
        loose, tables = choose_meshes(files, self.skipped)
        note_tables(tables, self.skipped)
        names = [file.name for file in loose if mesh_suffix(file) not in POINT_SUFFIXES]
        for file in loose:
            if mesh_suffix(file) in POINT_SUFFIXES:
                self.skipped.count(file, f"{mesh_suffix(file)} beside folders")
        if names:
            place = "the root" if folder == self._report.root else self._report.relative(folder)
            self._report.warning(f"{some(names)} in {place} lie beside the folders of expressions and were left out")

    def without_links(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Single scans that are links to a file of another recording are left out."""
        links = repeated_links(frame.path for recording in recordings for frame in recording.frames)
        kept = [recording for recording in recordings if recording.is_sequence or recording.path not in links]
        for recording in recordings:
            if recording.path in links and not recording.is_sequence:
                self.skipped.count(recording.path, "link to a scan that is read anyway")
        return kept


def _recording(name: str, subject: str, word: str, frames: tuple[FrameFile, ...], *, is_sequence: bool) -> Recording:
    labels = tuple(dict.fromkeys(_expression(part.strip()) for part in word.split("+") if part.strip()))
    return Recording(
        sample_id=_UNSAFE.sub("-", name),
        subject=subject,
        expression="+".join(labels) or word.lower(),
        labels=labels if len(labels) > 1 else (),
        frames=frames,
        is_sequence=is_sequence,
    )


def _expression(word: str) -> str:
    try:
        return canonical_expression(word)
    except LayoutError:
        return word.lower()


def _with_unique_names(report: IndexReport, recordings: Sequence[Recording]) -> list[Recording]:
    """Names that became equal, because some signs cannot stand in a file name, get a number."""

    taken: set[str] = set()
    result = []
    for recording in recordings:
        name, count = recording.sample_id, 1
        while name in taken:
            count += 1
            name = f"{recording.sample_id}-{count}"
        if count > 1:
            report.warning(f"{report.relative(recording.path)} is called {name}; its name was taken")
        taken.add(name)
        result.append(replace(recording, sample_id=name))
    return result
