"""The label-free route end to end: a teacher of one synthetic population, a student of another without its labels.

Command: python tools/label_free.py label_free --seeds 0 1 2
Time: about 3 minutes per teacher and 5 per student on one free core; run again, it goes on.

Per seed: a teacher learns from labelled people of the default population; its proposals on the training people of the
shifted population are all that a student learns from; both are tested on the same other people of the shifted
population. The upper bound is trained on the shifted training people with their labels.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smilevlm.evaluation import predict
from smilevlm.files import write_atomically
from smilevlm.models import load_bundle
from smilevlm.results import read_results
from smilevlm.store import PreparedSet

FACES = ["--levels", "3,4", "--vertices", "4000", "--texture-size", "128", "--only-cropped"]
OWN_FOLDS, SHIFTED_FOLDS = 5, 3
STUDENT = ["optimiser.learning_rate=5e-4", "optimiser.epochs=8", "optimiser.ema_decay=0.98"]
"""A student begins with its teacher's weights and learns gently: what it learns from is wrong one time in five."""
ROWS = {
    "teacher_own": "teacher, on unseen people of its own population",
    "teacher_shifted": "teacher, on unseen people of the shifted population",
    "proposals": "its proposals for the shifted training people: right, of those kept",
    "coverage": "its proposals for the shifted training people: kept, of all",
    "student": "student, label-free, on the same shifted people as the teacher",
    "gain": "student minus teacher there",
    "labelled": "trained with the shifted people's labels (upper bound)",
}


def smilevlm(*words: object) -> None:
    """Run one command of the package; its progress goes to stderr."""
    command = [sys.executable, "-m", "smilevlm", *map(str, words)]
    print("$", "smilevlm", *command[3:], file=sys.stderr, flush=True)
    subprocess.run(command, check=True, stdout=sys.stderr)


def make_population(folder: Path, subjects: int, seed: int, jobs: int, *options: str) -> PreparedSet:
    """Faces and their views; what is there already stays."""
    faces, store = folder / "faces", folder / "store"
    smilevlm("synthesize", "bu3dfe", faces, "--subjects", subjects, "--seed", seed, "--jobs", jobs, *FACES, *options)
    smilevlm("prepare", "bu3dfe", faces, store, "--jobs", jobs)
    return PreparedSet(store)


def train(run: Path, store: PreparedSet, seed: int, recipe: str, *settings: str) -> float:
    """Train and score fold 0 of a recipe; the accuracy on its test people."""
    chosen = [word for setting in (f"seed={seed}", "num_control_folds=0", *settings) for word in ("--set", setting)]
    smilevlm("train", recipe, "--store", store.path, "--out", run, "--fold", 0, "--resume", *chosen)
    smilevlm("evaluate", run, "--store", store.path)
    return read_results(run / "results.json").folds[0].accuracy


def accuracy_on_test_people(teacher: Path, run: Path, store: PreparedSet) -> float:
    """What a model reaches on the test people of another run's fold 0."""
    test = json.loads((run / "fold_00/fold.json").read_text())["test"]
    bundle = load_bundle(teacher / "fold_00")
    found = predict(bundle.embed(store.load_images(test)).z_fused, bundle.prototypes)
    pairs = zip(found.tolist(), test, strict=True)
    return float(np.mean([bundle.classes[k] == store.samples[i].expression for k, i in pairs]))


def proposals(run: Path, store: PreparedSet) -> tuple[float, float]:
    """How many of a student's proposals are right, and how many samples have one. Labels are read here alone."""
    trained = json.loads((run / "fold_00/fold.json").read_text())["train"]
    classes = json.loads((run / "fold_00/proposals.json").read_text())["classes"]
    right = [name == store.samples[i].expression for name, i in zip(classes, trained, strict=True) if name is not None]
    return float(np.mean(right)), len(right) / len(classes)


def one_seed(
    folder: Path,
    seed: int,
    recipe: str,
    overrides: Sequence[str],
    student_overrides: Sequence[str],
    own: PreparedSet,
    shifted: PreparedSet,
) -> dict[str, float]:
    """All numbers of one seed, as fractions."""
    teacher, student, labelled = (folder / f"{name}_{seed}" for name in ("teacher", "student", "labelled"))
    values = {"teacher_own": train(teacher, own, seed, recipe, f"num_folds={OWN_FOLDS}", *overrides)}
    there = (f"num_folds={SHIFTED_FOLDS}", *overrides)
    weights = teacher / "fold_00"
    taught = ("pairing=pseudo", f"pseudo.teacher={weights}", f"start_from={weights}", *student_overrides)
    values["student"] = train(student, shifted, seed, recipe, *there, *taught)
    values["labelled"] = train(labelled, shifted, seed, recipe, *there)
    values["teacher_shifted"] = accuracy_on_test_people(teacher, student, shifted)
    values["proposals"], values["coverage"] = proposals(student, shifted)
    values["gain"] = values["student"] - values["teacher_shifted"]
    return values


def table(per_seed: dict[int, dict[str, float]], heading: str) -> str:
    """Markdown: mean and standard deviation over the seeds, in per cent, then every seed."""
    seeds = list(per_seed)
    lines = [
        heading,
        "",
        "| synthetic faces, per cent | mean | std | " + " | ".join(f"seed {seed}" for seed in seeds) + " |",
        "|---" * (3 + len(seeds)) + "|",
    ]
    for key, name in ROWS.items():
        values = [100 * per_seed[seed][key] for seed in seeds]
        spread = f"{np.std(values, ddof=1):.1f}" if len(values) > 1 else "one seed"
        lines.append(f"| {name} | {np.mean(values):.1f} | {spread} | " + " | ".join(f"{v:.1f}" for v in values) + " |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str]) -> None:
    """Make the populations, train, and write `label_free.md` and `label_free.json` after every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write; an interrupted run goes on there")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="for all three trainings")
    parser.add_argument("--student-set", action="append", metavar="SETTING=VALUE", help=f"default: {STUDENT}")
    parser.add_argument("--teacher-subjects", type=int, default=100, help="four fifths of them teach")
    parser.add_argument("--student-subjects", type=int, default=180, help="two thirds of them are learnt from")
    parser.add_argument("--jobs", type=int, default=1, help="processes that make the faces and their views")
    arguments = parser.parse_args(words)
    student_set = STUDENT if arguments.student_set is None else arguments.student_set
    out = arguments.out
    own = make_population(out / "own", arguments.teacher_subjects, 11, arguments.jobs)
    other = ("--population", "shifted")
    shifted = make_population(out / "shifted", arguments.student_subjects, 12, arguments.jobs, *other)
    per_seed = {}
    for seed in arguments.seeds:
        per_seed[seed] = one_seed(out, seed, arguments.recipe, arguments.set, student_set, own, shifted)
        student = [f"student: {setting}" for setting in student_set]
        recipe = " ".join([arguments.recipe, *arguments.set, *student])
        heading = f"Recipe {recipe}; populations {own.manifest.content_hash[:12]} and "
        heading += f"{shifted.manifest.content_hash[:12]}; fold 0 of each run."
        write_atomically(out / "label_free.json", json.dumps(per_seed, indent=1) + "\n")
        write_atomically(out / "label_free.md", table(per_seed, heading))
        print(table(per_seed, heading), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
