"""What the page shows: a turning face as GLB, images inside the page itself, bars."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float

from smilevlm.geometry import Mesh
from smilevlm.typing import RgbImage

MAX_SHOWN_VERTICES = 30_000
"""More make the file of the turning face large and cannot be told apart on a page."""
_SHOWN_UNIT_MM = 100.0
_SWING_DEG, _SWING_S, _SWING_KEYS = 35.0, 9.0, 25
_SKIN = (128, 98, 76, 255)
"""Linear, as glTF has colours."""


def thinned(mesh: Mesh, most: int) -> Mesh:
    """A mesh of at most so many vertices: those within one cell of a grid become one, in their middle.

    Args:
        mesh: Face frame, millimetres.
        most: Vertices; a mesh that has no more stays as it is, without what the page does not show.
    """
    vertices, faces = mesh.vertices, mesh.faces
    if len(vertices) == 0:
        return mesh
    side = max(float(np.sqrt(np.prod(np.sort(np.ptp(vertices, axis=0))[1:]) / most)), 1e-3)
    while len(vertices) > most:
        cells = np.floor(mesh.vertices / side).astype(np.int64)
        _, owner, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        owner = owner.reshape(-1)
        sums = [np.bincount(owner, weights=mesh.vertices[:, axis]) for axis in range(3)]
        vertices = (np.stack(sums, axis=1) / counts[:, None]).astype(np.float32)
        merged = owner[mesh.faces].astype(np.int32).reshape(-1, 3)
        first, second, third = merged.T
        faces = merged[(first != second) & (second != third) & (third != first)]
        side *= 1.2
    return Mesh(vertices=vertices, faces=np.ascontiguousarray(faces))


def glb(mesh: Mesh) -> bytes:
    """The face as binary glTF, slowly turning from side to side.

    Args:
        mesh: Face frame, millimetres.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    # Around its middle, which it turns about.
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    vertices = (mesh.vertices - middle) / np.float32(_SHOWN_UNIT_MM)
    if mesh.is_point_cloud:
        shape: Any = trimesh.PointCloud(vertices, colors=np.tile(np.array(_SKIN, np.uint8), (len(vertices), 1)))
    else:
        skin = PBRMaterial(baseColorFactor=_SKIN, metallicFactor=0.0, roughnessFactor=0.75, doubleSided=True)
        shape = trimesh.Trimesh(vertices, mesh.faces, process=False, visual=TextureVisuals(material=skin))
    scene = trimesh.Scene()
    scene.add_geometry(shape, node_name="face", geom_name="face")
    return export_glb(scene, include_normals=not mesh.is_point_cloud, tree_postprocessor=_swing)


def _swing(tree: dict[str, Any]) -> None:
    """Add the animation to the glTF tree; its few numbers are a buffer of their own, written into the tree."""
    times = np.linspace(0, _SWING_S, _SWING_KEYS, dtype=np.float32)
    half_angles = np.deg2rad(_SWING_DEG) * np.sin(2 * np.pi * times / _SWING_S) / 2
    turns = np.zeros((_SWING_KEYS, 4), np.float32)
    turns[:, 1], turns[:, 3] = np.sin(half_angles), np.cos(half_angles)
    data = times.tobytes() + turns.tobytes()
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    tree["buffers"].append({"byteLength": len(data), "uri": uri})
    buffer, views, accessors = len(tree["buffers"]) - 1, tree["bufferViews"], tree["accessors"]
    views.append({"buffer": buffer, "byteOffset": 0, "byteLength": times.nbytes})
    views.append({"buffer": buffer, "byteOffset": times.nbytes, "byteLength": turns.nbytes})
    shared = {"componentType": 5126, "count": _SWING_KEYS}
    accessors.append({**shared, "bufferView": len(views) - 2, "type": "SCALAR", "min": [0.0], "max": [_SWING_S]})
    accessors.append({**shared, "bufferView": len(views) - 1, "type": "VEC4"})
    node = next(number for number, each in enumerate(tree["nodes"]) if "mesh" in each)
    # An animated node may not carry a matrix.
    tree["nodes"][node].pop("matrix", None)
    sampler = {"input": len(accessors) - 2, "output": len(accessors) - 1, "interpolation": "LINEAR"}
    channel = {"sampler": 0, "target": {"node": node, "path": "rotation"}}
    tree["animations"] = [{"name": "turning", "samplers": [sampler], "channels": [channel]}]


def png(image: RgbImage) -> bytes:
    """The image as a PNG file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def figure(image: RgbImage, caption: str) -> str:
    """An image with its caption; the bytes stand in the page, so that no file is left behind."""
    data = base64.b64encode(png(image)).decode()
    words = escape(caption)
    return f'<figure><img alt="{words}" src="data:image/png;base64,{data}"><figcaption>{words}</figcaption></figure>'


def bars(shares: dict[str, float], *, strongest: str | None = None) -> str:
    """Labelled bars of shares in [0, 1].

    Args:
        shares: By label, in the order shown.
        strongest: The label to set apart.
    """
    rows = []
    for label, share in shares.items():
        kind = "bar strongest" if label == strongest else "bar"
        rows.append(
            f'<div class="{kind}"><span class="name">{escape(label)}</span><span class="track"><span class="fill" '
            f'style="width:{100 * share:.1f}%"></span></span><span class="share">{100 * share:.1f} %</span></div>'
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def sorted_shares(shares: dict[str, float]) -> dict[str, float]:
    """Largest first."""
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def weight_bars(weights: dict[float, float]) -> str:
    """The share of each view."""
    return bars({angle_in_words(angle): weight for angle, weight in weights.items()})


def angle_in_words(angle: float) -> str:
    """How far a view is turned, as the viewer sees it."""
    if angle == 0:
        return "from the front"
    return f"turned {abs(angle):g}° to the {'right' if angle > 0 else 'left'}"


def percent(share: Float[np.ndarray, ""] | float) -> str:
    return f"{100 * float(share):.0f} %"
