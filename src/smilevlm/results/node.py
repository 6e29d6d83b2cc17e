"""A JSON value that knows where it stands in its file, so that a complaint can say so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NoReturn, TypeVar

from smilevlm.errors import ResultError

Choice = TypeVar("Choice", bound=str)


def as_relative_path(text: str, file: str) -> str:
    """A POSIX path below the folder of the result file that it stands in.

    Raises:
        ResultError: It leads elsewhere.
    """
    return Node(value=text, place="", file=file).relative_path()


def _stays_below(text: str) -> bool:
    path = PurePosixPath(text)
    return not (path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text or "\0" in text)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One value of a parsed JSON file; every reader either returns a value of the asked type or raises `ResultError`.

    Attributes:
        place: The field path, for example `folds[2].confusion_matrix`; empty for the whole file.
        file: The file, for the message.
    """

    value: object
    place: str
    file: str

    def fail(self, message: str) -> NoReturn:
        raise ResultError(f"{self.place}: {message}" if self.place else message, path=self.file)

    def _wrong_type(self, expected: str) -> NoReturn:
        shown = repr(self.value)
        self.fail(f"expected {expected}, found {shown if len(shown) <= 60 else shown[:57] + '...'}")

    def fields(self, names: Iterable[str]) -> dict[str, Node]:
        """The members of an object that must have exactly these names."""
        if not isinstance(self.value, dict):
            self._wrong_type("an object")
        expected = list(names)
        for name in expected:
            if name not in self.value:
                self.fail(f"field {name!r} is missing")
        for name in self.value:
            if name not in expected:
                self.fail(f"field {name!r} is unknown")
        return self.members()

    def members(self) -> dict[str, Node]:
        """The members of an object with free names."""
        if not isinstance(self.value, dict):
            self._wrong_type("an object")
        prefix = f"{self.place}." if self.place else ""
        return {key: Node(value=v, place=f"{prefix}{key}", file=self.file) for key, v in self.value.items()}

    def by_class(self, classes: Iterable[str]) -> dict[str, Node]:
        """The members of an object with exactly the given classes as keys, in the given order."""
        names = tuple(classes)
        found = self.fields(names)
        return {name: found[name] for name in names}

    def by_angle(self, angles_deg: Iterable[float]) -> dict[float, Node]:
        """The members of an object with exactly the given angles as keys, in the given order."""
        keys = {angle: angle_key(angle) for angle in angles_deg}
        found = self.fields(keys.values())
        return {angle: found[key] for angle, key in keys.items()}

    def items(self) -> list[Node]:
        if not isinstance(self.value, list):
            self._wrong_type("a list")
        return [Node(value=v, place=f"{self.place}[{i}]", file=self.file) for i, v in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            self._wrong_type("a non-empty string")
        return self.value

    def optional_text(self) -> str | None:
        return None if self.value is None else self.text()

    def choice(self, choices: tuple[Choice, ...]) -> Choice:
        for choice in choices:
            if self.value == choice:
                return choice
        self._wrong_type("one of " + ", ".join(choices))

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            self._wrong_type("true or false")
        return self.value

    def integer(self, minimum: int = 0) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self._wrong_type("an integer")
        if self.value < minimum:
            self.fail(f"expected at least {minimum}, found {self.value}")
        return self.value

    def integer_key(self, key: str) -> int:
        """The key under which this value stands, a whole number of at least 0."""
        if not key.isdecimal() or str(int(key)) != key:
            self.fail(f"expected a whole number as key, found {key!r}")
        return int(key)

    def number(self, low: float, high: float) -> float:
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            self._wrong_type("a number")
        if not low <= self.value <= high:
            self.fail(f"expected a number from {low:g} to {high:g}, found {self.value!r}")
        return float(self.value)

    def texts(self) -> tuple[str, ...]:
        """A list of distinct strings."""
        found = tuple(item.text() for item in self.items())
        for index, text in enumerate(found):
            if text in found[:index]:
                self.fail(f"{text!r} is there twice")
        return found

    def relative_path(self) -> str:
        """A POSIX path below the folder of the result file."""
        text = self.text()
        if not _stays_below(text):
            self._wrong_type("a relative POSIX path that stays below the result file's folder")
        return text

    def plain(self) -> object:
        """Any JSON value without infinities."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.members().items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.items()]
        if isinstance(self.value, float) and not math.isfinite(self.value):
            self._wrong_type("a finite number")
        return self.value


def angle_key(angle_deg: float) -> str:
    """How an angle is spelled as a JSON key: `-30`, `0`, `12.5`."""
    # Adding zero turns -0.0 into 0.0; a frontal view has one spelling.
    return str(int(angle_deg)) if float(angle_deg).is_integer() else repr(float(angle_deg) + 0.0)
