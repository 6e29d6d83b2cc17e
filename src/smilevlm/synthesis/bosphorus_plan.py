"""Which scans a synthetic Bosphorus has of whom: types, codes, repeats, and what is missing on purpose."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smilevlm.labels import BASIC_EXPRESSIONS

EXPRESSION_CODES: Mapping[str, str] = {
    "ANGER": "angry", "DISGUST": "disgust", "FEAR": "fear", "HAPPY": "happy", "SADNESS": "sad", "SURPRISE": "surprise",
}  # fmt: skip
ACTION_CODES: Mapping[str, Mapping[str, tuple[tuple[int, str, float], ...]]] = {
    # Code: (action unit, side, strength) each. Only 9, 12LW and 14 are known for sure; LW is taken for a low intensity.
    "LFAU": {
        "9": ((9, "", 1.0),), "10": ((10, "", 1.0),), "12": ((12, "", 1.6),), "12L": ((12, "L", 1.6),),
        "12R": ((12, "R", 1.6),), "12LW": ((12, "", 0.6),), "14": ((14, "", 1.0),), "15": ((15, "", 1.0),),
        "16": ((16, "", 1.0),), "17": ((17, "", 1.0),), "18": ((18, "", 1.0),), "20": ((20, "", 1.0),),
        "22": ((22, "", 1.0),), "23": ((23, "", 1.0),), "24": ((24, "", 1.0),), "26": ((26, "", 1.2),),
        "28": ((28, "", 1.0),),
    },
    "UFAU": {
        "1": ((1, "", 1.0),), "2": ((2, "", 1.0),), "4": ((4, "", 1.0),), "7": ((7, "", 1.0),), "45": ((45, "", 1.8),),
    },
    "CAU": {
        "A12A15": ((12, "", 1.2), (15, "", 0.8)), "A22A25": ((22, "", 1.0), (25, "", 1.0)),
        "A26A12LW": ((26, "", 1.0), (12, "", 0.6)),
    },
}  # fmt: skip
POSE_CODES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    # Yaw and pitch in degrees, in the sense of `rotation_from_angles`: R is the person's right, the viewer's left.
    "YR": {
        "R10": (-10, 0), "R20": (-20, 0), "R30": (-30, 0), "R45": (-45, 0), "R90": (-90, 0), "L45": (45, 0),
        "L90": (90, 0),
    },
    "PR": {"D": (0, 30), "SD": (0, 15), "SU": (0, -15), "U": (0, -30)},
    "CR": {"RD": (-30, 25), "RU": (-30, -25)},
}  # fmt: skip
OCCLUSION_CODES = ("EYE", "MOUTH", "EYEGLASSES", "HAIR")
OTHER_CODE = "MIX"
_WITHOUT_ALL_SIX = 3
"""Every third person lacks one or two of the six; in the data set 40 of 105 do."""


@dataclass(frozen=True, kw_only=True)
class PlannedScan:
    """One scan of one person.

    Args:
        subject: `bs000`.
        kind: Type of scan, `E` or `YR`.
        code: What it shows, `HAPPY` or `R90`.
        repeat: Number of the attempt.
        without: Suffix of the file that is missing on purpose, or empty.
    """

    subject: str
    kind: str
    code: str
    repeat: int = 0
    without: str = ""

    @property
    def name(self) -> str:
        return f"{self.subject}_{self.kind}_{self.code}_{self.repeat}"

    @property
    def key(self) -> int:
        """For the scan's random numbers: they depend on what it shows, not on which others are written beside it."""
        return zlib.crc32(f"{self.kind}_{self.code}_{self.repeat}".encode())


def plan_subject(number: int, *, seed: int, complete: bool) -> tuple[PlannedScan, ...]:
    """The scans of one person.

    Args:
        number: Of the person, from 0.
        seed: Of the data set.
        complete: Also single actions, poses and occlusions; else neutral faces and expressions alone.
    """
    subject = f"bs{number:03d}"
    scans = [PlannedScan(subject=subject, kind="N", code="N", repeat=n) for n in range(1 + number % 2)]
    for code in _expressions_of(number, seed):
        # One person's first scan of a smile was no good; the second is all there is.
        repeat = 1 if (number, code) == (1, "HAPPY") else 0
        scans.append(PlannedScan(subject=subject, kind="E", code=code, repeat=repeat))
    if not complete:
        return tuple(scans)
    scans += [PlannedScan(subject=subject, kind=k, code=code) for k, codes in ACTION_CODES.items() for code in codes]
    for kind, codes in POSE_CODES.items():
        for code in codes:
            without = ".lm3" if (number, code) == (1, "L90") else ""
            scans.append(PlannedScan(subject=subject, kind=kind, code=code, without=without))
    scans += [PlannedScan(subject=subject, kind="O", code=code) for code in OCCLUSION_CODES]
    scans.append(PlannedScan(subject=subject, kind="IGN", code=OTHER_CODE))
    return tuple(scans)


def _expressions_of(number: int, seed: int) -> list[str]:
    codes = list(EXPRESSION_CODES)
    assert {EXPRESSION_CODES[code] for code in codes} == set(BASIC_EXPRESSIONS)
    if number % _WITHOUT_ALL_SIX == _WITHOUT_ALL_SIX - 1:
        rng = np.random.default_rng([seed, number, 2])
        for code in rng.choice(codes, size=int(rng.integers(1, 3)), replace=False):
            codes.remove(str(code))
    return codes
