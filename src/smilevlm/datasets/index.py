"""What an index of a data set on disk gives, whatever its layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smilevlm.labels import ActionSource, action_source
from smilevlm.store import Recording


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is missing or broken in this copy.

    Args:
        path: Relative to the data set's root.
        reason: One line for people.
    """

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a complete copy holds.

    Args:
        num_subjects: People.
        num_recordings: Scans or sequences in all; None where no source says it.
        per_subject: Class to how many recordings of it each subject has, for the classes that every subject has.
        source: Where the counts are published; for synthetic data the file that says what was written.
    """

    num_subjects: int
    num_recordings: int | None
    per_subject: Mapping[str, int]
    source: str


@dataclass(frozen=True, kw_only=True)
class DataIndex:
    """The recordings of a data set. Making one reads names, label files and tables, no mesh.

    Args:
        layout: Name of the layout.
        root: Where it lies.
        recordings: Every scan or sequence found, sorted by subject and name.
        remarks: What is unusual about this copy but no fault: extra folders, names outside the grammar, which of
            several known variants of a layout was met.
        problems: What is missing or broken: an absent sequence, a table that cannot be read, a file without partner.
        synthetic: Whether these are synthetic faces.
        expected: What a complete copy holds; None where nobody can know (`folder`).
    """

    layout: str
    root: Path
    recordings: tuple[Recording, ...]
    remarks: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    synthetic: bool
    expected: Expected | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(sorted({recording.subject for recording in self.recordings}))

    @property
    def action_source(self) -> ActionSource | None:
        """Where the facial actions come from; None where no recording has any."""
        if all(recording.actions is None for recording in self.recordings):
            return None
        return action_source(synthetic=self.synthetic)
