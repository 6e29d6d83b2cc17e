"""What recordings are made from, listed so that a later run notices what was changed, lost or added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from smilevlm.errors import MeshError
from smilevlm.readers import TEXTURE_SUFFIXES, file_size, list_names, read_file
from smilevlm.store.records import Recording

GONE = "gone"
"""Instead of the digest of a recording of which a file is gone."""
_MATERIAL_SUFFIX = ".mtl"


def listings(recordings: Sequence[Recording], *, with_textures: bool) -> tuple[tuple[str, str], ...]:
    """(sample id, digest of the listing of its files) of every recording.

    Mesh files are listed by name and size, so that none is read. Textures are listed by content, since a painted image
    keeps its size in some formats: all images and materials beside the meshes, whichever of them a mesh names.

    Args:
        recordings: Of one part.
        with_textures: Whether textures decide what the images look like.
    """
    beside: dict[Path, Mapping[str, str]] = {}
    found = []
    for recording in recordings:
        files = [[frame.path.name, frame.number, _size(frame.path)] for frame in recording.frames]
        folders = sorted({frame.path.parent for frame in recording.frames}) if with_textures else []
        for folder in folders:
            if folder not in beside:
                beside[folder] = _textures(folder)
        listed = [files, [beside[folder] for folder in folders]]
        gone = any(size is None for *_, size in files)
        found.append((recording.sample_id, GONE if gone else _digest(json.dumps(listed).encode())))
    return tuple(found)


def _size(path: Path) -> int | None:
    try:
        return file_size(path)
    except MeshError:
        return None


def _textures(folder: Path) -> dict[str, str]:
    """Name to digest of the images and materials in a folder; empty for one that cannot be read."""
    found = {}
    for name in sorted(list_names(folder)):
        if name.lower().endswith((*TEXTURE_SUFFIXES, _MATERIAL_SUFFIX)):
            try:
                found[name] = _digest(read_file(folder / name))
            except MeshError:
                found[name] = ""
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
