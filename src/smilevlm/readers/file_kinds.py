"""What a file is, by its suffix and by its bytes: its format, advice for kinds not read, its announced size."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz")
"""Of one compressed file; the suffix before it names the format: `scan.wrl.gz`."""

_CAD = "a CAD file without triangles: export a mesh as STL, OBJ or PLY"
_SCENE = "a scene of a 3D editor: export the mesh as OBJ, PLY or GLB"
_VOLUME = "a volume of an MRI or CT scanner: extract the skin's surface (3D Slicer) and save it as STL or PLY"
_IMAGE = "an image: the face is needed as a 3D scan"
_VIDEO = "a video: the face is needed as a 3D scan, or a folder of one scan per frame"
_ARCHIVE = "an archive of a kind that is not opened: unpack it, or pack it as .zip"
_SURVEY = "a point cloud of a survey: export it as PLY or XYZ (CloudCompare)"

ADVICE: dict[str, str] = {
    ".max": _SCENE, ".blend": _SCENE, ".fbx": _SCENE, ".dae": _SCENE, ".3ds": _SCENE, ".ma": _SCENE, ".mb": _SCENE,
    ".c4d": _SCENE, ".lwo": _SCENE, ".skp": _SCENE, ".3dm": _SCENE, ".abc": _SCENE, ".3mf": _SCENE, ".x": _SCENE,
    ".zpr": _SCENE, ".ztl": _SCENE, ".mudbox": _SCENE,
    ".step": _CAD, ".stp": _CAD, ".igs": _CAD, ".iges": _CAD, ".sldprt": _CAD, ".dwg": _CAD, ".dxf": _CAD,
    ".dcm": _VOLUME, ".nii": _VOLUME, ".nrrd": _VOLUME, ".mha": _VOLUME, ".mhd": _VOLUME,
    ".las": _SURVEY, ".laz": _SURVEY, ".e57": _SURVEY, ".ptx": _SURVEY, ".rcp": _SURVEY,
    ".vtk": "a VTK file: save it as PLY or STL (ParaView)",
    ".vtp": "a VTK file: save it as PLY or STL (ParaView)",
    ".mat": "a MATLAB file: save vertices and faces as PLY, or the vertices as CSV",
    ".pkl": "a Python pickle, which could run any program when it is opened: save the mesh as PLY",
    ".h5": "an HDF5 file: save vertices and faces as PLY",
    ".hdf5": "an HDF5 file: save vertices and faces as PLY",
    ".bag": "a recording of a depth camera: export its frames as PLY",
    ".oni": "a recording of a depth camera: export its frames as PLY",
    ".c3d": "motion of single markers: a surface is needed",
    ".bvh": "motion of a skeleton: a surface is needed",
    ".rar": _ARCHIVE, ".7z": _ARCHIVE, ".tar": _ARCHIVE, ".tgz": _ARCHIVE,
    ".mp4": _VIDEO, ".mov": _VIDEO, ".avi": _VIDEO, ".mkv": _VIDEO, ".webm": _VIDEO,
    ".jpg": _IMAGE, ".jpeg": _IMAGE, ".png": _IMAGE, ".bmp": _IMAGE, ".tif": _IMAGE, ".tiff": _IMAGE, ".gif": _IMAGE,
    ".webp": _IMAGE, ".heic": _IMAGE, ".exr": _IMAGE, ".raw": _IMAGE, ".dng": _IMAGE,
    ".pdf": "a document: the face is needed as a 3D scan",
    ".mtl": "the materials of an OBJ file: give the .obj",
    ".bin": "perhaps the data of a glTF file: give the .gltf",
}  # fmt: skip
"""Suffix to one line of advice, for kinds that people give and no reader reads."""
_NO_SCAN = {suffix for suffix, advice in ADVICE.items() if advice in (_IMAGE, _VIDEO)} | {".mtl", ".bin", ".pdf"}


def mesh_suffix(path: Path) -> str:
    """The suffix that names a file's format, in lower case: `.wrl` of `face.WRL` and of `face.wrl.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if suffix in COMPRESSION_SUFFIXES else ""
    return inner or suffix


def mesh_stem(path: Path) -> str:
    """The name without the suffixes that `mesh_suffix` looks at: `000` of `000.wrl.gz`."""
    stem = path.stem
    return Path(stem).stem if path.suffix.lower() in COMPRESSION_SUFFIXES else stem


def unreadable_scan_advice(path: Path) -> str | None:
    """What to do with a file that may hold a scan but is of a kind that no reader reads; None for any other."""
    suffix = mesh_suffix(path)
    return None if suffix in _NO_SCAN else ADVICE.get(suffix)


_HEAD_BYTES = 1024
_STL_HEADER_BYTES, _STL_RECORD_BYTES = 84, 50

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"glTF", ".glb"),
    (b"PK\3\4", ".zip"),
    (b"PK\5\6", ".zip"),
    (b"\x93NUMPY", ".npy"),
    (b"\x89PNG\r\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"%PDF-", ".pdf"),
    (b"7z\xbc\xaf\x27\x1c", ".7z"),
    (b"Rar!\x1a\x07", ".rar"),
    (b"Kaydara FBX Binary", ".fbx"),
    (b"BLENDER", ".blend"),
    (b"\x89HDF\r\n", ".h5"),
    (b"PXR-USDC", ".usdc"),
    (b"#usda", ".usda"),
    (b"SQLite format 3", ".sqlite"),
    (b"LASF", ".las"),
)
_PROLOGUE = rb"\s*(?:(?:<\?xml[^>]*>|<!--(?:[^-]|-(?!->))*-->|<!doctype[^>]*>)\s*)*"
"""What may stand before the first element of XML."""
_COMMENTS = rb"\s*(?:#[^\r\n]*[\r\n]\s*)*"
# A pattern without two ways to match the same bytes: hostile ones cannot make it slow.
_PATTERNS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"version https://git-lfs\.github\.com/spec"), "lfs"),
    (re.compile(rb"\s*<!doctype\s+html|" + _PROLOGUE + rb"<(?:html|head|body)\b", re.I), "html"),
    (re.compile(_PROLOGUE + rb"<X3D\b", re.I), ".x3d"),
    (re.compile(_PROLOGUE + rb"<COLLADA\b", re.I), ".dae"),
    (re.compile(rb"\s*ply[ \t]*[\r\n][^\0]*?format\s", re.I), ".ply"),
    (re.compile(rb"\s*#(?:VRML\s+V\d|X3D\s+V\d|Inventor\s+V\d)", re.I), ".wrl"),
    (re.compile(_COMMENTS + rb"(?:ST|C|N)*4?n?OFF(?=[\s#\d])", re.I), ".off"),
    (re.compile(rb"\s*solid\b[^\0]*?\bfacet\s+normal\b", re.I), ".stl"),
    (re.compile(_COMMENTS + rb"VERSION\s+[\d.]+\s+FIELDS\s", re.I), ".pcd"),
    (re.compile(rb"\s*\{[^\0]*\"asset\"\s*:"), ".gltf"),
    (re.compile(_COMMENTS + rb"(?:[-+.\d][-+.\deE]*(?:[ \t,;]+[-+.\d][-+.\deE]*){2,}[ \t,;]*\r?[\n\r]){4}"), ".xyz"),
    (
        re.compile(rb"\s*(?:(?:#|mtllib[ \t]|usemtl[ \t]|[og][ \t])[^\r\n]*[\r\n]\s*)*vt?n?[ \t]+[-+.\dni]", re.I),
        ".obj",
    ),
)


NOT_MESHES: dict[str, str] = {
    "lfs": "a pointer of Git LFS, not the file itself: run `git lfs pull`",
    "html": "a web page, not a scan: the download may need a login or another address",
    "zeros": "zero bytes alone: the download or copy is not complete",
}
"""Results of `sniff` that are no suffix, each with its error message."""


def sniff(data: bytes) -> str | None:
    """What a file is by its bytes, text as UTF-8: the usual suffix of the format, a key of `NOT_MESHES`, or None.

    `.bnt` cannot be recognised. Lines of three numbers and more are `.xyz`.
    """
    head = data[:_HEAD_BYTES]
    if not any(head) and data.count(0) == len(data):
        return "zeros"
    if (found := next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)) is not None:
        return _checked_bitmap(head, found)
    if _is_binary_stl(data):
        return ".stl"
    return next((kind for pattern, kind in _PATTERNS if pattern.match(head)), None)


def _checked_bitmap(head: bytes, kind: str) -> str | None:
    """A magic of two letters may be text: the size of the header decides."""
    if kind != ".bmp":
        return kind
    return kind if len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in (12, 40, 52, 56, 64, 108, 124) else None


def _is_binary_stl(data: bytes) -> bool:
    if len(data) < _STL_HEADER_BYTES + _STL_RECORD_BYTES:
        return False
    count = int.from_bytes(data[80:_STL_HEADER_BYTES], "little")
    return len(data) == _STL_HEADER_BYTES + _STL_RECORD_BYTES * count


_PLY_VERTICES = re.compile(rb"^element[ \t]+vertex[ \t]+(\d{1,18})", re.MULTILINE)
_PCD_POINTS = re.compile(rb"^[ \t]*POINTS[ \t]+(\d{1,18})", re.MULTILINE | re.IGNORECASE)
_ABS_SIZE = re.compile(rb"\s{0,99}(\d{1,6})[ \t]+rows\s+(\d{1,6})[ \t]+columns", re.IGNORECASE)
_REMARK = re.compile(rb"#[^\r\n]*")
_OFF_COUNTS = re.compile(rb"OFF\s*(\d{1,18})[ \t]+\d")
"""After remarks were taken out; a pattern that skips them itself takes exponential time on hostile ones."""
_COUNTED_BYTES = 2**16


def announced_vertices(data: bytes, suffix: str) -> int:
    """How many vertices a file says or seems to have, counted without making anything of them.

    The suffix is in lower case. 0 where the format does not say; VRML, whose numbers stand in any order, and glTF,
    arrays and USD, whose readers bound their memory by the file's size, are counted once they are read.
    """
    if suffix in _TABLES:
        return data.count(b"\n")
    return _COUNTERS[suffix](data) if suffix in _COUNTERS else 0


def _of_ply(data: bytes) -> int:
    return sum(int(count) for count in _PLY_VERTICES.findall(data[:_COUNTED_BYTES].partition(b"end_header")[0]))


def _of_off(data: bytes) -> int:
    found = _OFF_COUNTS.search(_REMARK.sub(b" ", data[:_COUNTED_BYTES]))
    return int(found[1]) if found else 0


def _of_obj(data: bytes) -> int:
    return data.count(b"\nv ") + data.count(b"\nv\t") + data.startswith((b"v ", b"v\t"))


def _of_stl(data: bytes) -> int:
    """A closed surface has half as many vertices as triangles."""
    triangles = int.from_bytes(data[80:_STL_HEADER_BYTES], "little")
    if len(data) >= _STL_HEADER_BYTES and len(data) == _STL_HEADER_BYTES + _STL_RECORD_BYTES * triangles:
        return triangles // 2
    return data.count(b"vertex") // 6


def _of_bnt(data: bytes) -> int:
    return int.from_bytes(data[:2], "little") * int.from_bytes(data[2:4], "little")


def _of_pcd(data: bytes) -> int:
    found = _PCD_POINTS.search(data[:_COUNTED_BYTES])
    return int(found[1]) if found else 0


def _of_abs(data: bytes) -> int:
    found = _ABS_SIZE.match(data[:_COUNTED_BYTES])
    return int(found[1]) * int(found[2]) if found else 0


_COUNTERS: dict[str, Callable[[bytes], int]] = {
    ".ply": _of_ply, ".off": _of_off, ".obj": _of_obj, ".stl": _of_stl, ".bnt": _of_bnt, ".pcd": _of_pcd,
    ".abs": _of_abs,
}  # fmt: skip
_TABLES = (".xyz", ".txt", ".pts", ".csv", ".asc", ".xyzn", ".xyzrgb", ".dat")
