"""How long each surface form takes from the head to its views, against the form `scan`; whether its face is found.

Command: OMP_NUM_THREADS=1 python benchmarks/appearance.py [--people 12] [--parts]

Stages: the head (family and hair included), the appearance, writing the file, reading it, finding the face, rendering
its views. Seconds are of the processor, so other work on the machine changes them little. The last line weighs the
forms by their shares in the varied set, against the shares before there were depth sensors. All faces are synthetic.
`--parts` shows partial faces instead, by part.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np

from smilevlm import read_mesh
from smilevlm.errors import MeshError
from smilevlm.geometry import NormalisedFace, NormaliseSettings, normalise
from smilevlm.readers import write_mesh
from smilevlm.synthesis.partial_faces import FacePart, draw_part
from smilevlm.synthesis.rigs import ARKIT_ACTIONS
from smilevlm.synthesis.scan_appearance import (
    FORM_SHARES,
    ScanAppearance,
    SurfaceForm,
    apply_appearance,
    draw_appearance,
    draw_pose,
    place_mesh,
)
from smilevlm.synthesis.variants import draw_variant, draw_varied_actions
from smilevlm.synthesis.varied import VariedPerson, draw_varied_person
from smilevlm.views import ViewSettings, render_normalised

EXPRESSIONS = ("neutral", "happy", "surprise", "angry")
STAGES = ("head", "appearance", "write", "read", "find", "render")
BEFORE: dict[SurfaceForm, float] = {"scan": 0.5, "mesh": 0.2, "coarse": 0.1, "clustered": 0.14, "points": 0.06}
"""Shares of the forms before there were depth sensors, and simplified and divided meshes."""
LARGEST_POSE_ERROR_DEG = 20.0
SEED = 11


@dataclass(kw_only=True)
class Measured:
    """Of one form or part.

    Args:
        seconds: Per stage and scan.
        vertices: Per scan.
        outcomes: `found`, `barely` (see `is_barely_found`), `wrong` (turned by 20 degrees or more) or `refused`.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    vertices: list[int] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.seconds[name].append(time.process_time() - begun)

    @property
    def total_s(self) -> float:
        return sum(statistics.mean(self.seconds[stage]) for stage in STAGES if self.seconds[stage])


def heads(rng: np.random.Generator, person: VariedPerson, measured: Measured) -> list[np.ndarray]:
    actions = [
        draw_varied_actions(
            rng, person=person.person, recipe=draw_variant(rng, expression), intensity=1.1,
            facial_actions=ARKIT_ACTIONS, idle=0.5,
        )
        for expression in EXPRESSIONS
    ]  # fmt: skip
    begun = time.process_time()
    made = list(person.heads(actions))
    measured.seconds["head"] += [(time.process_time() - begun) / len(made)] * len(made)
    return made


def show(
    rng: np.random.Generator, appearance: ScanAppearance, head: np.ndarray, folder: Path, measured: Measured
) -> None:
    """One scan through all stages."""
    with measured.stage("appearance"):
        mesh = apply_appearance(rng, appearance, head)
    pose = draw_pose(rng)
    path = folder / "scan.ply"
    with measured.stage("write"):
        write_mesh(place_mesh(mesh, pose, appearance.mm_per_unit), path)
    with measured.stage("read"):
        scan = read_mesh(path)
    measured.vertices.append(mesh.num_vertices)
    try:
        with measured.stage("find"):
            face = normalise(scan, NormaliseSettings())
    except MeshError:
        measured.outcomes.append("refused")
        return
    with measured.stage("render"):
        render_normalised(face.mesh, ViewSettings())
    measured.outcomes.append(outcome(face, pose.rotation))


def outcome(face: NormalisedFace, rotation: np.ndarray) -> str:
    turn = np.clip((np.trace(face.rotation @ rotation) - 1) / 2, -1, 1)
    if np.rad2deg(np.arccos(turn)) > LARGEST_POSE_ERROR_DEG:
        return "wrong"
    return "barely" if face.is_barely_found else "found"


def table(measured: dict[str, Measured], reference: str | None) -> str:
    lines = [
        "| | vertices, median (range) | " + " | ".join(f"{stage}, ms" for stage in STAGES)
        + " | all, ms | ratio | found | barely | wrong pose | refused |",
        "|---|---|" + "---:|" * (len(STAGES) + 6),
    ]  # fmt: skip
    for name, each in measured.items():
        stages = [f"{1000 * statistics.mean(each.seconds[stage]):.0f}" for stage in STAGES]
        ratio = f"{each.total_s / measured[reference].total_s:.2f}" if reference else ""
        counts = [str(each.outcomes.count(kind)) for kind in ("found", "barely", "wrong", "refused")]
        size = f"{int(statistics.median(each.vertices)):,} ({min(each.vertices):,} to {max(each.vertices):,})"
        lines.append(
            f"| {name} | {size} | " + " | ".join([*stages, f"{1000 * each.total_s:.0f}", ratio, *counts]) + " |"
        )
    return "\n".join(lines)


def weighed(measured: dict[str, Measured], shares: dict[SurfaceForm, float]) -> float:
    return sum(share * measured[form].total_s for form, share in shares.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--parts", action="store_true", help="partial faces, by part")
    arguments = parser.parse_args()
    rng = np.random.default_rng(SEED)
    names = get_args(FacePart) if arguments.parts else tuple(FORM_SHARES)
    measured = {name: Measured() for name in ("warm", *names)}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-1, arguments.people):
            person = draw_varied_person(rng, sex="FM"[number % 2])
            for name in names:
                # The first person compiles and fills caches.
                into = measured["warm" if number < 0 else name]
                for head in heads(rng, person, into):
                    forms = tuple(FORM_SHARES) if arguments.parts else (name,)
                    appearance = draw_appearance(rng, person.rig.surface, person.hair, forms=forms)
                    part = draw_part(rng, name) if arguments.parts else None
                    if part is not None:
                        reach, depth = min(appearance.reach_mm, 130.0), min(appearance.depth_mm, 120.0)
                        appearance = replace(appearance, reach_mm=reach, depth_mm=depth)
                    show(rng, replace(appearance, partial=part), head, Path(folder), into)
    del measured["warm"]
    print(table(measured, None if arguments.parts else "scan"))
    if not arguments.parts:
        now, before = weighed(measured, FORM_SHARES), weighed(measured, BEFORE)
        print(
            f"\nmean of the varied set: {1000 * now:.0f} ms a scan, {now / before:.2f} of {1000 * before:.0f} ms before"
        )


if __name__ == "__main__":
    main()
