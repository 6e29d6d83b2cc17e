"""What all indexes share: names in folders and archives, and what a complete copy holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from smilevlm.datasets.index import DataIndex, Expected, Problem
from smilevlm.errors import FileFormatError, LayoutError, MeshError, TableError
from smilevlm.readers import (
    ACTIONS_NAME,
    FolderVisits,
    archive_fault,
    is_file,
    is_folder,
    is_hidden,
    list_folder,
    read_action_table,
    read_file,
    some,
)
from smilevlm.store import Recording
from smilevlm.synthesis import MARKER_NAME


class IndexReport:
    """Walks through a copy of a data set and collects what is missing or unusual in it.

    Args:
        root: The data set's folder, or an archive that holds it.
        name: The data set's name for people.
        example: A file of a complete copy, relative to the root, for the error message.

    Raises:
        LayoutError: The root is no folder, or the marker of a synthetic set is damaged.
    """

    def __init__(self, root: Path, *, name: str, example: str) -> None:
        if not is_folder(root):
            raise LayoutError(f"{root} is not a folder; expected {name}'s root, with files like {example} below it")
        self.root = root
        self.name = name
        self.example = example
        self.marker = read_marker(root)
        self._warnings: list[str] = []
        self._problems: list[Problem] = []
        self._visits = FolderVisits(root)
        self.synthetic = self.marker is not None or self._is_marked_nearby()

    def relative(self, path: Path) -> str:
        """The path below the root with slashes; the whole path of what lies outside."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def warning(self, text: str) -> None:
        """What is unusual but no fault; the index gives these as its remarks."""
        self._warnings.append(text)

    def problem(self, path: Path, reason: str) -> None:
        """What is missing or broken."""
        self._problems.append(Problem(path=self.relative(path), reason=reason))

    def file_problem(self, path: Path, error: FileFormatError, *, line_word: str = "line", then: str = "") -> None:
        """A file that cannot be read, with the place within it, and what follows from that."""
        line = "" if error.line is None else f"{line_word} {error.line}: "
        self.problem(path, f"{line}{error.message}{then}")

    def entries(self, folder: Path) -> list[Path]:
        """What lies in a folder or an archive, sorted whatever the case; hidden names are left out.

        A folder that cannot be listed is empty, and a problem.
        """
        try:
            found = list_folder(folder)
        except MeshError as error:
            self.problem(folder, error.message)
            return []
        shown = [entry for entry in found if not is_hidden(entry.name)]
        return sorted(shown, key=lambda entry: (entry.name.lower(), entry.name))

    def folders(self, folder: Path) -> list[Path]:
        """The folders directly below; archives are none, nor are links to a folder that is visited anyway."""
        found = [e for e in self.entries(folder) if not e.name.lower().endswith(".zip") and is_folder(e)]
        return [entry for entry in found if self.is_new(entry)]

    def is_new(self, folder: Path) -> bool:
        """Whether a folder is no link to one that is visited anyway; a remark says so when it is."""
        is_new = self._visits.is_new(folder)
        if not is_new:
            text = f"{self.relative(folder)} is a link to a folder that is visited anyway; it was left out"
            if text not in self._warnings:
                self.warning(text)
        return is_new

    def folder(self, *parts: str, start: Path | None = None) -> Path | None:
        """A folder below the root or another start by its parts' names in any case; None when there is none."""
        place = self.root if start is None else start
        for part in parts:
            matches = [folder for folder in self.folders(place) if folder.name.lower() == part.lower()]
            if not matches:
                return None
            place = matches[0]
        return place

    def _is_marked_nearby(self) -> bool:
        """A root one folder too high or too low is read as well, and must not pass for a real data set."""
        near = [self.root.resolve().parent, *self.folders(self.root)]
        marked = next((place for place in near if is_file(place / MARKER_NAME)), None)
        if marked is not None:
            self.warning(f"the faces are synthetic, says {marked / MARKER_NAME}; give that folder as the root")
        return marked is not None

    def data_index(self, layout: str, recordings: Sequence[Recording], complete: Expected | None) -> DataIndex:
        """Put everything together; a synthetic copy's own marker says more than `complete`, the published counts.

        Raises:
            LayoutError: There is no recording at all.
        """
        if not recordings:
            why = "does the path end one folder too high or too low?"
            if self._problems:
                why = f"first problem: {self._problems[0].path}: {self._problems[0].reason}"
            raise LayoutError(f"{self.root} holds no {self.name} scan; expected files like {self.example} ({why})")
        recordings = self._with_table_of_actions(recordings)
        expected = complete if self.marker is None else _expected_by_marker(self.marker, complete)
        num_subjects = len({recording.subject for recording in recordings})
        if expected is not None:
            self._compare("subjects", num_subjects, expected.num_subjects)
            if expected.num_recordings is not None:
                self._compare("recordings", len(recordings), expected.num_recordings)
        return DataIndex(
            layout=layout,
            root=self.root,
            recordings=tuple(sorted(recordings, key=lambda r: (r.subject, r.sample_id))),
            remarks=tuple(self._warnings),
            problems=tuple(self._mark_intentional(problem) for problem in self._problems),
            synthetic=self.synthetic,
            expected=expected,
        )

    def _with_table_of_actions(self, recordings: Sequence[Recording]) -> Sequence[Recording]:
        """Recordings with what `actions.csv` says, which counts for more than the data set's own codes."""
        path = self.root / ACTIONS_NAME
        if not is_file(path):
            return recordings
        try:
            table = read_action_table(path)
        except TableError as error:
            self.file_problem(path, error, then="; its facial actions are not recorded")
            return recordings
        names = {recording.sample_id for recording in recordings}
        self.warning(f"{ACTIONS_NAME} has the facial actions of {len(names & table.keys())} of {len(names)} recordings")
        if unknown := sorted(table.keys() - names):
            self.warning(f"{ACTIONS_NAME} names what is not there: {some(unknown)}")
        return [
            replace(recording, actions=known.intensities, unjudged_actions=known.unjudged)
            if (known := table.get(recording.sample_id))
            else recording
            for recording in recordings
        ]

    def _compare(self, what: str, found: int, expected: int) -> None:
        text = f"{found} {what} found, a complete copy has {expected}"
        if found < expected:
            self.problem(self.root, text)
        elif found > expected:
            self.warning(text)

    def _mark_intentional(self, problem: Problem) -> Problem:
        """Gaps that the maker of a synthetic set left are still gaps, and the reader may know whose they are."""
        missing = (self.marker or {}).get("contents", {}).get("missing", ())
        if problem.path not in missing:
            return problem
        return replace(problem, reason=f"{problem.reason} (left out on purpose, says {MARKER_NAME})")


def read_marker(root: Path) -> Mapping[str, Any] | None:
    """What the maker of a synthetic set wrote about it; None for a set without marker.

    Raises:
        LayoutError: The marker is there but damaged.
    """
    if not any(entry.name == MARKER_NAME for entry in list_folder(root)):
        return None
    try:
        marker = json.loads(read_file(root / MARKER_NAME))
    except (MeshError, ValueError) as error:
        raise LayoutError(f"{root / MARKER_NAME} is damaged: {error}") from None
    if not isinstance(marker, dict) or not isinstance(marker.get("contents", {}), dict):
        raise LayoutError(f"{root / MARKER_NAME} is damaged: expected an object")
    return marker


def _expected_by_marker(marker: Mapping[str, Any], complete: Expected | None) -> Expected | None:
    """What the maker of a synthetic set says it holds; one without `contents` has at least the number of people."""
    contents = marker.get("contents", marker)
    num_subjects, num_recordings = contents.get("num_subjects"), contents.get("num_recordings")
    if not isinstance(num_subjects, int) or not isinstance(num_recordings, int | None):
        return None
    per_subject = {} if complete is None else complete.per_subject
    return Expected(
        num_subjects=num_subjects, num_recordings=num_recordings, per_subject=per_subject, source=MARKER_NAME
    )


def subject_folders(
    report: IndexReport, place: Path, pattern: re.Pattern[str], *, ignore: re.Pattern[str] | None = None
) -> dict[str, Path]:
    """Subjects' folders and archives below a place, by the subject's name in capitals.

    Args:
        report: Gets a warning about every other folder, and a problem for an archive that cannot be opened.
        place: Where to look.
        pattern: What a subject is called; matched in any case.
        ignore: Folders that belong to the data set but hold no subject.
    """
    found: dict[str, Path] = {}
    for entry in report.entries(place):
        packed = entry.name.lower().endswith(".zip")
        name = entry.name[: -len(".zip")] if packed else entry.name
        if not pattern.fullmatch(name):
            if not packed and is_folder(entry) and not (ignore and ignore.fullmatch(name)):
                report.warning(f"folder {report.relative(entry)} is no subject folder and was left out")
        elif not is_folder(entry):
            if packed:
                report.problem(entry, f"damaged archive: {archive_fault(entry) or 'not a readable zip archive'}")
        elif not report.is_new(entry):
            continue
        elif name.upper() in found:
            kept = report.relative(found[name.upper()])
            report.warning(f"{report.relative(entry)} is subject {name.upper()} again, as {kept}; it was left out")
        else:
            # `F001.zip` holds `F001/T1/...`, or `T1/...` where a user packed it.
            inner = [e for e in report.entries(entry) if e.name.upper() == name.upper()] if packed else []
            found[name.upper()] = inner[0] if inner else entry
    return found
