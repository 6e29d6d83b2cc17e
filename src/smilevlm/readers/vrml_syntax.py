"""VRML text to a tree of nodes: VRML 2.0 and X3D in its classic encoding, VRML 1.0 and Open Inventor.

Number lists stay spans of bytes until someone asks for them. Tokenised, never read by lines: brace layout, line breaks
and commas vary between the files of one data set.
"""

from __future__ import annotations

import re
from collections import ChainMap
from dataclasses import dataclass

from smilevlm.readers._source import Source
from smilevlm.readers._status import TOKEN_END, TOKEN_NUMBER, TOKEN_STRING, TOKEN_UNCLOSED_STRING, TOKEN_WORD
from smilevlm.readers.vrml_nodes import (
    Budget,
    Document,
    Expander,
    Node,
    Parameter,
    Prototype,
    Span,
    Value,
    field_name,
    node_name,
    unescaped,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
X3D_STATEMENTS = {"PROFILE": 1, "COMPONENT": 1, "META": 2, "UNIT": 3, "IMPORT": 1, "EXPORT": 1}
"""How many words follow the statements that stand before the nodes of X3D."""
WITH_DECLARATIONS = {"Script", "ComposedShader", "PackagedShader", "ShaderProgram"}
"""Nodes whose fields are declared inside them, in another grammar."""
WITH_VALUES = {"field", "exposedField", "initializeOnly", "inputOutput"}
"""Kinds of a prototype's declarations that give a default."""
_NON_FINITE = re.compile(r"(?:nan|inf(?:inity)?)(?:\([a-z]*\))?", re.IGNORECASE)


@dataclass(frozen=True)
class Token:
    kind: int
    text: str
    start: int
    stop: int


def parse_vrml(source: Source, *, version: int = 2) -> Document:
    """The nodes of a file of VRML 2.0, or of VRML 1.0 and Open Inventor, where nodes stand among the fields."""
    return _Parser(source, version).document()


class _Parser:
    def __init__(self, source: Source, version: int) -> None:
        from smilevlm.readers._kernels import find_close, next_token

        self._next_token = next_token
        self._find_close = find_close
        self._source = source
        self._version = version
        self._peeked: tuple[int, Token] | None = None
        self._position = len(BYTE_ORDER_MARK) if source.data.startswith(BYTE_ORDER_MARK) else 0
        self._budget = Budget(source)
        self._expander = Expander(source)
        self._defined: dict[str, Node] = {}
        self._prototypes: ChainMap[str, Prototype] = ChainMap()
        self._missing: tuple[str, int] | None = None
        self._cut: int | None = None

    def document(self) -> Document:
        nodes = self._nodes(0)
        if (token := self._peek()).kind != TOKEN_END:
            raise self._unexpected(token, "a node")
        return Document(nodes=nodes, missing=self._missing, cut=self._cut)

    def _nodes(self, depth: int) -> tuple[Node, ...]:
        """The nodes of a file or of a prototype's body, past what else stands there."""
        nodes: list[Node] = []
        while (token := self._peek()).kind == TOKEN_WORD:
            if not self._special_statement(token, depth, is_top=True):
                nodes.extend(self._node(depth))
        return tuple(nodes)

    def _peek(self) -> Token:
        """The token at the position, which is mostly asked for more than once."""
        if self._peeked is None or self._peeked[0] != self._position:
            self._peeked = (self._position, self._read_token())
        return self._peeked[1]

    def _read_token(self) -> Token:
        kind, start, stop = self._next_token(self._source.buffer, self._position, self._source.size)
        if kind == TOKEN_UNCLOSED_STRING:
            raise self._source.text_error("a string is never closed", start)
        # A string's text is decoded where it is used; a word is cut, for it may be a megabyte of garbage.
        return Token(kind, self._source.data[start : min(stop, start + 256)].decode("latin-1"), start, stop)

    def _take(self, kind: int, expected: str) -> Token:
        token = self._peek()
        if token.kind != kind:
            raise self._unexpected(token, expected)
        return self._accept(token)

    def _accept(self, token: Token) -> Token:
        self._budget.take(1, token.start)
        self._position = token.stop
        return token

    def _unexpected(self, token: Token, expected: str) -> Exception:
        found = "the end of the file" if token.kind == TOKEN_END else repr(token.text[:24])
        return self._source.text_error(f"expected {expected}, found {found}", token.start)

    def _bracket(self, bracket: str, expected: str) -> Token:
        token = self._peek()
        if token.text != bracket:
            raise self._unexpected(token, expected)
        return self._accept(token)

    def _closing(self, opened: Token, bracket: str, expected: str) -> None:
        """The bracket that closes a node or a list of nodes; a file may end without it."""
        token = self._peek()
        if token.kind != TOKEN_END:
            self._bracket(bracket, expected)
        elif self._cut is None:
            self._cut = opened.start

    def _skip_balanced(self, bracket: str) -> None:
        opened = self._bracket(bracket, repr(bracket))
        self._position = self._close_of(opened) + 1

    def _close_of(self, opened: Token) -> int:
        close = self._find_close(self._source.buffer, opened.stop, self._source.size)
        if close < 0:
            raise self._source.text_error(f"{opened.text!r} is never closed", opened.start)
        return close

    def _special_statement(self, token: Token, depth: int, *, is_top: bool) -> bool:
        """A prototype, or past a ROUTE and what stands before the nodes of X3D."""
        word = token.text.upper() if is_top else token.text  # among fields only this case is no field's name
        if word == "ROUTE":
            self._accept(token)
            for expected in ("the source of a ROUTE", "TO", "the target of a ROUTE"):
                self._take(TOKEN_WORD, expected)
        elif word in {"PROTO", "EXTERNPROTO"}:
            self._accept(token)
            name = self._take(TOKEN_WORD, "a prototype's name").text
            self._prototypes[name] = self._prototype(depth + 1) if word == "PROTO" else self._external_prototype()
        elif is_top and word in X3D_STATEMENTS and self._version == 2:
            self._accept(token)
            for _ in range(X3D_STATEMENTS[word]):
                self._accept(self._peek())
            if self._peek().text == "AS":
                self._accept(self._peek())
                self._take(TOKEN_WORD, "a name after AS")
        else:
            return False
        return True

    def _prototype(self, depth: int) -> Prototype:
        self._budget.require_depth(depth, self._position)
        self._bracket("[", "'['")
        defaults: dict[str, Value] = {}
        while (token := self._peek()).kind == TOKEN_WORD:
            self._accept(token)
            self._take(TOKEN_WORD, "a field's type")
            name = self._take(TOKEN_WORD, "a field's name").text
            if token.text in WITH_VALUES:
                defaults[name] = self._value(name, depth)
        self._bracket("]", "a declaration or ']'")
        opened = self._bracket("{", "'{'")
        # Names given inside are not known outside, and the other way round.
        outer, self._defined = self._defined, {}
        self._prototypes = self._prototypes.new_child()
        nodes = self._nodes(depth)
        self._defined, self._prototypes = outer, self._prototypes.parents
        self._closing(opened, "}", "a node or '}'")
        return Prototype(body=nodes[0] if nodes else None, defaults=defaults)

    def _external_prototype(self) -> Prototype:
        self._skip_balanced("[")
        urls = self._value("a prototype's address", 0) if self._peek().text == "[" else None
        if urls is None:
            urls = (self._string(self._take(TOKEN_STRING, "a prototype's address")),)
        names = tuple(url for url in urls if isinstance(url, str)) if isinstance(urls, tuple) else ()
        return Prototype(body=None, defaults={}, urls=names)

    def _node(self, depth: int) -> tuple[Node, ...]:
        """One node statement; no node for NULL."""
        self._budget.require_depth(depth, self._position)
        token = self._take(TOKEN_WORD, "a node")
        word = token.text.upper()
        if word == "NULL":
            return ()
        if word == "USE":
            name = self._name("a name after USE")
            if name.text not in self._defined:
                self._missing = self._missing or (f"USE {name.text[:40]}: no DEF before it gives that name", name.start)
                return ()
            return (self._defined[name.text],)
        if word != "DEF":
            node = self._body(token, depth)
            return () if node is None else (node,)
        name = self._name("a name after DEF")
        node = self._body(self._take(TOKEN_WORD, "a node type"), depth)
        if node is None:
            return ()
        self._defined[name.text] = node
        return (node,)

    def _name(self, expected: str) -> Token:
        name = self._peek()
        if name.kind not in {TOKEN_WORD, TOKEN_NUMBER}:  # exporters do write names that start with a digit
            raise self._unexpected(name, expected)
        return self._accept(name)

    def _body(self, type_token: Token, depth: int) -> Node | None:
        opened = self._bracket("{", f"'{{' after {type_token.text[:24]}")
        if type_token.text in WITH_DECLARATIONS:
            self._position = self._close_of(opened) + 1
            return Node(type_token.text, {}, type_token.start)
        prototype = self._prototypes.get(type_token.text) if self._version == 2 else None
        fields: dict[str, Value] = {}
        children: list[Node] = []
        while (token := self._peek()).kind == TOKEN_WORD:
            if self._version == 1 and self._starts_node(token):
                children.extend(self._node(depth + 1))
            elif self._version == 1 or not self._special_statement(token, depth, is_top=False):
                self._accept(token)
                name = token.text if prototype is not None else field_name(token.text)
                fields[name] = self._value(token.text, depth)
        self._closing(opened, "}", f"a field's name or '}}' in {type_token.text[:24]}")
        if prototype is not None:
            return self._expander.instance(prototype, fields, type_token.start)
        if children:
            fields["children"] = tuple(children)
        return Node(node_name(type_token.text), fields, type_token.start)

    def _starts_node(self, token: Token) -> bool:
        """Whether a word in a node of VRML 1.0 starts a node, not a field."""
        if token.text in {"DEF", "USE"}:
            return True
        before = self._position
        self._position = token.stop
        following = self._peek()
        self._position = before
        return following.text == "{"

    def _value(self, name: str, depth: int) -> Value:
        token = self._peek()
        if token.kind == TOKEN_NUMBER or (token.kind == TOKEN_WORD and _NON_FINITE.fullmatch(token.text)):
            return self._numbers(token)
        if token.kind == TOKEN_STRING:
            return (self._string(self._accept(token)),)
        if token.text == "[":
            return self._list(depth)
        if token.kind != TOKEN_WORD:
            raise self._unexpected(token, f"the value of {name[:24]}")
        word = token.text.upper()
        if word in {"TRUE", "FALSE"}:
            self._accept(token)
            return word == "TRUE"
        if token.text == "IS":
            self._accept(token)
            return Parameter(self._take(TOKEN_WORD, "a name after IS").text)
        if self._version == 1 and not self._starts_node(token) and word != "NULL":
            return (self._keywords(token),)
        return self._node(depth + 1) or None

    def _keywords(self, token: Token) -> str:
        """A word such as CLOCKWISE, or several in parentheses."""
        self._accept(token)
        last = token
        while token.text.startswith("(") and not last.text.endswith(")"):
            last = self._take(TOKEN_WORD, "')'")
        return token.text

    def _numbers(self, token: Token) -> Span:
        start = stop = token.start
        while token.kind == TOKEN_NUMBER or (token.kind == TOKEN_WORD and _NON_FINITE.fullmatch(token.text)):
            stop = self._accept(token).stop
            token = self._peek()
        if token.text == "~":  # Open Inventor marks values that are to be ignored
            self._accept(token)
        return Span(start, stop)

    def _string(self, token: Token) -> str:
        return unescaped(self._source.data[token.start + 1 : token.stop - 1].decode("utf-8", "replace"))

    def _list(self, depth: int) -> Value:
        opened = self._bracket("[", "'['")
        token = self._peek()
        if token.kind == TOKEN_STRING:
            strings: list[str] = []
            while token.kind == TOKEN_STRING:
                strings.append(self._string(self._accept(token)))
                token = self._peek()
            self._bracket("]", "a string or ']'")
            return tuple(strings)
        if token.kind == TOKEN_WORD and not _is_literal(token.text):
            nodes: list[Node] = []
            while token.kind == TOKEN_WORD:
                nodes.extend(self._node(depth + 1))
                token = self._peek()
            self._closing(opened, "]", "a node or ']'")
            return tuple(nodes)
        close = self._close_of(opened)
        self._position = close + 1
        return Span(opened.stop, close)


def _is_literal(word: str) -> bool:
    """A word inside a list that is no node: truth values, and numbers that are not finite."""
    return word.upper() in {"TRUE", "FALSE"} or _NON_FINITE.fullmatch(word) is not None
