"""`smilevlm predict`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.errors import PromptError, SmileVlmError

if TYPE_CHECKING:
    from smilevlm.predict import Answer

HELP = "recognise the expression of scans"
DESCRIPTION = (
    "Recognise the expression of 3D scans (VRML, OBJ, PLY, STL, OFF, point clouds; mm, cm or m), upright and facing "
    "+z within about 30 degrees. Classes of your own need no training."
)
EXAMPLE = 'smilevlm predict scan.wrl --model run --prompt pain="a face in pain" --prompt calm="a calm face"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", metavar="SCAN", nargs="+", type=Path, help="mesh file")
    parser.add_argument("--model", type=Path, required=True, help="run folder, or the folder of one of its folds")
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar='CLASS="TEXT"',
        help="a class of your own and a description; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="JSON lines for programs, one per scan")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.predict import load

    prompts = _prompts(arguments.prompt)
    model = load(arguments.model)
    answers: dict[Path, Answer] = {}
    errors: dict[Path, str] = {}
    for scan in arguments.scans:
        try:
            answers[scan] = model.predict(scan, prompts=prompts)
        except PromptError:
            raise
        except (SmileVlmError, OSError) as error:
            errors[scan] = str(error)
    if arguments.json:
        for scan in arguments.scans:
            print(json.dumps(_plain(scan, answers.get(scan), errors.get(scan), model.recogniser.synthetic)))
    elif answers:
        _print_table(answers, trained_on_synthetic=model.recogniser.synthetic)
    if errors:
        listed = "; ".join(
            message if str(scan) in message else f"{scan}: {message}" for scan, message in errors.items()
        )
        raise SmileVlmError(f"{len(errors)} of {len(arguments.scans)} scans could not be recognised: {listed}")


def _prompts(options: list[str]) -> Mapping[str, list[str]] | None:
    prompts: dict[str, list[str]] = {}
    for option in options:
        name, separator, text = option.partition("=")
        if not separator or not name.strip() or not text.strip():
            raise PromptError(f'--prompt {option!r}: expected CLASS="TEXT", such as pain="a face in pain"')
        prompts.setdefault(name.strip(), []).append(text.strip())
    return prompts or None


def _plain(scan: Path, answer: Answer | None, error: str | None, synthetic: bool) -> dict[str, object]:
    if answer is None:
        return {"scan": str(scan), "error": error}
    return {
        "scan": str(scan),
        "label": answer.label,
        "probabilities": dict(answer.probabilities),
        "view_weights": {f"{angle:g}": weight for angle, weight in answer.view_weights.items()},
        "unit": answer.face.unit,
        "template_coverage": answer.face.fit_share,
        "trained_on_synthetic_faces": synthetic,
    }


def _print_table(answers: Mapping[Path, Answer], *, trained_on_synthetic: bool) -> None:
    from rich.table import Table

    from smilevlm.cli.progress import table_console

    first = next(iter(answers.values()))
    title = "expression" + (" (model trained on synthetic faces)" if trained_on_synthetic else "")
    table = Table(title=title)
    table.add_column("scan", overflow="fold")
    table.add_column("label")
    for name in first.probabilities:
        table.add_column(name, justify="right")
    table.add_column("view weights " + " / ".join(f"{angle:+g}" for angle in first.view_weights))
    for scan, answer in answers.items():
        shares = [f"{share:.0%}" for share in answer.probabilities.values()]
        weights = " / ".join(f"{weight:.2f}" for weight in answer.view_weights.values())
        table.add_row(str(scan), answer.label, *shares, weights)
    table_console().print(table)
