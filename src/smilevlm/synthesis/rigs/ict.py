"""USC ICT's FaceKit as a rig, from its public folder or from one file of NumPy arrays.

100 directions of identity from scans of people and 53 facial actions by ARKit's names; no tongue.

Source: Li et al., Learning Formation of Physically-Based Face Attributes, CVPR 2020; github.com/USC-ICT/ICT-FaceKit
(MIT).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from smilevlm.errors import SettingsError
from smilevlm.readers import read_mesh
from smilevlm.synthesis.rigs.arrays import check_arrays, check_vertex_numbers, read_arrays
from smilevlm.synthesis.rigs.blendshapes import BlendshapeRig, Displacements, arkit_displacements
from smilevlm.synthesis.rigs.regions import rig_surface
from smilevlm.synthesis.rigs.rig import ARKIT_ACTIONS
from smilevlm.synthesis.scanner import triangles_of
from smilevlm.typing import Faces, Vertices

TEMPLATE_FILE = "generic_neutral_mesh.obj"
INDEX_FILE = "vertex_indices.json"
_MM_PER_CM = 10.0
_NOSE_TIP_POINT = 30
_LANDMARKS = np.array(
    [1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493,
     1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542,
     1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461,
     5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966], np.int32
)  # fmt: skip
"""The usual 68 points by vertex number, as `vertex_indices.json` has them."""
_MOUTH_SOCKET = (11248, 13294)
_INNER = (14062, 21451)
_EYEBALLS = (21451, 24591)
"""First and one past the last vertex; what follows (tear film, lashes) belongs to rendering and is left out."""


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """A FaceKit rig as it is stored, millimetres, the origin where it puts it.

    Args:
        template_mm: The mean neutral head.
        faces: Its triangles.
        identity_mm: Displacements per direction of identity.
        action_names: As FaceKit spells them.
        action_mm: Displacements per action.
        landmarks: The usual 68 points.
    """

    template_mm: Vertices
    faces: Faces
    identity_mm: Float32[np.ndarray, "identity vert 3"]
    action_names: tuple[str, ...]
    action_mm: Float32[np.ndarray, "action vert 3"]
    landmarks: Int32[np.ndarray, " 68"]


def load_ict(path: Path) -> BlendshapeRig:
    """The rig of a folder (`FaceXModel`, or the repository that holds it) or of an `.npz` file.

    Raises:
        SettingsError: A file is missing, broken, or does not fit the others.
    """
    parts = _read_folder(path) if path.is_dir() else _read_file(path)
    num = len(parts.template_mm)
    nose_tip = int(parts.landmarks[_NOSE_TIP_POINT])
    surface = rig_surface(
        position_mm=parts.template_mm - parts.template_mm[nose_tip],
        faces=parts.faces,
        nose_tip=nose_tip,
        landmarks=parts.landmarks,
        eyes=_between(num, _EYEBALLS),
        inner=_between(num, _INNER),
        inside_mouth=_between(num, _MOUTH_SOCKET),
    )
    names = tuple(f"identity{number:03d}" for number in range(len(parts.identity_mm)))
    return BlendshapeRig(
        name="ict",
        surface=surface,
        identity=Displacements(names=names, vectors_mm=parts.identity_mm),
        shapes=arkit_displacements(parts.action_names, parts.action_mm),
    )


def files_of_ict(path: Path) -> list[Path]:
    """What the rig is read from."""
    if not path.is_dir():
        return [path]
    folder = _model_folder(path)
    return sorted(file for file in folder.iterdir() if file.suffix == ".obj" or file.name == INDEX_FILE)


def _between(num: int, limits: tuple[int, int]) -> np.ndarray:
    number = np.arange(num)
    return (number >= limits[0]) & (number < limits[1])


def _read_file(path: Path) -> _Parts:
    arrays = read_arrays(
        path,
        {
            "template_mm": ("vertices", 3), "polygons": ("polygons", 4),
            "identity_int16": ("identities", "vertices", 3), "identity_scale_mm": ("identities",),
            "action_int16": ("actions", "vertices", 3), "action_scale_mm": ("actions",), "action_names": ("actions",),
        },
    )  # fmt: skip
    num = len(arrays["template_mm"])
    check_vertex_numbers(path, "polygons", arrays["polygons"], num, low=-1)
    if "landmarks" in arrays:
        check_arrays(path, arrays, {"landmarks": (68,)})
    landmarks = arrays.get("landmarks", _LANDMARKS)
    check_vertex_numbers(path, "landmarks", landmarks, num)
    return _Parts(
        template_mm=arrays["template_mm"].astype(np.float32),
        faces=triangles_of(arrays["polygons"]),
        identity_mm=_scaled(arrays["identity_int16"], arrays["identity_scale_mm"]),
        action_names=tuple(str(name) for name in arrays["action_names"]),
        action_mm=_scaled(arrays["action_int16"], arrays["action_scale_mm"]),
        landmarks=landmarks.astype(np.int32),
    )


def _scaled(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) * scales.astype(np.float32)[:, None, None]


def _model_folder(path: Path) -> Path:
    for folder in (path, path / "FaceXModel"):
        if (folder / TEMPLATE_FILE).is_file():
            return folder
    raise SettingsError(f"{path} has no {TEMPLATE_FILE}, nor has FaceXModel in it; expected ICT-FaceKit's folder")


def _read_folder(path: Path) -> _Parts:
    folder = _model_folder(path)
    template = read_mesh(folder / TEMPLATE_FILE, load_texture=False)
    num = min(len(template.vertices), _EYEBALLS[1])
    landmarks = _read_landmarks(folder / INDEX_FILE, num)
    used = (template.faces < num).all(axis=1)
    identities = sorted(folder.glob("identity*.obj"))
    if not identities:
        raise SettingsError(f"{folder} has no identity000.obj; expected ICT-FaceKit's directions of identity")
    actions = [file for file in sorted(folder.glob("*.obj")) if _is_action(file.stem)]
    if not actions:
        raise SettingsError(f"{folder} has no facial action such as jawOpen.obj")

    def displacements(files: list[Path]) -> np.ndarray:
        found = np.empty((len(files), num, 3), np.float32)
        for place, file in enumerate(files):
            shape = read_mesh(file, load_texture=False).vertices
            if len(shape) != len(template.vertices):
                raise SettingsError(f"{file} has {len(shape)} vertices; {TEMPLATE_FILE} has {len(template.vertices)}")
            found[place] = (shape[:num] - template.vertices[:num]) * np.float32(_MM_PER_CM)
        return found

    return _Parts(
        template_mm=template.vertices[:num] * np.float32(_MM_PER_CM),
        faces=np.ascontiguousarray(template.faces[used]),
        identity_mm=displacements(identities),
        action_names=tuple(file.stem for file in actions),
        action_mm=displacements(actions),
        landmarks=landmarks,
    )


def _is_action(stem: str) -> bool:
    bare = stem.removesuffix("_L").removesuffix("_R")
    return bare in ARKIT_ACTIONS or f"{bare}Left" in ARKIT_ACTIONS


def _read_landmarks(path: Path, num_vertices: int) -> Int32[np.ndarray, " 68"]:
    landmarks = _LANDMARKS
    if path.is_file():
        try:
            landmarks = np.array(json.loads(path.read_text())["idx_to_landmark_verts"], np.int32)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise SettingsError(f"{path} has no usable list 'idx_to_landmark_verts': {error!r}") from None
        if landmarks.shape != (68,):
            raise SettingsError(f"{path}: 'idx_to_landmark_verts' has shape {landmarks.shape}; expected 68 numbers")
    check_vertex_numbers(path, "idx_to_landmark_verts", landmarks, num_vertices)
    return landmarks
