"""Arrays as people have them, converted to those of a `Mesh`: lists, float64, quads, flat lists of sized faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from smilevlm.errors import MeshError
from smilevlm.typing import Faces, Vertices

Origin = tuple[float, float, float]

FAR_OFFSET = 1000.0
"""Coordinates further from zero than this many times the scan's extent lose more than 1/16,000 of it in float32."""
_NUM_SAMPLED = 512
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_PAGE_BYTES = 2**21
"""Of a large page; numpy asks Linux for them where a block has 4 MiB or more."""
_LEAST_BYTES = 2**19
"""Below this, most of a large page would be unused."""
_ALIGNMENT = 64


def vertex_array(values: object) -> tuple[Vertices, Origin]:
    """Coordinates as float32, relative to an origin where they lie far from zero.

    Args:
        values: anything that NumPy makes an (n, 3) array of numbers of. Values beyond float32 become infinite.

    Returns:
        Vertices, and the float64 offset that was taken out: (0, 0, 0) unless the coordinates lie further from zero
        than `FAR_OFFSET` times their extent, as map coordinates do.

    Raises:
        MeshError: The values are no (n, 3) array of numbers.
    """
    array = _numbers(values, "vertices")
    if array.ndim != 2 or array.shape[1] != 3:
        raise MeshError(f"vertices have the shape {array.shape}, expected (n, 3): a row x, y, z for each vertex")
    origin = far_origin(array)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = array if origin is None else array.astype(np.float64) - origin
        vertices = np.ascontiguousarray(moved, np.float32)
    if origin is None:
        return vertices, (0.0, 0.0, 0.0)
    return vertices, (float(origin[0]), float(origin[1]), float(origin[2]))


def far_origin(array: Shaped[np.ndarray, "vert 3"]) -> Float[np.ndarray, " 3"] | None:
    """Where the bulk of the coordinates lies, rounded to whole units; None when that is near enough to zero."""
    with np.errstate(invalid="ignore"):  # signalling nan
        some = array[:: max(1, len(array) // _NUM_SAMPLED)].astype(np.float64)
    some = finite_rows(some)
    if len(some) == 0:
        return None
    some.sort(axis=0)  # quartiles as they are written: np.quantile takes as long as all else here
    low, middle, high = some[len(some) // 4], some[len(some) // 2], some[3 * len(some) // 4]
    if not 0 < FAR_OFFSET * float((high - low).max()) < float(np.abs(middle).max()) < _FLOAT32_MAX:
        return None
    return np.round(middle)


def finite_rows(rows: Shaped[np.ndarray, "row 3"]) -> Shaped[np.ndarray, "finite 3"]:
    """The rows whose numbers are all finite; the rows themselves where all are, which is quick to see."""
    is_finite = np.isfinite(rows)
    return rows if is_finite.all() else rows[is_finite.all(axis=1)]


def face_array(values: object, num_vertices: int) -> tuple[Faces, np.ndarray | None]:
    """Faces as int32 triangles.

    Args:
        values: None or an empty list for a point cloud; (n, 3) triangles; (n, 4) quads, a last index of -1 for a
            triangle among them; or a flat list of sized faces as VTK and PyVista keep them (`3, a, b, c, 4, a, ...`).
        num_vertices: How many there are to name.

    Returns:
        Triangles, and for each the row of `values` it comes from; None where they are the rows themselves.

    Raises:
        MeshError: Another shape, indices that are no whole numbers, or a face that names a vertex that is not there.
    """
    if values is None:
        return np.zeros((0, 3), np.int32), None
    array = _numbers(values, "faces")
    if array.size == 0:
        return np.zeros((0, 3), np.int32), None
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == np.floor(array)).all()):
            raise MeshError("faces hold numbers that are not whole, expected vertex indices")
        array = array.astype(np.int64)
    rows = None
    if array.ndim == 1:
        array, rows = _sized_faces(array)
    elif array.ndim != 2 or array.shape[1] not in (3, 4):
        raise MeshError(f"faces have the shape {array.shape}, expected (n, 3) triangles or (n, 4) quads")
    elif array.shape[1] == 4:
        array, rows = _cut_quads(array)
    lowest, highest = (int(array.min()), int(array.max())) if array.size else (0, -1)
    if lowest < 0 or highest >= num_vertices:
        bad = lowest if lowest < 0 else highest
        raise MeshError(f"a face names vertex {bad}, but there are {num_vertices} vertices")
    return np.ascontiguousarray(array, np.int32), rows


def _cut_quads(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) to triangles: corners 0 1 2 and 0 2 3, the second only where there is a fourth corner."""
    is_quad = quads[:, 3] >= 0
    triangles = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], axis=1)
    kept = np.stack([np.ones(len(quads), bool), is_quad], axis=1)
    return triangles[kept], np.repeat(np.arange(len(quads)), 1 + is_quad)


def _sized_faces(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A flat list of faces, each after its number of corners, as a fan of triangles each."""
    size = int(flat[0])
    if size >= 3 and len(flat) % (size + 1) == 0 and (flat[:: size + 1] == size).all():
        polygons = flat.reshape(-1, size + 1)[:, 1:]
        fans = [polygons[:, [0, corner, corner + 1]] for corner in range(1, size - 1)]
        return np.stack(fans, axis=1).reshape(-1, 3), np.repeat(np.arange(len(polygons)), size - 2)
    triangles: list[np.ndarray] = []
    owners: list[int] = []
    at = row = 0
    while at < len(flat):
        size = int(flat[at])
        if not 3 <= size <= len(flat) - at - 1:
            raise MeshError(
                f"faces are a flat list and its face {row} has {size} corners; expected an (n, 3) array, or each face "
                "after its number of corners"
            )
        corners = flat[at + 1 : at + 1 + size]
        triangles.append(np.stack([np.repeat(corners[0], size - 2), corners[1:-1], corners[2:]], axis=1))
        owners += [row] * (size - 2)
        at, row = at + 1 + size, row + 1
    return np.concatenate(triangles), np.array(owners)


def _numbers(values: object, what: str) -> np.ndarray:
    """An array of real numbers: of tensors on a device, lists and data frames too."""
    if (detach := getattr(values, "detach", None)) is not None:
        values = detach().cpu()
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MeshError(f"{what} are no array of numbers ({type(values).__name__}): {error}") from None
    if array.dtype.kind not in "fiu":
        raise MeshError(f"{what} are no array of numbers, but of {array.dtype} ({type(values).__name__})")
    return array


def float32_array(values: object, what: str, shape: tuple[int | None, ...]) -> Float32[np.ndarray, ...]:
    """A float32 array of a shape; None in it stands for any length."""
    return np.ascontiguousarray(_of_shape(_numbers(values, what), what, shape), np.float32)


def byte_array(values: object, what: str, shape: tuple[int | None, ...]) -> UInt8[np.ndarray, ...]:
    """A uint8 array of a shape, of whole numbers from 0 to 255; None in it stands for any length."""
    array = _of_shape(_numbers(values, what), what, shape)
    if array.dtype == np.uint8:
        return array
    if array.size and not (array.min() >= 0 and array.max() <= 255 and (array == np.floor(array)).all()):
        raise MeshError(f"{what} must be whole numbers from 0 to 255")
    return array.astype(np.uint8)


def _of_shape(array: np.ndarray, what: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise MeshError(f"{what} have the shape {array.shape}, expected ({wanted})")
    return array


def empty_arrays(*kinds: tuple[Sequence[int], type[np.generic]]) -> list[np.ndarray]:
    """Arrays of the given shapes and types, not filled, one behind the other in a block on large pages.

    On small pages it costs more to get the memory of a large mesh than to write it. The block is freed with the last of
    them. Elsewhere than on Linux it is memory like any other.
    """
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in kinds]
    starts = np.cumsum([0] + [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes])
    if starts[-1] < _LEAST_BYTES:
        return [np.empty(shape, kind) for shape, kind in kinds]
    # Room to start at a page's border, and for the last page to be a whole one; what is not touched is not taken.
    block = np.empty((-(-int(starts[-1]) // _PAGE_BYTES) + 1) * _PAGE_BYTES, np.uint8)
    first = -block.ctypes.data % _PAGE_BYTES
    return [
        block[first + start : first + start + size].view(kind).reshape(shape)
        for (shape, kind), start, size in zip(kinds, starts, sizes, strict=False)
    ]
