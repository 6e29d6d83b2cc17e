"""Make the example scans of the web page: synthetic people whom no training uses, thinned to a few thousand vertices.

.venv/bin/python tools/web_examples.py src/smilevlm/web/examples
"""

from __future__ import annotations

import argparse
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.synthesis.varied import VariedSettings, synthesize_varied
from smilevlm.web.pictures import thinned

SCAN_SEED, FILM_SEED = 977_002, 977_003
SCANS = {
    "neutral_scan.ply": ("F00001/neutral/scan_a.ply", 4000),
    "happy_scan.ply": ("F00002/happy/scan_a.ply", 4000),
    "surprised_scan.ply": ("M00001/surprise/scan_a.ply", 4000),
    "angry_scan_with_holes.ply": ("M00003/angry/scan_a.ply", 5000),
    "disgust_lying_in_metres.stl": ("F00002/disgust/scan_a.ply", 2500),
}
FILM, FILM_FRAME_VERTICES = ("happy_sequence.zip", "F00002/happy/film"), 2500
LYING = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
"""Upright and facing +z becomes z up and facing -y."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as made:
        scans, films = Path(made, "scans"), Path(made, "films")
        synthesize_varied(scans, VariedSettings(num_subjects=6, seed=SCAN_SEED, strength=0.3, filmed_share=0.0))
        film_settings = VariedSettings(
            num_subjects=3, seed=FILM_SEED, strength=0.3, filmed_share=1.0, frames=8, scans=0
        )
        synthesize_varied(films, film_settings)
        for name, (source, most) in SCANS.items():
            mesh = thinned(read_mesh(scans / source), most)
            if "metres" in name:
                metres = np.float32(normalise(mesh, NormaliseSettings()).mm_per_unit / 1000)
                mesh = Mesh(vertices=metres * mesh.vertices @ LYING.T, faces=mesh.faces)
            write_mesh(mesh, out / name)
        name, folder = FILM
        with zipfile.ZipFile(out / name, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for frame in sorted((films / folder).iterdir()):
                entry = zipfile.ZipInfo(f"{frame.stem}.ply")
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, packed(thinned(read_mesh(frame), FILM_FRAME_VERTICES)))


def packed(mesh: Mesh) -> bytes:
    """A PLY file in memory."""
    from smilevlm.readers import write_ply

    out = io.BytesIO()
    write_ply(out, mesh)
    return out.getvalue()


if __name__ == "__main__":
    main()
