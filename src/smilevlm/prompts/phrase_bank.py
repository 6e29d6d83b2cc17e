"""The phrases that captions are made of, per facial action; every error names its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass as validated_dataclass

from smilevlm.labels import FACIAL_ACTIONS, Side
from smilevlm.prompts.prompt_set import Provenance, Text
from smilevlm.prompts.statements import LANGUAGE_FOLDER
from smilevlm.prompts.yaml_document import YamlDocument

Strength = Literal["slight", "plain", "strong"]
_FORBID: Any = {"extra": "forbid"}
_SLOT = re.compile(r"\[([^\]]*)\]")
_SIDE_SLOTS = ("the side", "to side")
_TEMPLATE_SLOTS = {"nouns": ("{nouns}",), "clauses": ("{clauses}",), "both": ("{nouns}", "{clauses}")}


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class Words:
    """The two forms of one thing: whole sentences, and nouns that stand after "a face with"."""

    clauses: tuple[Text, ...] = ()
    nouns: tuple[Text, ...] = ()

    @property
    def phrases(self) -> tuple[str, ...]:
        return (*self.clauses, *self.nouns)


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class ActionWords(Words):
    """Of one action; `one_sided` where it is on one side of the face, empty where that is not told apart."""

    one_sided: Words = field(default_factory=Words)


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class JointWords(Words):
    """Of several actions: all of them there, or none."""

    actions: tuple[Text, ...]


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class Degrees:
    """What a slot says of an action that is slight or strong."""

    slight: tuple[Text, ...]
    strong: tuple[Text, ...]


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class Templates:
    """Captions with the slots `{nouns}` and `{clauses}`."""

    nouns: tuple[Text, ...]
    clauses: tuple[Text, ...]
    both: tuple[Text, ...]


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class PhraseBank:
    """All phrases.

    Args:
        provenance: Where they come from.
        degrees: Slot to the words that fill it.
        templates: That captions are put into.
        actions: Words of every action in `FACIAL_ACTIONS`.
        implied: Action to those that are always there with it: a caption says one of them.
        combinations: Words for actions that come together on both sides.
        absent: True of faces that have none of the actions.
        rest: Captions of a face without any action.
    """

    provenance: Provenance
    degrees: dict[str, Degrees]
    templates: Templates
    actions: dict[str, ActionWords]
    implied: dict[str, tuple[Text, ...]] = field(default_factory=dict)
    combinations: tuple[JointWords, ...] = ()
    absent: tuple[JointWords, ...] = ()
    rest: tuple[Text, ...]

    def has_degree(self, phrase: str) -> bool:
        """Whether a phrase can say how strong the action is."""
        return any(slot in self.degrees for slot in _SLOT.findall(phrase))

    def fill(self, phrase: str, degree: Mapping[str, str] | None = None, side: Side | Literal["one"] = "both") -> str:
        """A phrase without slots.

        Args:
            phrase: Of the bank.
            degree: What fills the slots of strength; None leaves them out.
            side: Fills the slots of side; `one` without saying which.
        """
        where = "one" if side == "one" else f"the {side}"
        filling = {"the side": where, "to side": "to one side" if side == "one" else f"to {where}", **(degree or {})}
        text = " ".join(_SLOT.sub(lambda slot: filling.get(slot[1], ""), phrase).split())
        return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\ban (?=[^aeiou])", "a ", text))

    def written_out(self, code: str) -> tuple[str, ...]:
        """Every phrase of an action on both sides, without a word of strength."""
        return tuple(self.fill(phrase) for phrase in self.actions[code].phrases)


@cache
def phrase_bank() -> PhraseBank:
    """The phrases that come with the package."""
    return read_phrase_bank(LANGUAGE_FOLDER / "action_phrases.yaml")


def read_phrase_bank(path: Path) -> PhraseBank:
    """Read a file of the same form.

    Raises:
        PromptError: The file is damaged, lacks an action or has one that is not known, a slot is unknown, or an action
            has no phrase of one of the forms, or none that can say how strong it is.
    """
    document = YamlDocument.read(path)
    # The forms within an action come first: their name is nearer to the fault than that of the whole.
    parts = {"one_sided": Words, "provenance": Provenance, "templates": Templates, "degrees": Degrees,
             "actions": ActionWords, "combinations": JointWords, "absent": JointWords}  # fmt: skip
    bank = document.validate(PhraseBank, parts)
    if missing := [code for code in FACIAL_ACTIONS if code not in bank.actions]:
        raise document.error(f"no phrases for {', '.join(missing)}", "actions", of_key=True)
    for code, location in _codes(bank):
        if code not in FACIAL_ACTIONS:
            raise document.error(f"{code!r} is no facial action", *location)
    for words, location, needs_degree in _all_words(bank):
        _check_words(bank, words, document, location, needs_degree=needs_degree)
    for kind, slots in _TEMPLATE_SLOTS.items():
        for index, template in enumerate(getattr(bank.templates, kind)):
            if any(template.count(slot) != 1 for slot in slots):
                message = f"template {template!r} needs {' and '.join(slots)}, once each"
                raise document.error(message, "templates", kind, index)
    return bank


def _codes(bank: PhraseBank) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    yield from ((code, ("actions", code)) for code in bank.actions)
    for code, others in bank.implied.items():
        yield from ((each, ("implied", code)) for each in (code, *others))
    for key in ("combinations", "absent"):
        for index, joint in enumerate(getattr(bank, key)):
            yield from ((code, (key, index, "actions", n)) for n, code in enumerate(joint.actions))


def _all_words(bank: PhraseBank) -> Iterator[tuple[Words, tuple[str | int, ...], bool]]:
    """Words, where they stand, and whether a slight action must be able to find a phrase among them."""
    for code, words in bank.actions.items():
        yield words, ("actions", code), True
        if words.one_sided.phrases:
            yield words.one_sided, ("actions", code, "one_sided"), True
    for key in ("combinations", "absent"):
        yield from ((joint, (key, index), False) for index, joint in enumerate(getattr(bank, key)))


def _check_words(
    bank: PhraseBank, words: Words, document: YamlDocument, location: tuple[str | int, ...], *, needs_degree: bool
) -> None:
    known = (*bank.degrees, *(_SIDE_SLOTS if location[-1] == "one_sided" else ()))
    for form in ("clauses", "nouns"):
        phrases: tuple[str, ...] = getattr(words, form)
        if not phrases:
            raise document.error(f"{' '.join(map(str, location))} has no {form}", *location)
        for index, phrase in enumerate(phrases):
            if unknown := [slot for slot in _SLOT.findall(phrase) if slot not in known]:
                message = f"{phrase!r} has the unknown slot [{unknown[0]}]; known are {', '.join(known)}"
                raise document.error(message, *location, form, index)
        if needs_degree and not any(bank.has_degree(phrase) for phrase in phrases):
            message = f"no phrase of {' '.join(map(str, location))} {form} can say how strong the action is"
            raise document.error(message, *location, form)
