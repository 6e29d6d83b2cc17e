"""The YAML form of a prompt set, read node by node so that every complaint names its line.

name: my_set
provenance: {source: ..., date: ..., generated_by: ...}
prompts:                    # either the prompts of each class
  happy: [a person smiling, a joyful face]
templates: [a [CLS] face]   # or templates and the classes that fill their slot
classes: [happy, sad]       # beside `prompts`: the classes that must be there, no more and no fewer
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from smilevlm.errors import PromptError
from smilevlm.prompts.prompt_set import CLASS_SLOT, PromptSet, Provenance, find_fault

_KEYS = ("name", "provenance", "prompts", "templates", "classes")
_PROVENANCE_KEYS = ("source", "date", "generated_by")
_DATA_FOLDER = Path(__file__).parent / "data"


class _Text(NamedTuple):
    value: str
    line: int


class _Entry(NamedTuple):
    node: yaml.Node
    line: int


def available_prompt_sets() -> tuple[str, ...]:
    """The names of the prompt sets that come with the package."""
    return tuple(sorted(path.stem for path in _DATA_FOLDER.glob("*.yaml")))


def load_prompt_set(name_or_path: str | os.PathLike[str], *, classes: Sequence[str] | None = None) -> PromptSet:
    """Read a prompt set of the package by its name, or a file.

    Args:
        name_or_path: One of `available_prompt_sets`, or the path of a YAML file.
        classes: Classes that are needed; the set comes back with these alone, in this order. None for all.

    Raises:
        PromptError: There is no such set or file, the file is malformed, or classes are missing.
    """
    name = os.fspath(name_or_path)
    path = _DATA_FOLDER / f"{name}.yaml" if name in available_prompt_sets() else Path(name_or_path)
    if not path.is_file():
        raise PromptError(f"{name!r} is no file and none of the prompt sets {', '.join(available_prompt_sets())}")
    prompt_set = read_prompt_file(path)
    if classes is None:
        return prompt_set
    try:
        return prompt_set.subset(classes)
    except PromptError as error:
        raise PromptError(error.message, path=path) from None


def read_prompt_file(path: Path) -> PromptSet:
    """Read and check one file.

    Raises:
        PromptError: Not UTF-8 or not YAML, a key is missing, unknown or twice, or a prompt is at fault.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise PromptError(f"cannot be read: {error.strerror}", path=path) from error
    except UnicodeDecodeError as error:
        raise PromptError("not UTF-8 text", path=path) from error
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise PromptError(f"not YAML: {error.problem}", path=path, line=line) from error
    except yaml.YAMLError as error:
        raise PromptError(f"not YAML: {error}", path=path) from error
    if root is None:
        raise PromptError("the file is empty", path=path)
    fields = _mapping(root, path)
    for key, entry in fields.items():
        if key not in _KEYS:
            raise PromptError(f"unknown key {key!r}; known are {', '.join(_KEYS)}", path=path, line=entry.line)
    for key in ("name", "provenance"):
        if key not in fields:
            raise PromptError(f"{key!r} is missing", path=path)
    name = _text(fields["name"].node, path).value
    return PromptSet(name=name, provenance=_provenance(fields["provenance"], path), prompts=_prompts(fields, path))


def _provenance(entry: _Entry, path: Path) -> Provenance:
    values = {key: _text(item.node, path).value for key, item in _mapping(entry.node, path).items()}
    if set(values) != set(_PROVENANCE_KEYS):
        wanted = ", ".join(_PROVENANCE_KEYS)
        raise PromptError(f"'provenance' must have {wanted}, got {', '.join(values)}", path=path, line=entry.line)
    return Provenance(**values)


def _prompts(fields: dict[str, _Entry], path: Path) -> dict[str, tuple[str, ...]]:
    if ("prompts" in fields) == ("templates" in fields):
        raise PromptError("exactly one of 'prompts' and 'templates' is needed", path=path)
    classes = _texts(fields["classes"].node, path) if "classes" in fields else None
    if "templates" in fields:
        if classes is None:
            raise PromptError("'templates' needs 'classes'", path=path, line=fields["templates"].line)
        by_class = _filled(_texts(fields["templates"].node, path), classes, path)
        lines = {item.value: item.line for item in classes}
    else:
        entries = _mapping(fields["prompts"].node, path)
        by_class = {name: _texts(entry.node, path) for name, entry in entries.items()}
        lines = {name: entry.line for name, entry in entries.items()}
        if classes is not None:
            _check_classes(by_class, classes, path, fields["classes"].line)
    prompts = {name: tuple(item.value for item in items) for name, items in by_class.items()}
    fault = find_fault(prompts)
    if fault is not None:
        line = None
        if fault.class_name is not None:
            line = (
                lines[fault.class_name] if fault.position is None else by_class[fault.class_name][fault.position].line
            )
        raise PromptError(fault.message, path=path, line=line)
    return prompts


def _filled(templates: list[_Text], classes: list[_Text], path: Path) -> dict[str, list[_Text]]:
    for template in templates:
        if CLASS_SLOT not in template.value:
            raise PromptError(f"template {template.value!r} has no {CLASS_SLOT}", path=path, line=template.line)
    filled: dict[str, list[_Text]] = {}
    for name in classes:
        if name.value in filled:
            raise PromptError(f"class {name.value!r} stands twice", path=path, line=name.line)
        filled[name.value] = [_Text(t.value.replace(CLASS_SLOT, name.value), t.line) for t in templates]
    return filled


def _check_classes(by_class: dict[str, list[_Text]], classes: list[_Text], path: Path, line: int) -> None:
    declared = [item.value for item in classes]
    missing = [name for name in declared if name not in by_class]
    extra = [name for name in by_class if name not in declared]
    if missing or extra:
        parts = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"not declared: {', '.join(extra)}"] * bool(extra)
        raise PromptError(f"'prompts' and 'classes' differ; {'; '.join(parts)}", path=path, line=line)


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _mapping(node: yaml.Node, path: Path) -> dict[str, _Entry]:
    if not isinstance(node, yaml.MappingNode):
        raise PromptError("expected 'key: value' pairs", path=path, line=_line(node))
    entries: dict[str, _Entry] = {}
    for key_node, value_node in node.value:
        key = _text(key_node, path)
        # YAML readers keep the last of two equal keys without a word, which would drop a class's prompts.
        if key.value in entries:
            raise PromptError(f"{key.value!r} stands twice", path=path, line=key.line)
        entries[key.value] = _Entry(value_node, key.line)
    return entries


def _texts(node: yaml.Node, path: Path) -> list[_Text]:
    if not isinstance(node, yaml.SequenceNode):
        raise PromptError("expected a list", path=path, line=_line(node))
    return [_text(item, path) for item in node.value]


def _text(node: yaml.Node, path: Path) -> _Text:
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return _Text("", _line(node))
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        raise PromptError("expected text; quote words that YAML takes for something else", path=path, line=_line(node))
    return _Text(node.value.strip(), _line(node))
