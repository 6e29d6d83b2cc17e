"""Holes of a surface: their rims, and triangles that close them from one side to the other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64

from smilevlm.geometry import component_labels
from smilevlm.typing import Faces, Vertices


def behind_opening(
    skin: Bool[np.ndarray, " vert"], behind: Bool[np.ndarray, " vert"], faces: Faces
) -> Bool[np.ndarray, " vert"]:
    """The skin that an opening leads to: a mouth's cavity, an eye's socket.

    Args:
        skin: Vertices of the skin, whose outside is its largest part.
        behind: Those that seem to lie behind the outside; steep places of the outside may be among them.
        faces: Triangles.

    Returns:
        The largest patch of `behind`, and what it alone joined to the rest.
    """
    if not behind.any():
        return behind
    patch = _largest_patch(behind, faces)
    labels = component_labels(faces[skin[faces].all(axis=1)], len(skin))
    joined = skin & (labels == labels[np.flatnonzero(patch)[0]])
    return joined & ~_largest_patch(joined & ~patch, faces)


def _largest_patch(mask: Bool[np.ndarray, " vert"], faces: Faces) -> Bool[np.ndarray, " vert"]:
    """The connected part of a region with the most vertices."""
    labels = component_labels(faces[mask[faces].all(axis=1)], len(mask))
    return mask & (labels == np.bincount(labels[mask]).argmax())


def rim_around(faces: Faces, vertices: Vertices, place_mm: Float64[np.ndarray, " 3"]) -> Int64[np.ndarray, " corner"]:
    """The vertices of the hole whose middle is nearest to a place, in order around it; empty without holes."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    known = set(map(tuple, edges.tolist()))
    following = {start: end for start, end in known if (end, start) not in known}
    rims = []
    while following:
        rim = [next(iter(following))]
        while (end := following.pop(rim[-1], rim[0])) != rim[0]:
            rim.append(end)
        rims.append(np.array(rim))
    distance = [np.linalg.norm(vertices[rim].mean(axis=0) - place_mm) for rim in rims]
    return rims[int(np.argmin(distance))] if rims else np.zeros(0, np.int64)


def close_across(rim: Int64[np.ndarray, " corner"], vertices: Vertices) -> Faces:
    """Triangles between the upper and the lower side of a hole, facing +z: lip to lip, lid to lid.

    Args:
        rim: Vertices around the hole, in either sense; its leftmost and rightmost are the corners.
        vertices: Face frame.
    """
    x = vertices[rim, 0]
    rim = np.roll(rim, -int(np.argmin(x)))
    corner = int(np.argmax(vertices[rim, 0]))
    one, other = rim[: corner + 1], np.append(rim[corner:], rim[0])[::-1]
    triangles, i, j = [], 0, 0
    while i < len(one) - 1 or j < len(other) - 1:
        along_one = j == len(other) - 1 or (i < len(one) - 1 and i / len(one) <= j / len(other))
        triangles.append((one[i], other[j], one[i + 1] if along_one else other[j + 1]))
        i, j = (i + 1, j) if along_one else (i, j + 1)
    found = np.array([each for each in triangles if len(set(each)) == 3], np.int32)
    corners = vertices[found]
    backward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] < 0
    found[backward] = found[backward][:, ::-1]
    return found
