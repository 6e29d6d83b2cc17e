"""X3D in XML to the tree of nodes that VRML gives. Number lists stay spans of the file's bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from smilevlm.readers._source import Source
from smilevlm.readers.vrml_geometry import FORMS
from smilevlm.readers.vrml_nodes import Budget, Document, Node, Span, Value, field_name, node_name, quoted_strings

FIELD_OF = {
    "Appearance": "appearance",
    "ImageTexture": "texture",
    "MultiTexture": "texture",
    "Coordinate": "coord",
    "CoordinateDouble": "coord",
    "TextureCoordinate": "texCoord",
    "MultiTextureCoordinate": "texCoord",
    "Color": "color",
    "ColorRGBA": "color",
} | dict.fromkeys(FORMS, "geometry")
"""The field of its parent that an element is, where it does not say; `children` for any other."""
STRING_FIELDS = {"url"}
PASSED_OVER = {"head", "protodeclare", "externprotodeclare", "script", "composedshader", "packagedshader"}
"""Elements without geometry for us, in lower case."""
TRANSPARENT = {"x3d", "scene"}
"""Elements whose children are the scene's."""

_CUT = expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]
_BLANK_REFERENCE = re.compile(rb"&#(?:0*(?:9|10|13|32)|x0*(?:9|[aAdD]|20));")
_TAG = re.compile(rb"<[^\s/>]+")
_ATTRIBUTE = re.compile(rb"\s*[^\s=]+\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


@dataclass
class _Open:
    """An element whose end has not come yet."""

    type: str
    position: int
    container: str | None = None
    name: str | None = None
    used: Node | None = None
    is_kept: bool = True
    fields: dict[str, Value] = field(default_factory=dict)
    children: dict[str, list[Node]] = field(default_factory=dict)


def with_blanks(data: bytes) -> bytes:
    """XML in which references to blanks are blanks, each as long as before: some programs end lines of lists so."""
    if b"&#" not in data:
        return data
    return _BLANK_REFERENCE.sub(lambda match: b" " * len(match.group()), data)


def parse_x3d(source: Source) -> Document:
    """The nodes of an X3D file, of which `with_blanks` was taken. Prototypes are not read."""
    return _Parser(source).document()


class _Parser:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._budget = Budget(source)
        self._open: list[_Open] = [_Open("Scene", 0)]
        self._defined: dict[str, Node] = {}
        self._missing: tuple[str, int] | None = None
        self._has_prototypes = False
        # What the declaration says is not true of text that was recoded.
        self._expat = expat.ParserCreate(_encoding(source.data))
        self._expat.ordered_attributes = True
        self._expat.specified_attributes = True
        self._expat.EntityDeclHandler = self._refuse_entity
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end

    def document(self) -> Document:
        cut = None
        try:
            self._expat.Parse(self._source.data, True)
        except expat.ExpatError as error:
            if error.code != _CUT or len(self._open) < 2:
                message = f"not well-formed XML: {expat.errors.messages[error.code]}"
                raise self._source.text_error(message, self._expat.ErrorByteIndex) from None
            cut = self._open[-1].position
            while len(self._open) > 1:
                self._end("")
        nodes = [node for children in self._open[0].children.values() for node in children]
        return Document(nodes=tuple(nodes), missing=self._missing, cut=cut, has_unread_prototypes=self._has_prototypes)

    def _refuse_entity(self, name: str, *_: object) -> None:
        position = max(self._expat.CurrentByteIndex, 0)
        raise self._source.text_error(f"declares an entity ({name[:24]}); such XML is not read", position)

    def _start(self, element: str, attributes: list[str]) -> None:
        position = self._expat.CurrentByteIndex
        self._budget.take(1 + len(attributes), position)
        self._budget.require_depth(len(self._open) - 3, position)
        parent = self._open[-1]
        written = element.rpartition(":")[2]
        lower = written.lower()
        if lower in TRANSPARENT and parent.is_kept:
            self._open.append(_Open("Scene", position, fields=parent.fields, children=parent.children))
            return
        self._has_prototypes |= lower == "protoinstance" and parent.is_kept
        opened = _Open(node_name(written), position, is_kept=parent.is_kept and lower not in PASSED_OVER)
        self._open.append(opened)
        if opened.is_kept:
            self._read_attributes(opened, attributes)
            if opened.container is None or (opened.container == "geometry" and parent.type != "Shape"):
                opened.container = FIELD_OF.get(opened.type, "children") if parent.type != "Scene" else "children"

    def _read_attributes(self, opened: _Open, attributes: list[str]) -> None:
        match = _TAG.match(self._source.data, opened.position)
        assert match is not None, "expat gives the position of the tag"
        at = match.end()
        for name, text in zip(attributes[::2], attributes[1::2], strict=True):
            found = _ATTRIBUTE.match(self._source.data, at)
            assert found is not None, "well-formed by expat"
            at = found.end()
            self._read_attribute(opened, name, text, Span(*found.span(found.lastindex or 1)))

    def _read_attribute(self, opened: _Open, name: str, text: str, span: Span) -> None:
        known = field_name(name)
        lower = name.lower()
        if lower == "def":
            opened.name = text
        elif lower == "use":
            opened.used = self._defined.get(text)
            if opened.used is None:
                missing = (f"USE {text[:40]}: no DEF before it gives that name", opened.position)
                self._missing = self._missing or missing
                opened.is_kept = False
        elif lower == "containerfield":
            opened.container = field_name(text)
        elif text.strip().lower() in {"true", "false"}:
            opened.fields[known] = text.strip().lower() == "true"
        elif known in STRING_FIELDS:
            opened.fields[known] = quoted_strings(text)
        else:
            opened.fields[known] = span

    def _end(self, _: str) -> None:
        closed = self._open.pop()
        if closed.type == "Scene" or not closed.is_kept:
            return
        node = closed.used
        if node is None:
            fields = closed.fields | {name: tuple(nodes) for name, nodes in closed.children.items()}
            node = Node(closed.type, fields, closed.position)
            if closed.name is not None:
                self._defined[closed.name] = node
        self._open[-1].children.setdefault(closed.container or "children", []).append(node)


def _encoding(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "utf-8"
