"""Predictions for scans and sequences: find the files, prepare the views, run the network.

A scan that cannot be read or holds no face is a `MeshError`, a model at fault a `CheckpointError`, an argument outside
its range a `SettingsError`.
"""

from smilevlm.deprecation import renamed_attributes
from smilevlm.predict.bundled import bundled_folder
from smilevlm.predict.inputs import Scan, ScanFiles, find_scans, scan_files
from smilevlm.predict.meshes import as_mesh
from smilevlm.predict.model import Comparison, Model, Prompts, load
from smilevlm.predict.prediction import Prediction, Timings
from smilevlm.predict.preprocessing import PreparedScan, prepare_scan
from smilevlm.predict.presentation import to_frame

__all__ = [
    "Comparison",
    "Model",
    "Prediction",
    "PreparedScan",
    "Prompts",
    "Scan",
    "ScanFiles",
    "Timings",
    "as_mesh",
    "bundled_folder",
    "find_scans",
    "load",
    "prepare_scan",
    "scan_files",
    "to_frame",
]

__getattr__ = renamed_attributes(__name__, {"see": "smilevlm.predict.prepare_scan"})
