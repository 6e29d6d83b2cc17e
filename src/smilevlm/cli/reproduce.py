"""`smilevlm reproduce`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_accelerator, add_jobs, add_overrides, integer_list

if TYPE_CHECKING:
    from smilevlm.training import HardwareConfig

HELP = "every table and figure of the paper, and what each loss is worth: run or resumed, then reported"
DESCRIPTION = (
    "Run what a table or figure of the paper needs, or what is missing of it, and write one report. Profile tiny makes "
    "synthetic faces for every data set that is not given and runs on two cores; profile paper needs prepared sets at "
    "224 px, CLIP and GPUs. `losses` is a study of its own: what each loss is worth with all and with few labels, on "
    "damaged scans and another head model, with class prompts and with captions (--profile tiny: about 230 trainings, "
    "two hours on two cores). Run again after an interruption to go on."
)
EXAMPLE = "smilevlm reproduce all --profile tiny --out study"
_TARGETS = ("table2", "table3", "table4", "table5", "fig2", "fig3", "all", "losses")
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
    seeds_help = "such as 0,1,2 (default: tiny 0,1,2; paper 0); of losses its units (default: 0 to 9)"
    add("--seeds", type=integer_list, help=seeds_help)
    settings_help = "losses: some of its settings, such as class_all,class_6 (default: all)"
    add("--settings", type=lambda text: tuple(text.split(",")), help=settings_help)
    rig_help = "losses: head model to test on besides (default: other face families of the built-in one)"
    add("--rig", metavar="NAME=FILE", help=rig_help)
    add("--other-store", type=Path, metavar="STORE", help="losses with --store: prepared set to test on besides")
    add_accelerator(parser)
    add_overrides(parser, "change a setting of every recipe")
    add_jobs(parser, "trainings, faces or scans")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.training import HardwareConfig

    hardware = HardwareConfig(accelerator=arguments.accelerator)
    if arguments.target == "losses":
        page, missing = _run_losses(arguments, hardware)
    else:
        page, missing = _run_paper(arguments, hardware)
    for line in missing[:_LISTED]:
        print(f"missing: {line}")
    if len(missing) > _LISTED:
        print(f"... and {len(missing) - _LISTED} more; the report names all of them")
    print(page)


def _run_paper(arguments: argparse.Namespace, hardware: HardwareConfig) -> tuple[Path, list[str]]:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.errors import SettingsError
    from smilevlm.recipes import targets_of
    from smilevlm.reporting import write_study_report
    from smilevlm.reproduction import StudyRequest, run_study

    if not (arguments.rig is arguments.other_store is arguments.settings is None):
        raise SettingsError("--rig, --other-store and --settings are for the target losses")
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
    study, missing = run_study(request, jobs=arguments.jobs, hardware=hardware, progress_bar=progress_bar)
    return write_study_report(study, arguments.out / "report"), missing


def _run_losses(arguments: argparse.Namespace, hardware: HardwareConfig) -> tuple[Path, list[str]]:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.errors import SettingsError
    from smilevlm.reporting import write_loss_report
    from smilevlm.reproduction import LossStudyRequest, run_loss_study

    stores = _stores(arguments.store)
    if len(stores) > 1:
        raise SettingsError("losses takes one prepared set; its folds are the units")
    request = LossStudyRequest(
        profile=arguments.profile,
        out=arguments.out,
        store=next(iter(stores.values()), None),
        other_store=arguments.other_store,
        other_rig=arguments.rig,
        units=arguments.seeds,
        overrides=tuple(arguments.set),
        **({} if arguments.settings is None else {"settings": arguments.settings}),
    )
    study, missing = run_loss_study(request, jobs=arguments.jobs, hardware=hardware, progress_bar=progress_bar)
    return write_loss_report(study, arguments.out / "loss_report"), missing


def _stores(options: list[str]) -> dict[str, Path]:
    from smilevlm.errors import SettingsError

    stores = {}
    for option in options:
        name, separator, folder = option.partition("=")
        if not separator or not folder:
            raise SettingsError(f"--store {option!r}: expected NAME=STORE, such as bu3dfe=stores/bu3dfe")
        stores[name] = Path(folder)
    return stores
