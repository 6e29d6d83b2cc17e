"""The YAML form of a prompt set, read node by node so that every complaint names its line.

name: my_set
provenance: {source: ..., date: ..., generated_by: ...}     # and `generation` where a language model was asked,
                            # and `chosen_on: [bu3dfe/F0001]` where prompts were chosen by how they do on people
prompts:                    # either the prompts of each class
  happy: [a person smiling, a joyful face]
templates: [a [CLS] face]   # or templates and the classes that fill their slot
classes: [happy, sad]       # beside `prompts`: the classes that must be there, no more and no fewer
any_class: true             # beside `templates`: any further class that is asked for fills them too
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from smilevlm.errors import PromptError
from smilevlm.files import write_atomically
from smilevlm.prompts import yaml_nodes as nodes
from smilevlm.prompts.prompt_set import CLASS_SLOT, Generation, PromptSet, Provenance, find_fault
from smilevlm.prompts.yaml_nodes import Entry, Text

_KEYS = ("name", "provenance", "prompts", "templates", "classes", "any_class")
_PROVENANCE_KEYS = ("source", "date", "generated_by")
_GENERATION_KEYS = tuple(field.name for field in fields(Generation))
_DATA_FOLDER = Path(__file__).parent / "data"


@dataclass(frozen=True, kw_only=True)
class PromptSource:
    """A prompt file as it stands: its parts with their lines, its prompts not yet held against each other.

    Args:
        path: The file.
        name: What the file calls the set.
        provenance: Where the prompts come from.
        prompts: Per class, templates filled.
        prompt_lines: 1-based line of each of `prompts`; a template's line stands for each class that fills it.
        class_lines: Line of each class.
        line: Line of the key `prompts` or `templates`.
        declared: The classes that the file says must be there; None where it does not say.
        declared_line: Line of the key `classes`.
        templates: What classes that the file does not name fill; empty where it allows no such class.
    """

    path: Path
    name: str
    provenance: Provenance
    prompts: Mapping[str, tuple[str, ...]]
    prompt_lines: Mapping[str, tuple[int, ...]]
    class_lines: Mapping[str, int]
    line: int
    declared: tuple[str, ...] | None = None
    declared_line: int | None = None
    templates: tuple[str, ...] = ()

    def line_of(self, class_name: str | None, position: int | None = None) -> int:
        """The line of a class, or of one of its prompts; that of all prompts where no class is given."""
        if class_name is None:
            return self.line
        return self.class_lines[class_name] if position is None else self.prompt_lines[class_name][position]

    def prompt_set(self, further: Sequence[str] = ()) -> PromptSet:
        """The set.

        Args:
            further: Classes that fill the templates where the file does not name them, if it allows that.

        Raises:
            PromptError: The prompts do not make a set, or are not of the declared classes.
        """
        if self.declared is not None and set(self.declared) != set(self.prompts):
            missing = [name for name in self.declared if name not in self.prompts]
            extra = [name for name in self.prompts if name not in self.declared]
            parts = [f"missing: {', '.join(missing)}"] * bool(missing)
            parts += [f"not declared: {', '.join(extra)}"] * bool(extra)
            message = f"'prompts' and 'classes' differ; {'; '.join(parts)}"
            raise PromptError(message, path=self.path, line=self.declared_line)
        if fault := find_fault(self.prompts):
            line = None if fault.class_name is None else self.line_of(fault.class_name, fault.position)
            raise PromptError(fault.message, path=self.path, line=line)
        missing = [name for name in further if self.templates and name not in self.prompts]
        filled = {name: tuple(text.replace(CLASS_SLOT, name) for text in self.templates) for name in missing}
        return PromptSet(name=self.name, provenance=self.provenance, prompts={**self.prompts, **filled})


def available_prompt_sets() -> tuple[str, ...]:
    """The names of the prompt sets that come with the package."""
    return tuple(sorted(path.stem for path in _DATA_FOLDER.glob("*.yaml")))


def find_prompt_file(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a prompt set.

    Args:
        name_or_path: One of `available_prompt_sets`, or the path of a YAML file.

    Raises:
        PromptError: There is no such set or file.
    """
    name = os.fspath(name_or_path)
    path = _DATA_FOLDER / f"{name}.yaml" if name in available_prompt_sets() else Path(name_or_path)
    if not path.is_file():
        raise PromptError(f"{name!r} is no file and none of the prompt sets {', '.join(available_prompt_sets())}")
    return path


def load_prompt_set(name_or_path: str | os.PathLike[str], *, classes: Sequence[str] | None = None) -> PromptSet:
    """Read a prompt set of the package by its name, or a file.

    Args:
        name_or_path: One of `available_prompt_sets`, or the path of a YAML file.
        classes: Classes that are needed; the set comes back with these alone, in this order. None for all.

    Raises:
        PromptError: There is no such set or file, the file is malformed, or classes are missing.
    """
    path = find_prompt_file(name_or_path)
    source = read_prompt_source(path)
    prompt_set = source.prompt_set(classes or ())
    if classes is None:
        return prompt_set
    try:
        return prompt_set.subset(classes)
    except PromptError as error:
        raise PromptError(error.message, path=path) from None


def read_prompt_source(path: Path) -> PromptSource:
    """Read one file for `check`, which finds more than the first fault.

    Raises:
        PromptError: Not UTF-8 or not YAML, or a key is missing, unknown or twice.
    """
    return _source(nodes.read_root(path), path)


def parse_prompt_source(text: str, path: Path) -> PromptSource:
    """The same of text that is at hand, such as a set that is checked before it is written; `path` names it.

    Raises:
        PromptError: Not YAML, or a key is missing, unknown or twice.
    """
    return _source(nodes.parse_root(text, path), path)


def render_prompt_set(prompt_set: PromptSet, path: Path) -> str:
    """A set as the text of a file, which reads back as an equal set.

    Args:
        prompt_set: The set.
        path: Where the text is to go, for the messages.

    Raises:
        PromptError: A text has spaces around it or odd line ends in it, which reading would take away.
    """
    text = yaml.safe_dump(_plain(prompt_set), sort_keys=False, allow_unicode=True, width=120)
    try:
        back = parse_prompt_source(text, path).prompt_set()
    except PromptError as error:
        raise PromptError(f"prompt set {prompt_set.name!r} cannot be written: {error.message}", path=path) from error
    if back != prompt_set or back.texts != prompt_set.texts:
        reason = "a text has spaces or line ends that YAML takes away"
        raise PromptError(f"prompt set {prompt_set.name!r} cannot be written: {reason}", path=path)
    return text


def write_prompt_file(prompt_set: PromptSet, path: Path) -> None:
    """Write a set; the file is there whole or not at all.

    Raises:
        PromptError: The set would not read back as it is.
    """
    write_atomically(path, render_prompt_set(prompt_set, path))


def _plain(prompt_set: PromptSet) -> dict[str, Any]:
    origin = prompt_set.provenance
    provenance: dict[str, Any] = {key: getattr(origin, key) for key in _PROVENANCE_KEYS}
    if origin.generation is not None:
        generation = {key: getattr(origin.generation, key) for key in _GENERATION_KEYS}
        provenance["generation"] = generation | {
            "answered_by": list(origin.generation.answered_by),
            "kept": dict(origin.generation.kept),
        }
    if origin.chosen_on:
        provenance["chosen_on"] = list(origin.chosen_on)
    prompts = {name: list(texts) for name, texts in prompt_set.prompts.items()}
    return {"name": prompt_set.name, "provenance": provenance, "prompts": prompts}


def _source(entries: dict[str, Entry], path: Path) -> PromptSource:
    for key, entry in entries.items():
        if key not in _KEYS:
            raise PromptError(f"unknown key {key!r}; known are {', '.join(_KEYS)}", path=path, line=entry.line)
    for key in ("name", "provenance"):
        if key not in entries:
            raise PromptError(f"{key!r} is missing", path=path)
    if ("prompts" in entries) == ("templates" in entries):
        raise PromptError("exactly one of 'prompts' and 'templates' is needed", path=path)
    name = nodes.text(entries["name"].node, path).value
    provenance = _provenance(entries["provenance"], path)
    given = entries["prompts" if "prompts" in entries else "templates"]
    classes = nodes.texts(entries["classes"].node, path) if "classes" in entries else None
    any_class = "any_class" in entries and nodes.boolean(entries["any_class"].node, path)
    if any_class and "templates" not in entries:
        raise PromptError("'any_class' needs 'templates'", path=path, line=entries["any_class"].line)
    if "templates" in entries:
        if classes is None:
            raise PromptError("'templates' needs 'classes'", path=path, line=given.line)
        by_class = _filled(nodes.texts(given.node, path), classes, path)
        class_lines = {item.value: item.line for item in classes}
    else:
        by_class = {key: nodes.texts(entry.node, path) for key, entry in nodes.mapping(given.node, path).items()}
        class_lines = {key: entry.line for key, entry in nodes.mapping(given.node, path).items()}
    return PromptSource(
        path=path,
        name=name,
        provenance=provenance,
        prompts={key: tuple(item.value for item in items) for key, items in by_class.items()},
        prompt_lines={key: tuple(item.line for item in items) for key, items in by_class.items()},
        class_lines=class_lines,
        line=given.line,
        declared=None if classes is None else tuple(item.value for item in classes),
        declared_line=entries["classes"].line if "classes" in entries else None,
        templates=tuple(item.value for item in nodes.texts(given.node, path)) if any_class else (),
    )


def _provenance(entry: Entry, path: Path) -> Provenance:
    entries = nodes.mapping(entry.node, path)
    generation = entries.pop("generation", None)
    chosen_on = entries.pop("chosen_on", None)
    values = {key: nodes.text(item.node, path).value for key, item in entries.items()}
    if set(values) != set(_PROVENANCE_KEYS):
        wanted = ", ".join(_PROVENANCE_KEYS)
        raise PromptError(f"'provenance' must have {wanted}, got {', '.join(values)}", path=path, line=entry.line)
    return Provenance(
        **values,
        generation=None if generation is None else _generation(generation, path),
        chosen_on=() if chosen_on is None else _subjects(chosen_on, path),
    )


def _subjects(entry: Entry, path: Path) -> tuple[str, ...]:
    names = nodes.texts(entry.node, path)
    for name in names:
        layout, separator, subject = name.value.partition("/")
        if not (layout and separator and subject):
            message = f"'chosen_on' has {name.value!r}; expected layout/subject, such as bu3dfe/F0001"
            raise PromptError(message, path=path, line=name.line)
    return tuple(name.value for name in names)


def _generation(entry: Entry, path: Path) -> Generation:
    entries = nodes.mapping(entry.node, path)
    if set(entries) != set(_GENERATION_KEYS):
        wanted, got = ", ".join(_GENERATION_KEYS), ", ".join(entries)
        raise PromptError(f"'generation' must have {wanted}, got {got}", path=path, line=entry.line)
    values = {key: item.node for key, item in entries.items()}
    kept = nodes.mapping(values["kept"], path)
    return Generation(
        model=nodes.text(values["model"], path).value,
        answered_by=tuple(item.value for item in nodes.texts(values["answered_by"], path)),
        endpoint=nodes.text(values["endpoint"], path).value,
        system=nodes.text(values["system"], path).value,
        instruction=nodes.text(values["instruction"], path).value,
        asked_per_class=nodes.integer(values["asked_per_class"], path),
        kept={name: nodes.integer(item.node, path) for name, item in kept.items()},
        num_duplicates=nodes.integer(values["num_duplicates"], path),
        num_surplus=nodes.integer(values["num_surplus"], path),
        temperature=None if nodes.is_null(values["temperature"]) else nodes.number(values["temperature"], path),
        seed=None if nodes.is_null(values["seed"]) else nodes.integer(values["seed"], path),
    )


def _filled(templates: list[Text], classes: list[Text], path: Path) -> dict[str, list[Text]]:
    for template in templates:
        if CLASS_SLOT not in template.value:
            raise PromptError(f"template {template.value!r} has no {CLASS_SLOT}", path=path, line=template.line)
    filled: dict[str, list[Text]] = {}
    for name in classes:
        if name.value in filled:
            raise PromptError(f"class {name.value!r} stands twice", path=path, line=name.line)
        filled[name.value] = [Text(t.value.replace(CLASS_SLOT, name.value), t.line) for t in templates]
    return filled
