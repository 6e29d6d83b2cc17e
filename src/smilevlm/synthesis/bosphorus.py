"""Synthetic faces in the layout of Bosphorus: `.bnt` range images of one view, `.png`, `.lm2` and `.lm3`."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smilevlm.labels import (
    NEUTRAL,
    ActionIntensities,
    Side,
    action_intensities,
    facs_code,
    side_of_letter,
)
from smilevlm.readers import BNT_BACKGROUND, BOSPHORUS_LABELS, write_bnt, write_lm2, write_lm3
from smilevlm.synthesis.action_units import ACTION_UNITS, sides
from smilevlm.synthesis.anatomy import anatomy, head_faces
from smilevlm.synthesis.bosphorus_plan import (
    ACTION_CODES,
    EXPRESSION_CODES,
    POSE_CODES,
    PlannedScan,
    plan_subject,
)
from smilevlm.synthesis.data_set import DataSetSettings, Layout, SubjectFolder
from smilevlm.synthesis.expressions import by_side, draw_actions, draw_idle
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.occlusions import OCCLUSIONS, merge_meshes, surface_front
from smilevlm.synthesis.people import Person
from smilevlm.synthesis.range_camera import RangeCameraSettings, RangeImage, scan_from_front
from smilevlm.synthesis.rigs.anny import actions_of_head_model
from smilevlm.synthesis.scan_setup import Pose, rotation_from_angles
from smilevlm.synthesis.scanner import ColoredMesh
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.subjects import Subject, draw_subject

_FEMALE_SHARE = 45 / 105
_HEAD_CENTRE_MM = np.array([0.0, 0.0, -80.0])
"""A head turns about its neck, not about its nose."""
_LANDMARK_VERTICES: Mapping[str, int] = {
    # Rows of BU-3DFE's 83 landmarks, from 0; left is the person's, the viewer's right.
    "Outer left eyebrow": 20, "Middle left eyebrow": 18, "Inner left eyebrow": 16,
    "Inner right eyebrow": 26, "Middle right eyebrow": 28, "Outer right eyebrow": 30,
    "Outer left eye corner": 4, "Inner left eye corner": 0, "Inner right eye corner": 8, "Outer right eye corner": 12,
    "Nose saddle left": 47, "Nose saddle right": 36, "Left nose peak": 44, "Right nose peak": 39,
    "Left mouth corner": 54, "Upper lip outer middle": 51, "Right mouth corner": 48, "Upper lip inner middle": 62,
    "Lower lip inner middle": 66, "Lower lip outer middle": 57, "Chin middle": 75,
}  # fmt: skip
_VISIBLE_WITHIN_CELLS = 2.5
_LOST_EAR_SHARE = 0.4
_ROWS_AND_COLUMNS = struct.Struct("<HH")


@dataclass(frozen=True, kw_only=True)
class BosphorusSettings(DataSetSettings):
    """What to write; Bosphorus has 105 people.

    Args:
        complete: Also write single facial actions, poses and occlusions, as Bosphorus has them, about 45 scans per
            person; else neutral faces and expressions alone.
        scanner: How the scans differ from the true faces, and how fine they are.
    """

    complete: bool = True
    scanner: RangeCameraSettings = field(default_factory=RangeCameraSettings)


@dataclass(frozen=True, kw_only=True)
class BosphorusSubject(SubjectFolder):
    """One subject's folder and its scans."""

    scans: tuple[PlannedScan, ...]


def _plan(settings: BosphorusSettings) -> list[BosphorusSubject]:
    plans = [plan_subject(n, seed=settings.seed, complete=settings.complete) for n in range(settings.num_subjects)]
    return [BosphorusSubject(number=n, path=scans[0].subject, scans=scans) for n, scans in enumerate(plans)]


def _contents(_settings: BosphorusSettings, parts: Sequence[BosphorusSubject]) -> dict[str, Any]:
    scans = [scan for part in parts for scan in part.scans]
    missing = [f"{scan.subject}/{scan.name}" for scan in scans if scan.without]
    return {"num_recordings": len(scans), "missing": missing}


def _write_subject(
    _root: Path, folder: Path, part: BosphorusSubject, settings: BosphorusSettings
) -> dict[str, ActionIntensities]:
    key = SeedKey(layout=LAYOUT.name, seed=settings.seed, person=part.number)
    rng = key.generator("person")
    sex = "F" if rng.uniform() < _FEMALE_SHARE else "M"
    subject = draw_subject(rng, sex=sex, population=settings.population)
    rngs = [replace(key, sequence=scan.key).generator("scan") for scan in part.scans]
    actions = [_actions(scan_rng, subject.person, scan) for scan_rng, scan in zip(rngs, part.scans, strict=True)]
    for scan_rng, scan, head in zip(rngs, part.scans, subject.heads(actions), strict=True):
        pose = _draw_pose(scan_rng, scan, settings.scanner)
        image = scan_from_front(scan_rng, _scene(scan_rng, subject, scan, head), pose, settings.scanner)
        _write_scan(scan_rng, folder, scan, image, head @ pose.rotation.T + pose.offset_mm, settings)
    return {scan.name: recorded_actions(scan, each) for scan, each in zip(part.scans, actions, strict=True)}


def recorded_actions(scan: PlannedScan, weights: Mapping[str, float]) -> ActionIntensities:
    """What a scan shows: the units of its code at their strength, and what its ARKit weights say.

    Lips that are tightened (AU23) are rolled in by the head model; they count as sucked in (AU28) only if that is
    coded.
    """
    coded = [] if scan.kind not in ACTION_CODES else ACTION_CODES[scan.kind][scan.code]
    entries: list[tuple[str, Side, float]] = []
    for unit, side, share in coded:
        code = facs_code(unit)
        assert code is not None, unit
        entries.append((code, side_of_letter(side), min(share, 1.0)))
    codes = {code for code, _, _ in entries}
    for code, (left, right) in actions_of_head_model(weights).items():
        if code == "AU28" and "AU23" in codes and code not in codes:
            continue
        entries.append((code, "left", left))
        entries.append((code, "right", right))
    return action_intensities(entries)


def _actions(rng: np.random.Generator, person: Person, scan: PlannedScan) -> dict[str, float]:
    """What the face does: an expression, single action units, or next to nothing."""
    names = head_model().facial_actions
    if scan.kind == "IGN":
        expressions = rng.choice(list(EXPRESSION_CODES.values()), size=2, replace=False)
        each = [
            draw_actions(rng, person=person, expression=str(e), intensity=rng.uniform(0.3, 0.7), facial_actions=names)
            for e in expressions
        ]
        return {name: max(actions.get(name, 0.0) for actions in each) for name in names}
    if scan.kind not in ACTION_CODES:
        expression = EXPRESSION_CODES.get(scan.code, NEUTRAL)
        intensity = float(rng.uniform(0.75, 1.0))
        return draw_actions(rng, person=person, expression=expression, intensity=intensity, facial_actions=names)
    out = by_side(rng, person, draw_idle(rng, 0.6), names)
    for unit, side, share in ACTION_CODES[scan.kind][scan.code]:
        effort = share * float(rng.uniform(0.7, 1.1))
        for action, full in ACTION_UNITS[unit].items():
            for name in sides(action, names, side):
                out[name] = float(np.clip(full * effort * rng.normal(1, 0.08), out.get(name, 0.0), 1.0))
    return out


def _draw_pose(rng: np.random.Generator, scan: PlannedScan, settings: RangeCameraSettings) -> Pose:
    yaw, pitch = POSE_CODES.get(scan.kind, {}).get(scan.code, (0.0, 0.0))
    off = np.clip(rng.normal(size=3), -2.5, 2.5) * settings.pose_deg * (1, 1, 0.5)
    rotation = rotation_from_angles(yaw + off[0], pitch + off[1], off[2])
    place = rng.normal(0, settings.offset_mm, 3)
    return Pose(rotation=rotation, offset_mm=place + _HEAD_CENTRE_MM - rotation @ _HEAD_CENTRE_MM)


def _scene(rng: np.random.Generator, subject: Subject, scan: PlannedScan, head: np.ndarray) -> ColoredMesh:
    """The head, without teeth and tongue where they stay in the dark, and what hides a part of it."""
    faces = head_faces(with_mouth=rng.uniform() >= 0.5)
    surface = ColoredMesh(vertices=head, faces=faces, colors=subject.colors)
    if scan.kind != "O":
        return surface
    return merge_meshes([surface, OCCLUSIONS[scan.code](rng, subject.person, surface_front(head))])


def _write_scan(
    rng: np.random.Generator,
    folder: Path,
    scan: PlannedScan,
    image: RangeImage,
    posed: np.ndarray,
    settings: BosphorusSettings,
) -> None:
    stem = folder / scan.name
    stem.with_suffix(".bnt").write_bytes(_bnt_bytes(rng, scan, image))
    Image.fromarray(image.picture).save(stem.with_suffix(".png"))
    found = _landmarks(rng, image, posed, settings.scanner.pitch_mm)
    height, width = image.picture.shape[:2]
    # Half of the files come from Windows.
    line_end = "\r\n" if rng.uniform() < 0.5 else "\n"
    remarks = ("synthetic face", "labelled by smilevlm") if rng.uniform() < 0.5 else ()
    with stem.with_suffix(".lm2").open("w", newline="") as file:
        pixels = {label: image.uv[place] * (width, height) for label, place in found.items()}
        write_lm2(file, pixels, line_end=line_end)
    with stem.with_suffix(".lm3").open("w", newline="") as file:
        write_lm3(file, {k: image.points[p] for k, p in found.items()}, remarks=remarks, line_end=line_end)
    if scan.without:
        stem.with_suffix(scan.without).unlink()


def _bnt_bytes(rng: np.random.Generator, scan: PlannedScan, image: RangeImage) -> bytes:
    """The file, with what is odd in some of the data set's own."""
    points, uv = image.points.copy(), image.uv.copy()
    # Some background points have the background's number in some of their columns only.
    rows, columns = np.nonzero(~image.valid)
    partial = rng.choice(len(rows), size=len(rows) // 200, replace=False)
    points[rows[partial], columns[partial]] = (0.0, 0.0, BNT_BACKGROUND)
    uv[rows[partial], columns[partial]] = 0.5
    name = f"{scan.name}.png"
    file = io.BytesIO()
    write_bnt(file, points=points, uv=uv, image_name=name.upper() if _is_odd(scan, "SADNESS") else name)
    data = bytearray(file.getvalue())
    if _is_odd(scan, "FEAR"):
        # The header announces another grid than follows.
        _ROWS_AND_COLUMNS.pack_into(data, 0, points.shape[0] + 1, points.shape[1])
    return bytes(data)


def _is_odd(scan: PlannedScan, code: str) -> bool:
    """The first person's scans show the data set's rare oddities."""
    return scan.subject == "bs000" and scan.code == code


def _landmarks(
    rng: np.random.Generator, image: RangeImage, posed: np.ndarray, pitch_mm: float
) -> dict[str, tuple[int, int]]:
    """Row and column of every landmark that the scanner saw, in the data set's order."""
    found: dict[str, tuple[int, int]] = {}
    for label in BOSPHORUS_LABELS:
        lost = label.startswith("Ear") and rng.uniform() < _LOST_EAR_SHARE
        place = image.nearest(posed[_landmark_vertices()[label]], within_mm=_VISIBLE_WITHIN_CELLS * pitch_mm)
        if place is not None and not lost:
            found[label] = place
    return found


@functools.cache
def _landmark_vertices() -> dict[str, int]:
    regions = anatomy()
    numbers = {label: int(regions.landmarks[row]) for label, row in _LANDMARK_VERTICES.items()}
    return {
        **numbers,
        "Nose tip": regions.nose_tip,
        "Ear lobe left": _ear_lobe(regions.position_mm, 1),
        "Ear lobe right": _ear_lobe(regions.position_mm, -1),
    }


def _ear_lobe(position_mm: np.ndarray, side: int) -> int:
    """The lowest point of what stands out from the side of the head."""
    outside = (side * position_mm[:, 0] > 77) & (position_mm[:, 1] > -30)
    return int(np.argmin(np.where(outside, position_mm[:, 1], np.inf)))


LAYOUT = Layout(name="bosphorus", plan=_plan, write=_write_subject, contents=_contents, judged=("AU23",))
synthesize_bosphorus = LAYOUT.synthesize
