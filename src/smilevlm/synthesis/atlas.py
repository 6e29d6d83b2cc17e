"""Texture of a scan as BU-3DFE stores it: one image with two camera views side by side, split along the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from smilevlm.synthesis.photograph import photograph
from smilevlm.synthesis.scanner import Scan
from smilevlm.typing import RgbImage

_CAMERA_YAW_DEG = (-35.0, 35.0)
_PICTURE_X_MM = (-30.0, 160.0)
"""What the right camera's picture shows, across; the left one's is its mirror image."""
_PICTURE_Y_MM = (-135.0, 130.0)


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """A texture and how polygons use it.

    Args:
        texture: RGB, row 0 on top, left half seen from the viewer's left.
        uv: Texture coordinates, v from the bottom. Along the seam a vertex has two.
        uv_polygons: Like the scan's polygons, but numbering `uv`.
    """

    texture: RgbImage
    uv: Float32[np.ndarray, "coordinate 2"]
    uv_polygons: Int32[np.ndarray, "polygon 4"]


def make_atlas(scan: Scan, photographed: Scan, *, size: int, shade: float = 0.25) -> Atlas:
    """Photograph a head from two sides and find a scan of it in the pictures.

    The cameras stand still relative to the head, so that every scan of one moment uses the same texture.

    Args:
        scan: Its polygons get texture coordinates.
        photographed: What the pictures show: this scan, or a larger one of the same moment.
        size: Height and width of the texture in pixels.
        shade: How much of the light's direction is left in the photographs, in [0, 1].
    """
    texture = np.zeros((size, size, 3), np.uint8)
    triangles, triangle_side = _triangles_by_side(photographed)
    half = size // 2
    uv_of_side = []
    for side in range(len(_CAMERA_YAW_DEG)):
        u, v, depth = _project(photographed.head_vertices, side)
        mine = np.ascontiguousarray(triangles[triangle_side == side])
        texture[:, side * half : side * half + half] = photograph(
            photographed,
            mine,
            (u * half).astype(np.float32),
            ((1 - v) * size).astype(np.float32),
            depth,
            (size, half),
            shade,
        )
        u, v, _ = _project(scan.head_vertices, side)
        uv_of_side.append(np.stack([(side + u) / 2, v], axis=1).astype(np.float32))
    return _unwrap(scan, texture, np.stack(uv_of_side))


def _polygon_side(scan: Scan) -> np.ndarray:
    """0 for polygons on the viewer's left of the face, 1 on the right."""
    corner = np.where(scan.polygons >= 0, scan.polygons, scan.polygons[:, :1])
    return (scan.arc_mm[corner].mean(axis=1) > 0).astype(np.int64)


def _triangles_by_side(scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    side = _polygon_side(scan)
    quads = scan.polygons[:, 3] >= 0
    return scan.triangles, np.concatenate([side, side[quads]])


def _project(head_vertices: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u, v) in [0, 1] within one camera's picture, and the depth toward that camera."""
    angle = np.deg2rad(_CAMERA_YAW_DEG[side])
    # The camera stands at this yaw; turning the head by the opposite angle shows the same.
    x = np.cos(angle) * head_vertices[:, 0] - np.sin(angle) * head_vertices[:, 2]
    depth = np.sin(angle) * head_vertices[:, 0] + np.cos(angle) * head_vertices[:, 2]
    left, right = _PICTURE_X_MM if side else (-_PICTURE_X_MM[1], -_PICTURE_X_MM[0])
    bottom, top = _PICTURE_Y_MM
    u = np.clip((x - left) / (right - left), 0, 1)
    v = np.clip((head_vertices[:, 1] - bottom) / (top - bottom), 0, 1)
    return u, v, depth.astype(np.float32)


def _unwrap(scan: Scan, texture: RgbImage, uv_of_side: np.ndarray) -> Atlas:
    """Number the (vertex, side) pairs that polygons use; seam vertices are used from both sides."""
    side = _polygon_side(scan)
    num_vertices = len(scan.vertices)
    present = scan.polygons >= 0
    key = np.where(present, scan.polygons + side[:, None] * num_vertices, -1)
    used = np.unique(key[present])
    number = np.full(2 * num_vertices, -1, np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    return Atlas(
        texture=texture,
        uv=uv_of_side[used // num_vertices, used % num_vertices],
        uv_polygons=np.where(present, number[key], -1).astype(np.int32),
    )
