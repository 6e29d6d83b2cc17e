"""glTF files of the little mesh of `builders`, with every way of writing it that a test asks for."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np

from builders import COLORS, FACES, POINTS, VERTICES, image

TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
FACE_UV = np.stack([POINTS[:5, 0], 1 - POINTS[:5, 1]], axis=1)
"""Per vertex; glTF counts v from the top."""


class Gltf:
    """A document and its one buffer, filled part by part; the attributes of `document` may be changed freely."""

    def __init__(self) -> None:
        self.body = b""
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "accessors": [],
            "bufferViews": [],
            "buffers": [{}],
        }

    def view(self, data: bytes, **more: Any) -> int:
        self.body += bytes(-len(self.body) % 4)
        self.document["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.body), "byteLength": len(data), **more}
        )
        self.body += data
        return len(self.document["bufferViews"]) - 1

    def array(self, values: np.ndarray, *, view: int | None = None, **more: Any) -> int:
        """An accessor, over bytes of its own unless a view is named."""
        values = np.asarray(values)
        width = 1 if values.ndim == 1 else values.shape[1]
        accessor = {
            "bufferView": self.view(values.tobytes()) if view is None else view,
            "componentType": COMPONENTS[values.dtype.str[1:]],
            "count": len(values),
            "type": TYPES[width],
            **more,
        }
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1

    def item(self, kind: str, **values: Any) -> int:
        self.document.setdefault(kind, []).append(values)
        return len(self.document[kind]) - 1

    def node(self, *, is_root: bool = True, **values: Any) -> int:
        number = self.item("nodes", **values)
        if is_root:
            self.document["scenes"][0]["nodes"].append(number)
        return number

    def little(self, vertices: np.ndarray = VERTICES, **more: Any) -> dict[str, Any]:
        """A primitive of the little mesh."""
        return {
            "attributes": {"POSITION": self.array(vertices.astype(np.float32))},
            "indices": self.array(FACES.ravel().astype(np.uint16)),
            **more,
        }

    def shown(self, *primitives: dict[str, Any], **node: Any) -> Gltf:
        """A mesh of these primitives on a node of its own."""
        self.node(mesh=self.item("meshes", primitives=list(primitives)), **node)
        return self

    def textured(self, primitive: dict[str, Any], **info: Any) -> dict[str, Any]:
        """The primitive with texture coordinates and an image in the buffer."""
        primitive["attributes"].setdefault("TEXCOORD_0", self.array(FACE_UV.astype(np.float32)))
        view = self.view(image())
        source = self.item("images", bufferView=view, mimeType="image/png")
        texture = {"index": self.item("textures", source=source), **info}
        primitive["material"] = self.item("materials", pbrMetallicRoughness={"baseColorTexture": texture})
        return primitive

    def glb(self) -> bytes:
        self.document["buffers"][0]["byteLength"] = len(self.body)
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        body = self.body + bytes(-len(self.body) % 4)
        size = 12 + 8 + len(text) + 8 + len(body)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
        return struct.pack("<4s2I", b"glTF", 2, size) + chunks

    def gltf(self, uri: str | None = None) -> bytes:
        """With its buffer in a data URI, or named; then the caller writes `body` beside it."""
        data = "data:application/octet-stream;base64," + base64.b64encode(self.body).decode()
        self.document["buffers"][0] = {"uri": uri or data, "byteLength": len(self.body)}
        return json.dumps(self.document).encode()


def glb() -> bytes:
    """The little mesh with colours, texture, a node's transform and a morph target, all at once."""
    file = Gltf()
    primitive = file.textured(file.little())
    primitive["attributes"]["COLOR_0"] = file.array(COLORS, normalized=True)
    primitive["targets"] = [{"POSITION": file.array(np.ones((5, 3), np.float32))}]
    return file.shown(primitive, translation=[0, 0, 0], weights=[0.0]).glb()
