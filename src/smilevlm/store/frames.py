"""Read one frame of a recording: mesh, landmarks on request, and the digest of its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from smilevlm.geometry import Mesh
from smilevlm.readers import parse_mesh, read_file, read_landmarks
from smilevlm.store.records import FrameFile


@dataclass(frozen=True, kw_only=True)
class LoadedFrame:
    """A frame in memory.

    Args:
        mesh: In the unit and frame of the file.
        digest: sha256 of the mesh file.
        texture_digest: sha256 of the texture's pixels; empty where none was read.
    """

    mesh: Mesh
    digest: str
    texture_digest: str = ""


def read_frame(frame: FrameFile, *, load_texture: bool = False, load_landmarks: bool = False) -> LoadedFrame:
    """Read a frame's mesh; on request with its landmarks under the data set's names.

    Preparation asks for no landmarks: the face frame is found without them, as it must be for the scans of users.

    Raises:
        MeshError: The scan or its texture cannot be read.
        LandmarkError: Its landmark file is there but cannot be read.
    """
    data = read_file(frame.path)
    mesh = parse_mesh(data, frame.path, load_texture=load_texture)
    if load_landmarks and frame.landmark_path is not None:
        origin = np.array(mesh.origin)
        found = read_landmarks(frame.landmark_path)
        mesh = replace(mesh, landmarks={name: (point - origin).astype(np.float32) for name, point in found.items()})
    texture = "" if mesh.texture is None else hashlib.sha256(mesh.texture.tobytes()).hexdigest()
    return LoadedFrame(mesh=mesh, digest=hashlib.sha256(data).hexdigest(), texture_digest=texture)
