"""The same face as many files show it: scanned or modelled, dense or coarse, with and without hair, eyeballs, teeth.

The appearance is independent of the expression, so a model that is trained on all of them cannot rely on it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from smilevlm.geometry import Mesh
from smilevlm.synthesis.rigs.rig import RigSurface
from smilevlm.synthesis.scan_setup import Pose, ScannerSettings, draw_scan, rotation_from_angles
from smilevlm.synthesis.scanner import scan_with_setup
from smilevlm.typing import Faces, Vertices

SurfaceForm = Literal["scan", "mesh", "coarse", "clustered", "points"]
"""Seen by a virtual scanner; the model's own fine or coarse triangles; these merged cell by cell; points alone."""
SURFACES: tuple[SurfaceForm, ...] = ("scan", "mesh", "coarse", "clustered")
_FORM_SHARES = (0.5, 0.2, 0.1, 0.14, 0.06)
_MM_PER_UNIT = (1.0, 10.0, 100.0, 1000.0)
_UNIT_SHARES = (0.7, 0.1, 0.05, 0.15)
_MOUTH_REACH_MM = 25.0
"""A hole whose middle is further from the lips' is no mouth."""
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
        cell_mm: Side of the cells that the form `clustered` merges.
        noise_mm: Standard deviation of noise on the vertices, scans apart, which have their own.
        num_points: Of the form `points`.
        scanner: Of the form `scan`.
        cropped: Whether the scanner kept the face alone.
        mm_per_unit: The file's unit.
    """

    form: SurfaceForm
    faces: Faces
    reach_mm: float
    depth_mm: float
    cell_mm: float
    noise_mm: float
    num_points: int
    scanner: ScannerSettings
    cropped: bool
    mm_per_unit: float


def draw_appearance(
    rng: np.random.Generator, surface: RigSurface, *, forms: tuple[SurfaceForm, ...] = get_args(SurfaceForm)
) -> ScanAppearance:
    """Draw how a face of a rig is shown; `forms` are what may become of its surface."""
    shares = np.array([_FORM_SHARES[get_args(SurfaceForm).index(form)] for form in forms])
    form = forms[int(rng.choice(len(forms), p=shares / shares.sum()))]
    whole = rng.uniform() < 0.45
    return ScanAppearance(
        form=form,
        faces=_draw_faces(rng, surface, coarse=form == "coarse"),
        reach_mm=float("inf") if whole else float(rng.uniform(85, 140)),
        depth_mm=float(rng.uniform(60, 120)) if not whole and rng.uniform() < 0.6 else float("inf"),
        cell_mm=float(rng.uniform(2.5, 10.0)),
        noise_mm=float(np.exp(rng.uniform(np.log(0.02), np.log(0.4)))) if rng.uniform() < 0.5 else 0.0,
        num_points=int(np.exp(rng.uniform(np.log(8000), np.log(40_000)))),
        scanner=ScannerSettings(
            num_vertices=int(np.exp(rng.uniform(np.log(2000), np.log(30_000)))),
            noise_mm=float(np.exp(rng.uniform(np.log(0.04), np.log(0.5)))),
            ripple_mm=float(rng.uniform(0.05, 0.6)),
            max_holes=int(rng.integers(0, 9)),
            hole_size=float(rng.uniform(0.7, 2.2)),
            crop_share=float(rng.uniform(0.74, 1.15)),
        ),
        cropped=bool(rng.uniform() < 0.8),
        mm_per_unit=float(rng.choice(_MM_PER_UNIT, p=_UNIT_SHARES)),
    )


def apply_appearance(rng: np.random.Generator, appearance: ScanAppearance, head_mm: Vertices) -> Mesh:
    """The mesh that a file holds of one refined head, which is in the face frame."""
    if appearance.form == "scan":
        return _scanned(rng, appearance, head_mm)
    faces = appearance.faces
    keep = (np.linalg.norm(head_mm, axis=1) < appearance.reach_mm) & (head_mm[:, 2] > -appearance.depth_mm)
    vertices, faces = _only_used(head_mm, faces[keep[faces].all(axis=1)])
    if appearance.form == "clustered":
        vertices, faces = _cluster(vertices, faces, appearance.cell_mm)
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
        layer += rng.uniform(1, 9) * surface.stubble
    rough = rng.normal(size=(len(x), 2))
    for _ in range(3):
        rough[:, 0] = surface.skin_average @ rough[:, 0]
    lumps = rough[:, 0].copy()
    for _ in range(25):
        lumps = surface.skin_average @ lumps
    relief = 1 + 0.2 * lumps / max(lumps.std(), 1e-9) + 0.15 * rough[:, 0] / rough[:, 0].std()
    skin = ~surface.eyes & ~surface.inner
    return Hair(layer_mm=(np.maximum(layer * relief, 0) * skin).astype(np.float32))


def _draw_faces(rng: np.random.Generator, surface: RigSurface, *, coarse: bool) -> Faces:
    """The head's triangles without those that this model or scanner does not have."""
    faces = _triangles(surface, coarse=coarse)
    keep = np.ones(len(faces), bool)
    sealed = rng.uniform() < 0.15
    for part, absent in ((surface.eyes, 0.2), (surface.inner, 1.0 if sealed else 0.4), (surface.inside_mouth, 0.3)):
        if rng.uniform() < absent:
            keep &= ~part[faces].any(axis=1)
    if sealed:
        keep &= ~surface.inside_mouth[faces].any(axis=1)
        return np.concatenate([faces[keep], _between_lips(surface, coarse=coarse)])
    return np.ascontiguousarray(faces[keep])


def _triangles(surface: RigSurface, *, coarse: bool) -> Faces:
    return surface.coarse_faces if coarse and surface.coarse_faces is not None else surface.faces


@functools.cache
def _between_lips(surface: RigSurface, *, coarse: bool) -> Faces:
    """Triangles from lip to lip, as models have them whose mouth is a painted skin."""
    faces = _triangles(surface, coarse=coarse)
    faces = faces[~(surface.eyes | surface.inner | surface.inside_mouth)[faces].any(axis=1)]
    middle = np.average(surface.position_mm, axis=0, weights=surface.lips)
    rim = _rim_around(faces, surface.position_mm, middle)
    if len(rim) == 0 or np.linalg.norm(surface.position_mm[rim].mean(axis=0) - middle) > _MOUTH_REACH_MM:
        return np.zeros((0, 3), np.int32)
    # From corner to corner along either lip, whatever the sense of the rim.
    x = surface.position_mm[rim, 0]
    rim = np.roll(rim, -int(np.argmin(x)))
    corner = int(np.argmax(surface.position_mm[rim, 0]))
    one, other = rim[: corner + 1], np.append(rim[corner:], rim[0])[::-1]
    triangles, i, j = [], 0, 0
    while i < len(one) - 1 or j < len(other) - 1:
        along_one = j == len(other) - 1 or (i < len(one) - 1 and i / len(one) <= j / len(other))
        triangles.append((one[i], other[j], one[i + 1] if along_one else other[j + 1]))
        i, j = (i + 1, j) if along_one else (i, j + 1)
    found = np.array([each for each in triangles if len(set(each)) == 3], np.int32)
    corners = surface.position_mm[found]
    backward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] < 0
    found[backward] = found[backward][:, ::-1]
    return found


def _rim_around(faces: Faces, vertices: Vertices, place_mm: Float64[np.ndarray, " 3"]) -> Int64[np.ndarray, " corner"]:
    """The vertices of the hole whose middle is nearest to a place, in order around it; empty without holes."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    known = set(map(tuple, edges.tolist()))
    following = {start: end for start, end in known if (end, start) not in known}
    rims = []
    while following:
        rim = [next(iter(following))]
        while (end := following.pop(rim[-1], rim[0])) != rim[0]:
            rim.append(end)
        rims.append(np.array(rim))
    distance = [np.linalg.norm(vertices[rim].mean(axis=0) - place_mm) for rim in rims]
    return rims[int(np.argmin(distance))] if rims else np.zeros(0, np.int64)


def _scanned(rng: np.random.Generator, appearance: ScanAppearance, head_mm: Vertices) -> Mesh:
    setup, noise_sample, _ = draw_scan(rng, appearance.scanner, cropped=appearance.cropped)
    scan = scan_with_setup(
        setup,
        noise_sample,
        Pose(rotation=np.eye(3), offset_mm=np.zeros(3)),
        vertices_mm=head_mm,
        faces=appearance.faces,
        colors=np.zeros_like(head_mm),
        landmarks_mm=head_mm[:1],
        quad_share=0.0,
    )
    return Mesh(vertices=scan.vertices, faces=scan.triangles)


def _only_used(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    used, new = np.unique(faces, return_inverse=True)
    return vertices[used], new.reshape(faces.shape).astype(np.int32)


def _cluster(vertices: Vertices, faces: Faces, cell_mm: float) -> tuple[Vertices, Faces]:
    """One vertex per occupied cell, the mean of those in it; triangles that collapse are gone."""
    cells = np.floor(vertices / np.float32(cell_mm)).astype(np.int64)
    _, owner, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    owner = owner.reshape(-1)
    merged = np.stack([np.bincount(owner, weights=vertices[:, k]) / counts for k in range(3)], axis=1)
    new: Int32[np.ndarray, "face 3"] = owner[faces].astype(np.int32)
    distinct = (new[:, 0] != new[:, 1]) & (new[:, 1] != new[:, 2]) & (new[:, 2] != new[:, 0])
    return _only_used(merged.astype(np.float32), new[distinct])


def _sample(rng: np.random.Generator, vertices: Vertices, faces: Faces, count: int) -> Vertices:
    """Points spread evenly over the triangles."""
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(faces), size=count, p=areas / areas.sum())]
    first, second = rng.uniform(size=(2, count, 1))
    over = first + second > 1
    first, second = np.where(over, 1 - first, first), np.where(over, 1 - second, second)
    return (chosen[:, 0] * (1 - first - second) + chosen[:, 1] * first + chosen[:, 2] * second).astype(np.float32)
