"""Synthetic faces on disk, in the licensed data sets' own layouts. Nothing here needs a licensed file.

A head model (`face_model`) turns people and facial actions into heads, a scanner turns heads into scans, and a layout
(`data_set.Layout`) turns scans into files. All that is drawn comes from the `rng` of the person, sequence or scan that
it belongs to, so the same seed gives the same bytes. Settings out of range raise `SettingsError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smilevlm.lazy import lazy_attributes
from smilevlm.synthesis.marker import MARKER_NAME

if TYPE_CHECKING:
    from smilevlm.synthesis.bosphorus import BosphorusSettings, synthesize_bosphorus
    from smilevlm.synthesis.bp4d import Bp4dSettings, synthesize_bp4d
    from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, synthesize_bu3dfe
    from smilevlm.synthesis.bu4dfe import Bu4dfeSettings, synthesize_bu4dfe
    from smilevlm.synthesis.fourdme import FourdmeSettings, synthesize_4dme, true_displacements_mm
    from smilevlm.synthesis.population import SHIFTED, worse_scanner
    from smilevlm.synthesis.posed import REGULAR, ActingSettings
    from smilevlm.synthesis.range_camera import RangeCameraSettings, range_image_pitch
    from smilevlm.synthesis.scan_setup import ScannerSettings
    from smilevlm.synthesis.varied import VariedSettings, synthesize_varied

_LAZY_IMPORTS = {
    "REGULAR": "posed", "ActingSettings": "posed",
    "SHIFTED": "population", "worse_scanner": "population", "ScannerSettings": "scan_setup",
    "RangeCameraSettings": "range_camera", "range_image_pitch": "range_camera",
    "BosphorusSettings": "bosphorus", "synthesize_bosphorus": "bosphorus",
    "Bp4dSettings": "bp4d", "synthesize_bp4d": "bp4d",
    "Bu3dfeSettings": "bu3dfe", "synthesize_bu3dfe": "bu3dfe",
    "Bu4dfeSettings": "bu4dfe", "synthesize_bu4dfe": "bu4dfe",
    "FourdmeSettings": "fourdme", "synthesize_4dme": "fourdme", "true_displacements_mm": "fourdme",
    "VariedSettings": "varied", "synthesize_varied": "varied",
}  # fmt: skip
"""Module by name: data sets are read without torch and numba, which writing needs."""

__all__ = [
    "MARKER_NAME",
    "REGULAR",
    "SHIFTED",
    "ActingSettings",
    "BosphorusSettings",
    "Bp4dSettings",
    "Bu3dfeSettings",
    "Bu4dfeSettings",
    "FourdmeSettings",
    "RangeCameraSettings",
    "ScannerSettings",
    "VariedSettings",
    "range_image_pitch",
    "synthesize_4dme",
    "synthesize_bosphorus",
    "synthesize_bp4d",
    "synthesize_bu3dfe",
    "synthesize_bu4dfe",
    "synthesize_varied",
    "true_displacements_mm",
    "worse_scanner",
]

__getattr__ = lazy_attributes(__name__, _LAZY_IMPORTS)
