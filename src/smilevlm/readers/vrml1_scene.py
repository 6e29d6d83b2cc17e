"""From the nodes of VRML 1.0 and Open Inventor to surfaces: each node changes the state of those after it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from smilevlm.readers._source import Source
from smilevlm.readers.vrml_geometry import FORMS, Geometry, numbers, whole_number
from smilevlm.readers.vrml_nodes import Node, Span
from smilevlm.readers.vrml_scene import Collected, Matrix, rotation_matrix, transform_matrix, translation_matrix

SEPARATORS = {"Separator", "WWWAnchor", "LOD"}
"""Nodes after which the state is as before them."""
ALL_CHILDREN = -3
"""What `whichChild` says for all of them."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What the nodes before a geometry say of it."""

    matrix: Matrix
    points: Span | None = None
    texture_points: Span | None = None
    texture_name: str | None = None
    flipped: bool = False


def walk_scene_1(source: Source, nodes: tuple[Node, ...]) -> Collected:
    """All geometry of a scene of VRML 1.0 or Open Inventor.

    Raises:
        MeshError: A node is broken, or the scene is far larger than the file.
    """
    scene = _Scene(source)
    scene.visit_all(nodes, State(matrix=np.eye(4)), 0)
    return scene.collected


class _Scene:
    def __init__(self, source: Source) -> None:
        self.collected = Collected(source)
        self._source = source

    def visit_all(self, nodes: tuple[Node, ...], state: State, depth: int) -> State:
        for node in nodes:
            state = self._visit(node, state, depth)
        return state

    def _visit(self, node: Node, state: State, depth: int) -> State:
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

    def _change(self, node: Node, state: State) -> State | None:
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

    def _geometry(self, node: Node, state: State) -> Geometry:
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
