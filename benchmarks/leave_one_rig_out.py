"""Accuracy on a head model that the training never saw: trained on two rigs, tested on the third, beside `anny` alone.

Every training has equally many synthetic people, scans and steps, so that only the head models differ. Its people are
made for it, so that GNM, which borrows actions and people from the other rigs named, has nothing of a rig left out. The
tested people are each rig's own, without face families, and show the posed expressions; `gnm_whole` shows the whole
faces that GNM's authors made. `--unlike`, `--wide` and `--whole-faces` change the faces of the trainings alone. A
second call goes on where one was interrupted. The files of the rigs are the user's own (docs/rigs.md).

Command: python benchmarks/leave_one_rig_out.py --ict FILE --gnm FILE --folder FOLDER --out benchmarks/results/DATE.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

import smilevlm
from smilevlm.datasets.synthetic_store import synthesize_store
from smilevlm.evaluation import embed
from smilevlm.files import write_atomically
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.models import load_bundle, predicted_classes, zero_shot_scores
from smilevlm.recipes import find_recipe
from smilevlm.store import MANIFEST_NAME, PreparedSet
from smilevlm.synthesis.varied import VariedSettings
from smilevlm.training import with_overrides

CLASSES = (*BASIC_EXPRESSIONS, NEUTRAL)
SMALL = (
    "prepare.views.size=64",
    "model.tower_settings.width=24",
    # The last epoch: which is best on a few people is chance.
    "validation.calibrate=false",
    "validation.share=0",
    "num_folds=20",
    # Two threads wait for each other where another process has one of two cores.
    "optimiser.threads=1",
)
"""What the small recipe changes of `bundled`."""
_TRAIN_SEED, _TEST_SEED = 7_100, 7_900


@dataclass(frozen=True, kw_only=True)
class Score:
    """One training on one test set.

    Args:
        trained_on: Rigs.
        tested_on: The rig.
        pairing: Mode of the training.
        seed: Of the training.
        accuracy: Share of right answers per class, of seven classes each.
    """

    trained_on: tuple[str, ...]
    tested_on: str
    pairing: str
    seed: int
    accuracy: dict[str, float]

    @property
    def six(self) -> float:
        """Mean over the six expressions."""
        return float(np.mean([self.accuracy[name] for name in BASIC_EXPRESSIONS]))


def make_store(folder: Path, faces: VariedSettings, jobs: int) -> PreparedSet:
    """People made and prepared as the small recipe wants them."""
    if not (folder / MANIFEST_NAME).exists():
        synthesize_store(folder, faces, with_overrides(find_recipe("bundled"), SMALL).prepare, jobs=jobs)
    return PreparedSet(folder)


def scored(run: Path, prepared: PreparedSet) -> dict[str, float]:
    """Share of right answers per class."""
    bundle = load_bundle(run / "fold_00")
    chosen = [number for number, sample in enumerate(prepared.samples) if sample.expression in CLASSES]
    scores = zero_shot_scores(embed(bundle, prepared, chosen).z_fused, bundle.prototypes)
    said = np.array(bundle.classes)[predicted_classes(scores)]
    truth = np.array([prepared.samples[number].expression for number in chosen])
    return {name: float(np.mean(said[truth == name] == name)) for name in CLASSES}


def trainings(rigs: Mapping[str, str]) -> list[tuple[str, ...]]:
    """`anny` alone, every pair, and all."""
    return [("anny",), *combinations(rigs, 2), tuple(rigs)]


def make_tests(arguments: argparse.Namespace, rigs: Mapping[str, str]) -> dict[str, PreparedSet]:
    """People of each rig as it is, who show the posed expressions."""
    whole_faces = {**dict.fromkeys(rigs, 0.0), "gnm_whole": 1.0}
    return {
        name: make_store(
            arguments.folder / f"test_{name}",
            VariedSettings(
                num_subjects=arguments.test_people,
                seed=_TEST_SEED,
                filmed_share=0,
                strength=0,
                wide_share=0,
                incidental_share=0,
                blend_scans=0,
                whole_face_share=share,
                # GNM's people and actions are those of the other rigs.
                rigs=tuple(rigs.values()) if "gnm" in name else (rigs[name],),
                rig_shares=(0.0,) * (len(rigs) - 1) + (1.0,) if "gnm" in name else (),
            ),
            arguments.jobs,
        )
        for name, share in whole_faces.items()
    }


def make_training(arguments: argparse.Namespace, rigs: Mapping[str, str], names: Sequence[str]) -> PreparedSet:
    """Equally many people of each rig."""
    faces = VariedSettings(
        num_subjects=arguments.people,
        seed=_TRAIN_SEED,
        filmed_share=0.05,
        strength=arguments.unlike,
        wide_share=arguments.wide,
        whole_face_share=arguments.whole_faces,
        rigs=tuple(rigs[name] for name in names),
    )
    return make_store(arguments.folder / f"train_{'_'.join(names)}_{faces_tag(arguments)}", faces, arguments.jobs)


def faces_tag(arguments: argparse.Namespace) -> str:
    """Names a training's faces among those of other settings."""
    return f"{arguments.people}_{arguments.unlike:g}_{arguments.wide:g}_{arguments.whole_faces:g}"


def run_study(arguments: argparse.Namespace, rigs: Mapping[str, str]) -> Iterator[Score]:
    """Every training on every rig's test people; what a former call has scored is read."""
    tests = make_tests(arguments, rigs)
    for names in arguments.trainings or trainings(rigs):
        store = make_training(arguments, rigs, names).path
        for seed in arguments.seeds:
            for pairing in arguments.pairings:
                changes = (*SMALL, f"seed={seed}", f"pairing={pairing}", f"optimiser.epochs={arguments.epochs}")
                name = f"{'_'.join(names)}_{faces_tag(arguments)}_{pairing}_{seed}_{arguments.epochs}"
                run = arguments.folder / "runs" / name
                smilevlm.train("bundled", store, run, settings=changes, folds=[0], resume=run.exists())
                yield from _scores(run, names, tests, pairing, seed)


def _scores(
    run: Path, names: tuple[str, ...], tests: dict[str, PreparedSet], pairing: str, seed: int
) -> Iterator[Score]:
    for name, prepared in tests.items():
        path = run / f"test_{name}.json"
        if not path.exists():
            write_atomically(path, json.dumps(scored(run, prepared)))
        score = Score(
            trained_on=names, tested_on=name, pairing=pairing, seed=seed, accuracy=json.loads(path.read_text())
        )
        print(f"{'+'.join(names)} -> {name}, {pairing}, seed {seed}: six {score.six:.1%}", flush=True)
        yield score


def table(scores: Sequence[Score]) -> str:
    """Markdown: mean over seeds, with the standard deviation for the six expressions."""
    head = ["trained on", "tested on", "seen", "pairing", "six expressions", *CLASSES]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 4}{'---:|' * (len(CLASSES) + 1)}"]
    groups: dict[tuple[tuple[str, ...], str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.trained_on, score.tested_on, score.pairing), []).append(score)
    for (names, tested, pairing), group in groups.items():
        six = [score.six for score in group]
        spread = f" ± {100 * np.std(six, ddof=1):.1f}" if len(six) > 1 else ""
        of_class = [f"{100 * np.mean([score.accuracy[name] for score in group]):.1f}" for name in CLASSES]
        seen = "yes" if tested.partition("_")[0] in names else "no"
        cells = ["+".join(names), tested, seen, pairing,
                 f"{100 * np.mean(six):.1f}{spread}", *of_class]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ict", type=Path, required=True, help="file or folder of ICT-FaceKit")
    parser.add_argument("--gnm", type=Path, required=True, help="file of GNM Head's expressions")
    parser.add_argument("--folder", type=Path, required=True, help="for faces, stores and runs")
    parser.add_argument("--people", type=int, default=140, help="of each training")
    parser.add_argument("--test-people", type=int, default=40, help="of each rig")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--trainings", type=lambda text: tuple(text.split("+")), nargs="+", help="such as anny+ict")
    parser.add_argument("--unlike", type=float, default=VariedSettings.strength)
    parser.add_argument("--wide", type=float, default=VariedSettings.wide_share)
    parser.add_argument("--whole-faces", type=float, default=VariedSettings.whole_face_share)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairings", nargs="+", default=["class"], choices=("class", "mixed"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="Markdown table; a JSON file of all scores beside it")
    arguments = parser.parse_args()
    rigs = {"anny": "anny", "ict": f"ict={arguments.ict}", "gnm": f"gnm={arguments.gnm}"}
    scores = list(run_study(arguments, rigs))
    write_atomically(arguments.out, table(scores))
    write_atomically(arguments.out.with_suffix(".json"), json.dumps([asdict(score) for score in scores], indent=1))
    print(arguments.out.read_text())


if __name__ == "__main__":
    main()
