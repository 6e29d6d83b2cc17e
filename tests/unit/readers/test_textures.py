from __future__ import annotations

import contextlib
import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders import image, write
from smilevlm.errors import MeshError
from smilevlm.readers import read_texture, textures
from smilevlm.readers.textures import find_texture


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG"])
def test_formats(tmp_path, kind):
    texture = read_texture(write(tmp_path, "a.img", image(kind)))
    assert texture.shape == (3, 4, 3)
    assert texture.dtype == np.uint8
    assert texture[0, 0, 0] > texture[2, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_modes(tmp_path, mode):
    file = io.BytesIO()
    Image.new(mode, (4, 3), 1).save(file, "PNG")
    assert read_texture(write(tmp_path, "a.png", file.getvalue())).shape == (3, 4, 3)


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_decompression_bomb(tmp_path, side):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(MeshError, match=r"a\.png: the texture has .* pixels, at most"):
        read_texture(write(tmp_path, "a.png", data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG"])
def test_truncation_and_noise(tmp_path, kind):
    whole = image(kind)
    generator = np.random.default_rng(0)
    for cut in range(len(whole)):
        noisy = bytearray(whole)
        noisy[cut] = int(generator.integers(256))
        for data in (whole[:cut], bytes(noisy)):
            with contextlib.suppress(MeshError):  # anything else fails
                read_texture(write(tmp_path, "a.img", data))


def test_missing(tmp_path):
    with pytest.raises(MeshError, match="no such file"):
        read_texture(tmp_path / "gone.png")


@pytest.mark.parametrize("seconds_ago", [0, 1000])
def test_files_in_another_case_are_found_as_soon_as_they_are_there(tmp_path, seconds_ago):
    def settle() -> None:
        then = time.time() - seconds_ago
        os.utime(tmp_path, (then, then))

    mesh = tmp_path / "a.obj"
    settle()
    assert find_texture(mesh, ["face.png"]) is None
    write(tmp_path, "FACE.png", image())
    assert find_texture(mesh, ["face.png"]) == tmp_path / "FACE.png"
    seconds_ago /= 2
    settle()
    write(tmp_path, "Face.png", image())
    (tmp_path / "FACE.png").unlink()
    assert find_texture(mesh, ["face.png"]) == tmp_path / "Face.png"


def test_a_folder_is_listed_once_for_many_meshes(tmp_path, monkeypatch):
    listed: list[Path] = []
    monkeypatch.setattr(textures, "list_names", lambda folder: listed.append(folder) or [])
    os.utime(tmp_path, (1000, 1000))
    for number in range(5):
        assert find_texture(tmp_path / f"{number}.obj", ["face.png"]) is None
    assert listed == [tmp_path]
