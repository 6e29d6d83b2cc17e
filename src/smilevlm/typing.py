"""Array types shared by the NumPy rooms. Axis words: batch view time channel height width dim class vert face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32, UInt8

Vertices = Float32[np.ndarray, "vert 3"]
"""Vertex positions; the unit and frame are said where it is used."""
Faces = Int32[np.ndarray, "face 3"]
"""Triangles as vertex indices, counter-clockwise seen from outside."""
CornerUv = Float32[np.ndarray, "face 3 2"]
"""Texture coordinates per face corner, u to the right, v upwards from the bottom of the image."""
RgbImage = UInt8[np.ndarray, "height width 3"]
"""Row 0 on top."""
ViewImages = UInt8[np.ndarray, "view height width 3"]
"""One RGB image per view, row 0 on top."""
