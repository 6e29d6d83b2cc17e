"""glTF 2.0, `.glb` and `.gltf`: phone apps, Blender, VRM avatars, the web."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source
from smilevlm.readers.elements import (
    BLANK_COLOR,
    color_bytes,
    cut_into_triangles,
    merge_positions,
    separated,
    usable_mesh,
)
from smilevlm.readers.gltf_buffers import Buffers, split_container
from smilevlm.readers.gltf_scene import Placed, base_color, placed_meshes, world_vertices
from smilevlm.typing import RgbImage

if TYPE_CHECKING:
    from smilevlm.readers.gltf_schema import Document, Primitive

POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6
MISSING = int(np.iinfo(np.int32).max)
"""In place of an index that names no vertex of its own primitive, so that it names none of another."""
_PRIMITIVE_BYTES = 500
"""Of memory for a primitive in a scene: nodes may share a mesh of many."""


@dataclass(frozen=True)
class Part:
    """The triangles of one primitive, whose first vertex is `first_vertex` of the scene.

    Corners are indices of its own vertices, `MISSING` for one that is not there.
    """

    primitive: Primitive
    corners: Int64[np.ndarray, "face 3"]
    first_vertex: int


@dataclass
class _Scene:
    """What the primitives of a scene add up to; vertices and colours come in blocks that primitives may share."""

    parts: list[Part] = field(default_factory=list)
    vertices: list[Float64[np.ndarray, "vert 3"]] = field(default_factory=list)
    colors: list[UInt8[np.ndarray, "vert 3"] | None] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    first_vertices: dict[tuple[object, ...], int] = field(default_factory=dict)
    num_vertices: int = 0


def read_gltf(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read the default scene as one mesh: all its triangles, or all its points where it has no triangle.

    Nodes are placed by their transforms, mirrored ones turned over. Morph targets have the weights that the file gives
    them, zero without; skins are posed as the file's nodes stand. Vertices with the same position, which the format
    repeats along seams of texture and normals, become one. The texture is the base colour image; of several the one
    with most triangles. A fault in it or its coordinates costs the texture, with a remark.

    Returns:
        Metres and +y up by the specification; not scaled. Colours as the file has them.
    """
    source = Source(data, path)
    raw, chunk = split_container(source)
    document = _validated(source, raw)
    buffers = Buffers(source, document, chunk)
    scene = _collected(document, buffers)
    if not scene.num_vertices:
        raise source.error("the scene of the glTF file shows neither triangles nor points")
    buffers.require_memory(60 * scene.num_vertices)
    vertices, colors = np.concatenate(scene.vertices), _joined_colors(scene)
    if not sum(len(part.corners) for part in scene.parts):
        return usable_mesh(path, vertices, vertex_colors=colors, remarks=scene.remarks)
    texture = _texture(raw, scene, buffers, path) if load_texture else None
    rows, corners = _joined_corners(scene, vertices, buffers)
    texture_corners = None
    if texture is not None:
        texture_corners = separated(np.arange(len(texture[0])).reshape(-1, 3))
    triangles = cut_into_triangles(
        source,
        corners,
        len(rows),
        texture_corners=texture_corners,
        texture_points=None if texture is None else texture[0],
        bad_index=lambda _: source.error("more faces than a few name vertices that are not there"),
    )
    return usable_mesh(
        path,
        vertices[rows],
        triangles,
        texture=None if texture is None else texture[1],
        vertex_colors=None if colors is None else colors[rows],
        remarks=scene.remarks,
    )


def _validated(source: Source, raw: dict[str, Any]) -> Document:
    from pydantic import ValidationError

    from smilevlm.readers.gltf_schema import Document

    try:
        document = Document.model_validate(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise source.error(f"no valid glTF: {'.'.join(map(str, fault['loc']))[:120]}: {fault['msg']}") from error
    if not document.asset.version.startswith("2"):
        version = document.asset.version[:20]
        raise source.error(f"glTF of version {version}, only 2 is read; open and export it with Blender")
    return document


def _collected(document: Document, buffers: Buffers) -> _Scene:
    scene = _Scene()
    shown = list(_shown(document, buffers, scene.remarks))
    surfaces = [(placed, primitive) for placed, primitive in shown if primitive.mode in (TRIANGLES, STRIP, FAN)]
    chosen = surfaces or [(placed, primitive) for placed, primitive in shown if primitive.mode == POINTS]
    if len(chosen) < len(shown):
        scene.remarks.append(f"{len(shown) - len(chosen)} parts of lines or points left out")
    for placed, primitive in chosen:
        first, count = _block(placed, primitive, document, buffers, scene)
        if primitive.mode != POINTS:
            corners = _corners(primitive, count, buffers)
            corners = corners[:, ::-1] if placed.is_mirrored else corners
            scene.parts.append(Part(primitive, corners, first))
    return scene


def _shown(document: Document, buffers: Buffers, remarks: list[str]) -> Iterator[tuple[Placed, Primitive]]:
    for placed in placed_meshes(document, buffers, remarks):
        assert placed.node.mesh is not None
        for primitive in buffers.item(document.meshes, placed.node.mesh, "mesh").primitives:
            buffers.require_memory(_PRIMITIVE_BYTES)
            if "POSITION" in primitive.attributes:
                yield placed, primitive


def _block(
    placed: Placed, primitive: Primitive, document: Document, buffers: Buffers, scene: _Scene
) -> tuple[int, int]:
    """The first of the scene's vertices that are a primitive's, and their number."""
    kinds = ("POSITION", "JOINTS", "WEIGHTS", "COLOR_0")
    used = {name: number for name, number in primitive.attributes.items() if name.startswith(kinds)}
    targets = [target.get("POSITION") for target in primitive.targets]
    key = (id(placed), *sorted(used.items()), *targets)
    if key not in scene.first_vertices:
        vertices = world_vertices(primitive, placed, document, buffers, scene.remarks)
        scene.first_vertices[key] = scene.num_vertices
        scene.vertices.append(vertices)
        scene.colors.append(_colors(primitive, len(vertices), buffers, scene.remarks))
        scene.num_vertices += len(vertices)
    return scene.first_vertices[key], buffers.count(primitive.attributes["POSITION"])


def _corners(primitive: Primitive, count: int, buffers: Buffers) -> Int64[np.ndarray, "face 3"]:
    """Source: Khronos, glTF 2.0 specification, section 3.7.2.1 (topology types)."""
    buffers.require_memory(8 * count)
    named = np.arange(count) if primitive.indices is None else buffers.indices(primitive.indices)
    named = np.where(named < count, named, MISSING)
    if primitive.mode == TRIANGLES or len(named) < 3:
        return named[: len(named) // 3 * 3].reshape(-1, 3)
    buffers.require_memory(24 * len(named))
    if primitive.mode == FAN:
        return np.stack([named[1:-1], named[2:], np.full(len(named) - 2, named[0])], axis=1)
    corners = np.stack([named[:-2], named[1:-1], named[2:]], axis=1)
    corners[1::2] = corners[1::2][:, [0, 2, 1]]
    return corners


def _colors(
    primitive: Primitive, count: int, buffers: Buffers, remarks: list[str]
) -> UInt8[np.ndarray, "vert 3"] | None:
    if "COLOR_0" not in primitive.attributes:
        return None
    try:
        colors = buffers.floats(primitive.attributes["COLOR_0"], ("VEC3", "VEC4"))
    except MeshError as error:
        remarks.append(f"vertex colours left out: {error.message}")
        return None
    return color_bytes(colors[:, :3]) if len(colors) == count else None


def _joined_colors(scene: _Scene) -> UInt8[np.ndarray, "vert 3"] | None:
    if all(colors is None for colors in scene.colors):
        return None
    pairs = zip(scene.colors, scene.vertices, strict=True)
    return np.concatenate([np.full(v.shape, BLANK_COLOR, np.uint8) if c is None else c for c, v in pairs])


def _texture(raw: dict[str, Any], scene: _Scene, buffers: Buffers, path: Path) -> tuple[np.ndarray, RgbImage] | None:
    try:
        return base_color(raw, scene.parts, buffers, path)
    except MeshError as error:
        scene.remarks.append(f"texture left out: {error.message}")
        return None


def _joined_corners(
    scene: _Scene, vertices: Float64[np.ndarray, "vert 3"], buffers: Buffers
) -> tuple[Int32[np.ndarray, " distinct"], Int32[np.ndarray, " corner"]]:
    """The rows of the distinct vertices, and the faces over them, separated by -1."""
    buffers.require_memory(60 * sum(len(part.corners) for part in scene.parts) + 24 * len(vertices))
    with np.errstate(all="ignore"):
        # Far from zero float32 would join neighbours; relative to a vertex it tells them apart.
        rows, merged = merge_positions((vertices - np.nan_to_num(vertices[0])).astype(np.float32))
    corners = np.concatenate([np.where(p.corners < MISSING, p.corners + p.first_vertex, MISSING) for p in scene.parts])
    is_there = corners < MISSING
    return rows, separated(np.where(is_there, merged[np.where(is_there, corners, 0)], MISSING))
