"""`smilevlm synthesize`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smilevlm.cli.arguments import add_jobs, integer_list, positive_int

if TYPE_CHECKING:
    from smilevlm.synthesis import VariedSettings

HELP = "write synthetic faces in a data set's layout"
DESCRIPTION = (
    "Write synthetic 3D and 4D faces to disk in the layout of a licensed data set, or very varied ones as a folder of "
    "meshes. Same seed, same bytes."
)
EXAMPLE = "smilevlm synthesize bu4dfe faces --subjects 10 --frames 60 --seed 1"


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """What one layout's writer takes.

    Args:
        subjects: Default number of people.
        options: Setting by option, `scanner.` before those of the scanner.
    """

    subjects: int
    options: Mapping[str, str]


_VERTICES = "scanner.num_vertices"
_BU3DFE = {"vertices": _VERTICES, "texture_size": "texture_size", "levels": "levels", "with_raw": "complete"}
_BU4DFE = {
    "vertices": _VERTICES, "texture_size": "texture_width", "frames": "num_frames", "landmarks": "landmarks",
    "regular": "acting",
}  # fmt: skip
_BOSPHORUS = {
    "vertices": "scanner.pitch_mm", "texture_size": "scanner.texture_width", "with_others": "complete",
}  # fmt: skip
_BP4D = {"vertices": _VERTICES, "texture_size": "texture_width", "frames": "num_frames"}
_4DME = {"vertices": _VERTICES, "texture_size": "texture_width", "clips": "clips_per_subject"}
_VARIED = {
    "frames": "frames", "filmed": "filmed_share", "unlike": "strength", "scans": "scans",
    "action_scans": "action_scans", "wide": "wide_share", "incidental": "incidental_share",
    "whole_faces": "whole_face_share", "rig": "rigs", "shares": "rig_shares",
}  # fmt: skip
LAYOUTS: dict[str, _Layout] = {
    "bu3dfe": _Layout(subjects=100, options=_BU3DFE),
    "bu4dfe": _Layout(subjects=10, options=_BU4DFE),
    "bosphorus": _Layout(subjects=105, options=_BOSPHORUS),
    "bp4d": _Layout(subjects=10, options=_BP4D),
    "4dme": _Layout(subjects=10, options=_4DME | {"class_shares": "classes", "amplitude": "amplitude"}),
    "folder": _Layout(subjects=100, options=_VARIED),
}
_FLAGS = {
    "class_shares": "--class-shares", "amplitude": "--amplitude", "regular": "--regular",
    "vertices": "--vertices", "texture_size": "--texture-size", "frames": "--frames", "clips": "--clips",
    "levels": "--levels", "with_raw": "--only-cropped", "with_others": "--only-expressions",
    "landmarks": "--no-landmarks", "filmed": "--filmed", "unlike": "--unlike", "rig": "--rig", "shares": "--shares",
    "scans": "--scans", "action_scans": "--action-scans", "wide": "--wide", "incidental": "--incidental",
    "whole_faces": "--whole-faces",
}  # fmt: skip
"""Options that not every layout has, or not in the same way, as they are typed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    people = ", ".join(f"{name} {layout.subjects}" for name, layout in LAYOUTS.items())
    add("layout", choices=list(LAYOUTS), help="whose folders, names and formats to write")
    add("out", type=Path, help="folder to write; an interrupted run goes on there")
    add("--subjects", type=positive_int, help=f"people (default: {people})")
    add("--seed", type=int, default=0, help="decides everything")
    add(
        "--population",
        choices=("default", "shifted"),
        default="default",
        help="shifted: other people before a worse scanner, to test what a model of the default ones is worth there",
    )
    add("--vertices", type=positive_int, help="vertices per scan, about (default: 8000; bosphorus 20000)")
    add("--texture-size", type=positive_int, help="width of the pictures in pixels (default: 240 to 512)")
    frames_help = "bu4dfe, bp4d, folder: frames per sequence, about (default: 100; folder 12)"
    add("--frames", type=positive_int, help=frames_help)
    add("--clips", type=positive_int, help="4dme: micro-expressions per person (default: 4)")
    shares_help = "4dme: as many clips of each class, or 4DME's own shares (default: balanced)"
    add("--class-shares", choices=("balanced", "as_4dme"), help=shares_help)
    regular_help = "bu4dfe: clear and regular acting before a steady scanner, which is easy to recognise"
    add("--regular", action="store_true", default=None, help=regular_help)
    amplitude_help = "4dme: factor on the micro-expressions' movement, up to 4 (default: 1)"
    add("--amplitude", type=float, metavar="FACTOR", help=amplitude_help)
    add("--levels", type=integer_list, help="bu3dfe: intensities, such as 3,4 (default: 1,2,3,4)")
    for option, what in (
        ("with_raw", "bu3dfe: leave out the RAW scans, pose files and 2D photographs"),
        ("with_others", "bosphorus: leave out single facial actions, poses and occlusions"),
        ("landmarks", "bu4dfe: leave out the landmark files, which are distributed separately"),
    ):
        add(_FLAGS[option], dest=option, action="store_false", default=None, help=what)
    filmed_help = "folder: share of the people who are filmed as well (default: 0.15)"
    add("--filmed", type=float, metavar="SHARE", help=filmed_help)
    unlike_help = "folder: how unlike each other the people's face models are (default: 0)"
    add("--unlike", type=float, metavar="FACTOR", help=unlike_help)
    scans_help = "folder: scans of each person and expression, three times as many at rest (default: 1)"
    add("--scans", type=int, help=scans_help)
    actions_help = "folder: scans of each person that show random facial actions and no expression (default: 5)"
    add("--action-scans", type=int, help=actions_help)
    wide_help = "folder: share of the expressions shown in other than the posed ways (default: 0.2)"
    add("--wide", type=float, metavar="SHARE", help=wide_help)
    incidental_help = "folder: share of the faces that speak, look aside, shut their eyes, ... besides (default: 0.25)"
    add("--incidental", type=float, metavar="SHARE", help=incidental_help)
    whole_help = "folder: share of GNM's expressions that are whole faces of its authors, not actions (default: 0.3)"
    add("--whole-faces", type=float, metavar="SHARE", help=whole_help)
    rig_help = "folder: head model, as often as wanted: anny, ict=PATH, gnm=PATH, or a rig file of your own"
    add("--rig", action="append", metavar="RIG", help=f"{rig_help}; see docs/rigs.md (default: anny)")
    add("--shares", type=float, nargs="+", metavar="SHARE", help="folder: share of the people per --rig; sum to one")
    store_help = "folder: OUT becomes a prepared store, with the views of RECIPE (bundled, ...) and without mesh files"
    add("--as-store", metavar="RECIPE", help=store_help)
    add_jobs(parser, "people or sequences")


def find_writer(layout: str) -> tuple[Callable[..., Any], Callable[..., int]]:
    """A layout's settings class and the function that writes it; imported here, since they load the head model."""
    from smilevlm.synthesis import bosphorus, bp4d, bu3dfe, bu4dfe, fourdme, varied

    writers: dict[str, tuple[Callable[..., Any], Callable[..., int]]] = {
        "bu3dfe": (bu3dfe.Bu3dfeSettings, bu3dfe.synthesize_bu3dfe),
        "bu4dfe": (bu4dfe.Bu4dfeSettings, bu4dfe.synthesize_bu4dfe),
        "bosphorus": (bosphorus.BosphorusSettings, bosphorus.synthesize_bosphorus),
        "bp4d": (bp4d.Bp4dSettings, bp4d.synthesize_bp4d),
        "4dme": (fourdme.FourdmeSettings, fourdme.synthesize_4dme),
        "folder": (varied.VariedSettings, varied.synthesize_varied),
    }
    return writers[layout]


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.errors import SettingsError

    layout = LAYOUTS[arguments.layout]
    chosen = _chosen(arguments, layout)
    make_settings, synthesize = find_writer(arguments.layout)
    plain = {name: value for name, value in chosen.items() if not name.startswith("scanner.")}
    settings = make_settings(num_subjects=arguments.subjects or layout.subjects, seed=arguments.seed, **plain)
    of_scanner = {name.removeprefix("scanner."): value for name, value in chosen.items() if name not in plain}
    if arguments.population == "shifted":
        if arguments.layout == "folder":
            raise SettingsError("folder mixes populations of its own; --unlike says how far they lie apart")
        from smilevlm.synthesis import SHIFTED, worse_scanner

        settings = replace(settings, population=SHIFTED, scanner=worse_scanner(settings.scanner))
    if of_scanner:
        settings = replace(settings, scanner=replace(settings.scanner, **of_scanner))
    if arguments.as_store is not None:
        if arguments.layout != "folder":
            raise SettingsError(f"--as-store is for folder; write {arguments.layout}, then run `smilevlm prepare`")
        _write_store(arguments, settings)
        return
    with progress_bar("synthetic faces") as progress:
        num_new = synthesize(arguments.out, settings, jobs=arguments.jobs, progress=progress)
    parts = "subjects" if arguments.layout in ("bu3dfe", "bosphorus", "folder") else "sequences"
    print(f"{arguments.out}: {settings.num_subjects} synthetic subjects; {num_new} {parts} written now")


def _write_store(arguments: argparse.Namespace, settings: VariedSettings) -> None:
    from smilevlm.cli.prepare import print_summary
    from smilevlm.cli.progress import progress_bar
    from smilevlm.datasets.synthetic_store import synthesize_store
    from smilevlm.recipes import find_recipe
    from smilevlm.store import PreparedSet
    from smilevlm.store.overview import write_overview

    views = find_recipe(arguments.as_store).prepare
    with progress_bar("synthetic people prepared") as progress:
        synthesize_store(arguments.out, settings, views, jobs=arguments.jobs, progress=progress)
    prepared = PreparedSet(arguments.out)
    print_summary(prepared)
    print(write_overview(prepared))


def _chosen(arguments: argparse.Namespace, layout: _Layout) -> dict[str, Any]:
    """The given settings that not every layout has, by the layout's own names.

    Raises:
        SettingsError: An option is given that the layout does not have.
    """
    from smilevlm.errors import SettingsError

    given = {option: getattr(arguments, option) for option in _FLAGS if getattr(arguments, option) is not None}
    foreign = [_FLAGS[option] for option in given if option not in layout.options]
    if foreign:
        raise SettingsError(f"{arguments.layout} has no option {', '.join(foreign)}")
    given |= {name: tuple(given[name]) for name in ("rig", "shares") if name in given}
    chosen = {layout.options[option]: value for option, value in given.items()}
    if "acting" in chosen:
        from smilevlm.synthesis.posed import REGULAR

        chosen |= {"acting": REGULAR, "scanner.flicker": 0.0}
    if "scanner.pitch_mm" in chosen:
        from smilevlm.synthesis import range_image_pitch

        chosen["scanner.pitch_mm"] = range_image_pitch(chosen["scanner.pitch_mm"])
    return chosen
