"""Which mesh files of a folder are the frames of one sequence: the one rule for prediction, `check` and `prepare`.

Files are frames when

1. all mesh files of the folder have one suffix and are named by one text and a number each;
2. the numbers are consecutive: one may be missing, or one in ten where there are more;
3. either they have the names of recorded frames, that is nothing but digits of equal width, three or more
   (`000.wrl`, as BU-4DFE and BP4D have them), or a text that ends in `frame` (`happy_frame_12.ply`), and there are at
   least `MIN_FRAMES` of them;
   or there are at least `MIN_NUMBERED` of them, the text does not say that people or poses are counted
   (`person1.ply`, `pose_1.ply`), and the first, the middle and the last have the same number of vertices, where the
   files say so without being read as a mesh (VRML does not).

Six and more: shorter films hold no movement to sum up. Eight and more: a person's scans of the six basic expressions
and the neutral face are seven.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smilevlm.errors import MeshError
from smilevlm.readers import announced_vertices, decode_file, mesh_stem, mesh_suffix, read_file
from smilevlm.store.records import FrameFile

NumberedAs = Literal["auto", "scans", "sequence"]
"""What numbered files of one folder are: what the rule says, a scan each, or the frames of one sequence."""
NUMBERED_AS: tuple[NumberedAs, ...] = ("auto", "scans", "sequence")
MIN_FRAMES = 6
MIN_NUMBERED = 8
_MISSING_SHARE = 0.1
_NUMBERED = re.compile(r"(.*?)(\d{1,15})", re.ASCII)
"""More digits are no frame number; the lazy text takes what is too many, and the texts differ then."""
_FRAME_DIGITS = 3
_FRAME_TEXT = re.compile(r"(.*[^a-z])?frame[^a-z]*", re.IGNORECASE)
_COUNTED_TEXT = re.compile(
    r"(.*[^a-z])?(person|people|subject|subj|sub|participant|patient|proband|individual|id|pose)[^a-z]*", re.IGNORECASE
)
_OF_FRAMES = re.compile(r"\d+ of \d+ frames, such as .*?: ")
_TO_SCANS = 'for a row each: --scans (in Python numbered_as="scans")'
_TO_SEQUENCE = '--sequence reads them as the frames of one (in Python numbered_as="sequence")'


@dataclass(frozen=True, kw_only=True)
class Numbering:
    """How the mesh files of one folder are read.

    Args:
        frames: Of the sequence, in order; empty when each file is a scan of its own.
        remark: What was decided where it could be read in another way, and how to choose; empty otherwise.
    """

    frames: tuple[FrameFile, ...] = ()
    remark: str = ""


def read_numbering(meshes: Sequence[Path], numbered_as: NumberedAs = "auto") -> Numbering:
    """Decide whether the mesh files of a folder are the frames of one sequence; see this module's rule.

    Args:
        meshes: All mesh files that lie directly in one folder.
        numbered_as: `scans` and `sequence` go before the rule; files that are not numbered alike stay scans.
    """
    named = [_NUMBERED.fullmatch(mesh_stem(mesh)) for mesh in meshes]
    by_number = {int(match[2]): mesh for match, mesh in zip(named, meshes, strict=True) if match}
    alike = {(match[1], mesh_suffix(mesh)) for match, mesh in zip(named, meshes, strict=True) if match}
    if len(meshes) < 2 or not all(named) or len(alike) != 1 or len(by_number) != len(meshes):
        return Numbering()
    if numbered_as == "scans":
        return Numbering()
    numbers = sorted(by_number)
    frames = tuple(FrameFile(path=by_number[number], number=number) for number in numbers)
    if numbered_as == "sequence":
        return Numbering(frames=frames, remark=f"sequence of {len(frames)} frames, as was asked for")
    (text, _), *_ = alike
    if reason := _reason_for_scans(text, frames):
        names = f"{frames[0].path.name} to {frames[-1].path.name}"
        return Numbering(
            remark=f"{len(frames)} numbered files ({names}) were read as single scans: {reason}; {_TO_SEQUENCE}"
        )
    return Numbering(frames=frames, remark=f"sequence of {len(frames)} frames; {_TO_SCANS}")


def _reason_for_scans(text: str, frames: Sequence[FrameFile]) -> str:
    """Why numbered files are no sequence by themselves; empty when they are one."""
    widths = {len(mesh_stem(frame.path)) for frame in frames}
    is_recorded = (not text and len(widths) == 1 and min(widths) >= _FRAME_DIGITS) or _FRAME_TEXT.fullmatch(text)
    least = MIN_FRAMES if is_recorded else MIN_NUMBERED
    if len(frames) < least:
        return f"fewer than {least}"
    num_missing = frames[-1].number - frames[0].number + 1 - len(frames)
    if num_missing > max(1, _MISSING_SHARE * len(frames)):
        return f"{num_missing} numbers between the first and the last are missing"
    if is_recorded:
        return ""
    if _COUNTED_TEXT.fullmatch(text):
        return f"{text!r} counts people or poses"
    if len(_vertex_counts(frames)) > 1:
        return "they differ in their number of vertices"
    return ""


def _vertex_counts(frames: Sequence[FrameFile]) -> set[int]:
    """The different numbers of vertices that three of the frames announce."""
    counts = set()
    for frame in (frames[0], frames[len(frames) // 2], frames[-1]):
        try:
            decoded = decode_file(read_file(frame.path), frame.path)
            counts.add(announced_vertices(decoded.data, decoded.suffix))
        except MeshError:  # it is said when the frame is read
            continue
    return counts - {0}


def counted_remarks(remarks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The remarks of a sequence's frames, each kind once; those that differ in numbers alone are of one kind.

    Args:
        remarks: File name to remarks, for every frame that was used.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, found in remarks.items():
        for remark in found:
            kinds.setdefault(remark_kind(remark), []).append((name, remark))
    return tuple(
        f"{len({name for name, _ in found})} of {len(remarks)} frames, such as {found[0][0]}: {found[0][1]}"
        for found in kinds.values()
    )


def remark_kind(remark: str) -> str:
    """The remark with its numbers left out, and without which frames of a sequence it holds for."""
    return re.sub(r"\d+([.,]\d+)*", "N", _OF_FRAMES.sub("", remark))
