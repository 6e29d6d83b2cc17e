"""The page of a study: one file, images inside, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smilevlm.reporting.figure_theme import FigureImage, NoFigure
from smilevlm.reporting.html import page_environment
from smilevlm.reporting.study_findings import people_by_setting, what_was_measured
from smilevlm.reporting.study_source import LoadedStudy
from smilevlm.reporting.table import Table
from smilevlm.results import TARGETS


@dataclass(frozen=True, kw_only=True)
class StudySection:
    """One section of the page.

    Attributes:
        anchor: Its name in links; unique.
        notes: Sentences under the title.
        small_figures: Shown side by side.
        folded_tables: Shown on request; they are long.
    """

    anchor: str
    title: str
    notes: Sequence[str] = ()
    figures: Sequence[FigureImage | NoFigure] = ()
    small_figures: Sequence[FigureImage | NoFigure] = ()
    tables: Sequence[Table] = ()
    folded_tables: Sequence[Table] = ()


def render_study_page(study: LoadedStudy, findings: Sequence[str], sections: Sequence[StudySection]) -> str:
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
            study=study.study,
            synthetic=study.study.synthetic,
            measured=what_was_measured(study),
            people=people_by_setting(study),
            findings=findings,
            sections=sections,
            command=run_again(study),
        )
    )


def run_again(study: LoadedStudy) -> str:
    """The commands that make the study, or what is missing of it."""
    targets = ["all"] if set(study.study.targets) == set(TARGETS) else study.study.targets
    rest = f"--profile {study.study.profile} --out {study.path.resolve().parent.name}"
    return "\n".join(f"smilevlm reproduce {target} {rest}" for target in targets)
