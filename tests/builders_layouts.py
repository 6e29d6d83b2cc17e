"""Tiny copies of each data set's layout: true names and formats, a few hundred vertices, never a real face."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from faces import height_map
from smilevlm.geometry import Mesh
from smilevlm.readers import (
    FOURDME_COLUMNS,
    write_bnd,
    write_bnt,
    write_bu3dfe_vrml,
    write_bu4dfe_vrml,
    write_lm2,
    write_lm3,
    write_mtl,
    write_obj,
    write_workbook,
)

BASIC_WORDS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise")
BU3DFE_POSES = (
    "NE00",
    *(f"{code}{level:02d}" for code in ("AN", "DI", "FE", "HA", "SA", "SU") for level in range(1, 5)),
)
BOSPHORUS_EXPRESSIONS = ("ANGER", "DISGUST", "FEAR", "HAPPY", "SADNESS", "SURPRISE")
WORKBOOK = "4DME_Labelling_Micro_release v1.xlsx"


def face(number: int = 0) -> Mesh:
    """An egg with a nose, 441 vertices, millimetres; each number another one."""

    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        nose = (22 + number % 7) * np.exp(-(x**2) / 150 - (y + 5) ** 2 / 500)
        return 60 * np.sqrt(np.maximum(1 - (x / 75) ** 2 - (y / 95) ** 2, 0)) + nose - 80

    return height_map(height, half=60.0, step=6.0)


def uv_of(mesh: Mesh) -> np.ndarray:
    """One texture coordinate per vertex, v from the bottom."""
    return ((mesh.vertices[:, :2] + 60) / 120).astype(np.float32)


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    rows, columns = np.mgrid[0:40, 0:30]
    pixels = np.stack([rows * 6, columns * 8, 0 * rows + 90], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def landmark_vertices(mesh: Mesh) -> np.ndarray:
    """83 vertex numbers."""
    return np.linspace(0, mesh.num_vertices - 1, 83).astype(np.int64)


def bu3dfe(root: Path, subjects: Sequence[str] = ("F0001",), poses: Iterable[str] = BU3DFE_POSES) -> Path:
    mesh = face()
    polygons = np.concatenate([mesh.faces, np.full((mesh.num_faces, 1), -1, np.int32)], axis=1)
    poses = tuple(poses)
    for subject in subjects:
        folder = _folder(root / subject)
        for pose in poses:
            stem = f"{subject}_{pose}WH_F3D"
            with (folder / f"{stem}.wrl").open("w", newline="\n") as file:
                write_bu3dfe_vrml(
                    file, vertices=mesh.vertices, polygons=polygons, uv=uv_of(mesh), uv_polygons=polygons,
                    texture_name=f"{stem}.bmp",
                )  # fmt: skip
            with (folder / f"{stem}.bnd").open("w") as file:
                write_bnd(file, mesh.vertices[landmark_vertices(mesh)])
            (folder / f"{stem}.bmp").write_bytes(picture("BMP"))
    return root


def bu4dfe(
    root: Path,
    subjects: Sequence[str] = ("F001",),
    *,
    words: Sequence[str] = BASIC_WORDS,
    numbers: Sequence[int] = (0, 1, 2),
    landmarks: Path | None = None,
    first_vertex: int = 0,
) -> Path:
    """Sequences; with the folder `landmarks` also a `.bnd` tree whose column 0 counts vertices from `first_vertex`."""
    for subject in subjects:
        for word in words:
            folder = _folder(root / subject / word)
            for number in numbers:
                mesh = face(number)
                with (folder / f"{number:03d}.wrl").open("w", newline="\n") as file:
                    write_bu4dfe_vrml(file, vertices=mesh.vertices, faces=mesh.faces, uv=uv_of(mesh))
                (folder / f"{number:03d}.jpg").write_bytes(picture("JPEG"))
                if landmarks is not None:
                    chosen = landmark_vertices(mesh)
                    place = _folder(landmarks / subject / word)
                    with (place / f"{number:03d}.bnd").open("w") as file:
                        write_bnd(file, mesh.vertices[chosen], chosen + first_vertex)
    return root


def bosphorus(root: Path, names: Iterable[str], *, flat: bool = False, upside_down: bool = False) -> Path:
    """Scans by name (`bs000_E_HAPPY_0`), all four files each."""
    mesh = face()
    side = int(np.sqrt(mesh.num_vertices))
    points = mesh.vertices.reshape(side, side, 3).astype(np.float64)
    uv = uv_of(mesh).reshape(side, side, 2).astype(np.float64)
    if not upside_down:
        uv[..., 1] = 1 - uv[..., 1]
    spots = {"Nose tip": (10, 10), "Chin middle": (3, 10), "Outer left eye corner": (14, 4), "Ear lobe left": (9, 1)}
    for name in names:
        folder = _folder(root if flat else root / name[:5])
        with (folder / f"{name}.bnt").open("wb") as file:
            write_bnt(file, points=points, uv=uv, image_name=f"{name}.png")
        (folder / f"{name}.png").write_bytes(picture("PNG"))
        # The pictures have 30 columns and 40 rows, row 0 on top.
        pixels = {key: np.array([c / 20 * 30, (1 - r / 20) * 40]) for key, (r, c) in spots.items()}
        with (folder / f"{name}.lm2").open("w", newline="") as file:
            write_lm2(file, pixels)
        with (folder / f"{name}.lm3").open("w", newline="") as file:
            write_lm3(file, {key: points[spot] for key, spot in spots.items()}, line_end="\r\n")
    return root


def bp4d(
    root: Path,
    subjects: Sequence[str] = ("F001",),
    *,
    tasks: Sequence[int] = range(1, 9),
    names: Sequence[str] = ("2440", "2441", "2442"),
    au_tables: bool = True,
) -> Path:
    """Sequences of OBJ, MTL and JPEG by the frames' names, and tables of action units."""
    for subject in subjects:
        for task in tasks:
            folder = _folder(root / subject / f"T{task}")
            for name in names:
                mesh = face(int(name))
                textured = Mesh(vertices=mesh.vertices, faces=mesh.faces, uv=uv_of(mesh)[mesh.faces])
                with (folder / f"{name}.obj").open("w", newline="\n") as file:
                    write_obj(file, textured, material_library=f"{name}.mtl")
                with (folder / f"{name}.mtl").open("w") as file:
                    write_mtl(file, texture_name=f"{name}.jpg")
                (folder / f"{name}.jpg").write_bytes(picture("JPEG"))
            if au_tables:
                rows = "".join(f"{int(name)},0,1,9\n" for name in names)
                (_folder(root / "AUCoding") / f"{subject}_T{task}.csv").write_text(f"0,1,2,4\n{rows}")
    return root


def pack(folder: Path) -> Path:
    """Put a folder into an archive of its name beside it, and remove it."""
    archive = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, Path(folder.name) / path.relative_to(folder))
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    return archive


FOURDME_ROWS: tuple[Mapping[str, object], ...] = (
    {"sub_ID": "S13", "fold_name": "1st_001_01_1", "Emotion": "Surprise+Positive", "Onset": 0, "Apex": 1, "Offset": 2},
    {"sub_ID": "S13", "fold_name": "1st_002_01_1", "Emotion": "Negative", "Onset": 0, "Apex": 1, "Offset": 2},
    {"sub_ID": "S02", "fold_name": "2nd_001_02_1", "Emotion": "Others", "Onset": 0, "Apex": 2, "Offset": 2},
)


def fourdme(
    root: Path,
    rows: Sequence[Mapping[str, object]] = FOURDME_ROWS,
    *,
    place: str = "4D_micro/{sub_ID}/{fold_name}",
    numbers: Sequence[int] = (0, 1, 2),
    workbook: str | None = WORKBOOK,
) -> Path:
    """Clips of OBJ meshes in `place`, and the labelling workbook; a row may bring its own `numbers`."""
    for row in rows:
        folder = _folder(root / place.format(**row))
        for number in row.get("numbers", numbers):
            with (folder / f"{number:04d}.obj").open("w", newline="\n") as file:
                write_obj(file, face(number))
    if workbook is not None:
        write_labels(root / workbook, rows)
    return root


def write_labels(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """The labelling workbook of such clips; what a row does not say is filled in."""
    cells = []
    for fold, row in enumerate(rows, 1):
        shown = str(row["Emotion"]).split("+")
        known = {"fold": fold, "Total": 3, "AUs": "AU4(k)+L7", "eye blink": 0, **row}
        cells.append([known.get(name, int(name in shown)) for name in FOURDME_COLUMNS])
    write_workbook(path, FOURDME_COLUMNS, cells)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
