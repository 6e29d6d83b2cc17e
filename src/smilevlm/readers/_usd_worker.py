"""Run as a program: the meshes of a USD file as arrays. USD's library runs in a process of its own, see `usd`.

Usage: `python _usd_worker.py SCAN OUT MOST_BYTES`. Imports nothing of this package, so that it starts quickly.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

MOST_MEMORY = 8 * 2**30
"""Of address space, of which the library alone maps a part; a damaged file may ask for any amount."""
REFUSED = 3
"""Exit status after a sentence on standard output that says what is wrong."""


def main(scan: str, out: str, most_bytes: str) -> int:
    limit_memory()
    from pxr import Tf, Usd  # pyright: ignore[reportMissingImports]

    try:
        stage = Usd.Stage.Open(scan)
    except (Tf.ErrorException, RuntimeError):
        return refused("the USD library cannot open it; the file is damaged or no USD")
    folder = Path(scan).resolve().parent
    for layer in stage.GetUsedLayers():
        if not layer.anonymous and folder not in Path(layer.realPath.partition("[")[0]).resolve().parents:
            return refused("it refers to other files; export it as one .usdz or flattened")
    found: dict[str, list[np.ndarray]] = {"Mesh": [], "Points": []}
    corners: list[np.ndarray] = []
    num_bytes = num_vertices = 0
    for prim in stage.Traverse(Usd.TraverseInstanceProxies(Usd.PrimDefaultPredicate)):
        kind = str(prim.GetTypeName())
        if kind not in found or not is_shown(prim):
            continue
        points = world_points(prim)
        num_bytes += points.nbytes
        if kind == "Mesh":
            own = separated_corners(prim, len(points))
            num_bytes += own.nbytes
            corners.append(np.where(own >= 0, own + num_vertices, own) if num_vertices else own)
            num_vertices += len(points)
        if num_bytes > int(most_bytes):
            return refused("it describes far more geometry than it has bytes")
        found[kind].append(points)
    chosen = found["Mesh"] or found["Points"]
    if not chosen:
        return refused("it shows neither a mesh nor points")
    faces = np.concatenate(corners) if corners else np.zeros(0, np.int32)
    np.savez(out, points=np.concatenate(chosen), corners=np.clip(faces, -1, np.iinfo(np.int32).max).astype(np.int32))
    return 0


def limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(hard, MOST_MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def refused(sentence: str) -> int:
    print(sentence)
    return REFUSED


def is_shown(prim: Any) -> bool:  # noqa: ANN401
    from pxr import UsdGeom  # pyright: ignore[reportMissingImports]

    shape = UsdGeom.Imageable(prim)
    is_visible = shape.ComputeVisibility() != UsdGeom.Tokens.invisible
    return is_visible and shape.ComputePurpose() in (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)


def world_points(prim: Any) -> np.ndarray:  # noqa: ANN401
    """(vert, 3) float64 in the stage's frame and unit."""
    from pxr import Usd, UsdGeom  # pyright: ignore[reportMissingImports]

    time = Usd.TimeCode.EarliestTime()
    values = UsdGeom.PointBased(prim).GetPointsAttr().Get(time)
    points = np.array(values if values is not None else [], np.float64).reshape(-1, 3)
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(time), np.float64)
    with np.errstate(all="ignore"):
        return points @ matrix[:3, :3] + matrix[3, :3]


def separated_corners(prim: Any, num_points: int) -> np.ndarray:  # noqa: ANN401
    """The faces' indices, -1 after each; a huge number for one that names no point of this mesh."""
    from pxr import Usd, UsdGeom  # pyright: ignore[reportMissingImports]

    time = Usd.TimeCode.EarliestTime()
    mesh = UsdGeom.Mesh(prim)
    counts = np.array(mesh.GetFaceVertexCountsAttr().Get(time) or [], np.int64)
    named = np.array(mesh.GetFaceVertexIndicesAttr().Get(time) or [], np.int64)
    whole = (counts >= 0).cumprod().astype(bool) & (np.cumsum(np.maximum(counts, 0)) <= len(named))
    counts = counts[whole]  # faces up to the first that is cut short
    named = named[: counts.sum()]
    named = np.where((named >= 0) & (named < num_points), named, np.int64(2**40))
    separated = np.full(len(named) + len(counts), -1, np.int64)
    separated[np.arange(len(named)) + np.repeat(np.arange(len(counts)), counts)] = named
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(time), np.float64)
    is_left = mesh.GetOrientationAttr().Get(time) == UsdGeom.Tokens.leftHanded
    if is_left != (np.linalg.det(matrix[:3, :3]) < 0):
        separated = np.append(separated[::-1][1:], [-1]) if len(separated) else separated
    return separated


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
