"""Statements about faces that a model is asked to tell apart, in wordings that no training caption has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass as validated_dataclass

from smilevlm.labels import FACIAL_ACTIONS, PRESENT_INTENSITY, ActionIntensities, side_of
from smilevlm.prompts.prompt_set import Provenance, Text
from smilevlm.prompts.yaml_document import YamlDocument

LANGUAGE_FOLDER = Path(__file__).parent / "data" / "language"
_FORBID: Any = {"extra": "forbid"}


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class Opposite:
    """Two texts that contradict each other.

    Args:
        action: `text` is true of faces with this action.
        text: A held-out wording of it.
        opposite: The contrary.
        opposite_action: `opposite` is true of faces with this action; None: of those without `action`.
    """

    action: Text
    text: Text
    opposite: Text
    opposite_action: Text | None = None


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class UnseenClass:
    """A class that neither captions nor class prompts of training name.

    Args:
        descriptions: Of such a face.
        all_of: A face of the class has an action of each of these lists.
        none_of: And none of these.
        one_sided: Among `all_of`, these count on one side alone.
    """

    descriptions: tuple[Text, ...]
    all_of: tuple[tuple[Text, ...], ...]
    none_of: tuple[Text, ...] = ()
    one_sided: tuple[Text, ...] = ()

    def fits(self, actions: ActionIntensities, *, least: float = PRESENT_INTENSITY) -> bool:
        """Whether a face with these actions is of the class.

        Args:
            actions: Of the face.
            least: Intensity of the stronger side from which an action counts.
        """

        def has(code: str) -> bool:
            left, right = actions.get(code, (0.0, 0.0))
            return max(left, right) >= least and (code not in self.one_sided or side_of(left, right) != "both")

        wanted = all(any(has(code) for code in alternatives) for alternatives in self.all_of)
        return wanted and not any(max(actions.get(code, (0.0, 0.0))) >= least for code in self.none_of)


@validated_dataclass(frozen=True, kw_only=True, config=_FORBID)
class LanguageStatements:
    """What the evaluation `language` says of faces. No training caption has these wordings.

    Args:
        provenance: Where they come from.
        choices: Codes of the actions that are compared with each other, by their number.
        actions: Sentences per action; the first stands for the action.
        one_sided: (left, right) of the person, per action.
        opposites: Texts to be told apart.
        intensity: (slight, plain, strong) per action.
        unseen_classes: By name.
    """

    provenance: Provenance
    choices: dict[str, tuple[Text, ...]]
    actions: dict[str, tuple[Text, ...]]
    one_sided: dict[str, tuple[Text, Text]] = field(default_factory=dict)
    opposites: tuple[Opposite, ...] = ()
    intensity: dict[str, tuple[Text, Text, Text]] = field(default_factory=dict)
    unseen_classes: dict[str, UnseenClass] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text once, descriptions of unseen classes included."""
        found = [text for texts in (self.actions, self.one_sided, self.intensity) for each in texts.values()
                 for text in each]  # fmt: skip
        found += [text for pair in self.opposites for text in (pair.text, pair.opposite)]
        found += [text for each in self.unseen_classes.values() for text in each.descriptions]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class _Use:
    """A code, and where it stands in the file."""

    code: str
    location: tuple[str | int, ...]


@cache
def language_statements() -> LanguageStatements:
    """The statements that come with the package."""
    return read_language_statements(LANGUAGE_FOLDER / "language_statements.yaml")


def read_language_statements(path: Path) -> LanguageStatements:
    """Read a file of the same form.

    Raises:
        PromptError: The file is damaged, names an action that is not known, or compares actions without a sentence.
    """
    document = YamlDocument.read(path)
    parts = {"provenance": Provenance, "opposites": Opposite, "unseen_classes": UnseenClass}
    content = document.validate(LanguageStatements, parts)
    for use in _uses(content):
        if use.code not in FACIAL_ACTIONS:
            raise document.error(f"{use.code!r} is no facial action", *use.location)
    for number, codes in content.choices.items():
        if len(set(codes)) != len(codes) or number != str(len(codes)):
            raise document.error(f"expected {number} different actions, got {len(set(codes))}", "choices", number)
        if missing := [code for code in codes if code not in content.actions]:
            raise document.error(f"no sentence for {', '.join(missing)}", "choices", number)
    for code, texts in content.actions.items():
        if not texts:
            raise document.error(f"{code} needs a sentence or more", "actions", code)
    return content


def _uses(content: LanguageStatements) -> Iterator[_Use]:
    mappings: Mapping[str, Mapping[str, object]] = {
        "actions": content.actions, "one_sided": content.one_sided, "intensity": content.intensity
    }  # fmt: skip
    for key, mapping in mappings.items():
        yield from (_Use(code, (key, code)) for code in mapping)
    for number, codes in content.choices.items():
        yield from (_Use(code, ("choices", number, index)) for index, code in enumerate(codes))
    for index, pair in enumerate(content.opposites):
        yield _Use(pair.action, ("opposites", index, "action"))
        if pair.opposite_action is not None:
            yield _Use(pair.opposite_action, ("opposites", index, "opposite_action"))
    for name, each in content.unseen_classes.items():
        for row, codes in enumerate(each.all_of):
            yield from (_Use(code, ("unseen_classes", name, "all_of", row, n)) for n, code in enumerate(codes))
        for key in ("none_of", "one_sided"):
            yield from (_Use(code, ("unseen_classes", name, key, n)) for n, code in enumerate(getattr(each, key)))
