"""`smilevlm prepare`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_data_set, add_jobs, add_numbered_as, number_list, positive_int
from smilevlm.errors import SettingsError

if TYPE_CHECKING:
    from smilevlm.datasets import DataIndex
    from smilevlm.store import PreparedSet, PrepareSettings, Recording

HELP = "turn a data set's scans into views, its sequences into dynamic images"
DESCRIPTION = (
    "Read every scan of a data set, bring it to the face frame, render its views and store them; a sequence becomes "
    "one rank-pooled dynamic image per view. Scans that cannot be read are skipped and listed. Run again after an "
    "interruption to go on. Several machines: start a dask scheduler and workers, and give --scheduler."
)
EXAMPLE = "smilevlm prepare bu4dfe /data/BU-4DFE store --size 224 --jobs 16"
_LISTED = 20
_VIEW_OPTIONS = {
    "size": 64, "angles": (-30.0, 0.0, 30.0), "kind": "geometry", "pooling": "approximate", "span": "sequence",
    "apex": "labels", "frames": 32, "window": 50, "stride": 25,
}  # fmt: skip
"""What decides how views look, where it is not given; a recipe decides all of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_data_set(parser)
    add("store", type=Path, help="folder to write")
    add("--protocol", help="prepare only what this protocol uses, such as bu3dfe_subset1")
    add_numbered_as(parser, prefix="layout folder: ")
    add("--retry-skipped", action="store_true", help="try again what an earlier run skipped")
    recipe_help = "make the views as this recipe needs them, such as bundled; excludes the options below"
    add("--recipe", help=recipe_help)

    views = parser.add_argument_group("views")
    views.add_argument("--size", type=positive_int, help="image side in pixels; the tiny recipes use 64")
    views.add_argument("--angles", type=number_list, help="view angles in degrees")
    kinds = ["geometry", "depth", "normals", "texture"]
    views.add_argument("--kind", choices=kinds, help="what the views show")
    dynamics = parser.add_argument_group("dynamic images of sequences")
    dynamics.add_argument("--pooling", choices=["approximate", "exact"], help="rank pooling")
    spans = ["sequence", "windows", "onset_apex", "apex_offset", "both_phases", "toward_apex"]
    span_help = "what one dynamic image covers; the last four need onset, apex and offset: see --apex"
    dynamics.add_argument("--span", choices=spans, help=span_help)
    apex_help = "where they come from: the data set (4DME), or found in the frames, which should hold one movement each"
    dynamics.add_argument("--apex", choices=["labels", "automatic"], help=apex_help)
    frames_help = "frames taken per dynamic image, uniformly in time; 0 for all"
    dynamics.add_argument("--frames", type=int, help=frames_help)
    dynamics.add_argument("--window", type=positive_int, help="window length in frames (--span windows)")
    dynamics.add_argument("--stride", type=positive_int, help="step between windows in frames")
    parser.set_defaults(**_VIEW_OPTIONS)
    add("--scheduler", metavar="ADDRESS", help="dask scheduler whose workers are used: tcp://host:8786")
    add_jobs(parser, "parts (people, or sequences)")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.datasets import index_data_set
    from smilevlm.store import PreparedSet, prepare
    from smilevlm.store.overview import write_overview

    settings = _settings(arguments) if arguments.recipe is None else _settings_of_recipe(arguments)
    _check_store_outside(arguments.root, arguments.store)
    index = index_data_set(arguments.layout, arguments.root, numbered_as=arguments.numbered_as)
    recordings = _chosen(index, arguments.protocol)
    for remark in index.remarks:
        print(f"remark: {remark}", file=sys.stderr)
    if index.problems:
        print(
            f"{len(index.problems)} problems in this copy, such as {index.problems[0].path}: "
            f"{index.problems[0].reason}; see `smilevlm check {arguments.layout} {arguments.root}`",
            file=sys.stderr,
        )
    with progress_bar("scans and sequences prepared") as progress:
        prepare(
            recordings,
            arguments.store,
            settings,
            layout=index.layout,
            synthetic=index.synthetic,
            jobs=arguments.jobs,
            scheduler=arguments.scheduler,
            retry_skipped=arguments.retry_skipped,
            progress=progress,
        )
    prepared = PreparedSet(arguments.store)
    print_summary(prepared)
    print(write_overview(prepared))


def _check_store_outside(root: Path, store: Path) -> None:
    """A licensed copy stays as it was bought, and no later run may take the store for a person of it."""
    if store.resolve().is_relative_to(root.resolve()):
        raise SettingsError(f"the store {store} lies in the data set {root}; choose a folder outside of it")


def _chosen(index: DataIndex, protocol: str | None) -> tuple[Recording, ...]:
    if protocol is None:
        return index.recordings
    from smilevlm.datasets import find_protocol
    from smilevlm.store import sample_of

    wanted = find_protocol(protocol)
    if wanted.layout != index.layout:
        raise SettingsError(f"protocol {protocol} is one of {wanted.layout}, the data set is {index.layout}")
    chosen = wanted.select([sample_of(recording) for recording in index.recordings])
    return tuple(index.recordings[i] for i in chosen)


def _settings_of_recipe(arguments: argparse.Namespace) -> PrepareSettings:
    """The settings that a recipe's store must have."""
    from smilevlm.recipes import find_recipe

    changed = [f"--{name}" for name, default in _VIEW_OPTIONS.items() if getattr(arguments, name) != default]
    if changed:
        raise SettingsError(f"--recipe decides how the views are made; leave out {', '.join(changed)}")
    return find_recipe(arguments.recipe).prepare


def _settings(arguments: argparse.Namespace) -> PrepareSettings:
    from smilevlm.dynamics import DynamicSettings
    from smilevlm.geometry import NormaliseSettings
    from smilevlm.store import PrepareSettings
    from smilevlm.views import ViewSettings

    return PrepareSettings(
        views=ViewSettings(angles_deg=arguments.angles, size=arguments.size, kind=arguments.kind),
        normalise=NormaliseSettings(),
        dynamics=DynamicSettings(
            pooling=arguments.pooling,
            span=arguments.span,
            apex=arguments.apex,
            num_frames=arguments.frames or None,
            window=arguments.window,
            stride=arguments.stride,
        ),
    )


def print_summary(prepared: PreparedSet) -> None:
    """The store's classes and counts, and what was skipped, as `prepare` ends."""
    from smilevlm.cli.tables import print_table
    from smilevlm.store import remark_kind

    manifest = prepared.manifest
    faces = "synthetic " if manifest.synthetic else ""
    subjects: dict[str, list[str]] = {}
    for sample in prepared.samples:
        subjects.setdefault(sample.expression, []).append(sample.subject)
    rows = [(name, len(of_class), len(set(of_class))) for name, of_class in sorted(subjects.items())]
    title = f"{faces}{manifest.layout}: {len(manifest.subjects)} subjects"
    print_table(["class"], ["samples", "subjects"], rows, title=title, title_justify="left")
    for what, listed in (("skipped", manifest.skipped), ("bad frame", manifest.bad_frames)):
        for bad in listed[:_LISTED]:
            # A reason with a line or byte begins with the file.
            where = "" if bad.reason.startswith(bad.path) else f"{bad.path}: "
            print(f"{what} {bad.sample_id}: {where}{bad.reason}")
        if len(listed) > _LISTED:
            print(f"... and {len(listed) - _LISTED} more; all are in {prepared.path / 'manifest.json'}")
    kinds = Counter(remark_kind(remark.text) for remark in manifest.remarks)
    for kind, number in sorted(kinds.items()):
        print(f"remark: {kind}: {number} {'scan or sequence' if number == 1 else 'scans or sequences'}")
    print(
        f"{manifest.num_samples} {faces}samples of {len(manifest.subjects)} subjects prepared, "
        f"{len(manifest.skipped)} scans or sequences skipped, {len(manifest.bad_frames)} bad frames replaced"
    )
