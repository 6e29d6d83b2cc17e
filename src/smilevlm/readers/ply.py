"""PLY, text and binary of either byte order: CoMA, FLAME registrations, MeshLab and scanner exports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from smilevlm.geometry import Mesh
from smilevlm.readers._sinks import ByteSink
from smilevlm.readers._source import Source, Triangles, color_bytes, cut_into_triangles
from smilevlm.readers._status import DONE, INDEX_OUT_OF_RANGE, MESSAGES
from smilevlm.readers.elements import usable_mesh
from smilevlm.readers.ply_header import CODES, FIRST_FLOAT_CODE, Element, Header, read_header
from smilevlm.readers.textures import load_named_texture

INDEX_LISTS = ("vertex_indices", "vertex_index")
UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
COLOR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


@dataclass(frozen=True)
class Column:
    """One property of all rows: its values, and for a list how many each row has."""

    values: Float64[np.ndarray, " value"]
    lengths: Int32[np.ndarray, " row"]


def read_ply(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read vertices, colours, faces and texture coordinates; other properties and elements are passed over.

    Args:
        data: The whole file.
        path: Where it came from, for messages and to find the texture.
        load_texture: Read the image named by `comment TextureFile`, or that shares the file's stem.

    Raises:
        MeshError: At `path:line` of the header or a text body, at a byte offset of a binary body.
    """
    source = Source(data, path)
    header = read_header(source)
    body = _TextBody(source, header) if header.encoding == "ascii" else _BinaryBody(source, header)
    vertex: dict[str, np.ndarray] = {}
    vertices: np.ndarray | None = None
    faces: _Faces | None = None
    for element in header.elements:
        body.check_count(element)
        if element.name == "vertex" and vertices is None:
            vertex = _read_vertex(source, element, body)
            vertices = np.stack([vertex["x"], vertex["y"], vertex["z"]], axis=1)
        elif element.name == "face" and faces is None and _index_column(element) is not None:
            faces = _read_faces(source, element, body)
        body.advance(element)
    if vertices is None:
        raise source.text_error("no element vertex in the header", 0)
    triangles = _triangles(source, faces, vertex, len(vertices))
    with_texture = load_texture and triangles.uv is not None
    return usable_mesh(
        path,
        vertices,
        faces=triangles.faces,
        uv=triangles.uv,
        texture=load_named_texture(path, header.texture_names) if with_texture else None,
        vertex_colors=_vertex_colors(header, vertex),
        remarks=triangles.remarks,
    )


class _BinaryBody:
    """Rows as bytes; the position stands at the element that is being read."""

    def __init__(self, source: Source, header: Header) -> None:
        self._source = source
        self._big = header.encoding == "binary_big_endian"
        self.position = header.end

    def check_count(self, element: Element) -> None:
        least = sum(item.least_bytes for item in element.properties)
        left = self._source.size - self.position
        if element.count * max(least, 1) > left and (least or element.name in {"vertex", "face"}):
            raise self._source.byte_error(
                f"{element.count} rows of {element.name} announced, {left} bytes are left", self.position
            )

    def column(self, element: Element, column: int) -> Column:
        if not element.has_lists:
            raw = self._structured(element)[f"p{column}"]
            return Column(raw.astype(np.float64), np.ones(element.count, np.int32))
        count, _ = self._walk(element, column, np.zeros(0), np.zeros(0, np.int32))
        self._source.require_memory(8 * count + 4 * element.count)
        values, lengths = np.empty(count, np.float64), np.zeros(element.count, np.int32)
        if count:
            self._walk(element, column, values, lengths)
        return Column(values, lengths)

    def advance(self, element: Element) -> None:
        if not element.properties:
            return
        if element.has_lists:
            _, self.position = self._walk(element, -1, np.zeros(0), np.zeros(0, np.int32))
        else:
            self.position += element.count * self._dtype(element).itemsize

    def error(self, message: str, ordinal: int = 0) -> Exception:
        return self._source.byte_error(message, self.position)

    def _dtype(self, element: Element) -> np.dtype:
        order = ">" if self._big else "<"
        return np.dtype([(f"p{k}", order + CODES[item.code]) for k, item in enumerate(element.properties)])

    def _structured(self, element: Element) -> np.ndarray:
        return np.frombuffer(self._source.data, self._dtype(element), element.count, self.position)

    def _walk(self, element: Element, wanted: int, values: np.ndarray, lengths: np.ndarray) -> tuple[int, int]:
        from smilevlm.readers._kernels_formats import walk_ply

        count_codes = np.array([-1 if p.count_code is None else p.count_code for p in element.properties], np.int64)
        value_codes = np.array([p.code for p in element.properties], np.int64)
        buffer, codes = self._source.buffer, (count_codes, value_codes)
        count, status, position = walk_ply(
            buffer, self.position, element.count, *codes, self._big, wanted, values, lengths
        )
        if status != DONE:
            raise self._source.byte_error(f"{MESSAGES[status]} for the rows of {element.name}", position)
        return count, position


class _TextBody:
    """Rows as numbers; the position counts numbers."""

    def __init__(self, source: Source, header: Header) -> None:
        from smilevlm.readers._kernels import scan_floats

        self._source = source
        self._start = header.end
        numbers = np.empty((source.size - header.end) // 2 + 1, np.float64)
        count, status, position = scan_floats(source.buffer, header.end, source.size, numbers)
        if status != DONE:
            raise source.status_error(status, position)
        self._numbers = numbers[:count]
        self.position = 0

    def check_count(self, element: Element) -> None:
        left = len(self._numbers) - self.position
        if element.count * max(len(element.properties), 1) > left and (
            element.properties or element.name in {"vertex", "face"}
        ):
            raise self._source.text_error(
                f"{element.count} rows of {element.name} announced, {left} numbers are left", self._source.size
            )

    def column(self, element: Element, column: int) -> Column:
        if not element.has_lists:
            width = len(element.properties)
            rows = self._numbers[self.position : self.position + element.count * width].reshape(-1, width)
            return Column(rows[:, column].copy(), np.ones(element.count, np.int32))
        count, _ = self._walk(element, column, np.zeros(0), np.zeros(0, np.int32))
        self._source.require_memory(8 * (count + len(self._numbers)) + 4 * element.count)
        values, lengths = np.empty(count, np.float64), np.zeros(element.count, np.int32)
        if count:
            self._walk(element, column, values, lengths)
        return Column(values, lengths)

    def advance(self, element: Element) -> None:
        if not element.has_lists:
            self.position += element.count * len(element.properties)
        else:
            _, self.position = self._walk(element, -1, np.zeros(0), np.zeros(0, np.int32))

    def error(self, message: str, ordinal: int = 0) -> Exception:
        place = self._source.value_position(self._start, self._source.size, self.position)
        return self._source.text_error(message, place)

    def _walk(self, element: Element, wanted: int, values: np.ndarray, lengths: np.ndarray) -> tuple[int, int]:
        from smilevlm.readers._kernels_formats import walk_ply_text

        is_list = np.array([p.count_code is not None for p in element.properties], np.bool_)
        count, status, position = walk_ply_text(
            self._numbers, self.position, element.count, is_list, wanted, values, lengths
        )
        if status != DONE:
            place = self._source.value_position(self._start, self._source.size, position)
            raise self._source.text_error(f"{MESSAGES[status]} for the rows of {element.name}", place)
        return count, position


Body = _BinaryBody | _TextBody


def _read_vertex(source: Source, element: Element, body: Body) -> dict[str, np.ndarray]:
    """The scalar properties that are kept."""
    found: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(("x", "y", "z", *sum(UV_NAMES, ()), *sum(COLOR_NAMES, ()))):
        column = element.column(name)
        if column is not None:
            found[name] = body.column(element, column).values
    if missing := [name for name in "xyz" if name not in found]:
        error = source.text_error(f"element vertex has no property {', '.join(missing)}", 0)
        error.line = element.line
        raise error
    return found


@dataclass(frozen=True)
class _Faces:
    """Corner indices separated by -1, and texture coordinates per corner with a blank one for each separator."""

    corners: Int32[np.ndarray, " corner"]
    uv: Float32[np.ndarray, "corner 2"] | None
    where: Exception
    """The error to raise when an index is out of range; its message is completed then."""


def _index_column(element: Element) -> int | None:
    columns = [element.column(name, is_list=True) for name in INDEX_LISTS]
    return next((column for column in columns if column is not None), None)


def _read_faces(source: Source, element: Element, body: Body) -> _Faces:
    column = _index_column(element)
    assert column is not None
    indices = body.column(element, column)
    if (indices.values != np.floor(indices.values)).any() or (indices.values < 0).any():
        raise body.error("a face's index is negative or no whole number")
    source.require_memory(16 * len(indices.values) + 8 * element.count)
    clipped = np.minimum(indices.values, np.iinfo(np.int32).max).astype(np.int32)
    # One separator after each face.
    places = np.arange(len(clipped)) + np.repeat(np.arange(element.count), indices.lengths)
    corners = np.full(len(clipped) + element.count, -1, np.int32)
    corners[places] = clipped
    uv = None
    texture_column = element.column("texcoord", is_list=True)
    if texture_column is not None:
        uv = _corner_uv(source, body, body.column(element, texture_column), indices.lengths, places, len(corners))
    return _Faces(corners, uv, body.error("a face names a vertex that is not there"))


def _corner_uv(
    source: Source, body: Body, texcoord: Column, lengths: np.ndarray, places: np.ndarray, num_corners: int
) -> Float32[np.ndarray, "corner 2"] | None:
    """`texcoord` holds u v for each corner; a face without any gets zeros."""
    present = texcoord.lengths > 0
    if not present.any():
        return None
    if (texcoord.lengths[present] != 2 * lengths[present]).any():
        raise body.error("texcoord must hold two numbers for each corner of its face")
    uv = np.zeros((num_corners, 2), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        uv[places[np.repeat(present, lengths)]] = texcoord.values.reshape(-1, 2)
    return uv


def _triangles(source: Source, faces: _Faces | None, vertex: dict[str, np.ndarray], num_vertices: int) -> Triangles:
    if faces is None:
        return Triangles(faces=np.zeros((0, 3), np.int32), uv=None)
    corners = faces.corners
    points, texture_corners = faces.uv, None
    if points is not None:
        texture_corners = np.where(corners >= 0, np.arange(len(corners), dtype=np.int32), np.int32(-1))
    else:
        names = next((pair for pair in UV_NAMES if set(pair) <= vertex.keys()), None)
        if names is not None:
            points, texture_corners = np.stack([vertex[name] for name in names], axis=1), corners
    triangles = cut_into_triangles(
        source, corners, num_vertices, texture_corners=texture_corners, texture_points=points
    )
    if triangles.status != DONE:
        assert triangles.status == INDEX_OUT_OF_RANGE
        raise faces.where
    return triangles


def _vertex_colors(header: Header, vertex: dict[str, np.ndarray]) -> UInt8[np.ndarray, "vert 3"] | None:
    """Colours of an integer type run to 255, those of a float type to 1 unless one is larger."""
    names = next((group for group in COLOR_NAMES if set(group) <= vertex.keys()), None)
    if names is None:
        return None
    colors = np.stack([vertex[name] for name in names], axis=1)
    element = next(element for element in header.elements if element.name == "vertex")
    column = element.column(names[0])
    assert column is not None
    is_float = element.properties[column].code >= FIRST_FLOAT_CODE
    return color_bytes(colors, 255.0 if is_float and np.nanmax(colors, initial=0) <= 1.0 else 1.0)


def write_ply(file: ByteSink, mesh: Mesh, *, texture_name: str | None = None) -> None:
    """Write binary little-endian PLY: vertices, colours, faces, and `texcoord` per corner.

    Args:
        file: Opened for bytes.
        mesh: Its texture and landmarks are not written.
        texture_name: Written as `comment TextureFile`.
    """
    header = ["ply", "format binary_little_endian 1.0"]
    if texture_name is not None:
        header.append(f"comment TextureFile {texture_name}")
    header += [f"element vertex {mesh.num_vertices}", *(f"property float {axis}" for axis in "xyz")]
    vertex_fields: list[tuple] = [("position", "<f4", 3)]
    if mesh.vertex_colors is not None:
        header += [f"property uchar {name}" for name in ("red", "green", "blue")]
        vertex_fields.append(("color", "u1", 3))
    header += [f"element face {mesh.num_faces}", "property list uchar int vertex_indices"]
    face_fields: list[tuple] = [("size", "u1"), ("corners", "<i4", 3)]
    if mesh.uv is not None:
        header.append("property list uchar float texcoord")
        face_fields += [("uv_size", "u1"), ("uv", "<f4", 6)]
    vertex = np.zeros(mesh.num_vertices, np.dtype(vertex_fields))
    vertex["position"] = mesh.vertices
    if mesh.vertex_colors is not None:
        vertex["color"] = mesh.vertex_colors
    face = np.zeros(mesh.num_faces, np.dtype(face_fields))
    face["size"], face["corners"] = 3, mesh.faces
    if mesh.uv is not None:
        face["uv_size"], face["uv"] = 6, mesh.uv.reshape(-1, 6)
    file.write(("\n".join([*header, "end_header"]) + "\n").encode() + vertex.tobytes() + face.tobytes())
