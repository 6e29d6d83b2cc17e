"""Can the labels of synthetic faces be seen? A sheet of unlabelled faces for someone to name, and how often they agree.

.venv/bin/python tools/blind_naming.py draw OUT --rig anny --rig ict=FILE --seed 5     OUT/<rig>.png, OUT/answers.csv
.venv/bin/python tools/blind_naming.py score OUT NAMES.csv                             NAMES.csv: face,name

Half of a rig's faces show one of seven classes as the training sets draw it, half a single action. Every face has
number, front and half profile; the answer is the class or the FACS code. Chance is one in the number of choices. A
class taken for an action that it consists of, or the other way round, is counted as near.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rig_contact_sheet import draw_head

from smilevlm.labels import BASIC_EXPRESSIONS, FACIAL_ACTIONS, NEUTRAL, arkit_shapes
from smilevlm.synthesis.amplitudes import amplified, draw_amplitude
from smilevlm.synthesis.rigs import Rig, load_rigs
from smilevlm.synthesis.rigs.rig import shown_actions
from smilevlm.synthesis.varied import VariedSettings, draw_scan_actions, draw_varied_person

ACTIONS = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU9", "AU10", "AU12", "AU15", "AU16", "AU17", "AU18", "AU20", "AU22", "AU24",
    "AU26", "AU28", "AU43", "AD29", "AD30", "AD34",
)  # fmt: skip
PER_RIG, COLUMNS, ANGLES_DEG = 20, 5, (0.0, -40.0)
_PARTS = {
    "happy": ("AU6", "AU12"), "sad": ("AU1", "AU15", "AU17"), "surprise": ("AU1", "AU2", "AU5", "AU26"),
    "angry": ("AU4", "AU24"), "disgust": ("AU9", "AU10"), "fear": ("AU1", "AU5", "AU20"),
    "AU9": ("AU10",), "AU10": ("AU9",), "AU18": ("AU22",), "AU22": ("AU18",),
}  # fmt: skip
CLEAR = VariedSettings(wide_share=0, incidental_share=0)


def faces_of(rig: Rig, rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    """(kind, answer, head) of each face of a rig, in random order."""
    classes = (NEUTRAL, *BASIC_EXPRESSIONS)
    wanted = [("class", classes[number % len(classes)]) for number in range(PER_RIG // 2)]
    known = [code for code in ACTIONS if any(arkit_shapes(code, rig.facial_actions))]
    wanted += [("action", str(code)) for code in rng.choice(known, PER_RIG - len(wanted), replace=False)]
    for place in rng.permutation(len(wanted)):
        kind, answer = wanted[place]
        person = draw_varied_person(rng, sex="FM"[place % 2], rig=rig)
        factor = draw_amplitude(rng, rig).draw(rng)
        if kind == "class":
            weights = draw_scan_actions(rng, person, answer, CLEAR)
        else:
            left, right = arkit_shapes(answer, rig.facial_actions)
            weights = dict.fromkeys(left if FACIAL_ACTIONS[answer].toward else {*left, *right}, 1.0)
        actions = amplified(shown_actions(rig, weights), factor) | rig.draw_rest(rng)
        (head,) = person.heads([actions])
        yield kind, answer, head


def draw(out: Path, rigs: list[str], seed: int) -> None:
    """Write a sheet per rig and the answers."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    number = 0
    for place, rig in enumerate(load_rigs(rigs)):
        pictures = []
        for kind, answer, head in faces_of(rig, np.random.default_rng([seed, place])):
            number += 1
            rows.append((number, rig.name, kind, answer))
            picture = Image.fromarray(np.concatenate([draw_head(rig, head, angle) for angle in ANGLES_DEG], axis=1))
            ImageDraw.Draw(picture).text((3, 1), str(number), fill=0)
            pictures.append(picture)
        width, height = pictures[0].size
        sheet = Image.new("L", (COLUMNS * width, -(-len(pictures) // COLUMNS) * height), 255)
        for index, picture in enumerate(pictures):
            sheet.paste(picture, (index % COLUMNS * width, index // COLUMNS * height))
        sheet.resize((sheet.width * 3 // 2, sheet.height * 3 // 2)).save(out / f"{rig.name}.png")
    with (out / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("face", "rig", "kind", "answer"), *rows])


def score(out: Path, names: Path) -> None:
    """Print the agreement per rig and kind, and what was taken for what."""
    with names.open() as file:
        named = {int(row["face"]): row["name"].strip() for row in csv.DictReader(file)}
    hits: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    with (out / "answers.csv").open() as file:
        for row in csv.DictReader(file):
            said = named.get(int(row["face"]), "")
            answer = row["answer"]
            near = said == answer or said in _PARTS.get(answer, ()) or answer in _PARTS.get(said, ())
            hits[row["rig"], row["kind"]].append((said == answer, near))
            if said != answer:
                meaning = FACIAL_ACTIONS[answer].name if answer in FACIAL_ACTIONS else row["kind"]
                print(
                    f"face {row['face']} ({row['rig']}): {row['answer']} ({meaning}) was taken for {said or 'nothing'}"
                )
    for (rig, kind), right in hits.items():
        chance = 1 / (7 if kind == "class" else len(ACTIONS))
        exact, near = np.sum(right, axis=0)
        print(f"{rig}, {kind}: {exact} of {len(right)} (chance {chance:.0%}), {near} right or near")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("out", type=Path)
    drawing.add_argument("--rig", action="append", required=True)
    drawing.add_argument("--seed", type=int, default=5)
    scoring = commands.add_parser("score")
    scoring.add_argument("out", type=Path)
    scoring.add_argument("names", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "draw":
        draw(arguments.out, arguments.rig, arguments.seed)
    else:
        score(arguments.out, arguments.names)


if __name__ == "__main__":
    main()
