"""The readers' one policy for elements that cannot be used: dropped with a remark, refused above a stated share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.geometry.sanitize import drop_invalid_vertices
from smilevlm.readers._status import NO_TEXTURE
from smilevlm.typing import CornerUv, Faces, RgbImage

MAX_BAD_FACE_SHARE = 0.1
"""Of the faces of a file that may name vertices that are not there; more than that, and it is not what it says."""
MAX_CUT_SHARE = 0.1
"""Of the last element's rows (faces, or the points of a cloud) that may be missing where a file was cut."""


def usable_mesh(
    path: Path,
    vertices: Float[np.ndarray, "vert 3"],
    *,
    faces: Faces | None = None,
    uv: CornerUv | None = None,
    texture: RgbImage | None = None,
    vertex_colors: UInt8[np.ndarray, "vert 3"] | None = None,
    remarks: Iterable[str] = (),
) -> Mesh:
    """What a reader found in a file as a mesh without the elements that cannot be used.

    Invalid vertices go with the faces that use them, see `drop_invalid_vertices`; far coordinates become relative to an
    origin, see `Mesh.origin`.

    Args:
        path: The file, for messages.
        vertices: As written; in float64 where the format has it.
        faces: Triangles that name vertices which are there; None for a point cloud.
        uv: Texture coordinates per corner.
        texture: The texture image.
        vertex_colors: RGB per vertex.
        remarks: What the reader left out.

    Raises:
        MeshError: There is no vertex, or more elements are unusable than the policy allows.
    """
    if not len(vertices):
        raise MeshError("no vertices, expected at least one", path=path)
    try:
        mesh = Mesh(
            vertices=vertices,
            faces=np.zeros((0, 3), np.int32) if faces is None else faces,
            uv=uv,
            texture=texture,
            vertex_colors=vertex_colors,
            remarks=tuple(remarks),
        )
        return drop_invalid_vertices(mesh)
    except MeshError as error:
        raise MeshError(error.message, path=path) from None


def is_slightly_cut(announced: int, present: int) -> bool:
    """Whether a file that ends too early has so many rows of its last element that it is read without the rest."""
    return 0 < present < announced <= present + MAX_CUT_SHARE * announced


def bad_indices(corners: Int32[np.ndarray, " corner"], num_vertices: int) -> Bool[np.ndarray, " corner"]:
    """Which of the indices of faces separated by -1 name a vertex that is not there."""
    return (corners >= num_vertices) | (corners < -1)


def first_bad_index(corners: Int32[np.ndarray, " corner"], num_vertices: int) -> int:
    """The ordinal of the first index that names a vertex that is not there."""
    return int(bad_indices(corners, num_vertices).argmax())


def without_bad_indices(
    corners: Int32[np.ndarray, " corner"],
    texture_corners: Int32[np.ndarray, " texture_corner"],
    num_vertices: int,
    num_points: int,
    vertices: Float[np.ndarray, "vert 3"] | None = None,
) -> tuple[Int32[np.ndarray, " kept"], Int32[np.ndarray, " kept_texture"], tuple[str, ...]] | None:
    """Faces separated by -1 without those that name a vertex that is not there, and with sound texture indices.

    Faces whose indices run from 1 to the number of vertices are counted from 0, where that makes shorter edges.

    Args:
        corners: Vertex indices.
        texture_corners: Texture indices parallel to `corners`; empty for a mesh without texture coordinates.
        num_vertices: How many vertices there are to name.
        num_points: How many texture coordinates there are to name.
        vertices: Where the vertices are; None where the format's indices cannot count from 1 by mistake.

    Returns:
        Corners, texture corners (empty where they do not follow the faces), and remarks. None where more than
        `MAX_BAD_FACE_SHARE` of the faces are bad.
    """
    texture_corners, remarks = _following(corners, texture_corners)
    bad = bad_indices(corners, num_vertices)
    if vertices is not None and bad.any() and _counts_from_one(corners, vertices):
        remarks.append("the faces count vertices from 1; read so")
        from_zero = np.where(corners > 0, corners - 1, corners).astype(np.int32)
        texture_corners = from_zero if np.array_equal(texture_corners, corners) else texture_corners
        corners = from_zero
    elif bad.any():
        is_bad, face = _bad_faces(corners, bad)
        num_faces, num_bad = len(is_bad), int(np.count_nonzero(is_bad))
        if num_bad > MAX_BAD_FACE_SHARE * num_faces:
            return None
        remarks.append(f"{num_bad} of {num_faces} faces name vertices that are not there; left out")
        kept = ~is_bad[face]
        corners, texture_corners = corners[kept], texture_corners[kept] if len(texture_corners) else texture_corners
    missing = texture_corners >= num_points
    if missing.any():
        remarks.append(
            f"{np.count_nonzero(missing)} corners of faces name texture coordinates that are not there; left out"
        )
        texture_corners = np.where(missing, np.int32(NO_TEXTURE), texture_corners)
    return corners, texture_corners, tuple(remarks)


def _bad_faces(
    corners: Int32[np.ndarray, " corner"], bad: Bool[np.ndarray, " corner"]
) -> tuple[Bool[np.ndarray, " face"], Int64[np.ndarray, " corner"]]:
    """Which faces have a bad index, and the number of the face that each index or its end is of."""
    face = np.cumsum(corners == -1) - (corners == -1)
    is_bad = np.zeros(int(face[-1]) + 1, bool)
    is_bad[face[bad]] = True
    return is_bad, face


def _counts_from_one(corners: Int32[np.ndarray, " corner"], vertices: Float[np.ndarray, "vert 3"]) -> bool:
    named = corners[corners != -1]
    if named.min() != 1 or named.max() != len(vertices):
        return False
    from_zero = np.where(corners > 0, corners - 1, corners).astype(np.int32)
    return is_better_reading(from_zero, corners, vertices)


def is_better_reading(
    shifted: Int32[np.ndarray, " corner"], corners: Int32[np.ndarray, " corner"], vertices: Float[np.ndarray, "vert 3"]
) -> bool:
    """Whether faces are meant that name other vertices by one: few of those written can be kept, or the edges tell."""
    is_bad, _ = _bad_faces(corners, bad_indices(corners, len(vertices)))
    if is_bad.sum() > MAX_BAD_FACE_SHARE * len(is_bad):
        return True
    return mean_edge(shifted, vertices) < mean_edge(corners, vertices)


def mean_edge(corners: Int32[np.ndarray, " corner"], vertices: Float[np.ndarray, "vert 3"]) -> float:
    """The mean length of the edges between the corners of faces separated by -1, the longest ones shortened.

    Indices that are off by one join vertices that are no neighbours: of two readings the right one has shorter edges.
    """
    first, second = corners[:-1], corners[1:]
    there = (first >= 0) & (second >= 0) & (first < len(vertices)) & (second < len(vertices))
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vertices[first[there]] - vertices[second[there]], axis=1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.minimum(lengths, 10 * np.median(lengths)).mean()) if len(lengths) else np.inf


def _following(
    corners: Int32[np.ndarray, " corner"], texture_corners: Int32[np.ndarray, " texture_corner"]
) -> tuple[Int32[np.ndarray, " following"], list[str]]:
    """Texture indices cut to one for each index of a face; none where they do not follow the faces."""
    if not len(texture_corners):
        return texture_corners, []
    if len(texture_corners) == len(corners) - 1 and corners[-1] == -1:
        texture_corners = np.append(texture_corners, np.int32(-1))
    fits = len(texture_corners) >= len(corners)
    texture_corners = texture_corners[: len(corners)]
    if fits and ((texture_corners == -1) == (corners == -1)).all():
        return texture_corners, []
    return np.zeros(0, np.int32), ["texture indices do not follow the faces; texture coordinates left out"]
