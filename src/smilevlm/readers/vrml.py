"""VRML 2.0 scans: BU-3DFE (`*_F3D.wrl`, `*_RAW.wrl`), BU-4DFE (`000.wrl`), and VRML 97 of other origin."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from smilevlm.geometry import Mesh
from smilevlm.readers._source import BLANK_COLOR, Source, Triangles, color_bytes, cut_into_triangles
from smilevlm.readers._status import DONE
from smilevlm.readers.elements import usable_mesh
from smilevlm.readers.textures import load_named_texture
from smilevlm.readers.vrml_syntax import MAX_DEPTH, Node, Span, parse_vrml
from smilevlm.typing import CornerUv, Faces

GROUPS = {"Group", "Transform", "Anchor", "Billboard", "Collision"}
GEOMETRY = {"IndexedFaceSet", "PointSet"}
MAX_VISITED_NODES = 100_000
"""DEF and USE can describe a tree of any size in a few bytes."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One IndexedFaceSet or PointSet in its own frame."""

    vertices: Float64[np.ndarray, "vert 3"]
    faces: Faces
    uv: CornerUv | None
    colors: UInt8[np.ndarray, "vert 3"] | None
    remarks: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        # Colours and texture coordinates count even when absent: other parts may have them.
        return self.vertices.nbytes + self.faces.nbytes * 3


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A part in the frame of the file, with the texture's name."""

    part: Part
    matrix: Float64[np.ndarray, "4 4"]
    texture_name: str | None


def read_vrml(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read all IndexedFaceSets and PointSets of a VRML 2.0 file as one mesh.

    Transforms are applied. Faces with more than three corners are cut as fans. Texture coordinates follow
    texCoordIndex, which in BU-3DFE differs from coordIndex; without it coordIndex serves. Parts without texture
    coordinates or colours, among parts with them, get zeros and grey.

    Args:
        data: The whole file.
        path: Where it came from, for messages and to find the texture.
        load_texture: Read the image that `url` names, or that shares the file's stem.

    Raises:
        MeshError: At `path:line`; or the texture cannot be decoded.
    """
    source = Source(data, path)
    _check_header(source)
    reader = _Scene(source)
    for node in parse_vrml(source):
        reader.visit(node, np.eye(4), 0)
    if not reader.placed:
        raise source.error("no IndexedFaceSet or PointSet, expected the geometry of a scan")
    vertices = _concatenate_vertices(reader.placed)
    faces, uv = _concatenate_faces(reader.placed)
    names = _texture_names(reader.placed, path)
    return usable_mesh(
        path,
        vertices,
        faces=faces,
        uv=uv,
        texture=load_named_texture(path, names) if load_texture and uv is not None else None,
        vertex_colors=_concatenate_colors(reader.placed),
        remarks=dict.fromkeys(remark for item in reader.placed for remark in item.part.remarks),
    )


def _check_header(source: Source) -> None:
    head = source.data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"\x1f\x8b"):
        raise source.error("a gzip-compressed VRML file; unpack it first")
    if head.startswith(b"#VRML V1.0"):
        raise source.text_error("VRML 1.0, expected VRML 2.0 ('#VRML V2.0 utf8')", 0)
    if not head.startswith((b"#VRML V2.0", b"#X3D V3")):
        raise source.text_error("expected '#VRML V2.0 utf8' on the first line", 0)


class _Scene:
    """Walks the tree and keeps what has geometry."""

    def __init__(self, source: Source) -> None:
        self.placed: list[Placed] = []
        self._source = source
        self._parts: dict[int, Part] = {}  # by node: geometry that is USEd again is not parsed again
        self._num_visited = 0
        self._num_bytes = 0

    def visit(self, node: Node, matrix: Float64[np.ndarray, "4 4"], depth: int) -> None:
        self._num_visited += 1
        if self._num_visited > MAX_VISITED_NODES:
            raise self._source.text_error(f"DEF and USE describe more than {MAX_VISITED_NODES} nodes", node.position)
        if depth > MAX_DEPTH:
            raise self._source.text_error("nodes nested too deep by USE", node.position)
        if node.type == "Shape":
            self._shape(node, matrix)
        elif node.type in GEOMETRY:
            self._add(node, matrix, None)
        elif node.type in GROUPS:
            if node.type == "Transform":
                matrix = matrix @ _transform_matrix(self._source, node)
            for child in node.nodes("children"):
                self.visit(child, matrix, depth + 1)
        elif node.type == "LOD":  # the first level is the finest
            for child in (node.nodes("level") or node.nodes("children"))[:1]:
                self.visit(child, matrix, depth + 1)
        elif node.type == "Switch":
            choices = node.nodes("choice") or node.nodes("children")
            chosen = int(_numbers(self._source, node, "whichChoice", (-1.0,))[0])
            if 0 <= chosen < len(choices):
                self.visit(choices[chosen], matrix, depth + 1)

    def _shape(self, node: Node, matrix: Float64[np.ndarray, "4 4"]) -> None:
        geometry = node.node("geometry")
        if geometry is None or geometry.type not in GEOMETRY:
            return
        appearance = node.node("appearance")
        texture = appearance.node("texture") if appearance else None
        urls = texture.strings("url") if texture else ()
        self._add(geometry, matrix, urls[0] if urls else None)

    def _add(self, node: Node, matrix: Float64[np.ndarray, "4 4"], texture_name: str | None) -> None:
        if id(node) not in self._parts:
            # Many nodes may USE one long list, and each reads it again.
            self._num_bytes += _num_list_bytes(node)
            self._source.require_memory(self._num_bytes)
            self._parts[id(node)] = _read_part(self._source, node)
        part = self._parts[id(node)]
        self._num_bytes += part.num_bytes
        self._source.require_memory(self._num_bytes)
        self.placed.append(Placed(part=part, matrix=matrix, texture_name=texture_name))


def _num_list_bytes(node: Node) -> int:
    spans = [value for value in node.fields.values() if isinstance(value, Span)]
    for name in ("coord", "texCoord", "color"):
        for child in node.nodes(name):
            spans += [value for value in child.fields.values() if isinstance(value, Span)]
    return sum(span.stop - span.start for span in spans)


def _numbers(source: Source, node: Node, name: str, default: tuple[float, ...]) -> Float64[np.ndarray, " value"]:
    span = node.span(name)
    if span is None:
        return np.array(default)
    values = source.floats(span.start, span.stop)
    if len(values) != len(default):
        raise source.text_error(f"{name} has {len(values)} numbers, expected {len(default)}", span.start)
    return values


def _rotation_matrix(axis_angle: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, "4 4"]:
    """Rodrigues' formula; an axis of length zero turns nothing."""
    matrix = np.eye(4)
    length = float(np.linalg.norm(axis_angle[:3]))
    if length > 0:
        x, y, z = axis_angle[:3] / length
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        angle = float(axis_angle[3])
        matrix[:3, :3] += np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return matrix


def _translation_matrix(offset: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "4 4"]:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def _transform_matrix(source: Source, node: Node) -> Float64[np.ndarray, "4 4"]:
    """T C R SR S -SR -C, in the words of ISO/IEC 14772-1, 6.52."""
    zero, no_turn = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)
    center = _numbers(source, node, "center", zero)
    turned = _rotation_matrix(_numbers(source, node, "scaleOrientation", no_turn))
    return (
        _translation_matrix(_numbers(source, node, "translation", zero) + center)
        @ _rotation_matrix(_numbers(source, node, "rotation", no_turn))
        @ turned
        @ np.diag([*_numbers(source, node, "scale", (1.0, 1.0, 1.0)), 1.0])
        @ turned.T
        @ _translation_matrix(-center)
    )


def _rows(source: Source, node: Node | None, field: str, width: int) -> Float64[np.ndarray, "row {width}"] | None:
    span = node.span(field) if node else None
    if node is None or span is None:
        return None
    return source.rows(span.start, span.stop, width, f"{node.type} {field}")


def _read_part(source: Source, node: Node) -> Part:
    vertices = _rows(source, node.node("coord"), "point", 3)
    if vertices is None:
        vertices = np.zeros((0, 3))
    triangles = Triangles(faces=np.zeros((0, 3), np.int32), uv=None)
    coordinate_span = node.span("coordIndex") if node.type == "IndexedFaceSet" else None
    if coordinate_span is not None:
        triangles = _read_faces(source, node, coordinate_span, len(vertices))
    colors, remarks = _read_colors(source, node, coordinate_span, len(vertices))
    return Part(
        vertices=vertices, faces=triangles.faces, uv=triangles.uv, colors=colors, remarks=triangles.remarks + remarks
    )


def _read_faces(source: Source, node: Node, span: Span, num_vertices: int) -> Triangles:
    corners = source.indices(span.start, span.stop)
    points = _rows(source, node.node("texCoord"), "point", 2)
    texture_span = node.span("texCoordIndex")
    texture_corners = None
    if points is not None:
        if texture_span is None or not source.data[texture_span.start : texture_span.stop].strip():
            texture_span = span  # an absent or empty texCoordIndex: coordIndex serves
        texture_corners = corners if texture_span is span else source.indices(texture_span.start, texture_span.stop)
    triangles = cut_into_triangles(
        source,
        corners,
        num_vertices,
        texture_corners=texture_corners,
        texture_points=points,
        flipped=not node.flag("ccw", True),
    )
    if triangles.status != DONE:
        position = source.value_position(span.start, span.stop, triangles.ordinal)
        named = corners[triangles.ordinal]
        raise source.text_error(f"coordIndex names vertex {named}, there are {num_vertices}", position)
    return triangles


def _read_colors(
    source: Source, node: Node, coordinate_span: Span | None, num_vertices: int
) -> tuple[UInt8[np.ndarray, "vert 3"] | None, tuple[str, ...]]:
    """Colours per vertex, and a remark where they do not fit the vertices; colours per face are left out."""
    colors = _rows(source, node.node("color"), "color", 3)
    if colors is None or not node.flag("colorPerVertex", True):
        return None, ()
    left_out = (f"{len(colors)} colours do not fit the {num_vertices} vertices; left out",)
    index_span = node.span("colorIndex")
    if coordinate_span is None or index_span is None or not len(color_index := source.indices(*_ends(index_span))):
        return (color_bytes(colors[:num_vertices]), ()) if len(colors) >= num_vertices else (None, left_out)
    corners = source.indices(*_ends(coordinate_span))
    length = min(len(corners), len(color_index))
    corners, color_index = corners[:length], color_index[:length]
    named = (corners >= 0) & (corners < num_vertices)
    if color_index.max(initial=-1) >= len(colors) or (color_index[named] < 0).any():
        return None, left_out
    result = np.full((num_vertices, 3), BLANK_COLOR, np.uint8)
    result[corners[named]] = color_bytes(colors)[color_index[named]]
    return result, ()


def _ends(span: Span) -> tuple[int, int]:
    return span.start, span.stop


def _concatenate_vertices(placed: list[Placed]) -> Float64[np.ndarray, "vert 3"]:
    moved = []
    for item in placed:
        vertices = item.part.vertices
        if not np.array_equal(item.matrix, np.eye(4)):
            with np.errstate(over="ignore", invalid="ignore"):
                vertices = vertices @ item.matrix[:3, :3].T + item.matrix[:3, 3]
        moved.append(vertices)
    return np.concatenate(moved) if len(moved) > 1 else moved[0]


def _concatenate_faces(placed: list[Placed]) -> tuple[Faces, CornerUv | None]:
    if len(placed) == 1 and np.linalg.det(placed[0].matrix[:3, :3]) > 0:
        return placed[0].part.faces, placed[0].part.uv
    has_uv = any(item.part.uv is not None for item in placed)
    all_faces, all_uv, offset = [], [], 0
    for item in placed:
        part = item.part
        mirrored = np.linalg.det(item.matrix[:3, :3]) < 0
        corners = np.array([0, 2, 1] if mirrored else [0, 1, 2])
        all_faces.append(np.take(part.faces, corners, axis=1) + np.int32(offset))
        offset += len(part.vertices)
        if has_uv:
            uv = part.uv if part.uv is not None else np.zeros((len(part.faces), 3, 2), np.float32)
            all_uv.append(np.take(uv, corners, axis=1))
    return np.concatenate(all_faces), np.concatenate(all_uv) if has_uv else None


def _concatenate_colors(placed: list[Placed]) -> UInt8[np.ndarray, "vert 3"] | None:
    if all(item.part.colors is None for item in placed):
        return None
    blank = [np.full((len(item.part.vertices), 3), BLANK_COLOR, np.uint8) for item in placed]
    return np.concatenate(
        [other if item.part.colors is None else item.part.colors for item, other in zip(placed, blank, strict=True)]
    )


def _texture_names(placed: list[Placed], path: Path) -> list[str]:
    names = list(dict.fromkeys(item.texture_name for item in placed if item.texture_name))
    if len(names) > 1:
        warnings.warn(f"{path}: {len(names)} textures, only the first ({names[0]}) is read", stacklevel=3)
    return names[:1]
