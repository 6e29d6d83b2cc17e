"""Synthetic faces in the layout of BU-3DFE: its folders, names, VRML text, textures and landmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from smilevlm.errors import SettingsError
from smilevlm.geometry import Mesh
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL, ActionIntensities
from smilevlm.readers import PSE_BND_NUMBERS, write_bnd, write_bu3dfe_vrml, write_pse
from smilevlm.synthesis import data_set
from smilevlm.synthesis.anatomy import anatomy, head_faces
from smilevlm.synthesis.atlas import Atlas, make_atlas
from smilevlm.synthesis.data_set import DataSetSettings, Layout, SubjectFolder, check_range
from smilevlm.synthesis.expressions import LEVEL_INTENSITY, draw_actions
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.rigs.anny import actions_of_head_model
from smilevlm.synthesis.scanner import Scan, ScannerSettings, scan_head, triangles_of
from smilevlm.synthesis.subjects import draw_subject
from smilevlm.views import ViewSettings, render_normalised

_CODES = {"angry": "AN", "disgust": "DI", "fear": "FE", "happy": "HA", "sad": "SA", "surprise": "SU", NEUTRAL: "NE"}
_FEMALE_SHARE = 0.56
_EAR_POINTS = (68, 82)
"""Landmarks that stand for the `.pse` points 84 and 85, which the 83 do not hold: the contour's ends."""


@dataclass(frozen=True, kw_only=True)
class Bu3dfeSettings(DataSetSettings):
    """What to write; BU-3DFE has 100 people.

    Args:
        levels: Intensities 1 to 4; BU-3DFE has all four.
        texture_size: Height and width of the texture in pixels.
        complete: Also write the uncropped RAW scan, its pose file and the 2D photograph.
        scanner: How the scans differ from the true faces.
    """

    MAX_SUBJECTS = 9999
    levels: tuple[int, ...] = (1, 2, 3, 4)
    texture_size: int = 512
    complete: bool = True
    scanner: ScannerSettings = field(default_factory=ScannerSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.levels)) != len(self.levels) or not self.levels or not set(self.levels) <= set(LEVEL_INTENSITY):
            raise SettingsError(f"levels is {self.levels}; expected some of 1, 2, 3, 4, each once")
        check_range("texture_size", self.texture_size, 16, 4096)


def subject_names(num_subjects: int) -> list[str]:
    """F0001, F0002, ..., M0001, ... with BU-3DFE's share of women."""
    return data_set.subject_names(num_subjects, _FEMALE_SHARE, num_digits=4)


def _plan(settings: Bu3dfeSettings) -> list[SubjectFolder]:
    return [SubjectFolder(number=n, path=name) for n, name in enumerate(subject_names(settings.num_subjects))]


def _write_subject(
    _root: Path, folder: Path, part: SubjectFolder, settings: Bu3dfeSettings
) -> dict[str, ActionIntensities]:
    rng = np.random.default_rng([settings.seed, part.number, 0])
    subject = draw_subject(rng, sex=part.path[0], population=settings.population)
    poses = [(NEUTRAL, 0), *((e, level) for e in BASIC_EXPRESSIONS for level in settings.levels)]
    rngs = [np.random.default_rng([settings.seed, part.number, 1, _pose_key(*pose)]) for pose in poses]
    actions = [
        draw_actions(
            scan_rng,
            person=subject.person,
            expression=expression,
            intensity=LEVEL_INTENSITY.get(level, 0.0),
            facial_actions=head_model().facial_actions,
        )
        for scan_rng, (expression, level) in zip(rngs, poses, strict=True)
    ]
    stems = [f"{part.path}_{_CODES[e]}{level:02d}{subject.person.ethnicity}" for e, level in poses]
    for scan_rng, stem, head in zip(rngs, stems, subject.heads(actions), strict=True):
        scan_now = partial(
            scan_head,
            scan_rng,
            vertices_mm=head,
            # Teeth and tongue are seen by some scanners and lost in the dark by others.
            faces=head_faces(with_mouth=scan_rng.uniform() >= 0.5),
            colors=subject.colors,
            landmarks_mm=head[anatomy().landmarks],
            settings=settings.scanner,
        )
        scan = scan_now()
        raw = scan_now(cropped=False) if settings.complete else None
        _write_scan(folder, stem, scan, raw, settings.texture_size)
    return {stem: actions_of_head_model(each) for stem, each in zip(stems, actions, strict=True)}


def _pose_key(expression: str, level: int) -> int:
    """A scan's random numbers depend on what it shows, not on which other levels are written beside it."""
    return 10 * ((*BASIC_EXPRESSIONS, NEUTRAL).index(expression)) + level


def _write_scan(folder: Path, stem: str, scan: Scan, raw: Scan | None, texture_size: int) -> None:
    """Cropped scan, texture and landmarks; with a RAW scan of the same moment also that, its pose and a photograph."""
    atlas = make_atlas(scan, raw or scan, size=texture_size)
    Image.fromarray(atlas.texture).save(folder / f"{stem}_F3D.bmp")
    _write_vrml(folder / f"{stem}_F3D.wrl", scan, atlas, f"{stem}_F3D.bmp")
    with (folder / f"{stem}_F3D.bnd").open("w", newline="\n") as file:
        write_bnd(file, scan.landmarks)
    if raw is None:
        return
    # BU-3DFE's RAW scans, in another frame, share the texture file of the cropped ones.
    _write_vrml(folder / f"{stem}_RAW.wrl", raw, make_atlas(raw, raw, size=texture_size), f"{stem}_F3D.bmp")
    rows = [n - 1 for n in PSE_BND_NUMBERS if n <= len(raw.landmarks)] + list(_EAR_POINTS)
    with (folder / f"{stem}_RAW.pse").open("w", newline="\n") as file:
        write_pse(file, raw.landmarks[rows], normal=np.array([0, 0, 1], np.float32))
    _photograph(scan, atlas, texture_size).save(folder / f"{stem}_F2D.bmp")


def _write_vrml(path: Path, scan: Scan, atlas: Atlas, texture_name: str) -> None:
    with path.open("w", newline="\n") as file:
        write_bu3dfe_vrml(
            file,
            vertices=scan.vertices,
            polygons=scan.polygons,
            uv=atlas.uv,
            uv_polygons=atlas.uv_polygons,
            texture_name=texture_name,
        )


def _photograph(scan: Scan, atlas: Atlas, size: int) -> Image.Image:
    """The 2D face image: the textured scan seen from the front."""
    centre = scan.landmarks.mean(axis=0)
    mesh = Mesh(
        vertices=(scan.vertices - centre).astype(np.float32),
        faces=scan.triangles,
        uv=atlas.uv[triangles_of(atlas.uv_polygons)],
        texture=atlas.texture,
    )
    view = ViewSettings(angles_deg=(0.0,), size=size, kind="texture", window_mm=230.0)
    return Image.fromarray(render_normalised(mesh, view)[0])


LAYOUT = Layout(name="bu3dfe", plan=_plan, write=_write_subject)
synthesize_bu3dfe = LAYOUT.synthesize
