"""Accuracy on a head model that the training never saw: trained on two rigs, tested on the third, beside `anny` alone.

Every training has equally many synthetic people, scans and steps, so that only the head models differ. People of all
rigs are made once in `--folder`, where a second call goes on, and a training's store takes its share of them. The files
of the rigs are the user's own (docs/rigs.md).

Command: python benchmarks/leave_one_rig_out.py --ict FILE --gnm FILE --folder FOLDER --out benchmarks/results/DATE.md
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, zip_longest
from pathlib import Path

import numpy as np

import smilevlm
from smilevlm.datasets import DataIndex, index_data_set
from smilevlm.evaluation import embed
from smilevlm.files import write_atomically
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.models import load_bundle, predicted_classes, zero_shot_scores
from smilevlm.recipes import find_recipe
from smilevlm.store import MANIFEST_NAME, PreparedSet, Recording, prepare
from smilevlm.store.prepare import PARTS_NAME
from smilevlm.store.work import part_jobs
from smilevlm.synthesis.varied import SUBJECTS_FILE, VariedSettings, synthesize_varied
from smilevlm.training import with_overrides

CLASSES = (*BASIC_EXPRESSIONS, NEUTRAL)
SMALL = (
    "prepare.views.size=64",
    "model.tower_settings.width=24",
    "validation.share=0.05",
    "num_folds=20",
    # Two threads wait for each other where another process has one of two cores.
    "optimiser.threads=1",
)
"""What the small recipe changes of `bundled`."""
_TRAIN_SEED, _TEST_SEED = 7_100, 7_900
_SPARE = 6
"""People more than needed, since the rigs' shares are met only nearly."""


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


@dataclass(frozen=True, kw_only=True)
class People:
    """Synthetic people of all rigs, made and prepared as the small recipe wants them.

    Args:
        folder: Of faces, store and the stores of subsets.
        index: Of all recordings.
        rig_of: Subject to rig.
    """

    folder: Path
    index: DataIndex
    rig_of: dict[str, str]

    def subset(self, names: Sequence[str], num_people: int) -> PreparedSet:
        """A store of some of the people, equally many of each rig; its parts are links to those of the whole store."""
        subjects = {subject for name in names for subject in self._of_rig(name)[: num_people // len(names)]}
        chosen = [r for r in self.index.recordings if r.subject in subjects]
        store = self.folder / f"store_{'_'.join(names)}_{num_people}"
        if not (store / MANIFEST_NAME).exists():
            for job in part_jobs(chosen):
                target = job.folder(store / PARTS_NAME)
                source = job.folder(self.folder / "store" / PARTS_NAME)
                if source.is_dir() and not target.is_dir():
                    shutil.copytree(source, target, copy_function=os.link)
            _prepare(chosen, store, self.index, jobs=1)
        return PreparedSet(store)

    def _of_rig(self, name: str) -> list[str]:
        """Women and men in turn."""
        women, men = ([s for s, rig in self.rig_of.items() if rig == name and s[0] == sex] for sex in "FM")
        return [s for pair in zip_longest(women, men) for s in pair if s is not None]


def make_people(folder: Path, rigs: Mapping[str, str], settings: VariedSettings, jobs: int) -> People:
    """Make and prepare people of all rigs."""
    synthesize_varied(folder / "faces", settings, jobs=jobs)
    index = index_data_set("folder", folder / "faces")
    _prepare(index.recordings, folder / "store", index, jobs=jobs)
    with (folder / "faces" / SUBJECTS_FILE).open() as file:
        rig_of = {row["subject"]: row["rig"] for row in csv.DictReader(file)}
    assert set(rig_of.values()) == set(rigs)
    return People(folder=folder, index=index, rig_of=rig_of)


def _prepare(recordings: Sequence[Recording], store: Path, index: DataIndex, *, jobs: int) -> None:
    config = with_overrides(find_recipe("bundled"), SMALL)
    prepare(recordings, store, config.prepare, layout=index.layout, synthetic=index.synthetic, jobs=jobs)


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


def run_study(arguments: argparse.Namespace, rigs: Mapping[str, str]) -> Iterator[Score]:
    """Every training on every rig's test people; what a former call has scored is read."""
    base: Path = arguments.folder
    test, train = (
        make_people(
            base / side,
            rigs,
            VariedSettings(num_subjects=len(rigs) * number, seed=seed, filmed_share=0.05, rigs=tuple(rigs.values())),
            arguments.jobs,
        )
        for side, number, seed in (
            ("test", arguments.test_people, _TEST_SEED),
            ("train", arguments.people + _SPARE, _TRAIN_SEED),
        )
    )
    tests = {name: test.subset((name,), arguments.test_people) for name in rigs}
    for names in trainings(rigs):
        store = train.subset(names, arguments.people).path
        for seed in arguments.seeds:
            for pairing in arguments.pairings:
                changes = (*SMALL, f"seed={seed}", f"pairing={pairing}", f"optimiser.epochs={arguments.epochs}")
                run = base / "runs" / f"{'_'.join(names)}_{pairing}_{seed}_{arguments.people}_{arguments.epochs}"
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
        cells = ["+".join(names), tested, "yes" if tested in names else "no", pairing,
                 f"{100 * np.mean(six):.1f}{spread}", *of_class]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ict", type=Path, required=True, help="file or folder of ICT-FaceKit")
    parser.add_argument("--gnm", type=Path, required=True, help="file of GNM Head's expressions")
    parser.add_argument("--folder", type=Path, required=True, help="for faces, stores and runs")
    parser.add_argument("--people", type=int, default=150, help="of each training")
    parser.add_argument("--test-people", type=int, default=40, help="of each rig")
    parser.add_argument("--epochs", type=int, default=18)
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
