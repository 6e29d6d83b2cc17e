"""The error tree: everything that user input can cause derives from `SmileVlmError`.

A message names what was given, what was expected, and where. `assert` is kept for our own mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike


class SmileVlmError(Exception):
    """Base of every error that a user can cause and can mend."""


class FileFormatError(SmileVlmError):
    """A file whose bytes are not what its format asks for.

    Args:
        message: What is wrong and what was expected.
        path: The file, when it is known.
        line: 1-based line of a text file.
        offset: 0-based byte offset of a binary file.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
        offset: int | None = None,
    ) -> None:
        self.message = message
        self.path = None if path is None else str(path)
        self.line = line
        self.offset = offset
        super().__init__(message)

    def __str__(self) -> str:
        if self.path is None:
            where = "" if self.line is None else f"line {self.line}: "
        elif self.line is not None:
            where = f"{self.path}:{self.line}: "
        elif self.offset is not None:
            where = f"{self.path}: byte {self.offset}: "
        else:
            where = f"{self.path}: "
        return where + self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders when scans are prepared in parallel.
        return (_rebuild, (type(self), self.message, self.path, self.line, self.offset))


def _rebuild(
    kind: type[FileFormatError], message: str, path: str | None, line: int | None, offset: int | None
) -> FileFormatError:
    return kind(message, path=path, line=line, offset=offset)


class MeshError(FileFormatError):
    """A mesh file that cannot be read, or a mesh that cannot be worked with."""


class LandmarkError(FileFormatError):
    """A landmark file that cannot be read."""


class TableError(FileFormatError):
    """A label table that cannot be read."""


class LayoutError(SmileVlmError):
    """A folder that is not laid out as the named data set is."""


class StoreError(SmileVlmError):
    """A prepared set that is missing, incomplete, or made with other settings."""


class PromptError(FileFormatError):
    """A prompt set that is incomplete or malformed."""


class SettingsError(SmileVlmError):
    """A setting outside its range, or settings that contradict each other."""


class LeakError(SmileVlmError):
    """Test data would touch training or a choice; nothing is reported."""


class ResultError(FileFormatError):
    """A result file that does not follow the schema."""


class CheckpointError(SmileVlmError):
    """Weights that are missing, damaged, or made for another architecture."""


class MissingExtraError(SmileVlmError):
    """An optional dependency is needed; the message names the extra to install."""


class EndpointError(SmileVlmError):
    """A language model's server that cannot be reached, refuses, or answers with something else than was asked for."""


def first_few(names: Sequence[str], limit: int = 5) -> str:
    """The first names of a list that may be long, for a message."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
