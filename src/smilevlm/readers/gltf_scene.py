"""A glTF scene: where its nodes stand, the vertices of a primitive as its node shows them, the base colour image.

Source: Khronos, glTF 2.0 specification, sections 3.5 (scenes), 3.7.2.2 (morph targets) and 3.7.3 (skins).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64

from smilevlm.errors import MeshError
from smilevlm.readers.textures import decode_texture
from smilevlm.typing import RgbImage

if TYPE_CHECKING:
    from smilevlm.readers.gltf import Part
    from smilevlm.readers.gltf_buffers import Buffers
    from smilevlm.readers.gltf_schema import Appearance, Document, Node, Primitive, TextureInfo

SKIN_ROWS = 65_536
"""Vertices that are moved by their joints at a time."""

Matrix = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Placed:
    """A mesh of the scene; `world` maps the node's frame to the scene's, `joints` that of each joint's vertices."""

    node: Node
    world: Matrix
    joints: Float64[np.ndarray, "joint 4 4"] | None

    @property
    def is_mirrored(self) -> bool:
        turned = self.world if self.joints is None or not len(self.joints) else self.joints[0]
        return bool(np.linalg.det(turned[:3, :3]) < 0)


def placed_meshes(document: Document, buffers: Buffers, remarks: list[str]) -> list[Placed]:
    """The meshes of the default scene; of a file without scenes, those of all nodes; without nodes, all meshes."""
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
    visited: set[int] = set()
    waiting = [(number, np.eye(4)) for number in reversed(roots)]
    while waiting:
        number, above = waiting.pop()
        node = buffers.item(document.nodes, number, "node")
        if number in visited:
            raise buffers.error(f"node {number} stands below two nodes or below itself")
        visited.add(number)
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
    """A primitive's vertices in the scene's frame: morph targets applied, then the skin or the node's transform."""
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


def base_color(
    raw: dict[str, Any], parts: Sequence[Part], buffers: Buffers, path: Path
) -> tuple[Float32[np.ndarray, "corner 2"], RgbImage] | None:
    """The image that colours most triangles, and its coordinates for each corner of all parts.

    u to the right and v from the bottom, (0, 0) where a part has another image or none; None without an image.
    """
    from pydantic import ValidationError

    from smilevlm.readers.gltf_schema import Appearance

    try:
        appearance = Appearance.model_validate(raw)
    except ValidationError as error:
        raise buffers.error(f"materials that are none: {error.errors()[0]['msg']}") from error
    used = [_image_of(part, appearance) for part in parts]
    sizes: Counter[int] = Counter()
    for part, found in zip(parts, used, strict=True):
        if found is not None:
            sizes[found[0]] += len(part.corners)
    if not sizes:
        return None
    (number, _) = sizes.most_common(1)[0]
    image = appearance.images[number]
    if image.buffer_view is None and image.uri is None:
        return None
    data = bytes(buffers.view(image.buffer_view)) if image.buffer_view is not None else buffers.load(image.uri or "")
    texture = decode_texture(data, path=path)
    num_corners = 3 * sum(len(part.corners) for part in parts)
    buffers.require_memory(8 * num_corners)
    uv = np.zeros((num_corners, 2), np.float32)
    start = 0
    for part, found in zip(parts, used, strict=True):
        stop = start + 3 * len(part.corners)
        if found is not None and found[0] == number:
            uv[start:stop] = _coordinates(part, found[1], buffers)
        start = stop
    return uv, texture


def _image_of(part: Part, appearance: Appearance) -> tuple[int, TextureInfo] | None:
    number = part.primitive.material
    if not isinstance(number, int) or not 0 <= number < len(appearance.materials):
        return None
    material = appearance.materials[number]
    older = material.extensions.specular_glossiness
    info = material.pbr_metallic_roughness.base_color_texture or (older.diffuse_texture if older else None)
    if info is None or info.index >= len(appearance.textures):
        return None
    source = appearance.textures[info.index].source
    return (source, info) if source is not None and source < len(appearance.images) else None


def _coordinates(part: Part, info: TextureInfo, buffers: Buffers) -> Float32[np.ndarray, "corner 2"]:
    """Source: Khronos, KHR_texture_transform, and the reference viewer for the direction of its rotation."""
    transform = info.extensions.texture_transform
    chosen = info.tex_coord
    if transform is not None and transform.tex_coord is not None:
        chosen = transform.tex_coord
    accessor = part.primitive.attributes.get(f"TEXCOORD_{chosen}")
    if accessor is None:
        return np.zeros((3 * len(part.corners), 2), np.float32)
    points = buffers.floats(accessor, ("VEC2",))
    corners = part.corners.ravel()
    is_there = corners < len(points)
    if not len(points):
        raise MeshError("no texture coordinates")
    with np.errstate(all="ignore"):
        if transform is not None:
            cos, sin = np.cos(transform.rotation), np.sin(transform.rotation)
            matrix = np.array([[cos, sin], [-sin, cos]]) * np.array(transform.scale)
            points = (points @ matrix.T + np.array(transform.offset)).astype(np.float32)
        points = np.stack([points[:, 0], 1 - points[:, 1]], axis=1)
    return np.where(is_there[:, None], points[np.where(is_there, corners, 0)], np.float32(0))
