"""One way in for every mesh format, and one way out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers.archives import read_file
from smilevlm.readers.bnt import read_bnt
from smilevlm.readers.obj import read_obj, write_obj
from smilevlm.readers.off import read_off, write_off
from smilevlm.readers.ply import read_ply, write_ply
from smilevlm.readers.point_cloud import read_point_cloud
from smilevlm.readers.stl import read_stl, write_stl
from smilevlm.readers.vrml import read_vrml

Reader = Callable[[bytes, Path, bool], Mesh]

READERS: dict[str, Reader] = {
    ".wrl": lambda data, path, load_texture: read_vrml(data, path=path, load_texture=load_texture),
    ".vrml": lambda data, path, load_texture: read_vrml(data, path=path, load_texture=load_texture),
    ".obj": lambda data, path, load_texture: read_obj(data, path=path, load_texture=load_texture),
    ".ply": lambda data, path, load_texture: read_ply(data, path=path, load_texture=load_texture),
    ".bnt": lambda data, path, load_texture: read_bnt(data, path=path, load_texture=load_texture),
    ".stl": lambda data, path, _: read_stl(data, path=path),
    ".off": lambda data, path, _: read_off(data, path=path),
    ".xyz": lambda data, path, _: read_point_cloud(data, path=path),
    ".txt": lambda data, path, _: read_point_cloud(data, path=path),
    ".pts": lambda data, path, _: read_point_cloud(data, path=path),
    ".csv": lambda data, path, _: read_point_cloud(data, path=path),
}
MESH_SUFFIXES = tuple(READERS)
POINT_SUFFIXES = (".txt", ".csv")
"""Text and tables are taken for point clouds only where no other mesh lies beside them."""


def read_mesh(path: str | os.PathLike[str], *, load_texture: bool = True) -> Mesh:
    """Read a scan of any supported format, chosen by the file's suffix in any case.

    Args:
        path: A `.wrl`, `.vrml`, `.obj`, `.ply`, `.bnt`, `.stl` or `.off` mesh, or a point cloud of lines `x y z`
            (`.xyz`, `.txt`, `.pts`, `.csv`).
        load_texture: Also read the texture image, where the format has one. A missing image is no error.

    Returns:
        The mesh in the unit and frame of the file.

    Raises:
        MeshError: The file is missing, a folder, empty, of an unknown suffix, or broken, at `path:line` or a byte
            offset; or the texture cannot be decoded.
    """
    path = Path(path)
    return parse_mesh(read_file(path), path, load_texture=load_texture)


def parse_mesh(data: bytes, path: Path, *, load_texture: bool = True) -> Mesh:
    """The same from bytes in memory.

    Args:
        data: The whole file.
        path: Where it came from: its suffix names the format, textures are looked for beside it.
        load_texture: See `read_mesh`.

    Raises:
        MeshError: See `read_mesh`.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        given = f"unknown suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise MeshError(f"{given}, expected one of {' '.join(MESH_SUFFIXES)}", path=path)
    return reader(data, path, load_texture)


def write_mesh(mesh: Mesh, path: str | os.PathLike[str]) -> None:
    """Write a mesh as `.obj`, `.ply` (binary), `.stl` (binary) or `.off`, chosen by the suffix.

    Raises:
        MeshError: Another suffix, or the file cannot be written.
    """
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
