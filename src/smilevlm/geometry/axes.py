"""Axes by name: which way is up in a scan, and which way the face looks."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Float64

from smilevlm.errors import SettingsError

_AXIS_NAME = re.compile(r"([+-]?)([xyz])", re.IGNORECASE)


def rotation_from_axes(up: str, front: str) -> Float64[np.ndarray, "3 3"]:
    """The turn that brings a scan with these axes upright and facing +z; `normalise` takes it as `start`.

    Args:
        up: The scan's axis that points from chin to forehead: `+x`, `-x`, `+y`, `-y`, `+z` or `-z`; no sign is `+`.
        front: The axis along which the face looks, out of the face.

    Raises:
        SettingsError: A name is no axis, or both name the same line.
    """
    upward, forward = _axis("up", up), _axis("front", front)
    if upward @ forward != 0:
        raise SettingsError(f"up is {up!r} and front is {front!r}: they must be different axes, for example +z and -y")
    return np.stack([np.cross(upward, forward), upward, forward])


def _axis(word: str, name: str) -> Float64[np.ndarray, " 3"]:
    match = _AXIS_NAME.fullmatch(name.strip())
    if match is None:
        raise SettingsError(f"{word} is {name!r}; expected one of +x, -x, +y, -y, +z, -z")
    axis = np.zeros(3)
    axis["xyz".index(match[2].lower())] = -1.0 if match[1] == "-" else 1.0
    return axis
