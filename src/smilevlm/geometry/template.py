"""The mean synthetic face as a height map, and rigid registration of a scan to it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np
from jaxtyping import Float32, Float64

from smilevlm.typing import Vertices


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

    @functools.cached_property
    def slopes(self) -> tuple[Float32[np.ndarray, "row column"], Float32[np.ndarray, "row column"]]:
        """dz/dx and dz/dy per cell."""
        slope_y, slope_x = np.gradient(self.height_mm, self.cell_mm)
        return slope_x.astype(np.float32), slope_y.astype(np.float32)


@functools.cache
def face_template() -> FaceTemplate:
    """The template in the package, made by `python -m smilevlm.synthesis.template`."""
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


def _cells(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of the template cell of each point, and which points fall inside the template."""
    template = face_template()
    rows, columns = template.height_mm.shape
    column = np.rint((points[:, 0] - template.low_mm[0]) / template.cell_mm).astype(np.int64)
    row = np.rint((points[:, 1] - template.low_mm[1]) / template.cell_mm).astype(np.int64)
    return row, column, (column >= 0) & (column < columns) & (row >= 0) & (row < rows)


def relief_match(points_mm: Vertices, fit: RigidFit) -> float:
    """How much the fitted surface has the relief of a face: nose, eye sockets, lips, beyond any smooth bend.

    A ball or a plane can be fitted to the mean face closely; what is left of it after a quadric is taken out of both
    does not correlate with what is left of the face.

    Args:
        points_mm: Surface points, as given to `register`.
        fit: Its result.

    Returns:
        Weighted correlation of the two reliefs, in [-1, 1]; faces reach 0.45 and more (flat ones), mostly 0.85, other
        things 0.35 or less.
    """
    template = face_template()
    face = (points_mm.astype(np.float64) - fit.nose_mm) @ fit.rotation.T
    row, column, inside = _cells(face)
    face, row, column = face[inside], row[inside], column[inside]
    height = template.height_mm[row, column].astype(np.float64)
    near = np.isfinite(height) & (np.abs(face[:, 2] - height) < 25)
    face, row, column, height = face[near], row[near], column[near], height[near]
    if len(face) < 60:
        return 0.0
    key = row * template.height_mm.shape[1] + column
    weight = template.weight[row, column] / np.bincount(key)[key]
    x, y, _ = face.T / 50
    bend = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1) * np.sqrt(weight)[:, None]

    def relief(values: np.ndarray) -> np.ndarray:
        scaled = values * np.sqrt(weight)
        return scaled - bend @ np.linalg.lstsq(bend, scaled, rcond=None)[0]

    ours, faces = relief(face[:, 2]), relief(height)
    # The small constant, about 0.1 mm of relief, keeps a perfectly smooth surface at zero.
    return float(ours @ faces / np.sqrt((ours @ ours + 0.01 * weight.sum()) * (faces @ faces)))


def register(points_mm: Vertices, nose_mm: Float32[np.ndarray, " 3"], *, iterations: int = 14) -> RigidFit:
    """Point-to-plane registration of surface points to the template from a first nose tip and a frontal pose.

    The template is a height map, so the closest point is a table look-up; distances are gated from 25 down to 7 mm
    and weighted by Tukey's function, so that an open mouth, hair or a missing cheek does not turn the head.
    """
    template = face_template()
    slope_x, slope_y = template.slopes
    rows, columns = template.height_mm.shape
    near = np.abs(points_mm - nose_mm).max(axis=1) < 130
    points = points_mm[near].astype(np.float64)
    rotation, nose = np.eye(3), nose_mm.astype(np.float64)
    share, residual_mm = 0.0, float("inf")
    for step in range(iterations + 1):
        gate = max(25.0 * 0.82**step, 7.0)
        face = (points - nose) @ rotation.T
        row, column, inside = _cells(face)
        face, row, column = face[inside], row[inside], column[inside]
        height = template.height_mm[row, column]
        gx, gy = slope_x[row, column], slope_y[row, column]
        # The look-up is at the cell's centre; the slope carries it to the point itself.
        height = (
            height
            + gx * (face[:, 0] - (template.low_mm[0] + column * template.cell_mm))
            + gy * (face[:, 1] - (template.low_mm[1] + row * template.cell_mm))
        )
        length = np.sqrt(gx * gx + gy * gy + 1)
        distance = (face[:, 2] - height) / length
        usable = np.isfinite(distance) & (np.abs(distance) < gate)
        if usable.sum() < 60:
            return RigidFit(rotation=rotation, nose_mm=nose, fit_share=0.0, residual_mm=float("inf"))
        face, distance, row, column = face[usable], distance[usable], row[usable], column[usable]
        cell_share = template.weight.copy()
        hit = np.zeros(cell_share.shape, bool)
        close = np.abs(distance) < 6
        hit[row[close], column[close]] = True
        share = float(cell_share[_grown(hit)].sum() / cell_share.sum())
        residual_mm = float(np.median(np.abs(distance)))
        if step == iterations:
            break
        normal = np.stack([-gx[usable], -gy[usable], np.ones(len(face))], axis=1) / length[usable][:, None]
        # Dense regions of the mesh must not outvote the rest: each cell counts once.
        per_cell = np.bincount(row * columns + column, minlength=rows * columns)
        weight = template.weight[row, column] / per_cell[row * columns + column]
        weight = weight * (1 - (distance / gate) ** 2) ** 2
        jacobian = np.concatenate([np.cross(face, normal), normal], axis=1)
        normal_matrix = (jacobian * weight[:, None]).T @ jacobian
        # A faint pull to the current pose keeps the solve sound when the surface leaves a direction open.
        normal_matrix += np.diag([50.0, 50.0, 50.0, 0.02, 0.02, 0.02]) * weight.sum() / 1000
        update = np.linalg.solve(normal_matrix, -(jacobian * weight[:, None]).T @ distance)
        turn = _rotation_from_vector(update[:3])
        # face' = turn @ face + shift, written again as rotation @ (point - nose)
        rotation = turn @ rotation
        nose = nose - rotation.T @ update[3:]
    return RigidFit(rotation=rotation, nose_mm=nose, fit_share=share, residual_mm=residual_mm)


def _grown(hit: np.ndarray) -> np.ndarray:
    """Cells with a hit in their 3 x 3 neighbourhood: a sparse mesh has fewer vertices than the template has cells."""
    grown = hit.copy()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            grown |= np.roll(np.roll(hit, dy, 0), dx, 1)
    return grown


def _rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: the rotation about `vector` by its length in radians."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
