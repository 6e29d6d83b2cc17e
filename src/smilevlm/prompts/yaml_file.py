"""The YAML form of a prompt set; every error names its line.

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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import StrictBool
from pydantic.dataclasses import dataclass as validated_dataclass

from smilevlm.errors import PromptError
from smilevlm.files import write_atomically
from smilevlm.prompts.prompt_set import CLASS_SLOT, Generation, PromptSet, Provenance, Text, find_fault
from smilevlm.prompts.yaml_document import YamlDocument

_DATA_FOLDER = Path(__file__).parent / "data"
_PREFERRED = ("basic_expressions", "basic_expressions_neutral", "spontaneous_expressions", "micro_expressions")
_ANY_CLASSES = "class_names"
"""Makes prompts of the names of classes, whatever they are."""


@validated_dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class _PromptFile:
    """The keys of a file."""

    name: Text
    provenance: Provenance
    prompts: dict[str, tuple[Text, ...]] = field(default_factory=dict)
    templates: tuple[Text, ...] = ()
    classes: tuple[Text, ...] = ()
    any_class: StrictBool = False


@dataclass(frozen=True, kw_only=True)
class PromptSource:
    """A prompt file as it stands: its prompts are not yet checked against each other.

    Args:
        document: The file's text, which knows the lines.
        name: What the file calls the set.
        provenance: Where the prompts come from.
        prompts: Per class, templates filled.
        declared: The classes that the file says must be there; None where it does not say.
        templates: What classes that the file does not name fill; empty where it allows no such class.
    """

    document: YamlDocument
    name: str
    provenance: Provenance
    prompts: Mapping[str, tuple[str, ...]]
    declared: tuple[str, ...] | None = None
    templates: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return self.document.path

    @property
    def declared_line(self) -> int | None:
        """Line of the key `classes`."""
        return None if self.declared is None else self.document.line("classes", of_key=True)

    def line_of(self, class_name: str | None = None, position: int | None = None) -> int:
        """The line of a class, of one of its prompts (or its template), or of the key of all prompts."""
        given = "templates" if "templates" in self.document.values else "prompts"
        if class_name is None:
            return self.document.line(given, of_key=True)
        if given == "prompts":
            location = (given, class_name) if position is None else (given, class_name, position)
            return self.document.line(*location, of_key=position is None)
        if position is None:
            return self.document.line("classes", (self.declared or ()).index(class_name))
        return self.document.line(given, position)

    def prompt_set(self, further: Sequence[str] = ()) -> PromptSet:
        """The set.

        Args:
            further: Classes that fill the templates where the file does not name them, if it allows that.
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
        filled = {name: _filled(self.templates, name) for name in missing}
        return PromptSet(name=self.name, provenance=self.provenance, prompts={**self.prompts, **filled})


def available_prompt_sets() -> tuple[str, ...]:
    """The names of the prompt sets that come with the package."""
    return tuple(sorted(path.stem for path in _DATA_FOLDER.glob("*.yaml")))


def find_prompt_file(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a prompt set.

    Args:
        name_or_path: One of `available_prompt_sets`, or the path of a YAML file.
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


def prompt_set_for(classes: Collection[str]) -> str:
    """The first prompt set of the package that describes all these classes; `class_names` where none does."""
    for name in _PREFERRED:
        if set(classes) <= set(load_prompt_set(name).classes):
            return name
    return _ANY_CLASSES


def read_prompt_source(path: Path) -> PromptSource:
    """Read one file for `check_prompts`, which finds more than the first fault."""
    return _source(YamlDocument.read(path))


def parse_prompt_source(text: str, path: Path) -> PromptSource:
    """The same of text in memory, such as a set that is checked before it is written; `path` names it."""
    return _source(YamlDocument(text, path))


def render_prompt_set(prompt_set: PromptSet, path: Path) -> str:
    """A set as the text of a file, which reads back as an equal set.

    Args:
        prompt_set: The set.
        path: Where the text is to go, for the messages.
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
    """Write a set; the file is there whole or not at all."""
    write_atomically(path, render_prompt_set(prompt_set, path))


def _plain(prompt_set: PromptSet) -> dict[str, Any]:
    provenance = asdict(prompt_set.provenance)
    generation, chosen_on = provenance.pop("generation"), provenance.pop("chosen_on")
    if generation is not None:
        provenance["generation"] = generation | {"answered_by": list(generation["answered_by"])}
    if chosen_on:
        provenance["chosen_on"] = list(chosen_on)
    prompts = {name: list(texts) for name, texts in prompt_set.prompts.items()}
    return {"name": prompt_set.name, "provenance": provenance, "prompts": prompts}


def _source(document: YamlDocument) -> PromptSource:
    content = document.validate(_PromptFile, {"provenance": Provenance, "generation": Generation})
    has_templates, has_classes = "templates" in document.values, "classes" in document.values
    if ("prompts" in document.values) == has_templates:
        raise PromptError("exactly one of 'prompts' and 'templates' is needed", path=document.path)
    if content.any_class and not has_templates:
        raise document.error("'any_class' needs 'templates'", "any_class", of_key=True)
    if has_templates and not has_classes:
        raise document.error("'templates' needs 'classes'", "templates", of_key=True)
    for index, name in enumerate(content.provenance.chosen_on):
        layout, _, subject = name.partition("/")
        if not (layout and subject):
            message = f"'chosen_on' has {name!r}; expected layout/subject, such as bu3dfe/F0001"
            raise document.error(message, "provenance", "chosen_on", index)
    return PromptSource(
        document=document,
        name=content.name,
        provenance=content.provenance,
        prompts=_filled_templates(content, document) if has_templates else content.prompts,
        declared=content.classes if has_classes else None,
        templates=content.templates if content.any_class else (),
    )


def _filled_templates(content: _PromptFile, document: YamlDocument) -> dict[str, tuple[str, ...]]:
    for index, template in enumerate(content.templates):
        if CLASS_SLOT not in template:
            raise document.error(f"template {template!r} has no {CLASS_SLOT}", "templates", index)
    for index, name in enumerate(content.classes):
        if name in content.classes[:index]:
            raise document.error(f"class {name!r} stands twice", "classes", index)
    return {name: _filled(content.templates, name) for name in content.classes}


def _filled(templates: Sequence[str], class_name: str) -> tuple[str, ...]:
    return tuple(template.replace(CLASS_SLOT, class_name) for template in templates)
