"""Remove what a scanner invents: spikes, floating scraps, points that nothing uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from smilevlm.errors import MeshError
from smilevlm.geometry.mesh import Mesh
from smilevlm.typing import Faces, Vertices


def keep_faces(mesh: Mesh, keep: Bool[np.ndarray, " face"]) -> Mesh:
    """The mesh with only the chosen faces and the vertices they use; landmarks stay."""
    from smilevlm.geometry import kernels

    number = np.empty(mesh.num_vertices, np.int32)
    num_vertices, num_faces = kernels.renumber(mesh.faces, keep, number)
    if (num_vertices, num_faces) == (mesh.num_vertices, mesh.num_faces):
        return mesh
    faces = np.empty((num_faces, 3), np.int32)
    kernels.take_faces(mesh.faces, keep, number, faces)
    used = number >= 0
    return replace(
        mesh,
        vertices=_rows(mesh.vertices, used, num_vertices),
        faces=faces,
        uv=None if mesh.uv is None else _rows(mesh.uv.reshape(-1, 6), keep, num_faces).reshape(-1, 3, 2),
        vertex_colors=None if mesh.vertex_colors is None else mesh.vertex_colors[used],
    )


def _rows(
    values: Float[np.ndarray, "row column"], keep: Bool[np.ndarray, " row"], count: int
) -> Float[np.ndarray, "kept column"]:
    """values[keep], of which there are `count`."""
    from smilevlm.geometry import kernels

    result = np.empty((count, values.shape[1]), values.dtype)
    kernels.take_rows(values, keep, result)
    return result


def keep_points(mesh: Mesh, keep: Bool[np.ndarray, " vert"]) -> Mesh:
    """The mesh without the other vertices and without every face that used one of them."""
    if keep.all():
        return mesh
    if not mesh.is_point_cloud:
        from smilevlm.geometry import kernels

        whole = np.empty(mesh.num_faces, bool)
        kernels.faces_within(mesh.faces, keep, whole)
        return keep_faces(mesh, whole)
    colors = None if mesh.vertex_colors is None else mesh.vertex_colors[keep]
    return replace(mesh, vertices=mesh.vertices[keep], vertex_colors=colors)


def drop_spikes(mesh: Mesh, *, max_edge_ratio: float, min_edge: float) -> tuple[Mesh, int]:
    """Remove faces with an edge far longer than usual, as a single wrong depth value draws them.

    Args:
        mesh: Any unit.
        max_edge_ratio: Longest edge allowed, as a multiple of the median longest edge.
        min_edge: Edges shorter than this are never spikes, so that coarse regions of a model survive.

    Returns:
        The mesh and the number of faces removed.
    """
    if mesh.is_point_cloud:
        return mesh, 0
    from smilevlm.geometry import kernels

    longest = np.empty(mesh.num_faces, np.float32)
    kernels.longest_edges(mesh.vertices, mesh.faces, longest)
    middle, highest = len(longest) // 2, float(longest.max())
    if np.isfinite(highest):
        # Half of the edges beyond this is cheaper to see than their median, and rules a spike out as well.
        num_far_shorter = np.count_nonzero(longest < highest / max_edge_ratio)
        if highest <= min_edge or num_far_shorter <= middle:
            return mesh, 0
    limit = max(float(np.partition(longest, middle)[middle]) * max_edge_ratio, min_edge)
    keep = (longest <= limit) & np.isfinite(longest)
    if keep.all():
        return mesh, 0
    if not keep.any():
        raise MeshError("every face has a degenerate or infinite edge")
    return keep_faces(mesh, keep), int((~keep).sum())


def component_labels(faces: Faces, num_vertices: int) -> Int[np.ndarray, " vert"]:
    """A component number per vertex; vertices without faces are components of their own."""
    from smilevlm.geometry import kernels

    labels = np.empty(num_vertices, np.int32)
    kernels.label_components(faces, labels)
    return labels


def drop_small_components(mesh: Mesh, *, min_share: float, near: float) -> tuple[Mesh, int]:
    """Remove scraps: components of few faces that also lie away from the surface.

    Face models keep eyeballs and teeth as small components of their own; they touch the face, scraps float.

    Args:
        mesh: Any unit.
        min_share: Components with at least this share of the largest one's faces stay.
        near: Smaller ones stay too when their centre is this close to a vertex that stays.

    Returns:
        The mesh and the number of components removed.
    """
    if mesh.is_point_cloud:
        return mesh, 0
    from smilevlm.geometry import kernels

    labels = component_labels(mesh.faces, mesh.num_vertices)
    sizes = np.zeros(int(labels.max()) + 1, np.int64)
    kernels.faces_per_component(mesh.faces, labels, sizes)
    stays = sizes >= min_share * sizes.max()
    doubtful = np.flatnonzero((sizes > 0) & ~stays)
    if len(doubtful) == 0:
        return mesh, 0
    large = stays.copy()
    for label in doubtful:
        centre = mesh.vertices[labels == label].mean(axis=0)
        stays[label] = kernels.any_near(mesh.vertices, labels, large, centre, near)
    removed = int((sizes[~stays] > 0).sum())
    if removed == 0:
        return mesh, 0
    keep = np.empty(mesh.num_faces, bool)
    kernels.faces_of_components(mesh.faces, labels, stays, keep)
    return keep_faces(mesh, keep), removed


def drop_stray_points(points: Vertices) -> Bool[np.ndarray, " vert"]:
    """Which points of a cloud are not far outside the bulk of it, per axis by robust spread."""
    columns = np.ascontiguousarray(points.T)  # order statistics of a column are far slower across rows
    away = np.abs(columns - np.median(columns, axis=1, keepdims=True))
    spread = np.percentile(away, 90, axis=1, keepdims=True)
    return np.asarray((away <= 4 * np.maximum(spread, 1e-12)).all(axis=0))
