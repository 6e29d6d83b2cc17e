"""Meshes and their normalisation to the face frame (millimetres, nose tip at the origin, +z out of the face)."""

from smilevlm.geometry.axes import rotation_from_axes
from smilevlm.geometry.clean import component_labels, drop_spikes, keep_points, without_scraps
from smilevlm.geometry.mesh import Mesh
from smilevlm.geometry.normalise import NormalisedFace, NormaliseSettings, normalise
from smilevlm.geometry.template import FaceTemplate

__all__ = [
    "FaceTemplate", "Mesh", "NormaliseSettings", "NormalisedFace", "component_labels", "drop_spikes", "keep_points",
    "normalise", "rotation_from_axes", "without_scraps",
]  # fmt: skip
