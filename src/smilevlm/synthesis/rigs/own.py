"""A user's own blendshape rig, from the file of `rig_file`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from scipy.spatial import KDTree

from smilevlm.errors import SettingsError, SmileVlmError
from smilevlm.geometry import Mesh
from smilevlm.readers import read_mesh
from smilevlm.synthesis.people import action_stem
from smilevlm.synthesis.rigs.blendshapes import BlendshapeRig, Displacements, arkit_name
from smilevlm.synthesis.rigs.regions import rig_surface
from smilevlm.synthesis.rigs.rig import ARKIT_ACTIONS, RigSurface
from smilevlm.synthesis.rigs.rig_file import RigFile, read_rig_file
from smilevlm.synthesis.rigs.transfer import vertex_normals
from smilevlm.typing import Vertices

_NOSE_TIP_POINT = 30
_HALF_FACE_MM = 12.0
"""The tip of the nose lies within this distance of the middle of the head."""
_FIT_ROUNDS = 40
_SIDES = ("Left", "Right")
_FIT_WITHIN_MM = 90.0
_FACE_HEIGHTS_MM = (100.0, 400.0)
"""A whole head or a mask is as high as this; what is not is taken for a wrong unit."""


def load_own(path: Path, builtin: RigSurface) -> BlendshapeRig:
    """The rig of a rig file.

    Args:
        path: The YAML file.
        builtin: Surface of the built-in rig, by whose landmarks those of a rig without any are found.

    Raises:
        SettingsError: The file is wrong, or a mesh that it names does not fit the template.
    """
    description = read_rig_file(path)
    mesh = _read(description, "template", description.template)
    if mesh.is_point_cloud:
        raise SettingsError(f"{path}: field 'template' names {description.template.name}, which has no triangles")
    template = mesh.vertices * np.float32(description.mm_per_unit)
    _check_size(description, template)
    landmarks = _landmarks(description, template, mesh, builtin)
    nose_tip = int(landmarks[_NOSE_TIP_POINT])
    masks = {name: _mask(description, name, len(template)) for name in ("eyes", "teeth", "mouth")}
    surface = rig_surface(
        position_mm=template - template[nose_tip],
        faces=mesh.faces,
        nose_tip=nose_tip,
        landmarks=landmarks,
        eyes=masks["eyes"],
        inner=masks["teeth"],
        inside_mouth=masks["mouth"] if "mouth" in description.regions else None,
    )
    identity = [_displacement(description, "identity", file, mesh) for file in description.identity]
    return BlendshapeRig(
        name=description.name,
        surface=surface,
        identity=Displacements(
            names=tuple(f"identity{number:03d}" for number in range(len(identity))), vectors_mm=_stacked(identity, mesh)
        ),
        shapes=_shapes(description, mesh, surface),
    )


def files_of_own(path: Path) -> list[Path]:
    """What the rig is read from."""
    return read_rig_file(path).files


def _read(description: RigFile, place: str, file: Path) -> Mesh:
    try:
        mesh = read_mesh(file, load_texture=False)
    except SmileVlmError as error:
        raise SettingsError(f"{description.path}: field '{place}' names a mesh that cannot be read: {error}") from None
    return mesh


def _check_size(description: RigFile, template: Vertices) -> None:
    height = float(np.ptp(template[:, 1]))
    low, high = _FACE_HEIGHTS_MM
    if not low <= height <= high:
        raise SettingsError(
            f"{description.path}: field 'unit' makes the template {height:.3g} mm high; a face is {low:g} to {high:g}"
        )


def _displacement(description: RigFile, place: str, file: Path, template: Mesh) -> Vertices:
    shape = _read(description, place, file)
    if len(shape.vertices) != len(template.vertices):
        raise SettingsError(
            f"{description.path}: field '{place}': {file.name} has {len(shape.vertices)} vertices; "
            f"{description.template.name} has {len(template.vertices)}"
        )
    moved = shape.vertices.astype(np.float64) + shape.origin - (template.vertices.astype(np.float64) + template.origin)
    return (moved * description.mm_per_unit).astype(np.float32)


def _stacked(vectors: Sequence[Vertices], template: Mesh) -> np.ndarray:
    return np.stack(vectors) if vectors else np.zeros((0, len(template.vertices), 3), np.float32)


def _shapes(description: RigFile, template: Mesh, surface: RigSurface) -> Displacements:
    """One displacement per action.

    A shape of both sides is cut in the middle where the action has sides; the halves of one that has none are added up.
    """
    found: dict[str, Vertices] = {}
    for file, actions in description.shapes.items():
        moved = _displacement(description, f"shapes.{file.name}", file, template)
        for name, weight in actions.items():
            spelled = arkit_name(file.stem)
            if name in found and not (spelled != name == action_stem(spelled)):
                raise SettingsError(f"{description.path}: field 'shapes.{file.name}': a second shape for {name}")
            both = name != action_stem(name) and {f"{action_stem(name)}{side}" for side in _SIDES} <= actions.keys()
            share = _side(surface, name)[:, None] if both else np.float32(1)
            found[name] = found.get(name, np.float32(0)) + moved * share / np.float32(weight)
    names = tuple(name for name in ARKIT_ACTIONS if name in found)
    return Displacements(names=names, vectors_mm=np.stack([found[name] for name in names]))


def _side(surface: RigSurface, action: str) -> np.ndarray:
    """Share of each vertex in the person's left or right half, which meet smoothly."""
    toward = surface.position_mm[:, 0] * (1 if action.endswith("Left") else -1)
    return np.clip(0.5 + toward / (2 * _HALF_FACE_MM), 0, 1).astype(np.float32)


def _mask(description: RigFile, name: str, num_vertices: int) -> np.ndarray:
    mask = np.zeros(num_vertices, bool)
    if name in description.regions:
        mask[_vertex_numbers(description, f"regions.{name}", description.regions[name], num_vertices)] = True
    return mask


def _vertex_numbers(description: RigFile, place: str, file: Path, num_vertices: int) -> Int32[np.ndarray, " number"]:
    try:
        numbers = np.array([int(word) for word in file.read_text().split()], np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsError(f"{description.path}: field '{place}': {file.name} holds no numbers: {error}") from None
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < num_vertices):
        raise SettingsError(
            f"{description.path}: field '{place}': {file.name} names a vertex that is not there; "
            f"there are {num_vertices}, counted from 0"
        )
    return numbers.astype(np.int32)


def _landmarks(description: RigFile, template: Vertices, mesh: Mesh, builtin: RigSurface) -> Int32[np.ndarray, " 68"]:
    if description.landmarks is None:
        return _found_landmarks(description, template, mesh, builtin)
    landmarks = _vertex_numbers(description, "landmarks", description.landmarks, len(template))
    if landmarks.shape != (68,):
        raise SettingsError(f"{description.path}: field 'landmarks' holds {len(landmarks)} numbers; expected 68")
    return landmarks


def _found_landmarks(
    description: RigFile, template: Vertices, mesh: Mesh, builtin: RigSurface
) -> Int32[np.ndarray, " 68"]:
    """Those of the built-in head, brought onto the template by size and place and then by closest points."""
    assert builtin.landmarks is not None
    middle = (template[:, 0].min() + template[:, 0].max()) / 2
    candidates = np.abs(template[:, 0] - middle) < _HALF_FACE_MM
    if not candidates.any():
        raise SettingsError(f"{description.path}: the template has no vertex in its middle; give 'landmarks'")
    tip = int(np.argmax(np.where(candidates, template[:, 2], -np.inf)))
    facing = vertex_normals(template, mesh.faces)[:, 2] > 0
    target = template[facing & (np.linalg.norm(template - template[tip], axis=1) < _FIT_WITHIN_MM)]
    points = builtin.position_mm[builtin.landmarks].astype(np.float64)
    near = np.linalg.norm(builtin.position_mm, axis=1) < _FIT_WITHIN_MM
    cloud = builtin.position_mm[near & ~builtin.eyes & ~builtin.inner & ~builtin.inside_mouth].astype(np.float64)
    tree = KDTree(target)
    scale, offset = np.ones(3), template[tip].astype(np.float64)
    for _ in range(_FIT_ROUNDS):
        closest = target[tree.query(cloud * scale + offset)[1]]
        mean, goal = cloud.mean(axis=0), closest.mean(axis=0)
        scale = np.clip(((cloud - mean) * (closest - goal)).sum(axis=0) / ((cloud - mean) ** 2).sum(axis=0), 0.7, 1.4)
        offset = goal - mean * scale
    usable = np.flatnonzero(facing)
    found = usable[KDTree(template[usable]).query(points * scale + offset)[1]]
    found[_NOSE_TIP_POINT] = tip
    return found.astype(np.int32)
