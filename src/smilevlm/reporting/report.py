"""From result files to a folder with tables, figures and one page: one file, images inside, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smilevlm.labels import FACIAL_ACTIONS
from smilevlm.reporting.figure_theme import FigureImage, NoFigure
from smilevlm.reporting.output import page_environment, report_files, write_files
from smilevlm.reporting.run_figures import run_figures
from smilevlm.reporting.run_tables import (
    classes_table,
    folds_table,
    interval_method,
    methods_table,
    overview_table,
    pooled_table,
    readouts_table,
    settings_table,
)
from smilevlm.reporting.source import Run, load_runs
from smilevlm.reporting.table import Table, angle_text, cell_text
from smilevlm.results import Example, ExperimentResult, PairingTeacher

_FEWEST_FOLDS_FOR_A_VERDICT = 3
"""Two folds can agree by chance to the last digit, and their interval then has no width."""
_LEVEL_WORDS = {"scan": "scans", "sequence": "sequences", "window": "windows"}


@dataclass(frozen=True, kw_only=True)
class Section:
    """One run on the page."""

    run: Run
    tables: Sequence[Table]
    figures: Sequence[FigureImage | NoFigure]
    settings: Table


def write_report(result_paths: Sequence[Path], out: Path) -> Path:
    """Write `index.html`, `tables/*.{csv,md,tex}` and `figures/*.{png,svg}`; the same input gives the same bytes.

    Args:
        result_paths: `results.json` files, in the order of the page.
        out: Made when missing. Files of the same names are replaced, others are left alone.

    Returns:
        The page.

    Raises:
        ResultError: A result file, or a log or image that it names, is missing or malformed. Nothing is written.
    """
    runs = load_runs(result_paths)
    overview = overview_table(runs)
    sections = [
        Section(
            run=run,
            tables=[table(run) for table in (methods_table, pooled_table, readouts_table, folds_table, classes_table)],
            figures=run_figures(run),
            settings=settings_table(run),
        )
        for run in runs
    ]
    page = _render_page(sections, overview)

    tables = [overview, *(table for each in sections for table in (*each.tables, each.settings))]
    figures = [figure for each in sections for figure in each.figures]
    write_files(out, report_files(tables, figures, page))
    return out / "index.html"


def _render_page(sections: Sequence[Section], overview: Table) -> str:
    """The whole page."""
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            sections=[_section(section) for section in sections],
            overview=overview,
            any_synthetic=any(section.run.result.synthetic for section in sections),
            all_synthetic=all(section.run.result.synthetic for section in sections),
            modes=sorted({section.run.result.pairing_mode for section in sections}),
        )
    )


def _section(section: Section) -> dict[str, object]:
    result = section.run.result
    interval = section.run.fused_interval
    return {
        "run": section.run,
        "result": result,
        "summary": result.summary,
        "tables": section.tables,
        "figures": section.figures,
        "settings": section.settings,
        "provenance": _provenance(section.run),
        "level_words": _LEVEL_WORDS[result.level],
        "num_samples": sum(fold.num_test_samples for fold in result.folds),
        "num_subjects": sum(len(fold.test_subjects) for fold in result.folds),
        "interval": None if interval is None else cell_text(interval, "percent_interval"),
        "interval_method": interval_method(section.run),
        "gain": _gain(section.run),
        "examples": [_example(section.run, example) for example in result.examples],
    }


def _gain(run: Run) -> str:
    """What the folds say of learned fusion against the plain mean, without more certainty than they have."""
    gain = run.result.summary.gain_over_mean_fusion
    points = f"{cell_text(gain.mean, 'points')} points against the plain mean of the views"
    if gain.interval is None:
        return f"{points}; one fold cannot say whether that is chance."
    if run.result.summary.num_folds_run < _FEWEST_FOLDS_FOR_A_VERDICT:
        return f"{points}: {run.result.summary.num_folds_run} folds are too few to call it a difference."
    low, high = gain.interval
    between = f"95 % interval {cell_text(gain.interval, 'points_interval')}, paired by fold"
    if low > 0:
        return f"{points} ({between}): better beyond the spread of the folds."
    if high < 0:
        return f"{points} ({between}): worse beyond the spread of the folds."
    return f"{points} ({between}): no difference beyond the spread of the folds."


def _provenance(run: Run) -> list[tuple[str, str]]:
    result = run.result
    rows = [
        ("Recipe", result.recipe),
        ("Data", f"{run.data}, manifest {result.manifest_hash}"),
        ("Protocol", f"{result.protocol}; one test sample is one {result.level}"),
        ("Folds run", f"{len(result.folds)} of {result.folds[0].num_folds}"),
        ("Pairing", f"{result.pairing_mode}: {result.pairing_name}"),
        *_label_rows(result),
        *_teacher_rows(result.pairing_teacher),
        ("Classes", ", ".join(result.classes)),
        ("Views", ", ".join(angle_text(angle) for angle in result.view_angles_deg)),
        ("Seeds", ", ".join(f"{name} {seed}" for name, seed in sorted(result.seeds.items())) or "none recorded"),
        ("Package", f"smilevlm {result.package_version}"),
        ("Commit", result.git_commit or "not run from a git checkout"),
    ]
    rows += [(f"Control: {control.name}", control.description) for control in result.controls]
    if run.seconds:
        rows.append(("Time", ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in run.seconds.items())))
    else:
        rows.append(("Time", "not recorded (no timing.json beside the result file)"))
    return rows


def _label_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    """How many labels training read, and whose in each fold."""
    if result.label_budget is None:
        return []
    return [
        ("Labels", result.label_budget),
        *(
            (f"Labelled subjects, fold {fold.fold}", ", ".join(fold.labelled_subjects))
            for fold in result.folds
            if fold.labelled_subjects is not None
        ),
    ]


def _teacher_rows(teacher: PairingTeacher | None) -> list[tuple[str, str]]:
    """Who proposed the prompts, and what became of the proposals."""
    if teacher is None:
        return []
    rows = [("Teacher", f"{teacher.description}, manifest {teacher.manifest_hash}")]
    for each in teacher.proposals:
        kept = ", ".join(f"{name} {count} of {each.proposed[name]}" for name, count in each.kept.items())
        share = sum(each.kept.values()) / each.num_samples
        rows.append(
            (f"Prompts, fold {each.fold}", f"{100 * share:.0f} % of {each.num_samples} samples have one: {kept}")
        )
    return rows


def _example(run: Run, example: Example) -> dict[str, object]:
    return {
        "sample_id": example.sample_id,
        "truth": example.truth,
        "predicted": example.predicted,
        "right": example.truth == example.predicted,
        "views": [
            {"angle": angle, "weight": example.view_weights[angle], "image": run.images[image]}
            for angle, image in example.images.items()
        ],
        "probabilities": list(example.probabilities.items()),
        "actions": [
            {"code": code, "name": FACIAL_ACTIONS[code].name if code in FACIAL_ACTIONS else "", "intensity": max(sides)}
            for code, sides in sorted((example.actions or {}).items(), key=lambda item: -max(item[1]))
        ],
    }
