"""Remove what a scanner invents: spikes, floating scraps, points that nothing uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int
from scipy import sparse
from scipy.sparse import csgraph

from smilevlm.errors import MeshError
from smilevlm.geometry.mesh import Mesh
from smilevlm.typing import Faces, Vertices


def keep_faces(mesh: Mesh, keep: Bool[np.ndarray, " face"]) -> Mesh:
    """The mesh with only the chosen faces and the vertices they use; landmarks stay."""
    faces = mesh.faces[keep]
    used = np.zeros(mesh.num_vertices, bool)
    used[faces] = True
    renumber = np.cumsum(used, dtype=np.int32) - 1
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=renumber[faces].astype(np.int32),
        uv=None if mesh.uv is None else mesh.uv[keep],
        vertex_colors=None if mesh.vertex_colors is None else mesh.vertex_colors[used],
    )


def keep_points(mesh: Mesh, keep: Bool[np.ndarray, " vert"]) -> Mesh:
    """The mesh without the other vertices and without every face that used one of them."""
    if keep.all():
        return mesh
    if not mesh.is_point_cloud:
        return keep_faces(mesh, np.asarray(keep[mesh.faces].all(axis=1)))
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
    corners = mesh.vertices[mesh.faces]
    longest = np.sqrt(((corners - np.roll(corners, 1, axis=1)) ** 2).sum(axis=2).max(axis=1))
    limit = max(float(np.median(longest)) * max_edge_ratio, min_edge)
    keep = (longest <= limit) & np.isfinite(longest)
    if keep.all():
        return mesh, 0
    if not keep.any():
        raise MeshError("every face has a degenerate or infinite edge")
    return keep_faces(mesh, keep), int((~keep).sum())


def component_labels(faces: Faces, num_vertices: int) -> Int[np.ndarray, " vert"]:
    """A component number per vertex; vertices without faces are components of their own."""
    rows = np.concatenate([faces[:, 0], faces[:, 1]])
    columns = np.concatenate([faces[:, 1], faces[:, 2]])
    links = sparse.coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(num_vertices, num_vertices))
    return csgraph.connected_components(links, directed=False)[1]


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
    labels = component_labels(mesh.faces, mesh.num_vertices)
    face_labels = labels[mesh.faces[:, 0]]
    sizes = np.bincount(face_labels, minlength=int(labels.max()) + 1)
    stays = sizes >= min_share * sizes.max()
    doubtful = np.flatnonzero((sizes > 0) & ~stays)
    if len(doubtful) == 0:
        return mesh, 0
    surface = mesh.vertices[stays[labels]]
    for label in doubtful:
        centre = mesh.vertices[labels == label].mean(axis=0)
        if ((surface - centre) ** 2).sum(axis=1).min() <= near * near:
            stays[label] = True
    keep = stays[face_labels]
    removed = int((sizes[~stays] > 0).sum())
    return (keep_faces(mesh, keep), removed) if removed else (mesh, 0)


def drop_stray_points(points: Vertices) -> Bool[np.ndarray, " vert"]:
    """Which points of a cloud are not far outside the bulk of it, per axis by robust spread."""
    median = np.median(points, axis=0)
    spread = np.percentile(np.abs(points - median), 90, axis=0)
    return np.asarray((np.abs(points - median) <= 4 * np.maximum(spread, 1e-12)).all(axis=1))
