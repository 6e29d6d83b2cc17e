"""`smilevlm language`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from smilevlm.cli.arguments import add_store, positive_int
from smilevlm.labels import GAZE

if TYPE_CHECKING:
    from smilevlm.results import Estimate, LanguageResult

HELP = "how well a model understands sentences about faces"
DESCRIPTION = (
    "Compare faces whose facial actions are recorded with sentences that no training caption has: statements, "
    "captions, classes never trained, opposites, strengths. Writes language.json. A run is tested on the people that "
    "each of its folds held back, any other model on the whole store, whose people it must not know."
)
EXAMPLE = "smilevlm language default --store store"
RESULT_NAME = "language.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", help="`default` for the weights in the package, the folder of a trained model, or a run folder")
    add_store(parser, "prepared set with facial actions")
    add("--retrieve", type=positive_int, default=200, metavar="SCANS", help="scans to search, each with a caption")
    add("--seed", type=int, default=0, help="of the drawn scans and captions, and of the intervals")
    add("--out", type=Path, help=f"file to write (default: {RESULT_NAME} in a run's folder, else in this one)")


def run(arguments: argparse.Namespace) -> None:
    from smilevlm.cli.progress import progress_bar
    from smilevlm.cli.tables import print_note
    from smilevlm.evaluation import evaluate_language
    from smilevlm.predict.bundled import DEFAULT, bundled_folder
    from smilevlm.results import write_record

    is_default = arguments.model == DEFAULT
    model = bundled_folder() if is_default else Path(arguments.model)
    with progress_bar("models") as progress:
        result = evaluate_language(
            model,
            arguments.store,
            name=DEFAULT if is_default else None,
            num_retrieved=arguments.retrieve,
            seed=arguments.seed,
            progress=progress,
        )
    out = arguments.out or (model / RESULT_NAME if result.folds else Path(RESULT_NAME))
    write_record(out, result)
    _print_tables(result)
    for note in result.notes:
        print_note(f"Note: {note}")
    print(out)


def _print_tables(result: LanguageResult) -> None:
    from smilevlm.cli.tables import print_table

    faces = f"{'synthetic' if result.synthetic else 'real'} faces ({result.layout})"
    scope = f"{result.num_samples} {faces} of {result.num_subjects} people, actions {result.action_source}"
    print_table(
        ["what", "of"], ["score", "95 %", "chance"], _summary_rows(result), title=f"language: {result.model}, {scope}"
    )
    for title, scores in (("statements", result.statements), ("classes never trained", result.unseen_classes)):
        rows = [(s.name, s.num_present, s.num_absent, f"{s.area.value:.3f}", _interval(s.area)) for s in scores]
        if rows:
            print_table([title], ["present", "absent", "area under the curve", "95 %"], rows, title=faces)
    rows = [(o.text, o.opposite, f"{o.accuracy.value:.1%}", _interval(o.accuracy)) for o in result.opposites]
    if rows:
        print_table(["told apart", "from"], ["accuracy", "95 %"], rows, title=faces)
    rows = [
        (i.action, i.num_faces, f"{i.spearman:+.2f}", f"{i.pair_accuracy.value:.1%}", _interval(i.pair_accuracy))
        for i in result.intensity
    ]
    if rows:
        print_table(["strength of"], ["faces", "Spearman", "pairs in order", "95 %"], rows, title=faces)


def _summary_rows(result: LanguageResult) -> list[tuple[str, str, str, str, str]]:
    rows: list[tuple[str, str, str, str, str]] = []

    def add(what: str, of: str, found: Estimate | None, chance: float) -> None:
        if found is not None:
            rows.append((what, of, f"{found.value:.1%}", _interval(found), f"{chance:.1%}"))

    add("area under the curve", f"{len(result.statements)} statements", result.mean_area, 0.5)
    num_shown = sum(each.name not in GAZE for each in result.statements)
    add("area under the curve", f"{num_shown} statements without gaze", result.mean_shape_area, 0.5)
    for first in result.first_place:
        of = f"{first.num_statements} statements, {first.num_faces} faces"
        add("right one first", of, first.share, 1 / first.num_statements)
        add("area under the curve", of, first.area, 0.5)
    for retrieval in result.retrieval:
        of = f"{retrieval.num_scans} scans, {retrieval.direction.replace('_', ' ')}"
        for recall in retrieval.recalls:
            add(f"recall at {recall.num_first}", of, recall.share, min(1.0, recall.num_first / retrieval.num_scans))
    add("opposites told apart", f"{len(result.opposites)} pairs of sentences", result.mean_opposites, 0.5)
    add("strengths in order", f"{len(result.intensity)} actions", result.mean_intensity, 0.5)
    return rows


def _interval(found: Estimate) -> str:
    return "-" if found.interval is None else f"{found.interval[0]:.1%} to {found.interval[1]:.1%}"
