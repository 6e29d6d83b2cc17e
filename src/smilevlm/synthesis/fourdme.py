"""Synthetic micro-expressions in the layout of 4DME: clips of meshes and the labelling workbooks.

No public reader shows how the 4D part of 4DME is stored. Assumption: as its image parts, with a folder per clip,
`4D_micro/<sub_ID>/<fold_name>/`, and in it one `NNN.obj` with `.mtl` and `.jpg` per frame, numbered as the workbook
counts onset, apex and offset.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import LayoutError, SettingsError
from smilevlm.labels import LEAST_INTENSITY, ActionIntensities, Side, action_intensities, facs_code, side_of_letter
from smilevlm.readers import FOURDME_COLUMNS, ActionUnit, CellValue, write_workbook
from smilevlm.synthesis.action_units import ACTION_UNITS
from smilevlm.synthesis.data_set import Layout, check_range, settings_record
from smilevlm.synthesis.marker import MARKER_NAME
from smilevlm.synthesis.micro import (
    MAX_AMPLITUDE,
    MicroExpression,
    draw_micro_expression,
    micro_motion,
)
from smilevlm.synthesis.scan_setup import ScannerSettings
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.sequences import SequenceCapture, SequenceSettings, prepare_capture, write_textured_obj

FRAMES_PER_SECOND = 60.0
CLIP_FOLDER = "4D_micro"
LABELS = "4DME_Labelling_Micro_release v1.xlsx"
EXTRA_LABELS = "4DME_Labelling_Micro_extras_release v1.xlsx"
_HEIGHT_PER_WIDTH = 1600 / 1200
_FIRST_FRAME = 1
ClassShares = Literal["balanced", "as_4dme"]
_SHARES = (
    (("negative",), 127), (("positive",), 34), (("others",), 31), (("surprise",), 30), (("surprise", "positive"), 13),
    (("negative", "surprise"), 8), (("positive", "repression"), 8), (("negative", "repression"), 7),
    (("repression",), 6), (("repression", "surprise"), 3),
)  # fmt: skip
"""Clips per combination of classes among the 267 of 4DME."""
_COMBINED_SHARE = 0.15
"""Of clips with two classes, as in 4DME: 39 of 267."""
_COLUMN_CLASSES = ("positive", "negative", "surprise", "repression", "others")
_REPORTED_EMOTIONS = {
    "positive": ("happiness",), "negative": ("disgust", "fear", "sadness", "anger"), "surprise": ("surprise",),
    "repression": ("happiness", "disgust", "anger"), "others": ("neutral", "tense"),
}  # fmt: skip
"""What people said they had felt, and what the video was to call forth."""


@dataclass(frozen=True, kw_only=True)
class FourdmeSettings(SequenceSettings):
    """What to write; 4DME has 41 people and pictures of 1200 x 1600 pixels.

    Args:
        clips_per_subject: Micro-expressions of each; 4DME has 267 in all.
        classes: `balanced`: as many clips of each class among those of one class, and as many of each of 4DME's
            combinations; `as_4dme`: the data set's own shares, half of them negative and two in a hundred repression.
        amplitude: Factor on the movements, above 0 to 4. With 1 the skin moves by about 1 mm where it moves most
            (median over clips), with 4 up to as much as by full action units. It has to stand out from
            `scanner.noise_mm`.
    """

    clips_per_subject: int = 4
    classes: ClassShares = "balanced"
    amplitude: float = 1.0
    texture_width: int = 240
    scanner: ScannerSettings = field(default_factory=lambda: ScannerSettings(pose_deg=2.0, offset_mm=10.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("clips_per_subject", self.clips_per_subject, 1, 99)
        if self.classes not in get_args(ClassShares):
            known = ", ".join(get_args(ClassShares))
            raise SettingsError(f"classes is {self.classes!r}; expected one of {known}")
        if not 0 < self.amplitude <= MAX_AMPLITUDE:
            raise SettingsError(f"amplitude is {self.amplitude}; expected above 0 to {MAX_AMPLITUDE:g}")


@dataclass(frozen=True, kw_only=True)
class FourdmeClip:
    """One clip to write.

    Args:
        subject: `sub_ID`.
        number: Of the person, from 0.
        index: Of the clip among the person's, from 0.
        micro: What it shows.
    """

    subject: str
    number: int
    index: int
    micro: MicroExpression

    @property
    def session(self) -> str:
        """Each person came twice."""
        return "1st" if self.index % 2 == 0 else "2nd"

    @property
    def name(self) -> str:
        return f"{self.subject}_{self.session}_{self.index // 2 + 1:03d}_01_{self.index + 1}"

    @property
    def path(self) -> str:
        return f"{CLIP_FOLDER}/{self.subject}/{self.name}"


def plan_4dme(settings: FourdmeSettings) -> list[FourdmeClip]:
    """The clips to write."""
    total = settings.num_subjects * settings.clips_per_subject
    labels = _draw_labels(settings, total)
    clips = []
    for place in range(total):
        number, index = divmod(place, settings.clips_per_subject)
        key = SeedKey(layout=LAYOUT.name, seed=settings.seed, person=number, sequence=index)
        micro = draw_micro_expression(key.generator("plan"), labels[place], settings.amplitude)
        clips.append(FourdmeClip(subject=f"S{number + 1:02d}", number=number, index=index, micro=micro))
    return clips


def _label_shares(classes: ClassShares) -> list[tuple[tuple[str, ...], float]]:
    """Label combinations with their weights."""
    if classes == "as_4dme":
        return [(labels, float(count)) for labels, count in _SHARES]
    combined = [labels for labels, _ in _SHARES if len(labels) > 1]
    single = [(name,) for name in _COLUMN_CLASSES]
    return [(labels, (1 - _COMBINED_SHARE) / len(single)) for labels in single] + [
        (labels, _COMBINED_SHARE / len(combined)) for labels in combined
    ]


def _draw_labels(settings: FourdmeSettings, total: int) -> list[tuple[str, ...]]:
    """Label combinations for so many clips by largest remainders, in random order."""
    shares = _label_shares(settings.classes)
    weights = np.array([weight for _, weight in shares], np.float64)
    exact = total * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    rest = np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]
    counts[rest] += 1
    given = [labels for (labels, _), count in zip(shares, counts.tolist(), strict=True) for _ in range(count)]
    order = SeedKey(layout=LAYOUT.name, seed=settings.seed).generator("classes").permutation(total)
    return [given[place] for place in order]


def _write_clip(
    _root: Path, folder: Path, clip: FourdmeClip, settings: FourdmeSettings
) -> dict[str, ActionIntensities]:
    capture = _capture(clip, settings)
    camera = capture.portrait_camera(
        width_px=settings.texture_width, height_per_width=_HEIGHT_PER_WIDTH, width_mm=230.0
    )
    for number, scan in enumerate(capture.scans(), _FIRST_FRAME):
        write_textured_obj(folder / f"{number:03d}.obj", scan, camera, material_library=f"{number:03d}.mtl")
    return {clip.name: _actions(capture, clip.micro)}


def _actions(capture: SequenceCapture, micro: MicroExpression) -> ActionIntensities:
    """At the apex; the units that make the clip what it is are recorded however weak they are."""
    entries: list[tuple[str, Side, float]] = []
    for unit in micro.units:
        code = facs_code(unit.number)
        assert code is not None, unit
        entries.append((code, side_of_letter(unit.side), LEAST_INTENSITY))
    for code, (left, right) in capture.actions_at_apex().items():
        entries.append((code, "left", left))
        entries.append((code, "right", right))
    return action_intensities(entries)


def _capture(clip: FourdmeClip, settings: FourdmeSettings) -> SequenceCapture:
    return prepare_capture(
        SeedKey(layout=LAYOUT.name, seed=settings.seed, person=clip.number, sequence=clip.index),
        lambda rng, context: micro_motion(rng, context, clip.micro),
        sex="FM"[clip.number % 2],
        num_frames=clip.micro.num_frames,
        frames_per_second=FRAMES_PER_SECOND,
        scanner=settings.scanner,
        population=settings.population,
    )


def true_displacement_mm(clip: FourdmeClip, settings: FourdmeSettings) -> Float32[np.ndarray, "vert 3"]:
    """What the face does in a clip as no scanner sees it, see `SequenceCapture.true_displacement_mm`."""
    return _capture(clip, settings).true_displacement_mm()


def true_displacements_mm(root: Path, clips: Collection[str]) -> dict[str, Float32[np.ndarray, "vert 3"]]:
    """Clip to its true displacement, of those clips of a written data set that are asked for.

    Args:
        root: The data set's folder, whose marker says how it was made.
        clips: Names of clips; unknown ones are left out.

    Raises:
        LayoutError: The folder has no marker of synthetic faces in this layout, or one of another version.
    """
    settings = _settings_of(root)
    planned = [clip for clip in plan_4dme(settings) if clip.name in clips]
    return {clip.name: true_displacement_mm(clip, settings) for clip in planned}


def _settings_of(root: Path) -> FourdmeSettings:
    from pydantic import TypeAdapter, ValidationError

    path = root / MARKER_NAME
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or found.get("layout") != LAYOUT.name:
            raise LayoutError(f"{path} is not of synthetic faces in the layout {LAYOUT.name}")
        names = {each.name for each in fields(FourdmeSettings)}
        recorded = {name: value for name, value in found.items() if name in names}
        settings = TypeAdapter(FourdmeSettings).validate_json(json.dumps(recorded))
    except (OSError, ValueError, ValidationError) as error:
        raise LayoutError(f"{path} cannot be read: {error}") from None
    if json.loads(json.dumps(settings_record(settings))) != recorded:
        raise LayoutError(f"{path} was written by another version of smilevlm, which made other movements")
    return settings


def _write_workbooks(root: Path, settings: FourdmeSettings, clips: Sequence[FourdmeClip]) -> None:
    headers = [*FOURDME_COLUMNS, *(f"AU{unit}" for unit in ACTION_UNITS)]
    write_workbook(root / LABELS, headers, [_row(clip) for clip in clips])
    extra = ["fold", "sub_ID", "fold_name", "self-report emo'", "video emo'"]
    write_workbook(root / EXTRA_LABELS, extra, [_extra_row(clip, settings.seed) for clip in clips])


def _row(clip: FourdmeClip) -> list[CellValue]:
    micro = clip.micro
    shown = {unit.number for unit in micro.units} | ({45} if micro.blinks else set())
    return [
        clip.session,
        clip.subject,
        clip.name,
        "+".join(label.capitalize() for label in micro.labels),
        micro.onset + _FIRST_FRAME,
        micro.apex + _FIRST_FRAME,
        micro.offset + _FIRST_FRAME,
        micro.offset - micro.onset + 1,
        _unit_text(micro),
        int(micro.blinks),
        *(int(label in micro.labels) for label in _COLUMN_CLASSES),
        *(int(unit in shown) for unit in ACTION_UNITS),
    ]


def _unit_text(micro: MicroExpression) -> str:
    """As 4DME writes them: `AU4(k)+L7`, with 45 at the end for a blink."""
    blink = [ActionUnit(number=45)] if micro.blinks else []
    pieces = [f"{unit.side}{unit.number}{'(k)' if unit.static else ''}" for unit in (*micro.units, *blink)]
    return "AU" + "+".join(pieces)


def _extra_row(clip: FourdmeClip, seed: int) -> list[CellValue]:
    rng = SeedKey(layout=LAYOUT.name, seed=seed, person=clip.number, sequence=clip.index).generator("extras")
    reported, shown = (str(rng.choice(_REPORTED_EMOTIONS[clip.micro.labels[0]])) for _ in range(2))
    return [clip.session, clip.subject, clip.name, reported, shown]


LAYOUT = Layout(
    name="4dme",
    plan=plan_4dme,
    write=_write_clip,
    contents=lambda _settings, _clips: {},
    write_shared=_write_workbooks,
    judged=("AU23",),
)
synthesize_4dme = LAYOUT.synthesize
