"""`Mesh`: the one value that every reader ends in and every later stage starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, UInt8

from smilevlm.errors import MeshError
from smilevlm.typing import CornerUv, Faces, RgbImage, Vertices


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """A triangle mesh, or a point cloud when it has zero faces.

    Args:
        vertices: Positions in the unit and frame of the file.
        faces: Vertex indices of triangles; (0, 3) for a point cloud.
        uv: Texture coordinates per face corner, v counted from the bottom of the texture, or None.
        texture: The texture image, or None.
        vertex_colors: RGB per vertex, or None.
        landmarks: Named points in the frame of `vertices`.

    Raises:
        MeshError: A face names a vertex that is not there, or an array's size contradicts another's.
    """

    vertices: Vertices
    faces: Faces = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    uv: CornerUv | None = None
    texture: RgbImage | None = None
    vertex_colors: UInt8[np.ndarray, "vert 3"] | None = None
    landmarks: Mapping[str, Float32[np.ndarray, " 3"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Unsigned, a negative number is a large one: one pass finds both.
        if self.faces.size and self.faces.view(np.uint32).max() >= self.num_vertices:
            lowest, highest = int(self.faces.min()), int(self.faces.max())
            bad = lowest if lowest < 0 else highest
            raise MeshError(f"a face names vertex {bad}, but there are {self.num_vertices} vertices")
        if self.uv is not None and len(self.uv) != self.num_faces:
            raise MeshError(f"{len(self.uv)} faces have texture coordinates, but there are {self.num_faces} faces")
        if self.vertex_colors is not None and len(self.vertex_colors) != self.num_vertices:
            raise MeshError(f"{len(self.vertex_colors)} vertex colours for {self.num_vertices} vertices")

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
            moved = np.empty(points.shape, np.float32)
            kernels.move_points(points, rotation, translation, scale, moved)
            return moved

        names = list(self.landmarks)
        points = move(np.array([self.landmarks[name] for name in names], np.float32).reshape(-1, 3))
        return replace(self, vertices=move(self.vertices), landmarks=dict(zip(names, points, strict=True)))
