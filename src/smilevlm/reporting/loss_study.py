"""From a study of the losses to a folder with tables, a figure and one page."""

from __future__ import annotations

from pathlib import Path

from smilevlm.reporting.loss_study_figure import effects_figure
from smilevlm.reporting.loss_study_findings import loss_findings, what_was_trained
from smilevlm.reporting.loss_study_source import LoadedLossStudy, load_loss_study, loss_effects
from smilevlm.reporting.loss_study_tables import (
    controls_table,
    effects_table,
    fusion_table,
    probes_table,
    scores_table,
)
from smilevlm.reporting.output import page_environment, report_files, write_files
from smilevlm.reporting.study_section import StudySection


def write_loss_report(study_path: Path, out: Path) -> Path:
    """Write `index.html`, `tables/*.{csv,md,tex}` and `figures/*.{png,svg}`; the same input gives the same bytes.

    Args:
        study_path: `STUDY/losses.json`.
        out: Made when missing.

    Returns:
        The page.

    Raises:
        ResultError: A file is missing or malformed. Nothing is written.
    """
    study = load_loss_study(study_path)
    effects, folder = loss_effects(study), study_path.resolve().parent
    sections = [
        StudySection(
            anchor="effects",
            title="What each loss is worth",
            figures=[effects_figure(study, effects)],
            tables=[effects_table(study, effects)],
        ),
        StudySection(anchor="scores", title="Every method in every setting", tables=[scores_table(study)]),
        StudySection(
            anchor="fusion", title="Fusion against single views and the plain mean", tables=[fusion_table(study)]
        ),
        StudySection(anchor="probes", title="Label-free features", tables=[probes_table(study)]),
        StudySection(anchor="controls", title="Controls", tables=[controls_table(study)]),
        _missing_section(study),
    ]
    page = (
        page_environment()
        .get_template("study.html.j2")
        .render(
            title="What the three losses are worth",
            nothing_found="Fewer than two units have both sides of a contrast, so there is nothing to say.",
            study=study.study,
            synthetic=study.study.synthetic,
            measured=what_was_trained(study),
            people=[],
            findings=loss_findings(study, effects),
            sections=sections,
            command=f"smilevlm reproduce losses --profile {study.study.profile} --out {folder.name}",
        )
    )
    tables = [table for each in sections for table in each.tables]
    write_files(out, report_files(tables, sections[0].figures, page))
    return out / "index.html"


def _missing_section(study: LoadedLossStudy) -> StudySection:
    missing = [run for run in study.study.runs if run.folder is None]
    notes = [f"{run.setting}, {run.method}, unit {run.unit}: {run.reason}." for run in missing]
    untested = [
        c.title for c in study.study.contrasts if not any(c.method in s.methods for s in study.settings.values())
    ]
    notes += [f"The study was not asked for {title}." for title in untested]
    return StudySection(
        anchor="missing", title="What is missing, and why", notes=notes or ["Every planned training is there."]
    )
