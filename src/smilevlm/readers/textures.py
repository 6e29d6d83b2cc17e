"""Texture images: finding them beside a mesh, decoding them to RGB."""

from __future__ import annotations

import functools
import struct
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from smilevlm.errors import MeshError
from smilevlm.readers.archives import folder_stamp, is_file, list_names, read_file
from smilevlm.readers.file_kinds import mesh_stem
from smilevlm.typing import RgbImage

TEXTURE_SUFFIXES = (".bmp", ".jpg", ".jpeg", ".png")
TEXTURE_FORMATS = ("BMP", "DIB", "JPEG", "PNG")
MAX_TEXTURE_PIXELS = 64_000_000
"""8000 x 8000; scanners' textures have about 2 million pixels."""

# What Pillow's decoders raise on broken bytes.
DECODING_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError,
    NotImplementedError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


def read_texture(path: Path) -> RgbImage:
    """Read an image file."""
    return decode_texture(read_file(path), path=path)


def decode_texture(data: bytes, *, path: Path) -> RgbImage:
    """Decode BMP, JPEG or PNG bytes; row 0 on top, 16-bit grey cut to 8. The path is for messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=TEXTURE_FORMATS) as image:
                width, height = image.size
                if width * height > MAX_TEXTURE_PIXELS:
                    raise MeshError(_too_large(f"{width} x {height}"), path=path)
                if image.mode.startswith("I"):
                    grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
                    return np.repeat(grey[..., None], 3, axis=2)
                return np.array(image.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MeshError(_too_large("far more"), path=path) from error
    except DECODING_ERRORS as error:
        raise MeshError(f"the texture cannot be decoded as BMP, JPEG or PNG: {error}", path=path) from error


def _too_large(size: str) -> str:
    return f"the texture has {size} pixels, at most {MAX_TEXTURE_PIXELS} are read"


def find_texture(mesh_path: Path, names: Iterable[str]) -> Path | None:
    """The image that belongs to a mesh file, which calls it one of `names`, best first; None when there is none.

    Each name is looked for beside the mesh by its last part, whatever its case and its path separators; then an image
    with the mesh's own stem is taken. BU-4DFE's names are unknown, BU-3DFE's and BP4D's may differ in case.
    """
    wanted = [basename(name) for name in names]
    wanted += [mesh_stem(mesh_path) + suffix for suffix in TEXTURE_SUFFIXES]
    return find_beside(mesh_path, wanted)


def find_beside(mesh_path: Path, names: Iterable[str]) -> Path | None:
    """The first of `names` in the mesh's folder, exact case preferred."""
    folder = mesh_path.parent
    listing: Mapping[str, Sequence[str]] | None = None
    for name in names:
        if not name:
            continue
        if is_file(folder / name):
            return folder / name
        if listing is None:  # slow in a folder of thousands of frames: only when the exact name is not there
            stamp = folder_stamp(folder)
            listing = _by_lower_name(folder) if stamp is None else _by_lower_name_cached(folder, stamp)
        for other in listing.get(name.lower(), ()):
            if is_file(folder / other):
                return folder / other
    return None


def _by_lower_name(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        for name in sorted(list_names(folder)):
            found.setdefault(name.lower(), []).append(name)
    except MeshError:
        return {}
    return found


@functools.lru_cache(maxsize=4)
def _by_lower_name_cached(folder: Path, stamp: tuple[int, ...]) -> dict[str, list[str]]:
    del stamp  # part of the key: a folder that changed is listed anew
    return _by_lower_name(folder)


def basename(name: str) -> str:
    """The last part of a path with either separator, without quotes; empty for a name that leaves the folder."""
    last = name.strip().strip('"').replace("\\", "/").rsplit("/", maxsplit=1)[-1].strip()
    return "" if last in {".", ".."} or "\0" in last else last


def load_named_texture(mesh_path: Path, names: Iterable[str]) -> RgbImage | None:
    """`find_texture` and `read_texture` in one."""
    found = find_texture(mesh_path, names)
    return None if found is None else read_texture(found)
