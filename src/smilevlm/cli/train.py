"""`smilevlm train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_accelerator, add_overrides, add_store, not_negative, positive_int

if TYPE_CHECKING:
    from smilevlm.training import ExperimentConfig, HardwareConfig

HELP = "train a recipe's folds"
DESCRIPTION = (
    "Train the folds of a recipe on prepared views. Folds that are complete stay when a run is resumed; one that was "
    "interrupted goes on from its last state and ends with the same bits."
)
EXAMPLE = "smilevlm train demo --store store --out run --fold 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("recipe", help="name of the experiment, such as demo; folder for scans of your own")
    add(
        "--method",
        default="full",
        help="the whole recipe, an ablation (without_multi_view, without_alignment, without_redundancy), a baseline "
        "(multi_view_alone, alignment_alone, supervised, untrained, raw_clip) or the control shuffled_prompts",
    )
    add_store(parser)
    add("--out", type=Path, required=True, help="run folder to write")
    add("--fold", type=int, action="append", help="only this fold; may be given several times")
    add("--jobs", type=positive_int, default=1, help="folds trained at the same time, each on a GPU of its own")
    add(
        "--devices",
        type=positive_int,
        default=1,
        help="processes that train each fold together, one per GPU; for several machines start the command by torchrun",
    )
    add_accelerator(parser)
    add("--resume", action="store_true", help="go on with a run folder that is there")
    add(
        "--checkpoint-every",
        type=positive_int,
        default=1,
        metavar="EPOCHS",
        help="epochs between two states that a killed run goes on from, at least",
    )
    add(
        "--checkpoint-minutes",
        type=not_negative,
        default=5.0,
        metavar="MINUTES",
        help="minutes between two such states, at least (default: 5); 0 for one at the end of every epoch",
    )
    add_gpu_options(parser)
    add(
        "--tracker",
        choices=("none", "wandb", "mlflow", "comet"),
        default="none",
        help="send the log there too, beside CSV and TensorBoard in the run folder; its package must be installed",
    )
    add_overrides(parser, "change a setting of the recipe, such as optimiser.epochs=5; may be given several times")


def add_gpu_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--images-on-device",
        choices=("auto", "always", "never"),
        default="auto",
        help="keep all training images on the GPU; auto does where they take at most a quarter of its free memory",
    )
    add(
        "--deterministic",
        choices=("auto", "on", "off"),
        default="auto",
        help="deterministic operations; auto asks a GPU for them and warns where there are none, on makes that an "
        "error, off is faster",
    )
    add(
        "--process-timeout",
        type=not_negative,
        default=120.0,
        metavar="MINUTES",
        help="how long the processes of --devices or torchrun wait for each other (default: 120)",
    )


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.errors import SettingsError
    from smilevlm.recipes import recipe_for_store, with_method
    from smilevlm.store import read_manifest
    from smilevlm.training import HardwareConfig, by_current_names, launch, under_launcher, with_overrides

    overrides = by_current_names(arguments.set)
    # A method may follow from the text tower: raw_clip is that CLIP, whatever its width.
    towers = [item for item in overrides if item.startswith("text_tower=")]
    recipe = with_overrides(recipe_for_store(arguments.recipe, arguments.store, overrides), towers)
    config = with_overrides(with_method(recipe, arguments.method), overrides)
    if with_method(config, arguments.method) != config:
        raise SettingsError(f"--set undoes what --method {arguments.method} stands for")
    read_manifest(arguments.store)
    hardware = HardwareConfig(
        accelerator=arguments.accelerator,
        checkpoint_every=arguments.checkpoint_every,
        checkpoint_minutes=arguments.checkpoint_minutes,
        tracker=arguments.tracker,
        images_on_device=arguments.images_on_device,
        deterministic=arguments.deterministic,
        process_timeout_minutes=arguments.process_timeout,
    )
    if arguments.devices > 1 and arguments.jobs > 1:
        raise SettingsError("--devices and --jobs exclude each other: a fold is trained by all devices, or by one")
    if arguments.devices > 1 and not under_launcher():
        code = launch(arguments.command_line, arguments.devices)
        if code != 0:
            raise SystemExit(code if code > 0 else 1)
        return
    _train(arguments, config, hardware)


def _train(arguments: argparse.Namespace, config: ExperimentConfig, hardware: HardwareConfig) -> None:
    from smilevlm.cli.progress import training_bars
    from smilevlm.training import process_rank, train_run

    with training_bars() as progress:
        trained = train_run(
            config,
            arguments.store,
            arguments.out,
            folds=arguments.fold,
            jobs=arguments.jobs,
            resume=arguments.resume,
            hardware=hardware,
            progress=progress,
        )
    if process_rank() == 0:
        print(f"{arguments.out}: trained now: {', '.join(job.name for job in trained) or 'nothing, all was complete'}")
