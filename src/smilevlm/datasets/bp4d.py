"""Index of BP4D-Spontaneous and of BP4D+: `<root>/F001/T1/2440.obj`, or `<root>/2D+3D/F001.zip` that holds the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.frames import textured_frames
from smilevlm.datasets.index import DataIndex, Expected
from smilevlm.datasets.tree import Findings, subject_folders
from smilevlm.errors import FileFormatError
from smilevlm.labels import SPONTANEOUS_EXPRESSIONS, UNLABELLED
from smilevlm.readers import is_folder, read_au_table, some
from smilevlm.store import Recording

_SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)
_TASK = re.compile(r"T0*([1-9]\d?)", re.IGNORECASE)
_AU_TABLE = re.compile(r"([FM]\d{3})_T0*([1-9]\d?)\.csv", re.IGNORECASE)
_LANDMARK_FOLDER = re.compile(r"3DFeatures|FacialLandmarks|BND", re.IGNORECASE)
_LANDMARK_FILE = re.compile(r"([FM]\d{3})_T0*([1-9]\d?)_(\d+)\.bndplus", re.IGNORECASE)
_BESIDE = re.compile(r"2DFeatures|3DFeatures|AUCoding|IRFeatures|Thermal|Physiology|FacialLandmarks|BND", re.IGNORECASE)
_LAST_SPONTANEOUS = {"F": 23, "M": 18}
_TOGETHER = "2D+3D"
_SUFFIXES = (".obj", ".wrl", ".ply")
SPONTANEOUS_TASKS: Mapping[int, str] = {
    1: "happy", 2: "sad", 3: "surprise", 4: "embarrassment", 5: "fear", 6: "pain", 7: "angry", 8: "disgust",
}  # fmt: skip
"""What BP4D's tasks call forth. Source: Zhang et al., Image and Vision Computing 2014, Table 1."""
PLUS_TASKS: Mapping[int, str] = {8: "pain"}
"""BP4D+ numbers its tasks in another way; of the others no source at hand says what they call forth."""
SPONTANEOUS = Expected(
    num_subjects=41,
    num_recordings=328,
    per_subject=dict.fromkeys(SPONTANEOUS_EXPRESSIONS, 1),
    source="Zhang et al., 2014: 41 subjects, 8 tasks",
)
PLUS = Expected(
    num_subjects=140,
    num_recordings=1400,
    per_subject={"pain": 1},
    source="Zhang et al., CVPR 2016: 140 subjects, 10 tasks",
)


def index_bp4d(root: Path) -> DataIndex:
    """Find the sequences of a copy of BP4D-Spontaneous or BP4D+, unpacked or in its archives.

    Which of the two it is decides what the tasks mean, and a remark says what told them apart.

    Raises:
        LayoutError: The folder is missing or holds no sequence.
    """
    findings = Findings(root, name="BP4D", example="F001/T1/0000.obj or 2D+3D/F001.zip")
    place = _place(findings)
    subjects = subject_folders(findings, place, _SUBJECT, ignore=_BESIDE)
    tasks = {subject: _tasks(findings, folder) for subject, folder in subjects.items()}
    plus = _is_plus(findings, place, subjects, tasks)
    recordings = [
        recording
        for subject, found in tasks.items()
        for recording in _sequences(findings, subject, subjects[subject], found, plus=plus)
    ]
    recordings = _with_landmarks(findings, recordings, _landmarks(findings))
    _check_au_tables(findings, recordings)
    return findings.data_index("bp4d", recordings, PLUS if plus else SPONTANEOUS)


def _place(findings: Findings) -> Path:
    """Where the subjects lie: in `2D+3D`, in the root, or one folder further down."""
    together = findings.folder(_TOGETHER)
    places = [findings.root, *findings.folders(findings.root)] if together is None else [together]
    for place in places:
        names = (entry for entry in findings.entries(place) if _SUBJECT.fullmatch(entry.name.split(".")[0]))
        if any(is_folder(entry) for entry in names):
            if place != findings.root:
                findings.remark(f"the scans lie in {findings.relative(place)}")
            return place
    return findings.root if together is None else together


def _tasks(findings: Findings, folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for entry in findings.folders(folder):
        match = _TASK.fullmatch(entry.name)
        where = findings.relative(entry)
        if match is None:
            findings.remark(f"folder {where} is no task and was left out")
        elif int(match[1]) in found:
            findings.remark(f"folder {where} is task {match[1]} again; it was left out")
        else:
            found[int(match[1])] = entry
    return found


def _is_plus(
    findings: Findings, place: Path, subjects: Mapping[str, Path], tasks: Mapping[str, Mapping[int, Path]]
) -> bool:
    if findings.synthetic:
        findings.remark("synthetic sets follow BP4D-Spontaneous; T1 to T8 got the classes of its table of tasks")
        return False
    late = sorted(f"{subject}/T{number}" for subject, found in tasks.items() for number in found if number > 8)
    further = sorted(subject for subject in subjects if int(subject[1:]) > _LAST_SPONTANEOUS[subject[0]])
    signs = {
        f"a folder {_TOGETHER}": place.name.upper() == _TOGETHER,
        "an archive per subject": any(".zip" in findings.relative(folder).lower() for folder in subjects.values()),
        f"a task beyond T8 ({some(late)})": bool(late),
        f"a subject beyond F023 and M018 ({some(further)})": bool(further),
    }
    seen = [sign for sign, there in signs.items() if there]
    if seen:
        findings.remark(
            f"taken for BP4D+, for there is {' and '.join(seen)}; of its tasks only T8 (pain) has a class. "
            "If it is BP4D-Spontaneous, put its folders F001, F002, ... unpacked into the root"
        )
    else:
        findings.remark("taken for BP4D-Spontaneous; T1 to T8 got the classes of its table of tasks")
    return bool(seen)


def _landmarks(findings: Findings) -> dict[str, dict[int, Path]]:
    """BP4D+'s `.bndplus` files by sequence and frame, wherever below `3DFeatures` they lie."""
    found: dict[str, dict[int, Path]] = {}
    places = [folder for folder in findings.folders(findings.root) if _LANDMARK_FOLDER.fullmatch(folder.name)]
    for place in places:
        places += findings.folders(place)
        for entry in findings.entries(place):
            match = _LANDMARK_FILE.fullmatch(entry.name)
            if match:
                sequence = found.setdefault(f"{match[1].upper()}_T{match[2]}", {})
                sequence.setdefault(int(match[3]), entry)
    return found


def _sequences(
    findings: Findings, subject: str, folder: Path, tasks: Mapping[int, Path], *, plus: bool
) -> list[Recording]:
    meaning, num_tasks = (PLUS_TASKS, 10) if plus else (SPONTANEOUS_TASKS, 8)
    recordings = []
    for number in sorted({*range(1, num_tasks + 1), *tasks}):
        if number not in tasks:
            findings.problem(folder / f"T{number}", "the sequence is missing")
            continue
        frames = textured_frames(findings, tasks[number], suffixes=_SUFFIXES)
        if frames:
            recordings.append(
                Recording(
                    sample_id=f"{subject}_T{number}",
                    subject=subject,
                    expression=meaning.get(number, UNLABELLED),
                    condition=f"T{number}",
                    frames=frames,
                    is_sequence=True,
                )
            )
    return recordings


def _with_landmarks(
    findings: Findings, recordings: Sequence[Recording], landmarks: Mapping[str, Mapping[int, Path]]
) -> list[Recording]:
    """Give each frame its landmark file.

    The tracker's count begins at 1, and in some sequences the meshes' begins at 0. Both lose frames, so what decides is
    by which of the two readings more meshes of all those sequences have landmarks.
    """
    from_zero = [r for r in recordings if r.sample_id in landmarks and r.frames[0].number == 0]
    fits = [
        sum(frame.number + shift in landmarks[r.sample_id] for r in from_zero for frame in r.frames) for shift in (0, 1)
    ]
    shifted = {r.sample_id for r in from_zero} if fits[1] >= fits[0] else set()
    if shifted:
        findings.remark(f"landmarks count from 1 and meshes from 0, and were matched so: {some(sorted(shifted))}")
    result = []
    for recording in recordings:
        own = landmarks.get(recording.sample_id)
        if own is not None:
            shift = int(recording.sample_id in shifted)
            frames = tuple(replace(f, landmark_path=own.get(f.number + shift)) for f in recording.frames)
            recording = replace(recording, frames=frames)
        result.append(recording)
    return result


def _check_au_tables(findings: Findings, recordings: Sequence[Recording]) -> None:
    """Read every table of action units, so that a broken one is known before it is needed."""
    tables: dict[str, Path] = {}
    for place in (findings.folder("AUCoding", "AU_OCC"), findings.folder("AUCoding")):
        for entry in findings.entries(place) if place is not None else []:
            match = _AU_TABLE.fullmatch(entry.name)
            if match:
                tables.setdefault(f"{match[1].upper()}_T{match[2]}", entry)
    for path in tables.values():
        try:
            read_au_table(path)
        except FileFormatError as error:
            line = "" if error.line is None else f"line {error.line}: "
            findings.problem(path, f"{line}{error.message}")
    coded = sum(recording.sample_id in tables for recording in recordings)
    findings.remark(f"action units are coded for {coded} of {len(recordings)} sequences")
