"""Index of BU-4DFE as its owner stores it: `<root>/F001/Happy/000.wrl` with its `.jpg`; landmarks come separately."""

from __future__ import annotations

import re
from pathlib import Path

from smilevlm.datasets.frames import LANDMARK_SUFFIXES, by_number, textured_frames
from smilevlm.datasets.index import DataIndex, Expected
from smilevlm.datasets.index_report import IndexReport, subject_folders
from smilevlm.errors import LayoutError
from smilevlm.labels import BASIC_EXPRESSIONS, canonical_expression
from smilevlm.readers import is_folder
from smilevlm.store import FrameFile, Recording

_SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)
_LANDMARK_TREE = re.compile(r"BU4DFE_BND.*", re.IGNORECASE)
_WORDS = {"angry": "Angry", "disgust": "Disgust", "fear": "Fear", "happy": "Happy", "sad": "Sad",
          "surprise": "Surprise"}  # fmt: skip
COMPLETE = Expected(
    num_subjects=101,
    num_recordings=606,
    per_subject=dict.fromkeys(BASIC_EXPRESSIONS, 1),
    source="Yin et al., FG 2008: 101 subjects, six sequences each",
)


def index_bu4dfe(root: Path) -> DataIndex:
    """Find the sequences of a BU-4DFE copy, complete or not.

    Raises:
        LayoutError: The folder is missing or holds no sequence.
    """
    report = IndexReport(root, name="BU-4DFE", example="F001/Angry/000.wrl")
    landmark_tree = _find_landmark_tree(report)
    recordings: list[Recording] = []
    for subject, folder in subject_folders(report, root, _SUBJECT, ignore=_LANDMARK_TREE).items():
        sequences = _expression_folders(report, folder)
        for expression, word in _WORDS.items():
            if expression not in sequences:
                report.problem(folder / word, "the sequence is missing")
            elif frames := _frames(report, sequences[expression], subject, word, landmark_tree):
                recordings.append(
                    Recording(
                        sample_id=f"{subject}_{word}",
                        subject=subject,
                        expression=expression,
                        frames=frames,
                        is_sequence=True,
                    )
                )
    _warn_about_landmarks(report, recordings, landmark_tree)
    return report.data_index("bu4dfe", recordings, COMPLETE)


def _find_landmark_tree(report: IndexReport) -> Path | None:
    """`BU4DFE_BND_V1.1` is distributed by itself; people put it inside the data set's folder or beside it."""
    for where, place in (("inside", report.root), ("beside", report.root.resolve().parent)):
        for entry in report.entries(place):
            if _LANDMARK_TREE.fullmatch(entry.name) and is_folder(entry):
                report.warning(f"landmarks were looked for in {entry.name} {where} the data set's folder")
                return entry
    return None


def _expression_folders(report: IndexReport, folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for entry in report.folders(folder):
        where = report.relative(entry)
        try:
            expression = canonical_expression(entry.name)
        except LayoutError:
            expression = None
        if expression not in _WORDS:
            report.warning(f"folder {where} is no expression and was left out")
        elif expression in found:
            report.warning(f"folder {where} is {expression} again, as {found[expression].name}; it was left out")
        else:
            found[expression] = entry
    return found


def _frames(
    report: IndexReport, folder: Path, subject: str, word: str, landmark_tree: Path | None
) -> tuple[FrameFile, ...]:
    place = None if landmark_tree is None else report.folder(subject, word, start=landmark_tree)
    landmarks = {} if place is None else by_number(report.entries(place), LANDMARK_SUFFIXES)
    return textured_frames(report, folder, suffixes=(".wrl",), landmarks=landmarks or None)


def _warn_about_landmarks(report: IndexReport, recordings: list[Recording], landmark_tree: Path | None) -> None:
    frames = [frame for recording in recordings for frame in recording.frames]
    with_landmarks = sum(frame.landmark_path is not None for frame in frames)
    if with_landmarks == 0:
        report.warning("no landmarks found; they are distributed separately, as BU4DFE_BND_V1.1")
    elif with_landmarks < len(frames):
        report.warning(f"landmarks found for {with_landmarks} of {len(frames)} frames")
