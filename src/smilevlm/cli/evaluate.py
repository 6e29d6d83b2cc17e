"""`smilevlm evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_accelerator, add_run_folder, add_store

if TYPE_CHECKING:
    from smilevlm.results import ExperimentResult, Spread

HELP = "score a run on people it never saw"
DESCRIPTION = "Score every trained fold of a run zero-shot on its test subjects and write RUN/results.json."
EXAMPLE = "smilevlm evaluate run --store store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_folder(parser)
    add_store(parser, "prepared set that the run was trained on")
    add_accelerator(parser)
    test_help = "prepared set to test on, where the protocol tests on another data set"
    parser.add_argument("--test-store", type=Path, help=test_help)


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.evaluation import evaluate_run
    from smilevlm.training import RESULTS_NAME, HardwareConfig

    hardware = HardwareConfig(accelerator=arguments.accelerator)
    result = evaluate_run(arguments.run_folder, arguments.store, test_store=arguments.test_store, hardware=hardware)
    _print_result(result)
    print(arguments.run_folder / RESULTS_NAME)


def _print_result(result: ExperimentResult) -> None:
    from smilevlm.cli.tables import print_table

    faces = "synthetic" if result.synthetic else "real"
    rows: list[tuple[str, str, str, str]] = []

    def add(name: str, spread: Spread) -> None:
        rows.append((name, faces, f"{spread.mean:.1%}", "-" if spread.std is None else f"{spread.std:.1%}"))

    add("fused views", result.summary.accuracy)
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
        ["zero-shot accuracy on unseen people", "faces"],
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
