"""Synthetic faces in the layout of BU-3DFE: its folders, names, VRML text, textures and landmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from smilevlm.errors import SettingsError
from smilevlm.files import folder_in_one_piece
from smilevlm.geometry import Mesh
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.readers import write_bnd, write_bu3dfe_vrml, write_pse
from smilevlm.readers.landmarks import PSE_BND_NUMBERS
from smilevlm.synthesis import data_set
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.atlas import Atlas, make_atlas
from smilevlm.synthesis.data_set import Progress, check_range, check_seed, claim_folder, write_parts
from smilevlm.synthesis.expressions import LEVEL_INTENSITY, draw_actions
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.people import Person, draw_person
from smilevlm.synthesis.population import DEFAULT, Population
from smilevlm.synthesis.record import OMIT_DEFAULT, settings_record
from smilevlm.synthesis.scanner import Scan, ScannerSettings, scan_head
from smilevlm.synthesis.skin import skin_colors
from smilevlm.views import ViewSettings, render_normalised

_CODES = {"angry": "AN", "disgust": "DI", "fear": "FE", "happy": "HA", "sad": "SA", "surprise": "SU", NEUTRAL: "NE"}
_FEMALE_SHARE = 0.56
_EAR_POINTS = (68, 82)
"""Landmarks that stand for the `.pse` points 84 and 85, which the 83 do not hold: the contour's ends."""


@dataclass(frozen=True, kw_only=True)
class Bu3dfeSettings:
    """What to write.

    Args:
        num_subjects: People; BU-3DFE has 100.
        seed: Same seed, same bytes, whatever the number of processes.
        levels: Intensities 1 to 4; BU-3DFE has all four.
        texture_size: Height and width of the texture in pixels.
        complete: Also write the uncropped RAW scan, its pose file and the 2D photograph.
        scanner: How the scans differ from the true faces.
        population: Which people there are.
    """

    num_subjects: int
    seed: int = 0
    levels: tuple[int, ...] = (1, 2, 3, 4)
    texture_size: int = 512
    complete: bool = True
    scanner: ScannerSettings = field(default_factory=ScannerSettings)
    population: Population = field(default=DEFAULT, metadata=OMIT_DEFAULT)

    def __post_init__(self) -> None:
        check_range("num_subjects", self.num_subjects, 1, 9999)
        check_seed(self.seed)
        if len(set(self.levels)) != len(self.levels) or not self.levels or not set(self.levels) <= set(LEVEL_INTENSITY):
            raise SettingsError(f"levels is {self.levels}; expected some of 1, 2, 3, 4, each once")
        check_range("texture_size", self.texture_size, 16, 4096)


def subject_names(num_subjects: int) -> list[str]:
    """F0001, F0002, ..., M0001, ... with BU-3DFE's share of women."""
    return data_set.subject_names(num_subjects, _FEMALE_SHARE, num_digits=4)


def synthesize_bu3dfe(root: Path, settings: Bu3dfeSettings, *, jobs: int = 1, progress: Progress | None = None) -> int:
    """Write the data set; subjects already there are left alone, so an interrupted run goes on.

    Args:
        root: Folder to write; made if missing.
        settings: What to write.
        jobs: Processes.
        progress: Called with (subjects done, subjects in all).

    Returns:
        The number of subjects written now.

    Raises:
        LayoutError: The folder holds faces made with other settings.
    """
    claim_folder(root, "bu3dfe", settings_record(settings))
    names = subject_names(settings.num_subjects)
    parts = [(root / name, (root, number, name, settings)) for number, name in enumerate(names)]
    return write_parts(write_subject, parts, jobs=jobs, progress=progress)


def write_subject(root: Path, number: int, name: str, settings: Bu3dfeSettings) -> None:
    """Write one subject's folder in one piece."""
    model, places = head_model(), anatomy()
    rng = np.random.default_rng([settings.seed, number, 0])
    person = draw_person(
        rng,
        sex=name[0],
        shape_changes=model.shape_changes,
        facial_actions=model.facial_actions,
        population=settings.population,
    )
    colors = skin_colors(rng, person, places)
    poses = [(NEUTRAL, 0), *((e, level) for e in BASIC_EXPRESSIONS for level in settings.levels)]
    streams = [np.random.default_rng([settings.seed, number, 1, _pose_key(*pose)]) for pose in poses]
    actions = [
        draw_actions(
            stream,
            person=person,
            expression=expression,
            intensity=LEVEL_INTENSITY.get(level, 0.0),
            facial_actions=model.facial_actions,
        )
        for stream, (expression, level) in zip(streams, poses, strict=True)
    ]
    coarse = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=actions)
    with folder_in_one_piece(root / name) as folder:
        for stream, (expression, level), vertices in zip(streams, poses, coarse, strict=True):
            stem = f"{name}_{_CODES[expression]}{level:02d}{person.ethnicity}"
            head = _true_surface(vertices, person)
            # Teeth and tongue are seen by some scanners and lost in the dark by others.
            visible = np.ones(len(model.topology.fine_faces), bool)
            if stream.uniform() < 0.5:
                visible &= ~places.inner_faces
            faces = model.topology.fine_faces[visible]
            look = partial(
                scan_head,
                stream,
                vertices_mm=head,
                faces=faces,
                colors=colors,
                landmarks_mm=head[places.landmarks],
                settings=settings.scanner,
            )
            scan = look()
            raw = look(cropped=False) if settings.complete else None
            _write_moment(folder, stem, scan, raw, settings.texture_size)


def _pose_key(expression: str, level: int) -> int:
    """A scan's stream depends on what it shows, not on which other levels are written beside it."""
    return 10 * ((*BASIC_EXPRESSIONS, NEUTRAL).index(expression)) + level


def _true_surface(coarse: np.ndarray, person: Person) -> np.ndarray:
    """The refined head of this person's size, nose tip at the origin, millimetres."""
    fine = head_model().topology.refine @ coarse
    fine = (fine - fine[anatomy().nose_tip]) * np.float32(person.size)
    return fine.astype(np.float32)


def _write_moment(folder: Path, stem: str, scan: Scan, raw: Scan | None, texture_size: int) -> None:
    """One moment's files: cropped scan, texture and landmarks; with a RAW scan also that, its pose and a photograph."""
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
    quads = scan.polygons[:, 3] >= 0
    uv = np.concatenate([atlas.uv_polygons[:, :3], atlas.uv_polygons[quads][:, [0, 2, 3]]])
    centre = scan.landmarks.mean(axis=0)
    mesh = Mesh(
        vertices=(scan.vertices - centre).astype(np.float32),
        faces=scan.triangles,
        uv=atlas.uv[uv],
        texture=atlas.texture,
    )
    view = ViewSettings(angles_deg=(0.0,), size=size, kind="texture", window_mm=230.0)
    return Image.fromarray(render_normalised(mesh, view)[0])
