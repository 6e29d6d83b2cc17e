"""Bosphorus `.bnt`: a range image of one view as five binary columns x y z u v, little endian."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers._source import ByteSink, Source
from smilevlm.readers.elements import Triangles, usable_mesh
from smilevlm.readers.textures import load_named_texture
from smilevlm.typing import Faces

HEADER = struct.Struct("<HHdH")
NUM_COLUMNS = 5
COLUMN_BYTES = 8
BNT_BACKGROUND = -1e9
"""What the data set's own files hold where the scanner saw nothing."""
MAX_DEPTH_JUMP_MM = 20.0
"""Four neighbours of a face 0.3 mm apart never differ by so much: a chin before a neck does, and is not joined."""
MAX_EDGE_RATIO = 10.0
"""Of points without a grid: edges longer than this many median edges span a hole or the outline."""
MAX_SCATTERED_POINTS = 300_000
"""Points that are triangulated without a grid, in seconds; a Bosphorus scan has about 40,000."""
MIN_SHARED_LANDMARKS = 3
MAX_LANDMARK_MISS = 0.05
"""Of the image's longer side: how far a landmark may lie from its pixel to count as found there."""

VDirection = Literal["top", "bottom", "unknown"]


@dataclass(frozen=True, kw_only=True)
class BntHeader:
    """What stands before the numbers; row 0 is the bottom of the face, `zmin` marks background.

    `num_points` may differ from `num_rows * num_columns`; they begin at byte `offset`.
    """

    num_rows: int
    num_columns: int
    zmin: float
    image_name: str
    num_points: int
    offset: int

    @property
    def is_grid(self) -> bool:
        return self.num_points == self.num_rows * self.num_columns and min(self.num_rows, self.num_columns) > 1


def read_bnt(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read a range image as triangles, counter-clockwise seen from the scanner.

    A point is dropped when any of its x y z is the background number or not finite. Neighbours in the grid are
    joined, four to two triangles and three to one, unless their depths differ by more than `MAX_DEPTH_JUMP_MM`. Where
    the number of points is not rows times columns, they are joined by a Delaunay triangulation of x and y, without
    edges longer than `MAX_EDGE_RATIO` times the median.
    The texture is the image that the header names, in any case, or that shares the file's stem.

    Returns:
        Millimetres in the scanner's frame, +z toward it. v is turned to count from the bottom; a point without a
        texture coordinate has (0, 0). A point cloud when no two rows of the grid can be joined.
    """
    source = Source(data, path)
    header = read_bnt_header(source)
    columns, remarks = _columns(source, header)
    is_number = np.abs(columns[:3]) <= np.finfo(np.float32).max  # false for nan
    valid = is_number.all(axis=0) & (columns[:3] != header.zmin).all(axis=0)
    if not valid.any():
        raise source.byte_error(f"all of the {header.num_points} points are background", header.offset)
    coordinates = np.ascontiguousarray(columns[:3, valid].T)
    if header.is_grid:
        faces = grid_faces(valid.reshape(header.num_rows, header.num_columns), coordinates)
    else:
        faces = _scattered_faces(source, coordinates)
    uv = _texture_coordinates(columns[3:, valid], header.zmin)[faces] if len(faces) and not remarks else None
    texture = load_named_texture(path, [header.image_name]) if load_texture and uv is not None else None
    return usable_mesh(path, coordinates, Triangles(faces=faces, uv=uv), texture=texture, remarks=remarks)


def _columns(source: Source, header: BntHeader) -> tuple[Float64[np.ndarray, "5 point"], tuple[str, ...]]:
    """x y z u v; of a file that was cut within u or v they are background."""
    num_values = NUM_COLUMNS * header.num_points
    if source.size >= header.offset + COLUMN_BYTES * num_values:
        return np.frombuffer(source.data, "<f8", num_values, header.offset).reshape(NUM_COLUMNS, -1), ()
    columns = np.full((NUM_COLUMNS, header.num_points), header.zmin)
    columns[:3] = np.frombuffer(source.data, "<f8", 3 * header.num_points, header.offset).reshape(3, -1)
    return columns, ("the file is cut within its texture coordinates, which are left out",)


def read_bnt_header(source: Source) -> BntHeader:
    """Read what stands before the numbers, and check that all coordinates are there."""
    if source.size < HEADER.size:
        raise source.byte_error(f"the file ends within its header of {HEADER.size} bytes", source.size)
    num_rows, num_columns, zmin, name_length = HEADER.unpack_from(source.data)
    count_offset = HEADER.size + name_length
    offset = count_offset + 4
    if source.size < offset:
        raise source.byte_error(f"the file ends within an image name of {name_length} bytes", source.size)
    num_values = int.from_bytes(source.data[count_offset:offset], "little")
    if num_values % NUM_COLUMNS:
        raise source.byte_error(f"{num_values} numbers announced, expected a multiple of {NUM_COLUMNS}", count_offset)
    present = (source.size - offset) // COLUMN_BYTES
    # Texture coordinates are the last columns.
    if present < num_values // NUM_COLUMNS * 3 or present == 0 < num_values:
        raise source.byte_error(f"{num_values} numbers announced, {present} follow", count_offset)
    name = source.data[HEADER.size : count_offset].decode("utf-8", "replace").rstrip("\0")
    return BntHeader(
        num_rows=num_rows,
        num_columns=num_columns,
        zmin=zmin,
        image_name=name,
        num_points=num_values // NUM_COLUMNS,
        offset=offset,
    )


def grid_faces(valid: Bool[np.ndarray, "row column"], vertices: Float64[np.ndarray, "vert 3"]) -> Faces:
    """Triangles between the neighbours of a range image, counter-clockwise seen from the scanner.

    `valid` are the points of the grid that the scanner saw, `vertices` those points row by row, in millimetres, +z
    toward the scanner.
    """
    numbers = np.full(valid.shape, -1, np.int32)
    numbers[valid] = np.arange(len(vertices), dtype=np.int32)
    # Around each cell of four neighbours, counter-clockwise when rows run upwards and columns to the right.
    cells = np.stack([numbers[:-1, :-1], numbers[:-1, 1:], numbers[1:, 1:], numbers[1:, :-1]], axis=-1).reshape(-1, 4)
    cells = cells[(cells >= 0).sum(axis=1) >= 3]
    depth = vertices[:, 2][cells]
    highest = np.where(cells >= 0, depth, -np.inf).max(axis=1)
    lowest = np.where(cells >= 0, depth, np.inf).min(axis=1)
    cells = cells[highest - lowest <= MAX_DEPTH_JUMP_MM]
    whole = cells[(cells >= 0).all(axis=1)]
    partial = cells[(cells < 0).any(axis=1)]
    faces = np.concatenate([whole[:, [0, 1, 2]], whole[:, [0, 2, 3]], partial[partial >= 0].reshape(-1, 3)])
    return _facing_the_scanner(faces, vertices)


def _scattered_faces(source: Source, vertices: Float64[np.ndarray, "vert 3"]) -> Faces:
    from scipy.spatial import Delaunay, QhullError

    if len(vertices) > MAX_SCATTERED_POINTS:
        raise source.error(
            f"{len(vertices)} points that are no grid of the announced rows and columns, at most {MAX_SCATTERED_POINTS}"
        )
    places = vertices[:, :2]
    try:
        faces = Delaunay(places).simplices.astype(np.int32)
    except QhullError as error:
        reason = str(error).strip().partition("\n")[0]
        raise source.error(f"the points are no grid and cannot be triangulated: {reason}") from error
    lengths = np.linalg.norm(places[faces] - places[np.roll(faces, 1, axis=1)], axis=2).max(axis=1)
    faces = faces[lengths <= MAX_EDGE_RATIO * np.median(lengths)]
    depth = vertices[:, 2][faces]
    return _facing_the_scanner(faces[np.ptp(depth, axis=1) <= MAX_DEPTH_JUMP_MM], vertices)


def _facing_the_scanner(faces: Int32[np.ndarray, "face 3"], vertices: Float64[np.ndarray, "vert 3"]) -> Faces:
    """Turn all triangles over when most show the scanner their back, whichever way rows and columns run."""
    corners = vertices[:, :2][faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 is dropped later
        areas = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    turned = (areas < 0).sum() > (areas > 0).sum()
    return np.ascontiguousarray(faces[:, ::-1] if turned else faces)


def _texture_coordinates(columns: Float64[np.ndarray, "2 vert"], zmin: float) -> Float32[np.ndarray, "vert 2"]:
    limit = float(np.finfo(np.float32).max)
    present = ((columns != zmin) & (np.abs(columns) <= limit)).all(axis=0)  # a comparison with nan is false
    uv = np.zeros((columns.shape[1], 2), np.float32)
    uv[present, 0] = columns[0, present]
    uv[present, 1] = 1 - columns[1, present]
    return uv


def find_v_direction(
    mesh: Mesh,
    landmarks_px: Mapping[str, Float32[np.ndarray, " 2"]],
    landmarks_mm: Mapping[str, Float32[np.ndarray, " 3"]],
) -> VDirection:
    """Where v counts from in the file of a scan: the landmarks in the image decide.

    Each landmark's nearest vertex has a texture coordinate, which must name the landmark's pixel.

    Args:
        mesh: As `read_bnt` returns it, with its texture.
        landmarks_px: Column and row in the texture, by name (`.lm2`).
        landmarks_mm: The same landmarks on the scan (`.lm3`).

    Returns:
        `top` as `read_bnt` takes it to be, `bottom` when the texture would be upside down, `unknown` when there is no
        texture, fewer than three landmarks are in both, or neither direction fits clearly better.
    """
    names = sorted(landmarks_px.keys() & landmarks_mm.keys())
    if mesh.uv is None or mesh.texture is None or len(names) < MIN_SHARED_LANDMARKS:
        return "unknown"
    height, width = mesh.texture.shape[:2]
    used, first = np.unique(mesh.faces, return_index=True)
    uv = mesh.uv.reshape(-1, 2)[first].astype(np.float64)
    points = np.stack([landmarks_mm[name] for name in names]).astype(np.float64)
    vertices = mesh.vertices[used].astype(np.float64)
    nearest = np.array([np.square(vertices - point).sum(axis=1).argmin() for point in points])
    wanted = np.stack([landmarks_px[name] for name in names]).astype(np.float64)
    columns, rows = uv[nearest, 0] * width, (1 - uv[nearest, 1]) * height
    top = np.median(np.hypot(columns - wanted[:, 0], rows - wanted[:, 1]))
    bottom = np.median(np.hypot(columns - wanted[:, 0], height - rows - wanted[:, 1]))
    if min(top, bottom) > MAX_LANDMARK_MISS * max(width, height) or math.isclose(top, bottom, rel_tol=0.1):
        return "unknown"
    return "top" if top < bottom else "bottom"


def write_bnt(
    file: ByteSink,
    *,
    points: Float[np.ndarray, "row column 3"],
    uv: Float[np.ndarray, "row column 2"],
    image_name: str,
    zmin: float = BNT_BACKGROUND,
) -> None:
    """Write a `.bnt` file.

    Points are in millimetres, row 0 at the bottom of the face; one with a nan becomes background. u runs to the right
    and v from the top of the image, both in [0, 1].
    """
    num_rows, num_columns = points.shape[:2]
    name = image_name.encode()
    if max(num_rows, num_columns, len(name)) > np.iinfo(np.uint16).max:
        raise MeshError(f"{num_rows} x {num_columns} points, image name of {len(name)} bytes; 65535 of each at most")
    values = np.concatenate([points, uv], axis=2, dtype=np.float64).reshape(-1, NUM_COLUMNS)
    values[np.isnan(values).any(axis=1)] = zmin
    header = HEADER.pack(num_rows, num_columns, zmin, len(name)) + name
    count = values.size.to_bytes(4, "little")
    file.write(header + count + np.ascontiguousarray(values.T, "<f8").tobytes())
