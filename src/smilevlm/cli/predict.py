"""`smilevlm predict`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_numbered_as, positive_int, word_list
from smilevlm.errors import MeshError, PromptError, SettingsError, SmileVlmError

if TYPE_CHECKING:
    from smilevlm.cli.predictions import Row
    from smilevlm.predict import Model, ScanFiles
    from smilevlm.store import NumberedAs

HELP = "recognise the expression of scans and sequences"
DESCRIPTION = (
    "Recognise the expression of 3D scans (VRML, OBJ, PLY, STL, OFF, BNT, point clouds; any unit, turned any way) and "
    "of 4D sequences (a folder or zip archive of numbered scans). Folders are searched for both. Classes of your own "
    "need no training."
)
EXAMPLE = 'smilevlm predict scan.wrl clips/ --prompt pain="a face in pain" --prompt calm="a calm face"'
_BY_NAME = "class_names"
"""The prompt set for classes that are given by their names alone."""
_FEW_ERRORS = 20
_NO_BAR = 20
"""So few scans are done before a bar would be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    scans_help = "mesh file; folder or zip archive of numbered frames; or folder of any of these"
    add("scans", metavar="SCAN", nargs="+", type=Path, help=scans_help)
    add_numbered_as(parser)
    add(
        "--model",
        default="default",
        help="run folder, the folder of one of its folds, a saved model, or a hub id; default: the bundled weights, "
        "trained on synthetic faces",
    )
    words = parser.add_argument_group("classes of your own, without training")
    prompt_help = "a class and a description; may be given several times"
    words.add_argument("--prompt", action="append", default=[], metavar='CLASS="TEXT"', help=prompt_help)
    words.add_argument("--classes", type=word_list, metavar="WORD,WORD", help="classes by name alone")
    pose = parser.add_argument_group("how the face lies in the scan, where it is not found by itself")
    pose.add_argument("--up", metavar="AXIS", help="axis from chin to forehead: +x, -x, +y, -y, +z or -z")
    pose.add_argument("--front", metavar="AXIS", help="axis along which the face looks")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="JSON lines for programs, one per scan, as they come")
    output.add_argument("--csv", action="store_true", help="a table with a header line, one row per scan, as they come")
    verbose_help = "say how the face was found and where the time went (as JSON always does)"
    output.add_argument("--verbose", action="store_true", help=verbose_help)
    add("--jobs", type=positive_int, default=1, help="threads that read and render")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.predictions import write_csv, write_json, write_table
    from smilevlm.predict import load

    prompts = _prompts(arguments.prompt, arguments.classes)
    model = load(arguments.model)
    found = _find(arguments.scans, arguments.numbered_as)
    errors: list[str] = []
    rows = _predict_rows(model, found, arguments, prompts, errors)
    if arguments.json:
        write_json(rows, model.bundle)
    elif arguments.csv:
        write_csv(rows, model.bundle)
    else:
        write_table(rows, model.bundle, verbose=arguments.verbose)
    if errors:
        shown = "; ".join(errors[:_FEW_ERRORS])
        more = f"; and {len(errors) - _FEW_ERRORS} more" if len(errors) > _FEW_ERRORS else ""
        raise SmileVlmError(f"{len(errors)} of {len(found)} scans could not be recognised: {shown}{more}")


def _find(paths: Sequence[Path], numbered_as: NumberedAs) -> list[ScanFiles | MeshError]:
    """Everything below the paths; for a path with nothing below it, what is wrong with it."""
    from smilevlm.predict import find_scans

    found: list[ScanFiles | MeshError] = []
    for path in paths:
        try:
            found += find_scans(path, numbered_as=numbered_as)
        except MeshError as error:
            found.append(error)
    return found


def _predict_rows(
    model: Model,
    found: Sequence[ScanFiles | MeshError],
    arguments: argparse.Namespace,
    prompts: Mapping[str, Sequence[str]] | None,
    errors: list[str],
) -> Iterator[Row]:
    """Predictions or what went wrong, as they come; what went wrong is added to `errors`."""
    from smilevlm.cli.predictions import Row
    from smilevlm.cli.progress import progress_bar
    from smilevlm.predict import Prediction, ScanFiles

    results = model.predict_each(
        (scan for scan in found if isinstance(scan, ScanFiles)),
        prompts=prompts,
        up=arguments.up,
        front=arguments.front,
        jobs=arguments.jobs,
    )
    with progress_bar("scans and sequences") as progress:
        for done, scan in enumerate(found, 1):
            result = next(results) if isinstance(scan, ScanFiles) else scan
            path = scan.path if isinstance(scan, ScanFiles) else Path(scan.path or "")
            if len(found) > _NO_BAR:
                progress(done, len(found))
            if isinstance(result, Prediction):
                yield Row(path=path, result=result, remarks=result.remarks)
                continue
            message = str(result)
            errors.append(message if str(path) in message else f"{path}: {message}")
            yield Row(path=path, result=message, remarks=scan.remarks if isinstance(scan, ScanFiles) else ())


def _prompts(options: Sequence[str], classes: Sequence[str] | None) -> Mapping[str, list[str]] | None:
    if options and classes:
        raise SettingsError("--prompt and --classes exclude each other; describe every class, or name them all")
    if classes:
        from smilevlm.prompts import load_prompt_set

        return {name: list(texts) for name, texts in load_prompt_set(_BY_NAME, classes=classes).prompts.items()}
    prompts: dict[str, list[str]] = {}
    for option in options:
        name, separator, text = option.partition("=")
        if not separator or not name.strip() or not text.strip():
            raise PromptError(f'--prompt {option!r}: expected CLASS="TEXT", such as pain="a face in pain"')
        prompts.setdefault(name.strip(), []).append(text.strip())
    return prompts or None
