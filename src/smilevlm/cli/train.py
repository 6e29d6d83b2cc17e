"""`smilevlm train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from smilevlm.cli.arguments import positive_int

HELP = "train a recipe's folds"
DESCRIPTION = "Train the folds of a recipe on prepared views. Folds that are complete stay when a run is resumed."
EXAMPLE = "smilevlm train demo --store store --out run --fold 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="name of the experiment, such as demo")
    parser.add_argument("--store", type=Path, required=True, help="folder that `smilevlm prepare` wrote")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--fold", type=int, action="append", help="only this fold; may be given several times")
    parser.add_argument("--jobs", type=positive_int, default=1, help="folds trained at the same time")
    parser.add_argument("--resume", action="store_true", help="go on with a run folder that is there")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="change a setting of the recipe, such as optimiser.epochs=5; may be given several times",
    )


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import training
    from smilevlm.recipes import find_recipe
    from smilevlm.store import read_manifest
    from smilevlm.training.resolve import with_overrides
    from smilevlm.training.run import train_run

    config = with_overrides(find_recipe(arguments.recipe), arguments.set)
    read_manifest(arguments.store)
    with training() as progress:
        trained = train_run(
            config,
            arguments.store,
            arguments.out,
            folds=arguments.fold,
            jobs=arguments.jobs,
            resume=arguments.resume,
            progress=progress,
        )
    print(f"{arguments.out}: trained now: {', '.join(job.name for job in trained) or 'nothing, all was complete'}")
