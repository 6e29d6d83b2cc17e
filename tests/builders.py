"""Tiny files of every format with known content: a square of two levels, never a real face.

`TINY` maps suffixes to whole files of the same little mesh: five vertices, one quad and two triangles, which become
four triangles. Builders return bytes; the caller writes them.
"""

# ruff: noqa: UP031

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

VERTICES = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 0.5], [0, 10, -0.5], [5, 5, 12.25]], np.float32)
POLYGONS = ((0, 1, 2, 3), (0, 1, 4), (2, 3, 4))
FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 1, 4], [2, 3, 4]], np.int32)
POINTS = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.25, 0.75]], np.float32)
POINT_POLYGONS = ((5, 1, 2, 3), (0, 1, 4), (2, 3, 4))
UV = POINTS[np.array([[5, 1, 2], [5, 2, 3], [0, 1, 4], [2, 3, 4]])]
COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [51, 102, 153], [0, 0, 0]], np.uint8)


def face_set(*, extra: str = "", texture: bool = True) -> str:
    points = ",\n".join("%g %g %g" % tuple(row) for row in VERTICES.tolist())
    faces = ",\n".join(" ".join(map(str, row)) + " -1" for row in POLYGONS)
    text = f"IndexedFaceSet {{ coord Coordinate {{ point [\n{points}\n] }}\n coordIndex [\n{faces}\n]\n{extra}"
    if texture:
        uvs = ",\n".join("%g %g" % tuple(row) for row in POINTS.tolist())
        corners = ",\n".join(" ".join(map(str, row)) + " -1" for row in POINT_POLYGONS)
        text += f"texCoord TextureCoordinate {{ point [\n{uvs}\n] }}\n texCoordIndex [\n{corners}\n]\n"
    return text + "}"


def vrml(body: str | None = None, *, url: str | None = None, extra: str = "") -> bytes:
    """A VRML 2.0 file of the little mesh, or of another body."""
    appearance = "" if url is None else f'appearance Appearance {{ texture ImageTexture {{ url "{url}" }} }}\n'
    if body is None:
        body = f"Shape {{\n{appearance}geometry {face_set(extra=extra)}\n}}"
    return f"#VRML V2.0 utf8\n{body}\n".encode()


def list_text(name: str) -> str:
    """One of the little mesh's lists as VRML writes it: `points`, `faces`, `uvs` or `uv_faces`."""
    match name:
        case "points":
            return ", ".join("%g %g %g" % tuple(row) for row in VERTICES.tolist())
        case "uvs":
            return ", ".join("%g %g" % tuple(row) for row in POINTS.tolist())
        case _:
            polygons = POLYGONS if name == "faces" else POINT_POLYGONS
            return " ".join(" ".join(map(str, row)) + " -1" for row in polygons)


def vrml1(body: str | None = None, *, head: str = "#VRML V1.0 ascii") -> bytes:
    """A VRML 1.0 file of the little mesh, or of another body."""
    if body is None:
        body = (
            "Separator {\n ShapeHints { vertexOrdering COUNTERCLOCKWISE shapeType (A | B) }\n"
            ' Texture2 { filename "skin.png" wrapS CLAMP }\n DEF P Coordinate3 { point [ %s ] }\n'
            " TextureCoordinate2 { point [ %s ] }\n Separator { Translation { translation 0 0 0 } }\n"
            " IndexedFaceSet { coordIndex [ %s ]\n textureCoordIndex [ %s ] }\n}"
        ) % tuple(list_text(name) for name in ("points", "uvs", "faces", "uv_faces"))
    return f"{head}\n{body}\n".encode()


def prototypes() -> bytes:
    """The little mesh in a prototype within a prototype, its points given by the instance."""
    lists = tuple(list_text(name) for name in ("faces", "uvs", "uv_faces", "points"))
    return vrml(
        "PROTO Skin [ exposedField MFVec3f at [ ] field MFNode more [ ] eventIn SFBool on ] {\n"
        " Shape { geometry IndexedFaceSet { coord DEF C Coordinate { point IS at } coordIndex [ %s ]\n"
        " texCoord TextureCoordinate { point [ %s ] } texCoordIndex [ %s ] } } Script { field SFBool a TRUE } }\n"
        "PROTO Head [ field MFVec3f at [ 0 0 0 ] field SFVec3f move 1 2 3 ] {\n"
        " Transform { translation IS move children Skin { at IS at } } }\nHead { at [ %s ] move 0 0 0 }" % lists
    )


def triangle_strips() -> bytes:
    """Classic X3D of the little mesh's vertices in strips."""
    return (
        '#X3D V3.2 utf8\nPROFILE Immersive\nCOMPONENT Geometry3D:2\nMETA "a" "b"\nUNIT length mm 0.001\n'
        "Shape { geometry IndexedTriangleStripSet { coord CoordinateDouble { point [ %s ] }\n"
        " index [ 0 1 4 2 -1 2 3 4 ] } }\n" % list_text("points")
    ).encode()


def x3d(body: str | None = None, *, head: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> bytes:
    """X3D in XML of the little mesh, or of another body."""
    if body is None:
        body = (
            '<Shape><Appearance><ImageTexture url=\'"skin.png" "b.png"\'/></Appearance>\n'
            "<IndexedFaceSet coordIndex='%s' solid='false'\n texCoordIndex='%s'>\n"
            "<Coordinate DEF='C' point='%s'/>\n<TextureCoordinate point='%s'/></IndexedFaceSet></Shape>"
        ) % tuple(list_text(name) for name in ("faces", "uv_faces", "points", "uvs"))
    return f"{head}<X3D version='3.3'><head><meta name='a' content='b'/></head><Scene>\n{body}\n</Scene></X3D>".encode()


def obj(*, head: str = "", faces: str | None = None) -> bytes:
    lines = [head] if head else []
    lines += ["v %g %g %g" % tuple(row) for row in VERTICES.tolist()]
    lines += ["vt %g %g" % tuple(row) for row in POINTS.tolist()]
    if faces is None:
        lines += [
            "f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(polygon, texture, strict=True))
            for polygon, texture in zip(POLYGONS, POINT_POLYGONS, strict=True)
        ]
    else:
        lines.append(faces)
    return ("\n".join(lines) + "\n").encode()


def ply_text() -> bytes:
    head = (
        "ply\nformat ascii 1.0\ncomment tiny\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nelement face 3\n"
        "property list uchar int vertex_indices\nproperty list uchar float texcoord\nend_header\n"
    )
    rows = ["%g %g %g %d %d %d" % (*v, *c) for v, c in zip(VERTICES.tolist(), COLORS.tolist(), strict=True)]
    for polygon, texture in zip(POLYGONS, POINT_POLYGONS, strict=True):
        uv = POINTS[list(texture)].ravel().tolist()
        rows.append(" ".join(map(str, [len(polygon), *polygon, len(uv), *uv])))
    return (head + "\n".join(rows) + "\n").encode()


def ply_binary(*, big: bool = False) -> bytes:
    """Odd order and types: unknown lists, z before x, double y, ushort indices, int counts, an extra element."""
    order = ">" if big else "<"
    name = "binary_big_endian" if big else "binary_little_endian"
    head = (
        f"ply\nformat {name} 1.0\nelement camera 1\nproperty list short double matrix\nproperty char flag\n"
        "element vertex 5\nproperty float z\nproperty list uchar short tags\nproperty float x\nproperty double y\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nproperty float s\nproperty float t\n"
        "element face 3\nproperty uchar group\nproperty list int ushort vertex_index\nend_header\n"
    )
    body = struct.pack(order + "h2db", 2, 1.5, -2.5, -7)
    for row, ((x, y, z), color) in enumerate(zip(VERTICES.tolist(), COLORS.tolist(), strict=True)):
        body += struct.pack(f"{order}fB{row}h", z, row, *range(row))
        body += struct.pack(order + "fd3B2f", x, y, *color, *POINTS[row].tolist())
    for polygon in POLYGONS:
        body += struct.pack(f"{order}Bi{len(polygon)}H", 9, len(polygon), *polygon)
    return head.encode() + body


def stl_text(name: str = "tiny vertex solid") -> bytes:
    text = f"solid {name}\n"
    for face in FACES:
        text += "facet normal 0 0 -nan(ind)\n outer loop\n"
        text += "".join("  vertex %e %e %e\n" % tuple(VERTICES[k].tolist()) for k in face)
        text += " endloop\nendfacet\n"
    return (text + f"endsolid {name}\n").encode()


def stl_binary(header: bytes = b"solid but binary") -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 1, *VERTICES[face].ravel().tolist(), 0) for face in FACES)
    return header.ljust(80) + struct.pack("<I", len(FACES)) + body


def off(magic: str = "OFF\n", *, colors: bool = False) -> bytes:
    rows = ["%g %g %g" % tuple(row) for row in VERTICES.tolist()]
    if colors:
        rows = [row + " %d %d %d 255" % tuple(color) for row, color in zip(rows, COLORS.tolist(), strict=True)]
    faces = [f"{len(polygon)} " + " ".join(map(str, polygon)) for polygon in POLYGONS]
    return (f"{magic}5 3 0 # counts\n# a comment\n\n" + "\n".join(rows + faces) + "\n").encode()


def off_binary(magic: str = "OFF", *, colors: bool = False) -> bytes:
    """Big-endian, a colour of three numbers after the first face."""
    head = f"{magic} BINARY\n".encode() + struct.pack(">3i", len(VERTICES), len(POLYGONS), 0)
    rows = [
        struct.pack(">3f", *vertex) + (struct.pack(">4f", *(color / 255), 1) if colors else b"")
        for vertex, color in zip(VERTICES.tolist(), COLORS, strict=True)
    ]
    faces = [struct.pack(f">{len(polygon) + 2}i", len(polygon), *polygon, 0) for polygon in POLYGONS]
    faces[0] = faces[0][:-4] + struct.pack(">i3f", 3, 1, 0, 0)
    return head + b"".join(rows + faces)


def xyz() -> bytes:
    return "".join("%g %g %g\n" % tuple(row) for row in VERTICES.tolist()).encode()


def bnd(num_rows: int = 83, *, tail: str = "\n") -> str:
    return "".join(f"{100 + k} {k} {k / 2:g} {-k:g}\n" for k in range(num_rows)) + tail


def pse(num_rows: int = 8) -> str:
    return "".join(f"{k + 1} {k} {2 * k} {3 * k}\n" for k in range(num_rows)) + "n 0 0 1\nn1 0 0 1\n"


def image(kind: str = "PNG", size: tuple[int, int] = (4, 3)) -> bytes:
    """An image whose first row is red and the rest blue."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[0, :, 0] = 255
    pixels[1:, :, 2] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


TINY: dict[str, bytes] = {
    "a.wrl": vrml(),
    "one.wrl": vrml1(),
    "prototypes.wrl": prototypes(),
    "a.iv": vrml1(head="#Inventor V2.1 ascii"),
    "a.x3dv": triangle_strips(),
    "a.x3d": x3d(),
    "a.obj": obj(),
    "text.ply": ply_text(),
    "little.ply": ply_binary(),
    "big.ply": ply_binary(big=True),
    "text.stl": stl_text(),
    "binary.stl": stl_binary(),
    "a.off": off(),
    "c.off": off("COFF ", colors=True),
    "binary.off": off_binary(),
    "a.xyz": xyz(),
    "a.csv": b"x,y,z,nx\n1,2,3,0.5\n4,5,6,0.25\n",
    "table.csv": b"id;name;X (mm);Y (mm);Z (mm)\n1;\"a;b\";1,5;2,05;3\n2;c;4,5;NA;6,5\n3;d;7,5;8,25;9\n",
    "packed.xyz": gzip.compress(xyz(), mtime=0),
    "utf16.obj": b"\xff\xfe" + obj().decode().encode("utf-16-le"),
    "comma.obj": ("".join("v %.2f %.2f %.2f\n" % tuple(row) for row in VERTICES.tolist()).replace(".", ",")
                  + "f 1 2 3 4\nf 1 2 5\nf 3 4 5\n").encode(),
    "colors.txt": b"1 2 3 255 0 7\n4 5 6 1 2 3\n",
}  # fmt: skip


def write(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
