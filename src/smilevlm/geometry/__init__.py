"""Meshes and their normalisation to the face frame (millimetres, nose tip at the origin, +z out of the face)."""

from smilevlm.geometry.axes import rotation_from_axes
from smilevlm.geometry.mesh import Mesh
from smilevlm.geometry.normalise import NormalisedFace, NormaliseSettings, normalise

__all__ = ["Mesh", "NormaliseSettings", "NormalisedFace", "normalise", "rotation_from_axes"]
