"""What a data set index hands to the store: one record per scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """One scan on disk.

    Args:
        sample_id: Unique within the data set, as the data set names it.
        subject: Whose face it is; folds never split a subject.
        expression: Canonical class.
        level: Intensity, 0 where the data set has none.
        path: The mesh file.
        landmark_path: Its landmark file, when the data set has one.
    """

    sample_id: str
    subject: str
    expression: str
    level: int
    path: Path
    landmark_path: Path | None = None
