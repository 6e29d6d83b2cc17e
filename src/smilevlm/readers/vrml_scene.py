"""From the nodes of VRML 2.0 and X3D to surfaces and points in the frame of the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from smilevlm.readers._source import Source
from smilevlm.readers.vrml_geometry import (
    FORMS,
    Geometry,
    Grid,
    Part,
    geometry_of,
    numbers,
    read_part,
    read_points,
    span_bytes,
    whole_number,
)
from smilevlm.readers.vrml_nodes import MAX_DEPTH, Node, Span

MAX_VISITED_NODES = 100_000
"""DEF and USE can describe a tree of any size in a few bytes."""

Matrix = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A part in the frame of the file.

    Args:
        part: Faces, texture coordinates, colours.
        vertices: In the part's own frame.
        matrix: From that frame to the file's.
        texture_name: What the file calls the texture.
        is_solid: It was written as a surface, not as points.
        shares: The number in the list of an earlier part whose vertices, placed alike, this one names; or None.
    """

    part: Part
    vertices: Float[np.ndarray, "vert 3"]
    matrix: Matrix
    texture_name: str | None
    is_solid: bool
    shares: int | None


class Collected:
    """What a walk through a scene finds.

    Attributes:
        placed: The geometry, in order.
        named_files: Files that the scene names in place of geometry.
    """

    def __init__(self, source: Source) -> None:
        self.placed: list[Placed] = []
        self.named_files: list[str] = []
        self._source = source
        self._parts: dict[Geometry, Part] = {}  # geometry that is USEd again is not parsed again
        self._points: dict[tuple[Span | None, Grid | None], Float[np.ndarray, "vert 3"]] = {}
        self._shared: dict[tuple[Span | None, bytes], int] = {}
        self._num_visited = 0
        self._num_bytes = 0

    def count(self, node: Node, depth: int) -> None:
        """Count a visit to a node.

        Raises:
            MeshError: There are too many, or it is too deep.
        """
        self._num_visited += 1
        if self._num_visited > MAX_VISITED_NODES:
            raise self._source.text_error(f"DEF and USE describe more than {MAX_VISITED_NODES} nodes", node.position)
        if depth > MAX_DEPTH:
            raise self._source.text_error("nodes nested too deep by USE", node.position)

    def add(self, geometry: Geometry, matrix: Matrix, texture_name: str | None, *, shared: bool = False) -> None:
        """Read a geometry and keep it.

        Args:
            geometry: What to read.
            matrix: From its frame to the file's.
            texture_name: What the file calls its texture.
            shared: All geometry that names the same points in the same place is one surface.

        Raises:
            MeshError: It is broken, or there is far more of it than the file has bytes.
        """
        place = (geometry.points, matrix.tobytes())
        shares = self._shared.get(place) if shared else None
        points_key = (geometry.points, geometry.grid)
        if geometry not in self._parts:
            # Many nodes may USE one long list, and each reads it again.
            self._require(geometry.list_bytes + (0 if points_key in self._points else span_bytes(geometry.points)))
        if points_key not in self._points:
            self._points[points_key] = read_points(self._source, geometry)
        vertices = self._points[points_key]
        if geometry not in self._parts:
            self._parts[geometry] = read_part(self._source, geometry, len(vertices))
        part = self._parts[geometry]
        # Colours and texture coordinates count even when absent: other parts may have them.
        self._require(part.faces.nbytes * 3 + (vertices.nbytes if shares is None else 0))
        if shared and shares is None:
            self._shared[place] = len(self.placed)
        is_solid = FORMS[geometry.type] != "points"
        self.placed.append(
            Placed(
                part=part,
                vertices=vertices,
                matrix=matrix,
                texture_name=texture_name,
                is_solid=is_solid,
                shares=shares,
            )
        )

    def _require(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        self._source.require_memory(self._num_bytes)


def walk_scene(source: Source, nodes: tuple[Node, ...]) -> Collected:
    """All geometry of a scene of VRML 2.0 or X3D.

    Raises:
        MeshError: A node is broken, or the scene is far larger than the file.
    """
    scene = _Scene(source)
    for node in nodes:
        scene.visit(node, np.eye(4), 0)
    return scene.collected


class _Scene:
    def __init__(self, source: Source) -> None:
        self.collected = Collected(source)
        self._source = source

    def visit(self, node: Node, matrix: Matrix, depth: int) -> None:
        self.collected.count(node, depth)
        children = node.nodes("children")
        if node.type == "Shape":
            self._shape(node, matrix)
        elif node.type in FORMS:
            self.collected.add(geometry_of(self._source, node), matrix, None)
        elif node.type == "Inline":
            self.collected.named_files += node.strings("url")[:1]
        elif node.type == "LOD":  # the first level is the finest
            children = (node.nodes("level") or children)[:1]
        elif node.type == "Switch":
            choices = node.nodes("choice") or children
            chosen = whole_number(self._source, node, "whichChoice", -1)
            children = choices[chosen : chosen + 1] if chosen >= 0 else ()
        elif node.type in {"Transform", "CADPart"}:
            matrix = matrix @ transform_matrix(self._source, node)
        elif node.type == "CADFace":
            children = node.nodes("shape")
        for child in children:
            self.visit(child, matrix, depth + 1)

    def _shape(self, node: Node, matrix: Matrix) -> None:
        geometry = node.node("geometry")
        if geometry is None:
            return
        if geometry.type == "Inline":
            self.collected.named_files += geometry.strings("url")[:1]
        if geometry.type not in FORMS:
            return
        appearance = node.node("appearance")
        texture = appearance.node("texture") if appearance else None
        if texture is not None and texture.type == "MultiTexture":
            texture = texture.node("texture")
        urls = texture.strings("url") if texture else ()
        self.collected.add(geometry_of(self._source, geometry), matrix, urls[0] if urls else None)


def rotation_matrix(axis_angle: Float64[np.ndarray, " 4"]) -> Matrix:
    """Rodrigues' formula; an axis of length zero turns nothing."""
    matrix = np.eye(4)
    length = float(np.linalg.norm(axis_angle[:3]))
    if length > 0:
        x, y, z = axis_angle[:3] / length
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        angle = float(axis_angle[3])
        matrix[:3, :3] += np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return matrix


def translation_matrix(offset: Float64[np.ndarray, " 3"]) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def transform_matrix(source: Source, node: Node, scale: str = "scale") -> Matrix:
    """T C R SR S -SR -C, in the words of ISO/IEC 14772-1, 6.52.

    Args:
        source: The file.
        node: A Transform.
        scale: What the scale is called; `scaleFactor` in VRML 1.0.

    Raises:
        MeshError: A field has another count of numbers.
    """
    zero, no_turn = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)
    center = numbers(source, node, "center", zero)
    turned = rotation_matrix(numbers(source, node, "scaleOrientation", no_turn))
    return (
        translation_matrix(numbers(source, node, "translation", zero) + center)
        @ rotation_matrix(numbers(source, node, "rotation", no_turn))
        @ turned
        @ np.diag([*numbers(source, node, scale, (1.0, 1.0, 1.0)), 1.0])
        @ turned.T
        @ translation_matrix(-center)
    )
