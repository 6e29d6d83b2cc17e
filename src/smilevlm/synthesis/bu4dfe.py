"""Synthetic sequences in the layout of BU-4DFE: six posed expressions per person, VRML and a picture per frame."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from scipy.spatial import KDTree

from smilevlm.files import folder_in_one_piece
from smilevlm.labels import ActionIntensities
from smilevlm.readers import write_bnd, write_bu4dfe_vrml
from smilevlm.synthesis.data_set import Layout, check_range, subject_names
from smilevlm.synthesis.photograph import Portrait
from smilevlm.synthesis.posed import ActingSettings, posed_motion
from smilevlm.synthesis.scan_setup import ScannerSettings
from smilevlm.synthesis.scanner import Scan
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.sequences import (
    MAX_FRAMES,
    MIN_FRAMES,
    SequenceCapture,
    SequenceSettings,
    prepare_capture,
    save_picture,
)

FRAMES_PER_SECOND = 25.0
LANDMARK_TREE = "BU4DFE_BND_V1.1"
_FOLDERS = {
    "Angry": "angry", "Disgust": "disgust", "Fear": "fear", "Happy": "happy", "Sad": "sad", "Surprise": "surprise",
}  # fmt: skip
_FEMALE_SHARE = 58 / 101
_HEIGHT_PER_WIDTH = 1329 / 1040
_LONGEST = 126
"""Frames of one sequence, as the longest that public lists of BU-4DFE name."""
_EMPTY_ROW_EVERY = 20
"""So often a landmark file ends with an empty 84th row."""
_VIEWER_FOLDER = "BU_WrlViewer_V2"
_VIEWER_TEXT = "The viewer that comes with BU-4DFE lies in this folder. It is no subject.\n"


@dataclass(frozen=True, kw_only=True)
class Bu4dfeSettings(SequenceSettings):
    """What to write; BU-4DFE has 101 people and pictures of 1040 x 1329 pixels.

    Args:
        num_frames: Frames per sequence, about: sequences vary by a quarter. BU-4DFE has about 100 at 25 per second.
        landmarks: Also write the tree of landmark files that is distributed beside the data set.
        acting: How clearly and regularly people act. With `REGULAR` and a scanner without flicker, expressions are
            easier to tell than those of people.
    """

    num_frames: int = 100
    landmarks: bool = True
    acting: ActingSettings = field(default_factory=ActingSettings)
    scanner: ScannerSettings = field(default_factory=lambda: ScannerSettings(pose_deg=3.0, offset_mm=12.0, flicker=1.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("num_frames", self.num_frames, MIN_FRAMES, MAX_FRAMES)


@dataclass(frozen=True, kw_only=True)
class Bu4dfeSequence:
    """One sequence to write.

    Args:
        subject: Name of the folder.
        number: Of the person, from 0.
        word: The expression's folder.
        num_frames: Frames filmed, those left out included.
        left_out: Numbers of frames that are not on disk.
        without_texture: Numbers of frames that have no picture.
        with_texture_index: Whether the VRML repeats its faces for the texture, or leaves that out.
    """

    subject: str
    number: int
    word: str
    num_frames: int
    left_out: tuple[int, ...]
    without_texture: tuple[int, ...]
    with_texture_index: bool

    @property
    def path(self) -> str:
        return f"{self.subject}/{self.word}"

    @property
    def index(self) -> int:
        return list(_FOLDERS).index(self.word)


def plan_bu4dfe(settings: Bu4dfeSettings) -> list[Bu4dfeSequence]:
    """The sequences to write."""
    names = subject_names(settings.num_subjects, _FEMALE_SHARE)
    planned = [_plan(settings, number, name, word) for number, name in enumerate(names) for word in _FOLDERS]
    missing = missing_sequences(settings)
    return [sequence for sequence in planned if sequence.path not in missing]


def missing_sequences(settings: Bu4dfeSettings) -> list[str]:
    """The paths of sequences that are missing on purpose, as in the data set itself."""
    names = subject_names(settings.num_subjects, _FEMALE_SHARE)
    return [f"{names[-2]}/Disgust"] if len(names) > 1 else []


def _plan(settings: Bu4dfeSettings, number: int, name: str, word: str) -> Bu4dfeSequence:
    index = list(_FOLDERS).index(word)
    rng = SeedKey(layout=LAYOUT.name, seed=settings.seed, person=number, sequence=list(_FOLDERS).index(word)).generator(
        "plan"
    )
    num_frames = max(MIN_FRAMES, round(settings.num_frames * float(rng.uniform(0.75, 1.25))))
    first_person = number == 0
    if first_person and word == "Surprise" and settings.num_frames >= 100:
        num_frames = _LONGEST
    middle = num_frames // 2
    return Bu4dfeSequence(
        subject=name,
        number=number,
        word=word,
        num_frames=num_frames,
        left_out=(middle, middle + 1) if first_person and word == "Fear" else (),
        without_texture=(middle,) if first_person and word == "Angry" else (),
        with_texture_index=bool((number + index) % 2),
    )


def _contents(settings: Bu4dfeSettings, sequences: Sequence[Bu4dfeSequence]) -> dict[str, Any]:
    return {
        "missing": missing_sequences(settings),
        "frames_left_out": {s.path: list(s.left_out) for s in sequences if s.left_out},
        "without_texture": [f"{s.path}/{n:03d}.jpg" for s in sequences for n in s.without_texture],
    }


def _write_viewer(root: Path, _settings: Bu4dfeSettings, _sequences: Sequence[Bu4dfeSequence]) -> None:
    (root / _VIEWER_FOLDER).mkdir(exist_ok=True)
    (root / _VIEWER_FOLDER / "readme.txt").write_text(_VIEWER_TEXT, newline="\n")


def _write_sequence(
    root: Path, folder: Path, sequence: Bu4dfeSequence, settings: Bu4dfeSettings
) -> dict[str, ActionIntensities]:
    """One sequence; its landmarks are complete before its folder is."""
    capture = _capture(sequence, settings)
    camera = capture.portrait_camera(
        width_px=settings.texture_width, height_per_width=_HEIGHT_PER_WIDTH, width_mm=230.0
    )
    landmarks: dict[int, _Landmarks] = {}
    for number, scan in enumerate(capture.scans()):
        if number in sequence.left_out:
            continue
        _write_frame(folder, number, scan, camera, sequence)
        nearest = KDTree(scan.vertices).query(scan.landmarks)[1]
        landmarks[number] = _Landmarks(points=scan.vertices[nearest], indices=np.asarray(nearest, np.int64))
    if settings.landmarks:
        _write_landmarks(root / LANDMARK_TREE / sequence.path, landmarks)
    return {f"{sequence.subject}_{sequence.word}": capture.actions_at_apex()}


@dataclass(frozen=True, kw_only=True)
class _Landmarks:
    """The vertices of one frame that are nearest to the landmarks, as column 0 of BU-4DFE's `.bnd` asks for."""

    points: Float32[np.ndarray, "83 3"]
    indices: Int64[np.ndarray, " 83"]


def _capture(sequence: Bu4dfeSequence, settings: Bu4dfeSettings) -> SequenceCapture:
    return prepare_capture(
        SeedKey(layout=LAYOUT.name, seed=settings.seed, person=sequence.number, sequence=sequence.index),
        lambda rng, context: posed_motion(rng, context, _FOLDERS[sequence.word], settings.acting),
        sex=sequence.subject[0],
        num_frames=sequence.num_frames,
        frames_per_second=FRAMES_PER_SECOND,
        scanner=settings.scanner,
        population=settings.population,
    )


def _write_frame(folder: Path, number: int, scan: Scan, camera: Portrait, sequence: Bu4dfeSequence) -> None:
    picture, uv = camera.capture(scan)
    if number not in sequence.without_texture:
        save_picture(folder / f"{number:03d}.jpg", picture)
    with (folder / f"{number:03d}.wrl").open("w", newline="\n") as file:
        write_bu4dfe_vrml(
            file,
            vertices=scan.vertices,
            faces=scan.triangles,
            uv=uv,
            texture_name=f"{number:03d}.jpg",
            with_texture_index=sequence.with_texture_index,
        )


def _write_landmarks(target: Path, landmarks: Mapping[int, _Landmarks]) -> None:
    # A run that was killed before it finished the sequence may have left them.
    shutil.rmtree(target, ignore_errors=True)
    with folder_in_one_piece(target) as folder:
        for number, found in landmarks.items():
            with (folder / f"{number:03d}.bnd").open("w", newline="\n") as file:
                write_bnd(file, found.points, found.indices)
                if number % _EMPTY_ROW_EVERY == 0:
                    file.write("\n")


LAYOUT = Layout(name="bu4dfe", plan=plan_bu4dfe, write=_write_sequence, contents=_contents, write_shared=_write_viewer)
synthesize_bu4dfe = LAYOUT.synthesize
