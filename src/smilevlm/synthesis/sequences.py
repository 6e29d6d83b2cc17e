"""What the synthetic 4D data sets share: who performs, filming a motion frame by frame, and checked settings."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from smilevlm.geometry import Mesh
from smilevlm.readers import write_mtl, write_obj
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.capture_session import CaptureSession, draw_session
from smilevlm.synthesis.data_set import check_range, check_seed
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.motion import Motion, MotionContext
from smilevlm.synthesis.people import Person, Tempo, draw_person, draw_tempo
from smilevlm.synthesis.photograph import Portrait
from smilevlm.synthesis.population import Population
from smilevlm.synthesis.scan_setup import ScannerSettings, draw_noise
from smilevlm.synthesis.scanner import Scan, scan_with_setup
from smilevlm.synthesis.skin import skin_colors
from smilevlm.typing import RgbImage

_JPEG_QUALITY = 90
_FACE_CENTRE_MM = 10.0
"""The middle of a face lies so far below its nose tip."""
MIN_FRAMES, MAX_FRAMES = 5, 10_000
_CHUNK = 32
"""Frames computed at once. Part of the bytes: another number changes the last bits of the vertices."""


@dataclass(frozen=True, kw_only=True)
class SeedKey:
    """One sequence's or scan's place in a data set, on which all that is random about it depends.

    The layout is part of it: data sets of the same seed hold different people, so that one can test on one what was
    trained on another.

    Args:
        layout: Name of the layout.
        seed: Of the data set.
        person: Number of the person, from 0.
        sequence: Number of the sequence, or of the scan, within the person's.
    """

    layout: str
    seed: int
    person: int = 0
    sequence: int = 0

    def generator(self, part: str, frame: int = 0) -> np.random.Generator:
        """A generator for one purpose."""
        purpose = zlib.crc32(f"{self.layout}/{part}".encode())
        return np.random.default_rng([self.seed, purpose, self.person, self.sequence, frame])


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who is filmed.

    Args:
        person: Shape, skin and habits.
        tempo: How this person moves.
        colors: RGB per vertex of the refined head.
        nose_mm: The nose tip of the neutral face on the unscaled head.
    """

    person: Person
    tempo: Tempo
    colors: Float32[np.ndarray, "vert 3"]
    nose_mm: Float32[np.ndarray, " 3"]


def draw_subject(key: SeedKey, sex: str, population: Population) -> Subject:
    """Draw one subject of a population; the same in every sequence."""
    model, places = head_model(), anatomy()
    alone = replace(key, sequence=0)
    rng = alone.generator("person")
    person = draw_person(
        rng,
        sex=sex,
        shape_changes=model.shape_changes,
        facial_actions=model.facial_actions,
        population=population,
    )
    neutral = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=[{}])[0]
    return Subject(
        person=person,
        tempo=draw_tempo(alone.generator("tempo"), model.facial_actions),
        colors=skin_colors(rng, person, places),
        nose_mm=(model.topology.refine[places.nose_tip] @ neutral).astype(np.float32).reshape(3),
    )


@dataclass(frozen=True, kw_only=True)
class SequenceCapture:
    """One sequence about to be scanned.

    Args:
        subject: Who.
        motion: What they do.
        session: How the scanner is set up.
        scanner: How bad it is.
        frames_per_second: Of the motion.
        key: What the frames' generators depend on.
    """

    subject: Subject
    motion: Motion
    session: CaptureSession
    scanner: ScannerSettings
    frames_per_second: float
    key: SeedKey

    def scans(self) -> Iterator[Scan]:
        """One scan per frame of the motion, in order."""
        num_frames = len(self.motion.strength)
        for first in range(0, num_frames, _CHUNK):
            frames = range(first, min(first + _CHUNK, num_frames))
            for frame, surface in zip(frames, self._surfaces(frames), strict=True):
                yield self._scan(frame, surface)

    def _surfaces(self, frames: range) -> Iterator[Float32[np.ndarray, "vert 3"]]:
        person = self.subject.person
        coarse = head_model().vertices_mm(
            phenotype=person.phenotype, shape=person.shape, actions=[self.motion.at(frame) for frame in frames]
        )
        for vertices in coarse:
            fine = head_model().topology.refine @ vertices
            yield ((fine - self.subject.nose_mm) * np.float32(person.size)).astype(np.float32)

    def _scan(self, frame: int, surface: Float32[np.ndarray, "vert 3"]) -> Scan:
        places, faces = anatomy(), head_model().topology.fine_faces
        rng = self.key.generator("frame", frame)
        angles = self.motion.angles_deg[frame]
        yaw_deg = self.session.angles_deg[0] + float(angles[0])
        setup = self.session.setup_at(rng, frame / self.frames_per_second, yaw_deg)
        return scan_with_setup(
            setup,
            draw_noise(rng, setup),
            self.session.pose_at(angles, self.motion.offset_mm[frame]),
            vertices_mm=surface,
            faces=faces if self.session.sees_teeth else faces[~places.inner_faces],
            colors=self.subject.colors,
            landmarks_mm=surface[places.landmarks],
            quad_share=self.scanner.quad_share,
        )


def prepare_capture(
    key: SeedKey,
    act: Callable[[np.random.Generator, MotionContext], Motion],
    *,
    sex: str,
    num_frames: int,
    frames_per_second: float,
    scanner: ScannerSettings,
    population: Population,
) -> SequenceCapture:
    """Bring subject, motion and scanner together.

    Args:
        key: Which sequence of which person.
        act: Makes the motion, from the sequence's own generator.
        sex: `F` or `M`.
        num_frames: Frames of the sequence.
        frames_per_second: Of the sequence.
        scanner: How bad the scanner is.
        population: Which people there are.
    """
    subject = draw_subject(key, sex, population)
    context = MotionContext(
        person=subject.person,
        tempo=subject.tempo,
        facial_actions=head_model().facial_actions,
        time_s=np.arange(num_frames) / frames_per_second,
    )
    return SequenceCapture(
        subject=subject,
        motion=act(key.generator("motion"), context),
        session=draw_session(key.generator("take"), scanner),
        scanner=scanner,
        frames_per_second=frames_per_second,
        key=key,
    )


def portrait_camera(session: CaptureSession, *, width_px: int, height_per_width: float, width_mm: float) -> Portrait:
    """A camera that has the head's seat in its middle.

    Args:
        session: Where the head sits.
        width_px: Of the pictures.
        height_per_width: Their shape.
        width_mm: What they show across.
    """
    x, y, _ = session.offset_mm.tolist()
    height_px = round(width_px * height_per_width)
    return Portrait(width_px=width_px, height_px=height_px, centre_mm=(x, y - _FACE_CENTRE_MM), width_mm=width_mm)


def save_picture(path: Path, picture: RgbImage) -> None:
    Image.fromarray(picture).save(path, quality=_JPEG_QUALITY)


def write_textured_obj(path: Path, scan: Scan, camera: Portrait, *, material_library: str) -> None:
    """Write a scan as OBJ with its MTL and JPEG of the same stem.

    Args:
        path: Of the `.obj`.
        scan: What to write.
        camera: Takes the picture.
        material_library: What the OBJ calls its MTL file.
    """
    picture, uv = camera.capture(scan)
    save_picture(path.with_suffix(".jpg"), picture)
    triangles = scan.triangles
    mesh = Mesh(vertices=scan.vertices, faces=triangles, uv=uv[triangles])
    with path.open("w", newline="\n") as file:
        write_obj(file, mesh, material_library=material_library)
    with path.with_suffix(".mtl").open("w", newline="\n") as file:
        write_mtl(file, texture_name=path.with_suffix(".jpg").name)


def check_settings(*, num_subjects: int, seed: int, texture_width: int) -> None:
    """Check what all sequence layouts have in common.

    Raises:
        SettingsError: A value is out of range.
    """
    check_range("num_subjects", num_subjects, 1, 999)
    check_range("texture_width", texture_width, 16, 4096)
    check_seed(seed)
