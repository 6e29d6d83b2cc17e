"""Points spread over a surface, always the same ones for the same mesh."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from smilevlm.geometry.clean import near_bulk
from smilevlm.geometry.mesh import Mesh
from smilevlm.typing import Vertices

_MOST_FACES = 200_000
"""Of a finer mesh only every so many-th triangle is looked at."""
_PLASTIC = 1.32471795724474602596
"""Its powers give the most even sequence of points in a square (Roberts' R2)."""


def surface_points(mesh: Mesh, keep: Bool[np.ndarray, " mesh_vert"], max_points: int) -> Vertices:
    """About `max_points` of the kept vertices; where those are few, the middles of the triangles as well."""
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


def even_points(mesh: Mesh, keep: Bool[np.ndarray, " mesh_vert"], count: int) -> Vertices:
    """`count` points over the kept surface, as many on equal areas, however coarse or uneven the triangles are.

    A point cloud gives its own points instead, evenly over the list.
    """
    if mesh.is_point_cloud:
        rows = np.flatnonzero(near_bulk(mesh.vertices) & keep)
        if len(rows) > count:
            # One at an uneven place of each stretch: depth cameras store rows, of which even steps may hit few columns.
            index = np.arange(count)
            rows = rows[((index + (index / _PLASTIC) % 1) * (len(rows) / count)).astype(np.int64)]
        return mesh.vertices[rows]
    from smilevlm.geometry import kernels

    step = max(1, mesh.num_faces // _MOST_FACES)
    triangles, area = np.empty(-(-mesh.num_faces // step), np.int32), np.empty(-(-mesh.num_faces // step), np.float64)
    number = kernels.cumulated_areas(mesh.vertices, mesh.faces, step, keep, triangles, area)
    if number == 0 or not area[number - 1] > 0:
        return mesh.vertices[keep][:count]
    points = np.empty((count, 3), np.float32)
    kernels.points_on_triangles(mesh.vertices, mesh.faces, triangles[:number], area[:number], _PLASTIC, points)
    # A few triangles far away would make every height map of the search huge.
    return points[near_bulk(points)]
