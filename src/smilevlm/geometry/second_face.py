"""A second face in one scan: two people before the camera, or several scans saved as one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

from smilevlm.geometry.locate import MIN_CONFIDENCE, PoseHypothesis, initial_pose, refined
from smilevlm.geometry.mesh import Mesh
from smilevlm.geometry.sampling import even_points
from smilevlm.geometry.units import sample_columns

_OWN_REACH_MM = 130.0
"""Surface so near to the nose tip belongs to the face that was found."""
_LEAST_FAR_SHARE = 0.15
"""Of the surface that must lie further away for another face to be looked for."""
_NUM_POINTS = 8000


def second_face(
    mesh: Mesh, keep: Bool[np.ndarray, " mesh_vert"], pose: PoseHypothesis
) -> Float64[np.ndarray, " 3"] | None:
    """Look for another face beside one that was found.

    It is found where it looks the same way as the first within about 30 degrees. Scans of one head without shoulders
    have too little surface far from the nose for a search, which takes a few milliseconds. The scan is in millimetres;
    `keep` are its vertices that are no scraps.

    Returns:
        The other nose tip from the first, in millimetres, in the first face's frame; None where there is no other.
    """
    some = sample_columns(mesh.vertices)
    is_far = ((some - pose.nose_mm[:, None]) ** 2).sum(axis=0) > _OWN_REACH_MM**2
    if is_far.mean() < _LEAST_FAR_SHARE:
        return None
    points = even_points(mesh, keep, _NUM_POINTS)
    points = points[((points - pose.nose_mm) ** 2).sum(axis=1) > _OWN_REACH_MM**2]
    if len(points) < _LEAST_FAR_SHARE * _NUM_POINTS:
        return None
    other = refined(points, initial_pose(points, {}, pose.rotation))
    if not (other.is_plain and other.confidence >= MIN_CONFIDENCE):
        return None
    return pose.rotation @ (other.nose_mm - pose.nose_mm)


def direction_in_words(offset_mm: Float64[np.ndarray, " 3"]) -> str:
    """The direction of a point from the face, as the viewer sees it: `190 mm to the right`."""
    axis = int(np.abs(offset_mm).argmax())
    names = (("to the left", "to the right"), ("below", "above"), ("behind", "in front"))
    return f"{np.abs(offset_mm[axis]):.0f} mm {names[axis][int(offset_mm[axis] > 0)]}"
