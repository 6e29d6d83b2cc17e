"""Prototypes of VRML: nodes that a file defines itself, and what their instances stand for."""

from __future__ import annotations

from dataclasses import dataclass

from smilevlm.readers._source import Source
from smilevlm.readers.vrml_nodes import MAX_DEPTH, Node, Parameter, Value

MAX_EXPANDED_FIELDS = 200_000
"""Prototypes within prototypes can describe a tree of any size in a few bytes."""


@dataclass(frozen=True, kw_only=True)
class Prototype:
    """A `PROTO` or `EXTERNPROTO`.

    Args:
        body: The first node of the body, which is what an instance is; None for an empty body.
        defaults: Value of each field that an instance does not give.
        urls: Where an `EXTERNPROTO` is defined.
    """

    body: Node | None
    defaults: dict[str, Value]
    urls: tuple[str, ...] = ()


class Expander:
    """Makes the nodes that instances of prototypes stand for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._num_fields = 0

    def instance(self, prototype: Prototype, given: dict[str, Value], position: int) -> Node | None:
        """The body of a prototype with the values of one instance.

        Raises:
            MeshError: The instances of a file have more than `MAX_EXPANDED_FIELDS` fields, or are nested too deep.
        """
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
