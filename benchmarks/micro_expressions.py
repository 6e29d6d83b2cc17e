"""How much of a micro-expression's class is in its movement, and how much a model finds, by amplitude to noise.

For each amplitude the synthetic 4DME of the tiny study (24 people, 8 clips each, seed 2) is planned anew: the same
people and clips, with weaker or stronger movements before the same scanner. Printed are

- movement: root mean square over the vertices that move by 30 % of the largest displacement or more, apex minus onset,
  median over clips of one class;
- ratio: movement by the standard deviation of the scanner's depth noise (`scanner.noise_mm`; sessions vary around it);
- oracle: `displacement_oracle`, leaving one subject out;
- with --start-from, a run folder of `tiny_bu4dfe`: recipe `tiny_4dme`, five folds by subject, and the most frequent
  class of the training people. Scores are those of all clips together (UF1, UAR).

Command: python benchmarks/micro_expressions.py --folder FOLDER [--start-from RUN] --amplitudes 0.5 1 2 4 --jobs 2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilevlm.datasets import index_data_set
from smilevlm.evaluation import displacement_oracle, evaluate_run
from smilevlm.labels import MICRO_EXPRESSIONS
from smilevlm.recipes import find_recipe
from smilevlm.reproduction.data import REPLICAS
from smilevlm.results import ConfusionMatrix, overall_scores
from smilevlm.store import MANIFEST_NAME, prepare
from smilevlm.synthesis.fourdme import FourdmeSettings, plan_4dme, synthesize_4dme, true_displacement_mm
from smilevlm.training import train_run

RECIPE = "tiny_4dme"
MOVING_SHARE = 0.3
Row = tuple[float, ...]


def settings_of(amplitude: float) -> FourdmeSettings:
    settings, _ = REPLICAS["4dme"].writer()
    assert isinstance(settings, FourdmeSettings)
    return replace(settings, amplitude=amplitude)


def true_movement(settings: FourdmeSettings) -> Row:
    """(movement in mm, ratio to the noise, oracle's UF1 and UAR) of the clips of one class."""
    clips = [clip for clip in plan_4dme(settings) if len(clip.micro.labels) == 1]
    displacements = np.stack([true_displacement_mm(clip, settings) for clip in clips])
    lengths = np.linalg.norm(displacements, axis=2)
    moves = lengths >= MOVING_SHARE * lengths.max(axis=1, keepdims=True)
    movement = float(np.median(np.sqrt((lengths**2 * moves).sum(axis=1) / moves.sum(axis=1))))
    truth, subjects = [clip.micro.labels[0] for clip in clips], [clip.subject for clip in clips]
    oracle = displacement_oracle(displacements, truth, subjects, MICRO_EXPRESSIONS)
    ratio = movement / settings.scanner.noise_mm
    return movement, ratio, oracle.macro_f1, oracle.unweighted_average_recall


def model(settings: FourdmeSettings, folder: Path, start_from: Path, jobs: int) -> Row:
    """UF1 and UAR of the trained model, and of the most frequent class."""
    config = replace(find_recipe(RECIPE), start_from=str(start_from), num_control_folds=0)
    faces, store, run = folder / "faces", folder / "store", folder / "run"
    if not (store / MANIFEST_NAME).is_file():
        synthesize_4dme(faces, settings, jobs=jobs)
        index = index_data_set("4dme", faces)
        recordings = list(index.recordings)
        prepare(recordings, store, config.prepare, layout=index.layout, synthetic=index.synthetic, jobs=jobs)
    train_run(config, store, run, resume=True)
    folds = evaluate_run(run, store).folds
    rows = [fold.confusion_matrix for fold in folds], [fold.readouts["majority"].confusion_matrix for fold in folds]
    return pooled(rows[0]) + pooled(rows[1])


def pooled(matrices: Sequence[ConfusionMatrix]) -> Row:
    """UF1 and UAR of all folds' clips together."""
    total = np.sum([np.asarray(matrix) for matrix in matrices], axis=0)
    scores = overall_scores(tuple(tuple(int(count) for count in row) for row in total))
    return scores["macro_f1"], scores["unweighted_average_recall"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where faces, stores and runs go; gone on with")
    parser.add_argument("--start-from", type=Path, help="run folder of tiny_bu4dfe; without it no model is trained")
    parser.add_argument("--amplitudes", type=float, nargs="+", default=[0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    names = ("amplitude", "movement mm", "ratio", "oracle UF1", "UAR", "model UF1", "UAR", "majority UF1", "UAR")
    print("  ".join(names if arguments.start_from else names[:5]))
    for amplitude in arguments.amplitudes:
        settings = settings_of(amplitude)
        row = (amplitude, *true_movement(settings))
        if arguments.start_from is not None:
            folder = arguments.folder / f"amplitude_{amplitude:g}"
            row += model(settings, folder, arguments.start_from, arguments.jobs)
        cells = (f"{value:{len(name)}.2f}" for name, value in zip(names, row, strict=False))
        print("  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
