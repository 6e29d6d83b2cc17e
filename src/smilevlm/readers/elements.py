"""From what a reader found to a mesh: polygons are cut into triangles, elements that cannot be used are dropped.

One policy for all formats: what is unusable is left out with a remark, and refused above a stated share.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64, Shaped, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.geometry.arrays import empty_arrays
from smilevlm.geometry.sanitize import drop_invalid_vertices
from smilevlm.readers._source import ITEM_BYTES, Source
from smilevlm.readers._status import DONE, NO_TEXTURE
from smilevlm.typing import CornerUv, Faces, RgbImage

MAX_BAD_FACE_SHARE = 0.1
"""Of the faces of a file that may name vertices that are not there; more than that, and it is not what it says."""
MAX_CUT_SHARE = 0.1
"""Of the last element's rows (faces, or the points of a cloud) that may be missing where a file was cut."""
BLANK_COLOR = 204
"""Grey of vertices that have no colour among others that do: VRML's default of 0.8."""


@dataclass(frozen=True, kw_only=True)
class Triangles:
    """What polygons become: vertex indices, texture coordinates per corner or None, and what was left out."""

    faces: Faces
    uv: CornerUv | None = None
    remarks: tuple[str, ...] = ()


NO_TRIANGLES = Triangles(faces=np.zeros((0, 3), np.int32))
"""Of a point cloud."""


def usable_mesh(
    path: Path,
    vertices: Float[np.ndarray, "vert 3"],
    triangles: Triangles = NO_TRIANGLES,
    *,
    texture: RgbImage | None = None,
    vertex_colors: UInt8[np.ndarray, "vert 3"] | None = None,
    remarks: Iterable[str] = (),
) -> Mesh:
    """What a reader found in a file as a mesh without the elements that cannot be used.

    Invalid vertices go with the faces that use them, see `drop_invalid_vertices`; far coordinates become relative to an
    origin, see `Mesh.origin`. The vertices are given as written, in float64 where the format has it.
    """
    if not len(vertices):
        raise MeshError("no vertices, expected at least one", path=path)
    try:
        mesh = Mesh(
            vertices=vertices,
            faces=triangles.faces,
            uv=triangles.uv,
            texture=texture,
            vertex_colors=vertex_colors,
            remarks=(*remarks, *triangles.remarks),
        )
        return drop_invalid_vertices(mesh)
    except MeshError as error:
        raise MeshError(error.message, path=path) from None


def is_slightly_cut(announced: int, present: int) -> bool:
    """Whether a file that ends too early has so many rows of its last element that it is read without the rest."""
    return 0 < present < announced <= present + MAX_CUT_SHARE * announced


def cut_remark(announced: int, present: int, what: str) -> str:
    """The remark on a file that is read although rows of its last element are missing."""
    return f"the file is cut: {announced - present} of {announced} {what} are missing"


def cut_into_triangles(
    source: Source,
    corners: Int32[np.ndarray, " corner"],
    num_vertices: int,
    *,
    bad_index: Callable[[int], MeshError],
    texture_corners: Int32[np.ndarray, " texture_corner"] | None = None,
    texture_points: Float[np.ndarray, "point 2"] | None = None,
    flipped: bool = False,
    vertices: Float[np.ndarray, "vert 3"] | None = None,
) -> Triangles:
    """Cut faces separated by -1 into fans, dropping triangles that name a vertex twice.

    Faces that name a vertex that is not there are left out with a remark, up to `MAX_BAD_FACE_SHARE` of them. Texture
    coordinates never cost a face: corners whose texture index names nothing have none, and without corner-by-corner
    agreement the mesh has none.

    Args:
        source: The file, whose size bounds the memory.
        corners: Vertex indices; faces of fewer than three are dropped.
        num_vertices: How many there are to name.
        bad_index: The error where more faces name missing vertices, from the ordinal of the first such index
            (separators counted).
        texture_corners: Parallel to `corners`: rows of `texture_points`, -2 for a corner without texture.
        texture_points: (u, v), or None for a mesh without texture coordinates.
        flipped: The faces are written clockwise.
        vertices: Their positions, for formats that count from 0, to recognise indices that count from 1.
    """
    from smilevlm.readers._kernels_faces import count_triangles, fill_triangles

    if texture_points is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            texture_points = np.ascontiguousarray(texture_points, np.float32)
    if not flipped and (texture_points is None or texture_corners is corners):
        plain = _plain_triangles(source, corners, num_vertices, texture_points)
        if plain is not None:
            return _with_finite_uv(plain, texture_points)
    if texture_corners is None or texture_points is None or not len(corners):
        texture_corners, texture_points = np.zeros(0, np.int32), np.zeros((0, 2), np.float32)
    elif len(texture_corners) == 0:  # to the kernel an empty list says that there is no texture at all
        texture_corners = np.full(1, -1, np.int32)
    remarks: tuple[str, ...] = ()
    count, status, _ = count_triangles(corners, texture_corners, num_vertices, len(texture_points))
    if status != DONE:
        repaired = without_bad_indices(corners, texture_corners, num_vertices, len(texture_points), vertices)
        if repaired is None:
            raise bad_index(int(bad_indices(corners, num_vertices).argmax()))
        corners, texture_corners, remarks = repaired
        count, status, ordinal = count_triangles(corners, texture_corners, num_vertices, len(texture_points))
        assert status == DONE, ordinal
    has_texture = len(texture_corners) > 0
    source.require_memory((count + 2 * count * has_texture) * 3 * ITEM_BYTES)
    faces = np.empty((count, 3), np.int32)
    uv = np.empty((count if has_texture else 0, 3, 2), np.float32)
    fill_triangles(corners, texture_corners, texture_points, faces, uv, flipped)
    return _with_finite_uv(Triangles(faces=faces, uv=uv if has_texture else None, remarks=remarks), texture_points)


def _with_finite_uv(triangles: Triangles, points: Float32[np.ndarray, "point 2"] | None) -> Triangles:
    """Corners whose texture coordinates are not finite have none: they become (0, 0)."""
    uv = triangles.uv
    # There are six times fewer points than corners.
    if uv is None or points is None or np.isfinite(points).all() or np.isfinite(uv).all():
        return triangles
    bad = ~np.isfinite(uv).all(axis=2)
    uv[bad] = 0
    remark = f"{np.count_nonzero(bad)} corners of faces have texture coordinates that are not finite; left out"
    return replace(triangles, remarks=(*triangles.remarks, remark))


def _plain_triangles(
    source: Source,
    corners: Int32[np.ndarray, " corner"],
    num_vertices: int,
    points: Float32[np.ndarray, "point 2"] | None,
) -> Triangles | None:
    """The short way for a list of nothing but proper triangles, or None."""
    from smilevlm.readers._kernels_faces import plain_triangles

    if len(corners) == 0 or len(corners) % 4:
        return None
    num_faces = len(corners) // 4
    num_textured = 0 if points is None else num_faces
    source.require_memory((num_faces + 2 * num_textured) * 3 * ITEM_BYTES)
    faces, uv = empty_arrays(((num_faces, 3), np.int32), ((num_textured, 3, 2), np.float32))
    known = np.zeros((0, 2), np.float32) if points is None else points
    if not plain_triangles(corners, num_vertices, known, faces, uv):
        return None
    return Triangles(faces=faces, uv=None if points is None else uv)


def separated(rows: Shaped[np.ndarray, "face size"]) -> Int32[np.ndarray, " corner"]:
    """Faces of one size as a list in which each ends with -1."""
    listed = np.full((len(rows), rows.shape[1] + 1), -1, np.int32)
    listed[:, :-1] = rows
    return listed.ravel()


def strip_triangles(
    strips: Int32[np.ndarray, " corner"], odd_order: list[int]
) -> Int32[np.ndarray, " triangle_corner"]:
    """The triangles of strips separated by -1, each ended by -1; every second one is turned into `odd_order`."""
    if len(strips) < 3:
        return np.zeros(0, np.int32)
    ordinals = np.arange(len(strips), dtype=np.int32)
    within = (ordinals - np.maximum.accumulate(np.where(strips == -1, ordinals + 1, 0)))[2:]
    corners = np.stack([strips[:-2], strips[1:-1], strips[2:]], axis=1)
    corners = np.where((within % 2 == 1)[:, None], corners[:, odd_order], corners)
    return separated(corners[(within >= 2) & (strips[2:] != -1)])


def color_bytes(colors: Float[np.ndarray, "vert 3"], scale: float | None = 255.0) -> UInt8[np.ndarray, "vert 3"]:
    """Colours times `scale`, rounded, clipped to 0..255; grey for one that is not finite.

    Without a scale they run to 1, or to 255 where one is larger than 1.
    """
    if scale is None:
        scale = 255.0 if np.nanmax(colors, initial=0) <= 1.0 else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip(np.rint(colors.astype(np.float32) * np.float32(scale)), 0, 255)
    return np.where(np.isfinite(scaled), scaled, BLANK_COLOR).astype(np.uint8)


def bad_indices(corners: Int32[np.ndarray, " corner"], num_vertices: int) -> Bool[np.ndarray, " corner"]:
    """Which of the indices of faces separated by -1 name a vertex that is not there."""
    return (corners >= num_vertices) | (corners < -1)


def without_bad_indices(
    corners: Int32[np.ndarray, " corner"],
    texture_corners: Int32[np.ndarray, " texture_corner"],
    num_vertices: int,
    num_points: int,
    vertices: Float[np.ndarray, "vert 3"] | None = None,
) -> tuple[Int32[np.ndarray, " kept"], Int32[np.ndarray, " kept_texture"], tuple[str, ...]] | None:
    """Faces separated by -1 without those that name a vertex that is not there, and with sound texture indices.

    With `vertices` given, faces whose indices run from 1 to the number of vertices are counted from 0, where that makes
    shorter edges. Texture indices run parallel to the corners; they are empty for a mesh without texture coordinates
    and where they do not follow the faces. None where more than `MAX_BAD_FACE_SHARE` of the faces are bad.
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
    """Whether indices shifted by one are meant: too few faces can be kept as written, or the edges become shorter."""
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


def merge_positions(
    vertices: Float32[np.ndarray, "vert 3"],
) -> tuple[Int32[np.ndarray, " distinct"], Int32[np.ndarray, " vert"]]:
    """Find the vertices whose coordinates have the same bits; minus zero counts as zero.

    The row of each distinct position's first appearance, in order; and for each vertex the number of its position.
    """
    from smilevlm.readers._kernels_faces import merge_identical

    keys = vertices + np.float32(0)  # -0 becomes 0: the same place with other bits
    first_rows, merged = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    count = merge_identical(keys.view(np.int32), secrets.randbits(62), first_rows, merged)
    return first_rows[:count], merged
