"""Scans in VRML and X3D: BU-3DFE (`*_F3D.wrl`, `*_RAW.wrl`), BU-4DFE (`000.wrl`), and files of any other origin.

VRML 2.0, X3D in its classic and its XML encoding, VRML 1.0 and the text form of Open Inventor are trees of the same
kind of nodes: each syntax has a parser, each generation a walk through the nodes, and the rest is common.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh
from smilevlm.readers._source import Source
from smilevlm.readers.elements import BLANK_COLOR, Triangles, usable_mesh
from smilevlm.readers.textures import load_named_texture
from smilevlm.readers.vrml_nodes import Document
from smilevlm.readers.vrml_scene import Collected, Placed, walk_scene, walk_scene_1
from smilevlm.readers.vrml_syntax import parse_vrml
from smilevlm.readers.x3d_xml import parse_x3d, with_blanks
from smilevlm.typing import CornerUv, Faces

_HEADER = re.compile(rb"\s*(?:#(?!VRML|X3D|Inventor)[^\r\n]*\s*)*#(VRML|X3D|Inventor)\s+V(\d)[^\r\n]*", re.IGNORECASE)
_HEADER_BYTES = 1024
_XML_PROTOTYPES = "its geometry is in prototypes, which are not read in XML: save it as .x3dv or .wrl"


def read_vrml(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """Read all surfaces and points of a VRML 2.0, VRML 1.0, Open Inventor or classic X3D file as one mesh.

    Transforms are applied, prototypes expanded. Faces with more than three corners are cut as fans. Texture coordinates
    follow texCoordIndex, which in BU-3DFE differs from coordIndex; without it coordIndex serves. Parts without texture
    coordinates or colours, among parts with them, get zeros and grey. Other files that the file names are not read.
    The texture is the image that `url` names, or that shares the file's stem.
    """
    source = Source(data, path)
    version = _version(source)
    document = parse_vrml(source, version=version)
    with np.errstate(over="ignore", invalid="ignore"):
        walk = walk_scene_1 if version == 1 else walk_scene
        return _joined(source, document, walk(source, document.nodes), load_texture)


def read_x3d(data: bytes, *, path: Path, load_texture: bool = True) -> Mesh:
    """The same of an X3D file in XML. Prototypes are not read."""
    source = Source(with_blanks(data), path)
    document = parse_x3d(source)
    with np.errstate(over="ignore", invalid="ignore"):
        return _joined(source, document, walk_scene(source, document.nodes), load_texture)


def _version(source: Source) -> int:
    """1 for the syntax and the nodes of VRML 1.0, 2 for those of VRML 2.0."""
    header = _HEADER.match(source.data[:_HEADER_BYTES].removeprefix(b"\xef\xbb\xbf"))
    if header is None:
        raise source.text_error("expected '#VRML V2.0 utf8' on the first line", 0)
    kind, number = header[1].upper(), header[2]
    if kind == b"INVENTOR" and b"binary" in header[0].lower():
        raise source.text_error("Open Inventor in binary: save it as text, or as VRML 2.0", 0)
    if kind == b"VRML" and number not in b"12":
        raise source.text_error(f"VRML {number.decode()}, expected '#VRML V2.0 utf8'", 0)
    return 1 if kind == b"INVENTOR" or (kind == b"VRML" and number == b"1") else 2


def _joined(source: Source, document: Document, found: Collected, load_texture: bool) -> Mesh:
    placed = found.placed
    if not placed:
        raise _no_geometry(source, document, found)
    solid = [item for item in placed if item.is_solid]
    if document.cut is not None and solid and not any(len(item.part.faces) for item in solid):
        raise source.text_error("what opens here is never closed; the file is cut", document.cut)
    faces, uv = _concatenate_faces(placed)
    names = _texture_names(placed, source.path)
    return usable_mesh(
        source.path,
        _concatenate_vertices(placed),
        Triangles(faces=faces, uv=uv),
        texture=load_named_texture(source.path, names) if load_texture and uv is not None else None,
        vertex_colors=_concatenate_colors(placed),
        remarks=_remarks(source, document, found),
    )


def _no_geometry(source: Source, document: Document, found: Collected) -> MeshError:
    if found.named_files:
        names = " ".join(dict.fromkeys(found.named_files))
        return source.error(f"the file only names another: {names[:200]}; open that one")
    if document.missing is not None:
        return source.text_error(*document.missing)
    if document.has_unread_prototypes:
        return source.error(_XML_PROTOTYPES)
    return source.error("no IndexedFaceSet or PointSet, expected the geometry of a scan")


def _remarks(source: Source, document: Document, found: Collected) -> tuple[str, ...]:
    remarks = [remark for item in found.placed for remark in item.part.remarks]
    if document.cut is not None:
        remarks.append(f"the file ends before what line {source.line(document.cut)} opens is closed; it may be cut")
    if found.named_files:
        remarks.append(f"another file that this one names is not read: {found.named_files[0][:200]}")
    if document.missing is not None:
        remarks.append(f"{document.missing[0]}; left out")
    if document.has_unread_prototypes:
        remarks.append("prototypes are not read in XML; left out")
    return tuple(dict.fromkeys(remarks))


def _concatenate_vertices(placed: list[Placed]) -> Float[np.ndarray, "vert 3"]:
    moved = []
    for item in placed:
        if item.shares is not None:
            continue
        vertices = item.vertices
        if not np.array_equal(item.matrix, np.eye(4)):
            vertices = vertices @ item.matrix[:3, :3].T + item.matrix[:3, 3]
        moved.append(vertices)
    return np.concatenate(moved) if len(moved) > 1 else moved[0]


def _concatenate_faces(placed: list[Placed]) -> tuple[Faces, CornerUv | None]:
    if len(placed) == 1 and np.linalg.det(placed[0].matrix[:3, :3]) > 0:
        return placed[0].part.faces, placed[0].part.uv
    has_uv = any(item.part.uv is not None for item in placed)
    all_faces, all_uv, offsets, num_vertices = [], [], [], 0
    for item in placed:
        part = item.part
        offsets.append(num_vertices if item.shares is None else offsets[item.shares])
        num_vertices += len(item.vertices) if item.shares is None else 0
        mirrored = np.linalg.det(item.matrix[:3, :3]) < 0
        corners = np.array([0, 2, 1] if mirrored else [0, 1, 2])
        all_faces.append(np.take(part.faces, corners, axis=1) + np.int32(offsets[-1]))
        if has_uv:
            uv = part.uv if part.uv is not None else np.zeros((len(part.faces), 3, 2), np.float32)
            all_uv.append(np.take(uv, corners, axis=1))
    return np.concatenate(all_faces), np.concatenate(all_uv) if has_uv else None


def _concatenate_colors(placed: list[Placed]) -> UInt8[np.ndarray, "vert 3"] | None:
    own = [item for item in placed if item.shares is None]  # geometry that shares vertices has no colours
    if all(item.part.colors is None for item in own):
        return None
    blank = [np.full((len(item.vertices), 3), BLANK_COLOR, np.uint8) for item in own]
    return np.concatenate(
        [other if item.part.colors is None else item.part.colors for item, other in zip(own, blank, strict=True)]
    )


def _texture_names(placed: list[Placed], path: Path) -> list[str]:
    names = list(dict.fromkeys(item.texture_name for item in placed if item.texture_name))
    if len(names) > 1:
        warnings.warn(f"{path}: {len(names)} textures, only the first ({names[0]}) is read", stacklevel=4)
    return names[:1]
