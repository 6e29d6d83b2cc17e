"""Index of BP4D-Spontaneous and of BP4D+: `<root>/F001/T1/2440.obj`, or `<root>/2D+3D/F001.zip` that holds the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from smilevlm.datasets.bp4d_codes import with_coded_actions
from smilevlm.datasets.frames import textured_frames
from smilevlm.datasets.index import DataIndex, Expected
from smilevlm.datasets.index_report import IndexReport, subject_folders
from smilevlm.labels import SPONTANEOUS_EXPRESSIONS, UNLABELLED
from smilevlm.readers import is_folder, some
from smilevlm.store import Recording

_SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)
_TASK = re.compile(r"T0*([1-9]\d?)", re.IGNORECASE)
_LANDMARK_FOLDER = re.compile(r"3DFeatures|FacialLandmarks|BND", re.IGNORECASE)
_LANDMARK_FILE = re.compile(r"([FM]\d{3})_T0*([1-9]\d?)_(\d+)\.bndplus", re.IGNORECASE)
_OTHER_FOLDERS = re.compile(
    r"2DFeatures|3DFeatures|AUCoding|IRFeatures|Thermal|Physiology|FacialLandmarks|BND", re.IGNORECASE
)
_LAST_SPONTANEOUS = {"F": 23, "M": 18}
_SCANS_FOLDER = "2D+3D"
_SUFFIXES = (".obj", ".wrl", ".ply")
SPONTANEOUS_TASKS: Mapping[int, str] = {
    1: "happy", 2: "sad", 3: "surprise", 4: "embarrassment", 5: "fear", 6: "pain", 7: "angry", 8: "disgust",
}  # fmt: skip
"""The emotion that each of BP4D's tasks elicits. Source: Zhang et al., Image and Vision Computing 2014, Table 1."""
PLUS_TASKS: Mapping[int, str] = {8: "pain"}
"""BP4D+ numbers its tasks in another way; for the others no source at hand names the emotion."""
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

    The two number their tasks differently; a remark names the evidence for the one that was recognised.

    Raises:
        LayoutError: The folder is missing or holds no sequence.
    """
    report = IndexReport(root, name="BP4D", example="F001/T1/0000.obj or 2D+3D/F001.zip")
    place = _subjects_place(report)
    subjects = subject_folders(report, place, _SUBJECT, ignore=_OTHER_FOLDERS)
    tasks = {subject: _tasks(report, folder) for subject, folder in subjects.items()}
    plus = _is_plus(report, place, subjects, tasks)
    recordings = [
        recording
        for subject, found in tasks.items()
        for recording in _sequences(report, subject, subjects[subject], found, plus=plus)
    ]
    recordings = _with_landmarks(report, recordings, _landmarks(report))
    recordings = with_coded_actions(report, recordings)
    return report.data_index("bp4d", recordings, PLUS if plus else SPONTANEOUS)


def _subjects_place(report: IndexReport) -> Path:
    """Where the subjects lie: in `2D+3D`, in the root, or one folder further down."""
    scans = report.folder(_SCANS_FOLDER)
    places = [report.root, *report.folders(report.root)] if scans is None else [scans]
    for place in places:
        names = (entry for entry in report.entries(place) if _SUBJECT.fullmatch(entry.name.split(".")[0]))
        if any(is_folder(entry) for entry in names):
            if place != report.root:
                report.warning(f"the scans lie in {report.relative(place)}")
            return place
    return report.root if scans is None else scans


def _tasks(report: IndexReport, folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for entry in report.folders(folder):
        match = _TASK.fullmatch(entry.name)
        where = report.relative(entry)
        if match is None:
            report.warning(f"folder {where} is no task and was left out")
        elif int(match[1]) in found:
            report.warning(f"folder {where} is task {match[1]} again; it was left out")
        else:
            found[int(match[1])] = entry
    return found


def _is_plus(
    report: IndexReport, place: Path, subjects: Mapping[str, Path], tasks: Mapping[str, Mapping[int, Path]]
) -> bool:
    if report.synthetic:
        report.warning("synthetic sets follow BP4D-Spontaneous; T1 to T8 got the classes of its table of tasks")
        return False
    late = sorted(f"{subject}/T{number}" for subject, found in tasks.items() for number in found if number > 8)
    further = sorted(subject for subject in subjects if int(subject[1:]) > _LAST_SPONTANEOUS[subject[0]])
    signs = {
        f"a folder {_SCANS_FOLDER}": place.name.upper() == _SCANS_FOLDER,
        "an archive per subject": any(".zip" in report.relative(folder).lower() for folder in subjects.values()),
        f"a task beyond T8 ({some(late)})": bool(late),
        f"a subject beyond F023 and M018 ({some(further)})": bool(further),
    }
    found = [sign for sign, there in signs.items() if there]
    if found:
        report.warning(
            f"taken for BP4D+, for there is {' and '.join(found)}; of its tasks only T8 (pain) has a class. "
            "If it is BP4D-Spontaneous, put its folders F001, F002, ... unpacked into the root"
        )
    else:
        report.warning("taken for BP4D-Spontaneous; T1 to T8 got the classes of its table of tasks")
    return bool(found)


def _landmarks(report: IndexReport) -> dict[str, dict[int, Path]]:
    """BP4D+'s `.bndplus` files by sequence and frame, wherever below `3DFeatures` they lie."""
    found: dict[str, dict[int, Path]] = {}
    places = [folder for folder in report.folders(report.root) if _LANDMARK_FOLDER.fullmatch(folder.name)]
    for place in places:
        places += report.folders(place)
        for entry in report.entries(place):
            match = _LANDMARK_FILE.fullmatch(entry.name)
            if match:
                sequence = found.setdefault(f"{match[1].upper()}_T{match[2]}", {})
                sequence.setdefault(int(match[3]), entry)
    return found


def _sequences(
    report: IndexReport, subject: str, folder: Path, tasks: Mapping[int, Path], *, plus: bool
) -> list[Recording]:
    meaning, num_tasks = (PLUS_TASKS, 10) if plus else (SPONTANEOUS_TASKS, 8)
    recordings = []
    for number in sorted({*range(1, num_tasks + 1), *tasks}):
        if number not in tasks:
            report.problem(folder / f"T{number}", "the sequence is missing")
        elif frames := textured_frames(report, tasks[number], suffixes=_SUFFIXES):
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
    report: IndexReport, recordings: Sequence[Recording], landmarks: Mapping[str, Mapping[int, Path]]
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
        report.warning(f"landmarks count from 1 and meshes from 0, and were matched so: {some(sorted(shifted))}")
    result = []
    for recording in recordings:
        own = landmarks.get(recording.sample_id)
        if own is not None:
            shift = int(recording.sample_id in shifted)
            frames = tuple(replace(f, landmark_path=own.get(f.number + shift)) for f in recording.frames)
            recording = replace(recording, frames=frames)
        result.append(recording)
    return result
