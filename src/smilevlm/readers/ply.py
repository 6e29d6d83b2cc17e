"""PLY, text and binary of either byte order: CoMA, FLAME registrations, MeshLab and scanner exports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers._source import ByteSink, Source
from smilevlm.readers._status import BAD_INDEX
from smilevlm.readers.elements import (
    NO_TRIANGLES,
    Triangles,
    color_bytes,
    cut_into_triangles,
    cut_remark,
    is_slightly_cut,
    strip_triangles,
    usable_mesh,
)
from smilevlm.readers.ply_elements import (
    FIRST_FLOAT_CODE,
    BinaryBody,
    Body,
    Column,
    Element,
    Header,
    TextBody,
    read_header,
)
from smilevlm.readers.textures import load_named_texture

VERTEX_NAMES = ("vertex", "vertices", "point", "points")
FACE_NAMES = ("face", "faces", "polygon", "polygons", "triangle", "triangles")
STRIP_NAMES = ("tristrips", "tristrip")
"""Strips of triangles in the files of Stanford's early scans, separated by -1."""
INDEX_LISTS = ("vertex_indices", "vertex_index", "vertex_indexes", "vertexindices", "indices", "vertices", "faces")
UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
COLOR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


def read_ply(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read vertices, colours, faces and texture coordinates; other properties and elements are passed over.

    Names and keywords may be in any case. The faces are a list of a usual name, or the only list of whole numbers;
    triangle strips are read too. The texture is the image named by `comment TextureFile`, or that shares the file's
    stem.
    """
    source = Source(data, path)
    header = read_header(source)
    body = TextBody(source, header) if header.encoding == "ascii" else BinaryBody(source, header)
    vertex_element, face_element = _used_elements(header)
    if vertex_element is None:
        raise source.text_error("no element vertex in the header", 0)
    vertex: dict[str, np.ndarray] = {}
    faces: _Faces | None = None
    remarks: list[str] = []
    # What stands after the last element that is used may be of any kind, or cut.
    last = max(number for number, item in enumerate(header.elements) if item is vertex_element or item is face_element)
    for number, element in enumerate(header.elements[: last + 1]):
        whole = _whole_rows(body, element, may_be_cut=number == last)
        if whole.count < element.count:
            what = "vertices" if element is vertex_element else "faces"
            remarks.append(cut_remark(element.count, whole.count, what))
        if element is vertex_element:
            vertex = _read_vertex(source, whole, body)
        elif element is face_element:
            faces = _read_faces(source, whole, body)
        body.advance(whole)
    vertices = np.stack([vertex[axis] for axis in "xyz"], axis=1)
    triangles = _triangles(source, faces, vertex, vertices)
    with_texture = load_texture and triangles.uv is not None
    return usable_mesh(
        path,
        vertices,
        triangles,
        texture=load_named_texture(path, header.texture_names) if with_texture else None,
        vertex_colors=_vertex_colors(vertex_element, vertex),
        remarks=(*remarks, *(() if faces is None else faces.remarks)),
    )


def _used_elements(header: Header) -> tuple[Element | None, Element | None]:
    """The vertices, and the faces or else the strips of triangles."""
    vertex = next((element for element in header.elements if element.name in VERTEX_NAMES), None)
    lists = [element for element in header.elements if _index_column(element) is not None and element is not vertex]
    for names in (FACE_NAMES, STRIP_NAMES):
        if found := next((element for element in lists if element.name in names), None):
            return vertex, found
    return vertex, None


def _whole_rows(body: Body, element: Element, *, may_be_cut: bool) -> Element:
    """The element with the rows that are there where few are missing at the end of the file."""
    if not element.properties:
        return element
    present = body.num_rows(element)
    if present == element.count:
        return element
    if may_be_cut and is_slightly_cut(element.count, present):
        return replace(element, count=present)
    body.check_count(element)
    body.advance(element)
    raise body.error(f"{element.count} rows of {element.name} announced, {present} are there")


def _read_vertex(source: Source, element: Element, body: Body) -> dict[str, np.ndarray]:
    """The scalar properties that are kept."""
    found: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(("x", "y", "z", *sum(UV_NAMES, ()), *sum(COLOR_NAMES, ()))):
        column = element.column(name)
        if column is not None:
            found[name] = body.column(element, column).values
            if name in "xyz":
                body.require_numbers(element, column, found[name])
    if missing := [name for name in "xyz" if name not in found]:
        raise source.line_error(f"element vertex has no property {', '.join(missing)}", element.line)
    return found


@dataclass(frozen=True, kw_only=True)
class _Faces:
    """Corner indices separated by -1, and texture coordinates per corner with a blank one for each separator."""

    corners: Int32[np.ndarray, " corner"]
    uv: Float32[np.ndarray, "corner 2"] | None
    where: MeshError
    """The error to raise when too many indices name nothing."""
    remarks: tuple[str, ...]


def _index_column(element: Element) -> int | None:
    """The list of a usual name, or else the only one of whole numbers."""
    columns = [element.column(name, is_list=True) for name in INDEX_LISTS]
    lists = [
        column
        for column, item in enumerate(element.properties)
        if item.count_code is not None and item.code < FIRST_FLOAT_CODE
    ]
    only = lists[0] if len(lists) == 1 else None
    return next((column for column in columns if column is not None), only)


def _read_faces(source: Source, element: Element, body: Body) -> _Faces:
    column = _index_column(element)
    assert column is not None
    indices = body.column(element, column)
    where = body.error("a face names a vertex that is not there, or by a number that is negative or not whole")
    values, lengths = indices.values, indices.lengths
    source.require_memory(16 * len(values) + 8 * element.count)
    if element.name in STRIP_NAMES:
        corners = strip_triangles(_with_separators(_as_indices(values), lengths)[0], [1, 0, 2])
        source.require_memory(4 * len(corners))
        return _Faces(corners=corners, uv=None, where=where, remarks=())
    numbers = _as_indices(values)
    corners, places = _with_separators(np.where(numbers == -1, np.int32(BAD_INDEX), numbers), lengths)
    uv, remarks = None, ()
    texture_column = element.column("texcoord", is_list=True)
    if texture_column is not None:
        uv, remarks = _corner_uv(body.column(element, texture_column), lengths, places, len(corners))
    return _Faces(corners=corners, uv=uv, where=where, remarks=remarks)


def _as_indices(values: Float64[np.ndarray, " value"]) -> Int32[np.ndarray, " value"]:
    """Whole numbers from -1 up; what is none can name nothing."""
    is_index = (values >= -1) & (values <= np.iinfo(np.int32).max) & (values == np.floor(values))
    return np.where(is_index, values, BAD_INDEX).astype(np.int32)


def _with_separators(
    indices: Int32[np.ndarray, " value"], lengths: Int32[np.ndarray, " row"]
) -> tuple[Int32[np.ndarray, " corner"], Int64[np.ndarray, " value"]]:
    """The indices with -1 after each row, and the place of each."""
    places = np.arange(len(indices)) + np.repeat(np.arange(len(lengths)), lengths)
    corners = np.full(len(indices) + len(lengths), -1, np.int32)
    corners[places] = indices
    return corners, places


def _corner_uv(
    texcoord: Column, lengths: Int32[np.ndarray, " row"], places: Int64[np.ndarray, " value"], num_corners: int
) -> tuple[Float32[np.ndarray, "corner 2"] | None, tuple[str, ...]]:
    """`texcoord` holds u v for each corner; a face without any gets zeros."""
    present = texcoord.lengths > 0
    if not present.any():
        return None, ()
    if (texcoord.lengths[present] != 2 * lengths[present]).any():
        return None, ("texcoord does not hold two numbers for each corner; texture coordinates left out",)
    uv = np.zeros((num_corners, 2), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        uv[places[np.repeat(present, lengths)]] = texcoord.values.reshape(-1, 2)
    return uv, ()


def _triangles(
    source: Source, faces: _Faces | None, vertex: dict[str, np.ndarray], vertices: Float64[np.ndarray, "vert 3"]
) -> Triangles:
    if faces is None:
        return NO_TRIANGLES
    corners = faces.corners
    points, texture_corners = faces.uv, None
    if points is not None:
        texture_corners = np.where(corners != -1, np.arange(len(corners), dtype=np.int32), np.int32(-1))
    else:
        names = next((pair for pair in UV_NAMES if set(pair) <= vertex.keys()), None)
        if names is not None:
            points, texture_corners = np.stack([vertex[name] for name in names], axis=1), corners
    return cut_into_triangles(
        source,
        corners,
        len(vertices),
        texture_corners=texture_corners,
        texture_points=points,
        vertices=vertices,
        bad_index=lambda _: faces.where,
    )


def _vertex_colors(element: Element, vertex: dict[str, np.ndarray]) -> UInt8[np.ndarray, "vert 3"] | None:
    """Colours of an integer type run to 255, those of a float type to 1 unless one is larger."""
    names = next((group for group in COLOR_NAMES if set(group) <= vertex.keys()), None)
    if names is None:
        return None
    colors = np.stack([vertex[name] for name in names], axis=1)
    column = element.column(names[0])
    assert column is not None
    is_float = element.properties[column].code >= FIRST_FLOAT_CODE
    return color_bytes(colors, 255.0 if is_float and np.nanmax(colors, initial=0) <= 1.0 else 1.0)


def write_ply(file: ByteSink, mesh: Mesh, *, texture_name: str | None = None) -> None:
    """Write binary little-endian PLY: vertices, colours, faces, and `texcoord` per corner.

    `texture_name` is written as `comment TextureFile`; the image is not.
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
