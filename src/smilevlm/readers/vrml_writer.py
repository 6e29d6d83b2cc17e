"""VRML as the scanners of BU-3DFE and BU-4DFE wrote it, for synthetic scans in those data sets' own text."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from smilevlm.errors import MeshError
from smilevlm.readers._source import TextSink
from smilevlm.typing import Faces, Vertices

HEADER = """\
#VRML V2.0 utf8
#Tricorder Technology plc - 2000
DEF Tricorder_object Transform {
        children [
                Shape {
"""
APPEARANCE = """\
                        appearance Appearance {
                                texture ImageTexture {
                                        url "%s"
                                        repeatS FALSE
                                        repeatT FALSE
                                }
                        }
"""
GEOMETRY = """\
                        geometry IndexedFaceSet {
                                ccw TRUE
                                solid FALSE
                                convex TRUE
                                creaseAngle 1.57
"""
FOOTER = """\
                        }
                }
        ]
}
"""
VIEWPOINT = """\
DEF Tricorder_Camera_{name} Viewpoint {{
        position {position}
        orientation {orientation}
        fieldOfView 0.785398
        description "{name}"
}}
"""
CAMERA_DISTANCE_MM = 262.0

# Direction of the camera from the middle of the mesh, and the turn (axis, radians) that makes it look back.
CAMERAS = {
    "Front": ((0, 0, 1), (0, 1, 0, 0)),
    "Back": ((0, 0, -1), (0, 1, 0, 3.14159)),
    "Left": ((-1, 0, 0), (0, 1, 0, -1.5708)),
    "Right": ((1, 0, 0), (0, 1, 0, 1.5708)),
    "Top": ((0, 1, 0), (1, 0, 0, -1.5708)),
    "Bottom": ((0, -1, 0), (1, 0, 0, 1.5708)),
}

FIELD = " " * 32
ELEMENT = " " * 48

BU4DFE_HEADER = """\
#VRML V2.0 utf8
Shape {
"""
BU4DFE_APPEARANCE = """\
appearance Appearance {
texture ImageTexture {
url "%s"
}
}
"""
BU4DFE_GEOMETRY = """\
geometry IndexedFaceSet {
solid FALSE
"""
BU4DFE_FOOTER = """\
}
}
"""


def write_bu3dfe_vrml(
    file: TextSink,
    *,
    vertices: Vertices,
    polygons: Int32[np.ndarray, "face 4"],
    uv: Float32[np.ndarray, "point 2"] | None = None,
    uv_polygons: Int32[np.ndarray, "face 4"] | None = None,
    texture_name: str | None = None,
) -> None:
    """Write a scan as a BU-3DFE `*_F3D.wrl` looks: numbers as %g (six digits), one element per line.

    Args:
        file: Opened for text; pass `newline="\\n"` to `open` for the same bytes on every system.
        vertices: Millimetres.
        polygons: Vertex indices of triangles (-1 in the last column) and quads.
        uv: Texture coordinates, v from the bottom.
        uv_polygons: Rows of `uv`, laid out as `polygons`.
        texture_name: File name of the image beside the scan, or None to write no appearance.
    """
    _check_polygons(polygons, len(vertices), "polygons")
    file.write(HEADER)
    if texture_name is not None:
        file.write(APPEARANCE % _escaped(texture_name))
    file.write(GEOMETRY)
    _write_points(file, "coord Coordinate", vertices)
    _write_polygons(file, "coordIndex", polygons)
    if uv is not None:
        if uv_polygons is None or not np.array_equal(uv_polygons[:, 3] < 0, polygons[:, 3] < 0):
            raise MeshError("uv_polygons must hold a triangle or a quad wherever polygons does")
        _check_polygons(uv_polygons, len(uv), "uv_polygons")
        _write_points(file, "texCoord TextureCoordinate", uv)
        _write_polygons(file, "texCoordIndex", uv_polygons)
    file.write(FOOTER)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2 if len(vertices) else np.zeros(3)
    for name, (direction, turn) in CAMERAS.items():
        position = middle + CAMERA_DISTANCE_MM * np.array(direction)
        file.write(
            VIEWPOINT.format(
                name=name,
                position=" ".join(f"{value:g}" for value in position),
                orientation=" ".join(f"{value:g}" for value in turn),
            )
        )


def write_bu4dfe_vrml(
    file: TextSink,
    *,
    vertices: Vertices,
    faces: Faces,
    uv: Float32[np.ndarray, "point 2"] | None = None,
    texture_name: str | None = None,
    with_texture_index: bool = False,
) -> None:
    """Write a frame as BU-4DFE's `000.wrl` is known to look: unindented, `x y z,` per line, one (u, v) per vertex.

    No public file shows the header, the `url` or whether there is a `texCoordIndex`: those are the plain ones of
    VRML 97. About 3 MB for 35,000 vertices, as the files of the data set.

    Args:
        file: Opened for text; pass `newline="\\n"` to `open` for the same bytes on every system.
        vertices: Millimetres.
        faces: Vertex indices.
        uv: Texture coordinates per vertex, v from the bottom, or None to write none.
        texture_name: What `url` says, or None to write no appearance.
        with_texture_index: Write `texCoordIndex` too, equal to `coordIndex`.
    """
    polygons = np.concatenate([faces, np.full((len(faces), 1), -1, np.int32)], axis=1)
    _check_polygons(polygons, len(vertices), "faces")
    if uv is not None and len(uv) != len(vertices):
        raise MeshError(f"{len(uv)} texture coordinates for {len(vertices)} vertices")
    file.write(BU4DFE_HEADER)
    if texture_name is not None:
        file.write(BU4DFE_APPEARANCE % _escaped(texture_name))
    file.write(BU4DFE_GEOMETRY)
    _write_points(file, "coord Coordinate", vertices, indented=False)
    _write_polygons(file, "coordIndex", polygons, indented=False)
    if uv is not None:
        _write_points(file, "texCoord TextureCoordinate", uv, indented=False)
        if with_texture_index:
            _write_polygons(file, "texCoordIndex", polygons, indented=False)
    file.write(BU4DFE_FOOTER)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _check_polygons(polygons: Int32[np.ndarray, "face 4"], num_points: int, name: str) -> None:
    if not len(polygons):
        return
    if polygons[:, :3].min() < 0 or polygons[:, 3].min() < -1 or polygons.max() >= num_points:
        raise MeshError(f"{name} must index {num_points} points, with -1 in the last column for a triangle")


def _write_points(
    file: TextSink, field: str, points: Float32[np.ndarray, "point width"], *, indented: bool = True
) -> None:
    outer, inner, element = (FIELD, FIELD + " " * 8, ELEMENT) if indented else ("", "", "")
    template = ",\n".join([element + " ".join(["%g"] * points.shape[1])] * len(points))
    file.write(f"{outer}{field} {{\n{inner}point [\n")
    if len(points):
        file.write(template % tuple(points.ravel().tolist()) + "\n")
    file.write(f"{inner}]\n{outer}}}\n")


def _write_polygons(
    file: TextSink, field: str, polygons: Int32[np.ndarray, "face 4"], *, indented: bool = True
) -> None:
    outer, element = (FIELD, ELEMENT[:-8]) if indented else ("", "")
    file.write(f"{outer}{field} [\n")
    if len(polygons):
        triangle, quad = element + "%d %d %d -1,\n", element + "%d %d %d %d -1,\n"
        is_triangle = polygons[:, 3] < 0
        template = "".join([triangle if flag else quad for flag in is_triangle.tolist()])
        kept = polygons[np.stack([*[np.ones(len(polygons), bool)] * 3, ~is_triangle], axis=1)]
        file.write(template % tuple(kept.tolist()))
    file.write(f"{outer}]\n")
