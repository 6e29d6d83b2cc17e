"""Action units that people coded in BP4D and BP4D+, in `AUCoding/` or in `AU_OCC/` and `AU_INT/AU06/` below it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.index_report import IndexReport
from smilevlm.errors import FileFormatError
from smilevlm.labels import FACIAL_ACTIONS, FACS_INTENSITY, PRESENT_INTENSITY, Side, action_intensities, facs_code
from smilevlm.readers import AU_UNKNOWN, read_au_intensities, read_au_table
from smilevlm.store import Recording

_OCCURRENCE = re.compile(r"([FM]\d{3})_T0*([1-9]\d?)\.csv", re.IGNORECASE)
_INTENSITY = re.compile(r"([FM]\d{3})_T0*([1-9]\d?)_AU0*(\d{1,2})\.csv", re.IGNORECASE)
_UNIT_FOLDER = re.compile(r"AU\d{1,2}", re.IGNORECASE)
_FOLDER = "AUCoding"
_STRENGTHS = (0.0, *FACS_INTENSITY.values())
"""Of the digits 0 to 5."""
_Frames = dict[int, dict[str, float]]
"""Intensity by coded frame and action, without what could not be coded in a frame."""


def with_coded_actions(report: IndexReport, recordings: Sequence[Recording]) -> list[Recording]:
    """Recordings with the actions that their tables of action units name at the apex.

    The apex is the coded frame with the highest sum of intensities, where a unit that is only known to be present
    counts `PRESENT_INTENSITY`; of equal frames the one with more judged units, then the first. Units that no table
    judges in that frame are unjudged. A table that cannot be read is a problem.
    """
    occurrence, intensity = _occurrence_tables(report), _intensity_tables(report)
    apexes = {
        name: _apex(_present(report, occurrence.get(name)), _strengths(report, intensity.get(name, {})))
        for name in sorted({*occurrence, *intensity})
    }
    result = []
    for recording in recordings:
        judged = apexes.get(recording.sample_id)
        if not judged:
            result.append(recording)
            continue
        both: Side = "both"
        actions = action_intensities((code, both, value) for code, value in judged.items())
        unjudged = tuple(code for code in FACIAL_ACTIONS if code not in judged)
        result.append(replace(recording, actions=actions, unjudged_actions=unjudged))
    coded = sum(recording.actions is not None for recording in result)
    report.warning(f"action units are coded for {coded} of {len(result)} sequences")
    return result


def _apex(present: _Frames, strengths: _Frames) -> dict[str, float]:
    """Intensity of each action that was judged in the frame that shows most; empty if no frame was coded."""
    frames = [present.get(number, {}) | strengths.get(number, {}) for number in sorted({*present, *strengths})]
    return max(frames, key=lambda judged: (sum(judged.values()), len(judged)), default={})


def _judge(frames: _Frames, frame: int, code: str, intensity: float) -> None:
    """Several units may be one action, such as AU33 and AU34: the strongest counts."""
    judged = frames.setdefault(frame, {})
    judged[code] = max(judged.get(code, 0.0), intensity)


def _present(report: IndexReport, path: Path | None) -> _Frames:
    frames: _Frames = {}
    if path is None:
        return frames
    try:
        table = read_au_table(path)
    except FileFormatError as error:
        report.file_problem(path, error)
        return frames
    codes = [facs_code(number) for number in table.au_numbers]
    for frame, values in zip(table.frame_numbers.tolist(), table.values.tolist(), strict=True):
        for code, value in zip(codes, values, strict=True):
            if code is not None and value != AU_UNKNOWN:
                _judge(frames, frame, code, PRESENT_INTENSITY * value)
    return frames


def _strengths(report: IndexReport, tables: Mapping[Path, str]) -> _Frames:
    frames: _Frames = {}
    for path, code in tables.items():
        try:
            values = read_au_intensities(path)
        except FileFormatError as error:
            report.file_problem(path, error)
            continue
        for frame, value in values.items():
            if value != AU_UNKNOWN:
                _judge(frames, frame, code, _STRENGTHS[value])
    return frames


def _occurrence_tables(report: IndexReport) -> dict[str, Path]:
    """One table by sequence."""
    tables: dict[str, Path] = {}
    for place in (report.folder(_FOLDER, "AU_OCC"), report.folder(_FOLDER)):
        for entry in [] if place is None else report.entries(place):
            if match := _OCCURRENCE.fullmatch(entry.name):
                tables.setdefault(f"{match[1].upper()}_T{match[2]}", entry)
    return tables


def _intensity_tables(report: IndexReport) -> dict[str, dict[Path, str]]:
    """Tables by sequence, each with the code of its action."""
    place = report.folder(_FOLDER, "AU_INT")
    folders = [] if place is None else [place, *(f for f in report.folders(place) if _UNIT_FOLDER.fullmatch(f.name))]
    tables: dict[str, dict[Path, str]] = {}
    for entry in (entry for folder in folders for entry in report.entries(folder)):
        match = _INTENSITY.fullmatch(entry.name)
        code = None if match is None else facs_code(match[3])
        if match is not None and code is not None:
            tables.setdefault(f"{match[1].upper()}_T{match[2]}", {})[entry] = code
    return tables
