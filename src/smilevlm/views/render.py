"""Render a face at several yaw angles, as depth, normals, shaded geometry or texture.

Normals come from the smoothed depth map of each view, not from the mesh: a scan of 4,000 triangles, one of 70,000 and
a bare point cloud of the same face then give nearly the same image, and scanner noise below a millimetre does not
reach the shading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, Int32

from smilevlm.errors import MeshError, SettingsError
from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.typing import RgbImage, ViewImages

ViewKind = Literal["geometry", "depth", "normals", "texture"]
VIEW_KINDS: tuple[str, ...] = get_args(ViewKind)


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """What the views show. The values are part of a store's identity.

    Args:
        angles_deg: Yaw per view; positive turns the face toward the viewer's right.
        size: Width and height of each image in pixels.
        kind: `geometry` is (depth, headlight shading, vertical normal) as RGB; `normals` is (x, y, z); `depth` is
            grey; `texture` is the scan's texture or vertex colours. Assumption A1.
        window_mm: Side of the square that a view shows, in the face frame. Assumption A2.
        centre_y_mm: Height of the window's centre over the nose tip.
        pivot_z_mm: Where the vertical axis of the turn lies behind the nose tip.
        depth_range_mm: Depths shown as 0 and 255, relative to the nose tip of the frontal view.
        smooth_mm: Standard deviation of the depth smoothing before normals are taken.
        depth_jump_mm: Neighbouring depths further apart than this belong to different surfaces.
        pixel_mm: Upper bound of the internal pixel pitch; small images are rendered larger and averaged down.
    """

    angles_deg: tuple[float, ...] = (-30.0, 0.0, 30.0)
    size: int = 224
    kind: ViewKind = "geometry"
    window_mm: float = 180.0
    centre_y_mm: float = -5.0
    pivot_z_mm: float = -60.0
    depth_range_mm: tuple[float, float] = (-120.0, 20.0)
    smooth_mm: float = 1.2
    depth_jump_mm: float = 8.0
    pixel_mm: float = 1.2

    def __post_init__(self) -> None:
        if not self.angles_deg or any(not -90 < angle < 90 for angle in self.angles_deg):
            raise SettingsError(f"angles_deg is {self.angles_deg}; expected at least one angle between -90 and 90")
        if len(set(self.angles_deg)) != len(self.angles_deg):
            raise SettingsError(f"angles_deg is {self.angles_deg}; an angle occurs twice")
        if not 8 <= self.size <= 2048:
            raise SettingsError(f"size is {self.size}; expected 8 to 2048 pixels")
        if self.kind not in VIEW_KINDS:
            raise SettingsError(f"kind is {self.kind!r}; expected one of {', '.join(VIEW_KINDS)}")
        if not (self.window_mm > 0 and self.pixel_mm > 0 and self.smooth_mm >= 0 and self.depth_jump_mm > 0):
            raise SettingsError("window_mm, pixel_mm and depth_jump_mm must be positive, smooth_mm not negative")
        if not self.depth_range_mm[0] < self.depth_range_mm[1]:
            raise SettingsError(f"depth_range_mm is {self.depth_range_mm}; expected far, then near")

    @property
    def supersample(self) -> int:
        """How many internal pixels make one image pixel, along one side."""
        return max(1, int(np.ceil(self.window_mm / self.size / self.pixel_mm)))


@dataclass(frozen=True, kw_only=True)
class _Raster:
    """One view's surface: depth toward the camera, what covers each pixel, and where the vertices fell."""

    depth_map: Float32[np.ndarray, "height width"]
    cover_map: Int32[np.ndarray, "height width"]
    x_px: Float32[np.ndarray, " vert"]
    y_px: Float32[np.ndarray, " vert"]
    pitch_mm: float


def render_views(
    mesh: Mesh,
    *,
    angles_deg: Sequence[float] = (-30, 0, 30),
    size: int = 224,
    kind: ViewKind = "geometry",
    normalise_settings: NormaliseSettings | None = None,
) -> ViewImages:
    """Normalise a scan to the face frame and render it.

    Args:
        mesh: A face in any unit, roughly upright and facing +z.
        angles_deg: Yaw per view; positive turns the face toward the viewer's right.
        size: Image side in pixels.
        kind: What the images show, see `ViewSettings`.
        normalise_settings: How the face frame is found.

    Returns:
        One image per angle; empty pixels are black.

    Raises:
        MeshError: The mesh is no face, or `texture` is asked of a mesh that has none.
    """
    settings = ViewSettings(angles_deg=tuple(float(a) for a in angles_deg), size=size, kind=kind)
    return render_normalised(normalise(mesh, normalise_settings or NormaliseSettings()).mesh, settings)


def render_normalised(mesh: Mesh, settings: ViewSettings) -> ViewImages:
    """Render a mesh that is in the face frame already; see `render_views`."""
    if settings.kind == "texture" and mesh.vertex_colors is None and (mesh.texture is None or mesh.uv is None):
        raise MeshError("views of kind texture need a texture with coordinates, or vertex colours; the mesh has none")
    images = [_render_one(mesh, angle, settings) for angle in settings.angles_deg]
    return np.stack(images)


def _render_one(mesh: Mesh, angle_deg: float, settings: ViewSettings) -> RgbImage:
    from smilevlm.views import kernels

    raster = _raster(mesh, angle_deg, settings)
    if not (raster.depth_map != kernels.EMPTY).any():
        raise MeshError(f"nothing of the mesh is inside the window of {settings.window_mm:g} mm at {angle_deg:g} deg")
    if settings.kind == "texture":
        image = _close_gaps(_color_image(mesh, raster), raster.cover_map >= 0)
        image[raster.depth_map == kernels.EMPTY] = 0
    else:
        image = _geometry_image(raster.depth_map, settings, raster.pitch_mm)
    return _average_down(image, settings.supersample)


def _raster(mesh: Mesh, angle_deg: float, settings: ViewSettings) -> _Raster:
    from smilevlm.views import kernels

    side = settings.size * settings.supersample
    pitch_mm = settings.window_mm / side
    angle = np.deg2rad(angle_deg)
    x_px, y_px, depth = np.empty((3, mesh.num_vertices), np.float32)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    pivot, centre = np.float32(settings.pivot_z_mm), np.float32(settings.centre_y_mm)
    half, pitch = np.float32(settings.window_mm / 2), np.float32(pitch_mm)
    kernels.project(mesh.vertices, cos, sin, pivot, centre, half, pitch, x_px, y_px, depth)
    depth_map = np.full((side, side), kernels.EMPTY, np.float32)
    cover_map = np.full((side, side), -1, np.int32)
    if mesh.is_point_cloud:
        kernels.splat(x_px, y_px, depth, _splat_radius_px(mesh, pitch_mm), depth_map, cover_map)
    else:
        kernels.rasterise(x_px, y_px, depth, mesh.faces, depth_map, cover_map)
    kernels.fill_holes(depth_map, 2)
    return _Raster(depth_map=depth_map, cover_map=cover_map, x_px=x_px, y_px=y_px, pitch_mm=pitch_mm)


def _splat_radius_px(mesh: Mesh, pitch_mm: float) -> float:
    """A disc a little larger than the points' spacing, from how many 4 mm cells of the frontal plane they fill."""
    cells = np.unique(np.floor(mesh.vertices[:, :2] / 4.0).astype(np.int64), axis=0)
    spacing_mm = np.sqrt(len(cells) * 16.0 / max(mesh.num_vertices, 1))
    return float(max(0.75, spacing_mm / pitch_mm))


def _geometry_image(depth_map: np.ndarray, settings: ViewSettings, pitch_mm: float) -> RgbImage:
    from smilevlm.views import kernels

    if settings.smooth_mm > 0:
        sigma_px = settings.smooth_mm / pitch_mm
        distance = np.arange(int(np.ceil(2.5 * sigma_px)) + 1)
        weights = np.exp(-(distance**2) / (2 * sigma_px**2)).astype(np.float32)
        depth_map = kernels.smooth(depth_map, weights, np.float32(settings.depth_jump_mm))
    far, near = settings.depth_range_mm
    pitch, jump = np.float32(pitch_mm), np.float32(settings.depth_jump_mm)
    image = np.empty((*depth_map.shape, 3), np.uint8)
    if settings.kind == "geometry":
        kernels.geometry_image(depth_map, pitch, jump, np.float32(far), np.float32(near - far), image)
        return image
    if settings.kind == "depth":
        depth = (depth_map - np.float32(far)) / np.float32(near - far)
        kernels.to_bytes(depth, depth, depth, depth_map, image)
        return image
    x, y, z = np.empty((3, *depth_map.shape), np.float32)
    kernels.normals(depth_map, pitch, jump, x, y, z)
    kernels.to_bytes((x + 1) / 2, (y + 1) / 2, (z + 1) / 2, depth_map, image)
    return image


def _color_image(mesh: Mesh, raster: _Raster) -> RgbImage:
    """The texture's colours, or those of the vertices, where something was drawn."""
    drawn = raster.cover_map >= 0
    cover = raster.cover_map[drawn]
    image = np.zeros((*drawn.shape, 3), np.uint8)
    if mesh.texture is not None and mesh.uv is not None and not mesh.is_point_cloud:
        image[drawn] = _sample_bilinear(mesh.texture, _at_pixels(mesh.uv[cover], mesh, raster))
        return image
    assert mesh.vertex_colors is not None
    if mesh.is_point_cloud:
        image[drawn] = mesh.vertex_colors[cover]
    else:
        corners = mesh.vertex_colors[mesh.faces[cover]].astype(np.float32)
        image[drawn] = np.rint(_at_pixels(corners, mesh, raster))
    return image


def _at_pixels(
    corners: Float32[np.ndarray, "pixel 3 channel"], mesh: Mesh, raster: _Raster
) -> Float32[np.ndarray, "pixel channel"]:
    """What the three corners of the triangle at each drawn pixel have, interpolated to the pixel's centre."""
    from smilevlm.views import kernels

    weights = np.zeros((*raster.cover_map.shape, 2), np.float32)
    kernels.barycentric(raster.x_px, raster.y_px, mesh.faces, raster.cover_map, weights)
    second, third = weights[raster.cover_map >= 0].T[:, :, None]
    return corners[:, 0] * (1 - second - third) + corners[:, 1] * second + corners[:, 2] * third


def _close_gaps(image: RgbImage, drawn: Bool[np.ndarray, "height width"]) -> RgbImage:
    """Give pixels that nothing was drawn on the colour of the nearest one that has some."""
    if drawn.all():
        return image
    from scipy import ndimage

    _, nearest = ndimage.distance_transform_edt(~drawn, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    return image[nearest[0], nearest[1]]


def _sample_bilinear(texture: RgbImage, uv: np.ndarray) -> np.ndarray:
    """Colours at uv (n, 2), v from the bottom; outside the texture its border is repeated."""
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = texture[y0, x0] * (1 - fx) + texture[y0, x1] * fx
    bottom = texture[y1, x0] * (1 - fx) + texture[y1, x1] * fx
    return np.rint(top * (1 - fy) + bottom * fy).astype(np.uint8)


def _average_down(image: RgbImage, factor: int) -> RgbImage:
    """Mean over what is drawn in each block of pixels; a block that is mostly empty stays empty.

    So a rim is as bright as the surface behind it, and in a sequence does not flicker with the share that it covers.
    """
    if factor == 1:
        return image
    from smilevlm.views import kernels

    side = image.shape[0] // factor
    out = np.zeros((side, side, 3), np.uint8)
    kernels.average_down(image, factor, out)
    return out
