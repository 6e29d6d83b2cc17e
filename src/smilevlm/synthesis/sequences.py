"""What the synthetic 4D data sets share: who performs, filming a motion frame by frame, and checked settings."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import SettingsError
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.motion import Motion, Stage
from smilevlm.synthesis.people import TEMPLATE_SEED, Person, Tempo, draw_person, draw_tempo
from smilevlm.synthesis.scan_setup import ScannerSettings, draw_grain
from smilevlm.synthesis.scanner import Scan, observe
from smilevlm.synthesis.skin import skin_colors
from smilevlm.synthesis.take import Take

_CHUNK = 32
"""Frames computed at once. Part of the bytes: another number changes the last bits of the vertices."""


def random_stream(layout: str, part: str, seed: int, person: int, sequence: int = 0, frame: int = 0) -> np.random.Generator:
    """A generator that depends on what it is for and on nothing else.

    The layout is part of it: data sets of the same seed hold different people, so that one can test what was trained on
    another.
    """
    return np.random.default_rng([seed, zlib.crc32(f"{layout}/{part}".encode()), person, sequence, frame])


@dataclass(frozen=True, kw_only=True)
class Performer:
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


def draw_performer(layout: str, seed: int, number: int, sex: str) -> Performer:
    """Draw one performer; the same in every sequence."""
    model, places = head_model(), anatomy()
    rng = random_stream(layout, "person", seed, number)
    person = draw_person(rng, sex=sex, shape_changes=model.shape_changes, facial_actions=model.facial_actions)
    neutral = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=[{}])[0]
    return Performer(
        person=person,
        tempo=draw_tempo(random_stream(layout, "tempo", seed, number), model.facial_actions),
        colors=skin_colors(rng, person, places),
        nose_mm=(model.topology.refine[places.nose_tip] @ neutral).astype(np.float32).reshape(3),
    )


def stage_for(performer: Performer, num_frames: int, frames_per_second: float) -> Stage:
    return Stage(
        person=performer.person,
        tempo=performer.tempo,
        facial_actions=head_model().facial_actions,
        time_s=np.arange(num_frames) / frames_per_second,
    )


@dataclass(frozen=True, kw_only=True)
class Film:
    """One sequence about to be scanned.

    Args:
        performer: Who.
        motion: What they do.
        take: How the scanner is set up.
        scanner: How bad it is.
        frames_per_second: Of the motion.
        layout, seed, number, sequence: What the frames' generators depend on.
    """

    performer: Performer
    motion: Motion
    take: Take
    scanner: ScannerSettings
    frames_per_second: float
    layout: str
    seed: int
    number: int
    sequence: int

    def scans(self) -> Iterator[Scan]:
        """One scan per frame of the motion, in order."""
        num_frames = len(self.motion.strength)
        for first in range(0, num_frames, _CHUNK):
            frames = range(first, min(first + _CHUNK, num_frames))
            for frame, surface in zip(frames, self._surfaces(frames), strict=True):
                yield self._scan(frame, surface)

    def _surfaces(self, frames: range) -> Iterator[Float32[np.ndarray, "vert 3"]]:
        person = self.performer.person
        coarse = head_model().vertices_mm(
            phenotype=person.phenotype, shape=person.shape, actions=[self.motion.at(frame) for frame in frames]
        )
        for vertices in coarse:
            fine = head_model().topology.refine @ vertices
            yield ((fine - self.performer.nose_mm) * np.float32(person.size)).astype(np.float32)

    def _scan(self, frame: int, surface: Float32[np.ndarray, "vert 3"]) -> Scan:
        places, faces = anatomy(), head_model().topology.fine_faces
        rng = random_stream(self.layout, "frame", self.seed, self.number, self.sequence, frame)
        angles = self.motion.angles_deg[frame]
        yaw_deg = self.take.angles_deg[0] + float(angles[0])
        setup = self.take.setup_at(rng, frame / self.frames_per_second, yaw_deg)
        return observe(
            setup,
            draw_grain(rng, setup),
            self.take.pose_at(angles, self.motion.offset_mm[frame]),
            vertices_mm=surface,
            faces=faces if self.take.sees_teeth else faces[~places.inner_faces],
            colors=self.performer.colors,
            landmarks_mm=surface[places.landmarks],
            quad_share=self.scanner.quad_share,
        )


def subject_names(num_subjects: int, female_share: float) -> list[str]:
    """F001, F002, ..., M001, ... with a data set's share of women."""
    num_women = round(female_share * num_subjects)
    return [f"F{n + 1:03d}" for n in range(num_women)] + [f"M{n + 1:03d}" for n in range(num_subjects - num_women)]


def check_settings(*, num_subjects: int, seed: int, num_frames: int, texture_width: int) -> None:
    """Check what all sequence layouts have in common.

    Raises:
        SettingsError: A value is out of range.
    """
    if not 1 <= num_subjects <= 999:
        raise SettingsError(f"num_subjects is {num_subjects}; expected 1 to 999")
    if seed < 0 or seed == TEMPLATE_SEED:
        raise SettingsError(f"seed is {seed}; expected 0 or more, and not the template's {TEMPLATE_SEED}")
    if not 5 <= num_frames <= 10_000:
        raise SettingsError(f"num_frames is {num_frames}; expected 5 to 10,000")
    if not 16 <= texture_width <= 4096:
        raise SettingsError(f"texture_width is {texture_width}; expected 16 to 4096")
