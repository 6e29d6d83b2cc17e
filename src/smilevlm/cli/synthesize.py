"""`smilevlm synthesize`."""

from __future__ import annotations

import argparse
from pathlib import Path

from smilevlm.cli.arguments import add_jobs, integer_list, positive_int

HELP = "write synthetic faces in a data set's layout"
DESCRIPTION = "Write synthetic 3D faces to disk in the layout of a licensed data set. Same seed, same bytes."
EXAMPLE = "smilevlm synthesize bu3dfe faces --subjects 10 --seed 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layout", choices=["bu3dfe"], help="whose folders, names and formats to write")
    parser.add_argument("out", type=Path, help="folder to write; an interrupted run goes on there")
    parser.add_argument("--subjects", type=positive_int, default=100, help="people")
    parser.add_argument("--seed", type=int, default=0, help="decides everything")
    parser.add_argument("--levels", type=integer_list, default=(1, 2, 3, 4), help="intensities, such as 3,4")
    parser.add_argument("--vertices", type=positive_int, default=8000, help="vertices per scan, about")
    parser.add_argument("--texture-size", type=positive_int, default=512, help="texture side in pixels")
    parser.add_argument(
        "--only-cropped", action="store_true", help="leave out the RAW scans, pose files and 2D photographs"
    )
    add_jobs(parser, "people")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import counting
    from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, synthesize_bu3dfe
    from smilevlm.synthesis.scanner import ScannerSettings

    settings = Bu3dfeSettings(
        num_subjects=arguments.subjects,
        seed=arguments.seed,
        levels=arguments.levels,
        texture_size=arguments.texture_size,
        complete=not arguments.only_cropped,
        scanner=ScannerSettings(num_vertices=arguments.vertices),
    )
    with counting("synthetic people") as progress:
        num_new = synthesize_bu3dfe(arguments.out, settings, jobs=arguments.jobs, progress=progress)
    print(f"{arguments.out}: {arguments.subjects} synthetic subjects, {num_new} of them written now")
