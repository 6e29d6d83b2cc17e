"""VRML 2.0 text to a tree of nodes. Number lists stay spans of bytes until someone asks for them.

Tokenised, never read by lines: brace layout, line breaks and commas vary between the files of one data set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smilevlm.readers._source import Source
from smilevlm.readers._status import (
    TOKEN_END,
    TOKEN_NUMBER,
    TOKEN_STRING,
    TOKEN_UNCLOSED_STRING,
    TOKEN_WORD,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_DEPTH = 80
MAX_TOKENS = 200_000
"""A face scan has about 150 outside its number lists; more would cost memory out of proportion to the file."""


@dataclass(frozen=True)
class Span:
    """The bytes of a number list, brackets excluded."""

    start: int
    stop: int


@dataclass(frozen=True)
class Node:
    """One node: its type, its fields by name, and where it starts.

    A field's value is a span of numbers, a tuple of strings, a tuple of nodes, TRUE or FALSE, or None for NULL.
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


Value = Span | tuple[str, ...] | tuple[Node, ...] | bool | None


@dataclass(frozen=True)
class Token:
    kind: int
    text: str
    start: int
    stop: int


def parse_vrml(source: Source) -> tuple[Node, ...]:
    """The top-level nodes of a VRML 2.0 file.

    Raises:
        MeshError: Broken syntax, at its line.
    """
    return _Parser(source).scene()


class _Parser:
    def __init__(self, source: Source) -> None:
        from smilevlm.readers._kernels import find_close, next_token

        self._next_token = next_token
        self._find_close = find_close
        self._source = source
        self._position = len(BYTE_ORDER_MARK) if source.data.startswith(BYTE_ORDER_MARK) else 0
        self._num_tokens = 0
        self._defined: dict[str, Node] = {}

    def scene(self) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while (token := self._peek()).kind != TOKEN_END:
            if token.kind != TOKEN_WORD:
                raise self._unexpected(token, "a node")
            if not self._skipped_statement(token):
                nodes.extend(self._node(0))
        return tuple(nodes)

    def _peek(self) -> Token:
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
        self._num_tokens += 1
        if self._num_tokens > MAX_TOKENS:
            raise self._source.text_error(f"more than {MAX_TOKENS} words outside number lists", token.start)
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

    def _skip_balanced(self, bracket: str) -> None:
        opened = self._bracket(bracket, repr(bracket))
        self._position = self._close_of(opened) + 1

    def _close_of(self, opened: Token) -> int:
        close = self._find_close(self._source.buffer, opened.stop, self._source.size)
        if close < 0:
            raise self._source.text_error(f"{opened.text!r} is never closed", opened.start)
        return close

    def _skipped_statement(self, token: Token) -> bool:
        """Past a ROUTE or a prototype, which hold no geometry of a scan."""
        if token.text == "ROUTE":
            self._accept(token)
            for expected in ("the source of a ROUTE", "TO", "the target of a ROUTE"):
                self._take(TOKEN_WORD, expected)
            return True
        if token.text not in {"PROTO", "EXTERNPROTO"}:
            return False
        self._accept(token)
        self._take(TOKEN_WORD, "a prototype's name")
        self._skip_balanced("[")
        if token.text == "PROTO":
            self._skip_balanced("{")
        elif self._peek().text == "[":
            self._skip_balanced("[")
        else:
            self._take(TOKEN_STRING, "a prototype's address")
        return True

    def _node(self, depth: int) -> tuple[Node, ...]:
        """One node statement; no node for NULL."""
        if depth > MAX_DEPTH:
            raise self._source.text_error(f"nodes nested more than {MAX_DEPTH} deep", self._position)
        token = self._take(TOKEN_WORD, "a node")
        if token.text == "NULL":
            return ()
        if token.text == "USE":
            name = self._take(TOKEN_WORD, "a name after USE")
            if name.text not in self._defined:
                raise self._source.text_error(f"USE {name.text}: no DEF before it gives that name", name.start)
            return (self._defined[name.text],)
        if token.text != "DEF":
            return (self._body(token, depth),)
        name = self._peek()
        if name.kind not in {TOKEN_WORD, TOKEN_NUMBER}:  # exporters do write names that start with a digit
            raise self._unexpected(name, "a name after DEF")
        self._accept(name)
        node = self._body(self._take(TOKEN_WORD, "a node type"), depth)
        self._defined[name.text] = node
        return (node,)

    def _body(self, type_token: Token, depth: int) -> Node:
        opened = self._bracket("{", f"'{{' after {type_token.text[:24]}")
        if type_token.text == "Script":  # its fields are declared inside it, in another grammar
            self._position = self._close_of(opened) + 1
            return Node("Script", {}, type_token.start)
        fields: dict[str, Value] = {}
        while (token := self._peek()).kind == TOKEN_WORD:
            if not self._skipped_statement(token):
                self._accept(token)
                fields[token.text] = self._value(token.text, depth)
        self._bracket("}", f"a field's name or '}}' in {type_token.text[:24]}")
        return Node(type_token.text, fields, type_token.start)

    def _value(self, name: str, depth: int) -> Value:
        token = self._peek()
        if token.kind == TOKEN_NUMBER:
            return self._numbers(token)
        if token.kind == TOKEN_STRING:
            return (self._string(token),)
        if token.text == "[":
            return self._list(depth)
        if token.kind != TOKEN_WORD:
            raise self._unexpected(token, f"the value of {name[:24]}")
        if token.text in {"TRUE", "FALSE"}:
            self._accept(token)
            return token.text == "TRUE"
        if token.text == "IS":
            self._accept(token)
            self._take(TOKEN_WORD, "a name after IS")
            return None
        return self._node(depth + 1) or None

    def _numbers(self, token: Token) -> Span:
        start = stop = token.start
        while token.kind == TOKEN_NUMBER:
            stop = self._accept(token).stop
            token = self._peek()
        return Span(start, stop)

    def _string(self, token: Token) -> str:
        self._accept(token)
        raw = self._source.data[token.start + 1 : token.stop - 1].decode("utf-8", "replace")
        return re.sub(r'\\(["\\])', r"\1", raw)

    def _list(self, depth: int) -> Value:
        opened = self._bracket("[", "'['")
        token = self._peek()
        if token.kind == TOKEN_STRING:
            strings: list[str] = []
            while token.kind == TOKEN_STRING:
                strings.append(self._string(token))
                token = self._peek()
            self._bracket("]", "a string or ']'")
            return tuple(strings)
        if token.kind == TOKEN_WORD and not _is_literal(token.text):
            nodes: list[Node] = []
            while token.kind == TOKEN_WORD:
                nodes.extend(self._node(depth + 1))
                token = self._peek()
            self._bracket("]", "a node or ']'")
            return tuple(nodes)
        close = self._close_of(opened)
        self._position = close + 1
        return Span(opened.stop, close)


def _is_literal(word: str) -> bool:
    """A word inside a list that is no node: truth values, and numbers that are not finite, reported when read."""
    return word in {"TRUE", "FALSE"} or word[:3].lower() in {"nan", "inf"}
