"""Facial actions: FACS action units and descriptors with side and intensity, and their names elsewhere.

One table serves every room: synthesis records actions from ARKit blend shape weights, data set indexes read FACS codes
of BP4D, Bosphorus and 4DME, captions say them in words.

Source: Ekman, Friesen and Hager, Facial Action Coding System, 2002; Apple, ARFaceAnchor.BlendShapeLocation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from smilevlm.errors import LayoutError

Side = Literal["both", "left", "right"]
"""Of the person; the viewer's right is the person's left."""


@dataclass(frozen=True, kw_only=True)
class FacialAction:
    """One row of the table.

    Args:
        code: FACS code such as `AU12` or `AD34`; a name where FACS has none.
        name: FACS name.
        arkit: ARKit blend shapes that move it, without `Left` and `Right`.
        toward: A movement to one side: its side is where it goes; both sides mean that the side was not coded.
    """

    code: str
    name: str
    arkit: tuple[str, ...] = ()
    toward: bool = False


_TABLE = (
    FacialAction(code="AU1", name="inner brow raiser", arkit=("browInnerUp",)),
    FacialAction(code="AU2", name="outer brow raiser", arkit=("browOuterUp",)),
    FacialAction(code="AU4", name="brow lowerer", arkit=("browDown",)),
    FacialAction(code="AU5", name="upper lid raiser", arkit=("eyeWide",)),
    FacialAction(code="AU6", name="cheek raiser", arkit=("cheekSquint",)),
    FacialAction(code="AU7", name="lid tightener", arkit=("eyeSquint",)),
    FacialAction(code="AU9", name="nose wrinkler", arkit=("noseSneer",)),
    FacialAction(code="AU10", name="upper lip raiser", arkit=("mouthUpperUp",)),
    FacialAction(code="AU11", name="nasolabial deepener"),
    FacialAction(code="AU12", name="lip corner puller", arkit=("mouthSmile",)),
    FacialAction(code="AU13", name="sharp lip puller"),
    FacialAction(code="AU14", name="dimpler", arkit=("mouthDimple",)),
    FacialAction(code="AU15", name="lip corner depressor", arkit=("mouthFrown",)),
    FacialAction(code="AU16", name="lower lip depressor", arkit=("mouthLowerDown",)),
    FacialAction(code="AU17", name="chin raiser", arkit=("mouthShrugLower", "mouthShrugUpper")),
    FacialAction(code="AU18", name="lip pucker", arkit=("mouthPucker",)),
    FacialAction(code="AU20", name="lip stretcher", arkit=("mouthStretch",)),
    FacialAction(code="AU22", name="lip funneler", arkit=("mouthFunnel",)),
    FacialAction(code="AU23", name="lip tightener"),
    FacialAction(code="AU24", name="lip pressor", arkit=("mouthPress",)),
    FacialAction(code="AU25", name="lips part"),
    FacialAction(code="AU26", name="jaw drop", arkit=("jawOpen",)),
    FacialAction(code="AU27", name="mouth stretch"),
    FacialAction(code="AU28", name="lip suck", arkit=("mouthRollUpper", "mouthRollLower")),
    FacialAction(code="AU43", name="eye closure", arkit=("eyeBlink",)),
    FacialAction(code="AU61", name="eyes turn left"),
    FacialAction(code="AU62", name="eyes turn right"),
    FacialAction(code="AU63", name="eyes up", arkit=("eyeLookUp",)),
    FacialAction(code="AU64", name="eyes down", arkit=("eyeLookDown",)),
    FacialAction(code="AD19", name="tongue show", arkit=("tongueOut",)),
    FacialAction(code="AD29", name="jaw thrust", arkit=("jawForward",)),
    FacialAction(code="AD30", name="jaw sideways", toward=True),
    FacialAction(code="AD34", name="puff", arkit=("cheekPuff",)),
    FacialAction(code="mouth_sideways", name="mouth sideways", toward=True),
)
FACIAL_ACTIONS: Mapping[str, FacialAction] = {action.code: action for action in _TABLE}
"""Every action that the program knows, by code, in the order of FACS."""

ActionIntensities: TypeAlias = Mapping[str, tuple[float, float]]
"""What one face does: code -> intensity of the person's (left, right) side in [0, 1]; actions that are absent are not
listed. An action that moves to one side (`toward`) has its intensity at that side and 0 at the other, or the same at
both where coders did not say to which."""
GAZE = ("AU61", "AU62", "AU63", "AU64")
"""Turned eyeballs: an iris shows them, the shape of the face does not."""
NOT_IN_ARKIT = ("AU11", "AU13", "AU23")
"""Actions that no ARKit blend shape shows: their absence cannot be told from weights."""

FACS_INTENSITY: Mapping[str, float] = {"A": 0.1, "B": 0.3, "C": 0.5, "D": 0.75, "E": 1.0}
"""FACS letters (trace, slight, marked, severe, maximum) and the digits 1 to 5 of BP4D's intensity tables."""
PRESENT_INTENSITY = 0.5
"""Given to an action whose coders say only that it is there (BP4D's occurrence tables, 4DME)."""
LEAST_INTENSITY = 0.05
"""What is weaker is not recorded."""

ActionSource = Literal["by construction", "coded by people"]
"""Where the actions of a data set come from: synthetic faces were made to do them, real ones were coded."""

_ALIASES = {"AU45": "AU43", "AU46": "AU43", "AU19": "AD19", "AU29": "AD29", "AU30": "AD30", "AU34": "AD34",
            "AD33": "AD34", "AU33": "AD34"}  # fmt: skip
_CODE = re.compile(r"(AU|AD|M)?0*(\d{1,2})", re.IGNORECASE)
_WIDE_OPEN = 0.6
"""Jaw opening from which FACS speaks of AU27 rather than AU26."""


def facs_code(text: str | int) -> str | None:
    """The table's code of a FACS number or code: 12, `AU12`, `au06`, `45` (blink: AU43); None if it is not known."""
    match = _CODE.fullmatch(str(text).strip())
    if match is None:
        return None
    number = int(match[2])
    for code in (f"AU{number}", f"AD{number}"):
        code = _ALIASES.get(code, code)
        if code in FACIAL_ACTIONS:
            return code
    return None


def action_intensities(entries: Iterable[tuple[str, Side, float]]) -> dict[str, tuple[float, float]]:
    """Collect (code, side, intensity) entries; the stronger of two of the same action and side counts.

    Raises:
        LayoutError: The code is unknown or the intensity outside [0, 1].
    """
    found: dict[str, tuple[float, float]] = {}
    for code, side, intensity in entries:
        if code not in FACIAL_ACTIONS:
            raise LayoutError(f"{code!r} is no facial action; known are {', '.join(FACIAL_ACTIONS)}")
        if not (math.isfinite(intensity) and 0 <= intensity <= 1):
            raise LayoutError(f"intensity of {code} is {intensity}; expected 0 to 1")
        left, right = found.get(code, (0.0, 0.0))
        found[code] = (
            max(left, intensity if side != "right" else 0.0),
            max(right, intensity if side != "left" else 0.0),
        )
    return {code: found[code] for code in FACIAL_ACTIONS if max(found.get(code, (0.0, 0.0))) >= LEAST_INTENSITY}


def action_source(*, synthetic: bool) -> ActionSource:
    """Where the recorded actions of a data set come from."""
    return "by construction" if synthetic else "coded by people"


def actions_from_arkit(weights: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Actions of ARKit blend shape weights, whose sides may be written `Left`/`Right` or `_L`/`_R`.

    A weight is taken for the intensity and clipped to [0, 1]. `jawOpen` above 0.6 counts as AU27, too; lips that the
    jaw, AU10 or AU16 draw apart count as AU25.
    """
    found: dict[str, tuple[float, float]] = {}
    for action in FACIAL_ACTIONS.values():
        sides = [max((arkit_weight(weights, stem, side) for stem in action.arkit), default=0.0) for side in (0, 1)]
        found[action.code] = (sides[0], sides[1])
    for code, stem in (("AD30", "jaw"), ("mouth_sideways", "mouth")):
        found[code] = (arkit_weight(weights, stem, 0), arkit_weight(weights, stem, 1))
    # The left eye looks out and the right eye in when both turn to the person's left.
    look = {(word, side): arkit_weight(weights, f"eyeLook{word}", side) for word in ("In", "Out") for side in (0, 1)}
    found["AU61"] = (look["Out", 0], look["In", 1])
    found["AU62"] = (look["In", 0], look["Out", 1])
    jaw, closed = found["AU26"][0], arkit_weight(weights, "mouthClose", 0)
    apart = 1.5 * max(jaw - closed, 0.0)
    upper, lower = found["AU10"], found["AU16"]
    found["AU25"] = (apart + (upper[0] + lower[0]) / 2, apart + (upper[1] + lower[1]) / 2)
    if jaw - closed > _WIDE_OPEN:
        found["AU27"] = (jaw, jaw)
    clipped = {code: (min(left, 1.0), min(right, 1.0)) for code, (left, right) in found.items()}
    return {code: sides for code, sides in clipped.items() if max(sides) >= LEAST_INTENSITY}


def arkit_shapes(code: str, known: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the ARKit blend shapes that move an action on the person's left, and on the right.

    Args:
        code: Of `FACIAL_ACTIONS`. Both eyes turn at AU61 and AU62; an action without a shape of its own has no names.
        known: The head model's blend shapes; what it lacks is left out.
    """
    if code in ("AU61", "AU62"):
        both = ("eyeLookOutLeft", "eyeLookInRight") if code == "AU61" else ("eyeLookInLeft", "eyeLookOutRight")
        sides = (both, both)
    elif FACIAL_ACTIONS[code].toward:
        stem = "jaw" if code == "AD30" else "mouth"
        sides = ((f"{stem}Left",), (f"{stem}Right",))
    else:
        stems = FACIAL_ACTIONS[code].arkit
        sides = tuple(tuple(s if s in known else f"{s}{word}" for s in stems) for word in ("Left", "Right"))
    left, right = (tuple(name for name in names if name in known) for names in sides)
    return left, right


def arkit_weight(weights: Mapping[str, float], stem: str, side: int) -> float:
    """Weight of an ARKit shape on the person's left (0) or right (1), whether stored for each side or for both."""
    word, letter = (("Left", "_L"), ("Right", "_R"))[side]
    for name in (f"{stem}{word}", f"{stem}{letter}", stem):
        if name in weights:
            return max(float(weights[name]), 0.0)
    return 0.0


def side_of_letter(letter: str) -> Side:
    """`L` and `R` of FACS codes, which are the person's own; both where there is none."""
    sides: Mapping[str, Side] = {"": "both", "L": "left", "R": "right"}
    return sides[letter.upper()]


def side_of(left: float, right: float, *, ratio: float = 2.5) -> Side:
    """Where an action is: on one side if it is `ratio` times as strong there, else on both."""
    if left > ratio * right:
        return "left"
    return "right" if right > ratio * left else "both"
