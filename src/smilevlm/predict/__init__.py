"""Scan in, answer out."""

from smilevlm.predict.answer import Answer, Seconds
from smilevlm.predict.inputs import Scan, ScanFiles, find_scans, scan_files
from smilevlm.predict.model import Comparison, Model, Prompts, load
from smilevlm.predict.seen import Seen, see

__all__ = [
    "Answer",
    "Comparison",
    "Model",
    "Prompts",
    "Scan",
    "ScanFiles",
    "Seconds",
    "Seen",
    "find_scans",
    "load",
    "scan_files",
    "see",
]
