"""`smilevlm evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_accelerator, add_run_folder, add_store

if TYPE_CHECKING:
    from smilevlm.results import ExperimentResult, Interval, Spread

HELP = "score a run on people it never saw"
DESCRIPTION = (
    "Score every trained fold of a run on its test subjects and write RUN/results.json: with its recipe's prompts, "
    "and zero-shot with wordings of the same classes that it never trained with."
)
EXAMPLE = "smilevlm evaluate run --store store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_folder(parser)
    add_store(parser, "prepared set that the run was trained on")
    add_accelerator(parser)
    test_help = "prepared set to test on, where the protocol tests on another data set"
    parser.add_argument("--test-store", type=Path, help=test_help)
    faces_help = "synthetic 4dme faces that the store was prepared from: scores a classifier of their true movement too"
    parser.add_argument("--faces", type=Path, help=faces_help)
    parser.add_argument(
        "--unseen-prompts",
        default="auto",
        metavar="SET",
        help="prompt set for the score with unseen wordings, by name or file; auto takes a bundled one without a text "
        "that the run trained with, none leaves the score out",
    )


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.evaluation import evaluate_run
    from smilevlm.training import RESULTS_NAME, HardwareConfig

    hardware = HardwareConfig(accelerator=arguments.accelerator)
    result = evaluate_run(
        arguments.run_folder,
        arguments.store,
        test_store=arguments.test_store,
        hardware=hardware,
        unseen_prompts=arguments.unseen_prompts,
        faces=arguments.faces,
    )
    _print_result(result)
    print(arguments.run_folder / RESULTS_NAME)


def _print_result(result: ExperimentResult) -> None:
    from smilevlm.cli.tables import print_note, print_table

    faces = "synthetic" if result.synthetic else "real"
    rows: list[tuple[str, str, str, str]] = []

    def add(name: str, spread: Spread) -> None:
        rows.append((name, faces, f"{spread.mean:.1%}", "-" if spread.std is None else f"{spread.std:.1%}"))

    wordings = "trained wordings" if result.trained_wordings else "wordings not trained"
    add(f"fused views, {wordings}", result.summary.accuracy)
    if result.summary.unseen_wordings_accuracy is not None:
        add(f"fused views, zero-shot: {result.unseen_prompt_set}", result.summary.unseen_wordings_accuracy)
    if result.summary.unseen_classes_accuracy is not None:
        names = ", ".join(result.unseen_classes)
        rows.append(
            (f"zero-shot: classes never trained ({names})", faces, f"{result.summary.unseen_classes_accuracy:.1%}", "-")
        )
    for angle, accuracy in result.summary.single_view_accuracy.items():
        add(f"view {angle:+g} deg alone", accuracy)
    add("mean of the views", result.summary.mean_fusion_accuracy)
    for name in result.folds[0].readouts:
        readouts = [fold.readouts[name] for fold in result.folds]
        fitted = " (fitted on labels)" if readouts[0].supervision == "labels" else ""
        mean = sum(readout.accuracy for readout in readouts) / len(readouts)
        rows.append((f"{name.replace('_', ' ')}{fitted}", faces, f"{mean:.1%}", "-"))
    for control in result.controls:
        add(f"control: {control.name}, {control.summary.num_folds_run} fold(s)", control.summary.accuracy)
    rows.append(("chance", faces, f"{1 / len(result.classes):.1%}", "-"))
    print_table(
        ["accuracy on unseen people", "faces"],
        ["mean over folds", "std"],
        rows,
        title=", ".join(
            part
            for part in (
                result.protocol,
                f"{result.summary.num_folds_run} folds",
                result.pairing_name,
                result.label_budget,
            )
            if part
        ),
    )
    _print_pooled(result, faces)
    if result.unseen_prompt_set is None:
        print_note(
            "No score with unseen wordings: the run knows no words, or no bundled prompt set of these classes is new "
            "to it; --unseen-prompts names another."
        )


def _print_pooled(result: ExperimentResult, faces: str) -> None:
    """UF1 and UAR of all folds' samples together, beside what could be had and what costs nothing."""
    from smilevlm.cli.tables import print_table

    scores = {
        "fused views": result.summary.pooled,
        "oracle: classifier of the true movement": None if result.oracle is None else result.oracle.pooled,
        "most frequent training class": result.summary.pooled_majority,
    }
    rows = [
        (
            name,
            faces,
            f"{score.unweighted_f1:.2f}",
            _interval(score.unweighted_f1_interval),
            f"{score.unweighted_average_recall:.2f}",
            _interval(score.unweighted_average_recall_interval),
        )
        for name, score in scores.items()
        if score is not None
    ]
    people = sum(len(fold.test_subjects) for fold in result.folds)
    print_table(
        ["all folds' samples together", "faces"],
        ["UF1", "95 % over people", "UAR", "95 % over people"],
        rows,
        title=f"pooled over {len(result.folds)} folds, {people} people",
    )


def _interval(interval: Interval | None) -> str:
    return "one person" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
