"""The same face as many files show it: scanned or modelled, dense or coarse, with and without hair, eyeballs, teeth.

The appearance is independent of the expression, so a model that is trained on all of them cannot rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32

from smilevlm.geometry import Mesh
from smilevlm.labels import FACIAL_ACTIONS, GAZE
from smilevlm.synthesis.depth_sensor import DepthSensor, sense
from smilevlm.synthesis.mesh_density import merge_cells, only_used, simplify, subdivide
from smilevlm.synthesis.model_parts import dark_regions, draw_faces
from smilevlm.synthesis.partial_faces import PartialFace, draw_partial
from smilevlm.synthesis.rigs.rig import RigSurface
from smilevlm.synthesis.scan_setup import Pose, ScannerSettings, draw_scan, rotation_from_angles
from smilevlm.synthesis.scanner import scan_with_setup
from smilevlm.synthesis.seeds import log_uniform
from smilevlm.synthesis.sensor_profiles import DarkRegions, draw_sensor
from smilevlm.typing import Faces, Vertices

SurfaceForm = Literal[
    "scan", "phone", "structured_light", "mesh", "coarse", "clustered", "simplified", "subdivided", "points"
]
"""Seen by a virtual stereo scanner, a phone, a structured-light scanner; the model's own fine or coarse triangles;
these merged cell by cell, with larger cells away from the nose, or divided; points alone."""
FORM_SHARES: dict[SurfaceForm, float] = {
    "scan": 0.36,
    "phone": 0.12,
    "structured_light": 0.08,
    "mesh": 0.18,
    "coarse": 0.1,
    "clustered": 0.08,
    "simplified": 0.03,
    "subdivided": 0.01,
    "points": 0.04,
}
SURFACES: tuple[SurfaceForm, ...] = tuple(form for form in FORM_SHARES if form != "points")
_MM_PER_UNIT = (1.0, 10.0, 100.0, 1000.0)
_UNIT_SHARES = (0.7, 0.1, 0.05, 0.15)
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
        sensor: Of the forms `phone` and `structured_light`, None of others.
        absorption: Share of its measurements that fail, per vertex; empty for other forms.
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
    absorption: Float32[np.ndarray, " vert"]
    cropped: bool
    mm_per_unit: float

    def keeps(self, head_mm: Vertices) -> Bool[np.ndarray, " vert"]:
        """Vertices that are not cut off."""
        keep = (np.linalg.norm(head_mm, axis=1) < self.reach_mm) & (head_mm[:, 2] > -self.depth_mm)
        return keep if self.partial is None else keep & self.partial.keeps(head_mm)


_BEARD_RIM_STEPS = 12
_UPPER_FACE = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU43", *GAZE)
_MIDDLE_FACE = ("AU9", "AU11")


def hidden_actions(appearance: ScanAppearance, surface: RigSurface) -> tuple[str, ...]:
    """Actions that nobody could see in the file: what they move is cut away, or was never there.

    Without eyeballs neither gaze nor the lids' opening counts as seen, without teeth and tongue no tongue.
    """
    there = np.zeros(len(surface.position_mm), bool)
    there[appearance.faces] = True
    hidden: set[str] = set()
    if not (there & surface.eyes).any() or appearance.form == "phone":
        hidden |= {*GAZE, "AU5", "AU43"}
    if not (there & surface.inner).any():
        hidden.add("AD19")
    part = None if appearance.partial is None else appearance.partial.part
    if part == "lower":
        hidden |= {*_UPPER_FACE}
    elif part == "upper":
        hidden |= FACIAL_ACTIONS.keys() - {*_UPPER_FACE, *_MIDDLE_FACE}
    return tuple(code for code in FACIAL_ACTIONS if code in hidden)


def draw_appearance(
    rng: np.random.Generator,
    surface: RigSurface,
    hair: Hair | None = None,
    *,
    forms: tuple[SurfaceForm, ...] = get_args(SurfaceForm),
) -> ScanAppearance:
    """Draw how a face of a rig with this hair is shown; `forms` are what may become of its surface."""
    shares = np.array([FORM_SHARES[form] for form in forms])
    form = forms[int(rng.choice(len(forms), p=shares / shares.sum()))]
    partial = draw_partial(rng)
    # Half a face with the whole back of the head is no scan.
    whole = partial is None and rng.uniform() < 0.45
    sensor, absorption = _draw_depth_sensor(rng, form, dark_regions(surface), hair)
    subdivided = form == "subdivided"
    return ScanAppearance(
        form=form,
        faces=draw_faces(rng, surface, coarse=form == "coarse"),
        reach_mm=float("inf") if whole else float(rng.uniform(85, 140)),
        depth_mm=float(rng.uniform(60, 120)) if not whole and rng.uniform() < 0.6 else float("inf"),
        partial=partial,
        cell_mm=float(rng.uniform(2.5, 10.0)),
        num_vertices=int(log_uniform(rng, *((20_000, 70_000) if subdivided else (500, 12_000)))),
        cell_growth=float(rng.uniform(0.5, 4)),
        noise_mm=log_uniform(rng, 0.02, 0.4) if rng.uniform() < 0.5 else 0.0,
        num_points=int(log_uniform(rng, 8000, 40_000)),
        scanner=ScannerSettings(
            num_vertices=int(log_uniform(rng, 2000, 30_000)),
            noise_mm=log_uniform(rng, 0.04, 0.5),
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


def apply_appearance(rng: np.random.Generator, appearance: ScanAppearance, head_mm: Vertices) -> Mesh:
    """The mesh that a file holds of one refined head, which is in the face frame."""
    faces = appearance.faces
    if appearance.form == "scan":
        # The scanner has a crop of its own.
        partial = appearance.partial
        return _scanned(rng, appearance, head_mm, faces if partial is None else _inside(faces, partial.keeps(head_mm)))
    faces = _inside(faces, appearance.keeps(head_mm))
    if appearance.form in ("phone", "structured_light"):
        assert appearance.sensor is not None
        return sense(rng, appearance.sensor, head_mm, faces, appearance.absorption)
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


def draw_hair(rng: np.random.Generator, surface: RigSurface, *, bearded: bool) -> Hair:
    """Hair of one person: from none to a thick mop with a fringe, and now and then, if `bearded`, a beard."""
    x, y, z = surface.position_mm.T
    layer = np.zeros(len(x))
    if rng.uniform() < 0.6:
        line, side, thickness = rng.uniform(58, 95), rng.uniform(56, 75), rng.uniform(1.5, 20)
        scalp = np.clip((y - line + 0.12 * np.abs(x)) / 8, 0, 1)
        temples = np.clip((np.abs(x) - side) / 8, 0, 1) * np.clip((y + rng.uniform(-70, 30)) / 15, 0, 1) * (z < -40)
        layer += thickness * np.maximum(scalp, temples)
    if bearded and rng.uniform() < 0.3:
        # Thin at its rim and none on the lips: with a step there the layer tears where the mouth opens.
        beard = rng.uniform(1, 5) * surface.stubble * (1 - surface.lips)
        for _ in range(_BEARD_RIM_STEPS):
            beard = np.minimum(beard, surface.skin_average @ beard)
        layer += beard
    rough = rng.normal(size=(len(x), 2))
    for _ in range(3):
        rough[:, 0] = surface.skin_average @ rough[:, 0]
    lumps = rough[:, 0].copy()
    for _ in range(25):
        lumps = surface.skin_average @ lumps
    relief = 1 + 0.2 * lumps / max(lumps.std(), 1e-9) + 0.15 * rough[:, 0] / rough[:, 0].std()
    skin = ~surface.eyes & ~surface.inner
    return Hair(layer_mm=(np.maximum(layer * relief, 0) * skin).astype(np.float32))


def _draw_depth_sensor(
    rng: np.random.Generator, form: SurfaceForm, dark: DarkRegions, hair: Hair | None
) -> tuple[DepthSensor | None, Float32[np.ndarray, " vert"]]:
    """A sensor and the share of its measurements that fail per vertex; none for other forms."""
    if form not in ("phone", "structured_light"):
        return None, np.zeros(0, np.float32)
    sensor, shares = draw_sensor(rng, form)
    if hair is not None:
        dark = replace(dark, hair=np.clip(hair.layer_mm, 0, 1))
    return sensor, dark.absorption(shares)


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


def _sample(rng: np.random.Generator, vertices: Vertices, faces: Faces, count: int) -> Vertices:
    """Points spread evenly over the triangles."""
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(faces), size=count, p=areas / areas.sum())]
    first, second = rng.uniform(size=(2, count, 1))
    over = first + second > 1
    first, second = np.where(over, 1 - first, first), np.where(over, 1 - second, second)
    return (chosen[:, 0] * (1 - first - second) + chosen[:, 1] * first + chosen[:, 2] * second).astype(np.float32)
