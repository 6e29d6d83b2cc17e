"""The same surface with fewer or more vertices: cells that are merged, triangles that are divided."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from smilevlm.typing import Faces, Vertices

_BISECTIONS = 9
_SMALLEST_CELL_MM, _LARGEST_CELL_MM = 0.5, 40.0


def only_used(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Without vertices that no triangle has."""
    used, new = np.unique(faces, return_inverse=True)
    return vertices[used], new.reshape(faces.shape).astype(np.int32)


def merge_cells(vertices: Vertices, faces: Faces, cell_mm: float, *, growth: float = 0.0) -> tuple[Vertices, Faces]:
    """One vertex per occupied cell, the mean of those in it; triangles that collapse are gone.

    Args:
        vertices: Face frame.
        faces: Triangles.
        cell_mm: Side of the cells at the nose tip.
        growth: How much larger cells become per 100 mm from there, as a factor: artists spend triangles on the middle
            of the face.
    """
    owner, counts = _owners(vertices, cell_mm, growth)
    merged = np.stack([np.bincount(owner, weights=vertices[:, k]) / counts for k in range(3)], axis=1)
    new: Int32[np.ndarray, "face 3"] = owner[faces].astype(np.int32)
    distinct = (new[:, 0] != new[:, 1]) & (new[:, 1] != new[:, 2]) & (new[:, 2] != new[:, 0])
    return only_used(merged.astype(np.float32), new[distinct])


def simplify(vertices: Vertices, faces: Faces, num_vertices: int, *, growth: float) -> tuple[Vertices, Faces]:
    """The surface with at most so many vertices, by cells that grow away from the nose tip."""
    if len(vertices) <= num_vertices:
        return vertices, faces
    low, high = np.log(_SMALLEST_CELL_MM), np.log(_LARGEST_CELL_MM)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        _, counts = _owners(vertices, float(np.exp(middle)), growth)
        low, high = (low, middle) if len(counts) <= num_vertices else (middle, high)
    return merge_cells(vertices, faces, float(np.exp(high)), growth=growth)


def subdivide(vertices: Vertices, faces: Faces, max_vertices: int) -> tuple[Vertices, Faces]:
    """Triangles cut in four at the middles of their edges, those nearest to the nose tip first.

    The budget is kept; at the rim of what is divided, neighbours keep their long edge, as in meshes that were refined
    locally by hand.
    """
    distance = np.linalg.norm(vertices[faces].mean(axis=1), axis=1)
    order = np.argsort(distance, kind="stable")
    # A closed surface has three edges for every two triangles.
    chosen = np.zeros(len(faces), bool)
    chosen[order[: max(0, (max_vertices - len(vertices)) // 3 * 2)]] = True
    edges, (first, second, third) = _edge_numbers(faces[chosen])
    if len(vertices) + len(edges) > max_vertices:
        chosen[order[max(0, (max_vertices - len(vertices)) // 3) :]] = False
        edges, (first, second, third) = _edge_numbers(faces[chosen])
    middles: Float32[np.ndarray, "edge 3"] = vertices[edges].mean(axis=1).astype(np.float32)
    ab, bc, ca = (each + len(vertices) for each in (first, second, third))
    a, b, c = faces[chosen].T
    divided = [np.stack(each, axis=1) for each in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate([vertices, middles]), np.concatenate([faces[~chosen], *divided]).astype(np.int32)


def _owners(vertices: Vertices, cell_mm: float, growth: float) -> tuple[np.ndarray, np.ndarray]:
    """Number of each vertex' cell, and how many vertices every cell holds."""
    places = vertices.astype(np.float64)
    if growth > 0:
        distance = np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-9)
        # Radii are compressed so that a cell of constant size there is one that grows linearly here.
        places = places / distance * (100 / growth) * np.log1p(distance * growth / 100)
    cells = np.floor(places / cell_mm).astype(np.int64)
    cells -= cells.min(axis=0)
    wide, high = int(cells[:, 0].max()) + 1, int(cells[:, 1].max()) + 1
    key = (cells[:, 2] * high + cells[:, 1]) * wide + cells[:, 0]
    _, owner, counts = np.unique(key, return_inverse=True, return_counts=True)
    return owner.reshape(-1), counts


def _edge_numbers(faces: Faces) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Edges as pairs of vertices, and which one each side (ab, bc, ca) of each triangle is."""
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1).astype(np.int64)
    span = int(sides.max(initial=0)) + 1
    keys, number = np.unique(sides[:, 0] * span + sides[:, 1], return_inverse=True)
    first, second, third = number.reshape(3, -1)
    return np.stack([keys // span, keys % span], axis=1), (first, second, third)
