"""Draw what a rig's facial actions look like: each at its full shape on three people, one of them turned.

.venv/bin/python tools/rig_contact_sheet.py RIG OUT.png            RIG as in `smilevlm synthesize folder --rig RIG`
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from smilevlm.geometry import Mesh
from smilevlm.synthesis.people import action_stem
from smilevlm.synthesis.rigs import Rig, load_rig
from smilevlm.views import ViewSettings, render_normalised

SIZE_PX, LABEL_PX, SHEET_COLUMNS = 116, 14, 5
ANGLES_DEG = (0.0, 0.0, -35.0)
"""Per person."""
LIGHT = np.array([0.25, 0.55, 0.8]) / np.linalg.norm([0.25, 0.55, 0.8])
SEED = 7
GREYS = 40


def poses_of(rig: Rig) -> Iterator[tuple[str, Mapping[str, float]]]:
    """At rest, then each action; those with sides on both and on the left alone."""
    yield "at rest", {}
    for stem in dict.fromkeys(action_stem(name) for name in rig.facial_actions):
        if stem == "mouthClose":
            # The shape brings the lips of an open jaw together, and means nothing without it.
            yield "jawOpen + mouthClose", {"jawOpen": 0.6, stem: 0.6}
        elif stem in rig.facial_actions:
            yield stem, {stem: 1.0}
        elif stem in ("jaw", "mouth"):
            yield from ((f"{stem}{side}", {f"{stem}{side}": 1.0}) for side in ("Left", "Right"))
        else:
            names = [name for name in rig.facial_actions if action_stem(name) == stem]
            yield stem, dict.fromkeys(names, 1.0)
            if f"{stem}Left" in names and not stem.startswith("eyeLook"):
                yield f"{stem}Left", {f"{stem}Left": 1.0}


def draw_head(rig: Rig, head: np.ndarray, angle_deg: float) -> np.ndarray:
    """A grey picture of a head, lit from above."""
    settings = ViewSettings(angles_deg=(angle_deg,), size=SIZE_PX, kind="normals", window_mm=165, smooth_mm=0.6)
    normals = render_normalised(Mesh(vertices=head, faces=rig.surface.faces), settings)[0]
    light = np.clip((normals / 127.5 - 1) @ LIGHT, 0.05, 1)
    return np.where((normals > 0).any(axis=2), 30 + 225 * light, 255).astype(np.uint8)


def main(text: str, out: Path) -> None:
    """Draw and save."""
    rig = load_rig(text)
    labels, poses = zip(*poses_of(rig), strict=True)
    people = [rig.draw_person(np.random.default_rng([SEED, number]), sex="FMF"[number]) for number in range(3)]
    rows = -(-len(poses) // SHEET_COLUMNS)
    cell = (SIZE_PX * len(people) + 6, SIZE_PX + LABEL_PX)
    sheet = Image.new("L", (cell[0] * SHEET_COLUMNS, cell[1] * rows), 255)
    draw = ImageDraw.Draw(sheet)
    for column, (person, angle_deg) in enumerate(zip(people, ANGLES_DEG, strict=True)):
        for number, head in enumerate(rig.heads(person, poses)):
            row, place = divmod(number, SHEET_COLUMNS)
            picture = Image.fromarray(draw_head(rig, head, angle_deg))
            corner = (place * cell[0] + column * SIZE_PX, row * cell[1] + LABEL_PX)
            sheet.paste(picture, corner)
            if column == 0:
                draw.text((corner[0] + 4, row * cell[1]), labels[number], fill=0)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(GREYS).save(out, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
