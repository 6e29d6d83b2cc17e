"""`smilevlm prompts captions`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smilevlm.labels import ActionIntensities

HELP = "show captions of what a face does"
DESCRIPTION = (
    "Draw captions from the phrase bank, as training with pairing `actions` or `mixed` does. Without --actions: for a "
    "few faces that come with the command. Left and right are the person's own."
)
EXAMPLE = 'smilevlm prompts captions --actions "AU12:0.8,AU6" --seed 1'
_EXAMPLES: tuple[str, ...] = (
    "AU6:0.5,AU12:0.8,AU25:0.4",
    "AU1:0.6,AU2:0.6,AU5:0.4,AU26:0.5",
    "AU4:0.9,AU7:0.5,AU24:0.6",
    "AU43:0.9/0",
    "AD30:0/0.5",
    "AU1:0.2,AU15:0.2",
    "",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--actions",
        metavar="CODE[:INTENSITY],...",
        help="what the face does: FACS codes with an intensity in [0, 1], 0.5 by default; LEFT/RIGHT where the sides "
        "differ, such as AU43:0.9/0; empty for a face at rest",
    )
    parser.add_argument("--number", type=int, default=5, metavar="N", help="captions per face, 5 by default")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn, 0 by default")
    parser.add_argument("--json", action="store_true", help="JSON for programs")


def run(arguments: argparse.Namespace) -> None:
    import numpy as np

    from smilevlm.cli.tables import print_table
    from smilevlm.errors import SettingsError
    from smilevlm.prompts import make_caption

    if arguments.number < 1 or arguments.seed < 0:
        raise SettingsError("--number must be 1 or more, --seed 0 or more")
    given = _EXAMPLES if arguments.actions is None else (arguments.actions,)
    faces = [parse_actions(text) for text in given]
    generator = np.random.default_rng(arguments.seed)
    captions = [[make_caption(face, generator) for _ in range(arguments.number)] for face in faces]
    if arguments.json:
        content = [
            {"actions": {code: list(sides) for code, sides in face.items()},
             "captions": [{"text": each.text, "mentions": list(each.actions)} for each in drawn]}
            for face, drawn in zip(faces, captions, strict=True)
        ]  # fmt: skip
        print(json.dumps(content, indent=1))
        return
    rows: list[tuple[str, ...] | None] = []
    for face, drawn in zip(faces, captions, strict=True):
        rows += [(_described(face) if place == 0 else "", each.text, " ".join(each.actions))
                 for place, each in enumerate(drawn)]  # fmt: skip
        rows.append(None)
    print_table(["actions", "caption", "mentions"], rows=rows)


def parse_actions(text: str) -> ActionIntensities:
    """What `--actions` says.

    Raises:
        SettingsError: An entry is no action with an intensity.
    """
    from smilevlm.errors import LayoutError, SettingsError
    from smilevlm.labels import FACIAL_ACTIONS, PRESENT_INTENSITY, Side, action_intensities, facs_code

    entries: list[tuple[str, Side, float]] = []
    for entry in (each.strip() for each in text.split(",") if each.strip()):
        name, _, value = entry.partition(":")
        code = name if name in FACIAL_ACTIONS else facs_code(name)
        if code is None:
            raise SettingsError(f"--actions: {name!r} is no facial action; known are {', '.join(FACIAL_ACTIONS)}")
        left, slash, right = value.partition("/")
        try:
            sides = (float(left or PRESENT_INTENSITY), float(right if slash else left or PRESENT_INTENSITY))
            entries.extend(((code, "left", sides[0]), (code, "right", sides[1])))
            action_intensities(entries)
        except (ValueError, LayoutError):
            raise SettingsError(
                f"--actions: {entry!r}; expected CODE, CODE:INTENSITY or CODE:LEFT/RIGHT with numbers from 0 to 1"
            ) from None
    return action_intensities(entries)


def _described(face: Mapping[str, tuple[float, float]]) -> str:
    def shown(left: float, right: float) -> str:
        return f"{left:g}" if left == right else f"{left:g}/{right:g}"

    return ", ".join(f"{code} {shown(*sides)}" for code, sides in face.items()) or "none"
