"""From a file to three views: milliseconds per stage, for every head model and density.

Command: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/scan_to_views.py [VERTICES] [--rig anny] [--rig ict=FILE ...]

First a BU-3DFE-like file; the yardstick is trimesh reading the same face as OBJ, for trimesh has no reader for VRML.
Then heads of each rig (without --rig `anny` alone) as PLY: whole, the face alone, the face of 84,000 and of 123,000
triangles, and the latter with vertices of their own for all triangles; each of several people, the first upright, the
others turned by up to 25 degrees. Times are the least of some repeats, in seconds of the processor; ratios are to the
first row of the same run, so that a busy machine changes them little.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.synthesis.bu3dfe import Bu3dfeSettings, synthesize_bu3dfe
from smilevlm.synthesis.mesh_density import only_used, subdivide
from smilevlm.synthesis.rigs import load_rig
from smilevlm.synthesis.scanner import ScannerSettings
from smilevlm.synthesis.varied import draw_varied_person
from smilevlm.views import ViewSettings, render_normalised

REPEATS = 5
PEOPLE = 4
ACTIONS = ({}, {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "jawOpen": 0.4}, {"browInnerUp": 1.0, "jawOpen": 0.8})
DENSE_TRIANGLES = (84_000, 123_000)
VIEWS = ViewSettings(size=224)


def median_ms(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def heads(rig_text: str) -> Iterator[tuple[str, Mesh]]:
    """Name and mesh of each person at each density, millimetres."""
    rig = load_rig(rig_text)
    for number in range(PEOPLE):
        rng = np.random.default_rng([11, number])
        person = draw_varied_person(rng, sex="FM"[number % 2], rig=rig)
        (head,) = person.heads([ACTIONS[number % len(ACTIONS)]])
        turn = Rotation.from_euler("yxz", rng.uniform(-1, 1, 3) * (25, 20, 15) * (number > 0), degrees=True)
        head = ((head - head[rig.surface.nose_tip]) @ turn.as_matrix().T).astype(np.float32)
        faces = rig.surface.faces
        near = np.linalg.norm(head, axis=1) < 115
        crop = only_used(head, faces[near[faces].all(axis=1)])
        yield "whole head", Mesh(vertices=head, faces=faces)
        yield "face alone", Mesh(vertices=crop[0], faces=crop[1])
        for triangles in DENSE_TRIANGLES:
            crop = dense(*crop, triangles)
            yield f"face, {triangles:,} triangles", Mesh(vertices=crop[0], faces=crop[1])
        split = np.arange(3 * len(crop[1]), dtype=np.int32).reshape(-1, 3)
        yield (
            f"face, {DENSE_TRIANGLES[-1]:,}, own vertices",
            Mesh(vertices=crop[0][crop[1]].reshape(-1, 3), faces=split),
        )


def dense(vertices: np.ndarray, faces: np.ndarray, num_triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """The surface with about so many triangles; `subdivide` cuts each of them once at most."""
    while len(faces) < 0.9 * num_triangles:
        vertices, faces = subdivide(vertices, faces, len(vertices) + (num_triangles - len(faces)) // 2)
    return vertices, faces


def processor_ms(call: Callable[[], object]) -> float:
    milliseconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        call()
        milliseconds.append(1000 * (time.process_time() - started))
    return min(milliseconds)


def print_rigs(rigs: list[str], folder: Path) -> None:
    print("| rig | mesh | triangles | read, ms | find, ms | views, ms | all, ms | slowest, ms | a second | ratio |")
    print("|---|---|" + "---:|" * 8)
    reference = None
    for rig in rigs:
        stages: dict[str, list[tuple[float, float, float]]] = {}
        triangles: dict[str, int] = {}
        for name, mesh in heads(rig):
            path = folder / "head.ply"
            write_mesh(mesh, path)
            face = normalise(mesh, NormaliseSettings()).mesh
            render_normalised(face, VIEWS)
            reading = processor_ms(lambda path=path: read_mesh(path))
            finding = processor_ms(lambda mesh=mesh: normalise(mesh, NormaliseSettings()))
            viewing = processor_ms(lambda face=face: render_normalised(face, VIEWS))
            stages.setdefault(name, []).append((reading, finding, viewing))
            triangles[name] = mesh.num_faces
        for name, values in stages.items():
            read, find, views = np.mean(values, axis=0)
            whole, slowest = read + find + views, max(map(sum, values))
            reference = whole if reference is None else reference
            print(
                f"| {rig.partition('=')[0]} | {name} | {triangles[name]} | {read:.1f} | {find:.1f} | {views:.1f} "
                f"| {whole:.1f} | {slowest:.1f} | {1000 / whole:.0f} | {whole / reference:.2f} |"
            )


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vertices", nargs="?", type=int, default=8000)
    parser.add_argument("--rig", action="append", help="head model, see docs/rigs.md; as often as wanted")
    arguments = parser.parse_args()
    main(arguments.vertices)
    with tempfile.TemporaryDirectory() as scratch:
        print_rigs(arguments.rig or ["anny"], Path(scratch))
