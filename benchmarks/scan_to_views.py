"""From a BU-3DFE-like file to three views: seconds per stage, and reading as a ratio against trimesh.

Command: python benchmarks/scan_to_views.py [VERTICES]

The yardstick is trimesh reading the same face as OBJ; trimesh has no reader for VRML.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from smilevlm.geometry import NormaliseSettings, normalise
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, synthesize_bu3dfe
from smilevlm.synthesis.scanner import ScannerSettings
from smilevlm.views import ViewSettings, render_normalised

REPEATS = 7


def median_ms(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def main(num_vertices: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Bu3dfeSettings(
            num_subjects=1, levels=(4,), complete=False, scanner=ScannerSettings(num_vertices=num_vertices)
        )
        synthesize_bu3dfe(Path(folder) / "faces", settings)
        scan = next(iter(sorted((Path(folder) / "faces").rglob("*_HA04*.wrl"))))
        mesh = read_mesh(scan, load_texture=False)
        as_obj = Path(folder) / "same.obj"
        write_mesh(mesh, as_obj)
        face = normalise(mesh, NormaliseSettings())
        print(f"{mesh.num_vertices} vertices, {mesh.num_faces} triangles, {scan.stat().st_size / 1e6:.1f} MB of VRML")
        reading = median_ms(lambda: read_mesh(scan, load_texture=False))
        rows = {
            "read VRML": reading,
            "read the same as OBJ": median_ms(lambda: read_mesh(as_obj)),
            "trimesh reads the same as OBJ": median_ms(lambda: trimesh.load(as_obj, process=False)),
            "normalise": median_ms(lambda: normalise(mesh, NormaliseSettings())),
            "three 64 px views": median_ms(lambda: render_normalised(face.mesh, ViewSettings(size=64))),
            "three 224 px views": median_ms(lambda: render_normalised(face.mesh, ViewSettings(size=224))),
        }
        for name, value in rows.items():
            print(f"{name:32s} {value:8.1f} ms")
        ratio = rows["trimesh reads the same as OBJ"] / rows["read the same as OBJ"]
        print(f"OBJ: {ratio:.1f} times as fast as trimesh")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
