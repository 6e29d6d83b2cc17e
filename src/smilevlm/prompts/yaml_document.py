"""YAML text as validated values; every error names its line."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from smilevlm.errors import PromptError

_MESSAGES = {
    "string_type": "expected text; quote words that YAML takes for something else",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected 'key: value' pairs",
    "dataclass_type": "expected 'key: value' pairs",
}
_UNKNOWN, _MISSING = "unexpected_keyword_argument", "missing"
Content = TypeVar("Content")


class YamlDocument:
    """One mapping, read by the safe loader.

    Args:
        text: The YAML.
        path: Its file, for messages.

    Attributes:
        values: Plain values; keys are texts.
    """

    def __init__(self, text: str, path: Path) -> None:
        self.path = path
        try:
            loader = _Loader(text)
            loader.path = path
            self._root = loader.get_single_node()
            self.values: dict[str, Any] = {} if self._root is None else loader.construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            line = None if error.problem_mark is None else error.problem_mark.line + 1
            raise PromptError(f"not YAML: {error.problem}", path=path, line=line) from error
        # A ValueError comes of a number with thousands of digits.
        except (yaml.YAMLError, ValueError) as error:
            raise PromptError(f"not YAML: {error}", path=path) from error
        if self._root is None:
            raise PromptError("the file is empty", path=path)
        if not isinstance(self.values, dict):
            raise PromptError("expected 'key: value' pairs", path=path, line=self.line())

    @classmethod
    def read(cls, path: Path) -> YamlDocument:
        """A file's document.

        Raises:
            PromptError: The file cannot be read or is not YAML.
        """
        try:
            return cls(path.read_text(encoding="utf-8"), path)
        except OSError as error:
            raise PromptError(f"cannot be read: {error.strerror}", path=path) from error
        except UnicodeDecodeError as error:
            raise PromptError("not UTF-8 text", path=path) from error

    def validate(self, kind: type[Content], parts: Mapping[str, Any]) -> Content:
        """The values as a pydantic dataclass.

        Args:
            kind: The dataclass.
            parts: Key to dataclass, of those within it; or the top key to dataclass, of those in a list or mapping.
        """
        try:
            return TypeAdapter(kind).validate_python(self.values)
        except ValidationError as invalid:
            # A misspelt key explains what is missing.
            first = min(invalid.errors(), key=lambda error: (error["type"] != _UNKNOWN, error["type"] != _MISSING))
        problem, location = first["type"], first["loc"]
        *parents, key = location
        if problem not in (_UNKNOWN, _MISSING):
            raise self.error(_MESSAGES.get(problem, first["msg"]), *location)
        if not parents and problem == _MISSING:
            raise PromptError(f"{key!r} is missing", path=self.path)
        within = [parts[str(parent)] for parent in (parents[-1], parents[0]) if str(parent) in parts] if parents else []
        known = fields(within[0] if within else cast(Any, kind))
        if not parents:
            names = ", ".join(field.name for field in known)
            raise self.error(f"unknown key {key!r}; known are {names}", key, of_key=True)
        given: Any = self.values
        for parent in parents:
            given = given[parent]
        needed = ", ".join(field.name for field in known if field.default is MISSING)
        optional = ", ".join(field.name for field in known if field.default is not MISSING)
        message = f"{parents[-1]!r} must have {needed}, may have {optional}, got {', '.join(given)}"
        raise self.error(message, *parents, of_key=True)

    def line(self, *location: str | int, of_key: bool = False) -> int:
        """The 1-based line on which a value begins, or with `of_key` the key before it.

        Args:
            location: Keys and indices that lead to the value.
            of_key: Of the key instead.
        """
        key: Any = self._root
        node: Any = self._root
        for step in location:
            if isinstance(node, yaml.MappingNode):
                key, node = next(pair for pair in node.value if _key_text(pair[0]) == step)
            else:
                key = node = node.value[step]
        return (key if of_key else node).start_mark.line + 1

    def error(self, message: str, *location: str | int, of_key: bool = False) -> PromptError:
        """An error that names file and line."""
        return PromptError(message, path=self.path, line=self.line(*location, of_key=of_key))


class _Loader(yaml.SafeLoader):
    """Refuses equal keys: YAML readers keep the last one silently, which would drop a class's prompts."""

    path: Path

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        values: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith((":str", ":null")):
                raise PromptError(_MESSAGES["string_type"], path=self.path, line=line)
            key = _key_text(key_node)
            if key in values:
                raise PromptError(f"{key!r} stands twice", path=self.path, line=line)
            values[key] = self.construct_object(value_node, deep=deep)
        return values


# Dates, sets (which have no order) and unknown tags stay nodes, which no field takes.
_Loader.yaml_constructors = _Loader.yaml_constructors | dict.fromkeys(
    ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:set", None), lambda loader, node: node
)


def _key_text(node: yaml.ScalarNode) -> str:
    """Nothing at all is the empty text."""
    return "" if node.tag.endswith(":null") else node.value.strip()
