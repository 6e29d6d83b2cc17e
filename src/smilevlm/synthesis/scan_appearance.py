"""The same face as many files show it: scanned or modelled, dense or coarse, with and without hair, eyeballs, teeth.

The appearance is independent of the expression, so a model that is trained on all of them cannot rely on it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32

from smilevlm.geometry import Mesh
from smilevlm.synthesis.anatomy import anatomy, on_the_outside
from smilevlm.synthesis.depth_sensor import DepthSensor, sense
from smilevlm.synthesis.face_family import skin_average
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.mesh_density import merge_cells, only_used, simplify, subdivide
from smilevlm.synthesis.mesh_holes import behind_opening, close_across, rim_around
from smilevlm.synthesis.partial_faces import PartialFace, draw_partial
from smilevlm.synthesis.scan_setup import Pose, ScannerSettings, draw_scan, rotation_from_angles
from smilevlm.synthesis.scanner import scan_with_setup
from smilevlm.synthesis.sensor_profiles import Absorption, DarkRegions, SensorKind, draw_sensor
from smilevlm.typing import Faces, Vertices

SurfaceForm = Literal[
    "scan", "phone", "structured_light", "mesh", "coarse", "clustered", "simplified", "subdivided", "points"
]
"""Seen by a virtual stereo scanner, a phone, a structured-light scanner; the model's own fine or coarse triangles;
these merged cell by cell, with larger cells away from the nose, or divided; points alone."""
_FORM_SHARES: dict[SurfaceForm, float] = {
    "scan": 0.3,
    "phone": 0.13,
    "structured_light": 0.1,
    "mesh": 0.17,
    "coarse": 0.08,
    "clustered": 0.1,
    "simplified": 0.05,
    "subdivided": 0.02,
    "points": 0.05,
}
SURFACES: tuple[SurfaceForm, ...] = tuple(form for form in _FORM_SHARES if form != "points")
EyeModel = Literal["eyeballs", "sockets", "holes", "closed"]
"""Eyeballs; none, and the skin behind them; none, and nothing behind them; skin from lid to lid."""
_EYE_SHARES: dict[EyeModel, float] = {"eyeballs": 0.76, "sockets": 0.1, "holes": 0.08, "closed": 0.06}
_MM_PER_UNIT = (1.0, 10.0, 100.0, 1000.0)
_UNIT_SHARES = (0.7, 0.1, 0.05, 0.15)
_SOCKET_RADIUS_MM = 21.5
"""Around an eyeball's middle; sockets end within."""
_HEAD_CENTRE_MM = np.array([0.0, 20.0, -95.0], np.float32)


@dataclass(frozen=True, kw_only=True)
class Hair:
    """Hair and beard as a lumpy layer on the skin.

    Args:
        layer_mm: Its thickness per vertex of the refined head.
    """

    layer_mm: Float32[np.ndarray, " vert"]

    def on(self, head_mm: Vertices) -> Vertices:
        """The head with its hair: the skin moved outward from the middle of the head."""
        outward = head_mm - _HEAD_CENTRE_MM
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        return (head_mm + outward * self.layer_mm[:, None]).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class ScanAppearance:
    """How one face is shown; frames of one sequence share it.

    Args:
        form: What becomes of the surface.
        faces: Triangles of the refined head that are there, or of the unrefined one for the form `coarse`.
        reach_mm: Surface further from the nose tip is cut off; infinite for the whole head.
        depth_mm: So is surface further behind it.
        partial: The part of the face that is there, None for all of it.
        cell_mm: Side of the cells that the form `clustered` merges.
        num_vertices: Of the forms `simplified` and `subdivided`, at most.
        cell_growth: Of the form `simplified`, see `merge_cells`.
        noise_mm: Standard deviation of noise on the vertices, scans apart, which have their own.
        num_points: Of the form `points`.
        scanner: Of the form `scan`.
        sensor, absorption: Of the forms `phone` and `structured_light`, None of others.
        cropped: Whether the scanner kept the face alone.
        mm_per_unit: The file's unit.
    """

    form: SurfaceForm
    faces: Faces
    reach_mm: float
    depth_mm: float
    partial: PartialFace | None
    cell_mm: float
    num_vertices: int
    cell_growth: float
    noise_mm: float
    num_points: int
    scanner: ScannerSettings
    sensor: DepthSensor | None
    absorption: Absorption | None
    cropped: bool
    mm_per_unit: float

    def keeps(self, head_mm: Vertices) -> Bool[np.ndarray, " vert"]:
        """Vertices that are not cut off."""
        keep = (np.linalg.norm(head_mm, axis=1) < self.reach_mm) & (head_mm[:, 2] > -self.depth_mm)
        return keep if self.partial is None else keep & self.partial.keeps(head_mm)


def draw_appearance(
    rng: np.random.Generator, *, forms: tuple[SurfaceForm, ...] = get_args(SurfaceForm)
) -> ScanAppearance:
    """Draw how a face is shown; `forms` are what may become of its surface."""
    shares = np.array([_FORM_SHARES[form] for form in forms])
    form = forms[int(rng.choice(len(forms), p=shares / shares.sum()))]
    partial = draw_partial(rng)
    # Half a face with the whole back of the head is no scan.
    whole = partial is None and rng.uniform() < 0.45
    sensor, absorption = _draw_depth_sensor(rng, form)
    subdivided = form == "subdivided"
    return ScanAppearance(
        form=form,
        faces=_draw_faces(rng, coarse=form == "coarse"),
        reach_mm=float("inf") if whole else float(rng.uniform(85, 140)),
        depth_mm=float(rng.uniform(60, 120)) if not whole and rng.uniform() < 0.6 else float("inf"),
        partial=partial,
        cell_mm=float(rng.uniform(2.5, 10.0)),
        num_vertices=_log_uniform(rng, *((20_000, 70_000) if subdivided else (500, 12_000))),
        cell_growth=float(rng.uniform(0.5, 4)),
        noise_mm=float(np.exp(rng.uniform(np.log(0.02), np.log(0.4)))) if rng.uniform() < 0.5 else 0.0,
        num_points=_log_uniform(rng, 8000, 40_000),
        scanner=ScannerSettings(
            num_vertices=_log_uniform(rng, 2000, 30_000),
            noise_mm=float(np.exp(rng.uniform(np.log(0.04), np.log(0.5)))),
            ripple_mm=float(rng.uniform(0.05, 0.6)),
            max_holes=int(rng.integers(0, 9)),
            hole_size=float(rng.uniform(0.7, 2.2)),
            crop_share=float(rng.uniform(0.74, 1.15)),
        ),
        sensor=sensor,
        absorption=absorption,
        cropped=bool(rng.uniform() < 0.8),
        mm_per_unit=float(rng.choice(_MM_PER_UNIT, p=_UNIT_SHARES)),
    )


def apply_appearance(
    rng: np.random.Generator, appearance: ScanAppearance, head_mm: Vertices, hair: Hair | None = None
) -> Mesh:
    """The mesh that a file holds of one refined head, which is in the face frame and has this hair on already."""
    faces = appearance.faces
    if appearance.form == "scan":
        # The scanner has a crop of its own.
        partial = appearance.partial
        return _scanned(rng, appearance, head_mm, faces if partial is None else _inside(faces, partial.keeps(head_mm)))
    faces = _inside(faces, appearance.keeps(head_mm))
    if appearance.sensor is not None and appearance.absorption is not None:
        absorption = _dark_regions(hair).absorption(appearance.absorption)
        return sense(rng, appearance.sensor, head_mm, faces, absorption)
    vertices, faces = only_used(head_mm, faces)
    if appearance.form == "clustered":
        vertices, faces = merge_cells(vertices, faces, appearance.cell_mm)
    elif appearance.form == "simplified":
        vertices, faces = simplify(vertices, faces, appearance.num_vertices, growth=appearance.cell_growth)
    elif appearance.form == "subdivided":
        vertices, faces = subdivide(vertices, faces, appearance.num_vertices)
    elif appearance.form == "points":
        vertices, faces = _sample(rng, vertices, faces, appearance.num_points), np.zeros((0, 3), np.int32)
    vertices = vertices + rng.normal(0, 1, vertices.shape).astype(np.float32) * np.float32(appearance.noise_mm)
    return Mesh(vertices=vertices.astype(np.float32), faces=faces)


def place_mesh(mesh: Mesh, pose: Pose, mm_per_unit: float) -> Mesh:
    """The mesh turned, moved and in the file's unit."""
    vertices = (mesh.vertices @ pose.rotation.T + pose.offset_mm) / mm_per_unit
    return Mesh(vertices=vertices.astype(np.float32), faces=mesh.faces)


def draw_pose(rng: np.random.Generator, *, angle_deg: float = 9.0, offset_mm: float = 60.0) -> Pose:
    """How the head sits: most heads nearly upright, a few turned by up to 25 degrees."""
    angles = np.clip(rng.normal(0, angle_deg, 3), -25, 25) * (1, 1, 0.7)
    return Pose(rotation=rotation_from_angles(*angles.tolist()), offset_mm=rng.normal(0, offset_mm, 3))


def draw_hair(rng: np.random.Generator, *, bearded: bool) -> Hair:
    """Hair of one person: from none to a thick mop with a fringe, and now and then, if `bearded`, a beard."""
    regions = anatomy()
    x, y, z = regions.position_mm.T
    layer = np.zeros(len(x))
    if rng.uniform() < 0.6:
        line, side, thickness = rng.uniform(58, 95), rng.uniform(56, 75), rng.uniform(1.5, 20)
        scalp = np.clip((y - line + 0.12 * np.abs(x)) / 8, 0, 1)
        temples = np.clip((np.abs(x) - side) / 8, 0, 1) * np.clip((y + rng.uniform(-70, 30)) / 15, 0, 1) * (z < -40)
        layer += thickness * np.maximum(scalp, temples)
    if bearded and rng.uniform() < 0.3:
        layer += rng.uniform(1, 9) * regions.stubble
    rough = rng.normal(size=(len(x), 2))
    for _ in range(3):
        rough[:, 0] = skin_average() @ rough[:, 0]
    lumps = rough[:, 0].copy()
    for _ in range(25):
        lumps = skin_average() @ lumps
    relief = 1 + 0.2 * lumps / max(lumps.std(), 1e-9) + 0.15 * rough[:, 0] / rough[:, 0].std()
    skin = (regions.eyes == 0) & ~regions.inner
    return Hair(layer_mm=(np.maximum(layer * relief, 0) * skin).astype(np.float32))


@functools.cache
def _inside_mouth() -> Bool[np.ndarray, " vert"]:
    """Vertices of the skin that lie behind the lips."""
    regions = anatomy()
    x, y, z = regions.position_mm.T
    near = (np.abs(x) < 33) & (y > -62) & (y < -10) & (z > -90)
    skin = (regions.eyes == 0) & ~regions.inner
    behind = skin & near & ~on_the_outside(regions.position_mm)
    return behind_opening(skin, behind, head_model().topology.fine_faces)


@functools.cache
def _eye_sockets() -> Bool[np.ndarray, " vert"]:
    """Vertices of the skin that lie behind the lids."""
    regions = anatomy()
    skin, behind = (regions.eyes == 0) & ~regions.inner, ~on_the_outside(regions.position_mm)
    near = [np.linalg.norm(regions.position_mm - centre, axis=1) < _SOCKET_RADIUS_MM for centre in _eye_centres()]
    fine_faces = head_model().topology.fine_faces
    return np.logical_or.reduce([behind_opening(skin, skin & behind & place, fine_faces) for place in near])


def _eye_centres() -> list[Float32[np.ndarray, " 3"]]:
    regions = anatomy()
    sides = [(regions.eyes > 0) & (regions.position_mm[:, 0] * side > 0) for side in (-1, 1)]
    return [regions.position_mm[side].mean(axis=0) for side in sides]


def _draw_depth_sensor(rng: np.random.Generator, form: SurfaceForm) -> tuple[DepthSensor | None, Absorption | None]:
    return draw_sensor(rng, form) if form in get_args(SensorKind) else (None, None)


def _dark_regions(hair: Hair | None) -> DarkRegions:
    regions = anatomy()
    layer_mm = np.zeros(len(regions.eyes), np.float32) if hair is None else hair.layer_mm
    return DarkRegions(eyes=regions.eyes, brows=regions.brows, hair=np.clip(layer_mm, 0, 1).astype(np.float32))


def _draw_faces(rng: np.random.Generator, *, coarse: bool) -> Faces:
    sealed = bool(rng.uniform() < 0.15)
    eye_models = get_args(EyeModel)
    eyes = eye_models[int(rng.choice(len(eye_models), p=[_EYE_SHARES[each] for each in eye_models]))]
    inner, mouth = bool(rng.uniform() >= 0.4), bool(rng.uniform() >= 0.3)
    return faces_with(eyes=eyes, inner=inner and not sealed, mouth=mouth and not sealed, sealed=sealed, coarse=coarse)


def faces_with(*, eyes: EyeModel, inner: bool, mouth: bool, sealed: bool, coarse: bool) -> Faces:
    """Triangles of a head model that is more or less complete.

    Args:
        eyes: What is in the place of the eyes.
        inner: Whether there are teeth and a tongue.
        mouth: Whether there is skin behind the lips.
        sealed: Whether skin closes the mouth from lip to lip.
        coarse: Of the unrefined head.
    """
    topology, regions = head_model().topology, anatomy()
    faces = topology.faces if coarse else topology.fine_faces
    gone = np.zeros(len(regions.eyes), bool)
    for part, absent in (
        (regions.eyes > 0, eyes != "eyeballs"),
        (_eye_sockets(), eyes in ("holes", "closed")),
        (regions.inner, not inner),
        (_inside_mouth(), not mouth),
    ):
        if absent:
            gone |= part
    patches = [faces[~gone[faces].any(axis=1)]]
    if sealed:
        patches.append(_between_lips(coarse=coarse))
    if eyes == "closed":
        patches.append(_between_lids(coarse=coarse))
    return np.ascontiguousarray(np.concatenate(patches))


@functools.cache
def _between_lips(*, coarse: bool) -> Faces:
    """Triangles from lip to lip, as models have them whose mouth is a painted skin."""
    regions = anatomy()
    rim = rim_around(_outer_skin(_inside_mouth(), coarse=coarse), regions.position_mm, np.array([0.0, -32.0, -18.0]))
    return close_across(rim, regions.position_mm)


@functools.cache
def _between_lids(*, coarse: bool) -> Faces:
    """Triangles from lid to lid of both eyes, as models have them that know no eyes."""
    position_mm, faces = anatomy().position_mm, _outer_skin(_eye_sockets(), coarse=coarse)
    rims = [rim_around(faces, position_mm, centre.astype(np.float64)) for centre in _eye_centres()]
    return np.concatenate([close_across(rim, position_mm) for rim in rims])


def _outer_skin(behind: Bool[np.ndarray, " vert"], *, coarse: bool) -> Faces:
    """The skin's triangles without those that lie behind the lips or the lids."""
    topology, regions = head_model().topology, anatomy()
    faces = topology.faces if coarse else topology.fine_faces
    return faces[~((regions.eyes > 0) | regions.inner | behind)[faces].any(axis=1)]


def _scanned(rng: np.random.Generator, appearance: ScanAppearance, head_mm: Vertices, faces: Faces) -> Mesh:
    setup, noise_sample, _ = draw_scan(rng, appearance.scanner, cropped=appearance.cropped)
    scan = scan_with_setup(
        setup,
        noise_sample,
        Pose(rotation=np.eye(3), offset_mm=np.zeros(3)),
        vertices_mm=head_mm,
        faces=faces,
        colors=np.zeros_like(head_mm),
        landmarks_mm=head_mm[:1],
        quad_share=0.0,
    )
    return Mesh(vertices=scan.vertices, faces=scan.triangles)


def _inside(faces: Faces, keep: Bool[np.ndarray, " vert"]) -> Faces:
    return faces[keep[faces].all(axis=1)]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> int:
    return int(np.exp(rng.uniform(np.log(low), np.log(high))))


def _sample(rng: np.random.Generator, vertices: Vertices, faces: Faces, count: int) -> Vertices:
    """Points spread evenly over the triangles."""
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(faces), size=count, p=areas / areas.sum())]
    first, second = rng.uniform(size=(2, count, 1))
    over = first + second > 1
    first, second = np.where(over, 1 - first, first), np.where(over, 1 - second, second)
    return (chosen[:, 0] * (1 - first - second) + chosen[:, 1] * first + chosen[:, 2] * second).astype(np.float32)
