"""Choose the settings of the study of the losses on populations that the study does not use, for every arm alike.

In this order, each with what the one before has chosen: the form of the alignment and its learning rate (alignment
alone), the form and weight of the multi-view loss (without redundancy), the weight of the redundancy loss (without the
multi-view loss). Each candidate is trained with all labels and with those of six people, on two populations; the score
is the mean accuracy on clean and degraded views. A second call goes on where one was interrupted.

Command: python benchmarks/loss_settings.py --folder FOLDER --out benchmarks/results/DATE_loss_settings.md
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilevlm.datasets.synthetic_store import synthesize_store
from smilevlm.evaluation import evaluate_robustness
from smilevlm.files import write_atomically
from smilevlm.parallel import parallel_map
from smilevlm.recipes import find_recipe
from smilevlm.recipes.loss_study import LOSS_PROFILES
from smilevlm.reproduction.losses import LossStudyRequest, LossUnit, synthetic_people, with_steps
from smilevlm.results import ROBUSTNESS_NAME, RobustnessResult, read_record
from smilevlm.store import MANIFEST_NAME, PreparedSet
from smilevlm.training import train_run

SETTINGS = ("class_all", "class_6")
POPULATIONS = (900, 901)
_CROSS = ("loss.pairs=cross", "loss.head=embedding")
STAGES: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "alignment": (
        "alignment_alone",
        {
            "prompt bank, class positives": (),
            "batch, class positives": ("loss.negatives=batch",),
            "batch, one-hot (Eq. 6)": ("loss.negatives=batch", "loss.positives=prompt", "loss.multi_positive=false"),
            "prompt bank, rate 0.001": ("optimiser.learning_rate=0.001",),
            "prompt bank, rate 0.004": ("optimiser.learning_rate=0.004",),
            "prompt bank, temperature 0.15": ("loss.temperature=0.15",),
        },
    ),
    "multi-view": (
        "without_redundancy",
        {
            "none": ("loss.alpha=0",),
            "same views (Eq. 1-4), share 0.1": ("loss.multi_view_share=0.1",),
            "same views (Eq. 1-4), share 0.5": ("loss.multi_view_share=0.5",),
            "across views, share 0.5": ("loss.multi_view_share=0.5", "loss.pairs=cross"),
            "across views, head, share 0.1": ("loss.multi_view_share=0.1", *_CROSS),
            "across views, head, share 0.5": ("loss.multi_view_share=0.5", *_CROSS),
            "across views, head, centred, share 0.5": ("loss.multi_view_share=0.5", "loss.centre=person", *_CROSS),
        },
    ),
    "redundancy": (
        "without_multi_view",
        {f"scale {scale:g}": (f"loss.redundancy_scale={scale:g}",) for scale in (0.0003, 0.001, 0.003)},
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One candidate on one population with one number of labels."""

    stage: str
    name: str
    setting: str
    population: int

    def folder(self, chosen: tuple[str, ...]) -> str:
        """Below the folder of runs; other choices of earlier stages have another one."""
        words = "".join(letter if letter.isalnum() else "_" for letter in f"{self.stage} {self.name}")
        digest = hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:8]
        return f"{words}_{digest}/{self.setting}_{self.population}"


def run_trial(trial: Trial, folder: Path, chosen: tuple[str, ...]) -> RobustnessResult:
    """Train and score, where that is not done."""
    out = folder / "runs" / trial.folder(chosen)
    if (out / ROBUSTNESS_NAME).exists():
        return read_record(out / ROBUSTNESS_NAME, RobustnessResult)
    method, candidates = STAGES[trial.stage]
    store = folder / "data" / f"selection_{trial.population - POPULATIONS[0]:02d}"
    unit = LossUnit(number=trial.population, store=store, fold=0, seed=trial.population, other_store=None)
    request = LossStudyRequest(profile="tiny", out=folder, overrides=(*chosen, *candidates[trial.name]))
    recipe, num_steps = request.recipe(trial.setting), request.values.num_steps
    config, _ = with_steps(recipe, method, num_steps, unit, PreparedSet(store))
    train_run(config, store, out, folds=(0,), resume=out.exists())
    return evaluate_robustness(out, store, few_labels=(6,), seed=trial.population)


def make_people(folder: Path, jobs: int) -> None:
    """The populations that the settings are chosen on."""
    for number, seed in enumerate(POPULATIONS):
        store = folder / "data" / f"selection_{number:02d}"
        if not (store / MANIFEST_NAME).exists():
            faces = synthetic_people(LOSS_PROFILES["tiny"], seed)
            synthesize_store(store, faces, find_recipe("tiny_losses").prepare, jobs=jobs)


def stage_table(stage: str, folder: Path, chosen: tuple[str, ...], jobs: int) -> str:
    """Markdown: each candidate's accuracies, mean over the populations."""
    trials = [
        Trial(stage=stage, name=name, setting=setting, population=population)
        for name in STAGES[stage][1]
        for setting in SETTINGS
        for population in POPULATIONS
    ]
    found = dict(
        zip(trials, parallel_map(run_trial, [(each, folder, chosen) for each in trials], jobs=jobs), strict=True)
    )
    lines = [
        f"| {stage} | all labels, clean | degraded | labels of 6, clean | degraded | probe, 6 | same person | mean |",
        f"|---|{'---:|' * 7}",
    ]
    for name in STAGES[stage][1]:
        by_setting = {
            setting: [r for trial, r in found.items() if (trial.name, trial.setting) == (name, setting)]
            for setting in SETTINGS
        }
        scores = [
            100 * np.mean([prompts.fused for r in results if (prompts := r.conditions[condition].prompts)])
            for results in by_setting.values()
            for condition in ("clean", "all_views_degraded")
        ]
        probe = 100 * np.mean([result.probes[0].accuracy for result in by_setting["class_6"]])
        person = 100 * np.mean([result.same_person_nearest for result in by_setting["class_6"]])
        cells = [*scores, probe, person, np.mean(scores)]
        lines.append(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for faces, stores and runs")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--set", action="append", default=[], help="what earlier stages have chosen")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="Markdown tables")
    arguments = parser.parse_args()
    make_people(arguments.folder, arguments.jobs)
    tables = [stage_table(stage, arguments.folder, tuple(arguments.set), arguments.jobs) for stage in arguments.stages]
    write_atomically(arguments.out, "\n".join(tables))
    print("\n".join(tables))


if __name__ == "__main__":
    main()
