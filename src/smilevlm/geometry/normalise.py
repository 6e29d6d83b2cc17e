"""Bring a scan to the face frame: millimetres, nose tip at the origin, frontal pose, only the face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from smilevlm.errors import MeshError, SettingsError
from smilevlm.geometry.clean import (
    drop_spikes,
    keep_faces,
    keep_points,
    near_bulk,
    without_scraps,
)
from smilevlm.geometry.mesh import Mesh
from smilevlm.geometry.nose import nose_candidates
from smilevlm.geometry.template import RigidFit, register, relief_match
from smilevlm.geometry.units import at_shares, find_unit, some_columns
from smilevlm.typing import Vertices

_IDENTITY = np.eye(3, dtype=np.float32)
_NOSE_REACH_MM = np.array([12.0, 14.0, 20.0], np.float32)
_FEW_NOSES, _MANY_NOSES = 4, 8
"""Places tried as the nose tip at first, and when the face found there is not sure."""
_SURE_RELIEF = 0.7
"""Faces mostly reach 0.85; a cheek taken for the nose stays below."""
NOSE_TIP_NAMES = ("Nose tip", "nose_tip")


@dataclass(frozen=True, kw_only=True)
class NormaliseSettings:
    """How the face frame is found. The values are part of a store's identity.

    Args:
        crop_radius_mm: Surface further than this from the nose tip is dropped.
        crop_depth_mm: So is surface further behind the nose tip.
        correct_pose: Turn the face to the template's frontal pose.
        min_fit_share: A scan that covers less of the mean face than this is refused as no face.
        min_relief_match: So is one whose relief resembles the mean face's less than this, see `relief_match`.
        max_points: Surface points used to find the pose.
        spike_edge_ratio: See `drop_spikes`.
        component_min_share: See `drop_small_components`.
    """

    crop_radius_mm: float = 110.0
    crop_depth_mm: float = 115.0
    correct_pose: bool = True
    min_fit_share: float = 0.35
    min_relief_match: float = 0.4
    max_points: int = 5000
    spike_edge_ratio: float = 12.0
    component_min_share: float = 0.02

    def __post_init__(self) -> None:
        if not (self.crop_radius_mm > 0 and self.crop_depth_mm > 0 and self.max_points >= 500):
            raise SettingsError("crop_radius_mm and crop_depth_mm must be positive, max_points at least 500")
        for name in ("min_fit_share", "min_relief_match"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 0 to 1")


@dataclass(frozen=True, kw_only=True)
class NormalisedFace:
    """A face in the face frame, and how it came there.

    Args:
        mesh: Millimetres, nose tip at the origin, +x the viewer's right, +y up, +z toward the camera.
        unit: Name of the unit found, `unknown` if none fits.
        mm_per_unit: The factor applied to the file's coordinates.
        rotation: Face frame from the scan's axes.
        fit_share: How much of the mean face the scan covers, in [0, 1].
        relief_match: How much its relief resembles the mean face's, at most 1.
        residual_mm: Median distance of the covered part from the mean face.
        num_spikes: Faces removed as spikes.
        num_scraps: Components removed as floating scraps.
    """

    mesh: Mesh
    unit: str
    mm_per_unit: float
    rotation: Float32[np.ndarray, "3 3"]
    fit_share: float
    relief_match: float
    residual_mm: float
    num_spikes: int
    num_scraps: int


def normalise(mesh: Mesh, settings: NormaliseSettings) -> NormalisedFace:
    """Find unit, nose tip and pose; remove spikes and scraps; crop the face.

    Args:
        mesh: A face, any of the common units, roughly upright and facing +z (within about 30 degrees).
        settings: Crop and tolerances.

    Raises:
        MeshError: Fewer than 100 finite vertices, or nothing in the scan resembles a face.

    Assumption A4: the nose tip is the landmark of that name where there is one, else the foremost point near the
    nose of the registered mean face.
    """
    from smilevlm.geometry import kernels

    if mesh.num_vertices < 100:
        raise MeshError(f"a face needs at least 100 vertices; the mesh has {mesh.num_vertices}")
    if not np.isfinite(mesh.vertices).all():
        mesh = keep_points(mesh, np.asarray(np.isfinite(mesh.vertices).all(axis=1)))
    if mesh.num_vertices < 100:
        raise MeshError(f"only {mesh.num_vertices} vertices have finite coordinates; a face needs at least 100")
    if not mesh.is_point_cloud:
        # Scanners store missing points too, often at the origin; no face uses them.
        mesh = keep_faces(mesh, np.ones(mesh.num_faces, bool))
    mm_per_unit, unit = find_unit(mesh.vertices)
    # Far from the origin float32 has few digits left for the face, so centre before scaling.
    (centre,) = at_shares(some_columns(mesh.vertices), 0.5)
    mesh = mesh.transformed(_IDENTITY, -centre, mm_per_unit)
    if mesh.is_point_cloud:
        mesh = keep_points(mesh, near_bulk(mesh.vertices))
    mesh, num_spikes = drop_spikes(mesh, max_edge_ratio=settings.spike_edge_ratio, min_edge=12.0)
    # Scraps and what lies outside the crop go in one step in the end, for that copies the whole mesh.
    keep, num_scraps = without_scraps(mesh, min_share=settings.component_min_share, near=12.0)
    points = _surface_points(mesh, keep, settings.max_points)
    fit, relief = _best_fit(points, mesh.landmarks)
    if fit.fit_share < settings.min_fit_share or relief < settings.min_relief_match:
        raise MeshError(
            f"no face found: the mean face is covered to {fit.fit_share:.0%}, expected {settings.min_fit_share:.0%}; "
            f"its relief met to {relief:.2f}, expected {settings.min_relief_match:.2f}; the face should be upright "
            f"and look along +z (unit found: {unit})"
        )
    rotation = fit.rotation.astype(np.float32) if settings.correct_pose else _IDENTITY
    mesh = mesh.transformed(rotation, (-fit.nose_mm).astype(np.float32))
    mesh = mesh.transformed(_IDENTITY, -_nose_tip(mesh, keep))
    kernels.inside_crop(mesh.vertices, settings.crop_radius_mm, settings.crop_depth_mm, keep)
    return NormalisedFace(
        mesh=keep_points(mesh, keep),
        unit=unit,
        mm_per_unit=mm_per_unit,
        rotation=rotation,
        fit_share=fit.fit_share,
        relief_match=relief,
        residual_mm=fit.residual_mm,
        num_spikes=num_spikes,
        num_scraps=num_scraps,
    )


def _surface_points(mesh: Mesh, keep: Bool[np.ndarray, " mesh_vert"], max_points: int) -> Vertices:
    """About `max_points` points spread over the kept surface, always the same ones for the same mesh."""
    points = mesh.vertices
    # What is far outside the bulk is no face, and would only stretch the search.
    rows = np.flatnonzero(near_bulk(points) & keep)
    if not mesh.is_point_cloud and len(rows) < max_points:
        faces = mesh.faces[keep[mesh.faces[:, 0]]]
        points = np.concatenate([points[rows], points[faces].mean(axis=1)])
        rows = np.arange(len(points))
    if len(rows) > max_points:
        rows = rows[np.linspace(0, len(rows) - 1, max_points).astype(np.int64)]
    return points[rows].astype(np.float32)


def _best_fit(points: Vertices, landmarks: Mapping[str, np.ndarray]) -> tuple[RigidFit, float]:
    """The fit to the mean face, and how well the reliefs match."""
    named = [landmarks[name] for name in NOSE_TIP_NAMES if name in landmarks]
    guesses = np.array(named, np.float32).reshape(-1, 3) if named else nose_candidates(points, count=_MANY_NOSES)
    if len(guesses) == 0:
        guesses = points[[np.argmax(points[:, 2])]]
    few = points[:: max(1, len(points) // 1500)]
    fit = register(points, _likeliest_nose(few, guesses[:_FEW_NOSES]))
    relief = relief_match(points, fit)
    if len(guesses) > _FEW_NOSES and relief < _SURE_RELIEF:
        # A turned head, a hand or hair: the nose may be among the places that stand out less.
        fit = register(points, _likeliest_nose(few, guesses))
        relief = relief_match(points, fit)
    return fit, relief


def _likeliest_nose(points: Vertices, guesses: Float32[np.ndarray, "guess 3"]) -> Float32[np.ndarray, " 3"]:
    """The guess from which a short registration covers most of the mean face."""
    if len(guesses) == 1:
        return guesses[0]
    fits = [register(points, guess, iterations=6) for guess in guesses]
    best = max(range(len(fits)), key=lambda k: fits[k].fit_share - 0.02 * min(fits[k].residual_mm, 25.0))
    return guesses[best]


def _nose_tip(mesh: Mesh, keep: Bool[np.ndarray, " vert"]) -> Float32[np.ndarray, " 3"]:
    """The foremost kept point near the registered template's nose tip, averaged over the few foremost vertices."""
    from smilevlm.geometry import kernels

    for name in NOSE_TIP_NAMES:
        if name in mesh.landmarks:
            return mesh.landmarks[name].astype(np.float32)
    near = np.empty(mesh.num_vertices, bool)
    kernels.inside_box(mesh.vertices, np.zeros(3, np.float32), _NOSE_REACH_MM, near)
    candidates = mesh.vertices[near & keep]
    if len(candidates) < 3:
        return np.zeros(3, np.float32)
    top = np.partition(candidates[:, 2], -3)[-3:].min()
    tip = candidates[candidates[:, 2] >= top - 1.0].mean(axis=0)
    # Left-right, the template knows better than the few vertices on a flat tip.
    return np.array([0.5 * tip[0], tip[1], tip[2]], np.float32)
