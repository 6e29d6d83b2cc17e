"""Index of any scans sorted into folders: `<root>/<subject>/<expression>/...`.

The one rule of what is a sequence: mesh files in one folder whose names are all numbers, or all the same text and then
a number, are the frames of one sequence (`000.wrl 001.wrl`, `happy_1.ply happy_2.ply`); otherwise, and for a single
file, each file is a scan of its own (`first.obj second.obj`). Folders below an expression hold further recordings by
the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.frames import numbered_frames
from smilevlm.datasets.index import DataIndex
from smilevlm.datasets.tree import Findings, some
from smilevlm.errors import LayoutError
from smilevlm.labels import canonical_expression
from smilevlm.readers import MESH_SUFFIXES, POINT_SUFFIXES
from smilevlm.store import FrameFile, Recording

_NUMBERED = re.compile(r"(.*?)(\d+)", re.ASCII)
_UNSAFE = re.compile(r"[^\w.+-]+")


def index_folder(root: Path) -> DataIndex:
    """Find the scans and sequences of `<root>/<subject>/<expression>/...` in any mesh format.

    An expression's folder that no data set names so is a class by its own name, in lower case.

    Raises:
        LayoutError: The folder is missing or holds no mesh in that place.
    """
    findings = Findings(root, name="folder layout", example="anna/happy/scan.obj")
    recordings: list[Recording] = []
    for subject in findings.folders(root):
        _remark_on_loose_meshes(findings, subject)
        for expression in findings.folders(subject):
            found = _recordings(findings, expression, subject.name, expression)
            for further in findings.folders(expression):
                for deeper in findings.folders(further):
                    findings.remark(f"folder {findings.relative(deeper)} lies too deep and was left out")
                found += _recordings(findings, further, subject.name, expression)
            if not found:
                findings.problem(expression, "no mesh in this folder")
            recordings += found
    _remark_on_loose_meshes(findings, root)
    num_sequences = sum(recording.is_sequence for recording in recordings)
    findings.remark(f"taken for {num_sequences} sequences and {len(recordings) - num_sequences} single scans")
    return findings.data_index("folder", _with_unique_names(findings, recordings), None)


def _recordings(findings: Findings, folder: Path, subject: str, expression: Path) -> list[Recording]:
    """The recordings whose files lie directly in a folder."""
    meshes = _meshes(findings, folder)
    base = "_".join((subject, *folder.relative_to(expression.parent).parts))
    if len(meshes) > 1 and _is_sequence(meshes):
        frames = numbered_frames(findings, meshes, suffixes=(meshes[0].suffix.lower(),), only_digits=False)
        return [_recording(base, subject, expression.name, frames, is_sequence=True)]
    names = [base] if len(meshes) == 1 else [f"{base}_{mesh.stem}" for mesh in meshes]
    return [
        _recording(name, subject, expression.name, (FrameFile(path=mesh),), is_sequence=False)
        for name, mesh in zip(names, meshes, strict=True)
    ]


def _meshes(findings: Findings, folder: Path) -> list[Path]:
    files = findings.entries(folder)
    there = [suffix for suffix in MESH_SUFFIXES if any(file.suffix.lower() == suffix for file in files)]
    ranked = sorted(there, key=lambda suffix: suffix in POINT_SUFFIXES)
    if not ranked:
        return []
    others = [suffix for suffix in ranked[1:] if suffix not in POINT_SUFFIXES]
    if others:
        place = findings.relative(folder)
        findings.remark(f"{place} holds meshes as {', '.join((ranked[0], *others))}; {ranked[0]} was read")
    return [file for file in files if file.suffix.lower() == ranked[0]]


def _is_sequence(meshes: Sequence[Path]) -> bool:
    matches = [_NUMBERED.fullmatch(mesh.stem) for mesh in meshes]
    return all(matches) and len({match[1] for match in matches if match}) == 1


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


def _remark_on_loose_meshes(findings: Findings, folder: Path) -> None:
    loose = [e.name for e in findings.entries(folder) if e.suffix.lower() in set(MESH_SUFFIXES) - set(POINT_SUFFIXES)]
    if loose:
        place = "the root" if folder == findings.root else findings.relative(folder)
        findings.remark(f"{some(loose)} in {place} lie beside the folders of expressions and were left out")


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
