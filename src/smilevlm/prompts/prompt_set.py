"""Prompt sets: the descriptions of each class, and where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, StrictFloat, StrictInt, StringConstraints
from pydantic.dataclasses import dataclass as validated_dataclass

from smilevlm.errors import PromptError

CLASS_SLOT = "[CLS]"
"""What a template has in the place of the class."""
Text = Annotated[
    str,
    BeforeValidator(lambda value: "" if value is None else value),
    StringConstraints(strict=True, strip_whitespace=True),
]
"""Without the spaces around it; nothing at all in a file is the empty text."""


@validated_dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class Generation:
    """How a language model was asked for the prompts of a set.

    Args:
        model: The name that was asked for.
        answered_by: The names that the answers give for the model, each once; servers resolve aliases.
        endpoint: Address of the server, without user, password or query.
        system: The system message.
        instruction: The user message, with `[CLS]` in the place of the class.
        asked_per_class: Prompts asked for.
        kept: Prompts that stayed, per class.
        num_duplicates: Prompts dropped because they stood in the set already.
        num_surplus: Prompts dropped because more came than had been asked for.
        temperature: None where it was left to the server.
        seed: None where it was left to the server.
    """

    model: Text
    answered_by: tuple[Text, ...]
    endpoint: Text
    system: Text
    instruction: Text
    asked_per_class: StrictInt
    kept: dict[str, StrictInt]
    num_duplicates: StrictInt
    num_surplus: StrictInt
    temperature: StrictFloat | None = None
    seed: StrictInt | None = None


@validated_dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class Provenance:
    """Where the prompts of a set come from.

    Args:
        source: Paper, table or person.
        date: When they were made, as far as it is known.
        generated_by: The language model or the hand that wrote them.
        generation: How `smilevlm prompts generate` asked for them; None for other sets.
        chosen_on: Subjects on whose scans the prompts were chosen among others, each as `layout/subject`; none of them
            may be tested with the set.
    """

    source: Text
    date: Text
    generated_by: Text
    generation: Generation | None = None
    chosen_on: tuple[Text, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """The prompts of each class.

    Args:
        name: What results call the set.
        provenance: Where the prompts come from.
        prompts: Descriptions per class; the order of classes and prompts is kept.
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
        """The set with these classes alone, in this order."""
        missing = [name for name in classes if name not in self.prompts]
        if missing:
            raise PromptError(f"prompt set {self.name!r} lacks {', '.join(missing)}; it has {', '.join(self.classes)}")
        return PromptSet(
            name=self.name, provenance=self.provenance, prompts={name: self.prompts[name] for name in classes}
        )


FaultKind = Literal["no_class", "class_name", "no_prompt", "empty", "unfilled", "duplicate"]


class Fault(NamedTuple):
    """What is wrong with a mapping of prompts, and which prompt it is, for the message to name the line."""

    kind: FaultKind
    message: str
    class_name: str | None = None
    position: int | None = None


def find_fault(prompts: Mapping[str, Sequence[object]]) -> Fault | None:
    """The first thing that is wrong with the prompts, or None."""
    return next(find_faults(prompts), None)


def find_faults(prompts: Mapping[str, Sequence[object]]) -> Iterator[Fault]:
    """Everything that keeps the prompts from being a set."""
    if not prompts:
        yield Fault("no_class", "no class has prompts")
    class_of: dict[str, str] = {}
    for class_name, texts in prompts.items():
        if not class_name.strip():
            yield Fault("class_name", "a class has an empty name", class_name)
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            yield Fault("no_prompt", f"class {class_name!r} needs a list of one prompt or more", class_name)
            continue
        for index, text in enumerate(texts):
            assert isinstance(text, str)
            key = " ".join(text.lower().split())
            if not key:
                yield Fault("empty", f"class {class_name!r} has an empty prompt", class_name, index)
            elif CLASS_SLOT.lower() in key:
                message = f"{text!r} has an unfilled {CLASS_SLOT}; put it under 'templates'"
                yield Fault("unfilled", message, class_name, index)
            elif key in class_of:
                message = f"{text!r} of class {class_name!r} stands in {class_of[key]!r} already"
                yield Fault("duplicate", message, class_name, index)
            else:
                class_of[key] = class_name


def wording(text: str) -> str:
    """What is left of a prompt when case, punctuation and the width of spaces do not count."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return " ".join(words) or text.strip()
