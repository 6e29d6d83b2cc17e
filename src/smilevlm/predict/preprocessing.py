"""Scans and sequences to the views that the network takes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from smilevlm.errors import LayoutError, MeshError, StoreError
from smilevlm.geometry import Mesh, NormalisedFace
from smilevlm.predict.inputs import Scan, ScanFiles, scan_files
from smilevlm.predict.meshes import as_mesh
from smilevlm.readers import read_mesh, some
from smilevlm.store import FaceFinder, FrameFile, NumberedAs, PrepareSettings, counted_remarks, sequence_views
from smilevlm.typing import ViewImages
from smilevlm.views import render_normalised


@dataclass(frozen=True, kw_only=True)
class PreparedScan:
    """One scan or sequence, ready for the network.

    Args:
        images: One set of views per dynamic image; one in all for a scan.
        face: Of the scan, or of the sequence's middle frame.
        num_frames: Meshes used.
        bad_frames: (file name, what is wrong) of frames whose place a neighbour took.
        remarks: See `Prediction.remarks`.
        is_barely_found: Whether the face was barely found, see `NormalisedFace.is_barely_found`; of a sequence, in at
            least half of its frames.
        read_s, face_s, views_s: Seconds for reading, finding the face, and rendering with pooling.
    """

    images: tuple[ViewImages, ...]
    face: NormalisedFace
    num_frames: int
    bad_frames: tuple[tuple[str, str], ...]
    read_s: float
    face_s: float
    views_s: float
    remarks: tuple[str, ...] = ()
    is_barely_found: bool = False


def prepare_scan(
    scan: Scan | ScanFiles,
    settings: PrepareSettings,
    start: Float[np.ndarray, "3 3"] | None = None,
    *,
    numbered_as: NumberedAs = "auto",
) -> PreparedScan:
    """Read, find the face, render; a sequence's frames are pooled as well.

    Args:
        scan: A path, files, or a scan in memory, see `as_mesh`.
        settings: How the model's views are made.
        start: Rotation of the scan's axes into a roughly frontal pose, in which alone the face is then looked for; None
            to look for it anywhere.
        numbered_as: How a folder of numbered files is read, see `find_scans`.
    """
    preparer = _ScanPreparer(settings, start)
    if isinstance(scan, (str, os.PathLike)):
        scan = scan_files(scan, numbered_as=numbered_as)
    if not isinstance(scan, ScanFiles):
        return preparer.result((preparer.prepare_mesh(as_mesh(scan)),))
    if scan.is_sequence:
        return preparer.result(preparer.prepare_sequence(scan), scan.remarks)
    return preparer.result((preparer.prepare_frame(scan.frames[0]),), scan.remarks)


class _ScanPreparer:
    """Prepares the frames of one scan or sequence and measures the time."""

    def __init__(self, settings: PrepareSettings, start: Float[np.ndarray, "3 3"] | None) -> None:
        self._settings = settings
        self._find = FaceFinder(settings, start)
        self._face: NormalisedFace | None = None
        self._num_frames = self._num_barely_found = self._middle = 0
        self._bad_frames: list[tuple[str, str]] = []
        self._remarks: dict[str, tuple[str, ...]] = {}
        self._read_s = self._face_s = self._views_s = 0.0

    def prepare_frame(self, frame: FrameFile) -> ViewImages:
        """Read a file and render it."""
        begun = time.perf_counter()
        mesh = read_mesh(frame.path, load_texture=self._settings.views.kind == "texture")
        self._read_s += time.perf_counter() - begun
        try:
            return self.prepare_mesh(mesh, frame.path.name)
        except MeshError as error:
            if error.path is not None:
                raise
            raise MeshError(error.message, path=frame.path) from None

    def prepare_mesh(self, mesh: Mesh, name: str = "") -> ViewImages:
        """Find the face and render it."""
        begun = time.perf_counter()
        face = self._find(mesh)
        found = time.perf_counter()
        images = render_normalised(face.mesh, self._settings.views)
        self._face_s += found - begun
        self._views_s += time.perf_counter() - found
        if self._num_frames <= self._middle:
            self._face = face
        self._num_frames += 1
        self._num_barely_found += face.is_barely_found
        self._remarks[name] = face.remarks
        return images

    def prepare_sequence(self, files: ScanFiles) -> tuple[ViewImages, ...]:
        """The dynamic images of a sequence."""
        numbers = [frame.number for frame in files.frames]
        self._middle = min(len(numbers), self._settings.dynamics.num_frames or len(numbers)) // 2
        begun, measured = time.perf_counter(), self._measured()
        try:
            dynamics = sequence_views(
                files.frames,
                numbers,
                self._settings,
                self.prepare_frame,
                on_bad=lambda frame, error: self._bad_frames.append((frame.path.name, str(error))),
                on_lost=lambda plan: None,
            )
            images = tuple(dynamic.images for dynamic in dynamics)
        except (LayoutError, StoreError) as error:
            raise MeshError(str(error), path=files.path) from None
        if not images:
            raise MeshError("no frame could be used", path=files.path)
        # What is neither reading nor finding nor rendering is pooling.
        self._views_s += time.perf_counter() - begun - (self._measured() - measured)
        return images

    def _measured(self) -> float:
        return self._read_s + self._face_s + self._views_s

    def result(self, images: tuple[ViewImages, ...], folder_remarks: tuple[str, ...] = ()) -> PreparedScan:
        """The prepared scan, with the remarks of the files' folder before those of the meshes."""
        assert self._face is not None, "without a face there are no images"
        return PreparedScan(
            images=images,
            face=self._face,
            num_frames=self._num_frames,
            bad_frames=tuple(self._bad_frames),
            read_s=self._read_s,
            face_s=self._face_s,
            views_s=self._views_s,
            remarks=(*folder_remarks, *self._mesh_remarks(), *self._bad_frame_remarks()),
            is_barely_found=2 * self._num_barely_found >= self._num_frames,
        )

    def _mesh_remarks(self) -> tuple[str, ...]:
        if self._num_frames > 1:
            return counted_remarks(self._remarks)
        return tuple(remark for remarks in self._remarks.values() for remark in remarks)

    def _bad_frame_remarks(self) -> tuple[str, ...]:
        if not self._bad_frames:
            return ()
        number, total = len(self._bad_frames), len(self._bad_frames) + self._num_frames
        names = some([name for name, _ in self._bad_frames])
        return (f"{number} of {total} frames could not be used: {names} ({self._bad_frames[0][1]})",)
