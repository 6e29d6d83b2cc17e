"""What a file is by its suffix, and what to do with one of a kind that is not read."""

from __future__ import annotations

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
