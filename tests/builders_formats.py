"""Files of the formats that `builders` does not know: arrays, PCD, FRGC range images, USD; the same little mesh."""

# ruff: noqa: UP031

from __future__ import annotations

import io
import struct

import numpy as np

from builders import COLORS, FACES, POLYGONS, VERTICES
from builders_gltf import Gltf, glb


def npz(*, packed: bool = False, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **(arrays or {"vertices": VERTICES, "faces": FACES}))
    return file.getvalue()


def npy(array: np.ndarray = VERTICES) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def lzf(data: bytes) -> bytes:
    """Pack bytes: a repeat of the byte before as a back reference, all else as it is."""
    packed = bytearray()
    i = 0
    while i < len(data):
        run = 0
        while i and run < 264 and i + run < len(data) and data[i + run] == data[i - 1]:
            run += 1
        if run >= 3:
            packed += bytes([(run - 2) << 5, 0]) if run < 9 else bytes([7 << 5, run - 9, 0])
            i += run
            continue
        packed += bytes([0, data[i]])
        i += 1
    return bytes(packed)


def packed_rgb(colors: np.ndarray = COLORS) -> np.ndarray:
    wide = colors.astype(np.uint32)
    return wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]


def pcd(
    encoding: str = "ascii",
    *,
    points: np.ndarray = VERTICES,
    fields: str = "x y z",
    kinds: str = "f4 f4 f4",
    columns: list[np.ndarray] | None = None,
    head: str = "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n",
    height: int = 1,
    announced: int | None = None,
) -> bytes:
    """A cloud of the given fields; each column is (n,) or (n, count)."""
    columns = list(points.T) if columns is None else columns
    columns = [np.asarray(column).reshape(len(column), -1).astype("<" + kind) for column, kind in
               zip(columns, kinds.split(), strict=True)]  # fmt: skip
    num = len(columns[0])
    header = head + f"FIELDS {fields}\n"
    header += "SIZE " + " ".join(kind[1:] for kind in kinds.split()) + "\n"
    header += "TYPE " + " ".join(kind[0].upper() for kind in kinds.split()) + "\n"
    header += "COUNT " + " ".join(str(column.shape[1]) for column in columns) + "\n"
    header += f"WIDTH {num // height}\nHEIGHT {height}\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {announced or num}\n"
    header += f"DATA {encoding}\n"
    if encoding == "ascii":
        rows = [" ".join("%.9g" % value for column in columns for value in column[row].tolist()) for row in range(num)]
        return (header + "\n".join(rows) + "\n").encode()
    if encoding == "binary":
        return header.encode() + b"".join(column[row].tobytes() for row in range(num) for column in columns)
    body = b"".join(column.tobytes() for column in columns)
    packed = lzf(body)
    return header.encode() + struct.pack("<2I", len(packed), len(body)) + packed


def frgc_grid(num_rows: int = 4, num_columns: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Flags and points (row, column, 3) of a slope before the scanner, row 0 on top; one point was not seen."""
    row, column = np.mgrid[:num_rows, :num_columns]
    points = np.stack([column * 1.5, -row * 1.5, -1500 + 0.25 * column + 0.5 * row], axis=-1).astype(np.float64)
    flags = np.ones((num_rows, num_columns), int)
    flags[0, 0] = 0
    points[0, 0] = -999999
    return flags, points


def frgc(flags: np.ndarray | None = None, points: np.ndarray | None = None, *, end: str = "\n") -> bytes:
    if flags is None or points is None:
        flags, points = frgc_grid()
    lines = [f"{flags.shape[0]} rows", f"{flags.shape[1]} columns", "pixels (flag X Y Z):"]
    lines.append(" ".join(map(str, flags.ravel().tolist())))
    lines += [" ".join("%f" % value for value in points[..., axis].ravel().tolist()) for axis in range(3)]
    return (end.join(lines) + end).encode()


def usda(*, body: str | None = None, head: str = 'upAxis = "Y"\n    metersPerUnit = 0.001') -> bytes:
    return f"#usda 1.0\n(\n    {head}\n)\n{usd_mesh() if body is None else body}\n".encode()


def usd_mesh(name: str = "face", *, points: np.ndarray = VERTICES, extra: str = "", polygons=POLYGONS) -> str:
    listed = ", ".join("(%g, %g, %g)" % tuple(row) for row in points.tolist())
    counts = ", ".join(str(len(polygon)) for polygon in polygons)
    indices = ", ".join(str(index) for polygon in polygons for index in polygon)
    return (
        f'def Mesh "{name}"\n{{\n    int[] faceVertexCounts = [{counts}]\n    int[] faceVertexIndices = [{indices}]\n'
        f"    point3f[] points = [{listed}]\n{extra}\n}}"
    )


def plain_gltf() -> bytes:
    file = Gltf()
    return file.shown(file.little()).gltf()


FORMATS: dict[str, bytes] = {
    "a.glb": glb(),
    "a.gltf": plain_gltf(),
    "a.npz": npz(),
    "packed.npz": npz(packed=True),
    "a.npy": npy(),
    "text.pcd": pcd(),
    "binary.pcd": pcd("binary"),
    "packed.pcd": pcd("binary_compressed"),
    "a.abs": frgc(),
    "a.asc": b"1 2 3 255 0 7\n4 5 6 1 2 3\n",
}
