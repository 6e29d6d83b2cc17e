"""Remove what a scanner invents: spikes, floating scraps, points that nothing uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from smilevlm.errors import MeshError
from smilevlm.geometry.arrays import empty_arrays
from smilevlm.geometry.mesh import Mesh
from smilevlm.geometry.units import column_quantiles, sample_columns
from smilevlm.typing import Faces, Vertices

_MANY_COMPONENTS = 200
"""Head models have some dozens: teeth, eyes, lashes."""


def keep_faces(mesh: Mesh, keep: Bool[np.ndarray, " face"]) -> Mesh:
    """The mesh with only the chosen faces and the vertices they use; landmarks stay."""
    from smilevlm.geometry import kernels

    number = np.empty(mesh.num_vertices, np.int32)
    num_vertices, num_faces = kernels.renumber(mesh.faces, keep, number)
    if (num_vertices, num_faces) == (mesh.num_vertices, mesh.num_faces):
        return mesh
    num_textured = 0 if mesh.uv is None else num_faces
    faces, uv, vertices = empty_arrays(
        ((num_faces, 3), np.int32), ((num_textured, 3, 2), np.float32), ((num_vertices, 3), np.float32)
    )
    kernels.take_faces(mesh.faces, keep, number, faces)
    used = number >= 0
    _take_rows(mesh.vertices, used, vertices)
    if mesh.uv is not None:
        _take_rows(mesh.uv, keep, uv)
    return replace(
        mesh,
        vertices=vertices,
        faces=faces,
        uv=None if mesh.uv is None else uv,
        vertex_colors=None if mesh.vertex_colors is None else mesh.vertex_colors[used],
    )


def _take_rows(values: Float[np.ndarray, "row ..."], keep: Bool[np.ndarray, " row"], out: np.ndarray) -> None:
    """values[keep], into out."""
    from smilevlm.geometry import kernels

    kernels.take_rows(np.ascontiguousarray(values).ravel(), int(np.prod(values.shape[1:])), keep, out.ravel())


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

    highest = float(kernels.longest_edge(mesh.vertices, mesh.faces))
    if highest <= min_edge:
        return mesh, 0
    longest = np.empty(mesh.num_faces, np.float32)
    kernels.longest_edges(mesh.vertices, mesh.faces, longest)
    middle = len(longest) // 2
    # Half of the edges beyond this is cheaper to see than their median, and rules a spike out as well.
    if np.isfinite(highest) and np.count_nonzero(longest < highest / max_edge_ratio) <= middle:
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


def without_scraps(mesh: Mesh, *, min_share: float, near: float) -> tuple[Bool[np.ndarray, " vert"], int]:
    """Find floating scraps: components of few faces that also lie away from the surface.

    Face models keep eyeballs and teeth as small components of their own; they touch the face, scraps float.

    Args:
        mesh: Any unit.
        min_share: Components with at least this share of the largest one's faces stay.
        near: Smaller ones stay too when their centre, or their vertex nearest to or furthest from the middle of what
            stays, is this close to a vertex that stays: an eyeball's front is, where its centre is not.

    Returns:
        Which vertices stay, and the number of components that do not. Where some go, vertices without faces go too.

    A file may give every triangle, or every corner at a seam, a vertex of its own: where there are more than 200 small
    components, those that have a vertex in the same place are one.
    """
    everything = np.ones(mesh.num_vertices, bool)
    if mesh.is_point_cloud:
        return everything, 0
    from smilevlm.geometry import kernels

    labels = np.empty(mesh.num_vertices, np.int32)
    sizes = _faces_per_component(mesh, labels, kernels.label_components(mesh.faces, labels))
    if np.count_nonzero(sizes < min_share * sizes.max()) > _MANY_COMPONENTS:
        # Triangles with vertices of their own are no scraps where they touch.
        sizes = _faces_per_component(mesh, labels, kernels.join_coincident(mesh.vertices, labels, len(sizes)))
    stays = sizes >= min_share * sizes.max()
    doubtful = np.flatnonzero((sizes > 0) & ~stays)
    if len(doubtful) == 0:
        return everything, 0
    large = stays[labels]
    rows = np.full(len(sizes), -1, np.int32)
    rows[doubtful] = np.arange(len(doubtful), dtype=np.int32)
    places = np.empty((len(doubtful), 3, 3), np.float32)
    kernels.component_places(mesh.vertices, labels, rows, mesh.vertices[large].mean(axis=0), places)
    is_near = np.empty(len(doubtful), bool)
    kernels.any_near(mesh.vertices, large, places, near, is_near)
    stays[doubtful] = is_near
    removed = int(np.count_nonzero(~is_near))
    return (everything, 0) if removed == 0 else (stays[labels], removed)


def _faces_per_component(mesh: Mesh, labels: Int[np.ndarray, " vert"], num_components: int) -> Int[np.ndarray, " part"]:
    from smilevlm.geometry import kernels

    sizes = np.zeros(num_components, np.int64)
    kernels.faces_per_component(mesh.faces, labels, sizes)
    return sizes


def near_bulk(points: Vertices) -> Bool[np.ndarray, " vert"]:
    """Which points are not far outside the bulk of them, per axis by robust spread."""
    from smilevlm.geometry import kernels

    some = sample_columns(points)
    (middle,) = column_quantiles(some, 0.5)
    (spread,) = column_quantiles(np.abs(some - middle[:, None]), 0.9)
    keep = np.empty(len(points), bool)
    kernels.inside_box(points, middle, 4 * np.maximum(spread, np.float32(1e-12)), keep)
    return keep
