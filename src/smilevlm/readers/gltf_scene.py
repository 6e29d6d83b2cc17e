"""Where the nodes of a glTF scene stand, and the vertices of a primitive as its node shows them.

Source: Khronos, glTF 2.0 specification, sections 3.5 (scenes), 3.7.2.2 (morph targets) and 3.7.3 (skins).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64

from smilevlm.errors import MeshError

if TYPE_CHECKING:
    from smilevlm.readers.gltf_buffers import Buffers
    from smilevlm.readers.gltf_schema import Document, Node, Primitive

SKIN_ROWS = 65_536
"""Vertices that are moved by their joints at a time."""

Matrix = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Placed:
    """A mesh of the scene.

    Args:
        node: The node that shows it.
        world: From the node's frame to the scene's.
        joints: From the frame of each joint's vertices to the scene's; None without a skin.
    """

    node: Node
    world: Matrix
    joints: Float64[np.ndarray, "joint 4 4"] | None

    @property
    def is_mirrored(self) -> bool:
        turned = self.world if self.joints is None or not len(self.joints) else self.joints[0]
        return bool(np.linalg.det(turned[:3, :3]) < 0)


def placed_meshes(document: Document, buffers: Buffers, remarks: list[str]) -> list[Placed]:
    """The meshes of the default scene; of a file without scenes, those of all nodes; without nodes, all meshes.

    Args:
        document: The file's.
        buffers: Over the same.
        remarks: Receives what was left out.

    Raises:
        MeshError: A node is not there, or below two others or itself.
    """
    from smilevlm.readers.gltf_schema import Node

    if not document.nodes and not document.scenes:
        return [Placed(Node(mesh=number), np.eye(4), None) for number in range(len(document.meshes))]
    worlds = dict(_walk(document, buffers))
    found = []
    for number, world in worlds.items():
        node = document.nodes[number]
        if node.mesh is not None:
            joints = None
            if node.skin is not None:
                try:
                    joints = _joint_matrices(document, buffers, node.skin, worlds)
                except MeshError as error:
                    remarks.append(f"skin left out, the mesh is read unposed: {error.message}")
            found.append(Placed(node, world, joints))
    return found


def _walk(document: Document, buffers: Buffers) -> Iterator[tuple[int, Matrix]]:
    """Every node of the scene with its matrix."""
    if document.scenes:
        roots = buffers.item(document.scenes, document.scene or 0, "scene").nodes
    else:
        children = {child for node in document.nodes for child in node.children}
        roots = [number for number in range(len(document.nodes)) if number not in children]
    seen: set[int] = set()
    waiting = [(number, np.eye(4)) for number in reversed(roots)]
    while waiting:
        number, above = waiting.pop()
        node = buffers.item(document.nodes, number, "node")
        if number in seen:
            raise buffers.error(f"node {number} stands below two nodes or below itself")
        seen.add(number)
        with np.errstate(all="ignore"):  # what overflows is dropped with the vertices
            world = above @ _local_matrix(node)
        yield number, world
        waiting += [(child, world) for child in reversed(node.children)]


def _local_matrix(node: Node) -> Matrix:
    if node.matrix is not None:
        return np.array(node.matrix, np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    quaternion = np.array(node.rotation, np.float64)
    length = np.linalg.norm(quaternion)
    x, y, z, w = quaternion / length if length > 0 else (0.0, 0.0, 0.0, 1.0)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix[:3, :3] = rotation * np.array(node.scale, np.float64)
    matrix[:3, 3] = node.translation
    return matrix


def _joint_matrices(
    document: Document, buffers: Buffers, number: int, worlds: dict[int, Matrix]
) -> Float64[np.ndarray, "joint 4 4"]:
    skin = buffers.item(document.skins, number, "skin")
    if missing := [joint for joint in skin.joints if joint not in worlds]:
        raise buffers.error(f"joint {missing[0]} of skin {number} is not in the scene")
    buffers.require_memory(300 * len(skin.joints))
    matrices = np.array([worlds[joint] for joint in skin.joints], np.float64).reshape(-1, 4, 4)
    if skin.inverse_bind_matrices is None:
        return matrices
    inverse = buffers.floats(skin.inverse_bind_matrices, ("MAT4",))
    if len(inverse) < len(matrices):
        raise buffers.error(f"skin {number} has {len(matrices)} joints and {len(inverse)} inverse bind matrices")
    with np.errstate(all="ignore"):
        return matrices @ inverse[: len(matrices)].reshape(-1, 4, 4).transpose(0, 2, 1)


def world_vertices(
    primitive: Primitive, placed: Placed, document: Document, buffers: Buffers, remarks: list[str]
) -> Float64[np.ndarray, "vert 3"]:
    """The vertices of a primitive in the scene's frame: morph targets applied, then the skin or the node's transform.

    Raises:
        MeshError: The positions or a target that has a weight cannot be read.
    """
    positions = _morphed(primitive, placed.node, document, buffers)
    buffers.require_memory(100 * len(positions))
    with np.errstate(all="ignore"):
        if placed.joints is not None:
            try:
                return _skinned(positions, primitive, placed.joints, buffers)
            except MeshError as error:
                remarks.append(f"skin left out, the mesh is read unposed: {error.message}")
        return positions.astype(np.float64) @ placed.world[:3, :3].T + placed.world[:3, 3]


def _morphed(primitive: Primitive, node: Node, document: Document, buffers: Buffers) -> Float32[np.ndarray, "vert 3"]:
    accessor = primitive.attributes["POSITION"]
    if buffers.is_empty(accessor):
        buffers.refuse_compression(primitive.extensions)
    positions = buffers.floats(accessor, ("VEC3",))
    assert node.mesh is not None
    weights = node.weights if node.weights is not None else document.meshes[node.mesh].weights
    for target, weight in zip(primitive.targets, weights, strict=False):
        if weight != 0 and "POSITION" in target:
            change = buffers.floats(target["POSITION"], ("VEC3",))
            if len(change) != len(positions):
                raise buffers.error(f"a morph target of {len(change)} vertices for {len(positions)}")
            with np.errstate(all="ignore"):
                positions += np.float32(weight) * change
    return positions


def _skinned(
    positions: Float32[np.ndarray, "vert 3"],
    primitive: Primitive,
    matrices: Float64[np.ndarray, "joint 4 4"],
    buffers: Buffers,
) -> Float64[np.ndarray, "vert 3"]:
    """Each vertex as the weighted mean of where its joints take it."""
    moved, total = np.zeros(positions.shape, np.float64), np.zeros(len(positions), np.float64)
    number = 0
    while f"JOINTS_{number}" in primitive.attributes:
        joints = buffers.array(primitive.attributes[f"JOINTS_{number}"], ("VEC4",))
        weights = buffers.floats(primitive.attributes.get(f"WEIGHTS_{number}", -1), ("VEC4",))
        if joints.dtype.kind != "u" or len(joints) != len(positions) or len(weights) != len(positions):
            raise buffers.error("joints and weights do not fit the vertices")
        if (joints.max(initial=0, where=weights != 0)) >= len(matrices):
            raise buffers.error(f"a vertex names joint {joints.max()}, there are {len(matrices)}")
        for start in range(0, len(positions), SKIN_ROWS):
            rows = slice(start, start + SKIN_ROWS)
            for column in range(4):
                weight = weights[rows, column].astype(np.float64)
                taken = matrices[np.where(weight != 0, joints[rows, column], 0)]
                moved[rows] += weight[:, None] * (
                    np.einsum("vij,vj->vi", taken[:, :3, :3], positions[rows]) + taken[:, :3, 3]
                )
                total[rows] += weight
        number += 1
    if not (total > 0).all():
        raise buffers.error("a vertex without joints")
    return moved / total[:, None]
