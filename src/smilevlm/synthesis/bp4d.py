"""Synthetic sequences in the layout of BP4D-Spontaneous: eight tasks, OBJ with MTL and JPEG per frame, AU tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from smilevlm.files import write_atomically
from smilevlm.labels import ActionIntensities
from smilevlm.readers import AU_UNKNOWN, AuTable, write_au_table
from smilevlm.synthesis.action_units import occurs
from smilevlm.synthesis.data_set import Layout, check_range, subject_names
from smilevlm.synthesis.motion import Motion
from smilevlm.synthesis.scan_setup import ScannerSettings
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.sequences import (
    MAX_FRAMES,
    MIN_FRAMES,
    SequenceCapture,
    SequenceSettings,
    prepare_capture,
    write_textured_obj,
)
from smilevlm.synthesis.spontaneous import TASKS, spontaneous_motion

FRAMES_PER_SECOND = 25.0
CODED_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
_FEMALE_SHARE = 23 / 41
_HEIGHT_PER_WIDTH = 1392 / 1040
_NUMBERINGS = ((4, 0), (1, 1), (4, 2440), (3, 0), (1, 958), (4, 1), (2, 0), (1, 2440))
"""(Digits at least, first number): the data set pads its numbers with zeros in several ways."""
_CODED_SHARE = (0.15, 0.85)
"""Of the frames: the tables cover the part with most expression only."""


@dataclass(frozen=True, kw_only=True)
class Bp4dSettings(SequenceSettings):
    """What to write; BP4D-Spontaneous has 41 people, and BP4D+ pictures of 1040 x 1392 pixels.

    Args:
        num_frames: Frames per task, about: sequences vary by a quarter. BP4D has about a minute at 25 per second.
    """

    num_frames: int = 100
    scanner: ScannerSettings = field(default_factory=lambda: ScannerSettings(pose_deg=4.0, offset_mm=15.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("num_frames", self.num_frames, MIN_FRAMES, MAX_FRAMES)


@dataclass(frozen=True, kw_only=True)
class Bp4dSequence:
    """One task of one person to write. Frames are counted from 0 here, whatever their numbers on disk.

    Args:
        subject: Name of the folder.
        number: Of the person, from 0.
        task: 1 to 8.
        num_frames: Frames filmed, those left out included.
        num_digits: Frame numbers are filled with zeros up to this width.
        first_number: Of the first frame.
        left_out: Frames that are not on disk, since a hand was before the face; numbers go on.
        without_material: Frames whose `.mtl` is missing.
        wrong_case: Frames whose `mtllib` names the file in capitals.
        without_landmarks: Frames that the tracker lost.
        unknown_units: Action units that could not be coded in this sequence.
    """

    subject: str
    number: int
    task: int
    num_frames: int
    num_digits: int
    first_number: int
    left_out: tuple[int, ...]
    without_material: tuple[int, ...]
    wrong_case: tuple[int, ...]
    without_landmarks: tuple[int, ...]
    unknown_units: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.subject}_T{self.task}"

    @property
    def path(self) -> str:
        return f"{self.subject}/T{self.task}"

    def stem(self, frame: int) -> str:
        return str(self.first_number + frame).zfill(self.num_digits)


def plan_bp4d(settings: Bp4dSettings) -> list[Bp4dSequence]:
    """The sequences to write."""
    names = subject_names(settings.num_subjects, _FEMALE_SHARE)
    return [_plan(settings, number, name, task) for number, name in enumerate(names) for task in TASKS]


def _plan(settings: Bp4dSettings, number: int, name: str, task: int) -> Bp4dSequence:
    rng = SeedKey(layout=LAYOUT.name, seed=settings.seed, person=number, sequence=task).generator("plan")
    num_frames = max(MIN_FRAMES, round(settings.num_frames * float(rng.uniform(0.75, 1.25))))
    num_digits, first_number = _NUMBERINGS[(number + task - 1) % len(_NUMBERINGS)]
    first_person, middle = number == 0, num_frames // 2
    lost = (int(rng.integers(1, num_frames)),) if rng.uniform() < 0.4 or task == 5 else ()
    unknown = (CODED_UNITS[int(rng.integers(len(CODED_UNITS)))],) if rng.uniform() < 0.3 or task == 2 else ()
    return Bp4dSequence(
        subject=name,
        number=number,
        task=task,
        num_frames=num_frames,
        num_digits=num_digits,
        first_number=first_number,
        left_out=(middle,) if task == 6 else (),
        without_material=(middle,) if first_person and task == 3 else (),
        wrong_case=(middle,) if first_person and task == 1 else (),
        without_landmarks=lost,
        unknown_units=unknown,
    )


def _contents(_settings: Bp4dSettings, sequences: Sequence[Bp4dSequence]) -> dict[str, Any]:
    return {
        "frames_left_out": {s.path: [s.stem(n) for n in s.left_out] for s in sequences if s.left_out},
        "without_material": [f"{s.path}/{s.stem(n)}.mtl" for s in sequences for n in s.without_material],
    }


def _write_sequence(
    root: Path, folder: Path, sequence: Bp4dSequence, settings: Bp4dSettings
) -> dict[str, ActionIntensities]:
    capture = _capture(sequence, settings)
    write_atomically(root / "AUCoding" / f"{sequence.name}.csv", _au_table(capture.motion, sequence))
    camera = capture.portrait_camera(
        width_px=settings.texture_width, height_per_width=_HEIGHT_PER_WIDTH, width_mm=290.0
    )
    for frame, scan in enumerate(capture.scans()):
        if frame in sequence.left_out:
            continue
        stem = sequence.stem(frame)
        library = f"{stem}.MTL" if frame in sequence.wrong_case else f"{stem}.mtl"
        write_textured_obj(folder / f"{stem}.obj", scan, camera, material_library=library)
        if frame in sequence.without_material:
            (folder / f"{stem}.mtl").unlink()
        if frame not in sequence.without_landmarks:
            _write_landmarks(root, sequence, frame, scan.landmarks)
    return {sequence.name: capture.actions_at_apex()}


def _capture(sequence: Bp4dSequence, settings: Bp4dSettings) -> SequenceCapture:
    return prepare_capture(
        SeedKey(layout=LAYOUT.name, seed=settings.seed, person=sequence.number, sequence=sequence.task),
        lambda rng, context: spontaneous_motion(rng, context, TASKS[sequence.task]),
        sex=sequence.subject[0],
        num_frames=sequence.num_frames,
        frames_per_second=FRAMES_PER_SECOND,
        scanner=settings.scanner,
        population=settings.population,
    )


def _au_table(motion: Motion, sequence: Bp4dSequence) -> str:
    first, last = (round(share * (sequence.num_frames - 1)) for share in _CODED_SHARE)
    frames = np.arange(first, last + 1)
    values = np.stack([occurs(motion, unit)[frames] for unit in CODED_UNITS], axis=1).astype(np.int8)
    values[:, np.isin(CODED_UNITS, sequence.unknown_units)] = AU_UNKNOWN
    values[np.isin(frames, sequence.left_out)] = AU_UNKNOWN
    table = AuTable(au_numbers=CODED_UNITS, frame_numbers=frames + sequence.first_number, values=values)
    file = StringIO()
    write_au_table(file, table)
    return file.getvalue()


def _write_landmarks(root: Path, sequence: Bp4dSequence, frame: int, points: Float32[np.ndarray, "point 3"]) -> None:
    """One `.bndplus` file; where the meshes count from 0, the tracker counts from 1."""
    number = frame + max(sequence.first_number, 1)
    folder = root / "3DFeatures" / "BND"
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{x:.6g},{y:.6g},{z:.6g}\n" for x, y, z in points.tolist())
    (folder / f"{sequence.name}_{number:04d}.bndplus").write_text(text, newline="\n")


LAYOUT = Layout(name="bp4d", plan=plan_bp4d, write=_write_sequence, contents=_contents)
synthesize_bp4d = LAYOUT.synthesize
