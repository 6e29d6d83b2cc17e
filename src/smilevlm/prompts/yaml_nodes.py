"""YAML nodes as values that remember their line; every complaint names it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml

from smilevlm.errors import PromptError

_NULL, _TEXT, _BOOLEAN, _INTEGER, _NUMBER = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "str", "bool", "int", "float")
)


class Text(NamedTuple):
    value: str
    line: int


class Entry(NamedTuple):
    node: yaml.Node
    line: int


def read_root(path: Path) -> dict[str, Entry]:
    """The pairs of a file that is one mapping.

    Raises:
        PromptError: Not to be read, not UTF-8, not YAML, empty, or no mapping.
    """
    try:
        return parse_root(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise PromptError(f"cannot be read: {error.strerror}", path=path) from error
    except UnicodeDecodeError as error:
        raise PromptError("not UTF-8 text", path=path) from error


def parse_root(text: str, path: Path) -> dict[str, Entry]:
    """The same of text that is at hand; `path` is for the messages."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise PromptError(f"not YAML: {error.problem}", path=path, line=line) from error
    except yaml.YAMLError as error:
        raise PromptError(f"not YAML: {error}", path=path) from error
    if root is None:
        raise PromptError("the file is empty", path=path)
    return mapping(root, path)


def mapping(node: yaml.Node, path: Path) -> dict[str, Entry]:
    """Raises:
    PromptError: No mapping, or a key stands twice.
    """
    if not isinstance(node, yaml.MappingNode):
        raise PromptError("expected 'key: value' pairs", path=path, line=line_of(node))
    entries: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        key = text(key_node, path)
        # YAML readers keep the last of two equal keys without a word, which would drop a class's prompts.
        if key.value in entries:
            raise PromptError(f"{key.value!r} stands twice", path=path, line=key.line)
        entries[key.value] = Entry(value_node, key.line)
    return entries


def texts(node: yaml.Node, path: Path) -> list[Text]:
    """Raises:
    PromptError: No list, or an item is no text.
    """
    if not isinstance(node, yaml.SequenceNode):
        raise PromptError("expected a list", path=path, line=line_of(node))
    return [text(item, path) for item in node.value]


def text(node: yaml.Node, path: Path) -> Text:
    """A text without the spaces around it; nothing at all is the empty text.

    Raises:
        PromptError: No text, or a word that YAML takes for something else.
    """
    if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
        return Text("", line_of(node))
    if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT:
        message = "expected text; quote words that YAML takes for something else"
        raise PromptError(message, path=path, line=line_of(node))
    return Text(node.value.strip(), line_of(node))


def integer(node: yaml.Node, path: Path) -> int:
    """Raises:
    PromptError: No whole number.
    """
    if isinstance(node, yaml.ScalarNode) and node.tag == _INTEGER:
        return int(yaml.safe_load(node.value))
    raise PromptError("expected a whole number", path=path, line=line_of(node))


def number(node: yaml.Node, path: Path) -> float:
    """Raises:
    PromptError: No number.
    """
    if isinstance(node, yaml.ScalarNode) and node.tag in (_INTEGER, _NUMBER):
        return float(yaml.safe_load(node.value))
    raise PromptError("expected a number", path=path, line=line_of(node))


def boolean(node: yaml.Node, path: Path) -> bool:
    """Raises:
    PromptError: Neither `true` nor `false`.
    """
    if isinstance(node, yaml.ScalarNode) and node.tag == _BOOLEAN:
        return bool(yaml.safe_load(node.value))
    raise PromptError("expected true or false", path=path, line=line_of(node))


def is_null(node: yaml.Node) -> bool:
    """Whether the value is `null` or nothing at all."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def line_of(node: yaml.Node) -> int:
    """1-based."""
    return node.start_mark.line + 1
