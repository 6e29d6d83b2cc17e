"""From a study file to a folder with tables, figures and one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smilevlm.reporting.figure_theme import FigureImage, NoFigure
from smilevlm.reporting.loss_study_figure import effects_figure
from smilevlm.reporting.loss_study_findings import loss_findings, what_was_trained
from smilevlm.reporting.loss_study_fusion import fusion_effects
from smilevlm.reporting.loss_study_source import load_loss_study, loss_effects
from smilevlm.reporting.loss_study_tables import effects_table
from smilevlm.reporting.output import page_environment, report_files, write_files
from smilevlm.reporting.published import Published, load_published
from smilevlm.reporting.setting_figures import setting_figures
from smilevlm.reporting.study_comparisons import (
    ablation_comparisons,
    ablation_table,
    view_comparisons,
    views_table,
)
from smilevlm.reporting.study_figures import study_figures
from smilevlm.reporting.study_findings import findings, people_by_setting, what_was_measured
from smilevlm.reporting.study_micro import micro_expression_tables
from smilevlm.reporting.study_provenance import missing_table, provenance_table, settings_tables
from smilevlm.reporting.study_section import StudySection
from smilevlm.reporting.study_source import LoadedStudy, load_study
from smilevlm.reporting.study_statistics import FUSED
from smilevlm.reporting.study_tables import baselines_table, calibration_table, paper_tables
from smilevlm.reporting.table import Table
from smilevlm.results import (
    LOSS_STUDY_NAME,
    TARGETS,
    AnalysisResult,
    StudyFile,
    TasksResult,
    read_record,
    relative_file,
)

PROBE = "linear_probe"
Shown = tuple[Sequence[Table], Sequence[FigureImage | NoFigure], Sequence[str]]
"""Tables, figures and notes."""


def write_study_report(study_path: Path, out: Path) -> Path:
    """Write `index.html`, `tables/*.{csv,md,tex}` and `figures/*.{png,svg}`; the same input gives the same bytes.

    Args:
        study_path: `STUDY/study.json`.
        out: Made when missing. Files of the same names are replaced, others are left alone.

    Returns:
        The page.

    Raises:
        ResultError: The study or a file that it names is missing, malformed or contradicts another. Nothing is
            written.
    """
    study, published = load_study(study_path), load_published()
    views = view_comparisons(study)
    ablations, probes = ablation_comparisons(study, FUSED), ablation_comparisons(study, PROBE)
    over_settings = study_figures(study)
    by_setting = setting_figures(study)
    sections = [
        StudySection(
            anchor="tables",
            title="The paper's tables",
            notes=_not_asked_for(study),
            tables=[*paper_tables(study, published), *micro_expression_tables(study, published)],
        ),
        StudySection(
            anchor="ablation",
            title="Ablation and gains (Figs. 2 and 3)",
            notes=[*_statements(published), *([] if ablations else ["The study was not asked for any ablation."])],
            figures=over_settings[:-1],
            tables=[ablation_table(study, ablations, FUSED, "ablation")] if ablations else [],
            folded_tables=[ablation_table(study, probes, PROBE, "ablation_linear_probe")] if probes else [],
        ),
        *_loss_sections(study_path),
        StudySection(
            anchor="views",
            title="All views together against each one alone",
            figures=over_settings[-1:],
            tables=[views_table(study, views)],
        ),
        StudySection(anchor="baselines", title="Baselines and controls", tables=[baselines_table(study)]),
        StudySection(
            anchor="settings",
            title="Setting by setting",
            figures=by_setting[:3],
            small_figures=by_setting[3:],
            tables=[calibration_table(study)],
        ),
        *_file_sections(study),
        _missing(study),
        StudySection(
            anchor="provenance",
            title="Where the numbers come from",
            tables=[provenance_table(study)],
            folded_tables=settings_tables(study),
        ),
    ]
    page = _render_page(study, findings(study, views, ablations, probes), sections)
    tables = [table for each in sections for table in (*each.tables, *each.folded_tables)]
    figures = [figure for each in sections for figure in (*each.figures, *each.small_figures)]
    write_files(out, report_files(tables, figures, page))
    return out / "index.html"


def _not_asked_for(study: LoadedStudy) -> list[str]:
    left_out = [target for target in TARGETS if target not in study.study.targets]
    return [f"The study was not asked for {', '.join(left_out)}."] if left_out else []


def _statements(published: Published) -> list[str]:
    statements = " ".join(
        each.says if each.gain is None else f"{each.says.removesuffix('.')}: {each.gain:.2f} points."
        for each in published.statements
    )
    return [
        "The paper draws Figs. 2 and 3 without printing their numbers. What it says of them, on real faces: "
        f"{statements}"
    ]


def _loss_sections(study_path: Path) -> list[StudySection]:
    """The rows of a study of the losses in the same folder, if there is one: the same contrasts on more units."""
    path = study_path.with_name(LOSS_STUDY_NAME)
    if not path.is_file():
        return []
    losses = load_loss_study(path)
    effects = loss_effects(losses)
    return [
        StudySection(
            anchor="losses",
            title="Effect of each loss, with few and all labels (Figs. 2 and 3 on populations of their own)",
            notes=[*what_was_trained(losses), *loss_findings(losses, effects, fusion_effects(losses))],
            figures=[effects_figure(losses, effects)],
            folded_tables=[effects_table(losses, effects)],
        )
    ]


def _missing(study: LoadedStudy) -> StudySection:
    table = missing_table(study)
    return StudySection(
        anchor="missing",
        title="What is missing, and why",
        notes=[] if table.rows else ["Nothing is missing: every planned run is there."],
        tables=[table] if table.rows else [],
    )


def _file_sections(study: LoadedStudy) -> list[StudySection]:
    """The other tasks and the analysis; a section is there even if all of it is missing."""
    kinds = {"tasks": ("Other tasks on the same embeddings", _tasks), "analysis": ("Analysis of embeddings", _analysis)}
    sections = []
    for kind, (title, show) in kinds.items():
        tables: list[Table] = []
        figures: list[FigureImage | NoFigure] = []
        notes: list[str] = []
        for file in study.study.files:
            if file.kind == kind:
                where = study.title(file.setting)
                if file.path is None:
                    figures.append(NoFigure(title=where, reason=file.reason or "no reason is given"))
                    continue
                more_tables, more_figures, more_notes = show(relative_file(study.path, file.path), file)
                tables += more_tables
                figures += more_figures
                notes += [f"{where}: {note}" for note in more_notes]
        if not (tables or figures):
            notes.append("The study has no file of this kind.")
        sections.append(StudySection(anchor=kind, title=title, tables=tables, figures=figures, notes=notes))
    return sections


def _tasks(path: Path, file: StudyFile) -> Shown:
    from smilevlm.reporting.task_figures import task_figures
    from smilevlm.reporting.task_tables import task_tables

    tasks, slug = read_record(path, TasksResult), f"tasks_{file.setting}"
    return task_tables(tasks, slug), task_figures(tasks, slug), tasks.notes


def _analysis(path: Path, file: StudyFile) -> Shown:
    from smilevlm.reporting.analysis_figures import analysis_figures
    from smilevlm.reporting.analysis_tables import analysis_tables

    analysis, slug = read_record(path, AnalysisResult), f"analysis_{file.setting}"
    return analysis_tables(analysis, slug), analysis_figures(analysis, path.parent, slug), analysis.notes


def _render_page(study: LoadedStudy, findings: Sequence[str], sections: Sequence[StudySection]) -> str:
    """The whole page.

    Args:
        study: The study.
        findings: Plain sentences.
        sections: In the order of the page.
    """
    return (
        page_environment()
        .get_template("study.html.j2")
        .render(
            title="The tables and figures of the paper",
            nothing_found="The study has no run of the full method, so there is nothing to say.",
            study=study.study,
            data=study.study.data,
            synthetic=study.study.synthetic,
            measured=what_was_measured(study),
            people=people_by_setting(study),
            findings=findings,
            sections=sections,
            command=_command(study),
        )
    )


def _command(study: LoadedStudy) -> str:
    """The commands that make the study, or what is missing of it."""
    targets = ["all"] if set(study.study.targets) == set(TARGETS) else study.study.targets
    rest = f"--profile {study.study.profile} --out {study.path.resolve().parent.name}"
    return "\n".join(f"smilevlm reproduce {target} {rest}" for target in targets)
