"""From the nodes of VRML and X3D to surfaces and points in the frame of the file.

In VRML 2.0 and X3D a node holds its geometry; in VRML 1.0 and Open Inventor each changes the state of those after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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

SEPARATORS = {"Separator", "WWWAnchor", "LOD"}
"""Nodes after which the state is as before them."""
ALL_CHILDREN = -3
"""What `whichChild` says for all of them."""

Matrix = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A part in the frame of the file, by a matrix from its own.

    `is_solid` tells surfaces from points; `shares` is the number of an earlier part whose vertices, placed alike, it
    names.
    """

    part: Part
    vertices: Float[np.ndarray, "vert 3"]
    matrix: Matrix
    texture_name: str | None
    is_solid: bool
    shares: int | None


class Collected:
    """What a walk through a scene finds: the geometry in order, and files that the scene names in place of it."""

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
        """Count a visit to a node."""
        self._num_visited += 1
        if self._num_visited > MAX_VISITED_NODES:
            raise self._source.text_error(f"DEF and USE describe more than {MAX_VISITED_NODES} nodes", node.position)
        if depth > MAX_DEPTH:
            raise self._source.text_error("nodes nested too deep by USE", node.position)

    def add(self, geometry: Geometry, matrix: Matrix, texture_name: str | None, *, shared: bool = False) -> None:
        """Read a geometry and keep it, placed by a matrix from its frame to the file's.

        With `shared`, all geometry that names the same points in the same place is one surface.
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
                part=part, vertices=vertices, matrix=matrix, texture_name=texture_name, is_solid=is_solid, shares=shares
            )
        )

    def _require(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        self._source.require_memory(self._num_bytes)


def walk_scene(source: Source, nodes: tuple[Node, ...]) -> Collected:
    """All geometry of a scene of VRML 2.0 or X3D."""
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
    """T C R SR S -SR -C, in the words of ISO/IEC 14772-1, 6.52; `scale` names its field (VRML 1.0: `scaleFactor`)."""
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


@dataclass(frozen=True, kw_only=True)
class _State:
    """What the nodes before a geometry say of it."""

    matrix: Matrix
    points: Span | None = None
    texture_points: Span | None = None
    texture_name: str | None = None
    flipped: bool = False


def walk_scene_1(source: Source, nodes: tuple[Node, ...]) -> Collected:
    """All geometry of a scene of VRML 1.0 or Open Inventor."""
    scene = _StateScene(source)
    scene.visit_all(nodes, _State(matrix=np.eye(4)), 0)
    return scene.collected


class _StateScene:
    def __init__(self, source: Source) -> None:
        self.collected = Collected(source)
        self._source = source

    def visit_all(self, nodes: tuple[Node, ...], state: _State, depth: int) -> _State:
        for node in nodes:
            state = self._visit(node, state, depth)
        return state

    def _visit(self, node: Node, state: _State, depth: int) -> _State:
        self.collected.count(node, depth)
        if node.type in FORMS:
            self.collected.add(self._geometry(node, state), state.matrix, state.texture_name, shared=True)
            return state
        if node.type in {"WWWInline", "File"}:
            self.collected.named_files += node.strings("name")[:1]
            return state
        changed = self._change(node, state)
        if changed is not None:
            return changed
        children = node.nodes("children")
        if node.type == "LOD":  # the first level is the finest
            children = children[:1]
        elif node.type == "Switch":
            chosen = whole_number(self._source, node, "whichChild", -1)
            if chosen != ALL_CHILDREN:
                children = children[chosen : chosen + 1] if chosen >= 0 else ()
        after = self.visit_all(children, state, depth + 1)
        if node.type in SEPARATORS:
            return state
        return replace(after, matrix=state.matrix) if node.type == "TransformSeparator" else after

    def _change(self, node: Node, state: _State) -> _State | None:
        """The state after a node that only changes it; None for any other."""
        match node.type:
            case "Coordinate3":
                return replace(state, points=node.span("point"))
            case "TextureCoordinate2":
                return replace(state, texture_points=node.span("point"))
            case "VertexProperty":
                return replace(state, points=node.span("vertex"), texture_points=node.span("texCoord"))
            case "Texture2":
                return replace(state, texture_name=next(iter(node.strings("filename")), None))
            case "ShapeHints":
                order = node.strings("vertexOrdering")
                return replace(state, flipped=order[0].upper() == "CLOCKWISE") if order else state
            case "Transform":
                moved = transform_matrix(self._source, node, "scaleFactor")
            case "Translation":
                moved = translation_matrix(numbers(self._source, node, "translation", (0.0, 0.0, 0.0)))
            case "Rotation":
                moved = rotation_matrix(numbers(self._source, node, "rotation", (0.0, 0.0, 1.0, 0.0)))
            case "Scale":
                moved = np.diag([*numbers(self._source, node, "scaleFactor", (1.0, 1.0, 1.0)), 1.0])
            case "MatrixTransform":  # written for row vectors
                moved = numbers(self._source, node, "matrix", tuple(np.eye(4).ravel().tolist())).reshape(4, 4).T
            case _:
                return None
        return replace(state, matrix=state.matrix @ moved)

    def _geometry(self, node: Node, state: _State) -> Geometry:
        """The lists of a geometry node: its own, and those of the nodes before it."""
        own = node.node("vertexProperty")
        if own is not None:
            state = replace(state, points=own.span("vertex"), texture_points=own.span("texCoord"))
        is_points = FORMS[node.type] == "points"
        return Geometry(
            type=node.type,
            position=node.position,
            points=state.points,
            index=node.span("coordIndex") if node.type.startswith("Indexed") else None,
            counts=node.span("numVertices"),
            texture_points=None if is_points else state.texture_points,
            texture_index=node.span("textureCoordIndex"),
            first=max(whole_number(self._source, node, "startIndex", 0), 0),
            flipped=state.flipped,
        )
