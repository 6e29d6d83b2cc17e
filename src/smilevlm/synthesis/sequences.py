"""What the synthetic 4D data sets share: a subject in motion before the scanner, and how frames are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from smilevlm.geometry import Mesh
from smilevlm.labels import ActionIntensities
from smilevlm.readers import write_mtl, write_obj
from smilevlm.synthesis.anatomy import anatomy, head_faces
from smilevlm.synthesis.capture_session import CaptureSession, draw_session
from smilevlm.synthesis.data_set import DataSetSettings, check_range
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.motion import Motion, MotionContext
from smilevlm.synthesis.people import draw_tempo
from smilevlm.synthesis.photograph import Portrait
from smilevlm.synthesis.population import Population
from smilevlm.synthesis.rigs.anny import actions_of_head_model
from smilevlm.synthesis.scan_setup import ScannerSettings, draw_noise
from smilevlm.synthesis.scanner import Scan, scan_with_setup
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.subjects import Subject, draw_subject
from smilevlm.typing import RgbImage, Vertices

_JPEG_QUALITY = 90
_FACE_CENTRE_MM = 10.0
"""The middle of a face lies so far below its nose tip."""
MIN_FRAMES, MAX_FRAMES = 5, 10_000
_CHUNK = 32
"""Frames computed at once. Part of the bytes: another number changes the last bits of the vertices."""


@dataclass(frozen=True, kw_only=True)
class SequenceSettings(DataSetSettings):
    """What to write of a 4D data set.

    Args:
        texture_width: Of the pictures in pixels.
        scanner: How the scans differ from the true faces.
    """

    texture_width: int = 260
    scanner: ScannerSettings = field(default_factory=ScannerSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("texture_width", self.texture_width, 16, 4096)


@dataclass(frozen=True, kw_only=True)
class SequenceCapture:
    """One sequence about to be scanned.

    Args:
        subject: Performs the motion.
        nose_mm: The nose tip of the neutral face on the unscaled head.
        motion: Of face and head.
        session: How the scanner is set up.
        scanner: How bad it is.
        frames_per_second: Of the motion.
        key: What the frames' generators depend on.
    """

    subject: Subject
    nose_mm: Float32[np.ndarray, " 3"]
    motion: Motion
    session: CaptureSession
    scanner: ScannerSettings
    frames_per_second: float
    key: SeedKey

    def actions_at_apex(self) -> ActionIntensities:
        """What the face does where the motion is strongest."""
        return actions_of_head_model(self.motion.at(self.motion.apex))

    def scans(self) -> Iterator[Scan]:
        """One scan per frame of the motion, in order."""
        num_frames = len(self.motion.strength)
        for first in range(0, num_frames, _CHUNK):
            frames = range(first, min(first + _CHUNK, num_frames))
            actions = [self.motion.at(frame) for frame in frames]
            for frame, head in zip(frames, self.subject.heads(actions, origin_mm=self.nose_mm), strict=True):
                yield self._scan(frame, head)

    def true_displacement_mm(self) -> Float32[np.ndarray, "vert 3"]:
        """Apex minus onset of the true surface: vertices of the coarse head in its own frame, without scanner and pose.

        It holds everything that the face does between the two frames, also what is no expression.
        """
        person = self.subject.person
        ends = [self.motion.at(frame) for frame in (self.motion.onset, self.motion.apex)]
        onset, apex = head_model().vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=ends)
        return ((apex - onset) * np.float32(person.size)).astype(np.float32)

    def _scan(self, frame: int, head: Vertices) -> Scan:
        rng = self.key.generator("frame", frame)
        angles = self.motion.angles_deg[frame]
        yaw_deg = self.session.angles_deg[0] + float(angles[0])
        setup = self.session.setup_at(rng, frame / self.frames_per_second, yaw_deg)
        return scan_with_setup(
            setup,
            draw_noise(rng, setup),
            self.session.pose_at(angles, self.motion.offset_mm[frame] + self.session.place_error_mm(rng)),
            vertices_mm=head,
            faces=head_faces(with_mouth=self.session.sees_teeth),
            colors=self.subject.colors,
            landmarks_mm=head[anatomy().landmarks],
            quad_share=self.scanner.quad_share,
        )

    def portrait_camera(self, *, width_px: int, height_per_width: float, width_mm: float) -> Portrait:
        """A camera in front of where the head sits, whose pictures show `width_mm` across."""
        x, y, _ = self.session.offset_mm.tolist()
        height_px = round(width_px * height_per_width)
        return Portrait(width_px=width_px, height_px=height_px, centre_mm=(x, y - _FACE_CENTRE_MM), width_mm=width_mm)


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
    """Bring subject, motion and scanner together; the subject of a person's sequences is always the same.

    Args:
        key: Which sequence of which person.
        act: Makes the motion, from the sequence's own generator.
        sex: `F` or `M`.
        num_frames: Frames of the sequence.
        frames_per_second: Of the sequence.
        scanner: How bad the scanner is.
        population: Which people there are.
    """
    person_key = replace(key, sequence=0)
    subject = draw_subject(person_key.generator("person"), sex=sex, population=population)
    facial_actions = head_model().facial_actions
    context = MotionContext(
        person=subject.person,
        tempo=draw_tempo(person_key.generator("tempo"), facial_actions),
        facial_actions=facial_actions,
        time_s=np.arange(num_frames) / frames_per_second,
    )
    return SequenceCapture(
        subject=subject,
        nose_mm=subject.neutral_nose_mm(),
        motion=act(key.generator("motion"), context),
        session=draw_session(key.generator("take"), scanner),
        scanner=scanner,
        frames_per_second=frames_per_second,
        key=key,
    )


def save_picture(path: Path, picture: RgbImage) -> None:
    Image.fromarray(picture).save(path, quality=_JPEG_QUALITY)


def write_textured_obj(path: Path, scan: Scan, camera: Portrait, *, material_library: str) -> None:
    """Write a scan as OBJ with its MTL and JPEG of the same stem, which the OBJ calls `material_library`."""
    picture, uv = camera.capture(scan)
    save_picture(path.with_suffix(".jpg"), picture)
    triangles = scan.triangles
    mesh = Mesh(vertices=scan.vertices, faces=triangles, uv=uv[triangles])
    with path.open("w", newline="\n") as file:
        write_obj(file, mesh, material_library=material_library)
    with path.with_suffix(".mtl").open("w", newline="\n") as file:
        write_mtl(file, texture_name=path.with_suffix(".jpg").name)
