"""`smilevlm prepare`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from smilevlm.cli.arguments import add_jobs, number_list, positive_int

HELP = "turn a data set's scans into views"
DESCRIPTION = (
    "Read every scan of a data set, bring it to the face frame, render its views and store them. Scans that cannot be "
    "read are skipped and listed. Run again after an interruption to go on."
)
EXAMPLE = "smilevlm prepare bu3dfe /data/BU-3DFE store --size 224"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layout", choices=["bu3dfe"], help="how the data set is stored")
    parser.add_argument("root", type=Path, help="the data set's folder")
    parser.add_argument("store", type=Path, help="folder to write")
    parser.add_argument("--size", type=positive_int, default=64, help="image side in pixels; the tiny recipes use 64")
    parser.add_argument("--angles", type=number_list, default=(-30.0, 0.0, 30.0), help="view angles in degrees")
    parser.add_argument(
        "--kind", choices=["geometry", "depth", "normals", "texture"], default="geometry", help="what the views show"
    )
    add_jobs(parser, "people")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import counting
    from smilevlm.datasets import find_layout
    from smilevlm.geometry import NormaliseSettings
    from smilevlm.store import PrepareSettings, prepare
    from smilevlm.views import ViewSettings

    settings = PrepareSettings(
        views=ViewSettings(angles_deg=arguments.angles, size=arguments.size, kind=arguments.kind),
        normalise=NormaliseSettings(),
    )
    layout = find_layout(arguments.layout)
    index = layout.index(arguments.root)
    for remark in index.remarks:
        print(f"remark: {remark}", file=sys.stderr)
    with counting("people prepared") as progress:
        outcome = prepare(
            index.records,
            arguments.store,
            settings,
            layout=index.layout,
            synthetic=index.synthetic,
            read_scan=layout.read_textured_scan if arguments.kind == "texture" else layout.read_scan,
            jobs=arguments.jobs,
            progress=progress,
        )
    manifest = outcome.manifest
    kind = "synthetic scans" if manifest.synthetic else "scans"
    print(
        f"{arguments.store}: {manifest.num_samples} {kind} of {len(manifest.subjects)} subjects prepared, "
        f"{len(manifest.skipped)} skipped"
    )
    for scan in manifest.skipped:
        print(f"skipped {scan.path}: {scan.reason}")
