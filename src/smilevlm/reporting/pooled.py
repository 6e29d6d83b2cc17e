"""The columns of UF1 and UAR pooled over folds, with their bootstrap over people."""

from __future__ import annotations

from smilevlm.reporting.table import Cell, Column, Missing
from smilevlm.results import PooledScore

ORACLE = "Oracle: a classifier of the true movement"
MAJORITY = "Baseline: always the most frequent training class"
POOLED_COLUMNS = (
    Column("unweighted_f1", "UF1", "fraction"),
    Column("unweighted_f1_interval", "95 % interval, people", "fraction_interval"),
    Column("unweighted_average_recall", "UAR", "fraction"),
    Column("unweighted_average_recall_interval", "95 % interval, people", "fraction_interval"),
)
_ONE_PERSON = Missing(reason="one person")


def pooled_cells(score: PooledScore) -> tuple[Cell, ...]:
    """What `POOLED_COLUMNS` show."""
    return (
        score.unweighted_f1,
        score.unweighted_f1_interval or _ONE_PERSON,
        score.unweighted_average_recall,
        score.unweighted_average_recall_interval or _ONE_PERSON,
    )
