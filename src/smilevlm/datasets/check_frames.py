"""Read every file of one recording, and look whether what formats leave open is as the readers take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from smilevlm.datasets.index import Problem
from smilevlm.errors import FileFormatError, MeshError, SmileVlmError
from smilevlm.geometry import Mesh, NormaliseSettings
from smilevlm.readers import BndLandmarks, VDirection, find_beside, find_v_direction, read_bnd, read_landmarks, read_lm2
from smilevlm.store import FaceFinder, PrepareSettings, Recording, read_frame, remark_kind
from smilevlm.views import ViewSettings

_NEAR_MM = 0.5
"""A landmark is written with fewer digits than its vertex, never so far from it."""
_V_DIRECTION: Mapping[VDirection, str] = {
    "top": "v counts from the top of the image, as expected",
    "bottom": "v counts from the bottom of the image, against the expectation: textures will be upside down",
    "unknown": "the landmarks do not tell where v counts from",
}
_NO_FACE = "no face was found, which `prepare` would skip"
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class FrameReport:
    """What one recording's files gave.

    Args:
        num_frames: Frames that were read, good or bad.
        bad_files: In the order of the frames.
        observations: What was seen, and in how many frames.
        mesh_remarks: What the readers left out or repaired, and what speaks against the face, such as one that is
            barely found; in how many frames, by kind, numbers left out.
    """

    num_frames: int
    bad_files: tuple[Problem, ...]
    observations: Mapping[str, int]
    mesh_remarks: Mapping[str, int]


def check_recording(layout: str, root: Path, recording: Recording, *, find_faces: bool = True) -> FrameReport:
    """Read all frames of a recording, one after the other; with `find_faces`, look for the face as `prepare` does."""
    bad_files: list[Problem] = []
    observed: Counter[str] = Counter()
    mesh_remarks: Counter[str] = Counter()
    settings = PrepareSettings(views=ViewSettings(), normalise=NormaliseSettings())
    find = FaceFinder(settings) if find_faces else None

    def attempt(read: Callable[[], _Value], path: Path) -> _Value | None:
        try:
            return read()
        except (SmileVlmError, OSError) as error:
            bad_files.append(_bad_file(root, path, error))
            return None

    for frame in recording.frames:
        loaded = attempt(partial(read_frame, frame, load_texture=True), frame.path)
        if loaded is not None:
            observed.update(_texture_state(loaded.mesh))
            mesh_remarks.update({remark_kind(remark) for remark in _remarks(loaded.mesh, find)})
        landmarks = frame.landmark_path
        points = None if landmarks is None else attempt(partial(read_landmarks, landmarks), landmarks)
        if layout == "bosphorus":
            pixels_path = find_beside(frame.path, [f"{frame.path.stem}.lm2"])
            pixels = None if pixels_path is None else attempt(partial(read_lm2, pixels_path), pixels_path)
            if loaded is not None and points is not None and pixels is not None:
                observed.update([_V_DIRECTION[find_v_direction(loaded.mesh, pixels, points)]])
        elif layout == "bu4dfe" and landmarks is not None and loaded is not None and points is not None:
            observed.update([_landmark_base(loaded.mesh, read_bnd(landmarks))])
    return FrameReport(
        num_frames=len(recording.frames),
        bad_files=tuple(bad_files),
        observations=dict(observed),
        mesh_remarks=dict(mesh_remarks),
    )


def _remarks(mesh: Mesh, find: FaceFinder | None) -> tuple[str, ...]:
    """Those of the scan and of its face. A sound file without a face is no bad file: `prepare` skips it."""
    try:
        return mesh.remarks if find is None else find(mesh).remarks
    except MeshError:
        return (*mesh.remarks, _NO_FACE)


def _bad_file(root: Path, path: Path, error: SmileVlmError | OSError) -> Problem:
    """A problem whose path has the line, or whose reason has the byte."""
    reason = str(error)
    if isinstance(error, FileFormatError):
        path = path if error.path is None else Path(error.path)
        reason = error.message if error.offset is None else f"byte {error.offset}: {error.message}"
    where = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    if isinstance(error, FileFormatError) and error.line is not None:
        where = f"{where}:{error.line}"
    return Problem(path=where, reason=reason)


def _texture_state(mesh: Mesh) -> list[str]:
    if mesh.texture is None:
        return ["no texture image was found for the mesh"]
    return [] if mesh.uv is not None else ["the mesh has an image but no texture coordinates"]


def _landmark_base(mesh: Mesh, bnd: BndLandmarks) -> str:
    """Whether column 0 of BU-4DFE's `.bnd` numbers the mesh's vertices, and from where."""
    for base in (0, 1):
        numbers = bnd.indices - base
        if numbers.min() < 0 or numbers.max() >= mesh.num_vertices:
            continue
        distance = np.linalg.norm(mesh.vertices[numbers] - bnd.points, axis=1)
        if np.median(distance) < _NEAR_MM:
            return f"column 0 of the landmark file numbers the vertices from {base}"
    return "column 0 of the landmark file does not number the mesh's vertices"
