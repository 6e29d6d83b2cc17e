"""One way in for every mesh format, and one way out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers.archives import list_names, read_file
from smilevlm.readers.bnt import read_bnt
from smilevlm.readers.decode import decimal_points, decode_text, unpack
from smilevlm.readers.file_kinds import ADVICE, NOT_MESHES, mesh_suffix, sniff
from smilevlm.readers.frgc import read_abs
from smilevlm.readers.gltf import read_gltf
from smilevlm.readers.numpy_arrays import read_npy, read_npz
from smilevlm.readers.obj import read_obj, write_obj
from smilevlm.readers.off import read_off, write_off
from smilevlm.readers.pcd import read_pcd
from smilevlm.readers.ply import read_ply, write_ply
from smilevlm.readers.point_cloud import read_point_cloud
from smilevlm.readers.stl import read_stl, write_stl
from smilevlm.readers.usd import read_usd
from smilevlm.readers.vrml import read_vrml, read_x3d

Reader = Callable[..., Mesh]
_FORMATS: dict[Reader, str] = {
    read_vrml: ".wrl .vrml .wrz .x3dv .iv",
    read_x3d: ".x3d",
    read_obj: ".obj",
    read_ply: ".ply",
    read_bnt: ".bnt",
    read_stl: ".stl",
    read_off: ".off",
    read_gltf: ".glb .gltf .vrm",
    read_usd: ".usdz .usda .usdc .usd",
    read_abs: ".abs",
    read_npz: ".npz",
    read_npy: ".npy",
    read_pcd: ".pcd",
    read_point_cloud: ".xyz .txt .pts .csv .asc .xyzn .xyzrgb .dat",
}
_TEXTURED = {read_vrml, read_x3d, read_obj, read_ply, read_bnt, read_gltf}
"""Readers that take `load_texture`."""
READERS: dict[str, Reader] = {suffix: reader for reader, suffixes in _FORMATS.items() for suffix in suffixes.split()}
MESH_SUFFIXES = tuple(READERS)
EXACT_SUFFIXES = (".bnt", ".glb", ".gltf", ".vrm", ".usdz", ".usda", ".usdc", ".usd", ".npz", ".npy", ".pcd")
"""Formats whose numbers are binary, or in which a comma always separates: no decimal commas are looked for."""
ZIPPED_SUFFIXES = (".npz", ".usdz")
"""Formats that are zip archives by their first bytes."""
POINT_SUFFIXES = (".txt", ".csv", ".dat", ".npy", ".npz")
"""Text, tables and arrays of numbers are taken for point clouds only where no other mesh lies beside them."""


def read_mesh(path: str | os.PathLike[str], *, load_texture: bool = True) -> Mesh:
    """Read a scan of any supported format, chosen by the file's suffix in any case.

    Args:
        path: A mesh (`.wrl`, `.x3d`, `.obj`, `.ply`, `.glb`, `.gltf`, `.stl`, `.off`, `.npz`, `.bnt`, `.abs`, `.usdz`,
            ...), or a point cloud (`.pcd`, `.npy`, or lines `x y z` in `.xyz`, `.asc`, `.txt`, `.csv`, ...).
        load_texture: Also read the texture image, where the format has one. A missing image is no error.

    Returns:
        The mesh in the unit and frame of the file.

    Raises:
        MeshError: The file is missing, a folder, empty, of an unknown suffix, or broken, at `path:line` or a byte
            offset; or the texture cannot be decoded.
    """
    path = Path(path)
    return parse_mesh(read_file(path), path, load_texture=load_texture)


@dataclass(frozen=True, kw_only=True)
class DecodedFile:
    """The bytes of a scan for the reader that `suffix` names: unpacked, text as UTF-8 with decimal points."""

    data: bytes
    suffix: str
    remarks: tuple[str, ...]


def decode_file(data: bytes, path: Path) -> DecodedFile:
    """Everything before a format's own reader: unpack, decode, find the format.

    The suffix chooses the reader where the bytes cannot be recognised.
    """
    suffix = mesh_suffix(path)
    data = decode_text(unpack(data, path), path)
    kind = sniff(data)
    if kind == ".xyz" and suffix == ".off":  # the word OFF may be absent: then numbers alone are left
        kind = None
    if kind in NOT_MESHES:
        raise MeshError(NOT_MESHES[kind], path=path)
    if (kind == ".zip" and suffix not in ZIPPED_SUFFIXES) or (suffix == ".zip" and kind not in READERS):
        raise MeshError(_archive_fault(path, suffix), path=path)
    if kind in ADVICE and kind not in READERS:
        raise MeshError(f"the bytes are those of a {kind} file, {ADVICE[kind]}", path=path)
    # Several suffixes may share a reader: then the bytes are what the suffix says.
    is_other = kind in READERS and READERS.get(suffix) is not READERS[kind]
    chosen = kind if is_other else suffix
    if chosen not in READERS:
        given = f"unknown suffix {suffix!r}" if suffix else "no suffix"
        advice = f"; {ADVICE[suffix]}" if suffix in ADVICE else ""
        raise MeshError(f"{given}, expected one of {' '.join(MESH_SUFFIXES)}{advice}", path=path)
    if chosen not in EXACT_SUFFIXES:
        data = decimal_points(data, commas_separate=READERS[chosen] is read_vrml)
    remarks = (f"its bytes are those of a {chosen} file; read so",) if is_other else ()
    return DecodedFile(data=data, suffix=chosen, remarks=remarks)


def _archive_fault(path: Path, suffix: str) -> str:
    """Why a zip archive cannot be read where a scan is expected."""
    if suffix != ".zip":
        return f"a zip archive named {suffix or 'without a suffix'}: rename it to .zip, or unpack it"
    try:
        list_names(path)
    except MeshError as error:
        return f"a damaged archive: {error.message}"
    return "an archive, expected one file in it"


def parse_mesh(data: bytes, path: Path, *, load_texture: bool = True) -> Mesh:
    """`read_mesh` from the bytes of a file; its path names the format, textures are looked for beside it."""
    file = decode_file(data, path)
    reader = READERS[file.suffix]
    # Numbers that are none, signalling ones too, are the business of the policy for bad elements.
    with np.errstate(over="ignore", invalid="ignore"):
        mesh = reader(file.data, path=path, **({"load_texture": load_texture} if reader in _TEXTURED else {}))
    return replace(mesh, remarks=(*file.remarks, *mesh.remarks)) if file.remarks else mesh


def write_mesh(mesh: Mesh, path: str | os.PathLike[str]) -> None:
    """Write a mesh as `.obj`, `.ply` (binary), `.stl` (binary) or `.off`, chosen by the suffix."""
    path = Path(path)
    text_writer = {".obj": write_obj, ".off": write_off}.get(path.suffix.lower())
    binary_writer = {".ply": write_ply, ".stl": write_stl}.get(path.suffix.lower())
    try:
        if text_writer is not None:
            with path.open("w", encoding="utf-8", newline="\n") as file:
                text_writer(file, mesh)
        elif binary_writer is not None:
            with path.open("wb") as file:
                binary_writer(file, mesh)
        else:
            raise MeshError(f"cannot write suffix {path.suffix!r}, expected .obj .ply .stl .off", path=path)
    except OSError as error:
        raise MeshError(f"cannot be written: {error.strerror}", path=path) from error
