"""`smilevlm evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "score a run on people it never saw"
DESCRIPTION = "Score every trained fold of a run zero-shot on its test subjects and write RUN/results.json."
EXAMPLE = "smilevlm evaluate run --store store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder that `smilevlm train` wrote")
    parser.add_argument("--store", type=Path, required=True, help="prepared set that the run was trained on")
    parser.add_argument(
        "--accelerator", choices=("auto", "cpu", "gpu"), default="auto", help="auto takes a GPU where there is one"
    )
    parser.add_argument(
        "--test-store", type=Path, help="prepared set to test on, where the protocol tests on another data set"
    )


def run(arguments: argparse.Namespace) -> None:
    from rich.table import Table

    from smilevlm.cli.progress import table_console
    from smilevlm.evaluation.run import evaluate_run
    from smilevlm.results import ExperimentResult, Spread
    from smilevlm.training.distributed import HardwareConfig
    from smilevlm.training.run_folder import RESULTS_NAME

    hardware = HardwareConfig(accelerator=arguments.accelerator)
    result: ExperimentResult = evaluate_run(
        arguments.run_folder, arguments.store, test_store=arguments.test_store, hardware=hardware
    )
    faces = "synthetic" if result.synthetic else "real"
    table = Table(title=f"{result.protocol}, {result.summary.num_folds_run} folds, {result.pairing_name}")
    for name in ("zero-shot accuracy on unseen people", "faces", "mean over folds", "std"):
        table.add_column(name, justify="left" if name[0] in "zf" else "right")

    def row(name: str, spread: Spread) -> None:
        std = "-" if spread.std is None else f"{spread.std:.1%}"
        table.add_row(name, faces, f"{spread.mean:.1%}", std)

    row("fused views", result.summary.accuracy)
    for angle, accuracy in result.summary.single_view_accuracy.items():
        row(f"view {angle:+g} deg alone", accuracy)
    row("mean of the views", result.summary.mean_fusion_accuracy)
    for name in result.folds[0].readouts:
        found = [fold.readouts[name] for fold in result.folds]
        fitted = " (fitted on labels)" if found[0].supervision == "labels" else ""
        mean = sum(each.accuracy for each in found) / len(found)
        table.add_row(f"{name.replace('_', ' ')}{fitted}", faces, f"{mean:.1%}", "-")
    for control in result.controls:
        row(f"control: {control.name}, {control.summary.num_folds_run} fold(s)", control.summary.accuracy)
    table.add_row("chance", faces, f"{1 / len(result.classes):.1%}", "-")
    table_console().print(table)
    print(arguments.run_folder / RESULTS_NAME)
