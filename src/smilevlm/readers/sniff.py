"""What the bytes of a file are, whatever its suffix says."""

from __future__ import annotations

import re
import struct

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
"""What `sniff` tells of bytes that no suffix names, as a sentence for the user."""


def sniff(data: bytes) -> str | None:
    """What a file is by its bytes, text as UTF-8: the usual suffix of the format, a key of `NOT_MESHES`, or None.

    Those of `.bnt` do not tell. Lines of three numbers and more are `.xyz`.
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
    """Two letters are little: the header's size tells a bitmap from text."""
    if kind != ".bmp":
        return kind
    return kind if len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in (12, 40, 52, 56, 64, 108, 124) else None


def _is_binary_stl(data: bytes) -> bool:
    if len(data) < _STL_HEADER_BYTES + _STL_RECORD_BYTES:
        return False
    count = int.from_bytes(data[80:_STL_HEADER_BYTES], "little")
    return len(data) == _STL_HEADER_BYTES + _STL_RECORD_BYTES * count
