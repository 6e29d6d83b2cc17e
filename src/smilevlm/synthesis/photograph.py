"""Photographs of coloured scans: textures of the synthetic data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32
from scipy import ndimage

from smilevlm.synthesis.scanner import Scan, interpolate_colors
from smilevlm.typing import RgbImage
from smilevlm.views import kernels


def photograph(
    scan: Scan,
    faces: Int32[np.ndarray, "face 3"],
    x_px: Float32[np.ndarray, " vert"],
    y_px: Float32[np.ndarray, " vert"],
    depth: Float32[np.ndarray, " vert"],
    shape: tuple[int, int],
    shade: float,
) -> RgbImage:
    """Draw a scan's triangles with the colours of their corners, and a rim of the same colours around them.

    Args:
        scan: Its colours are drawn, its vertices say how a triangle faces the light.
        faces: Triangles to draw.
        x_px: Where each vertex falls in the picture, from the left.
        y_px: The same from the top.
        depth: Toward the camera; the nearest triangle is seen.
        shape: (height, width) of the picture.
        shade: How much of the light's direction is left, in [0, 1].
    """
    depth_map = np.full(shape, kernels.EMPTY, np.float32)
    cover = np.full(shape, -1, np.int32)
    kernels.rasterise(x_px, y_px, depth, faces, depth_map, cover)
    drawn = cover >= 0
    color = interpolate_colors(scan.colors, faces, cover, x_px, y_px)
    a, b, c = (scan.vertices[faces[cover[drawn]]][:, k] for k in range(3))
    normal = np.cross(b - a, c - a)
    facing = np.abs(normal[:, 2]) / np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    image = np.full((*shape, 3), 40, np.uint8)
    image[drawn] = np.clip(color * (1 - shade + shade * facing)[:, None], 0, 255)
    # Interpolation at the rim must not pick up background, so the rim's colour goes on a little outside.
    nearest = np.zeros((2, *shape), np.int32)
    distance = np.zeros(shape)
    ndimage.distance_transform_edt(~drawn, return_indices=True, distances=distance, indices=nearest)
    rim = (distance > 0) & (distance <= 6)
    image[rim] = image[nearest[0][rim], nearest[1][rim]]
    return image


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """A camera before the face, looking along -z.

    Args:
        width_px: Of its pictures.
        height_px: The same from top to bottom.
        centre_mm: (x, y) in the middle of the picture, in the scanner's frame.
        width_mm: What the picture shows across.
    """

    width_px: int
    height_px: int
    centre_mm: tuple[float, float]
    width_mm: float

    def capture(self, scan: Scan, *, shade: float = 0.3) -> tuple[RgbImage, Float32[np.ndarray, "vert 2"]]:
        """Photograph a scan where the scanner saw it; `shade` in [0, 1] is how much of the light's direction is left.

        Returns:
            The picture, and where each vertex falls in it as (u, v) in [0, 1], v from the bottom.
        """
        pitch = self.width_mm / self.width_px
        x_px = (scan.vertices[:, 0] - self.centre_mm[0]) / pitch + self.width_px / 2
        y_px = self.height_px / 2 - (scan.vertices[:, 1] - self.centre_mm[1]) / pitch
        picture = photograph(
            scan,
            scan.triangles,
            x_px.astype(np.float32),
            y_px.astype(np.float32),
            np.ascontiguousarray(scan.vertices[:, 2]),
            (self.height_px, self.width_px),
            shade,
        )
        uv = np.stack([x_px / self.width_px, 1 - y_px / self.height_px], axis=1)
        return picture, np.clip(uv, 0, 1).astype(np.float32)
