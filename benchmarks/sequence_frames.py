"""BU-4DFE-like frames from file to three 224-pixel geometry views: frames a second on one core, and against others.

Command: OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/sequence_frames.py [VERTICES]

Every frame is read, normalised and rendered as if it were the only one. The yardstick reads the same frame as OBJ
with trimesh, which has no reader for VRML, and renders it with the fastest general renderer that works here without a
display; it is handed the mesh already normalised and cropped, so it need not find the face. Times are CPU times of
the process, all threads together, so that other work on the machine counts little. The memory bandwidth is that of
copying one large array to another.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh
from general_renderers import RENDERERS

from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.readers import parse_mesh, read_mesh, write_bu4dfe_vrml, write_mesh
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.expressions import draw_actions
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.people import draw_person
from smilevlm.synthesis.scanner import ScannerSettings, scan_head
from smilevlm.views import ViewSettings, kernels, render_normalised

NUM_FRAMES = 4
REPEATS = 8
VIEWS = ViewSettings(size=224)
COPIED_BYTES = 2**28


def make_frames(num_vertices: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Vertices, triangles and texture coordinates per vertex of different people's smiles."""
    model, places = head_model(), anatomy()
    frames = []
    for number in range(NUM_FRAMES):
        rng = np.random.default_rng(number + 1)
        person = draw_person(
            rng, sex="FM"[number % 2], shape_changes=model.shape_changes, facial_actions=model.facial_actions
        )
        actions = draw_actions(
            rng, person=person, expression="happy", intensity=1.0, facial_actions=model.facial_actions
        )
        coarse = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=[actions])[0]
        head = (model.topology.refine @ coarse).astype(np.float32)
        head -= head[places.nose_tip]
        scan = scan_head(
            rng,
            vertices_mm=head,
            faces=model.topology.fine_faces,
            colors=np.full((len(head), 3), 128, np.float32),
            landmarks_mm=head[places.landmarks],
            settings=ScannerSettings(num_vertices=num_vertices, quad_share=0.0),
        )
        uv = ((scan.head_vertices[:, :2] + 140) / 280).astype(np.float32)
        frames.append((scan.vertices, np.ascontiguousarray(scan.polygons[:, :3]), uv))
    return frames


def write_frames(folder: Path, frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, list[Path]]:
    """The frames as VRML without and with texCoordIndex, and as OBJ."""
    paths: dict[str, list[Path]] = {"plain": [], "indexed": [], "obj": []}
    for number, (vertices, faces, uv) in enumerate(frames):
        for kind in ("plain", "indexed"):
            path = folder / f"{kind}_{number:03d}.wrl"
            with path.open("w", newline="\n") as file:
                write_bu4dfe_vrml(
                    file, vertices=vertices, faces=faces, uv=uv, texture_name=None, with_texture_index=kind == "indexed"
                )
            paths[kind].append(path)
        path = folder / f"{number:03d}.obj"
        write_mesh(read_mesh(paths["plain"][-1], load_texture=False), path)
        paths["obj"].append(path)
    return paths


def median_ms(call: Callable[..., object], rows: list[tuple]) -> float:
    """Of `call` on each row in turn, so that no frame is still in the nearest cache from the last time."""
    call(*rows[0])
    seconds = []
    for row in rows * REPEATS:
        started = time.process_time()
        call(*row)
        seconds.append(time.process_time() - started)
    return 1000 * float(np.median(seconds))


def bandwidth_gb_s() -> float:
    """Bytes read and written per second by a copy far larger than any cache."""
    source, target = np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)
    return 2 * COPIED_BYTES / 1e6 / median_ms(np.copyto, [(target, source)])


def views_of(path: Path) -> np.ndarray:
    """A frame from file to views, with nothing known from other frames."""
    face = normalise(read_mesh(path, load_texture=False), NormaliseSettings())
    return render_normalised(face.mesh, VIEWS)


def rasterise(mesh: Mesh) -> None:
    """The z-buffers of the views, without what makes images of them."""
    side = VIEWS.size * VIEWS.supersample
    half, pitch = np.float32(VIEWS.window_mm / 2), np.float32(VIEWS.window_mm / side)
    pivot, centre = np.float32(VIEWS.pivot_z_mm), np.float32(VIEWS.centre_y_mm)
    for angle in np.deg2rad(VIEWS.angles_deg):
        x_px, y_px, depth = np.empty((3, mesh.num_vertices), np.float32)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        kernels.project(mesh.vertices, cos, sin, pivot, centre, half, pitch, x_px, y_px, depth)
        depth_map = np.full((side, side), kernels.EMPTY, np.float32)
        kernels.rasterise(x_px, y_px, depth, mesh.faces, depth_map, np.full((side, side), -1, np.int32))


def num_bytes(mesh: Mesh) -> int:
    return mesh.vertices.nbytes + mesh.faces.nbytes + (0 if mesh.uv is None else mesh.uv.nbytes)


def print_profile(paths: list[Path], bandwidth: float) -> None:
    """Per stage: time, share, and how often longer than moving its input and output once through memory."""
    texts = [(path.read_bytes(), path) for path in paths]
    meshes = [parse_mesh(text, path, load_texture=False) for text, path in texts]
    faces = [normalise(mesh, NormaliseSettings()).mesh for mesh in meshes]
    whole, surface, image_bytes = num_bytes(meshes[0]), num_bytes(faces[0]), 3 * VIEWS.size**2
    drawn = faces[0].vertices.nbytes + faces[0].faces.nbytes
    map_bytes = 8 * (VIEWS.size * VIEWS.supersample) ** 2
    read = median_ms(Path.read_bytes, [(path,) for path in paths])
    parse = median_ms(lambda text, path: parse_mesh(text, path, load_texture=False), texts)
    find = median_ms(lambda mesh: normalise(mesh, NormaliseSettings()), [(mesh,) for mesh in meshes])
    draw = median_ms(rasterise, [(mesh,) for mesh in faces])
    views = median_ms(lambda mesh: render_normalised(mesh, VIEWS), [(mesh,) for mesh in faces])
    num_views = len(VIEWS.angles_deg)
    stages = {
        "read the bytes": (read, 2 * len(texts[0][0])),
        "parse": (parse, len(texts[0][0]) + whole),
        "normalise": (find, whole + surface),
        "rasterise": (draw, num_views * (drawn + map_bytes)),
        "smooth, shade": (views - draw, num_views * (map_bytes + image_bytes)),
    }
    total = sum(value for value, _ in stages.values())
    print(f"{'stage':18s} {'ms':>7s} {'share':>6s} {'MB moved at least':>18s} {'times the memory limit':>23s}")
    for stage, (value, moved) in stages.items():
        limit = moved / 1e6 / bandwidth
        print(f"{stage:18s} {value:7.2f} {value / total:6.0%} {moved / 1e6:18.2f} {value / limit:23.1f}")


def yardsticks(meshes: list[Mesh]) -> dict[str, float]:
    """Milliseconds per frame of each renderer that works here; the others are named with the reason."""
    results = {}
    for make in RENDERERS:
        try:
            renderer = make(VIEWS.size, VIEWS.angles_deg)
            image = renderer(meshes[0].vertices, meshes[0].faces)
        except (ImportError, OSError, RuntimeError) as error:
            print(f"{make.__name__}: not measured, {type(error).__name__}: {error}")
            continue
        if not image.any():
            print(f"{make.__name__}: not measured, its images are empty")
            continue
        results[renderer.name] = median_ms(renderer, [(mesh.vertices, mesh.faces) for mesh in meshes])
    return results


def main(num_vertices: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_frames(Path(folder), make_frames(num_vertices))
        meshes = [read_mesh(path, load_texture=False) for path in paths["plain"]]
        counts = ", ".join(f"{mesh.num_vertices}/{mesh.num_faces}" for mesh in meshes)
        sizes = ", ".join(f"{path.stat().st_size / 1e6:.1f}" for path in paths["plain"])
        print(f"vertices/triangles {counts}; {sizes} MB of VRML")
        bandwidth = bandwidth_gb_s()
        print(f"memory copy: {bandwidth:.1f} GB/s read and written\n")
        ours = {kind: median_ms(views_of, [(path,) for path in paths[kind]]) for kind in ("plain", "indexed")}
        for kind, label in (("plain", "without"), ("indexed", "with")):
            print(f"file to views, {label} texCoordIndex: {ours[kind]:.1f} ms, {1000 / ours[kind]:.0f} frames a second")
        print()
        print_profile(paths["plain"], bandwidth)
        print()
        faces = [normalise(mesh, NormaliseSettings()).mesh for mesh in meshes]
        reading = median_ms(lambda path: trimesh.load(path, process=False), [(path,) for path in paths["obj"]])
        print(f"{f'trimesh {trimesh.__version__} reads the same as OBJ':44s} {reading:8.1f} ms")
        rendering = yardsticks(faces)
        for renderer, value in rendering.items():
            print(f"{renderer:44s} {value:8.1f} ms")
        best = min(rendering, key=rendering.__getitem__)
        ratio = (reading + rendering[best]) / ours["plain"]
        print(f"trimesh and {best}: {reading + rendering[best]:.1f} ms; this is {ratio:.1f} times as fast")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 35_000)
