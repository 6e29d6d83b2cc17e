"""Action units that people coded in BP4D and BP4D+, in `AUCoding/` or in `AU_OCC/` and `AU_INT/AU06/` below it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilevlm.datasets.index_report import IndexReport
from smilevlm.errors import FileFormatError
from smilevlm.labels import FACIAL_ACTIONS, FACS_INTENSITY, PRESENT_INTENSITY, Side, action_intensities, facs_code
from smilevlm.readers import read_au_intensities, read_au_table
from smilevlm.store import Recording

_OCCURRENCE = re.compile(r"([FM]\d{3})_T0*([1-9]\d?)\.csv", re.IGNORECASE)
_INTENSITY = re.compile(r"([FM]\d{3})_T0*([1-9]\d?)_AU0*(\d{1,2})\.csv", re.IGNORECASE)
_UNIT_FOLDER = re.compile(r"AU\d{1,2}", re.IGNORECASE)
_FOLDER = "AUCoding"
_STRENGTHS = (0.0, *FACS_INTENSITY.values())
"""Of the digits 0 to 5."""
_Coded = dict[str, dict[str, float]]
"""Strongest intensity in the coded frames by sequence and action."""


def with_coded_actions(report: IndexReport, recordings: Sequence[Recording]) -> list[Recording]:
    """Recordings with the actions that their tables of action units name.

    Of each unit the strongest of all coded frames counts, whether or not it is the same frame for all. Units that no
    table has, or that could not be coded in any frame, are unjudged. A table that cannot be read is a problem.
    """
    occurrence, intensity = _occurrence(report), _intensity(report)
    result = []
    for recording in recordings:
        present, strength = (found.get(recording.sample_id, {}) for found in (occurrence, intensity))
        if not present and not strength:
            result.append(recording)
            continue
        judged = {code: strength.get(code) or present.get(code, 0.0) for code in (*present, *strength)}
        both: Side = "both"
        actions = action_intensities((code, both, value) for code, value in judged.items())
        unjudged = tuple(code for code in FACIAL_ACTIONS if code not in judged)
        result.append(replace(recording, actions=actions, unjudged_actions=unjudged))
    coded = sum(recording.actions is not None for recording in result)
    report.warning(f"action units are coded for {coded} of {len(result)} sequences")
    return result


def _occurrence(report: IndexReport) -> _Coded:
    places = [report.folder(_FOLDER, "AU_OCC"), report.folder(_FOLDER)]
    found: _Coded = {}
    for name, path in _tables(report, [place for place in places if place is not None]).items():
        try:
            table = read_au_table(path)
        except FileFormatError as error:
            report.file_problem(path, error)
            continue
        strongest = table.values.max(axis=0, initial=-1).tolist()
        codes = (facs_code(number) for number in table.au_numbers)
        found[name] = {
            code: PRESENT_INTENSITY * value
            for code, value in zip(codes, strongest, strict=True)
            if code is not None and value >= 0
        }
    return found


def _tables(report: IndexReport, places: Sequence[Path]) -> Mapping[str, Path]:
    tables: dict[str, Path] = {}
    for place in places:
        for entry in report.entries(place):
            if match := _OCCURRENCE.fullmatch(entry.name):
                tables.setdefault(f"{match[1].upper()}_T{match[2]}", entry)
    return tables


def _intensity(report: IndexReport) -> _Coded:
    place = report.folder(_FOLDER, "AU_INT")
    folders = [] if place is None else [place, *(f for f in report.folders(place) if _UNIT_FOLDER.fullmatch(f.name))]
    found: _Coded = {}
    for entry in (entry for folder in folders for entry in report.entries(folder)):
        match = _INTENSITY.fullmatch(entry.name)
        code = None if match is None else facs_code(match[3])
        if match is None or code is None:
            continue
        try:
            strongest = int(np.max(read_au_intensities(entry)))
        except FileFormatError as error:
            report.file_problem(entry, error)
            continue
        if strongest >= 0:
            found.setdefault(f"{match[1].upper()}_T{match[2]}", {})[code] = _STRENGTHS[strongest]
    return found
