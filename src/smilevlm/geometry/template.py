"""The mean synthetic face as a height map, and rigid registration of a scan to it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np
from jaxtyping import Float32, Float64

from smilevlm.typing import Vertices

REACH_MM = 130.0
"""No point of a face lies further from its nose tip along an axis."""


@dataclass(frozen=True, kw_only=True)
class FaceTemplate:
    """The mean face over synthetic people, frontal, nose tip at the origin.

    Args:
        height_mm: z per cell, row 0 at the bottom, NaN outside the face.
        weight: Trust per cell in [0, 1]: low where people and expressions differ.
        low_mm: (x, y) of the centre of cell (0, 0).
        cell_mm: Side of a cell.
    """

    height_mm: Float32[np.ndarray, "row column"]
    weight: Float32[np.ndarray, "row column"]
    low_mm: Float32[np.ndarray, " 2"]
    cell_mm: float

    @property
    def height_map(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """What the compiled registrations take."""
        return self.table, self.weight, self.low_mm, self.cell_mm

    @functools.cached_property
    def table(self) -> Float32[np.ndarray, "row column 4"]:
        """Height, dz/dx, dz/dy and 1 / sqrt(1 + dz/dx^2 + dz/dy^2) per cell."""
        slope_y, slope_x = np.gradient(self.height_mm, self.cell_mm)
        inverse = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
        return np.stack([self.height_mm, slope_x, slope_y, inverse], axis=2).astype(np.float32)


@functools.cache
def face_template() -> FaceTemplate:
    """The template in the package, made by `tools/face_template.py`."""
    with (
        resources.files("smilevlm.geometry").joinpath("data/face_template.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        return FaceTemplate(
            height_mm=data["height_mm"].astype(np.float32),
            weight=data["weight"].astype(np.float32),
            low_mm=data["low_mm"].astype(np.float32),
            cell_mm=float(data["cell_mm"]),
        )


@dataclass(frozen=True, kw_only=True)
class RigidFit:
    """face = rotation @ (point - nose).

    Args:
        rotation: Face frame from the scan's axes.
        nose_mm: The template's nose tip in the scan's axes.
        fit_share: Share of the template's weight that found scan surface within 6 mm, in [0, 1].
        residual_mm: Median distance of those points from the template.
    """

    rotation: Float64[np.ndarray, "3 3"]
    nose_mm: Float64[np.ndarray, " 3"]
    fit_share: float
    residual_mm: float


@dataclass(frozen=True, kw_only=True)
class SimilarityFit:
    """face = mm_per_unit * rotation @ (point - nose), for points in any unit.

    Args:
        rotation: Face frame from the scan's axes.
        nose: The template's nose tip in the scan's axes and unit.
        mm_per_unit: The size of the scan's unit, if its face is as large as the mean face.
        fit_share: See `RigidFit`.
    """

    rotation: Float64[np.ndarray, "3 3"]
    nose: Float64[np.ndarray, " 3"]
    mm_per_unit: float
    fit_share: float


def relief_match(points: Vertices, fit: RigidFit | SimilarityFit) -> float:
    """How much the fitted surface has the relief of a face: nose, eye sockets, lips, beyond any smooth bend.

    A ball or a plane can be fitted to the mean face closely; what is left of it after a quadric is taken out of both
    does not correlate with what is left of the face. The points are those given to the registration.

    Returns:
        Weighted correlation of the two reliefs, in [-1, 1]; faces reach 0.45 and more (flat ones), mostly 0.85, other
        things 0.35 or less.
    """
    from smilevlm.geometry import fit_kernels

    template = face_template()
    sums = np.empty((8, 8), np.float64)
    if isinstance(fit, RigidFit):
        mm_from_scan, nose = fit.rotation, fit.nose_mm
    else:
        mm_from_scan, nose = fit.mm_per_unit * fit.rotation, fit.nose
    count = fit_kernels.relief_sums(points, mm_from_scan, nose, *template.height_map, sums)
    if count < fit_kernels.FEWEST_POINTS:
        return 0.0
    match = float(fit_kernels.relief_correlation(sums))
    return match if np.isfinite(match) else 0.0


def register(points_mm: Vertices, nose_mm: Float32[np.ndarray, " 3"], *, iterations: int = 14) -> RigidFit:
    """Point-to-plane registration of surface points to the template from a first nose tip and a frontal pose.

    The template is a height map, so the closest point is a table look-up; distances are gated from 25 down to 7 mm
    and weighted by Tukey's function, so that an open mouth, hair or a missing cheek does not turn the head.
    """
    from smilevlm.geometry import fit_kernels

    template = face_template()
    near = np.empty(points_mm.shape, np.float64)
    near = near[: fit_kernels.points_near(points_mm, nose_mm, REACH_MM, near)]
    found, cells = np.empty((fit_kernels.NUM_ROWS, len(near)), np.float64), np.empty(len(near), np.uint32)
    rotation, nose = np.eye(3), nose_mm.astype(np.float64)
    count = fit_kernels.fit_pose(near, rotation, nose, *template.height_map, iterations, found, cells)
    if count == 0:
        return RigidFit(rotation=rotation, nose_mm=nose, fit_share=0.0, residual_mm=float("inf"))
    return RigidFit(
        rotation=rotation,
        nose_mm=nose,
        fit_share=fit_kernels.covered_share(found, cells, count, template.weight),
        residual_mm=float(np.median(np.abs(found[fit_kernels.DISTANCE, :count]))),
    )


def register_similarity(
    points: Vertices,
    rotation: Float64[np.ndarray, "3 3"],
    nose: Float64[np.ndarray, " 3"],
    mm_per_unit: float,
    *,
    iterations: int,
    scale_pull: float,
) -> SimilarityFit:
    """`register` with the scale free as well, from any first pose: to find how large a face is.

    Args:
        points: Surface points, any unit and frame.
        rotation: First guess of the face frame from the scan's axes.
        nose: First guess of the nose tip.
        mm_per_unit: First guess of the scale, right within about 20 %.
        iterations: Steps.
        scale_pull: How strongly the first guess of the scale holds; 100 mm^2 is about as strong as the surface.
    """
    from smilevlm.geometry import fit_kernels, search_kernels

    template = face_template()
    near = np.empty(points.shape, np.float64)
    near = near[: fit_kernels.points_near(points, nose, REACH_MM / mm_per_unit, near)]
    found, cells = np.empty((fit_kernels.NUM_ROWS, len(near)), np.float64), np.empty(len(near), np.uint32)
    rotation, nose = rotation.copy(), nose.copy()
    scale, count = search_kernels.fit_similarity(
        near, rotation, nose, mm_per_unit, scale_pull, *template.height_map, iterations, found, cells
    )
    share = fit_kernels.covered_share(found, cells, count, template.weight) if count else 0.0
    return SimilarityFit(rotation=rotation, nose=nose, mm_per_unit=scale, fit_share=share)
