"""Prompt sets: the descriptions of each class, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from smilevlm.errors import PromptError

CLASS_SLOT = "[CLS]"
"""What a template has in the place of the class."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the prompts of a set come from.

    Args:
        source: Paper, table or person.
        date: When they were made, as far as it is known.
        generated_by: The language model or the hand that wrote them.
    """

    source: str
    date: str
    generated_by: str


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """The prompts of each class.

    Args:
        name: What results call the set.
        provenance: Where the prompts come from.
        prompts: Descriptions per class; the order of classes and prompts is kept.

    Raises:
        PromptError: No class, a class without a prompt, an empty prompt, a slot that no class fills, or a prompt
            that stands twice (case and spaces aside).
    """

    name: str
    provenance: Provenance
    prompts: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        fault = find_fault(self.prompts)
        if fault is not None:
            raise PromptError(f"prompt set {self.name!r}: {fault.message}")

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.prompts)

    @property
    def texts(self) -> tuple[str, ...]:
        """All prompts, class by class; the order that every index into a set's prompts refers to."""
        return tuple(text for texts in self.prompts.values() for text in texts)

    @property
    def text_classes(self) -> tuple[str, ...]:
        """The class of each of `texts`."""
        return tuple(name for name, texts in self.prompts.items() for _ in texts)

    def subset(self, classes: Sequence[str]) -> PromptSet:
        """The set with these classes alone, in this order.

        Raises:
            PromptError: The set lacks one of them.
        """
        missing = [name for name in classes if name not in self.prompts]
        if missing:
            raise PromptError(f"prompt set {self.name!r} lacks {', '.join(missing)}; it has {', '.join(self.classes)}")
        return PromptSet(
            name=self.name, provenance=self.provenance, prompts={name: self.prompts[name] for name in classes}
        )


class Fault(NamedTuple):
    """What is wrong with a mapping of prompts, and which prompt it is, for the message to name the line."""

    message: str
    class_name: str | None = None
    position: int | None = None


def find_fault(prompts: Mapping[str, Sequence[str]]) -> Fault | None:
    """The first thing that is wrong with the prompts, or None."""
    if not prompts:
        return Fault("no class has prompts")
    seen: dict[str, str] = {}
    for class_name, texts in prompts.items():
        if not class_name.strip():
            return Fault("a class has an empty name", class_name)
        if isinstance(texts, str) or not texts:
            return Fault(f"class {class_name!r} needs a list of one prompt or more", class_name)
        for index, text in enumerate(texts):
            key = " ".join(text.lower().split())
            if not key:
                return Fault(f"class {class_name!r} has an empty prompt", class_name, index)
            if CLASS_SLOT.lower() in key:
                return Fault(f"{text!r} has an unfilled {CLASS_SLOT}; put it under 'templates'", class_name, index)
            if key in seen:
                return Fault(f"{text!r} of class {class_name!r} stands in {seen[key]!r} already", class_name, index)
            seen[key] = class_name
    return None
