"""Whether face confidence and coverage tell answers that should not be sure: synthetic faces, whole and spoilt.

Command: smilevlm synthesize folder faces --subjects 24 --seed 977 --filmed 0
         python benchmarks/face_confidence.py faces [--scans N]

Every scan is recognised by the bundled model as it is, and again incomplete (halves, without chin, with holes),
stretched, and behind masks. For each set: how many are refused, the confidence at 10, 50 and 90 %, the share of sure
answers, how many of them are right; and the same below and above the floors.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import smilevlm
from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh, keep_points
from smilevlm.predict import find_scans

Change = Callable[[Mesh, np.random.Generator], Mesh]


def part(keep: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Only the vertices that a condition on x y z (millimetres, nose tip at the origin) keeps."""
    return lambda mesh, _: keep_points(mesh, keep(mesh.vertices))


def stretched(*factors: float) -> Change:
    return lambda mesh, _: Mesh(vertices=mesh.vertices * np.array(factors, np.float32), faces=mesh.faces)


def with_holes(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    keep = np.ones(mesh.num_vertices, bool)
    for _ in range(6):
        centre = mesh.vertices[rng.integers(mesh.num_vertices)]
        keep &= np.linalg.norm(mesh.vertices - centre, axis=1) > 22
    return keep_points(mesh, keep)


def in_surgical_mask(mesh: Mesh, _: np.random.Generator) -> Mesh:
    """A smooth shell in front of everything below the nose tip."""
    vertices = mesh.vertices.copy()
    low = vertices[:, 1] < 2
    x, y = vertices[low, 0], vertices[low, 1]
    vertices[low, 2] = np.maximum(8 - 34 * (x / 62) ** 2 - 24 * ((y + 28) / 58) ** 2, -70)
    return Mesh(vertices=vertices, faces=mesh.faces)


def in_party_mask(mesh: Mesh, _: np.random.Generator) -> Mesh:
    """Features drawn three quarters of the way to a smooth shell, with holes for the eyes."""
    vertices = mesh.vertices.copy()
    x, y = vertices[:, 0], vertices[:, 1]
    vertices[:, 2] = 0.25 * vertices[:, 2] + 0.75 * (6 - 42 * (x / 70) ** 2 - 35 * (y / 95) ** 2)
    eyes = [((x - side) / 15) ** 2 + ((y - 38) / 8) ** 2 < 1 for side in (-32, 32)]
    return keep_points(Mesh(vertices=vertices, faces=mesh.faces), ~(eyes[0] | eyes[1]))


CHANGES: dict[str, Change] = {
    "complete": lambda mesh, _: mesh,
    "lower half": part(lambda v: v[:, 1] < 5),
    "below the eyes": part(lambda v: v[:, 1] < 25),
    "upper half": part(lambda v: v[:, 1] > -10),
    "without chin": part(lambda v: v[:, 1] > -35),
    "left half": part(lambda v: v[:, 0] < 3),
    "left two thirds": part(lambda v: v[:, 0] < 25),
    "six large holes": with_holes,
    "height x 1.25": stretched(1, 1.25, 1),
    "height x 1.6": stretched(1, 1.6, 1),
    "width x 1.4": stretched(1.4, 1, 1),
    "depth x 0.5": stretched(1, 1, 0.5),
    "depth x 1.6": stretched(1, 1, 1.6),
    "surgical mask": in_surgical_mask,
    "party mask": in_party_mask,
}


@dataclass(frozen=True)
class Row:
    is_right: bool
    probability: float
    confidence: float
    is_barely_found: bool


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("faces", type=Path)
    parser.add_argument("--scans", type=int, default=80)
    arguments = parser.parse_args()
    model = smilevlm.load("default")
    level = model.bundle.abstain_threshold
    rng = np.random.default_rng(5)
    rows: dict[str, list[Row]] = {name: [] for name in CHANGES}
    refused = dict.fromkeys(CHANGES, 0)
    others = 0
    for files in find_scans(arguments.faces)[: arguments.scans]:
        expression = files.path.relative_to(arguments.faces).parts[1]
        try:
            whole = model.predict(files)
        except MeshError:
            continue
        others += any("another face" in remark for remark in whole.remarks)
        for name, change in CHANGES.items():
            try:
                answer = whole if name == "complete" else model.predict(change(whole.face.mesh, rng))
            except MeshError:
                refused[name] += 1
                continue
            rows[name].append(
                Row(answer.label == expression, answer.confidence, answer.face.confidence, answer.face.is_barely_found)
            )
    print(f"{others} scans of one face were said to hold another\n")
    print("| synthetic set | answered | refused | confidence 10/50/90 % | barely found | right if sure above floors |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, found in rows.items():
        shares = "/".join(
            f"{q:.2f}" for q in np.quantile([row.confidence for row in found] or [np.nan], [0.1, 0.5, 0.9])
        )
        low = sum(row.is_barely_found for row in found)
        sure = [row.is_right for row in found if row.probability >= level and not row.is_barely_found]
        right = f"{sum(sure)} of {len(sure)}"
        print(f"| {name} | {len(found)} | {refused[name]} | {shares} | {low} | {right} |")
    for name, is_low in (("below", True), ("above", False)):
        chosen = [
            row for found in rows.values() for row in found
            if row.is_barely_found == is_low and row.probability >= level
        ]  # fmt: skip
        print(f"\n{name} the floors: {np.mean([row.is_right for row in chosen]):.1%} of {len(chosen)} right")


if __name__ == "__main__":
    main()
