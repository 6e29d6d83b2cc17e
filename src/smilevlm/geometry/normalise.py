"""Bring a scan to the face frame: millimetres, nose tip at the origin, frontal pose, only the face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32

from smilevlm.errors import MeshError, SettingsError
from smilevlm.geometry.arrays import empty_arrays
from smilevlm.geometry.clean import drop_spikes, keep_faces, keep_points, near_bulk, without_scraps
from smilevlm.geometry.locate import (
    CLEAR_CONFIDENCE,
    MIN_CONFIDENCE,
    NOSE_TIP_NAMES,
    PoseHypothesis,
    agrees,
    confirmed,
    has_better_rival,
    hypothesis_from,
    initial_pose,
    is_agreed,
    is_better,
    is_clear,
    is_confident,
    is_likely,
    likely_factor,
    refined,
    rival_score,
    search_any_pose,
    search_front,
    with_rival,
)
from smilevlm.geometry.mesh import Mesh
from smilevlm.geometry.no_face import SearchSummary, no_face_message
from smilevlm.geometry.pose_search import visible_points
from smilevlm.geometry.sampling import even_points, surface_points
from smilevlm.geometry.sanitize import drop_invalid_vertices
from smilevlm.geometry.second_face import direction_in_words, second_face
from smilevlm.geometry.units import column_quantiles, find_unit, sample_columns, unit_name

_IDENTITY = np.eye(3, dtype=np.float32)
_LEAST_VERTICES = 100
MIN_RELIABLE_CONFIDENCE, MIN_RELIABLE_COVERAGE = 0.4, 0.75
"""Below either of them a prediction of the expression is unreliable.

Of 80 complete synthetic faces 6 fall below. Of confident predictions for whole, incomplete, stretched and masked ones
58 % were right below the floors and 76 % above; see benchmarks/results/2026-11-29_face_confidence.md.
"""
_NOSE_REACH_MM = np.array([12.0, 14.0, 20.0], np.float32)
_NOSE_DEPTH_MM = 1.0
_SEARCH_POINTS = 16_000
"""Spread over the surface for the search in any pose."""


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
        component_min_share: See `without_scraps`.
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
        confidence: That this is a face in this pose, in [0, 1]; see `PoseHypothesis.confidence`.
        remarks: Those of the scan, and what was noticed while the face was found: another face, a face that is barely
            one.
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
    confidence: float = 1.0
    remarks: tuple[str, ...] = ()

    @property
    def is_barely_found(self) -> bool:
        """Whether confidence or `fit_share` is below its floor: an incomplete, covered or distorted face."""
        return self.confidence < MIN_RELIABLE_CONFIDENCE or self.fit_share < MIN_RELIABLE_COVERAGE


def normalise(
    mesh: Mesh,
    settings: NormaliseSettings,
    *,
    start: Float[np.ndarray, "3 3"] | None = None,
    mm_per_unit: float | None = None,
    search_pose: bool = True,
) -> NormalisedFace:
    """Find unit, nose tip and pose; remove spikes and scraps; crop the face.

    A face that is upright and looks along +z within about 30 degrees is found at once. Where that gives no confident
    face, any pose and any size is tried (`docs/pose.md`).

    Args:
        mesh: A face or a head, any unit, any pose.
        settings: Crop and tolerances.
        start: The turn that brings the scan's axes upright and facing +z, where it is known: see
            `rotation_from_axes`, or an earlier frame's `NormalisedFace.rotation`. It is tried first.
        mm_per_unit: The size of the scan's unit, where it is known.
        search_pose: Look for the face in any pose and at any size where it is not found as the scan stands. There is
            no search without `correct_pose`.

    Raises:
        MeshError: Fewer than 100 finite vertices, or nothing in the scan resembles a face.
        SettingsError: `start` is no rotation, or `mm_per_unit` is not positive.

    Assumption A4: the nose tip is the landmark of that name where there is one, else the foremost point near the
    nose of the registered mean face.
    """
    _check_hints(start, mm_per_unit)
    mesh = _usable(mesh)
    factor = find_unit(mesh.vertices)[0] if mm_per_unit is None else mm_per_unit
    scan = _prepared(mesh, factor, settings)
    points = surface_points(scan.mesh, scan.keep, settings.max_points)
    pose = initial_pose(points, scan.mesh.landmarks, start)
    search_pose = search_pose and settings.correct_pose
    confident = is_confident(points, pose)
    if confident and pose.confidence < CLEAR_CONFIDENCE:
        # Too few vertices to cover the face: its pose stands, its share is measured on the triangles.
        pose = confirmed(pose, refined(even_points(scan.mesh, scan.keep, _SEARCH_POINTS), pose))
    if search_pose and not (confident and pose.confidence >= MIN_CONFIDENCE):
        unit_is_known = mm_per_unit is not None
        front = np.eye(3) if start is None else start
        scan, pose, factor = _search_other_poses(mesh, scan, pose, factor, settings, front, unit_is_known=unit_is_known)
    is_enough = pose.fit_share >= settings.min_fit_share and pose.relief_match >= settings.min_relief_match
    if not is_enough or (search_pose and not pose.is_face):
        summary = SearchSummary(
            min_fit_share=settings.min_fit_share,
            min_relief_match=settings.min_relief_match,
            mm_per_unit=factor,
            unit_is_given=mm_per_unit is not None,
            searched=search_pose,
            pose_is_given=start is not None,
        )
        raise MeshError(no_face_message(scan.mesh.vertices, pose, summary))
    remarks = (*mesh.remarks, *_reliability_remarks(scan, pose))
    return replace(_in_face_frame(scan, pose, factor, start, settings), remarks=remarks)


def _reliability_remarks(scan: _Scan, pose: PoseHypothesis) -> list[str]:
    """Reasons not to rely on the prediction: a face that is barely one, another face."""
    remarks = []
    if pose.fit_share < MIN_RELIABLE_COVERAGE:
        remarks.append(f"the scan covers {pose.fit_share:.0%} of the face, less than {MIN_RELIABLE_COVERAGE:.0%}")
    if pose.confidence < MIN_RELIABLE_CONFIDENCE:
        remarks.append(
            f"the face was barely found (confidence {pose.confidence:.2f}, below {MIN_RELIABLE_CONFIDENCE:g}): it may "
            "be incomplete, covered or distorted"
        )
    if (other := second_face(scan.mesh, scan.keep, pose)) is not None:
        remarks.append(f"another face lies {direction_in_words(other)}; the answer is for one of them")
    return remarks


def _check_hints(start: Float[np.ndarray, "3 3"] | None, mm_per_unit: float | None) -> None:
    if start is not None and not (np.allclose(start @ start.T, np.eye(3), atol=1e-3) and np.linalg.det(start) > 0):
        raise SettingsError("start is no rotation: expected three perpendicular rows of length one, not mirrored")
    if mm_per_unit is not None and not 0 < mm_per_unit < np.inf:
        raise SettingsError(f"mm_per_unit is {mm_per_unit}; expected a positive number")


def _usable(mesh: Mesh) -> Mesh:
    """Without invalid vertices and, in a mesh, those that no face uses."""
    if mesh.num_vertices < _LEAST_VERTICES:
        raise MeshError(f"a face needs at least {_LEAST_VERTICES} vertices; the mesh has {mesh.num_vertices}")
    mesh = drop_invalid_vertices(mesh)
    if mesh.num_vertices < _LEAST_VERTICES:
        raise MeshError(
            f"only {mesh.num_vertices} vertices have finite, measured coordinates; a face needs at least "
            f"{_LEAST_VERTICES}"
        )
    if not mesh.is_point_cloud:
        # Scanners store missing points too, often at the origin; no face uses them.
        mesh = keep_faces(mesh, np.ones(mesh.num_faces, bool))
    return mesh


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """A scan in millimetres around its centre, and which of its vertices are no scraps."""

    mesh: Mesh
    keep: Bool[np.ndarray, " mesh_vert"]
    num_spikes: int
    num_scraps: int


def _prepared(mesh: Mesh, mm_per_unit: float, settings: NormaliseSettings) -> _Scan:
    # Far from the origin float32 has few digits left for the face, so centre before scaling.
    (centre,) = column_quantiles(sample_columns(mesh.vertices), 0.5)
    mesh = mesh.transformed(_IDENTITY, -centre, mm_per_unit)
    if mesh.is_point_cloud:
        mesh = keep_points(mesh, near_bulk(mesh.vertices))
    mesh, num_spikes = drop_spikes(mesh, max_edge_ratio=settings.spike_edge_ratio, min_edge=12.0)
    # Scraps and what lies outside the crop go in one step in the end, for that copies the whole mesh.
    keep, num_scraps = without_scraps(mesh, min_share=settings.component_min_share, near=12.0)
    return _Scan(mesh=mesh, keep=keep, num_spikes=num_spikes, num_scraps=num_scraps)


def _search_other_poses(
    mesh: Mesh,
    scan: _Scan,
    pose: PoseHypothesis,
    factor: float,
    settings: NormaliseSettings,
    front: Float[np.ndarray, "3 3"],
    *,
    unit_is_known: bool,
) -> tuple[_Scan, PoseHypothesis, float]:
    """The better of the initial pose and of the best one in a search over poses and sizes, with its unit factor.

    First near the front, which is cheap, and only where that finds no clear face everywhere.
    """
    points = even_points(scan.mesh, scan.keep, _SEARCH_POINTS)
    is_enough = False
    if pose.fit_share >= settings.min_fit_share:
        # Often the pose is right, and only what lies behind the skin spoilt the fit.
        again = refined(points, pose)
        pose = again if is_better(again, pose) else confirmed(pose, again)
        is_enough = is_likely(visible_points(points, pose.rotation, pose.nose_mm, 1.0), pose)
        is_enough = is_enough and pose.confidence >= MIN_CONFIDENCE
        if is_enough and pose.confidence >= CLEAR_CONFIDENCE:
            return scan, pose, factor
    candidates = search_front(points, front, unit_is_known=unit_is_known)
    if is_enough and (agrees(pose, candidates) or not has_better_rival(points, pose)):
        return scan, pose, factor
    if is_clear(candidates):
        candidate, rival = candidates[0], rival_score(candidates)
        if agrees(pose, candidates):
            pose = replace(pose, free_scale_score=max(pose.free_scale_score, candidate.score))
    elif is_agreed(pose, candidates):
        return scan, replace(pose, rival_score=rival_score(candidates)), factor
    else:
        low, high = column_quantiles(sample_columns(scan.mesh.vertices), 0.01, 0.99)
        candidate, rival = search_any_pose(points, float((high - low).max()), unit_is_known=unit_is_known)
    if candidate is None:
        return scan, pose, factor
    likely = factor if unit_is_known else likely_factor(factor * candidate.fit.mm_per_unit)
    is_other_unit = abs(likely / factor - 1) > 1e-6
    initial_scan = scan
    if is_other_unit:
        scan = _prepared(mesh, likely, settings)
        points = even_points(scan.mesh, scan.keep, _SEARCH_POINTS)
    is_rescaled = unit_name(likely) == "unknown"
    found = refined(points, hypothesis_from(candidate, likely / factor, rival, is_rescaled=is_rescaled))
    if pose.is_face and not (found.is_face and is_better(found, pose)):
        return initial_scan, with_rival(pose, found), factor
    return scan, found, likely


def _in_face_frame(
    scan: _Scan,
    pose: PoseHypothesis,
    factor: float,
    start: Float[np.ndarray, "3 3"] | None,
    settings: NormaliseSettings,
) -> NormalisedFace:
    """Move the scan to the face frame, and crop it."""
    from smilevlm.geometry import kernels

    if settings.correct_pose:
        rotation = pose.rotation.astype(np.float32)
    else:
        rotation = _IDENTITY if start is None else start.astype(np.float32)
    mesh, keep, shift = scan.mesh, scan.keep, (-pose.nose_mm).astype(np.float32)
    bare = Mesh(vertices=np.zeros((0, 3), np.float32), landmarks=mesh.landmarks).transformed(rotation, shift)
    tip = _nose_tip(mesh, keep, rotation, shift, bare.landmarks)
    (vertices,) = empty_arrays((mesh.vertices.shape, np.float32))
    crop = settings.crop_radius_mm, settings.crop_depth_mm
    kernels.move_and_crop(mesh.vertices, rotation, shift, tip, *crop, keep, vertices)
    landmarks = bare.transformed(_IDENTITY, -tip).landmarks
    return NormalisedFace(
        mesh=keep_points(replace(mesh, vertices=vertices, landmarks=landmarks, origin=(0.0, 0.0, 0.0)), keep),
        unit=unit_name(factor),
        mm_per_unit=factor,
        rotation=rotation,
        fit_share=pose.fit_share,
        relief_match=pose.relief_match,
        residual_mm=pose.residual_mm,
        num_spikes=scan.num_spikes,
        num_scraps=scan.num_scraps,
        confidence=pose.confidence,
    )


def _nose_tip(
    mesh: Mesh,
    keep: Bool[np.ndarray, " vert"],
    rotation: Float32[np.ndarray, "3 3"],
    shift: Float32[np.ndarray, " 3"],
    landmarks: Mapping[str, np.ndarray],
) -> Float32[np.ndarray, " 3"]:
    """The foremost kept point near the registered template's nose tip, averaged over the few foremost vertices.

    In the template's frame, rotation @ (vertex + shift), which the landmarks are in.
    """
    from smilevlm.geometry import kernels

    for name in NOSE_TIP_NAMES:
        if name in landmarks:
            return landmarks[name].astype(np.float32)
    tip = np.empty(3, np.float32)
    depth = np.float32(_NOSE_DEPTH_MM)
    if kernels.foremost(mesh.vertices, keep, rotation, shift, _NOSE_REACH_MM, depth, tip) < 3:
        return np.zeros(3, np.float32)
    # Left-right, the template knows better than the few vertices on a flat tip.
    return np.array([0.5 * tip[0], tip[1], tip[2]], np.float32)
