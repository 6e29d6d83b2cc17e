"""`smilevlm reproduce`."""

from __future__ import annotations

import argparse
from pathlib import Path

from smilevlm.cli.arguments import add_accelerator, add_jobs, add_overrides, integer_list

HELP = "every table and figure of the paper, run or resumed, then reported"
DESCRIPTION = (
    "Run what a table or figure of the paper needs, or what is missing of it, and write one report. Profile tiny makes "
    "synthetic faces for every data set that is not given and runs on two cores; profile paper needs prepared sets at "
    "224 px, CLIP and GPUs. Run again after an interruption to go on."
)
EXAMPLE = "smilevlm reproduce all --profile tiny --out study"
_TARGETS = ("table2", "table3", "table4", "table5", "fig2", "fig3", "all")
_LISTED = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("target", choices=_TARGETS, help="which table or figure")
    add("--profile", choices=("tiny", "paper"), default="tiny", help="how much is run")
    add("--out", type=Path, default=Path("study"), help="folder to write; an earlier study goes on")
    add(
        "--store",
        action="append",
        default=[],
        metavar="NAME=STORE",
        help="a prepared set: bu3dfe, bu4dfe, bosphorus, bp4d or 4dme; may be given several times",
    )
    given_help = "make no synthetic faces; what their sets are needed for is left out"
    add("--only-given", action="store_true", help=given_help)
    add("--clip", metavar="FOLDER|HUB-ID", help="CLIP for the raw zero-shot baseline")
    add("--seeds", type=integer_list, help="such as 0,1,2 (default: tiny 0,1,2; paper 0)")
    add_accelerator(parser)
    add_overrides(parser, "change a setting of every recipe")
    add_jobs(parser, "trainings, faces or scans")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.recipes import targets_of
    from smilevlm.reporting import write_study_report
    from smilevlm.reproduction import StudyRequest, run_study
    from smilevlm.training import HardwareConfig

    request = StudyRequest(
        targets=targets_of(arguments.target),
        profile=arguments.profile,
        out=arguments.out,
        stores=_stores(arguments.store),
        only_given=arguments.only_given,
        clip=arguments.clip,
        seeds=arguments.seeds,
        overrides=tuple(arguments.set),
    )
    hardware = HardwareConfig(accelerator=arguments.accelerator)
    study, missing = run_study(request, jobs=arguments.jobs, hardware=hardware, progress_bar=progress_bar)
    page = write_study_report(study, arguments.out / "report")
    for line in missing[:_LISTED]:
        print(f"missing: {line}")
    if len(missing) > _LISTED:
        print(f"... and {len(missing) - _LISTED} more; the report names all of them")
    print(page)


def _stores(options: list[str]) -> dict[str, Path]:
    from smilevlm.errors import SettingsError

    stores = {}
    for option in options:
        name, separator, folder = option.partition("=")
        if not separator or not folder:
            raise SettingsError(f"--store {option!r}: expected NAME=STORE, such as bu3dfe=stores/bu3dfe")
        stores[name] = Path(folder)
    return stores
