"""How much of a micro-expression's class is in its movement, and how much a model finds, by amplitude and by phase.

For each amplitude the synthetic 4DME of the tiny study (24 people, 8 clips each, seed 2) is planned anew: the same
people and clips, with weaker or stronger movements before the same scanner. Printed are

- movement: root mean square over the vertices that move by 30 % of the largest displacement or more, apex minus onset,
  median over clips of one class;
- ratio: movement by the standard deviation of the scanner's depth noise (`scanner.noise_mm`; sessions vary around it);
- with --start-from, a run folder of `tiny_bu4dfe`: UF1 and UAR of the recipe's model, of the oracle
  (`oracle_of_faces`, leaving one subject out) and of the most frequent class of the training people, for each span of
  the dynamic images (phases by the automatic apex). Scores are those of all folds' clips together, with 95 % intervals
  from a bootstrap over people; without --start-from the oracle alone. Spans after the first are compared with it:
  the difference of the model's UF1, people redrawn for both at once.

Command: python benchmarks/micro_expressions.py --folder FOLDER [--start-from RUN] --amplitudes 0.5 1 2 --jobs 2
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
from smilevlm.results import (
    ConfusionMatrix,
    ExperimentResult,
    Interval,
    class_f1,
    percentile_interval,
    pooled_confusion,
)
from smilevlm.store import MANIFEST_NAME, prepare
from smilevlm.synthesis.fourdme import FourdmeSettings, plan_4dme, synthesize_4dme, true_displacement_mm
from smilevlm.training import ExperimentConfig, train_run, with_overrides

SPANS = ("sequence", "onset_apex", "apex_offset", "both_phases", "toward_apex")
MOVING_SHARE = 0.3


def settings_of(amplitude: float) -> FourdmeSettings:
    settings, _ = REPLICAS["4dme"].writer()
    assert isinstance(settings, FourdmeSettings)
    return replace(settings, amplitude=amplitude)


def true_movement(settings: FourdmeSettings) -> tuple[float, ...]:
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


def config_of(recipe: str, start_from: Path, span: str, overrides: Sequence[str]) -> ExperimentConfig:
    apex = "labels" if span == "sequence" else "automatic"
    config = replace(find_recipe(recipe), start_from=str(start_from), num_control_folds=0)
    # Both at once: one without the other may be no setting.
    dynamics = replace(config.prepare.dynamics, span=span, apex=apex)
    return with_overrides(replace(config, prepare=replace(config.prepare, dynamics=dynamics)), overrides)


def evaluated(
    config: ExperimentConfig, settings: FourdmeSettings, folder: Path, name: str, jobs: int
) -> ExperimentResult:
    """Of the trained model; what is there already is gone on with."""
    faces, store, run = folder / "faces", folder / f"store_{config.prepare.dynamics.span}", folder / name
    if not (store / MANIFEST_NAME).is_file():
        synthesize_4dme(faces, settings, jobs=jobs)
        index = index_data_set("4dme", faces)
        recordings = list(index.recordings)
        prepare(recordings, store, config.prepare, layout=index.layout, synthetic=index.synthetic, jobs=jobs)
    train_run(config, store, run, resume=True, jobs=jobs)
    return evaluate_run(run, store, faces=faces, num_examples=0)


def print_scores(span: str, result: ExperimentResult) -> None:
    assert result.oracle is not None
    found = {
        "model": result.summary.pooled,
        "oracle": result.oracle.pooled,
        "majority": result.summary.pooled_majority,
    }
    for who, score in found.items():
        assert score is not None
        f1 = cell(score.unweighted_f1, score.unweighted_f1_interval)
        recall = cell(score.unweighted_average_recall, score.unweighted_average_recall_interval)
        print(f"  {span:12s} {who:9s} UF1 {f1}  UAR {recall}", flush=True)


def difference(first: ExperimentResult, other: ExperimentResult) -> str:
    """UF1 of the other minus that of the first, and its 95 % bootstrap over the people that both are tested on."""
    one, two = pooled_confusion(first.folds), pooled_confusion(other.folds)
    assert one is not None
    assert two is not None
    people = sorted(one)
    draws = [np.arange(len(people)), *np.random.default_rng(0).integers(len(people), size=(2000, len(people)))]
    gains = np.array([f1_of(two, people, draw) - f1_of(one, people, draw) for draw in draws])
    return cell(float(gains[0]), percentile_interval(gains[1:]))


def f1_of(by_person: dict[str, ConfusionMatrix], people: Sequence[str], draw: np.ndarray) -> float:
    total = np.sum([by_person[people[int(index)]] for index in draw], axis=0)
    return float(class_f1(tuple(map(tuple, total.tolist()))).mean())


def cell(value: float, interval: Interval | None) -> str:
    return f"{value:.2f}" if interval is None else f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where faces, stores and runs go; gone on with")
    parser.add_argument("--start-from", type=Path, help="run folder of tiny_bu4dfe; without it no model is trained")
    parser.add_argument("--amplitudes", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--spans", choices=SPANS, nargs="+", default=["sequence"])
    parser.add_argument("--recipe", default="tiny_4dme", help="tiny_4dme: five folds by subject; tiny_4dme_loso")
    parser.add_argument("--set", action="append", default=[], help="change of the recipe, as smilevlm train takes it")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    for amplitude in arguments.amplitudes:
        settings = settings_of(amplitude)
        movement, ratio, f1, recall = true_movement(settings)
        print(f"amplitude {amplitude:g}: movement {movement:.2f} mm, {ratio:.1f} times the noise", flush=True)
        if arguments.start_from is None:
            print(f"  oracle: UF1 {f1:.2f}, UAR {recall:.2f}", flush=True)
            continue
        folder = arguments.folder / f"amplitude_{amplitude:g}"
        first: ExperimentResult | None = None
        for span in arguments.spans:
            config = config_of(arguments.recipe, arguments.start_from, span, arguments.set)
            result = evaluated(config, settings, folder, f"{arguments.recipe}_{span}", arguments.jobs)
            print_scores(span, result)
            if first is None:
                first = result
            else:
                print(f"  {span} minus {arguments.spans[0]}: UF1 {difference(first, result)}", flush=True)


if __name__ == "__main__":
    main()
