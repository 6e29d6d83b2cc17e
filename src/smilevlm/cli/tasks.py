"""`smilevlm tasks`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import positive_int

if TYPE_CHECKING:
    from rich.table import Table

    from smilevlm.results import TasksResult

HELP = "use a run's model to verify, identify and tell faces from pictures"
DESCRIPTION = (
    "Compare the test subjects of a run's first trained fold with each other (verification, identification, across "
    "views), tell their scans from printed and replayed pictures of them, and write RUN/tasks.json."
)
EXAMPLE = "smilevlm tasks run --store store --faces faces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder that `smilevlm train` wrote")
    parser.add_argument("--store", type=Path, required=True, help="folder that `smilevlm prepare` wrote")
    parser.add_argument("--faces", type=Path, help="scans that the store was prepared from; needed for anti-spoofing")
    parser.add_argument("--fold", type=int, help="a trained fold, from 0; the first one if not given")
    parser.add_argument(
        "--spoof-subjects", type=positive_int, default=20, help="training subjects whose scans are attacked"
    )


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import counting, table_console
    from smilevlm.evaluation.tasks import run_tasks
    from smilevlm.training.names import TASKS_NAME

    with counting("tasks") as progress:
        result = run_tasks(
            arguments.run_folder,
            arguments.store,
            fold=arguments.fold,
            faces=arguments.faces,
            num_spoof_subjects=arguments.spoof_subjects,
            progress=progress,
        )
    console = table_console()
    for table in (_verification(result), _identification(result), _attacks(result)):
        if table.row_count:
            console.print(table)
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False)
    print(arguments.run_folder / TASKS_NAME)


def _table(result: TasksResult, title: str, texts: int, *columns: str) -> Table:
    from rich.table import Table

    faces = "synthetic faces" if result.synthetic else result.layout
    table = Table(title=f"{title}: fold {result.fold} of {result.recipe}, {faces}")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < texts else "right")
    return table


def _verification(result: TasksResult) -> Table:
    table = _table(
        result, "verification", 2, "pairs", "features", "genuine", "impostor", "EER", "95 %", "TAR at 1 % FAR"
    )
    for row in result.verification:
        interval = row.equal_error_rate_interval
        accepted = [r.true_accept_rate for r in row.true_accept_rates if r.false_accept_rate == 0.01]
        table.add_row(
            row.name,
            row.features,
            str(row.num_genuine),
            str(row.num_impostor),
            f"{row.equal_error_rate:.1%}",
            "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}",
            "too few" if not accepted or accepted[0] is None else f"{accepted[0]:.1%}",
        )
    return table


def _identification(result: TasksResult) -> Table:
    table = _table(result, "identification", 2, "probes", "features", "gallery", "probes", "rank 1", "95 %", "chance")
    for row in result.identification:
        interval = row.rank1_interval
        table.add_row(
            row.name,
            row.features,
            str(row.num_gallery),
            str(row.num_probes),
            f"{row.rank_rates[0]:.1%}",
            "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}",
            f"{1 / row.num_gallery:.1%}",
        )
    return table


def _attacks(result: TasksResult) -> Table:
    table = _table(
        result, "anti-spoofing", 3, "attack", "views", "classifier", "refused before", "APCER", "BPCER", "ACER", "EER"
    )
    for part in result.anti_spoofing:
        for attack in part.attacks:
            refused, shown = part.refused.get(attack.name, (0, 0))
            table.add_row(
                attack.name.replace("_", " "),
                part.views,
                "knows the kind" if attack.known else "never saw the kind",
                f"{refused} of {shown}",
                *(f"{rate:.1%}" for rate in (attack.apcer, attack.bpcer, attack.acer, attack.equal_error_rate)),
            )
    return table
