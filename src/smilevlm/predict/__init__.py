"""Scan in, answer out."""

from smilevlm.predict.inputs import Scan, ScanFiles, find_scans, scan_files
from smilevlm.predict.model import Comparison, Model, Prompts, load
from smilevlm.predict.prediction import Prediction, Timings
from smilevlm.predict.preprocessing import PreparedScan, see

__all__ = [
    "Comparison",
    "Model",
    "Prediction",
    "PreparedScan",
    "Prompts",
    "Scan",
    "ScanFiles",
    "Timings",
    "find_scans",
    "load",
    "scan_files",
    "see",
]
