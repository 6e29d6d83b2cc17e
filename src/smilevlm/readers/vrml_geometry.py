"""The nodes of VRML and X3D that hold a surface or points, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float64, Int32, UInt8

from smilevlm.errors import MeshError
from smilevlm.readers._source import ITEM_BYTES, Source
from smilevlm.readers.elements import (
    BLANK_COLOR,
    NO_TRIANGLES,
    Triangles,
    color_bytes,
    cut_into_triangles,
    separated,
    strip_triangles,
)
from smilevlm.readers.vrml_nodes import Node, Span
from smilevlm.typing import CornerUv, Faces

FORMS = {
    "IndexedFaceSet": "polygons",
    "IndexedTriangleFanSet": "polygons",
    "IndexedTriangleStripSet": "strips",
    "IndexedTriangleSet": "triangles",
    "IndexedQuadSet": "quads",
    "TriangleFanSet": "polygons",
    "TriangleStripSet": "strips",
    "TriangleSet": "triangles",
    "QuadSet": "quads",
    "FaceSet": "polygons",
    "ElevationGrid": "grid",
    "PointSet": "points",
}
"""Node to how its corners make faces: polygons and strips are separated by -1."""
_WITHOUT_INDEX = {"TriangleFanSet", "TriangleStripSet", "TriangleSet", "QuadSet", "FaceSet"}
_CORNERS = {"triangles": 3, "quads": 4}
_STRIP_BYTES = 12 * ITEM_BYTES
"""Of one corner of a strip, while its triangle is made."""
_COUNT_BYTES = 10 * ITEM_BYTES
"""Of one count of corners, while they are summed."""
_NOT_BLANK = re.compile(rb"\S")
_GRID_BYTES = 17 * ITEM_BYTES
"""Of one vertex of a grid, with its faces."""

Numbers = TypeVar("Numbers", bound=np.ndarray)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The shape of an ElevationGrid: vertices and the distance between them along x and z."""

    num_x: int
    num_z: int
    spacing_x: float
    spacing_z: float


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the lists of one geometry node are. Equal ones hold the same geometry.

    Args:
        type: The node's type, a key of `FORMS`.
        position: Where the node starts.
        points: x y z of each vertex; heights of an ElevationGrid.
        index: Vertex indices.
        index_name: What the file calls them.
        counts: Corners of each face or strip, where corners are not named but follow the vertices.
        texture_points: u v.
        texture_index: Parallel to `index`; None or an empty list where `index` serves.
        colors: Red, green, blue, and alpha where `color_width` is 4.
        color_index: Parallel to `index`; None where colours follow the vertices.
        first: The first vertex of a node that names none.
        flipped: Faces are written clockwise.
        grid: Of an ElevationGrid.
    """

    type: str
    position: int = field(compare=False)
    points: Span | None
    index: Span | None = None
    index_name: str = "coordIndex"
    counts: Span | None = None
    texture_points: Span | None = None
    texture_index: Span | None = None
    colors: Span | None = None
    color_width: int = 3
    color_index: Span | None = None
    first: int = 0
    flipped: bool = False
    grid: Grid | None = None

    @property
    def list_bytes(self) -> int:
        """Of the lists, which are read anew for each geometry that names them."""
        spans = (self.index, self.counts, self.texture_points, self.texture_index, self.colors, self.color_index)
        return span_bytes(*spans)


def span_bytes(*spans: Span | None) -> int:
    return sum(span.stop - span.start for span in spans if span is not None)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One surface or point set in its own frame, without its vertices."""

    faces: Faces
    uv: CornerUv | None
    colors: UInt8[np.ndarray, "vert 3"] | None
    remarks: tuple[str, ...]


def numbers(source: Source, node: Node, name: str, default: tuple[float, ...]) -> Float64[np.ndarray, " value"]:
    """A field of as many numbers as its default."""
    span = node.span(name)
    if span is None:
        return np.array(default)
    values = source.floats(span.start, span.stop)
    if len(values) != len(default):
        raise source.text_error(f"{name} has {len(values)} numbers, expected {len(default)}", span.start)
    return values


def whole_number(source: Source, node: Node, name: str, default: int) -> int:
    """A field of one whole number; the default for what is none."""
    value = numbers(source, node, name, (float(default),))[0]
    return int(value) if np.isfinite(value) and value == np.floor(value) else default


def geometry_of(source: Source, node: Node) -> Geometry:
    """The lists of a geometry node of VRML 2.0 or X3D."""
    coordinates = node.node("coord")
    texture = node.node("texCoord")
    if texture is not None and texture.type == "MultiTextureCoordinate":
        texture = texture.node("texCoord")
    color = node.node("color") if node.flag("colorPerVertex", True) else None
    has_index = node.type not in _WITHOUT_INDEX and node.type not in {"PointSet", "ElevationGrid"}
    index_name = "index" if node.span("index") is not None else "coordIndex"
    is_grid, is_face_set = node.type == "ElevationGrid", node.type == "IndexedFaceSet"
    return Geometry(
        type=node.type,
        position=node.position,
        points=node.span("height") if is_grid else coordinates.span("point") if coordinates else None,
        index=node.span(index_name) if has_index else None,
        index_name=index_name,
        counts=node.span("fanCount") or node.span("stripCount"),
        texture_points=texture.span("point") if texture else None,
        texture_index=node.span("texCoordIndex") if is_face_set else None,
        colors=color.span("color") if color else None,
        color_width=4 if color is not None and color.type == "ColorRGBA" else 3,
        color_index=node.span("colorIndex") if is_face_set else None,
        flipped=not node.flag("ccw", True),
        grid=_grid(source, node) if is_grid else None,
    )


def _grid(source: Source, node: Node) -> Grid:
    return Grid(
        num_x=whole_number(source, node, "xDimension", 0),
        num_z=whole_number(source, node, "zDimension", 0),
        spacing_x=float(numbers(source, node, "xSpacing", (1.0,))[0]),
        spacing_z=float(numbers(source, node, "zSpacing", (1.0,))[0]),
    )


def read_points(source: Source, geometry: Geometry) -> Float[np.ndarray, "vert 3"]:
    """The vertices of a geometry."""
    span, grid = geometry.points, geometry.grid
    if span is None:
        return np.zeros((0, 3))
    if grid is None:
        return source.coordinates(span.start, span.stop, "Coordinate point")
    heights = source.floats(span.start, span.stop)
    if grid.num_x < 0 or grid.num_z < 0 or grid.num_x * grid.num_z != len(heights):
        message = f"{len(heights)} heights for a grid of {grid.num_x} x {grid.num_z}"
        raise source.text_error(message, span.start)
    source.require_memory(_GRID_BYTES * len(heights))
    points = np.zeros((grid.num_z, grid.num_x, 3))
    with np.errstate(over="ignore", invalid="ignore"):
        points[..., 0] = np.arange(grid.num_x) * grid.spacing_x
        points[..., 1] = heights.reshape(grid.num_z, grid.num_x)
        points[..., 2] = (np.arange(grid.num_z) * grid.spacing_z)[:, None]
    return points.reshape(-1, 3)


def read_part(source: Source, geometry: Geometry, num_vertices: int) -> Part:
    """Faces, texture coordinates and colours of a geometry.

    What is wrong with texture coordinates and colours costs these alone, with a remark.
    """
    remarks: list[str] = []
    corners = _corners(source, geometry, num_vertices, remarks)
    triangles = NO_TRIANGLES
    if corners is not None:
        triangles = _read_faces(source, geometry, corners, num_vertices, remarks)
    colors = _read_colors(source, geometry, corners, num_vertices, remarks)
    return Part(faces=triangles.faces, uv=triangles.uv, colors=colors, remarks=(*triangles.remarks, *remarks))


def _corners(
    source: Source, geometry: Geometry, num_vertices: int, remarks: list[str]
) -> Int32[np.ndarray, " corner"] | None:
    """Vertex indices of polygons separated by -1; None for points alone."""
    form = FORMS[geometry.type]
    if geometry.grid is not None:
        return _grid_corners(geometry.grid) if num_vertices else None
    if geometry.index is not None:
        corners = source.indices(geometry.index.start, geometry.index.stop)
    elif geometry.type in _WITHOUT_INDEX:
        corners = _following_vertices(source, geometry, num_vertices)
    else:
        return None
    if form == "strips":
        source.require_memory(_STRIP_BYTES * len(corners))
        return strip_triangles(corners, [0, 2, 1])
    size = _CORNERS.get(form)
    if size is None or (corners == -1).any():  # some do end each triangle with -1
        return corners
    if len(corners) % size:
        remarks.append(f"the last of the {form} of {geometry.type} is not complete; left out")
    return separated(corners[: len(corners) // size * size].reshape(-1, size))


def _following_vertices(source: Source, geometry: Geometry, num_vertices: int) -> Int32[np.ndarray, " corner"]:
    """All vertices in their order, with -1 after each of the counted groups."""
    corners = np.arange(min(geometry.first, num_vertices), num_vertices, dtype=np.int32)
    if geometry.counts is None or FORMS[geometry.type] in _CORNERS:
        return corners
    counts = source.indices(geometry.counts.start, geometry.counts.stop)
    if counts.tolist() == [-1]:  # Open Inventor: all that are left
        return corners
    source.require_memory(_COUNT_BYTES * len(counts))
    ends = np.cumsum(np.maximum(counts, 0), dtype=np.int64)
    ends = ends[ends <= len(corners)]
    corners = corners[: ends[-1]] if len(ends) else corners[:0]
    return np.insert(corners, ends, -1).astype(np.int32)


def _grid_corners(grid: Grid) -> Int32[np.ndarray, " corner"]:
    number = np.arange(grid.num_x * grid.num_z, dtype=np.int32).reshape(grid.num_z, grid.num_x)
    corners = (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:])
    return separated(np.stack(corners, axis=-1).reshape(-1, 4))


def _read_faces(
    source: Source, geometry: Geometry, corners: Int32[np.ndarray, " corner"], num_vertices: int, remarks: list[str]
) -> Triangles:
    points = _optional_rows(source, geometry.texture_points, 2, "texture coordinates", remarks)
    texture_corners = None if points is None else corners
    index = geometry.texture_index
    if points is not None and index is not None and _NOT_BLANK.search(source.data, index.start, index.stop):
        texture_corners = _optional(lambda: source.indices(index.start, index.stop), "texture indices", remarks)
        if texture_corners is None:
            points = None
        elif FORMS[geometry.type] == "strips":
            source.require_memory(_STRIP_BYTES * len(texture_corners))
            texture_corners = strip_triangles(texture_corners, [0, 2, 1])
    return cut_into_triangles(
        source,
        corners,
        num_vertices,
        texture_corners=texture_corners,
        texture_points=points,
        flipped=geometry.flipped,
        bad_index=lambda ordinal: _bad_index_error(source, geometry, ordinal, int(corners[ordinal]), num_vertices),
    )


def _bad_index_error(source: Source, geometry: Geometry, ordinal: int, bad: int, num_vertices: int) -> MeshError:
    span = geometry.index
    if span is None:
        return source.text_error(f"{geometry.type} names vertex {bad}, there are {num_vertices}", geometry.position)
    if FORMS[geometry.type] != "polygons":  # the corners are not in the order of the list
        ordinal = int((source.indices(span.start, span.stop) == bad).argmax())
    position = source.value_position(span.start, span.stop, ordinal)
    word = source.word(position) or str(bad)
    return source.text_error(f"{geometry.index_name} names vertex {word}, there are {num_vertices}", position)


def _optional(read: Callable[[], Numbers], what: str, remarks: list[str]) -> Numbers | None:
    """Numbers that prediction does not use: None, with a remark, where they cannot be read."""
    try:
        return read()
    except MeshError as error:
        remarks.append(f"{what} cannot be read (line {error.line}: {error.message}); left out")
        return None


def _optional_rows(
    source: Source, span: Span | None, width: int, what: str, remarks: list[str]
) -> Float[np.ndarray, "row {width}"] | None:
    if span is None:
        return None
    return _optional(lambda: source.rows(span.start, span.stop, width, what, single=True), what, remarks)


def _read_colors(
    source: Source,
    geometry: Geometry,
    corners: Int32[np.ndarray, " corner"] | None,
    num_vertices: int,
    remarks: list[str],
) -> UInt8[np.ndarray, "vert 3"] | None:
    """Colours per vertex, and a remark where they do not fit the vertices; colours per face are left out."""
    colors = _optional_rows(source, geometry.colors, geometry.color_width, "colours", remarks)
    if colors is None:
        return None
    colors = colors[:, :3]
    left_out = f"{len(colors)} colours do not fit the {num_vertices} vertices; left out"
    index: np.ndarray | None = np.zeros(0, np.int32)
    if (span := geometry.color_index) is not None:
        index = _optional(lambda: source.indices(span.start, span.stop), "colour indices", remarks)
    if index is None:
        return None
    if corners is None or not len(index):
        if len(colors) >= num_vertices:
            return color_bytes(colors[:num_vertices])
        remarks.append(left_out)
        return None
    length = min(len(corners), len(index))
    corners, index = corners[:length], index[:length]
    named = (corners >= 0) & (corners < num_vertices)
    if index.max(initial=-1) >= len(colors) or (index[named] < 0).any():
        remarks.append(left_out)
        return None
    result = np.full((num_vertices, 3), BLANK_COLOR, np.uint8)
    result[corners[named]] = color_bytes(colors)[index[named]]
    return result
