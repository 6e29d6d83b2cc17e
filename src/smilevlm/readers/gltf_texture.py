"""The base colour image of a glTF scene, and the texture coordinates that belong to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from smilevlm.errors import MeshError
from smilevlm.readers.textures import decode_texture
from smilevlm.typing import RgbImage

if TYPE_CHECKING:
    from smilevlm.readers.gltf import Part
    from smilevlm.readers.gltf_buffers import Buffers
    from smilevlm.readers.gltf_schema import Appearance, TextureInfo


def base_color(
    raw: dict[str, Any], parts: Sequence[Part], buffers: Buffers, path: Path
) -> tuple[Float32[np.ndarray, "corner 2"], RgbImage] | None:
    """The image that colours most triangles, and its coordinates for each corner of all parts.

    Args:
        raw: The document as written.
        parts: The triangles of the scene.
        buffers: Of the same file.
        path: The file, for messages.

    Returns:
        u to the right and v from the bottom, (0, 0) where a part has another image or none; None without an image.

    Raises:
        MeshError: The materials, the image or the coordinates cannot be read.
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
