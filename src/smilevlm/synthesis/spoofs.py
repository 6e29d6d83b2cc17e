"""Presentation attacks made from textured scans: printed sheets and a screen, seen by the scanner that sees the faces.

An attack is what a 3D scanner delivers of it: a flat or bent sheet, with the noise, holes, density and crop of the
synthetic scans of faces. Only its picture shows a face.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int32
from PIL import Image
from scipy import ndimage

from smilevlm.errors import LayoutError, MeshError, SettingsError
from smilevlm.files import folder_in_one_piece
from smilevlm.geometry import Mesh, NormaliseSettings, drop_spikes, keep_points, normalise, without_scraps
from smilevlm.readers import write_mtl, write_obj
from smilevlm.synthesis.data_set import claim_folder, settings_record
from smilevlm.synthesis.marker import MARKER_NAME
from smilevlm.synthesis.scanner import ScannerSettings, scan_head
from smilevlm.typing import RgbImage
from smilevlm.views import ViewSettings, render_normalised

BONA_FIDE = "bona_fide"
NOSE_TIP = "nose_tip"
_ORIGIN = "origin of the scan"
_PHOTO_VIEW = ViewSettings(angles_deg=(0.0,), size=256, kind="texture", window_mm=230.0)
_REPLAY_ANGLES_DEG = (-30.0, 0.0, 30.0)
_GRID_MM = 3.0
"""Of the surface that the scanner looks at; its own grid is another."""


@dataclass(frozen=True, kw_only=True)
class SpoofSettings:
    """How attacks are made.

    Args:
        seed: Same seed and scan, same attack.
        scanner: What scans the attack; `num_vertices` is taken from the face's own scan.
    """

    seed: int = 0
    scanner: ScannerSettings = field(default_factory=ScannerSettings)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingsError(f"seed is {self.seed}; expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A picture in space, millimetres, the pictured nose tip at the origin, +z toward the camera.

    Args:
        picture: What is on it, row 0 on top.
        width_mm, height_mm: Its size along the surface.
        nose: Where the nose tip is in the picture, as shares of its width and height from the lower left.
        cut: Where the sheet is left when it is cut out along the face; None for a whole one.
        radius_mm: Of the vertical cylinder that it is bent on; None for a flat one.
    """

    picture: RgbImage
    width_mm: float
    height_mm: float
    nose: tuple[float, float]
    cut: Bool[np.ndarray, "height width"] | None = None
    radius_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Photograph:
    """A picture of a face before a plain wall.

    Args:
        picture: RGB, row 0 on top.
        face: Where the face is.
        nose: Where its tip is, as shares of width and height from the lower left.
    """

    picture: RgbImage
    face: Bool[np.ndarray, "height width"]
    nose: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LocatedFace:
    """A scan whose nose tip is known.

    Args:
        scan: In its own frame and unit, with the landmark `nose_tip`.
        frontal: The same in the face frame.
        mm_per_unit: Of the scan.
    """

    scan: Mesh
    frontal: Mesh
    mm_per_unit: float


def locate_face(mesh: Mesh, settings: NormaliseSettings) -> LocatedFace:
    """Find the nose tip of a scan as preparation does, and name it in the scan's own frame.

    Raises:
        MeshError: Nothing in the scan resembles a face.
    """
    # A point that travels along marks the origin of the scan's frame.
    marked = replace(mesh, landmarks={_ORIGIN: np.zeros(3, np.float32)})
    face = normalise(marked, settings)
    nose = -(face.rotation.T @ face.mesh.landmarks[_ORIGIN]) / np.float32(face.mm_per_unit)
    return LocatedFace(
        scan=replace(mesh, landmarks={NOSE_TIP: nose.astype(np.float32)}),
        frontal=face.mesh,
        mm_per_unit=face.mm_per_unit,
    )


def crop_at_nose(mesh: Mesh, mm_per_unit: float, settings: NormaliseSettings) -> Mesh:
    """Put the nose tip that a landmark names at the origin and clean and crop as `normalise` does, whatever its relief.

    Nothing is asked of the shape and the pose stays as scanned, so that a sheet comes to images in the same way as a
    face.

    Raises:
        MeshError: There is no landmark `nose_tip`, or nothing is left.
    """
    from smilevlm.geometry import kernels

    if NOSE_TIP not in mesh.landmarks:
        raise MeshError(f"the scan has no landmark {NOSE_TIP}")
    mesh = mesh.transformed(np.eye(3, dtype=np.float32), -mesh.landmarks[NOSE_TIP], mm_per_unit)
    mesh, _ = drop_spikes(mesh, max_edge_ratio=settings.spike_edge_ratio, min_edge=12.0)
    keep, _ = without_scraps(mesh, min_share=settings.component_min_share, near=12.0)
    kernels.inside_crop(mesh.vertices, np.zeros(3, np.float32), settings.crop_radius_mm, settings.crop_depth_mm, keep)
    if not keep.any():
        raise MeshError(f"nothing of the scan is within {settings.crop_radius_mm:g} mm of its nose tip")
    return keep_points(mesh, keep)


def make_attack(kind: str, face: LocatedFace, rng: np.random.Generator, settings: SpoofSettings) -> Mesh:
    """What the scanner delivers of an attack on one face: millimetres, textured, with the landmark `nose_tip`.

    Args:
        kind: One of `ATTACKS`.
        face: Whose face is shown; it needs a texture or vertex colours.
        rng: The attack's own generator.
        settings: How it is scanned.

    Raises:
        SettingsError: The kind is unknown.
    """
    if kind not in ATTACKS:
        raise SettingsError(f"attack {kind!r} is unknown; known are {', '.join(ATTACKS)}")
    num_vertices = int(np.clip(face.scan.num_vertices, 500, 200_000))
    return scan_sheet(ATTACKS[kind](face.frontal, rng), rng, replace(settings.scanner, num_vertices=num_vertices))


def scan_sheet(sheet: Sheet, rng: np.random.Generator, settings: ScannerSettings) -> Mesh:
    """Scan a sheet as `scan_head` scans a head: the same noise, holes, crop and pose."""
    vertices, faces = _surface(sheet)
    scan = scan_head(
        rng,
        vertices_mm=vertices,
        faces=faces,
        colors=np.zeros_like(vertices),
        landmarks_mm=np.zeros((1, 3), np.float32),
        settings=settings,
    )
    x, y, z = scan.head_vertices.T
    along = x if sheet.radius_mm is None else sheet.radius_mm * np.arctan2(x, z + sheet.radius_mm)
    uv = np.stack([sheet.nose[0] + along / sheet.width_mm, sheet.nose[1] + y / sheet.height_mm], axis=1)
    triangles = scan.triangles
    mesh = Mesh(
        vertices=scan.vertices,
        faces=triangles,
        uv=uv.astype(np.float32)[triangles],
        texture=sheet.picture,
        landmarks={NOSE_TIP: scan.landmarks[0]},
    )
    return mesh if sheet.cut is None else keep_points(mesh, _at(sheet.cut, uv))


def _at(mask: Bool[np.ndarray, "height width"], uv: Float32[np.ndarray, "vert 2"]) -> Bool[np.ndarray, " vert"]:
    height, width = mask.shape
    column = np.clip((uv[:, 0] * width).astype(np.int64), 0, width - 1)
    row = np.clip(((1 - uv[:, 1]) * height).astype(np.int64), 0, height - 1)
    return mask[row, column]


def _surface(sheet: Sheet) -> tuple[Float32[np.ndarray, "vert 3"], Int32[np.ndarray, "face 3"]]:
    columns, rows = (max(2, round(side / _GRID_MM)) for side in (sheet.width_mm, sheet.height_mm))
    along = (np.linspace(0, 1, columns) - sheet.nose[0]) * sheet.width_mm
    up = (np.linspace(0, 1, rows) - sheet.nose[1]) * sheet.height_mm
    along, up = np.meshgrid(along, up)
    if sheet.radius_mm is None:
        x, z = along, np.zeros_like(along)
    else:
        angle = along / sheet.radius_mm
        x, z = sheet.radius_mm * np.sin(angle), sheet.radius_mm * (np.cos(angle) - 1)
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return np.stack([x, up, z], axis=-1).reshape(-1, 3).astype(np.float32), faces


def _flat_print(frontal: Mesh, rng: np.random.Generator) -> Sheet:
    """A photograph from the front on paper, near life size; half of them cut out along the face."""
    return _on_paper(_photograph(frontal, 0.0, rng), rng)


def _curved_print(frontal: Mesh, rng: np.random.Generator) -> Sheet:
    """The same sheet bent on a vertical cylinder of 80 to 150 mm, as if worn over a face."""
    return replace(_on_paper(_photograph(frontal, 0.0, rng), rng), radius_mm=float(rng.uniform(80.0, 150.0)))


def _replay(frontal: Mesh, rng: np.random.Generator) -> Sheet:
    """A screen that shows the face from one of three sides: bright, with a dark bezel, gamma and a line pattern."""
    photo = _photograph(frontal, float(rng.choice(_REPLAY_ANGLES_DEG)), rng)
    shown = 255.0 * np.clip(rng.uniform(1.05, 1.25) * (photo.picture / 255.0) ** rng.uniform(0.7, 0.95), 0, 1)
    rows, columns = np.mgrid[0 : shown.shape[0], 0 : shown.shape[1]]
    # The grids of screen and camera beat: slanted waves of some pixels, with slightly other phases per colour.
    direction, period = rng.uniform(0, np.pi), rng.uniform(4.0, 12.0)
    wave = 2 * np.pi * (columns * np.cos(direction) + rows * np.sin(direction)) / period
    phases = wave[..., None] + rng.uniform(0, 0.8, 3)
    shown *= 1 + rng.uniform(0.04, 0.12) * np.sin(phases)
    bezel_mm = rng.uniform(6.0, 14.0)
    screen = _bordered(replace(photo, picture=_bytes(shown)), rng, border_mm=bezel_mm, colour=rng.uniform(5, 40, 3))
    return replace(screen, cut=None)


ATTACKS: dict[str, Callable[[Mesh, np.random.Generator], Sheet]] = {
    "flat_print": _flat_print,
    "curved_print": _curved_print,
    "replay": _replay,
}


def _photograph(frontal: Mesh, yaw_deg: float, rng: np.random.Generator) -> _Photograph:
    """Walls are of any brightness, so that neither a dark nor a bright surround reveals an attack."""
    view = replace(_PHOTO_VIEW, angles_deg=(yaw_deg,))
    rendered = render_normalised(frontal, view)[0]
    black = ~rendered.any(axis=2)
    face = np.asarray(ndimage.binary_fill_holes(~black), bool)
    # What the scanner missed is no hole in a photograph.
    _, nearest = ndimage.distance_transform_edt(black, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    picture = rendered[nearest[0], nearest[1]].astype(np.float64)
    picture[~face] = rng.uniform(0, 235) + rng.normal(0, 12, 3)
    # As `render_normalised` turns the face about its pivot.
    nose_x_mm = -view.pivot_z_mm * np.sin(np.deg2rad(yaw_deg))
    nose = (0.5 + float(nose_x_mm) / view.window_mm, 0.5 - view.centre_y_mm / view.window_mm)
    return _Photograph(picture=_bytes(picture), face=face, nose=nose)


def _on_paper(photo: _Photograph, rng: np.random.Generator) -> Sheet:
    """Ink on paper: less contrast, a tint, a little blur, grain."""
    blur_px = rng.uniform(0.3, 0.9)
    printed = ndimage.gaussian_filter(photo.picture.astype(np.float64), (blur_px, blur_px, 0))
    black, white = rng.uniform(15, 45), rng.uniform(205, 245)
    printed = black + (white - black) / 255 * printed * rng.uniform(0.94, 1.0, 3)
    printed += rng.normal(0, rng.uniform(1.5, 5.0), printed.shape)
    paper = rng.uniform(225, 250) + rng.normal(0, 3, 3)
    margin_mm, cut_out = rng.uniform(4.0, 15.0), bool(rng.uniform() < 0.5)
    sheet = _bordered(replace(photo, picture=_bytes(printed)), rng, border_mm=margin_mm, colour=paper)
    return sheet if cut_out else replace(sheet, cut=None)


def _bordered(photo: _Photograph, rng: np.random.Generator, *, border_mm: float, colour: np.ndarray) -> Sheet:
    """The picture at 0.8 to 1 of life size, within a border of one colour."""
    side = len(photo.picture)
    scale = rng.uniform(0.8, 1.0)
    border = max(1, round(border_mm / (scale * _PHOTO_VIEW.window_mm) * side))
    inner, whole = slice(border, border + side), side + 2 * border
    picture = np.empty((whole, whole, 3), np.uint8)
    picture[:] = _bytes(colour)
    picture[inner, inner] = photo.picture
    face = np.zeros((whole, whole), bool)
    face[inner, inner] = photo.face
    size_mm = scale * _PHOTO_VIEW.window_mm * whole / side
    nose = ((photo.nose[0] * side + border) / whole, (photo.nose[1] * side + border) / whole)
    return Sheet(picture=picture, width_mm=size_mm, height_mm=size_mm, nose=nose, cut=face)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def attack_generator(seed: int, subject: str, name: str, kind: str) -> np.random.Generator:
    """The generator of one attack; it depends on whose scan is attacked and how, not on which others there are."""
    words = f"{subject}/{name}/{kind}".encode()
    return np.random.default_rng([seed, *words])


def write_spoofs(
    root: Path,
    scans: Iterable[tuple[str, str, Mesh]],
    settings: SpoofSettings,
    *,
    normalise_settings: NormaliseSettings | None = None,
    synthetic: bool,
) -> Sequence[Path]:
    """Write bona fide scans and every kind of attack on them in the layout `folder`: ROOT/SUBJECT/KIND/NAME_scan.obj.

    Every file has the nose tip at its origin: that is its landmark, for the layout has no landmark files. What was
    there of a subject is left alone.

    Args:
        root: Folder to write; made if missing. Synthetic faces mark it as theirs.
        scans: (subject, name of the scan, textured scan); scans of one subject follow each other.
        settings: How attacks are made.
        normalise_settings: How the nose tip is found.
        synthetic: Whether the faces are synthetic.

    Returns:
        The folders of the subjects written now.

    Raises:
        LayoutError: The folder holds something else.
        MeshError: A scan shows no face, or has no texture.
    """
    if synthetic:
        claim_folder(root, "folder", settings_record(settings))
    elif (root / MARKER_NAME).exists():
        raise LayoutError(f"{root} is marked as synthetic; scans of people need another folder")
    by_subject: dict[str, list[tuple[str, Mesh]]] = {}
    for subject, name, mesh in scans:
        by_subject.setdefault(subject, []).append((name, mesh))
    written = []
    for subject, named in by_subject.items():
        if (root / subject).is_dir():
            continue
        with folder_in_one_piece(root / subject) as folder:
            for name, mesh in named:
                face = locate_face(mesh, normalise_settings or NormaliseSettings())
                kinds: Mapping[str, Mesh] = {BONA_FIDE: face.scan} | {
                    kind: make_attack(kind, face, attack_generator(settings.seed, subject, name, kind), settings)
                    for kind in ATTACKS
                }
                for kind, scan in kinds.items():
                    _write_textured(folder / kind, name, scan)
        written.append(root / subject)
    return written


def _write_textured(folder: Path, name: str, scan: Mesh) -> None:
    folder.mkdir(exist_ok=True)
    centred = scan.transformed(np.eye(3, dtype=np.float32), -scan.landmarks[NOSE_TIP])
    textured = scan.texture is not None and scan.uv is not None
    # Names that end in a number would be the frames of a sequence.
    stem = f"{name}_scan"
    with (folder / f"{stem}.obj").open("w", newline="\n") as file:
        write_obj(file, centred, material_library=f"{stem}.mtl" if textured else None)
    if scan.texture is not None and textured:
        with (folder / f"{stem}.mtl").open("w", newline="\n") as file:
            write_mtl(file, texture_name=f"{stem}.png")
        Image.fromarray(scan.texture).save(folder / f"{stem}.png")
