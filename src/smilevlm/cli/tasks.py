"""`smilevlm tasks`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smilevlm.cli.arguments import add_run_folder, add_store, positive_int

if TYPE_CHECKING:
    from smilevlm.results import TasksResult

HELP = "use a run's model to verify, identify and tell faces from pictures"
DESCRIPTION = (
    "Compare the test subjects of a run's first trained fold with each other (verification, identification, across "
    "views), tell their scans from printed and replayed pictures of them, and write RUN/tasks.json."
)
EXAMPLE = "smilevlm tasks run --store store --faces faces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_run_folder(parser)
    add_store(parser)
    add("--faces", type=Path, help="scans that the store was prepared from; needed for anti-spoofing")
    add("--fold", type=int, help="a trained fold, from 0; the first one if not given")
    add("--spoof-subjects", type=positive_int, default=20, help="training subjects whose scans are attacked")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.cli.tables import print_note
    from smilevlm.evaluation import run_tasks
    from smilevlm.training import TASKS_NAME

    with progress_bar("tasks") as progress:
        result = run_tasks(
            arguments.run_folder,
            arguments.store,
            fold=arguments.fold,
            faces=arguments.faces,
            num_spoof_subjects=arguments.spoof_subjects,
            progress=progress,
        )
    _print_tables(result)
    for note in result.notes:
        print_note(f"Note: {note}")
    print(arguments.run_folder / TASKS_NAME)


def _print_tables(result: TasksResult) -> None:
    """A table per task that has results."""
    from smilevlm.cli.tables import print_table

    faces = "synthetic faces" if result.synthetic else result.layout
    tables: dict[str, tuple[list[str], list[str], list[tuple[Any, ...]]]] = {
        "verification": (
            ["pairs", "features"],
            ["genuine", "impostor", "EER", "95 %", "TAR at 1 % FAR"],
            _verification_rows(result),
        ),
        "identification": (
            ["probes", "features"],
            ["gallery", "probes", "rank 1", "95 %", "chance"],
            _identification_rows(result),
        ),
        "anti-spoofing": (
            ["attack", "views", "classifier"],
            ["refused before", "APCER", "BPCER", "ACER", "EER"],
            _attack_rows(result),
        ),
    }
    for name, (text_columns, number_columns, rows) in tables.items():
        if rows:
            title = f"{name}: fold {result.fold} of {result.recipe}, {faces}"
            print_table(text_columns, number_columns, rows, title=title)


def _verification_rows(result: TasksResult) -> list[tuple[Any, ...]]:
    rows = []
    for row in result.verification:
        accepted = [r.true_accept_rate for r in row.true_accept_rates if r.false_accept_rate == 0.01]
        rate = "too few" if not accepted or accepted[0] is None else f"{accepted[0]:.1%}"
        error = f"{row.equal_error_rate:.1%}"
        interval = _interval(row.equal_error_rate_interval)
        rows.append((row.name, row.features, row.num_genuine, row.num_impostor, error, interval, rate))
    return rows


def _identification_rows(result: TasksResult) -> list[tuple[Any, ...]]:
    rows = []
    for row in result.identification:
        first, chance = f"{row.rank_rates[0]:.1%}", f"{1 / row.num_gallery:.1%}"
        interval = _interval(row.rank1_interval)
        rows.append((row.name, row.features, row.num_gallery, row.num_probes, first, interval, chance))
    return rows


def _attack_rows(result: TasksResult) -> list[tuple[Any, ...]]:
    rows = []
    for part in result.anti_spoofing:
        for attack in part.attacks:
            refused, shown = part.refused.get(attack.name, (0, 0))
            rates = (attack.apcer, attack.bpcer, attack.acer, attack.equal_error_rate)
            classifier = "knows the kind" if attack.known else "never saw the kind"
            name = attack.name.replace("_", " ")
            rows.append((name, part.views, classifier, f"{refused} of {shown}", *(f"{rate:.1%}" for rate in rates)))
    return rows


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
