"""Frames of a sequence by the numbers in their names: zeros in front may differ, numbers may be left out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from smilevlm.datasets.index_report import IndexReport
from smilevlm.readers import mesh_stem, mesh_suffix, some
from smilevlm.store import FrameFile

LANDMARK_SUFFIXES = (".bnd", ".landmark")
_TEXTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_NUMBERS = re.compile(r"\d+", re.ASCII)


def textured_frames(
    report: IndexReport,
    folder: Path,
    *,
    suffixes: Sequence[str],
    landmarks: Mapping[int, Path] | None = None,
) -> tuple[FrameFile, ...]:
    """The frames of a sequence whose meshes have an image of the same number each; see `numbered_frames`.

    No frame, or no image for some of them, is a problem.
    """
    files = report.entries(folder)
    frames = numbered_frames(report, files, suffixes=suffixes, landmarks=landmarks)
    if not frames:
        report.problem(folder, f"the sequence has no frame; expected files like 000{suffixes[0]}")
        return ()
    textures = by_number(files, _TEXTURE_SUFFIXES)
    bare = [frame.path.name for frame in frames if frame.number not in textures]
    if bare:
        report.problem(folder, f"no image beside {len(bare)} of {len(frames)} meshes: {some(bare)}")
    return frames


def numbered_frames(
    report: IndexReport,
    files: Sequence[Path],
    *,
    suffixes: Sequence[str],
    only_digits: bool = True,
    landmarks: Mapping[int, Path] | None = None,
) -> tuple[FrameFile, ...]:
    """Meshes in the order of their numbers; gaps, double numbers and names without one are warned about.

    Args:
        report: Gets the warnings.
        files: What lies in the sequence's folder.
        suffixes: Of meshes, best first: when several occur, the first one's files are the frames.
        only_digits: Whether the whole stem must be the number; else the stem's last number counts.
        landmarks: Landmark files by frame number; None takes those beside the meshes.
    """
    present = [suffix for suffix in suffixes if any(mesh_suffix(file) == suffix for file in files)]
    if not present:
        return ()
    place = report.relative(files[0].parent)
    if len(present) > 1:
        report.warning(f"{place} holds meshes as {', '.join(present)}; {present[0]} was read")
    meshes = [file for file in files if mesh_suffix(file) == present[0]]
    by_frame = by_number(meshes, present, only_digits=only_digits)
    numbers = sorted(by_frame)
    kept = set(by_frame.values())
    left_out = [mesh.name for mesh in meshes if mesh not in kept]
    if left_out:
        report.warning(f"{place}: {some(left_out)} have no frame number of their own and were left out")
    gaps = sum(after - before > 1 for before, after in itertools.pairwise(numbers))
    if gaps:
        report.warning(f"{place}: {gaps} {'gap' if gaps == 1 else 'gaps'} in {len(numbers)} frames")
    beside = by_number(files, LANDMARK_SUFFIXES, only_digits=only_digits) if landmarks is None else landmarks
    return tuple(FrameFile(path=by_frame[n], number=n, landmark_path=beside.get(n)) for n in numbers)


def by_number(files: Sequence[Path], suffixes: Sequence[str], *, only_digits: bool = True) -> dict[int, Path]:
    """Files of some suffixes by frame number; the first of two."""
    found: dict[int, Path] = {}
    for file in files:
        number = _number(mesh_stem(file), only_digits=only_digits) if mesh_suffix(file) in suffixes else None
        if number is not None:
            found.setdefault(number, file)
    return found


def _number(stem: str, *, only_digits: bool) -> int | None:
    numbers = _NUMBERS.findall(stem)
    if not numbers or (only_digits and numbers[0] != stem):
        return None
    return int(numbers[-1])
