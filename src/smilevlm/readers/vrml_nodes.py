"""The tree of nodes that VRML and X3D files describe, whatever the syntax, and the expansion of its prototypes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smilevlm.readers._source import Source

MAX_DEPTH = 80
MAX_TOKENS = 200_000
"""A face scan has about 150 outside its number lists; more would cost memory out of proportion to the file."""

MAX_EXPANDED_FIELDS = 200_000
"""Prototypes within prototypes can describe a tree of any size in a few bytes."""

NODE_NAMES = (
    "Anchor", "Appearance", "Billboard", "CADFace", "CADPart", "Collision", "Color", "ColorRGBA", "Coordinate",
    "Coordinate3", "CoordinateDouble", "ElevationGrid", "FaceSet", "File", "Group", "ImageTexture", "IndexedFaceSet",
    "IndexedQuadSet", "IndexedTriangleFanSet", "IndexedTriangleStripSet", "IndexedTriangleSet", "Inline", "LOD",
    "MatrixTransform", "MultiTexture", "MultiTextureCoordinate", "PointSet", "QuadSet", "Rotation", "Scale",
    "Separator", "Shape", "ShapeHints", "StaticGroup", "Switch", "Texture2", "TextureCoordinate", "TextureCoordinate2",
    "Transform", "TransformSeparator", "Translation", "TriangleFanSet", "TriangleSet", "TriangleStripSet",
    "VertexProperty", "WWWAnchor", "WWWInline",
)  # fmt: skip
FIELD_NAMES = (
    "appearance", "ccw", "center", "children", "choice", "color", "colorIndex", "colorPerVertex", "coord",
    "coordIndex", "fanCount", "filename", "geometry", "height", "index", "level", "matrix", "name", "numPoints",
    "numVertices", "point", "rotation", "scale", "scaleFactor", "scaleOrientation", "shape", "startIndex", "stripCount",
    "texCoord", "texCoordIndex", "texture", "textureCoordIndex", "translation", "url", "vertex", "vertexOrdering",
    "vertexProperty", "whichChild", "whichChoice", "xDimension", "xSpacing", "zDimension", "zSpacing",
)  # fmt: skip
_NODES = {name.lower(): name for name in NODE_NAMES}
_FIELDS = {name.lower(): name for name in FIELD_NAMES}


def node_name(text: str) -> str:
    """A node's type as the standard spells it: some programs write it in other cases."""
    return _NODES.get(text.lower(), text)


def field_name(text: str) -> str:
    """A field's name as the standard spells it."""
    return _FIELDS.get(text.lower(), text)


@dataclass(frozen=True)
class Span:
    """The bytes of a number list, brackets excluded."""

    start: int
    stop: int


@dataclass(frozen=True)
class Parameter:
    """The value of a field in a prototype's body that each instance gives (`IS`)."""

    name: str


@dataclass(frozen=True)
class Node:
    """One node: its type, its fields by name, and where it starts.

    A field's value is a span of numbers, a tuple of strings, a tuple of nodes, TRUE or FALSE, or None for NULL. The
    nodes that VRML 1.0 writes among the fields are those of the field `children`.
    """

    type: str
    fields: dict[str, Value]
    position: int

    def span(self, name: str) -> Span | None:
        value = self.fields.get(name)
        return value if isinstance(value, Span) else None

    def nodes(self, name: str) -> tuple[Node, ...]:
        value = self.fields.get(name)
        if not isinstance(value, tuple):
            return ()
        return tuple(item for item in value if isinstance(item, Node))

    def node(self, name: str) -> Node | None:
        return next(iter(self.nodes(name)), None)

    def strings(self, name: str) -> tuple[str, ...]:
        value = self.fields.get(name)
        if not isinstance(value, tuple):
            return ()
        return tuple(item for item in value if isinstance(item, str))

    def flag(self, name: str, default: bool) -> bool:
        value = self.fields.get(name)
        return value if isinstance(value, bool) else default


Value = Span | tuple[str, ...] | tuple[Node, ...] | bool | Parameter | None


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a file says: its top-level nodes, and what keeps it from being complete.

    `missing` is the first `USE` of an unknown name and its position; `cut` is where the last node or list starts that
    the end of the file leaves open; unread are instances of prototypes that are not expanded.
    """

    nodes: tuple[Node, ...]
    missing: tuple[str, int] | None = None
    cut: int | None = None
    has_unread_prototypes: bool = False


class Budget:
    """Counts what a parser takes, so that a small file cannot cost much memory."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._num_tokens = 0

    def take(self, count: int, position: int) -> None:
        """Count words."""
        self._num_tokens += count
        if self._num_tokens > MAX_TOKENS:
            raise self._source.text_error(f"more than {MAX_TOKENS} words outside number lists", position)

    def require_depth(self, depth: int, position: int) -> None:
        """Refuse nodes within nodes beyond `MAX_DEPTH`."""
        if depth > MAX_DEPTH:
            raise self._source.text_error(f"nodes nested more than {MAX_DEPTH} deep", position)


@dataclass(frozen=True, kw_only=True)
class Prototype:
    """A `PROTO`: an instance is its first node, fields have defaults; or the urls of an `EXTERNPROTO`."""

    body: Node | None
    defaults: dict[str, Value]
    urls: tuple[str, ...] = ()


class Expander:
    """Makes the nodes that instances of prototypes stand for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._num_fields = 0

    def instance(self, prototype: Prototype, given: dict[str, Value], position: int) -> Node | None:
        """The body of a prototype with the values of one instance."""
        if prototype.urls:
            return Node("Inline", {"url": prototype.urls}, position)
        if prototype.body is None:
            return None
        return self._filled(prototype.body, prototype.defaults | given, {}, 0)

    def _filled(self, node: Node, values: dict[str, Value], known: dict[int, Node], depth: int) -> Node:
        if id(node) in known:
            return known[id(node)]
        self._num_fields += 1 + len(node.fields)
        if self._num_fields > MAX_EXPANDED_FIELDS:
            message = f"the instances of prototypes have more than {MAX_EXPANDED_FIELDS} fields"
            raise self._source.text_error(message, node.position)
        if depth > MAX_DEPTH:
            raise self._source.text_error("nodes nested too deep by prototypes", node.position)
        fields = {name: self._value(value, values, known, depth) for name, value in node.fields.items()}
        is_same = all(fields[name] is value for name, value in node.fields.items())
        # What no instance changes stays one node: a list that all have is read once.
        known[id(node)] = node if is_same else Node(node.type, fields, node.position)
        return known[id(node)]

    def _value(self, value: Value, values: dict[str, Value], known: dict[int, Node], depth: int) -> Value:
        if isinstance(value, Parameter):
            return values.get(value.name)
        if not isinstance(value, tuple):
            return value
        self._num_fields += len(value)
        items = tuple(
            self._filled(item, values, known, depth + 1) if isinstance(item, Node) else item for item in value
        )
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items  # type: ignore[return-value]


_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def quoted_strings(text: str) -> tuple[str, ...]:
    """The strings of `"a" "b"`, as XML writes a list of them; text without quotes is one string."""
    found = tuple(unescaped(match) for match in _STRING.findall(text))
    return found or ((text.strip(),) if text.strip() else ())


def unescaped(text: str) -> str:
    r"""Text between quotes, where `\"` stands for a quote and `\\` for a backslash."""
    return re.sub(r'\\(["\\])', r"\1", text)
