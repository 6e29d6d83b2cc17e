"""`Mesh`: the one value that every reader ends in and every later stage starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
from jaxtyping import Float32, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry.arrays import Origin, byte_array, empty_arrays, face_array, float32_array, vertex_array
from smilevlm.typing import CornerUv, Faces, RgbImage, Vertices


@dataclass(frozen=True, init=False)
class Mesh:
    """A triangle mesh, or a point cloud when it has zero faces.

    Arrays of other types are converted once: lists, float64, tensors; quads and flat lists of sized faces become
    triangles (see `face_array`).

    Args:
        vertices: (vert, 3) positions in the unit and frame of the file, less `origin`.
        faces: (face, 3) vertex indices of triangles; None or (0, 3) for a point cloud.
        uv: Texture coordinates per face corner, v counted from the bottom of the texture, or None.
        texture: The texture image, or None.
        vertex_colors: RGB per vertex, or None.
        landmarks: Named points in the frame of `vertices`.
        remarks: What was left out or repaired when the mesh was made, a sentence each.
        origin: Offset in float64 that was taken out of the coordinates: `vertices + origin` are those of the file. Not
            zero only where they lie so far from zero that float32 would lose the face, as map coordinates do.

    Raises:
        MeshError: An array has another shape or no numbers, a face names a vertex that is not there, or an array's size
            contradicts another's.
    """

    vertices: Vertices
    faces: Faces
    uv: CornerUv | None
    texture: RgbImage | None
    vertex_colors: UInt8[np.ndarray, "vert 3"] | None
    landmarks: Mapping[str, Float32[np.ndarray, " 3"]]
    remarks: tuple[str, ...]
    origin: Origin

    def __init__(
        self,
        *,
        vertices: object,
        faces: object = None,
        uv: object = None,
        texture: object = None,
        vertex_colors: object = None,
        landmarks: Mapping[str, Float32[np.ndarray, " 3"]] | None = None,
        remarks: tuple[str, ...] = (),
        origin: Origin = (0.0, 0.0, 0.0),
    ) -> None:
        landmarks = {} if landmarks is None else landmarks
        if not _is_array(vertices, np.float32, 3):
            vertices, offset = vertex_array(vertices)
            if any(offset):
                origin = (origin[0] + offset[0], origin[1] + offset[1], origin[2] + offset[2])
                remarks = (*remarks, f"coordinates are relative to {offset}")
                landmarks = {name: (point - np.array(offset)).astype(np.float32) for name, point in landmarks.items()}
        num_vertices = len(vertices)
        if not _is_array(faces, np.int32, 3):
            faces, rows = face_array(faces, num_vertices)
            if rows is not None and uv is not None:
                raise MeshError("texture coordinates belong to the corners of triangles; cut the faces into them first")
        # Unsigned, a negative number is a large one: one pass finds both.
        elif faces.size and faces.view(np.uint32).max() >= num_vertices:
            lowest, highest = int(faces.min()), int(faces.max())
            bad = lowest if lowest < 0 else highest
            raise MeshError(f"a face names vertex {bad}, but there are {num_vertices} vertices")
        if uv is not None and not (isinstance(uv, np.ndarray) and uv.dtype == np.float32):
            uv = float32_array(uv, "texture coordinates", (None, 3, 2))
        if uv is not None and len(uv) != len(faces):
            raise MeshError(f"{len(uv)} faces have texture coordinates, but there are {len(faces)} faces")
        if vertex_colors is not None:
            vertex_colors = byte_array(vertex_colors, "vertex colours", (None, 3))
        if texture is not None:
            texture = byte_array(texture, "texture", (None, None, 3))
        if vertex_colors is not None and len(vertex_colors) != num_vertices:
            raise MeshError(f"{len(vertex_colors)} vertex colours for {num_vertices} vertices")
        values = {
            "vertices": vertices, "faces": faces, "uv": uv, "texture": texture, "vertex_colors": vertex_colors,
            "landmarks": landmarks, "remarks": remarks, "origin": origin,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def num_vertices(self) -> int:
        return len(self.vertices)

    @property
    def num_faces(self) -> int:
        return len(self.faces)

    @property
    def is_point_cloud(self) -> bool:
        return self.num_faces == 0

    def transformed(
        self, rotation: Float32[np.ndarray, "3 3"], translation: Float32[np.ndarray, " 3"], scale: float = 1.0
    ) -> Mesh:
        """The same mesh with every point p moved to scale * rotation @ (p + translation)."""

        from smilevlm.geometry import kernels

        def move(points: np.ndarray) -> np.ndarray:
            (moved,) = empty_arrays((points.shape, np.float32))
            kernels.move_points(points, rotation, translation, scale, moved)
            return moved

        names = list(self.landmarks)
        points = move(np.array([self.landmarks[name] for name in names], np.float32).reshape(-1, 3))
        return replace(
            self, vertices=move(self.vertices), landmarks=dict(zip(names, points, strict=True)), origin=(0.0, 0.0, 0.0)
        )


def _is_array(values: object, kind: type[np.generic], width: int) -> TypeGuard[np.ndarray]:
    """Whether it is just what the compiled loops take; a subclass, a slice with steps or other types are converted."""
    if type(values) is not np.ndarray:
        return False
    return values.dtype == kind and values.ndim == 2 and values.shape[1] == width and values.flags.c_contiguous
