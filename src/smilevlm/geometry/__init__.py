"""Meshes and their normalisation to the face frame (millimetres, nose tip at the origin, +z out of the face)."""

from smilevlm.geometry.mesh import Mesh

__all__ = ["Mesh"]
