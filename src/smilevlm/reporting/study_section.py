"""What the page of a study is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smilevlm.reporting.figure_theme import FigureImage, NoFigure
from smilevlm.reporting.table import Table


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
