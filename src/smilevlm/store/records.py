"""What a data set index hands to the store: one record per scan or sequence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from smilevlm.labels import ActionIntensities


@dataclass(frozen=True, kw_only=True)
class FrameFile:
    """One scan's files.

    Args:
        path: The mesh. It may lie in a zip archive, which then stands in the path like a folder:
            `BP4D+/F001.zip/F001/T1/0000.obj`.
        number: The frame's number as the data set counts; numbers may have gaps and need not begin at 0.
        landmark_path: Its landmark file, when there is one.
    """

    path: Path
    number: int = 0
    landmark_path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Frame numbers of a movement's phases, all three in the sequence's own count.

    Args:
        onset: The first frame that shows it.
        apex: Where it is strongest.
        offset: The last frame that shows it.
    """

    onset: int
    apex: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One scan (3D) or one sequence of scans (4D) of one person.

    Args:
        sample_id: Unique within the data set, as the data set names it; safe as a file name.
        subject: Whose face it is; folds never split a subject.
        expression: Canonical class, or `smilevlm.labels.UNLABELLED`.
        level: Intensity, 0 where the data set has none.
        labels: Every class that applies, for data sets with several per clip (4DME); empty means `expression` alone.
        condition: What else the data set says: Bosphorus' type and code (`E_HAPPY`, `YR_R90`), BP4D's task (`T1`).
        frames: The scans in order; exactly one when `is_sequence` is false.
        is_sequence: Whether it becomes a dynamic image.
        phases: Onset, apex and offset, when the data set gives them.
        actions: What the face does, of a sequence at its apex: the data set's own, of BP4D the coded frame with the
            highest sum of intensities. None where that is not recorded, empty where nothing moves.
        unjudged_actions: Codes of actions that nobody looked for: not listed among the actions, and yet perhaps there.
    """

    sample_id: str
    subject: str
    expression: str
    level: int = 0
    labels: tuple[str, ...] = ()
    condition: str = ""
    frames: tuple[FrameFile, ...]
    is_sequence: bool = False
    phases: Phases | None = None
    actions: ActionIntensities | None = field(default=None, hash=False)
    unjudged_actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.frames, f"{self.sample_id} has no frame"
        assert self.is_sequence or len(self.frames) == 1, f"{self.sample_id} is one scan but has several files"

    @property
    def path(self) -> Path:
        """The scan's mesh file; of a sequence the first frame's."""
        return self.frames[0].path
