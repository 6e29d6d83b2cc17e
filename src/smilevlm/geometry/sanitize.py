"""The one policy for vertices that hold no measurement: not finite, or a value that stands for "nothing seen"."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32

from smilevlm.errors import MeshError
from smilevlm.geometry.arrays import finite_rows
from smilevlm.geometry.clean import keep_points
from smilevlm.geometry.mesh import Mesh
from smilevlm.typing import Vertices

MAX_INVALID_POINT_SHARE = 0.95
"""Of the points of a cloud; a range camera sees nothing in most of its pixels."""
MAX_LOST_FACE_SHARE = 0.5
"""Of the triangles of a mesh that may go with their vertices."""

_LEAST_REPEATS, _LEAST_REPEATED_SHARE = 16, 0.005
"""So many vertices, and so great a share of them, must hold one value for it to be a placeholder."""
_NUM_SAMPLED = 1000
_MAX_PLACEHOLDERS = 4
_FAR = 5.0
"""A placeholder lies this many extents of the other vertices away from them."""


def drop_invalid_vertices(mesh: Mesh) -> Mesh:
    """The mesh without invalid vertices and the faces that use them, with a remark.

    Invalid is a vertex with a coordinate that is nan, infinite or too large for float32; and one that holds a
    placeholder of the scanner: a coordinate that repeats exactly in many vertices (16 and 0.5 % at least) and lies
    further than five extents of the others from them, such as -9999; or, in a point cloud, a whole position that
    repeats so, such as 0 0 0.

    Raises:
        MeshError: All vertices are invalid, or more than 95 % of the points of a cloud; or more than half of the
            faces would be lost.
    """
    is_finite = np.isfinite(mesh.vertices)
    # The rule by far is that all are: reducing rows of three costs more than all else here.
    valid = np.ones(mesh.num_vertices, bool)
    if not is_finite.all():
        valid &= is_finite.all(axis=1)
    placeholder = _placeholders(mesh)
    if placeholder is not None:
        valid &= ~placeholder
    num_invalid = int(np.count_nonzero(~valid))
    if num_invalid == 0:
        return mesh
    found = f"{num_invalid} of {mesh.num_vertices} {'points' if mesh.is_point_cloud else 'vertices'} are not finite"
    if placeholder is not None:
        found += " or hold a placeholder for missing data"
    if num_invalid == mesh.num_vertices:
        raise MeshError(found)
    if mesh.is_point_cloud and num_invalid > MAX_INVALID_POINT_SHARE * mesh.num_vertices:
        raise MeshError(f"{found}; up to {MAX_INVALID_POINT_SHARE:.0%} may be")
    kept = _keep(mesh, valid)
    num_lost = mesh.num_faces - kept.num_faces
    if num_lost > MAX_LOST_FACE_SHARE * mesh.num_faces:
        raise MeshError(
            f"{found}, and {num_lost} of {mesh.num_faces} faces use them; up to {MAX_LOST_FACE_SHARE:.0%} may"
        )
    lost = f", with {num_lost} of {mesh.num_faces} faces" if num_lost else ""
    return replace(kept, remarks=(*mesh.remarks, f"{found}; left out{lost}"))


def _keep(mesh: Mesh, valid: Bool[np.ndarray, " vert"]) -> Mesh:
    """Like `keep_points`; the vertices that no face uses stay, as far as they are valid."""
    if mesh.is_point_cloud:
        return keep_points(mesh, valid)
    number = np.cumsum(valid, dtype=np.int32) - np.int32(1)
    whole = valid[mesh.faces].all(axis=1)
    return replace(
        mesh,
        vertices=mesh.vertices[valid],
        faces=number[mesh.faces[whole]],
        uv=None if mesh.uv is None else mesh.uv[whole],
        vertex_colors=None if mesh.vertex_colors is None else mesh.vertex_colors[valid],
    )


def _placeholders(mesh: Mesh) -> Bool[np.ndarray, " vert"] | None:
    """Which vertices hold a placeholder; None when none does. Whether one is possible is seen from a sample."""
    vertices = mesh.vertices
    some = finite_rows(vertices[:: max(1, len(vertices) // _NUM_SAMPLED)])
    found = []
    if len(some) >= _LEAST_REPEATS:
        ordered = np.sort(some, axis=0)
        found = [vertices[:, axis] == value for axis in range(3) for value in _far_repeated(ordered[:, axis])]
    if mesh.is_point_cloud:
        found += _repeated_positions(vertices, some)
    if not found:
        return None
    placeholder = np.logical_or.reduce(found)
    # A value that stands for missing data is missing beside others: a cloud of one point alone is something else.
    return placeholder if _LEAST_REPEATS <= np.count_nonzero(placeholder) < len(vertices) else None


def _far_repeated(ordered: Float32[np.ndarray, " value"]) -> list[np.float32]:
    """Values at the low and the high end that repeat and lie far from the others."""
    # The sample may hold few vertices: the least number is required of all vertices in the end.
    repeats = int(max(4, _LEAST_REPEATED_SHARE * len(ordered)))
    found: list[np.float32] = []
    while len(ordered) >= repeats and len(found) < _MAX_PLACEHOLDERS:
        value = next((value for value in _repeated_ends(ordered, repeats) if _is_far(value, ordered)), None)
        if value is None:
            break
        found.append(value)
        ordered = ordered[ordered != value]
    return found


def _repeated_ends(ordered: Float32[np.ndarray, " value"], repeats: int) -> list[np.float32]:
    """The lowest value and the highest where they repeat, the one further from the middle first."""
    ends = [ordered[end] for end, within in ((0, repeats - 1), (-1, -repeats)) if ordered[end] == ordered[within]]
    return sorted(ends, key=lambda value: -abs(float(value) - float(ordered[len(ordered) // 2])))


def _is_far(value: np.float32, ordered: Float32[np.ndarray, " value"]) -> bool:
    others = ordered[ordered != value].astype(np.float64)
    if len(others) == 0:
        return False
    low, high = others[int(0.02 * len(others))], others[int(0.98 * (len(others) - 1))]
    return bool(max(low - float(value), float(value) - high) > _FAR * (high - low) > 0)


def _repeated_positions(points: Vertices, some: Float32[np.ndarray, "sample 3"]) -> list[Bool[np.ndarray, " vert"]]:
    """Where a cloud holds one and the same position again and again: one that a sample holds twice."""
    least = int(max(_LEAST_REPEATS, _LEAST_REPEATED_SHARE * len(points)))
    positions, counts = np.unique(some, axis=0, return_counts=True)
    # Many such positions are no placeholders, but a cloud whose points are all written several times.
    candidates = positions[counts > 1][np.argsort(-counts[counts > 1])][:_MAX_PLACEHOLDERS]
    found = [(points == position).all(axis=1) for position in candidates]
    return [where for where in found if np.count_nonzero(where) >= least]
