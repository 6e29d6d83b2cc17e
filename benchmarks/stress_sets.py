"""How well a model does on faces that nothing was trained on: accuracy and confusion matrix per stress set.

All faces are synthetic, of seeds that no training set has. They come from the training set's own generator, changed as
each set says, and every scan is read from a file: OBJ, PLY, OFF, STL and VRML in turn. A folder of faces of other
models (`<set>/<person>/<class>.<mesh>`) can be scored beside them.

Command: python benchmarks/stress_sets.py --model default --people 40 --out benchmarks/results/DATE_stress_sets.md
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from smilevlm import find_scans, load
from smilevlm.datasets import index_data_set
from smilevlm.evaluation import calibration
from smilevlm.geometry import Mesh
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.predict import Model, Prediction, ScanFiles
from smilevlm.readers import MESH_SUFFIXES, write_bu4dfe_vrml, write_mesh
from smilevlm.synthesis.bosphorus import BosphorusSettings, synthesize_bosphorus
from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, synthesize_bu3dfe
from smilevlm.synthesis.bu4dfe import Bu4dfeSettings, synthesize_bu4dfe
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.population import SHIFTED, worse_scanner
from smilevlm.synthesis.scan_appearance import ScanAppearance, apply_appearance, draw_appearance, draw_pose, place_mesh
from smilevlm.synthesis.scan_setup import Pose, ScannerSettings
from smilevlm.synthesis.seeds import SeedKey
from smilevlm.synthesis.variants import VARIANTS, draw_variant, draw_varied_actions
from smilevlm.synthesis.varied import draw_varied_person

SEED = 990_000
CLASSES = (NEUTRAL, *BASIC_EXPRESSIONS)
Sample = tuple[str, "Mesh | ScanFiles"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One stress set of scans.

    Args:
        what: For people.
        strength: How unlike the training set's face models.
        prototype: Whether everybody shows the posed prototype at full strength, without idle movement.
        change: Of the drawn appearance.
        place: Turns, moves and scales the mesh; None as the training set does.
    """

    what: str
    strength: float = 1.0
    prototype: bool = False
    change: Callable[[np.random.Generator, ScanAppearance], ScanAppearance] = lambda rng, appearance: appearance
    place: Callable[[np.random.Generator, Mesh], Mesh] | None = None


def _any_rotation(rng: np.random.Generator) -> np.ndarray:
    matrix, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    return matrix if np.linalg.det(matrix) > 0 else matrix[:, [1, 0, 2]]


def _turned(rng: np.random.Generator, mesh: Mesh) -> Mesh:
    return place_mesh(mesh, Pose(rotation=_any_rotation(rng), offset_mm=rng.normal(0, 300, 3)), 1.0)


def _any_unit(rng: np.random.Generator, mesh: Mesh) -> Mesh:
    return place_mesh(mesh, draw_pose(rng, offset_mm=500), float(np.exp(rng.uniform(np.log(1e-3), np.log(2e3)))))


def _clean(rng: np.random.Generator, appearance: ScanAppearance) -> ScanAppearance:
    return replace(
        appearance, form="mesh", faces=head_model().topology.fine_faces, reach_mm=np.inf, depth_mm=np.inf, noise_mm=0.0
    )


def _noisy(rng: np.random.Generator, appearance: ScanAppearance) -> ScanAppearance:
    scanner = ScannerSettings(
        num_vertices=int(rng.integers(4000, 20_000)), noise_mm=float(rng.uniform(0.4, 0.7)), ripple_mm=0.8,
        max_holes=12,
        hole_size=2.0, crop_share=float(rng.uniform(0.75, 1.1)),
    )  # fmt: skip
    return replace(appearance, form="scan", scanner=scanner, cropped=True)


def _coarse(rng: np.random.Generator, appearance: ScanAppearance) -> ScanAppearance:
    return replace(appearance, form="clustered", cell_mm=float(rng.uniform(8, 11)))


def _points(rng: np.random.Generator, appearance: ScanAppearance) -> ScanAppearance:
    return replace(appearance, form="points", num_points=15_000)


KINDS = (
    Kind(what="as in training, other people"),
    Kind(what="face models further from each other", strength=1.7),
    Kind(what="clean whole heads, posed prototypes", strength=0.0, prototype=True, change=_clean),
    Kind(what="clean whole heads of other face models, posed prototypes", strength=1.5, prototype=True, change=_clean),
    Kind(what="noise of 0.4 to 0.7 mm, up to 12 large holes", change=_noisy),
    Kind(what="coarse meshes, cells of 8 to 11 mm", change=_coarse),
    Kind(what="point clouds", change=_points),
    Kind(what="turned any way", place=_turned),
    Kind(what="any unit", place=_any_unit),
)


def people_of(kind: Kind, number: int, people: int) -> Iterator[Sample]:
    """Scans of one stress set."""
    for person in range(people):
        key = SeedKey(layout=f"stress/{number}", seed=SEED, person=person)
        drawn = draw_varied_person(key.generator("person"), sex="FM"[person % 2], strength=kind.strength)
        for place, expression in enumerate(CLASSES):
            rng = key.generator("scan", place)
            recipe = draw_variant(rng, expression)
            if kind.prototype and recipe is not None:
                recipe = VARIANTS[expression][0]
            actions = draw_varied_actions(
                rng,
                person=drawn.person,
                recipe=recipe,
                intensity=1.0,
                facial_actions=head_model().facial_actions,
                idle=0.0 if kind.prototype else float(rng.uniform(0, 1)),
            )
            (head,) = drawn.heads([actions])
            whole = replace(draw_appearance(rng, drawn.rig.surface, drawn.hair), partial=None)
            appearance = kind.change(rng, whole)
            mesh = apply_appearance(rng, appearance, head)
            yield (
                expression,
                (
                    place_mesh(mesh, draw_pose(rng), appearance.mm_per_unit)
                    if kind.place is None
                    else kind.place(rng, mesh)
                ),
            )


def layouts(people: int, folder: Path) -> Iterator[tuple[str, list[Sample]]]:
    """Scans and sequences in the layouts of data sets, of the shifted population before a worse scanner."""
    three = Bu3dfeSettings(num_subjects=people, seed=SEED, levels=(4,), texture_size=16, complete=False)
    three = replace(three, population=SHIFTED, scanner=worse_scanner(three.scanner))
    synthesize_bu3dfe(folder / "bu3dfe", three)
    yield "BU-3DFE layout, shifted population, highest level", _indexed("bu3dfe", folder / "bu3dfe")
    other = BosphorusSettings(num_subjects=people, seed=SEED, complete=False)
    other = replace(other, population=SHIFTED, scanner=worse_scanner(other.scanner))
    synthesize_bosphorus(folder / "bosphorus", other)
    yield "Bosphorus layout, shifted population", _indexed("bosphorus", folder / "bosphorus")
    four = Bu4dfeSettings(num_subjects=max(1, people // 4), seed=SEED, num_frames=20, texture_width=16)
    four = replace(four, population=SHIFTED, scanner=worse_scanner(four.scanner))
    synthesize_bu4dfe(folder / "bu4dfe", four)
    yield "BU-4DFE layout, sequences, shifted population", _indexed("bu4dfe", folder / "bu4dfe")


def _indexed(layout: str, root: Path) -> list[Sample]:
    return [
        (
            recording.expression,
            ScanFiles(path=recording.path, frames=recording.frames, is_sequence=recording.is_sequence),
        )
        for recording in index_data_set(layout, root).recordings
        if recording.expression in CLASSES
    ]


def others(root: Path) -> Iterator[tuple[str, list[Sample]]]:
    """A folder of other faces: `<set>/<person>/<class>.<mesh>`."""
    for each in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(path for path in each.rglob("*") if path.suffix in MESH_SUFFIXES and path.stem in CLASSES)
        if files:
            yield each.name, [(file.stem, found) for file in files for found in find_scans(file)]


@dataclass(kw_only=True)
class Score:
    """What a model said of one set.

    Args:
        name: Of the set.
        matrix: Rows are true classes; the last column counts refused scans.
        shares: Probabilities of every answer.
        correct: Whether it was right.
        unsure: Answers shown as "not sure".
    """

    name: str
    matrix: np.ndarray
    shares: list[list[float]]
    correct: list[bool]
    unsure: int = 0


def score(name: str, model: Model, samples: Sequence[Sample], folder: Path) -> Score:
    """Recognise a set, every mesh by way of a file."""
    found = Score(name=name, matrix=np.zeros((len(CLASSES), len(CLASSES) + 1), int), shares=[], correct=[])
    scans = (
        written(scan, folder / f"scan_{number % 100}", number) if isinstance(scan, Mesh) else scan
        for number, (_, scan) in enumerate(samples)
    )
    for (truth, _), answer in zip(samples, model.predict_each(scans, jobs=2), strict=True):
        column = CLASSES.index(answer.label) if isinstance(answer, Prediction) else len(CLASSES)
        found.matrix[CLASSES.index(truth), column] += 1
        if isinstance(answer, Prediction):
            found.shares.append(list(answer.probabilities.values()))
            found.correct.append(answer.label == truth)
            found.unsure += not answer.is_confident
    return found


def written(mesh: Mesh, stem: Path, number: int) -> Path:
    """The mesh as a file of one of five formats; a point cloud as PLY."""
    suffix = ".ply" if mesh.is_point_cloud else (".obj", ".ply", ".off", ".stl", ".wrl")[number % 5]
    path = stem.with_suffix(suffix)
    if suffix != ".wrl":
        write_mesh(mesh, path)
        return path
    with path.open("w", newline="\n") as file:
        uv = np.zeros((mesh.num_vertices, 2), np.float32)
        write_bu4dfe_vrml(file, vertices=mesh.vertices, faces=mesh.faces, uv=uv, texture_name=None)
    return path


def described(found: Score) -> str:
    matrix = found.matrix
    six, neutral = matrix[1:], matrix[0]
    right = np.trace(six[:, 1:-1])
    error = calibration(np.array(found.shares), np.array(found.correct), 1.0).expected_calibration_error
    lines = [
        f"### {found.name}",
        "",
        f"six expressions {right}/{six.sum()} = **{right / max(six.sum(), 1):.1%}**, neutral called neutral "
        f"{neutral[0]}/{neutral.sum()}, not sure {found.unsure}, refused {matrix[:, -1].sum()}, expected calibration "
        f"error {error:.1%}",
        "",
        "| true \\ said | " + " | ".join((*CLASSES, "refused")) + " |",
        "|---|" + "---:|" * (len(CLASSES) + 1),
        *(
            f"| {name} | " + " | ".join(map(str, row)) + " |"
            for name, row in zip(CLASSES, matrix.tolist(), strict=True)
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--others", type=Path, help="folder of other faces")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = load(arguments.model)
    parts = []
    with tempfile.TemporaryDirectory() as folder:

        def add(name: str, samples: Sequence[Sample]) -> None:
            parts.append(described(score(name, model, samples, Path(folder))) + "\n")
            print(parts[-1], flush=True)

        for number, kind in enumerate(KINDS):
            add(kind.what, list(people_of(kind, number, arguments.people)))
        for name, samples in layouts(arguments.people, Path(folder)):
            add(name, samples)
        for name, samples in others(arguments.others) if arguments.others else ():
            add(f"faces of other models: {name}", samples)
    if arguments.out:
        arguments.out.write_text("\n".join([f"# Stress sets (synthetic faces), model {arguments.model}\n", *parts]))


if __name__ == "__main__":
    main()
