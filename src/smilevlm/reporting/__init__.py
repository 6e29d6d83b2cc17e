"""Result files to tables, figures and one HTML page."""

from smilevlm.reporting.report import write_report

__all__ = ["write_report"]
