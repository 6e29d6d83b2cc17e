"""Result files to tables, figures and one HTML page."""

from smilevlm.reporting.loss_study import write_loss_report
from smilevlm.reporting.report import write_report
from smilevlm.reporting.study import write_study_report

__all__ = ["write_loss_report", "write_report", "write_study_report"]
