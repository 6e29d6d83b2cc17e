"""What an index of a data set on disk gives, whatever its layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smilevlm.store import ScanRecord


@dataclass(frozen=True, kw_only=True)
class DataIndex:
    """The scans of a data set.

    Args:
        layout: Name of the layout.
        root: Where it lies.
        records: Every scan found, sorted by subject and name.
        remarks: What is unusual about this copy: extra folders, names outside the grammar, unexpected counts.
        synthetic: Whether these are synthetic faces.
    """

    layout: str
    root: Path
    records: tuple[ScanRecord, ...]
    remarks: tuple[str, ...]
    synthetic: bool

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(sorted({record.subject for record in self.records}))
