"""`smilevlm synthesize`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smilevlm.cli.arguments import add_jobs, integer_list, positive_int

HELP = "write synthetic faces in a data set's layout"
DESCRIPTION = (
    "Write synthetic 3D and 4D faces to disk in the layout of a licensed data set, or very varied ones as a folder of "
    "meshes. Same seed, same bytes."
)
EXAMPLE = "smilevlm synthesize bu4dfe faces --subjects 10 --frames 60 --seed 1"


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """One layout's writer.

    Args:
        load: Gives its settings class and its function; called when it is needed, since it loads the head model's code.
        subjects: Default number of people.
        options: Setting by option, `scanner.` before those of the scanner.
    """

    load: Callable[[], tuple[Callable[..., Any], Callable[..., int]]]
    subjects: int
    options: Mapping[str, str]


def _bu3dfe() -> tuple[Callable[..., Any], Callable[..., int]]:
    from smilevlm.synthesis import Bu3dfeSettings, synthesize_bu3dfe

    return Bu3dfeSettings, synthesize_bu3dfe


def _bu4dfe() -> tuple[Callable[..., Any], Callable[..., int]]:
    from smilevlm.synthesis import Bu4dfeSettings, synthesize_bu4dfe

    return Bu4dfeSettings, synthesize_bu4dfe


def _bosphorus() -> tuple[Callable[..., Any], Callable[..., int]]:
    from smilevlm.synthesis import BosphorusSettings, synthesize_bosphorus

    return BosphorusSettings, synthesize_bosphorus


def _bp4d() -> tuple[Callable[..., Any], Callable[..., int]]:
    from smilevlm.synthesis import Bp4dSettings, synthesize_bp4d

    return Bp4dSettings, synthesize_bp4d


def _fourdme() -> tuple[Callable[..., Any], Callable[..., int]]:
    from smilevlm.synthesis import FourdmeSettings, synthesize_4dme

    return FourdmeSettings, synthesize_4dme


def _varied() -> tuple[Callable[..., Any], Callable[..., int]]:
    from smilevlm.synthesis import VariedSettings, synthesize_varied

    return VariedSettings, synthesize_varied


_VERTICES = "scanner.num_vertices"
LAYOUTS: dict[str, _Layout] = {
    "bu3dfe": _Layout(
        load=_bu3dfe,
        subjects=100,
        options={
            "vertices": _VERTICES, "texture_size": "texture_size", "levels": "levels", "with_raw": "complete",
        },
    ),
    "bu4dfe": _Layout(
        load=_bu4dfe,
        subjects=10,
        options={
            "vertices": _VERTICES, "texture_size": "texture_width", "frames": "num_frames", "landmarks": "landmarks",
        },
    ),
    "bosphorus": _Layout(
        load=_bosphorus,
        subjects=105,
        options={
            "vertices": "scanner.pitch_mm", "texture_size": "scanner.texture_width", "with_others": "complete",
        },
    ),
    "bp4d": _Layout(
        load=_bp4d,
        subjects=10,
        options={"vertices": _VERTICES, "texture_size": "texture_width", "frames": "num_frames"},
    ),
    "4dme": _Layout(
        load=_fourdme,
        subjects=10,
        options={"vertices": _VERTICES, "texture_size": "texture_width", "clips": "clips_per_subject"},
    ),
    "folder": _Layout(
        load=_varied, subjects=100, options={"frames": "frames", "filmed": "filmed_share", "unlike": "strength"}
    ),
}  # fmt: skip
_FLAGS = {
    "vertices": "--vertices", "texture_size": "--texture-size", "frames": "--frames", "clips": "--clips",
    "levels": "--levels", "with_raw": "--only-cropped", "with_others": "--only-expressions",
    "landmarks": "--no-landmarks", "filmed": "--filmed", "unlike": "--unlike",
}  # fmt: skip
"""Options that not every layout has, or not in the same way, as they are typed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    people = ", ".join(f"{name} {layout.subjects}" for name, layout in LAYOUTS.items())
    parser.add_argument("layout", choices=list(LAYOUTS), help="whose folders, names and formats to write")
    parser.add_argument("out", type=Path, help="folder to write; an interrupted run goes on there")
    parser.add_argument("--subjects", type=positive_int, help=f"people (default: {people})")
    parser.add_argument("--seed", type=int, default=0, help="decides everything")
    parser.add_argument(
        "--population",
        choices=("default", "shifted"),
        default="default",
        help="shifted: other people before a worse scanner, to test what a model of the default ones is worth there",
    )
    parser.add_argument(
        "--vertices", type=positive_int, help="vertices per scan, about (default: 8000; bosphorus 20000)"
    )
    parser.add_argument(
        "--texture-size", type=positive_int, help="width of the pictures in pixels (default: 240 to 512)"
    )
    parser.add_argument(
        "--frames", type=positive_int, help="bu4dfe, bp4d, folder: frames per sequence, about (default: 100; folder 12)"
    )
    parser.add_argument("--clips", type=positive_int, help="4dme: micro-expressions per person (default: 4)")
    parser.add_argument("--levels", type=integer_list, help="bu3dfe: intensities, such as 3,4 (default: 1,2,3,4)")
    for option, what in (
        ("with_raw", "bu3dfe: leave out the RAW scans, pose files and 2D photographs"),
        ("with_others", "bosphorus: leave out single facial actions, poses and occlusions"),
        ("landmarks", "bu4dfe: leave out the landmark files, which are distributed separately"),
    ):
        parser.add_argument(_FLAGS[option], dest=option, action="store_false", default=None, help=what)
    parser.add_argument(
        "--filmed",
        type=float,
        metavar="SHARE",
        help="folder: share of the people who are filmed as well (default: 0.15)",
    )
    parser.add_argument(
        "--unlike",
        type=float,
        metavar="FACTOR",
        help="folder: how unlike each other the people's face models are (default: 1)",
    )
    add_jobs(parser, "people or sequences")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import counting
    from smilevlm.errors import SettingsError

    layout = LAYOUTS[arguments.layout]
    chosen = _chosen(arguments, layout)
    make_settings, synthesize = layout.load()
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
    with counting("synthetic faces") as progress:
        num_new = synthesize(arguments.out, settings, jobs=arguments.jobs, progress=progress)
    parts = "subjects" if arguments.layout in ("bu3dfe", "bosphorus", "folder") else "sequences"
    print(f"{arguments.out}: {settings.num_subjects} synthetic subjects; {num_new} {parts} written now")


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
    chosen = {layout.options[option]: value for option, value in given.items()}
    if "scanner.pitch_mm" in chosen:
        from smilevlm.synthesis import range_image_pitch

        chosen["scanner.pitch_mm"] = range_image_pitch(chosen["scanner.pitch_mm"])
    return chosen
